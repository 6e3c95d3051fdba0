//! What the fuzzer and the process with the store say to each other: a line of JSON each way.
//!
//! Values do not travel: a request says from which few numbers they are made (`made.rs`), and an answer has their
//! hashes. Both sides run the same code.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::made::{AnswerOf, Delivery, EntryOf, KeyOf, PatchOf};

/// How the child opens the store; small numbers, so that much happens in little time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settings {
    pub segment_bytes: u64,
    pub snapshot_bytes: u64,
    /// Days that events are kept.
    pub events: Option<i64>,
    /// Days until deleted tasks are purged.
    pub deleted_tasks: Option<i64>,
}

/// A change of what is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Write {
    /// Events that are new, and what they made.
    Commit {
        deliveries: Vec<Delivery>,
        answer: Option<AnswerOf>,
    },
    /// Stores an event again, as the caller read it last, with its result.
    Again {
        delivery: Delivery,
    },
    /// A task's change, or its deletion.
    Update {
        company: u8,
        task: Uuid,
        version: u64,
        patch: Option<PatchOf>,
        at_ms: i64,
    },
    Key {
        key: KeyOf,
        entry: EntryOf,
    },
    Note {
        entry: EntryOf,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Request {
    Open {
        dir: PathBuf,
        settings: Settings,
    },
    Close,
    /// All of them at once; answered in this order.
    Writes(Vec<Write>),
    Expire {
        now_ms: i64,
    },
    Forget {
        integration: u8,
        days: i64,
        now_ms: i64,
    },
    Erase {
        company: u8,
        patient: u8,
        now_ms: i64,
    },
    Compact,
    Backup {
        to: PathBuf,
    },
    /// One of the above, and writes and reads at the same time: each is answered. The last answer is that of the reads.
    Busy {
        upkeep: Box<Request>,
        writes: Vec<Write>,
    },
    /// Of a directory that no store has open.
    Check {
        dir: PathBuf,
    },
    Restore {
        from: PathBuf,
        to: PathBuf,
    },
    /// Waits until the store is ready, at most so long.
    Ready {
        patience_ms: u64,
    },
    /// Waits until the closed segments of the journal are verified, and says what is damaged.
    Verify,
    /// Everything, in every way in which it can be read.
    Dump {
        scans: Scans,
        answers: Vec<AnswerOf>,
        now_ms: i64,
        gone: Vec<(u8, Uuid)>,
        /// Where each company's follower of the feed is; none for the beginning.
        feed: Vec<Option<String>>,
        patience_ms: u64,
    },
}

/// What is compared of an export and of a dry run's history, which read the journal from its first byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scans {
    /// They have what the lists have.
    Exact,
    /// They may have more: what failed to be written, and was not acknowledged.
    More,
    /// Where the journal is damaged, a dry run leaves events out, as it says; an export must not.
    Export,
    Neither,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Stored,
    /// An earlier request with the same key was answered so.
    Repeated(u64),
    Updated(u64),
    Missing,
    Stale(u64),
    /// The event was erased, and was not stored again.
    Erased,
    /// A start that was refused, or any other error.
    Failed(String),
    Each(Vec<Reply>),
    /// The events that were erased.
    ErasedEvents(Vec<Uuid>),
    Report {
        damages: Vec<String>,
        repairable: Vec<String>,
    },
    Dump(Box<Dump>),
}

/// What a store holds, as hashes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Dump {
    /// Each company's tasks, newest first.
    pub tasks: Vec<Vec<(Uuid, u64)>>,
    /// Each company's events, newest first.
    pub events: Vec<Vec<Seen>>,
    pub queue: Vec<(u8, Uuid)>,
    pub answers: Vec<Option<u64>>,
    pub keys: Vec<(String, u64)>,
    /// Newest first.
    pub audit: Vec<(Uuid, u64)>,
    /// What each company's follower of the feed gets.
    pub feed: Vec<Followed>,
    /// Where the ways of reading do not agree with each other.
    pub problems: Vec<String>,
}

/// The changes of a company since a cursor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    /// The cursor had expired, and everything was read again.
    pub again: bool,
    /// Without a hash where a task was deleted.
    pub changes: Vec<(Uuid, Option<u64>)>,
    pub cursor: String,
}

/// An event that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub id: Uuid,
    pub erased: bool,
    /// Of all of it, or of what an erased event still has.
    pub hash: u64,
}
