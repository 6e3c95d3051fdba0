//! `hookmill plugin publish DIR`

use std::path::PathBuf;

use serde_json::json;

use super::check::show;
use super::database::{self, ByFlag};
use super::runnable::{folder, host};
use crate::cli::failure::Failure;
use crate::cli::flags::DataDirFlag;
use crate::cli::print;
use crate::cli::print::say;
use crate::config::{Config, Options};
use crate::integration::bundle::digest;
use crate::integration::check::check;
use crate::integration::load::named_shadow;
use crate::integration::{Bundle, Integration};
use crate::model::audit::Action;
use crate::model::time::now;
use crate::store::{NewBundle, PublishOutcome};
use crate::system::folder::Folder;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin publish plugins/orders
  HOOKMILL_DATABASE_URL=postgres://hookmill@db/hookmill hookmill plugin publish plugins/orders --json

It checks the folder and runs its fixtures as `hookmill plugin check` does, and then stores plugin.toml, module, schema, fixtures
and the sender file next to them. A published version is never changed: raise `version` in plugin.toml for other content. Nothing
runs it until you activate it.")]
pub(super) struct Publish {
    /// The plugin's folder
    dir: PathBuf,
    #[command(flatten)]
    by: ByFlag,
    #[command(flatten)]
    data: DataDirFlag,
}

impl Publish {
    pub(super) fn options(&self) -> Options {
        self.data.options()
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let folder = folder(&self.dir)?;
        let (bundle, integration) = self.checked(config, &folder, as_json)?;
        let bytes = bundle.encode();
        let (name, version, digest) = (integration.name.to_string(), integration.version.clone(), digest(&bytes));
        let (files, size) = (bundle.names().count(), bytes.len());
        let entry = database::entry(Action::PluginPublished, &name).of(&integration.company_id);
        let entry = entry.with(format!("version {version}, sha256 {digest}, by {}", self.by.by));
        let bundle = NewBundle {
            name: name.clone(),
            version: version.clone(),
            company_id: integration.company_id.to_string(),
            digest: digest.clone(),
            publisher: self.by.by.clone(),
            bytes,
        };
        let outcome = database::with(config, |cluster| Ok(cluster.bundles().publish(bundle, entry)?))?;
        if let PublishOutcome::Other { digest, publisher, at } = outcome {
            let at = at.format("%Y-%m-%d %H:%M:%S UTC");
            return Err(Failure::new(format!(
                "{name} {version} was published before with other content (sha256 {digest}, by {publisher}, {at}); a published version is never changed: raise `version` in plugin.toml"
            )));
        }
        let is_new = outcome == PublishOutcome::Stored;
        if as_json {
            print::json(&json!({
                "name": name, "version": version, "digest": digest, "files": files, "bytes": size, "is_new": is_new,
            }));
        } else if is_new {
            say!("published {name} {version}: {files} files, {size} bytes, sha256 {digest}");
            say!("run it on all servers: hookmill plugin activate {name} {version}");
        } else {
            say!("{name} {version} was published before with the same content, sha256 {digest}");
        }
        Ok(())
    }

    /// Reads the folder, and checks what was read.
    fn checked(&self, config: &Config, folder: &Folder, as_json: bool) -> Result<(Bundle, Integration), Failure> {
        let host = host(config)?;
        let read = || Bundle::of(folder, host.limits().module_bytes).map_err(Failure::new);
        let before = read();
        let mut checked = check(&host, folder, &config.senders, now());
        let is_good = checked.is_good();
        let Some(integration) = checked.integration.take().filter(|_| is_good) else {
            show(&self.dir, &checked, as_json);
            return Err(Failure::new("nothing was published: the server would not load this plugin"));
        };
        if let Some(shadow) = named_shadow(folder) {
            return Err(Failure::new(format!(
                "plugin.toml names the shadow {shadow}, which is another folder: remove `shadow`, and compare versions with `hookmill plugin diff`"
            )));
        }
        let bundle = before?;
        if read()? != bundle {
            return Err(Failure::new("the folder was changed while it was checked; publish it again"));
        }
        Ok((bundle, integration))
    }
}
