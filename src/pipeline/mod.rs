//! The pipeline, the same for every source of deliveries. Types represent the state, so that no stage can be
//! skipped: [`RawEvent`](crate::model::event::RawEvent) → [`Payload`](crate::format::payload::Payload) →
//! `CheckedPayload` → [`Outcome`](crate::plugin::Outcome) →
//! [`NewTask`](crate::model::task::NewTask) → [`Task`](crate::model::task::Task).
//!
//! `hook.rs` runs a delivery or a task, `outcome.rs` is what is stored at the end, `stages.rs` how long each stage
//! took. `batch.rs` runs many tasks with one commit, `later.rs` deliveries that were acknowledged first, `redrive.rs`
//! replays, `attempt.rs` another attempt of a sender, `rehearsal.rs` runs that store nothing, and `noted.rs` stores
//! deliveries that are not run. `parts.rs` is what they share, `observers.rs` passes results on to shadows.

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
