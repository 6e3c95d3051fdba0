//! Why the configuration cannot be read.

use crate::auth::key::LONGEST;

/// Minimum length of a preset key, in characters: text that people type is weaker than random bytes.
pub const PRESET_KEY_MIN: usize = 24;

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {file}: {cause}")]
    Read {
        /// Path of the file.
        file: String,
        /// Error of the operating system.
        cause: std::io::Error,
    },
    /// The secrets file does not exist.
    #[error(
        "{file}, the secrets_file of the settings, does not exist: `hookmill secret set NAME` creates it with the first secret, and `install -m 600 /dev/null {file}` without any"
    )]
    NoSecretsFile {
        /// Path of the file.
        file: String,
    },
    /// A file is invalid.
    #[error("{file}: {cause}")]
    Parse {
        /// Path of the file.
        file: String,
        /// Where and what is wrong.
        cause: String,
    },
    /// A preset key is too easy to guess.
    #[error(
        "{0} must have {PRESET_KEY_MIN} to {LONGEST} ASCII characters, none of them blank; `openssl rand -hex 32` makes a good one"
    )]
    PresetKey(&'static str),
    /// A limit of zero would refuse everything.
    #[error("{file}: {name} cannot be 0")]
    ZeroLimit {
        /// Path of the file.
        file: String,
        /// Name of the limit, with its table.
        name: String,
    },
    /// The URL of the database is invalid. It is not quoted, because it may contain a password.
    #[error("{named}: {why}")]
    DatabaseUrl {
        /// Flag and variable.
        named: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Positions in a segment are 32-bit numbers.
    #[error("{file}: store.segment_mib must be at most 1024")]
    SegmentTooLarge {
        /// Path of the file.
        file: String,
    },
}
