//! Answers in the form that a sender's file or plugin.toml describes.

use warp::http::StatusCode;

use super::answer::{Answer, Failed, with_loosened};
use super::call::Call;
use super::deliveries::Delivered;
use super::problem::Problem;
use super::reply::{List, TypedReply as _};
use super::tasks::written;
use crate::integration::{AnswerBody, Answers, Integration, OutcomeAnswer};
use crate::model::ids::{EventId, TaskId};
use crate::pipeline::Receipt;
use crate::store::FirstAnswer;

/// The response to a processed delivery.
pub(super) fn told(receipt: &Receipt, event_id: EventId, answers: &Answers) -> Result<Answer<Delivered>, Problem> {
    match receipt {
        Receipt::Created { tasks, loosened } => {
            let answer = match tasks.as_slice() {
                [task] => written(task, loosened, event_id)?,
                tasks => {
                    let answer = Answer::json(StatusCode::CREATED, &List { data: tasks.iter().collect() })?;
                    with_loosened(answer, loosened).for_event(event_id)
                }
            };
            let ids: Vec<_> = tasks.iter().map(|it| it.id).collect();
            shaped(answer, &answers.created, event_id, &ids)
        }
        Receipt::Captured => shaped(Delivered::captured(event_id).write()?, &answers.queued, event_id, &[]),
        Receipt::Skipped { reason } => {
            shaped(Delivered::skipped(reason, event_id).write()?, &answers.skipped, event_id, &[])
        }
    }
}

/// hookmill's own answer, in the described form.
pub(super) fn shaped(
    answer: Answer<Delivered>,
    form: &OutcomeAnswer,
    event_id: EventId,
    tasks: &[TaskId],
) -> Result<Answer<Delivered>, Problem> {
    let status = form.status.and_then(|it| StatusCode::from_u16(it).ok()).unwrap_or(answer.written.status);
    let Some((content_type, body)) = form.body.written(event_id, tasks) else { return Ok(answer.status(status)) };
    let mut described = Answer::described(status, content_type, body.into_bytes()).for_event(event_id);
    for name in ["idempotent-replayed", "preference-applied"] {
        if let Some(value) = answer.written.headers.get(name) {
            described.written.headers.insert(name, value.clone());
        }
    }
    Ok(described)
}

/// The answer to a delivery whose patient's data was erased meanwhile.
pub(super) fn erased(event_id: EventId, answers: &Answers) -> Result<Answer<Delivered>, Problem> {
    shaped(Delivered::erased(event_id).write()?, &answers.skipped, event_id, &[])
}

/// The answer to a repetition. The first answer may be from before the form was described, so it is written again.
pub(super) async fn repeated(
    call: &Call,
    integration: &Integration,
    first: &FirstAnswer,
    answer: Answer<Delivered>,
) -> Result<Answer<Delivered>, Problem> {
    let form = &integration.answers.duplicate;
    let Some(event_id) = first.event_id else { return shaped(answer, form, EventId(uuid::Uuid::nil()), &[]) };
    let tasks = if form.body.needs_tasks() {
        let event = call.app.store.event(&integration.company_id, event_id).await?;
        event.map(|it| it.task_ids).unwrap_or_default()
    } else {
        Vec::new()
    };
    shaped(answer, form, event_id, &tasks)
}

/// The answer to a delivery that failed. In quarantine, it is what the form says; an integration that returns no tasks
/// returns no values of the payload in errors either.
pub(super) fn failed(failed: Failed, answers: &Answers) -> Result<Answer<Delivered>, Failed> {
    let (Problem::Stop(stop), Some(event_id)) = (&failed.problem, failed.event_id) else { return Err(failed) };
    if !stop.is_kept() {
        return Err(failed);
    }
    match &answers.quarantined {
        Some(form) => {
            let status = form.status.and_then(|it| StatusCode::from_u16(it).ok()).unwrap_or(StatusCode::OK);
            let form = match form.body {
                AnswerBody::Task => &OutcomeAnswer { status: form.status, body: AnswerBody::EventId },
                _ => form,
            };
            // Counted and logged as the failure that it is.
            failed.problem.note(failed.event_id);
            let answer = Answer::described(status, None, Vec::new()).for_event(event_id);
            Ok(shaped(answer, form, event_id, &[])?)
        }
        None if answers.created.body != AnswerBody::Task => {
            failed.problem.note(failed.event_id);
            Err(Failed { problem: Problem::Withheld(failed.problem.code()), event_id: failed.event_id })
        }
        None => Err(failed),
    }
}
