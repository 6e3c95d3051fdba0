//! One plugin folder: loaded on a thread of the pass, and its shadow after it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::Utc;
use crossbeam_channel::Sender;

use super::loader::Changed;
use super::stamp::Stamp;
use crate::config::Secrets;
use crate::integration::load::{load, shadow};
use crate::integration::{Beside, Integration, LoadFailure};
use crate::plugin::Host;

/// A folder that was loaded, or its shadow.
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    pub(super) result: Came,
}

/// What loading has come to.
pub(super) enum Came {
    Live(Arc<Integration>),
    /// Why not, and the module that is still being compiled, where it is only that.
    Refused(String, Option<[u8; 32]>),
    /// The shadow's module is still being compiled.
    Late([u8; 32]),
}

/// Loads a folder, and then its shadow, for which the plugin does not wait.
pub(super) fn load_one(host: &Host, secrets: &Secrets, Changed { name, path, stamp }: Changed, done: &Sender<Loaded>) {
    let send =
        |result| drop(done.send(Loaded { name: name.clone(), path: path.clone(), stamp: stamp.clone(), result }));
    let unexpected = |_| Err((format!("{}: loading it failed unexpectedly", path.display()), None));
    let refused = |failure: LoadFailure| (failure.to_string(), failure.late());
    let whole = || load(host, &path, secrets, Utc::now()).map_err(refused);
    let live = match catch_unwind(AssertUnwindSafe(whole)).unwrap_or_else(unexpected) {
        Ok(integration) => Arc::new(integration),
        Err((message, late)) => return send(Came::Refused(message, late)),
    };
    send(Came::Live(Arc::clone(&live)));
    let start = || shadow(host, &path, &live, secrets, Utc::now());
    let Ok(Some(beside)) = catch_unwind(AssertUnwindSafe(start)) else { return };
    if let Beside { folder, shadow: Err(cause), .. } = &beside {
        tracing::error!(plugin = name, "its shadow {folder} does not run: {cause}");
    }
    beside.late.into_iter().for_each(|module| send(Came::Late(module)));
    let _the_first = live.beside.set(beside);
}
