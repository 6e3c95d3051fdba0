//! Deliveries that come again: answered as the first was, or another attempt of one that was quarantined.

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::hooks::{erased, told};
use super::repeat::Once;
use crate::app::now;
use crate::event::RawEvent;
use crate::ingest::{self, Attempted, Receipt};
use crate::integration::Integration;
use crate::log::{Field, know};
use crate::store::{FirstAnswer, Versioned};

/// How often an attempt is made again when another one was quicker.
const TRIES: usize = 5;

/// The answer to a delivery that came before; none where it is new.
pub(super) async fn repeated(
    call: &Call,
    integration: &Integration,
    once: &Once,
    raw: &RawEvent,
) -> Result<Option<Answer>, Failed> {
    for _ in 0..TRIES {
        let Some(first) = once.first(call).await? else { return Ok(None) };
        if !first.refused {
            return again(call, integration, once, raw.clone(), first).await.map(Some);
        }
        // Its sender has changed the body, or the event is not in quarantine any more: a delivery of its own.
        let Some(event) = quarantined(call, integration, once, &first).await? else { return Ok(None) };
        let id = event.event.id;
        know(Field::Event, id);
        let tell = |receipt: &Receipt| once.tell_receipt(receipt, told(receipt, id));
        match ingest::attempt(&call.app, integration, event, now(), tell).await.map_err(Failed::of(id))? {
            Attempted::Now(answer) => return Ok(Some(answer?)),
            Attempted::Before(first) => return again(call, integration, once, raw.clone(), first).await.map(Some),
            Attempted::Erased => return erased(id).map(Some),
            Attempted::Changed => {}
        }
    }
    Err(Problem::Overloaded.into())
}

/// A copy of a delivery that was received at the same time and stored first.
pub(super) async fn copied(
    call: &Call,
    integration: &Integration,
    once: &Once,
    raw: RawEvent,
    first: FirstAnswer,
) -> Result<Answer, Failed> {
    if !first.refused {
        return again(call, integration, once, raw, first).await;
    }
    // The first one was quarantined, and so is this one: one event, two attempts.
    repeated(call, integration, once, &raw).await?.ok_or_else(|| Problem::Overloaded.into())
}

async fn again(
    call: &Call,
    integration: &Integration,
    once: &Once,
    raw: RawEvent,
    first: FirstAnswer,
) -> Result<Answer, Failed> {
    ingest::duplicate(&call.app, integration, raw, &first).await?;
    Ok(once.repeated(first)?)
}

/// The event of an earlier delivery with the same body, if it is still in quarantine and can be run.
async fn quarantined(
    call: &Call,
    integration: &Integration,
    once: &Once,
    first: &FirstAnswer,
) -> Result<Option<Versioned>, Problem> {
    let Some(id) = first.event_id().filter(|_| once.is_copy_of(first)) else { return Ok(None) };
    let event = call.app.store.versioned(&integration.company_id, id).await?;
    Ok(event.filter(|it| it.event.may_come_again() && it.event.integration == integration.name))
}
