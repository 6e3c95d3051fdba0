//! Batches: many items in one request, each processed separately, with one commit for all.

use super::hook::direct_line;
use super::outcome::{Receipt, Superseded};
use super::parts::Pipeline;
use super::stages::Stages;
use super::{counted, outcome};
use crate::format::payload::Rules;
use crate::integration::stop::Stop;
use crate::model::event::RawEvent;
use crate::store::{Commit, FirstAnswer, Idempotency, Ingested, StoreError};

/// A batch whose items have been read, and which is not stored yet.
#[derive(Debug)]
pub struct PreparedBatch {
    ingested: Vec<Ingested>,
    results: Vec<Result<Receipt, Stop>>,
}

/// `POST /v1/tasks/batch`: valid items become tasks, and invalid ones are quarantined.
pub async fn batch(rules: &Rules, raws: Vec<RawEvent>) -> PreparedBatch {
    let mut batch = PreparedBatch { ingested: Vec::with_capacity(raws.len()), results: Vec::with_capacity(raws.len()) };
    for raw in raws {
        let mut stages = Stages::untraced();
        let (stored, result) = match direct_line(rules, &raw, &mut stages) {
            Ok(ready) => {
                let now = raw.received_at;
                let (stored, receipt) = outcome::stored(None, raw, ready, stages.done(), now);
                (stored, Ok(receipt))
            }
            Err(stop) => (outcome::quarantined(None, raw, &stop, stages.done()), Err(stop)),
        };
        batch.ingested.push(stored);
        batch.results.push(result);
        // A thousand items take a while, so other requests get their turn in between.
        tokio::task::yield_now().await;
    }
    batch
}

impl PreparedBatch {
    /// Takes what the response says of each item.
    pub fn take_results(&mut self) -> Vec<Result<Receipt, Stop>> {
        std::mem::take(&mut self.results)
    }

    /// Stores all items in one commit. `remembered` and `earlier` are as in
    /// [`ReadyRun::commit`](super::prepared::ReadyRun::commit).
    ///
    /// # Errors
    /// Fails if they cannot be stored; then none is.
    pub async fn commit(
        self,
        pipeline: &Pipeline,
        remembered: Option<Idempotency>,
        earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
    ) -> Result<Option<Superseded>, StoreError> {
        let hows: Vec<_> = self.ingested.iter().map(|it| counted::as_stored(&it.event)).collect();
        let commit = Commit { ingested: self.ingested, idempotency: remembered, lane: None, audit: None };
        let ended = outcome::committed(pipeline, commit, earlier).await;
        hows.into_iter().for_each(|how| counted::ended(None, how, &ended));
        ended
    }
}
