//! A delivery whose stages are complete, and which is not stored yet.
//!
//! The caller writes its response from the receipt, and passes what is remembered of it to the commit: the changes and the
//! response to a repetition become durable together, and the pipeline knows nothing about responses.

use super::counted;
use super::outcome::{Receipt, Superseded, committed};
use super::parts::Pipeline;
use crate::integration::Integration;
use crate::store::{Commit, FirstAnswer, Idempotency, Ingested, StoreError};

/// The result of the stages.
#[derive(Debug)]
pub enum Prepared<'a> {
    /// Everything can be stored.
    Ready(ReadyRun<'a>),
    /// Nothing is left to store.
    Superseded(Superseded),
}

/// Tasks, or a skipped event, to be stored.
#[derive(Debug)]
pub struct ReadyRun<'a> {
    pub(super) integration: Option<&'a Integration>,
    pub(super) ingested: Box<Ingested>,
    pub(super) receipt: Receipt,
}

impl ReadyRun<'_> {
    /// Returns what the response says.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Makes everything durable in one commit. `remembered` is the response to a repetition; `earlier` is the stored
    /// response to the same request (looked up if the commit cannot decide). Returns why nothing was stored, if so.
    ///
    /// # Errors
    /// Fails if it cannot be stored.
    pub async fn commit(
        self,
        pipeline: &Pipeline,
        remembered: Option<Idempotency>,
        earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
    ) -> Result<Option<Superseded>, StoreError> {
        let how = counted::as_stored(&self.ingested.event);
        let commit = Commit { ingested: vec![*self.ingested], idempotency: remembered, lane: None, audit: None };
        let ended = committed(pipeline, commit, earlier).await;
        counted::ended(self.integration, how, &ended);
        ended
    }
}
