//! Events that an admin makes from a copy of another one: they run through the pipeline, and no delivery is counted.

use super::captured::captured;
use super::hook::{direct_line, mapped_line};
use super::outcome;
use super::outcome::Receipt;
use super::stages::Stages;
use crate::format::payload::{Loosened, Rules};
use crate::integration::stop::Stop;
use crate::integration::{Integration, Received};
use crate::model::event::RawEvent;
use crate::store::Ingested;

/// What a copy became; nothing is stored yet.
#[derive(Debug)]
pub struct CopiedEvent {
    /// The event and its tasks.
    pub ingested: Ingested,
    /// What was read loosely.
    pub loosened: Loosened,
}

/// Runs a copy of an event. `integration` is `None` for events of `POST /v1/tasks`. A copy that a stage refuses is an event in
/// quarantine, like any other.
///
/// # Errors
/// Fails if the pipeline could not run.
pub async fn copied(integration: Option<&Integration>, raw: RawEvent) -> Result<CopiedEvent, Stop> {
    let mut stages = Stages::start();
    let nothing = |ingested| CopiedEvent { ingested, loosened: Loosened::default() };
    let mut received = match integration.map(|it| it.receive(raw.clone())) {
        None => Received::new(raw),
        Some(Ok(received)) => received,
        Some(Err(unreadable)) => {
            let body_bytes = raw.body.len() as u64;
            let (raw, error) = *unreadable;
            let mut ingested = outcome::quarantined(integration, raw, &Stop::Decode(error), stages.done());
            ingested.event.body_bytes = body_bytes;
            return Ok(nothing(ingested));
        }
    };
    if let Some(integration) = integration.filter(|it| it.captures) {
        return captured(integration, received, stages).await.map(nothing);
    }
    let result = match integration {
        Some(integration) => mapped_line(integration, &mut received, &mut stages).await,
        None => direct_line(&Rules::default(), received.raw(), &mut stages),
    };
    let raw = received.into_raw();
    match result {
        Ok(ready) => {
            let now = raw.received_at;
            let (ingested, receipt) = outcome::stored(integration, raw, ready, stages.done(), now);
            let loosened = match receipt {
                Receipt::Created { loosened, .. } => loosened,
                Receipt::Skipped { .. } | Receipt::Captured => Loosened::default(),
            };
            Ok(CopiedEvent { ingested, loosened })
        }
        Err(stop) if !stop.is_kept() => Err(stop),
        Err(stop) => Ok(nothing(outcome::quarantined(integration, raw, &stop, stages.done()))),
    }
}
