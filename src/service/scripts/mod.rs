//! Plugin folders that are changed through the API: scripts, each change a version that has passed its fixtures, and fixtures.
//!
//! `save.rs` is the way of a change: checked, written, live. `place.rs` writes it into the plugins folder, or publishes it as a
//! version in the database; `history.rs` has the earlier versions of the scripts of a plugins folder.

mod edits;
mod history;
mod place;
mod save;
mod versions;

pub(crate) use edits::Edits;
pub(crate) use place::NotPlaced;
pub(crate) use save::{NotSaved, SavedScript, ScriptEdit, save_fixture, save_script};
pub(crate) use versions::{ScriptVersion, VersionText, script_version, script_versions};
