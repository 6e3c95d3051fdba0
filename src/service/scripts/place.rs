//! Where a changed file goes: into the plugins folder, or into a new version in the database.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::watch::PluginSource;
use crate::integration::bundle::digest;
use crate::integration::manifest_version::{next_version, with_version};
use crate::integration::script::own_folder;
use crate::integration::{Bundle, Integration};
use crate::model::audit::Action;
use crate::service::app::{Admin, App};
use crate::store::{NewBundle, PublishOutcome};
use crate::system::folder::{FIXTURE_BYTES, Folder, MANIFEST_BYTES};

/// How often another number is tried for a version that was published already.
const NUMBERS: usize = 100;

/// Files of a plugin folder to write, by name; names of fixtures begin with `fixtures/`.
pub(super) type Changes = BTreeMap<String, String>;

/// What was written, so that it can be taken back.
#[derive(Debug)]
pub(super) enum Placed {
    /// The plugins folder has the files; these were there before.
    InFolder(BTreeMap<String, Option<String>>),
    /// The database has a version with them, and it is the active one.
    Published {
        /// The version that was active before.
        before: Option<String>,
    },
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPlaced {
    /// The folder cannot be written.
    #[error("{file} cannot be written: {cause}; the folder is changed where it comes from, such as a repository")]
    ReadOnly {
        /// The file.
        file: String,
        /// Error of the operating system.
        cause: std::io::Error,
    },
    /// There is such a file already.
    #[error("{0} is there already; choose another name, or replace it")]
    Exists(String),
    /// The database cannot take it.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// Something else.
    #[error("{0}")]
    Other(String),
}

/// Writes files. `replace`: they may exist already. Blocking.
pub(super) fn place(
    app: &App,
    integration: &Integration,
    changes: &Changes,
    replace: bool,
    admin: &Admin,
) -> Result<Placed, NotPlaced> {
    let folder = own_folder(&app.config.live_plugins_dir(), integration);
    let folder = folder.map_err(|e| NotPlaced::Other(e.to_string()))?;
    match app.config.plugin_source {
        PluginSource::Folder => into_folder(&folder, changes, replace).map(Placed::InFolder),
        PluginSource::Database => {
            let exists = changes.keys().find(|it| !replace && folder.metadata(it).is_ok());
            match exists {
                Some(name) => Err(NotPlaced::Exists(name.clone())),
                None => publish(app, integration, &folder, changes, admin),
            }
        }
    }
}

/// Undoes [`place`], as far as that is possible. Blocking.
pub(super) fn take_back(app: &App, integration: &Integration, placed: &Placed, admin: &Admin) {
    let name = &*integration.name.0;
    match placed {
        Placed::InFolder(before) => {
            let Ok(folder) = own_folder(&app.config.live_plugins_dir(), integration) else { return };
            undo(&folder, before);
        }
        Placed::Published { before: Some(version) } => {
            let Some(cluster) = app.store.cluster() else { return };
            let entry = admin.does(Action::PluginRolledBack, name).of(&integration.company_id);
            let back =
                cluster.bundles().activate(name, version, admin.name(), entry.with(format!("version {version}")));
            if let Err(error) = back {
                tracing::error!(cause = %error, plugin = name, "the version before cannot be activated again");
            }
        }
        Placed::Published { before: None } => {}
    }
}

fn into_folder(
    folder: &Folder,
    changes: &Changes,
    replace: bool,
) -> Result<BTreeMap<String, Option<String>>, NotPlaced> {
    let mut before = BTreeMap::new();
    for (name, text) in changes {
        let (directory, file) = split(name);
        let old = folder.text(name, FIXTURE_BYTES).ok();
        match folder.write(directory, file, text.as_bytes(), replace) {
            Ok(()) => drop(before.insert(name.clone(), old)),
            Err(cause) => {
                undo(folder, &before);
                return Err(match cause.kind() {
                    std::io::ErrorKind::AlreadyExists => NotPlaced::Exists(name.clone()),
                    _ => NotPlaced::ReadOnly { file: name.clone(), cause },
                });
            }
        }
    }
    Ok(before)
}

fn undo(folder: &Folder, before: &BTreeMap<String, Option<String>>) {
    for (name, text) in before {
        let (directory, file) = split(name);
        let undone = match text {
            Some(text) => folder.write(directory, file, text.as_bytes(), true),
            None => folder.remove(directory.unwrap_or("."), file),
        };
        if let Err(error) = undone {
            tracing::error!(cause = %error, file = %folder.join(name).display(), "a change cannot be undone");
        }
    }
}

fn split(name: &str) -> (Option<&str>, &str) {
    name.split_once('/').map_or((None, name), |(directory, file)| (Some(directory), file))
}

/// Stores the folder with these changes as a new version in the database, and makes it the active one.
fn publish(
    app: &App,
    integration: &Integration,
    folder: &Folder,
    changes: &Changes,
    admin: &Admin,
) -> Result<Placed, NotPlaced> {
    let other = |e: &dyn std::fmt::Display| NotPlaced::Other(e.to_string());
    let cluster = app.store.cluster().ok_or_else(|| other(&"the store has no published plugins"))?;
    let name = &*integration.name.0;
    let host = app.host.as_ref().ok_or_else(|| other(&"this server runs no plugins"))?;
    let module_bytes = host.limits().module_bytes;
    let before = cluster.bundles().active()?.0.into_iter().find(|it| it.name == name).map(|it| it.version);
    let manifest = folder.text("plugin.toml", MANIFEST_BYTES).map_err(|e| other(&e))?;
    let mut version = integration.version.clone();
    for _ in 0..NUMBERS {
        version = next_version(&version);
        let staged = Staged::new(&app.config.data_dir, name).map_err(|e| other(&e))?;
        Bundle::of(folder, module_bytes).map_err(|e| other(&e))?.write(&staged.folder).map_err(|e| other(&e))?;
        let copy = Folder::open(&staged.folder).map_err(|e| other(&e))?;
        let text =
            with_version(&manifest, &version).ok_or_else(|| other(&"plugin.toml has no line with its version"))?;
        into_folder(&copy, &Changes::from([("plugin.toml".to_owned(), text)]), true)?;
        into_folder(&copy, changes, true)?;
        let bytes = Bundle::of(&copy, module_bytes).map_err(|e| other(&e))?.encode();
        let (digest, by) = (digest(&bytes), admin.name().to_owned());
        let entry = |action| admin.does(action, name).of(&integration.company_id);
        let bundle = NewBundle {
            name: name.to_owned(),
            version: version.clone(),
            company_id: integration.company_id.to_string(),
            digest: digest.clone(),
            publisher: by.clone(),
            bytes,
        };
        let published = entry(Action::PluginPublished).with(format!("version {version}, sha256 {digest}, by {by}"));
        // Somebody may have used this number for something else.
        if let PublishOutcome::Other { .. } = cluster.bundles().publish(bundle, published)? {
            continue;
        }
        let activated = entry(Action::PluginActivated).with(format!("version {version}"));
        cluster.bundles().activate(name, &version, &by, activated)?;
        return Ok(Placed::Published { before });
    }
    Err(NotPlaced::Other(format!(
        "the versions after {} are all taken; publish one with the command line",
        integration.version
    )))
}

/// A directory for the new version's folder, removed when it is dropped.
pub(super) struct Staged {
    dir: PathBuf,
    pub(super) folder: PathBuf,
}

impl Staged {
    pub(super) fn new(data_dir: &Path, name: &str) -> std::io::Result<Self> {
        let dir = data_dir.join(format!("plugin-staged-{}", crate::model::ids::new_id(crate::model::time::now())));
        std::fs::create_dir(&dir)?;
        let folder = dir.join(name);
        Ok(Self { dir, folder })
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _stays = std::fs::remove_dir_all(&self.dir);
    }
}
