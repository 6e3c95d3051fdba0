//! The pipeline, the same for every source of deliveries. Types represent the state, so that no stage can be
//! skipped: [`RawEvent`](crate::model::event::RawEvent) → [`Payload`](crate::format::payload::Payload) →
//! `CheckedPayload` → [`Outcome`](crate::plugin::Outcome) →
//! [`NewTask`](crate::model::task::NewTask) → [`Task`](crate::model::task::Task).
//!
//! `hook.rs` runs a delivery or a task up to the commit, `prepared.rs` is what the caller then writes its response from and
//! commits, `outcome.rs` is what is stored at the end, `stages.rs` how long each stage
//! took. `batch.rs` runs many tasks with one commit, `later.rs` deliveries that were acknowledged first, `redrive.rs`
//! replays, `captured.rs` deliveries that are stored and not mapped, `attempt.rs` another attempt of a sender, `copied.rs` copies that an admin makes, `rehearsal.rs` runs that store nothing, and `noted.rs` stores
//! deliveries that are not run. `parts.rs` is what they share, `observers.rs` passes results on to shadows.

mod attempt;
mod batch;
mod captured;
mod copied;
mod counted;
mod hook;
mod later;
mod noted;
mod observers;
mod outcome;
mod parts;
mod prepared;
mod redrive;
mod rehearsal;
mod stages;
pub(super) mod verdict;

pub use attempt::{PreparedAttempt, ReadyAttempt, SupersededAttempt, attempt};
pub use batch::{PreparedBatch, batch};
pub use copied::{CopiedEvent, copied};
pub use hook::{hook, task};
pub(crate) use later::moved;
pub use later::{QueuedEvent, accept, interrupted, panicked, unstorable, work};
pub use noted::{duplicate, question, unreadable};
pub use observers::{Observer, Observers};
pub use outcome::{HANDSHAKE, Receipt, Superseded, refusal, rejected};
pub use parts::Pipeline;
pub use prepared::{Prepared, ReadyRun};
pub use redrive::{Asking, Existing, NotRedriven, PreparedReplay, ReadyReplay, Redriven, is_replayable, redrive};
pub use rehearsal::{Rehearsed, rehearse};
