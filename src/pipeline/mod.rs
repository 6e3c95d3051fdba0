//! The pipeline, the same for every source of deliveries. Types represent the state, so that no stage can be
//! skipped: [`RawEvent`] → [`Payload`] → [`CheckedPayload`] → [`Outcome`](crate::plugin::Outcome) → [`NewTask`] →
//! [`Task`](crate::model::task::Task).
//!
//! `ingest/checked.rs` is the part around the plugin, `ingest/outcome.rs` what is stored and sent as the response,
//! `ingest/stop.rs` why a run ends early, and `ingest/stages.rs` how long each stage took. `ingest/batch.rs` runs
//! many items with one commit, `ingest/later.rs` queued deliveries, `ingest/redrive.rs` replays,
//! `ingest/attempt.rs` repeated attempts of a quarantined delivery, `ingest/rehearsal.rs` runs without storing
//! anything, and `ingest/noted.rs` stores deliveries that do not run.

mod attempt;
mod batch;
mod counted;
mod hook;
mod later;
mod noted;
mod observers;
mod outcome;
mod parts;
mod redrive;
mod rehearsal;
mod stages;
pub(super) mod verdict;

pub use attempt::{Attempted, attempt};
pub use batch::batch;
pub use hook::{hook, task};
pub(crate) use later::moved;
pub use later::{accept, panicked, work};
pub use noted::{duplicate, skip, unreadable};
pub use observers::{Observer, Observers};
pub use outcome::{Ended, Receipt, Told, refusal, rejected};
pub use parts::Pipeline;
pub use redrive::{Asking, Existing, NotRedriven, Redriven, redrive};
pub use rehearsal::{Rehearsed, rehearse};
