//! Deliveries that are captured: stored with what their body and the schema say, and not mapped.

use super::outcome;
use super::stages::Stages;
use crate::integration::checked::CheckedPayload;
use crate::integration::stop::Stop;
use crate::integration::{Integration, Received};
use crate::model::event::Stage;
use crate::store::Ingested;

/// Runs the stages before the plugin, and returns what to store. A body that cannot be read, or does not fit the schema, is
/// captured as well: the event says why it would have failed.
///
/// # Errors
/// Fails if the check could not begin; nothing is stored then.
pub(super) async fn captured(
    integration: &Integration,
    mut received: Received,
    mut stages: Stages,
) -> Result<Ingested, Stop> {
    let checked = checked(integration, &mut received, &mut stages).await;
    let why = match checked {
        Err(stop) if !stop.is_kept() => return Err(stop),
        Err(stop) => Some(stop),
        Ok(()) => None,
    };
    Ok(outcome::captured(integration, received.into_raw(), why.as_ref(), stages.done()))
}

async fn checked(integration: &Integration, received: &mut Received, stages: &mut Stages) -> Result<(), Stop> {
    let (payload, earlier) = received.take_payload(integration);
    stages.add(earlier);
    let payload = stages.end(Stage::Decode, payload)?;
    let checked = CheckedPayload::of(integration, received.raw(), payload).await;
    stages.end(Stage::Schema, checked).map(drop)
}
