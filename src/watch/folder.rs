//! One plugin folder, and its shadow: each is loaded on a thread of the pass.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::loader::Changed;
use super::stamp::Stamp;
use crate::auth::CompanyId;
use crate::config::Secrets;
use crate::folder::Folder;
use crate::integration::load::{company_of, load, open_in, shadow};
use crate::integration::{Beside, Integration, LoadFailure};
use crate::plugin::Host;

/// A folder that was loaded.
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    /// Or why not.
    pub(super) result: Result<Arc<Integration>, String>,
}

/// A folder of the plugins folder.
fn opened(path: &Path) -> Result<Folder, LoadFailure> {
    open_in(path.parent().unwrap_or(path), path.file_name().unwrap_or_default())
}

/// Whose it would be, where its plugin.toml says so.
pub(super) fn company(path: &Path) -> Option<CompanyId> {
    company_of(&opened(path).ok()?)
}

/// Loads a folder, without its shadow.
pub(super) fn load_one(host: &Host, secrets: &Secrets, Changed { name, path, stamp }: Changed) -> Loaded {
    let unexpected = |_| Err(format!("{}: loading it failed unexpectedly", path.display()));
    let refused = |failure: LoadFailure| failure.to_string();
    let open = || opened(&path);
    let whole = || open().and_then(|it| load(host, &it, secrets, crate::clock::now())).map_err(refused);
    let result = catch_unwind(AssertUnwindSafe(whole)).unwrap_or_else(unexpected).map(Arc::new);
    Loaded { name, path, stamp, result }
}

/// Loads the shadow of a plugin that is live, where it has one.
pub(super) fn load_shadow(host: &Host, secrets: &Secrets, path: &Path, live: &Integration) {
    let start = || shadow(host, &opened(path).ok()?, live, secrets, crate::clock::now());
    let beside = catch_unwind(AssertUnwindSafe(start));
    let Ok(Some(beside)) = beside else { return };
    if let Beside { folder, shadow: Err(cause) } = &beside {
        tracing::error!(plugin = %live.name, "its shadow {folder} does not run: {cause}");
    }
    let _the_first = live.beside.set(beside);
}
