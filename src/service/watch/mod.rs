//! Watches the plugins folder and updates the registry while the server runs: a folder that is added, changed or
//! removed takes effect without a restart.
//!
//! A single thread does this, independent of requests. It is woken by file system notifications, and by
//! [`Watch::reload`] for mounts that have none. `watch/loader.rs` loads the folders, `watch/folder.rs` loads one of
//! them, and `watch/stamp.rs` detects changes. With `plugins.source = "database"`,
//! `watch/active.rs` writes the active versions from the database into the folder before each pass.

mod active;
mod changed;
mod folder;
mod loader;
mod stamp;
mod thread;

pub use active::ActiveBundles;
pub use loader::{Loader, Pass};
pub use thread::Watch;
