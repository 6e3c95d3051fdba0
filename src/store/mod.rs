//! The store: events, tasks, idempotency keys, API keys and the audit log.
//!
//! [`Embedded`] (a journal, with sled as its read view) is the default backend. A backend acknowledges a write only
//! when it would survive a power cut, and a read shows every change that was acknowledged before the read began.
//!
//! `verbs.rs` has the operations of every backend, `write.rs` the writes, `query.rs` the filters and pages of lists,
//! `feed.rs` the change feed, `idempotency.rs` the ids of repeated requests, `erasure/` what belongs to a patient,
//! `history.rs` and `item.rs` everything that is stored, event by event and item by item, `error.rs` the errors, and
//! `faulty.rs` a backend for tests that fails on purpose.

mod bundles;
mod changed;
mod cluster;
mod dir_lock;
pub(crate) mod document;
pub mod embedded;
pub mod erasure;
mod error;
mod faulty;
mod feed;
mod history;
mod id_time;
mod idempotency;
mod in_place;
mod item;
mod json_size;
pub mod postgres;
mod query;
mod replay_jobs;
mod sessions;
mod stats;
mod timeline;
pub mod verbs;
mod write;

pub use bundles::{ActiveBundle, BundleVersion, Bundles, NewBundle, PublishOutcome, Switched};
pub use changed::SharedVersions;
pub use cluster::{
    Claim, ClaimRequest, ClaimedEvent, Cluster, Depth, EventCount, Node, QueueOf, Shareable, SuspectRoom,
};
pub use dir_lock::{DirLock, RunningServer, running_server};
pub use embedded::Embedded;
pub use error::{Damage, StoreError};
pub use faulty::{Fault, Faulty};
pub use feed::{ChangeFeed, FeedCursor, FeedPage};
pub use history::{EventHistory, Packed, Past, Wanted};
pub use idempotency::{FirstAnswer, Idempotency, IdempotencyId};
pub use item::{Imported, StoredAnswer, StoredErasure, StoredItem};
pub use postgres::Postgres;
pub use query::{
    Cursor, EventFilter, EventOutline, EventPage, PageRequest, TaskFilter, TaskPage, WHOLE_BYTES, WholeEvents,
};
pub use replay_jobs::{ReplayBeat, ReplayJobStore, SharedReplay};
pub use sessions::{ConsoleSession, MemorySessions, SessionLimits, SessionStore, TokenHash};
pub use stats::{CompanyStats, Expired, Stats};
pub use timeline::{Timeline, TimelineCount, TimelineWindow};
pub use verbs::{EventQueue, KeyStore, Store, TaskStore, Upkeep};
pub use write::{Commit, Committed, EventVersion, Ingested, Replace, Replaced, Updated, Versioned};
