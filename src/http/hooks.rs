//! `POST /v1/hooks/{integration}`: third-party webhooks.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::json;
use warp::http::StatusCode;

use super::Problem;
use super::call::{Answer, Call, Failed};
use super::repeat::Once;
use super::tasks::{created, with_loosened};
use crate::app::now;
use crate::auth::{AuthError, Scope};
use crate::event::{EventId, new_id};
use crate::ingest::{self, Receipt};
use crate::integration::{Auth, Integration};

/// `POST /v1/hooks/{integration}`
pub(super) async fn receive(mut call: Call, name: String) -> Result<Answer, Failed> {
    let Some(integration) = call.app.registry.get(&name) else {
        let name: String = name.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
        // It is nobody's: no company could list it.
        tracing::warn!(integration = name, "delivery for an integration that is not here");
        return Err(Problem::UnknownIntegration { name }.into());
    };
    let (sender, body) = match admit(&mut call, &integration, now()).await {
        Ok(admitted) => admitted,
        Err(problem) => return Err(reject(&call, &integration, problem).await),
    };
    let once = Once::of(&call, &sender, &format!("/v1/hooks/{}", integration.name), &body)?;
    // Providers take any 2xx; 200 says that nothing was made this time.
    let once = once.answered_again_with(StatusCode::OK);
    if let Some(answer) = once.before(&call).await? {
        return Ok(answer);
    }
    let raw = call.raw_event(integration.company_id.clone(), body);
    let event_id = raw.id;
    let tell = |receipt: &Receipt| once.tell(answer(receipt, event_id).map(|it| it.for_event(event_id)));
    let ended = ingest::hook(&call.app, &integration, raw, tell).await.map_err(Failed::of(event_id))?;
    Ok(once.ended(ended)?)
}

/// A sender that has proved who it is, and its body. A key is checked before the body is read.
async fn admit(call: &mut Call, integration: &Integration, now: DateTime<Utc>) -> Result<(String, Bytes), Problem> {
    match &integration.auth {
        Auth::ApiKey => {
            let key = call.key(Scope::HooksWrite, now)?;
            // Another company's key is as good as none.
            if key.company_id != integration.company_id {
                return Err(AuthError::WrongKey.into());
            }
            Ok((key.id.0.clone(), call.body().await?))
        }
        Auth::HmacSha256(scheme) => {
            let body = call.body().await?;
            scheme.check(call.header(&scheme.header), &body)?;
            Ok((integration.name.to_string(), body))
        }
    }
}

/// Notes the delivery without its body, unless so many are refused that noting them would do harm.
async fn reject(call: &Call, integration: &Integration, problem: Problem) -> Failed {
    let (now, announced) = (now(), call.header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0));
    let code = problem.code();
    tracing::warn!(integration = %integration.name, code, "delivery rejected");
    if !call.app.rejected.take(now) {
        return problem.into();
    }
    let id = EventId(new_id(now));
    let event = ingest::rejected(integration, id, now, code, &problem.to_string(), announced);
    // The sender is refused either way; a store that fails says so in its own log line.
    let stored = call.app.store.commit(event.into()).await.is_ok();
    Failed { problem, event_id: stored.then_some(id) }
}

fn answer(receipt: &Receipt, event_id: EventId) -> Result<Answer, Problem> {
    match receipt {
        Receipt::Created { tasks, loosened } => match tasks.as_slice() {
            [task] => created(task, loosened),
            tasks => Ok(with_loosened(Answer::json(StatusCode::CREATED, &json!({ "data": tasks }))?, loosened)),
        },
        Receipt::Skipped { reason } => {
            Answer::json(StatusCode::OK, &json!({ "skipped": true, "reason": reason, "event_id": event_id }))
        }
    }
}
