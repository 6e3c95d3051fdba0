//! Deliveries that are stored and go through no line.

use super::Stop;
use super::outcome::{self, Ready};
use crate::app::App;
use crate::event::RawEvent;
use crate::integration::Integration;
use crate::log::{self, Line};
use crate::payload::DecodeError;
use crate::store::{FirstAnswer, StoreError};

/// A delivery that came before: it is stored that it came, and nothing else happens.
///
/// # Errors
/// Where it cannot be stored.
pub async fn duplicate(
    app: &App,
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
            first = first.event_id().map(tracing::field::display),
            "a delivery has the id of an earlier one and another body: it made nothing, and can be replayed"
        );
    }
    app.store.commit(ingested.into()).await.map(drop)
}

/// A delivery that cannot be read, and is kept without its body, as something in it was to be redacted. Gives what its
/// sender is told.
pub async fn unreadable(
    app: &App,
    integration: &Integration,
    raw: RawEvent,
    error: DecodeError,
    body_bytes: u64,
) -> Stop {
    let stop = Stop::Decode(error);
    let mut ingested = outcome::quarantined(Some(integration), raw, &stop, Vec::new());
    ingested.event.body_bytes = body_bytes;
    app.store.commit(ingested.into()).await.map_or_else(Stop::from, |_| stop)
}

/// A delivery that the server answers itself.
///
/// # Errors
/// Where it cannot be stored.
pub async fn skip(app: &App, integration: &Integration, raw: RawEvent, reason: &str) -> Result<(), StoreError> {
    let ready = Ready::skip(reason.to_owned());
    let now = raw.received_at;
    app.store.commit(outcome::stored(Some(integration), raw, ready, Vec::new(), now).0.into()).await.map(drop)
}
