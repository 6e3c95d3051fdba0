//! Deliveries that are stored without being processed.

use super::counted;
use super::outcome::{self, Superseded};
use super::parts::Pipeline;
use super::stages::timed;
use crate::format::payload::DecodeError;
use crate::integration::Integration;
use crate::integration::stop::Stop;
use crate::model::event::RawEvent;
use crate::store::{FirstAnswer, Ingested, StoreError};
use crate::system::log;
use crate::system::log::SampledLine;

/// Stores that a repeated delivery was received.
///
/// # Errors
/// Fails if it cannot be stored.
pub async fn duplicate(
    pipeline: &Pipeline,
    integration: &Integration,
    raw: RawEvent,
    first: &FirstAnswer,
) -> Result<(), StoreError> {
    let ingested = outcome::duplicate(integration, raw, first);
    let event = &ingested.event;
    if event.reason.as_ref().is_some_and(|it| it.code == outcome::DIFFERS)
        && let Some(turn) = log::sample(SampledLine::Differs, &integration.name.0, event.received_at)
    {
        tracing::warn!(
            omitted = turn.omitted,
            integration = %integration.name,
            event.id = %event.id,
            first = first.event_id.map(tracing::field::display),
            "a delivery has the id of an earlier one but another body; it created no task, and can be replayed"
        );
    }
    stored(pipeline, integration, ingested).await
}

/// Stores a delivery that cannot be decoded, without its body because the integration redacts values. Returns the
/// response to the sender.
pub async fn unreadable(
    pipeline: &Pipeline,
    integration: &Integration,
    raw: RawEvent,
    error: DecodeError,
    body_bytes: u64,
) -> Stop {
    let stop = Stop::Decode(error);
    let mut ingested = outcome::quarantined(Some(integration), raw, &stop, Vec::new());
    ingested.event.body_bytes = body_bytes;
    stored(pipeline, integration, ingested).await.map_or_else(Stop::from, |()| stop)
}

/// Stores a question of a sender, which the server answers itself.
///
/// # Errors
/// Fails if it cannot be stored.
pub async fn question(
    pipeline: &Pipeline,
    integration: &Integration,
    raw: RawEvent,
    message: String,
) -> Result<(), StoreError> {
    stored(pipeline, integration, outcome::question(integration, raw, message)).await
}

async fn stored(pipeline: &Pipeline, integration: &Integration, ingested: Ingested) -> Result<(), StoreError> {
    let how = counted::as_stored(&ingested.event);
    let committed = timed(pipeline.store.commit(ingested.into())).await;
    let ended = committed.map(Superseded::of);
    counted::ended(Some(integration), how, &ended);
    ended.map(drop)
}
