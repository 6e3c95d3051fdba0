//! Many deliveries in one request: a line for each, and one commit for all.

use super::stages::Stages;
use super::{Ended, Receipt, Stop, Told, direct_line, outcome};
use crate::app::App;
use crate::event::RawEvent;
use crate::payload::Rules;
use crate::store::{Commit, FirstAnswer, StoreError};

/// `POST /v1/tasks/batch`: the good ones are stored and the bad ones quarantined, together. `earlier` is as in
/// [`task`](super::task).
///
/// # Errors
/// Where they cannot be stored: then none is.
pub async fn batch<A>(
    app: &App,
    rules: &Rules,
    raws: Vec<RawEvent>,
    tell: impl FnOnce(Vec<Result<Receipt, Stop>>) -> Told<A>,
    earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
) -> Result<Ended<A>, StoreError> {
    let (mut ingested, mut results) = (Vec::with_capacity(raws.len()), Vec::with_capacity(raws.len()));
    for raw in raws {
        let mut stages = Stages::start();
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
        // A thousand items take a while: others get their turn in between.
        tokio::task::yield_now().await;
    }
    let Told { answer, remembered } = tell(results);
    outcome::committed(app, Commit { ingested, idempotency: remembered }, answer, earlier).await
}
