//! The active plugins of the database, as folders.
//!
//! The folder with them belongs to this server alone, and is brought up to date before each pass of the loader. So they are
//! compiled, tested and replaced like the folders of an operator, and a version that is refused leaves the old one live.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::integration::Bundle;
use crate::integration::bundle::digest;
use crate::store::{ActiveBundle, Bundles, Store};
use crate::system::folder::{Folder, names};

/// Writes active plugins into a folder.
pub struct ActiveBundles {
    store: Arc<dyn Store>,
    dir: PathBuf,
    /// Maximum size of a bundle, in bytes.
    most: u64,
    /// The activations that were tried.
    tried: HashMap<String, Attempt>,
    /// Number of the last activation that was tried; `None` if the database could not be read yet.
    activation: Option<i64>,
    /// Names of the active plugins, also of those that could not be taken from the database.
    names: BTreeSet<String>,
}

/// An activation that was tried.
#[derive(Debug)]
struct Attempt {
    activation: i64,
    /// Of the bundle: in a restored database, another activation may have the same number.
    digest: String,
    /// Why the version could not be taken from the database. The folder has the version before, if there was one.
    refused: Option<String>,
}

impl std::fmt::Debug for ActiveBundles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActiveBundles").field("dir", &self.dir).field("tried", &self.tried).finish_non_exhaustive()
    }
}

impl ActiveBundles {
    /// Prepares the folder, which only this server uses. The maximum size of a module is in bytes.
    ///
    /// # Errors
    /// Fails if the folder cannot be created.
    pub fn new(store: Arc<dyn Store>, dir: PathBuf, module_bytes: u64) -> std::io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
        let most = Bundle::most_bytes(module_bytes);
        Ok(Self { store, dir, most, tried: HashMap::new(), activation: None, names: BTreeSet::new() })
    }

    /// Returns the number of the last activation that was tried; `None` if the database could not be read yet.
    pub(super) fn activation(&self) -> Option<i64> {
        self.activation
    }

    /// Returns the names of the active plugins.
    pub(super) fn names(&self) -> &BTreeSet<String> {
        &self.names
    }

    /// Returns the versions that could not be taken from the database, with the reason.
    pub(super) fn refused(&self) -> BTreeMap<String, String> {
        let refused = |(name, it): (&String, &Attempt)| Some((name.clone(), it.refused.clone()?));
        self.tried.iter().filter_map(refused).collect()
    }

    /// Brings the folder up to date. Returns the plugins to load although their folder may not have changed. `again`: versions
    /// that were refused are tried again.
    ///
    /// # Errors
    /// Why the database or the folder cannot be used now. What was not done is done by the next call.
    pub(super) fn fetch(&mut self, again: bool) -> Result<Vec<String>, String> {
        let store = Arc::clone(&self.store);
        let Some(cluster) = store.cluster() else { return Ok(Vec::new()) };
        let (active, last) = cluster.bundles().active().map_err(|e| e.to_string())?;
        self.names = active.iter().map(|it| it.name.clone()).collect();
        self.remove_others(&active).map_err(|e| format!("{}: {e}", self.dir.display()))?;
        let mut reload = Vec::new();
        for it in active {
            let known = self.tried.get(&it.name);
            let is_tried = |known: &Attempt| known.activation == it.activation && known.digest == it.digest;
            if known.is_some_and(|known| is_tried(known) && !(again && known.refused.is_some())) {
                continue;
            }
            // The same version again, or the one before a version that was refused: the folder is unchanged.
            if known.is_some() {
                reload.push(it.name.clone());
            }
            let refused = if self.has(&it) { None } else { self.take(cluster.bundles(), &it)? };
            let ActiveBundle { name, activation, digest, .. } = it;
            self.tried.insert(name, Attempt { activation, digest, refused });
        }
        self.activation = Some(last);
        Ok(reload)
    }

    /// Returns whether the folder has this version, byte by byte.
    fn has(&self, it: &ActiveBundle) -> bool {
        let folder = Folder::open_in(&self.dir, &it.name).ok();
        let bundle = folder.and_then(|it| Bundle::of(&it, self.most).ok());
        bundle.is_some_and(|bundle| digest(&bundle.encode()) == it.digest)
    }

    /// Takes a version from the database. Returns why it is refused.
    fn take(&self, bundles: &dyn Bundles, it: &ActiveBundle) -> Result<Option<String>, String> {
        let ActiveBundle { name, version, .. } = it;
        let bytes = bundles.bundle(name, version, self.most).map_err(|e| e.to_string())?;
        let Some(bytes) = bytes else {
            let most = self.most;
            return Ok(Some(format!(
                "version {version} in the database has more than {most} bytes: publish it with a smaller module, or raise plugins.module_mib"
            )));
        };
        let found = digest(&bytes);
        if found != it.digest {
            let expected = &it.digest;
            return Ok(Some(format!(
                "version {version} in the database was changed after it was published, or is damaged (sha256 {found}, published with {expected}): activate another version, or publish this one under another number"
            )));
        }
        let bundle = match Bundle::decode(&bytes) {
            Ok(bundle) => bundle,
            Err(cause) => return Ok(Some(format!("version {version} in the database cannot be read: {cause}"))),
        };
        self.place(name, &bundle).map_err(|e| format!("{}: {e}", self.dir.join(name).display()))?;
        Ok(None)
    }

    /// Replaces a plugin's folder. Nothing looks at it in between, because the loader's thread does this.
    fn place(&self, name: &str, bundle: &Bundle) -> std::io::Result<()> {
        let (to, new, old) =
            (self.dir.join(name), self.dir.join(format!(".new-{name}")), self.dir.join(format!(".old-{name}")));
        remove(&new)?;
        remove(&old)?;
        bundle.write(&new)?;
        match fs::rename(&to, &old) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => fs::rename(&new, &to)?,
        }
        remove(&old)
    }

    /// Removes folders of plugins that are not active, and what a crash has left.
    fn remove_others(&mut self, active: &[ActiveBundle]) -> std::io::Result<()> {
        self.tried.retain(|name, _| active.iter().any(|it| it.name == *name));
        let others = names(&self.dir)?.into_iter().filter(|name| active.iter().all(|it| *name != *it.name));
        others.into_iter().try_for_each(|name| remove(&self.dir.join(name)))
    }
}

fn remove(dir: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => fs::remove_file(dir),
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
