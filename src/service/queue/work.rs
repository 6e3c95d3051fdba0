//! What lanes work with, and how an event is set aside that cannot be processed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::waiting::Cause;
use crate::metrics::queue::QUEUE;
use crate::model::event::Reason;
use crate::model::ids::IntegrationName;
use crate::pipeline::{self, Pipeline, QueuedEvent};
use crate::store::{Claim, StoreError};

/// Time before an event that was set aside is claimed again.
const AGAIN: Duration = Duration::from_secs(10);

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
    /// without its content; one whose pipeline panics, or whose result is refused, with it. An event that may become
    /// readable stays queued until the next start or, where servers share the store, until it is claimed again.
    pub(super) async fn set_aside(&self, integration: &IntegrationName, event: &QueuedEvent, cause: &Cause) {
        let given_up = match cause {
            Cause::Unreadable(StoreError::Damaged { .. }) => {
                let message = format!("the stored event cannot be read: {cause}");
                let reason = Reason { stage: "queue".into(), code: "unreadable".into(), message };
                self.pipeline.store.give_up(&event.company, event.id, integration, reason).await.unwrap_or(false)
            }
            Cause::Unreadable(_) => false,
            Cause::Unstorable(error) => pipeline::unstorable(&self.pipeline, event, error).await.is_ok(),
            Cause::Panicked => pipeline::panicked(&self.pipeline, event).await.is_ok(),
        };
        self.unreadable.fetch_add(1, Ordering::Relaxed);
        QUEUE.set_aside.count();
        let outcome = match &event.claim {
            _ if given_up => "it is quarantined",
            None => "it stays queued until the next start",
            Some(_) => "it stays queued, and is tried again later",
        };
        tracing::error!(%cause, event.id = %event.id, outcome, "a queued event cannot be processed");
        if let (Some(claim), false) = (&event.claim, given_up) {
            self.put_back(claim).await;
        }
    }

    /// Ends a claim that was not used.
    pub(super) async fn release(&self, claim: &Claim) {
        let Some(cluster) = self.pipeline.store.cluster() else { return };
        while let Err(error) = cluster.release(claim).await {
            tracing::warn!(cause = %error, event.id = %claim.id, "a claim cannot be ended now");
            tokio::time::sleep(AGAIN / 10).await;
        }
    }

    /// Ends a claim, so that the event is tried again later. Otherwise it would keep its lane waiting until the next start.
    async fn put_back(&self, claim: &Claim) {
        let Some(cluster) = self.pipeline.store.cluster() else { return };
        while let Err(error) = cluster.put_back(claim, AGAIN).await {
            tracing::warn!(cause = %error, event.id = %claim.id, "a claim cannot be ended now");
            tokio::time::sleep(AGAIN / 10).await;
        }
    }
}
