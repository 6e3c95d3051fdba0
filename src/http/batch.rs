//! `POST /v1/tasks/batch`: many tasks in one request, each for itself.

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::repeat::Once;
use crate::app::now;
use crate::auth::Scope;
use crate::event::{EventId, RawEvent, new_id};
use crate::ingest::{self, Receipt, Stop, Told};
use crate::payload;

/// Largest body, in bodies of other routes.
const BODIES: usize = 16;
/// Most violations that a batch's response shows, all items together; each item shows one in any case.
const SHOWN: usize = 1000;

/// `POST /v1/tasks/batch`
pub(super) async fn create(mut call: Call) -> Result<Answer, Failed> {
    let key = call.key(Scope::TasksWrite, now())?;
    let body = call.body_within(call.app.config.limits.body_bytes.saturating_mul(BODIES)).await?;
    let once = Once::of(&call, &key.id.0, "/v1/tasks/batch", &body)?;
    let rules = key.rules();
    let items = match payload::split(call.header("content-type"), &body, &rules) {
        Ok(items) => items,
        // Nothing is committed that would tell a repetition.
        Err(error) => return once.before(&call).await?.ok_or(Failed::from(Stop::Decode(error))),
    };
    let received_at = now();
    let event = |body| RawEvent {
        id: EventId(new_id(received_at)),
        received_at,
        company_id: key.company_id.clone(),
        content_type: Some("application/json".into()),
        headers: Vec::new(),
        body,
        redacted: Vec::new(),
    };
    let events: Vec<_> = items.into_iter().map(event).collect();
    let ids: Vec<_> = events.iter().map(|it| it.id).collect();
    let tell = |results| told(&once, &ids, results);
    let ended = ingest::batch(&call.app, &rules, events, tell, once.stored(&call)).await?;
    Ok(once.ended(ended)?)
}

/// A batch of which nothing was made is not remembered: it may be sent again, mended, under the same key.
fn told(once: &Once, ids: &[EventId], results: Vec<Result<Receipt, Stop>>) -> Told<Result<Answer, Problem>> {
    let created = results.iter().filter(|it| it.is_ok()).count();
    let summary = json!({ "created": created, "failed": results.len() - created });
    let mut shown = SHOWN;
    let items: Vec<_> =
        results.into_iter().zip(ids).enumerate().map(|(index, (it, id))| item(index, *id, it, &mut shown)).collect();
    let answer = Answer::json(StatusCode::OK, &json!({ "data": items, "summary": summary }));
    if created == 0 { Told { answer, remembered: None } } else { once.tell(answer) }
}

/// `shown` is how many violations may still be shown, beyond the first one of each item.
fn item(index: usize, event_id: EventId, result: Result<Receipt, Stop>, shown: &mut usize) -> Value {
    let problem = match result {
        Ok(Receipt::Created { tasks, loosened }) => {
            let loosened: Vec<_> = loosened.iter().collect();
            return json!({
                "index": index, "status": StatusCode::CREATED.as_u16(), "task": tasks.first(), "event_id": event_id, "loosened": loosened,
            });
        }
        // Only a plugin skips, and there is none here.
        Ok(Receipt::Skipped { .. }) => Problem::Internal,
        Err(Stop::Schema(violations)) => {
            let violations = violations.at_most(*shown.max(&mut 1));
            *shown = shown.saturating_sub(violations.len());
            Problem::from(violations)
        }
        Err(stop) => Problem::Stop(stop),
    };
    json!({ "index": index, "status": problem.status().as_u16(), "error": problem.body(), "event_id": event_id })
}
