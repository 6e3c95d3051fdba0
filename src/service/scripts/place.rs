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
    InFolder(BTreeMap<String, Option<Vec<u8>>>),
    /// The database has a version with them, and it is the active one.
    Published {
        /// The version that was active before.
        before: String,
        /// The new version.
        version: String,
    },
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPlaced {
    /// The folder cannot be written.
    #[error(
        "{file} cannot be written; the server's log says why. Change the folder where it comes from, such as a repository"
    )]
    ReadOnly {
        /// The file.
        file: String,
        /// Error of the operating system.
        cause: std::io::Error,
    },
    /// There is such a file already.
    #[error("{0} is there already; choose another name, or replace it")]
    Exists(String),
    /// Another version has become the active one since the server loaded this one.
    #[error("somebody has made another version the active one; load the plugin again, and repeat your change")]
    Superseded,
    /// The database cannot take it.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// Files of the server cannot be read or written; its log has the paths.
    #[error("the plugin's files cannot be read or written; the server's log says why")]
    Files,
    /// Something else.
    #[error("{0}")]
    Other(String),
}

impl NotPlaced {
    /// An error of the server's files, which only its log shows.
    pub(super) fn files(cause: impl std::fmt::Display) -> Self {
        tracing::warn!(%cause, "a plugin's files cannot be read or written");
        Self::Files
    }
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
    let folder = folder.map_err(NotPlaced::files)?;
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
        Placed::Published { before: version, version: ours } => {
            let Some(cluster) = app.store.cluster() else { return };
            let entry = admin.does(Action::PluginRolledBack, name).of(&integration.company_id);
            let back = cluster.bundles().activate_after(
                name,
                version,
                ours,
                admin.name(),
                entry.with(format!("version {version}")),
            );
            if let Err(error) = back {
                tracing::error!(cause = %error, plugin = name, "the version before cannot be activated again");
            }
        }
    }
}

fn into_folder(
    folder: &Folder,
    changes: &Changes,
    replace: bool,
) -> Result<BTreeMap<String, Option<Vec<u8>>>, NotPlaced> {
    let mut before = BTreeMap::new();
    for (name, text) in changes {
        let (directory, file) = split(name);
        // As bytes: a file that is there is put back as it was, whatever it is.
        let old = match folder.read(name, FIXTURE_BYTES) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(cause) => {
                undo(folder, &before);
                return Err(NotPlaced::ReadOnly { file: name.clone(), cause });
            }
        };
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

fn undo(folder: &Folder, before: &BTreeMap<String, Option<Vec<u8>>>) {
    for (name, text) in before {
        let (directory, file) = split(name);
        let undone = match text {
            Some(bytes) => folder.write(directory, file, bytes, true),
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
    let other = |it: &str| NotPlaced::Other(it.to_owned());
    let cluster = app.store.cluster().ok_or_else(|| other("the store has no published plugins"))?;
    let name = &*integration.name.0;
    let host = app.host.as_ref().ok_or_else(|| other("this server runs no plugins"))?;
    let module_bytes = host.limits().module_bytes;
    let before = cluster.bundles().active()?.0.into_iter().find(|it| it.name == name).map(|it| it.version);
    // The folder here is the version that this server runs: another one would be overwritten unseen.
    let before = before.filter(|it| *it == integration.version).ok_or(NotPlaced::Superseded)?;
    let manifest = match changes.get("plugin.toml") {
        Some(changed) => changed.clone(),
        None => folder.text("plugin.toml", MANIFEST_BYTES).map_err(NotPlaced::files)?,
    };
    let mut version = integration.version.clone();
    for _ in 0..NUMBERS {
        version = next_version(&version);
        let staged = Staged::new(&app.config.data_dir, name).map_err(NotPlaced::files)?;
        Bundle::of(folder, module_bytes).map_err(NotPlaced::files)?.write(&staged.folder).map_err(NotPlaced::files)?;
        let copy = Folder::open(&staged.folder).map_err(NotPlaced::files)?;
        let text =
            with_version(&manifest, &version).ok_or_else(|| other("plugin.toml has no line with its version"))?;
        let mut changes = changes.clone();
        changes.insert("plugin.toml".to_owned(), text);
        into_folder(&copy, &changes, true)?;
        let bytes = Bundle::of(&copy, module_bytes).map_err(NotPlaced::files)?.encode();
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
        let switched = cluster.bundles().activate_after(name, &version, &before, &by, activated)?;
        return switched.map(|_| Placed::Published { before, version }).ok_or(NotPlaced::Superseded);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Otherwise a change that is refused deletes a file that was there before it.
    #[test]
    fn what_was_there_is_put_back_byte_by_byte_and_what_cannot_be_kept_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join("fixtures").join(name);
        std::fs::create_dir(dir.path().join("fixtures")).unwrap();
        std::fs::write(path("a.json"), b"\xff\xfe").unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let changes = |names: &[&str]| names.iter().map(|it| (format!("fixtures/{it}"), "{}".to_owned())).collect();
        let before = into_folder(&folder, &changes(&["a.json", "new.json"]), true).unwrap();
        assert_eq!(std::fs::read(path("a.json")).unwrap(), b"{}");
        undo(&folder, &before);
        assert!(std::fs::read(path("a.json")).unwrap() == b"\xff\xfe" && !path("new.json").exists());
        let large = usize::try_from(FIXTURE_BYTES).unwrap() + 1;
        std::fs::write(path("large.json"), vec![b' '; large]).unwrap();
        into_folder(&folder, &changes(&["a.json", "large.json"]), true).unwrap_err();
        assert_eq!(std::fs::read(path("large.json")).unwrap().len(), large);
        assert_eq!(std::fs::read(path("a.json")).unwrap(), b"\xff\xfe", "nothing has changed");
    }
}
