//! What lanes work with, and how an event is set aside that cannot be processed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::waiting::Cause;
use crate::metrics::queue::QUEUE;
use crate::model::company::CompanyId;
use crate::model::event::Reason;
use crate::model::ids::{EventId, IntegrationName};
use crate::pipeline::{self, Pipeline};
use crate::store::StoreError;

/// The parts of the server that queued events need.
pub(super) struct Work {
    pub(super) pipeline: Arc<Pipeline>,
    /// Places for requests (`limits.concurrency`): queued events wait while many are taken.
    pub(super) in_flight: Arc<Semaphore>,
    /// The number of these places.
    pub(super) concurrency: usize,
    /// Events that were set aside since the start.
    pub(super) unreadable: AtomicU64,
}

impl Work {
    /// Sets an event aside that cannot be processed; the only place that does so. A damaged event is quarantined
    /// without its content, and one whose pipeline panics with it. An event that may become readable stays queued
    /// until the next start.
    pub(super) async fn set_aside(
        &self,
        integration: &IntegrationName,
        (company, id): (&CompanyId, EventId),
        cause: &Cause,
    ) {
        let given_up = match cause {
            Cause::Unreadable(StoreError::Damaged { .. }) => {
                let message = format!("the stored event cannot be read: {cause}");
                let reason = Reason { stage: "queue".into(), code: "unreadable".into(), message };
                self.pipeline.store.give_up(company, id, integration, reason).await.unwrap_or(false)
            }
            Cause::Unreadable(_) => false,
            Cause::Panicked => pipeline::panicked(&self.pipeline, company, id).await.is_ok(),
        };
        self.unreadable.fetch_add(1, Ordering::Relaxed);
        QUEUE.set_aside.count();
        let outcome = if given_up { "it is quarantined" } else { "it stays queued until the next start" };
        tracing::error!(%cause, event.id = %id, outcome, "a queued event cannot be processed");
    }
}
