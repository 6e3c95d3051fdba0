//! Deliveries that are stored without being processed.

use super::parts::Pipeline;
use super::{counted, outcome};
use crate::format::payload::DecodeError;
use crate::integration::Integration;
use crate::integration::mapped::Ready;
use crate::integration::stop::Stop;
use crate::model::event::RawEvent;
use crate::store::{FirstAnswer, StoreError};
use crate::system::log;
use crate::system::log::Line;

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
        && let Some(turn) = log::sample(Line::Differs, &integration.name.0, event.received_at)
    {
        tracing::warn!(
            omitted = turn.omitted,
            integration = %integration.name,
            event.id = %event.id,
            first = first.event_id.map(tracing::field::display),
            "a delivery has the id of an earlier one but another body; it created no task, and can be replayed"
        );
    }
    counted::timed(pipeline.store.commit(ingested.into())).await.map(drop)
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
    counted::timed(pipeline.store.commit(ingested.into())).await.map_or_else(Stop::from, |_| stop)
}

/// Stores a delivery that the server answers itself.
///
/// # Errors
/// Fails if it cannot be stored.
pub async fn skip(
    pipeline: &Pipeline,
    integration: &Integration,
    raw: RawEvent,
    reason: &str,
) -> Result<(), StoreError> {
    let ready = Ready::skip(reason.to_owned());
    let now = raw.received_at;
    pipeline.store.commit(outcome::stored(Some(integration), raw, ready, Vec::new(), now).0.into()).await.map(drop)
}
