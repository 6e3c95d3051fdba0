//! Errors of a store.

/// A damaged place in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// File name of the segment.
    pub segment: String,
    /// Position in the segment, in bytes.
    pub offset: u64,
    /// What is wrong at this position.
    pub cause: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {} at byte {}: {}", self.segment, self.offset, self.cause)
    }
}

/// Why a store operation failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the data directory.
    #[error("{dir} is in use by {holder}; stop that server first, or give this one another --data-dir")]
    InUse {
        /// The data directory.
        dir: String,
        /// Process that holds it, according to the lock file.
        holder: String,
    },
    /// The data directory cannot be opened.
    #[error("cannot open {dir}: {cause}")]
    Open {
        /// The data directory.
        dir: String,
        /// Message of the operating system or the database.
        cause: String,
    },
    /// Acknowledged changes in the journal are damaged. The store does not start until an admin restores a backup
    /// or accepts the loss.
    #[error(
        "the journal is damaged, and acknowledged changes cannot be read: {}. Restore a backup \
         (`hookmill store restore`), or start with --accept-loss to serve the rest",
        list(.0)
    )]
    Journal(Vec<Damage>),
    /// The disk is nearly full. Writes stop early, so that reading and purging remain possible.
    #[error("the disk is nearly full: {free} bytes are free, and {needed} are required; free some space")]
    Full {
        /// Free space, in bytes.
        free: u64,
        /// Space that must be free for this operation, in bytes.
        needed: u64,
    },
    /// The disk is full, and the operation failed. Acknowledged changes are safe.
    #[error("no space is left on the disk: {0}")]
    NoSpace(String),
    /// The read view has failed and is being rebuilt from the journal, which has all changes.
    #[error("the read view is being rebuilt from the journal; try again in a few seconds: {0}")]
    Rebuilding(String),
    /// A write did not reach the disk. The change may or may not be there after a restart.
    #[error("the write did not reach the disk: {0}")]
    Write(String),
    /// A change is refused for good: repeating it has the same result.
    #[error("it cannot be stored: {0}")]
    Unstorable(String),
    /// A read failed.
    #[error("the read failed: {0}")]
    Read(String),
    /// A stored value does not match its checksum or format.
    #[error("the stored {what} is damaged: {cause}")]
    Damaged {
        /// Kind of the value, such as `task`.
        what: &'static str,
        /// What is wrong with the value.
        cause: String,
    },
    /// A company has used all of its rows. Every task takes one row, and rows are never reused.
    #[error("company {company} has reached the limit of 4,294,967,295 tasks per company")]
    OutOfRows {
        /// Id of the company.
        company: String,
    },
    /// The database cannot be used now. Nothing was stored, unless the text says that this is not known.
    #[error("{0}")]
    Unavailable(String),
    /// The writer thread has ended: the server is shutting down, or the writer failed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Returns a one-word description that is safe to show to clients: no path, no size, no system message.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Full { .. } | Self::NoSpace(_) => "full",
            Self::Rebuilding(_) => "rebuilding",
            Self::Unavailable(_) => "unavailable",
            Self::Journal(_) | Self::Damaged { .. } => "damaged",
            Self::InUse { .. } | Self::Open { .. } | Self::Closed => "closed",
            Self::Write(_) | Self::Unstorable(_) | Self::Read(_) | Self::OutOfRows { .. } => "failed",
        }
    }
}

fn list(damages: &[Damage]) -> String {
    damages.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
