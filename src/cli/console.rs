//! `hookmill console`

use serde_json::json;

use super::failure::Failure;
use super::flags::DataDirFlag;
use super::print;
use super::print::say;
use super::remote::{Remote, text};
use crate::config::{Config, Options};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill console                            on the server's machine, while it runs
  hookmill console --data-dir /srv/hookmill
  hookmill console --json | jq -r .url

Prints a link to the console that logs you in as the operator. It works once, for five minutes. Only users who can read the data
directory get one. If you reach the server under another address, replace the beginning of the link.")]
pub(super) struct Console {
    #[command(flatten)]
    data: DataDirFlag,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

impl Console {
    pub(super) fn options(&self) -> Options {
        self.data.options()
    }

    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let Some(remote) = Remote::holding(&config.data_dir) else {
            return Err(Failure::new(format!(
                "no server runs on the data directory {}; start it with `hookmill serve`, or name its directory with --data-dir",
                config.data_dir.display()
            )));
        };
        let link = remote.call("POST", "/v1/admin/console-links", Some(json!({})))?;
        let url = format!("{}{}", remote.base(), text(&link["path"]));
        if self.json {
            print::json(&json!({ "url": url, "expires_at": link["expires_at"] }));
        } else {
            say!("{url}");
        }
        Ok(())
    }
}
