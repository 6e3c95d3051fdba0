//! Repeated deliveries: they get the first response, or are another attempt of a quarantined one.

use bytes::Bytes;

use super::answer::{Answer, Failed};
use super::call::Call;
use super::conflict::{ComparedBody, explained};
use super::deliveries::Delivered;
use super::outcome_answer;
use super::problem::Problem;
use super::repeat::{Once, Told};
use crate::integration::{AnswerBody, Integration, Received};
use crate::model::event::RawEvent;
use crate::model::time::now;
use crate::pipeline;
use crate::pipeline::{PreparedAttempt, SupersededAttempt};
use crate::store::{FirstAnswer, Versioned};
use crate::system::log::{Field, know};

/// How often an attempt is retried when a concurrent one was stored first.
const TRIES: usize = 5;

/// The response to a repeated delivery; `None` if it is new.
pub(super) async fn repeated(
    call: &Call,
    integration: &Integration,
    once: &Once,
    received: &mut Received,
) -> Result<Option<Answer<Delivered>>, Failed> {
    for _ in 0..TRIES {
        let Some(first) = once.first(call).await? else { return Ok(None) };
        if !first.refused {
            return again(call, integration, once, received.raw().clone(), first).await.map(Some);
        }
        // Another body, or the event is no longer in quarantine: this is a new delivery.
        let Some(event) = quarantined(call, integration, once, &first).await? else { return Ok(None) };
        let id = event.event.id;
        know(Field::Event, id);
        // The attempt decodes the stored body, and memory is charged for one.
        received.forget_payload();
        let (pipeline, failed) = (&call.app.pipeline, Failed::of(id));
        let superseded = match pipeline::attempt(pipeline, integration, event, now()).await.map_err(&failed)? {
            PreparedAttempt::Superseded(superseded) => superseded,
            PreparedAttempt::Ready(ready) => {
                let Told { answer, remembered } =
                    once.tell_receipt(ready.receipt(), outcome_answer::told(ready.receipt(), id, &integration.answers));
                match ready.commit(pipeline, remembered).await.map_err(&failed)? {
                    None => return Ok(Some(answer?)),
                    Some(superseded) => superseded,
                }
            }
        };
        match superseded {
            SupersededAttempt::Before(first) => {
                return again(call, integration, once, received.raw().clone(), first).await.map(Some);
            }
            SupersededAttempt::Erased => return Ok(Some(outcome_answer::erased(id, &integration.answers)?)),
            SupersededAttempt::Changed => {}
        }
    }
    Err(Problem::Overloaded.into())
}

/// The response to a copy of a delivery that was received at the same time and stored first.
pub(super) async fn copied(
    call: &Call,
    integration: &Integration,
    once: &Once,
    raw: RawEvent,
    first: FirstAnswer,
) -> Result<Answer<Delivered>, Failed> {
    if !first.refused {
        return again(call, integration, once, raw, first).await;
    }
    // The first one was quarantined, and so is this one: one event, two attempts.
    repeated(call, integration, once, &mut Received::new(raw)).await?.ok_or_else(|| Problem::Overloaded.into())
}

async fn again(
    call: &Call,
    integration: &Integration,
    once: &Once,
    raw: RawEvent,
    first: FirstAnswer,
) -> Result<Answer<Delivered>, Failed> {
    pipeline::duplicate(&call.app.pipeline, integration, raw.clone(), &first).await?;
    match once.repeated(first.clone()) {
        Ok(answer) => Ok(outcome_answer::repeated(call, integration, &first, answer).await?),
        // What differs are names of the payload's members, which may be a patient's.
        Err(problem) if integration.answers.created.body != AnswerBody::Task => Err(problem.into()),
        Err(problem) => {
            let sent = [ComparedBody { content_type: raw.content_type.as_deref(), body: &raw.body }];
            let read = |content_type: Option<&str>, body: &Bytes| {
                let content_type = content_type.map(str::to_owned);
                let raw = RawEvent { content_type, body: body.clone(), ..raw.clone() };
                integration.payload(&raw).ok().map(|it| it.value)
            };
            Err(explained(problem.into(), call, &integration.company_id, &sent, read).await)
        }
    }
}

/// The event of an earlier delivery with the same body, if it is still in quarantine and can be processed.
async fn quarantined(
    call: &Call,
    integration: &Integration,
    once: &Once,
    first: &FirstAnswer,
) -> Result<Option<Versioned>, Problem> {
    let Some(id) = first.event_id.filter(|_| once.is_copy_of(first)) else { return Ok(None) };
    let event = call.app.store.versioned(&integration.company_id, id).await?;
    Ok(event.filter(|it| it.event.may_come_again() && it.event.integration == integration.name))
}
