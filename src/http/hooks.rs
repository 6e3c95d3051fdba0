//! `POST /v1/hooks/{integration}`: third-party webhooks.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use warp::http::StatusCode;

use super::Problem;
use super::attempts;
use super::call::{Answer, Call, Failed, within};
use super::proof;
use super::repeat::Once;
use super::tasks::{created, with_loosened};
use crate::app::now;
use crate::auth::signature::Delivery;
use crate::auth::{AuthError, Scope};
use crate::event::{EventId, IntegrationName, RawEvent, few_headers, new_id};
use crate::ingest::{self, Ended, Receipt, Stop};
use crate::integration::{Auth, Claimed, Found, Integration};
use crate::log::{self, Field, Line, know};

/// `POST /v1/hooks/{integration}`
pub(super) async fn receive(call: Call, name: String) -> Result<Answer, Failed> {
    delivered(call, name, None).await
}

/// `POST /v1/hooks/{integration}/{secret}`, for senders that can prove themselves in no other way.
pub(super) async fn receive_with_secret(call: Call, name: String, secret: String) -> Result<Answer, Failed> {
    delivered(call, name, Some(&secret)).await
}

async fn delivered(mut call: Call, name: String, secret: Option<&str>) -> Result<Answer, Failed> {
    let integration = match call.app.registry.find(&name) {
        Found::Live(integration) => integration,
        Found::Loading => return Err(Problem::Stop(Stop::Loading(IntegrationName(name.into()))).into()),
        Found::Unknown => {
            let name: String = name.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
            // It is nobody's: no company could list it.
            if let Some(turn) = log::sample(Line::Unknown, "", now()) {
                tracing::warn!(
                    integration = name,
                    omitted = turn.omitted,
                    "delivery for an integration that is not here"
                );
            }
            return Err(Problem::UnknownIntegration { name }.into());
        }
    };
    know(Field::Integration, integration.name.clone());
    let (sender, body) = match admit(&mut call, &integration, secret).await {
        Ok(admitted) => admitted,
        // It says nothing about the delivery, and comes when the server has enough to do.
        Err(problem @ (Problem::Overloaded | Problem::NoRoom(_) | Problem::Share(_))) => return Err(problem.into()),
        Err(problem) => return Err(reject(&call, &integration, secret, problem).await),
    };
    if let Some((rate, bucket)) = &integration.rate {
        within("integration", *rate, bucket, now())?;
    }
    let mut raw = call.raw_event(integration.company_id.clone(), body, &integration.keep_headers);
    integration.auth.hide(&mut raw.headers, secret);
    raw.content_type = raw.content_type.filter(|it| !integration.auth.is_in(it, secret));
    let challenge = integration.auth.challenge(&raw.body);
    let (event_id, sent) = (raw.id, raw.body.len() as u64);
    if let Err(error) = integration.redact(&mut raw) {
        let stop = ingest::unreadable(&call.app, &integration, raw, error, sent).await;
        return Err(Failed::of(event_id)(stop));
    }
    if let Some(challenge) = challenge {
        return greet(&call, &integration, raw, &challenge).await;
    }
    // Providers take any 2xx; 200 says that nothing was made this time.
    let once = once(&call, &integration, &sender, &raw)?.answered_again_with(StatusCode::OK);
    if let Some(answer) = attempts::repeated(&call, &integration, &once, &raw).await? {
        return Ok(answer);
    }
    if integration.later.always || call.header("prefer").is_some_and(prefers_later) {
        return later(&call, &integration, &once, raw).await;
    }
    let (same, refusal) = (raw.clone(), once.refusal(event_id, &raw.body));
    let tell = |receipt: &Receipt| once.tell_receipt(receipt, told(receipt, event_id));
    match ingest::hook(&call.app, &integration, raw, refusal, tell).await.map_err(Failed::of(event_id))? {
        Ended::Now(answer) => Ok(answer?),
        Ended::Before(first) => attempts::copied(&call, &integration, &once, same, first).await,
        Ended::Erased => erased(event_id),
    }
}

/// `Prefer: respond-async` (RFC 7240, section 4.1).
fn prefers_later(header: &str) -> bool {
    header.split([',', ';']).any(|it| it.trim().eq_ignore_ascii_case("respond-async"))
}

/// 202 as soon as it is durable.
async fn later(call: &Call, integration: &Arc<Integration>, once: &Once, raw: RawEvent) -> Result<Answer, Failed> {
    let place = call.app.queue.place(&raw.company_id, &integration.name).map_err(Problem::QueueShare)?;
    let answer = Answer::json(StatusCode::ACCEPTED, &json!({ "event_id": raw.id, "status": "queued" }));
    let answer = answer.map(|it| {
        it.for_event(raw.id)
            .with("location", &format!("/v1/events/{}", raw.id))
            .with("preference-applied", "respond-async")
    });
    match ingest::accept(&call.app, integration, raw.clone(), once.tell(answer)).await? {
        Ended::Now(answer) => {
            call.app.queue.push(&call.app, integration, &raw, Some(place));
            Ok(answer?)
        }
        Ended::Before(first) => attempts::copied(call, integration, once, raw, first).await,
        Ended::Erased => erased(raw.id),
    }
}

/// The sender could do nothing about it, and must not try again.
pub(super) fn erased(event_id: EventId) -> Result<Answer, Failed> {
    let reason = "what was sent about this patient was erased while this delivery was being processed";
    let answer = json!({ "skipped": true, "reason": reason, "event_id": event_id });
    Ok(Answer::json(StatusCode::OK, &answer)?.for_event(event_id))
}

/// What the delivery is known by: its own id, or else the sender's `Idempotency-Key`.
fn once(call: &Call, integration: &Integration, sender: &str, raw: &RawEvent) -> Result<Once, Problem> {
    let company = &integration.company_id;
    if let Some((id, before)) = integration.deliveries(raw) {
        return Ok(Once::delivery(id, &raw.body, raw.received_at).known_before_as(Some(before), company));
    }
    let route = format!("/v1/hooks/{}", integration.name);
    let before = Once::of(call, &integration.name.0, &route, &raw.body)?.id();
    Ok(Once::of(call, sender, &route, &raw.body)?.known_before_as(before, company))
}

/// Slack asks once whether the URL is ours.
async fn greet(call: &Call, integration: &Integration, raw: RawEvent, challenge: &str) -> Result<Answer, Failed> {
    let event_id = raw.id;
    let reason = "url_verification: Slack has asked whether this URL is ours, and was told";
    ingest::skip(&call.app, integration, raw, reason).await?;
    Ok(Answer::json(StatusCode::OK, &json!({ "challenge": challenge }))?.for_event(event_id))
}

/// A sender that has proved who it is, and its body. A key is checked before the body is read.
/// What else a delivery's headers or URL have to prove is checked before it as well; the body is then what a signature has
/// to fit.
async fn admit(
    call: &mut Call,
    integration: &Arc<Integration>,
    secret: Option<&str>,
) -> Result<(String, Bytes), Problem> {
    match &integration.auth {
        Auth::ApiKey => {
            let key = call.sender_key(Scope::HooksWrite, now())?;
            // Another company's key is as good as none.
            if key.company_id != integration.company_id {
                return Err(AuthError::WrongKey.into());
            }
            // Before the body: from its place on, the request counts as its integration's.
            call.belongs_to(&integration.company_id, &integration.name)?;
            Ok((key.id.0.clone(), call.body().await?))
        }
        auth => {
            let delivery = Delivery { headers: &call.headers, query: &call.query, received_at: now() };
            integration.one_id(&call.headers).map_err(AuthError::Signature)?;
            let claimed = auth.claim(&delivery, secret)?;
            let (company, name) = (&integration.company_id, &integration.name);
            let body = if matches!(claimed, Claimed::Proved) {
                call.prove(company);
                call.belongs_to(company, name)?;
                call.body().await?
            } else {
                let body = call.body().await?;
                proof::check(&call.app, integration, claimed, &body, call.given_up()).await?;
                call.belongs_to(company, name)?;
                call.proven(company, &body).await?;
                body
            };
            // Another company's integration may have had this name.
            Ok((format!("{}/{}", integration.company_id, integration.name), body))
        }
    }
}

/// Notes the delivery without its body, unless so many are refused that noting them would do harm: those are counted.
async fn reject(call: &Call, integration: &Integration, secret: Option<&str>, problem: Problem) -> Failed {
    let (now, announced) = (now(), call.header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0));
    let code = problem.code();
    if let Some(turn) = log::sample(Line::Rejected, &integration.name.0, now) {
        tracing::warn!(code, peer = %call.peer(), omitted = turn.omitted, "delivery rejected");
    }
    let Some(omitted) = integration.rejections.admit(call.peer(), now) else { return problem.into() };
    let id = EventId(new_id(now));
    let mut why = if let Problem::Auth(error) = &problem { error.detail() } else { problem.to_string() };
    if omitted > 0 {
        why.push_str(&format!(" ({omitted} rejected deliveries before this one were not stored)"));
    }
    let mut headers = few_headers(&call.headers);
    integration.auth.hide(&mut headers, secret);
    let event = ingest::rejected(integration, id, now, headers, code, &why, announced);
    // The sender is refused either way; a store that fails says so in its own log line.
    let stored = call.app.store.commit(event.into()).await.is_ok();
    Failed { problem, event_id: stored.then_some(id) }
}

/// What a sender is answered, with the event named in the headers.
pub(super) fn told(receipt: &Receipt, event_id: EventId) -> Result<Answer, Problem> {
    let answer = match receipt {
        Receipt::Created { tasks, loosened } => match tasks.as_slice() {
            [task] => created(task, loosened),
            tasks => Ok(with_loosened(Answer::json(StatusCode::CREATED, &json!({ "data": tasks }))?, loosened)),
        },
        Receipt::Skipped { reason } => {
            Answer::json(StatusCode::OK, &json!({ "skipped": true, "reason": reason, "event_id": event_id }))
        }
    };
    Ok(answer?.for_event(event_id))
}
