//! Deliveries that are stored and go through no line.

use super::outcome::{self, Ready};
use crate::app::App;
use crate::event::RawEvent;
use crate::integration::Integration;
use crate::store::{FirstAnswer, StoreError};

/// A delivery that came before: noted, and nothing else.
///
/// # Errors
/// Where it cannot be stored.
pub async fn duplicate(
    app: &App,
    integration: &Integration,
    raw: RawEvent,
    first: &FirstAnswer,
) -> Result<(), StoreError> {
    app.store.commit(outcome::duplicate(integration, raw, first).into()).await.map(drop)
}

/// A delivery that the server answers itself.
///
/// # Errors
/// Where it cannot be stored.
pub async fn skip(app: &App, integration: &Integration, raw: RawEvent, reason: &str) -> Result<(), StoreError> {
    let ready = Ready::skip(reason.to_owned());
    app.store.commit(outcome::stored(Some(integration), raw, ready, Vec::new()).0.into()).await.map(drop)
}
