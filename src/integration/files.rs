//! Reads the files of a plugin folder.

use std::path::PathBuf;

use crate::plugin::LoadError;
use crate::system::folder::Folder;

/// Why a folder cannot go live. Each variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum LoadFailure {
    /// A file cannot be read.
    #[error("{file}: cannot be read: {cause}", file = file.display())]
    Read {
        /// Path of the file.
        file: PathBuf,
        /// Error of the operating system.
        cause: std::io::Error,
    },
    /// plugin.toml is invalid.
    #[error("{file}: {cause}", file = file.display())]
    Manifest {
        /// Path of the file.
        file: PathBuf,
        /// What is wrong, as sentences.
        cause: String,
    },
    /// The payload's schema cannot be used.
    #[error("{file}: {cause}", file = file.display())]
    Schema {
        /// Path of the file.
        file: PathBuf,
        /// Where and what is wrong.
        cause: String,
    },
    /// The module is not a plugin.
    #[error(transparent)]
    Module(#[from] LoadError),
    /// A script that is not in the folder yet cannot be compiled.
    #[error("{0}")]
    Script(String),
    /// The folder of a live plugin belongs to another company now, whose files the live one's admins must not see.
    #[error("the plugin's folder belongs to another company now; the operator can say why")]
    OtherCompany,
    /// The plugin fails one of its fixtures.
    #[error("{file}: {cause}", file = file.display())]
    Fixture {
        /// Path of the fixture.
        file: PathBuf,
        /// What is different.
        cause: String,
    },
}

/// Reads a text file of a folder, with at most `most` bytes.
pub(crate) fn read(folder: &Folder, file: impl AsRef<std::path::Path>, most: u64) -> Result<String, LoadFailure> {
    folder.text(&file, most).map_err(|cause| LoadFailure::Read { file: folder.join(file), cause })
}
