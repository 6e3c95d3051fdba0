//! Writes: those that are waiting on this node become one transaction, and each gets its own outcome.
//!
//! A batch of new events and tasks takes one exchange with the server (`beginning.rs`). Any other takes two: the first begins the
//! transaction, locks the rows of the batch's companies in the order of their ids, and reads what the changes name
//! (`load.rs`). Then each change is decided in order (`decide.rs`, `again.rs`), and the second exchange writes the rows
//! (`writes.rs`, `rows.rs`) and commits. Nothing waits for a timer: a lone write proceeds immediately, and batches form under load
//! (`batches.rs`).
//!
//! A transaction that failed in passing is repeated within the time of its oldest request. Where the connection was lost
//! after the COMMIT was sent, the outcome is looked up first. A change that the database refuses fails alone: the others
//! of its batch are repeated in halves.

mod again;
mod attempt;
mod batches;
mod beginning;
mod decide;
mod evidence;
mod ids;
mod load;
mod rows;
mod run;
mod sent;
mod waiting;
mod writes;

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::{mpsc, oneshot};

use super::change::{Mutation, MutationDone};
use super::shared::SharedDatabase;
use crate::model::company::CompanyId;
use crate::model::ids::EventId;
use crate::store::error::StoreError;
pub(super) use again::version_of;
use batches::Batches;
pub(super) use ids::AnswerKey;
pub(super) use load::{api_key, company, first_answer, task, whole_event};
use waiting::WaitingMutation;
pub(super) use writes::{ErasedPatient, UPSERT_ERASURE};

/// Number of events that one change erases.
const ERASED: usize = 200;
/// Number of changes that may wait.
const WAITING: usize = 4096;

/// Takes changes from callers.
#[derive(Debug, Clone)]
pub(super) struct MutationWriter(mpsc::Sender<WaitingMutation>);

impl MutationWriter {
    /// Starts writing on the current runtime.
    pub(super) fn start(shared: &Arc<SharedDatabase>) -> Self {
        let (send, receive) = mpsc::channel(WAITING);
        tokio::spawn(Batches::new(Arc::clone(shared)).form(receive));
        Self(send)
    }

    /// Writes a change. It goes on if the caller does not wait for it.
    pub(super) async fn write(&self, change: Mutation) -> Result<MutationDone, StoreError> {
        let (reply, done) = oneshot::channel();
        let request = WaitingMutation { change, reply, since: Instant::now() };
        self.0.send(request).await.map_err(|_| StoreError::Closed)?;
        done.await.map_err(|_| StoreError::Closed)?
    }

    /// Erases what was sent of a company's events. Returns the number of those that were not erased before.
    pub(super) async fn erase(
        &self,
        company: &CompanyId,
        events: &[EventId],
        at: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        for events in events.chunks(ERASED) {
            let change = Mutation::Erase { company: company.clone(), events: events.to_vec(), at };
            if let MutationDone::Erased(erased) = self.write(change).await? {
                count += erased;
            }
        }
        Ok(count)
    }
}
