//! The store: events, tasks, idempotency keys, API keys and the audit log.
//!
//! [`Embedded`] (a journal, with sled as its read view) is the default backend. A backend acknowledges a write only
//! when it would survive a power cut, and a read shows every change that was acknowledged before the read began.
//!
//! `query.rs` has the filters and pages of lists, `idempotency.rs` the ids of repeated requests, `error.rs` the
//! errors, and `faulty.rs` a backend for tests that fails on purpose.

pub mod embedded;
mod error;
mod faulty;
mod idempotency;
mod query;
mod stats;
mod verbs;
mod write;

pub use embedded::Embedded;
pub use error::{Damage, StoreError};
pub use faulty::{Fault, Faulty};
pub use idempotency::{FirstAnswer, Idempotency, IdempotencyId};
pub use query::{Cursor, EventFilter, EventPage, Page, TaskFilter, TaskPage};
pub use stats::{CompanyStats, Expired, Stats};
pub use verbs::Store;
pub use write::{Commit, Committed, EventVersion, Ingested, Replace, Replaced, Updated, Versioned};
