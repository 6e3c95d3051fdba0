//! Batches: many items in one request, each processed separately, with one commit for all.

use super::hook::direct_line;
use super::outcome::{Ended, Receipt, Told};
use super::parts::Pipeline;
use super::stages::Stages;
use super::{counted, outcome};
use crate::format::payload::Rules;
use crate::integration::stop::Stop;
use crate::model::event::RawEvent;
use crate::store::{Commit, FirstAnswer, StoreError};

/// `POST /v1/tasks/batch`: valid items are stored and invalid ones quarantined, in one commit. `earlier` is as in
/// [`task`](super::hook::task).
///
/// # Errors
/// Fails if they cannot be stored; then none is.
pub async fn batch<A>(
    pipeline: &Pipeline,
    rules: &Rules,
    raws: Vec<RawEvent>,
    tell: impl FnOnce(Vec<Result<Receipt, Stop>>) -> Told<A>,
    earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
) -> Result<Ended<A>, StoreError> {
    let (mut ingested, mut results) = (Vec::with_capacity(raws.len()), Vec::with_capacity(raws.len()));
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
        ingested.push(stored);
        results.push(result);
        // A thousand items take a while, so other requests get their turn in between.
        tokio::task::yield_now().await;
    }
    let Told { answer, remembered } = tell(results);
    let hows: Vec<_> = ingested.iter().map(|it| counted::as_stored(&it.event)).collect();
    let ended = outcome::committed(pipeline, Commit { ingested, idempotency: remembered }, answer, earlier).await;
    hows.into_iter().for_each(|how| counted::ended(None, how, &ended));
    ended
}
