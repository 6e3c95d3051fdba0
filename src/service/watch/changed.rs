//! A plugin folder that has changed.

use std::path::PathBuf;

use super::stamp::Stamp;

/// A folder to be loaded.
pub(crate) struct Changed {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
}
