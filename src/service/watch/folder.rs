//! Loads one plugin folder, and its shadow, on a thread of the pass.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::changed::Changed;
use super::stamp::Stamp;
use crate::auth::Senders;
use crate::integration::load::{Candidate, candidate, company_of, load, open_in};
use crate::integration::{Integration, LoadFailure};
use crate::model::company::CompanyId;
use crate::plugin::Host;
use crate::service::dry_run::{Shadow, Shadows};
use crate::system::folder::Folder;

/// The result of loading a folder.
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    /// The integration, or why it could not be loaded.
    pub(super) result: Result<Arc<Integration>, String>,
}

/// Opens a folder of the plugins folder.
fn opened(path: &Path) -> Result<Folder, LoadFailure> {
    open_in(path.parent().unwrap_or(path), path.file_name().unwrap_or_default())
}

/// Returns the company that a folder's plugin.toml names, if it can be read.
pub(super) fn company(path: &Path) -> Option<CompanyId> {
    company_of(&opened(path).ok()?)
}

/// Loads a folder without its shadow.
pub(super) fn load_one(host: &Host, senders: &Senders, Changed { name, path, stamp }: Changed) -> Loaded {
    let unexpected = |_| Err(format!("{}: loading it failed unexpectedly", path.display()));
    let refused = |failure: LoadFailure| failure.to_string();
    let open = || opened(&path);
    let whole = || open().and_then(|it| load(host, &it, senders, crate::system::clock::now())).map_err(refused);
    let result = catch_unwind(AssertUnwindSafe(whole)).unwrap_or_else(unexpected).map(Arc::new);
    Loaded { name, path, stamp, result }
}

/// Loads and starts the shadow of a live plugin, if it has one.
pub(super) fn load_shadow(host: &Host, senders: &Senders, shadows: &Shadows, path: &Path, live: &Integration) {
    let load = || candidate(host, &opened(path).ok()?, live, senders, crate::system::clock::now());
    let Ok(Some(Candidate { folder, loaded })) = catch_unwind(AssertUnwindSafe(load)) else { return };
    let started = loaded.map_err(|e| e.to_string()).and_then(|it| Shadow::start(it).map_err(|e| e.to_string()));
    if let Err(cause) = &started {
        tracing::error!(plugin = %live.name, "its shadow {folder} does not run: {cause}");
    }
    shadows.set(live, folder, started);
}
