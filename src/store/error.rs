//! What can go wrong in a store.

/// A place in the journal that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file name.
    pub segment: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub cause: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {} at byte {}: {}", self.segment, self.offset, self.cause)
    }
}

/// Why the store could not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has the data directory.
    #[error("{dir} is in use by {holder}; stop that server first, or give this one another --data-dir")]
    InUse {
        /// The data directory.
        dir: String,
        /// Who holds it, as far as the lock file says.
        holder: String,
    },
    /// The data directory cannot be opened.
    #[error("cannot open {dir}: {cause}")]
    Open {
        /// The data directory.
        dir: String,
        /// What the system or the database said.
        cause: String,
    },
    /// Acknowledged changes are damaged in the journal: nothing is served until an admin says so.
    #[error(
        "the journal is damaged, and what was acknowledged there cannot be read: {}. Restore a backup \
         (`hookmill store restore`), or start with --accept-loss to serve all the rest",
        list(.0)
    )]
    Journal(Vec<Damage>),
    /// The disk is nearly full: writing stops early, so that reading and purging stay possible.
    #[error("the disk is nearly full: {free} bytes are free, and {needed} have to be")]
    Full {
        /// Bytes that are free.
        free: u64,
        /// Bytes that have to be free for this.
        needed: u64,
    },
    /// The disk has no byte left for what had to be done. Whatever was acknowledged is there.
    #[error("no space is left on the disk: {0}")]
    NoSpace(String),
    /// The view has failed, and is being rebuilt from the journal, which has everything.
    #[error("the database is being rebuilt from the journal, try again in some seconds: {0}")]
    Rebuilding(String),
    /// A write did not reach the disk: it may or may not be there after a restart.
    #[error("the write did not reach the disk: {0}")]
    Write(String),
    /// A read failed.
    #[error("the read failed: {0}")]
    Read(String),
    /// A stored value does not match its checksum or format.
    #[error("the stored {what} is damaged: {cause}")]
    Damaged {
        /// Which kind of value.
        what: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// A company has used every row: each task ever stored takes one, and they are never given again.
    #[error("company {company} has stored as many tasks as one company can: 4,294,967,295")]
    OutOfRows {
        /// The company.
        company: String,
    },
    /// The writer has ended: the server is shutting down, or the writer failed.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// One word for everybody: no path, no size, no text of the system's.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Full { .. } | Self::NoSpace(_) => "full",
            Self::Rebuilding(_) => "rebuilding",
            Self::Journal(_) | Self::Damaged { .. } => "damaged",
            Self::InUse { .. } | Self::Open { .. } | Self::Closed => "closed",
            Self::Write(_) | Self::Read(_) | Self::OutOfRows { .. } => "failed",
        }
    }
}

fn list(damages: &[Damage]) -> String {
    damages.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
