//! `POST /v1/hooks/{integration}`: third-party webhooks.

use std::sync::Arc;

use bytes::Bytes;
use warp::http::StatusCode;

use super::answer::{Answer, Failed};
use super::attempts;
use super::call::{Call, within};
use super::deliveries::{Challenge, Delivered, SentDelivery, told};
use super::path::{Path, SentName, UrlSecret};
use super::problem::Problem;
use super::proof;
use super::repeat::{Once, Told};
use super::reply::TypedReply as _;
use super::request_headers::IdempotencyKey;
use crate::auth::signature::Delivery;
use crate::auth::{AuthError, Scope};
use crate::format::payload::DecodeError;
use crate::integration::stop::Stop;
use crate::integration::{Auth, Claimed, Found, Integration, Received};
use crate::metrics::integrations::{DeliveryEnd, UNKNOWN};
use crate::model::event::RawEvent;
use crate::model::headers::few_headers;
use crate::model::ids::{EventId, IntegrationName, new_id};
use crate::model::time::now;
use crate::pipeline;
use crate::pipeline::{Prepared, Superseded};
use crate::system::log;
use crate::system::log::{Field, SampledLine, know};
use crate::system::trace;

/// `POST /v1/hooks/{integration}`
pub(super) async fn receive(
    call: Call,
    (): (),
    (Path(SentName(name)), SentDelivery): (Path<SentName>, SentDelivery),
) -> Result<Answer<Delivered>, Failed> {
    delivered(call, name, None).await
}

/// `POST /v1/hooks/{integration}/{secret}`, for senders that can authenticate only by a secret in the URL.
pub(super) async fn receive_with_secret(
    call: Call,
    (): (),
    (Path(SentName(name)), Path(UrlSecret(secret)), SentDelivery): (Path<SentName>, Path<UrlSecret>, SentDelivery),
) -> Result<Answer<Delivered>, Failed> {
    delivered(call, name, Some(&secret)).await
}

async fn delivered(mut call: Call, name: String, secret: Option<&str>) -> Result<Answer<Delivered>, Failed> {
    let integration = match call.app.registry.find(&name) {
        Found::Live(integration) => integration,
        Found::Loading => return Err(Problem::Stop(Stop::Loading(IntegrationName(name.into()))).into()),
        Found::Unknown => {
            let name: String = name.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
            // It belongs to no company, so it is logged and not stored.
            if let Some(turn) = log::sample(SampledLine::Unknown, "", now()) {
                tracing::warn!(integration = name, omitted = turn.omitted, "delivery for an unknown integration");
            }
            UNKNOWN.count();
            return Err(Problem::UnknownIntegration { name }.into());
        }
    };
    know(Field::Integration, integration.name.clone());
    let admitted = trace::stage("authenticate").end(admit(&mut call, &integration, secret).await);
    let (sender, body) = match admitted {
        Ok(admitted) => admitted,
        // The server is busy, which says nothing about the delivery.
        Err(problem @ (Problem::Overloaded | Problem::NoRoom(_) | Problem::Share(_))) => {
            integration.series().delivered(DeliveryEnd::Failed);
            return Err(problem.into());
        }
        Err(problem) => return Err(reject(&call, &integration, secret, problem).await),
    };
    if let Some((rate, bucket)) = &integration.rate {
        within("integration", *rate, bucket, now())
            .inspect_err(|_| integration.series().delivered(DeliveryEnd::Failed))?;
    }
    let mut raw = call.raw_event(integration.company_id.clone(), body, &integration.keep_headers);
    integration.auth.hide(&mut raw.headers, secret);
    raw.content_type = raw.content_type.filter(|it| !integration.auth.is_in(it, secret));
    let challenge = integration.auth.challenge(&raw.body);
    let only_query = raw.body.trim_ascii().is_empty() && !call.query.is_empty() && integration.rules.empty.is_none();
    let (event_id, sent) = (raw.id, raw.body.len() as u64);
    if only_query {
        let stop = pipeline::unreadable(&call.app.pipeline, &integration, raw, DecodeError::OnlyQuery, sent).await;
        return Err(Failed::of(event_id)(stop));
    }
    let mut received = match integration.receive(raw) {
        Ok(received) => received,
        Err(unreadable) => {
            let (raw, error) = *unreadable;
            let stop = pipeline::unreadable(&call.app.pipeline, &integration, raw, error, sent).await;
            return Err(Failed::of(event_id)(stop));
        }
    };
    if let Some(challenge) = challenge {
        return greet(&call, &integration, received.into_raw(), &challenge).await;
    }
    // Providers accept any 2xx; 200 says that nothing was created this time.
    let once = once(&call, &integration, &sender, &received)?.answered_again_with(StatusCode::OK);
    if let Some(answer) = attempts::repeated(&call, &integration, &once, &mut received).await? {
        return Ok(answer);
    }
    if integration.later.always || call.header("prefer").is_some_and(prefers_later) {
        return later(&call, &integration, &once, received).await;
    }
    let (same, refusal) = (received.raw().clone(), once.refusal(event_id, &received.raw().body));
    let (pipeline, failed) = (&call.app.pipeline, Failed::of(event_id));
    let superseded = match pipeline::hook(pipeline, &integration, received, refusal).await.map_err(&failed)? {
        Prepared::Superseded(superseded) => superseded,
        Prepared::Ready(ready) => {
            let Told { answer, remembered } = once.tell_receipt(ready.receipt(), told(ready.receipt(), event_id));
            // Repetitions were looked up before the plugin ran.
            let committed = ready.commit(pipeline, remembered, std::future::ready(Ok(None))).await;
            match committed.map_err(|it| failed(it.into()))? {
                None => return Ok(answer?),
                Some(superseded) => superseded,
            }
        }
    };
    supersede(&call, &integration, &once, same, superseded).await
}

/// The response to a delivery that stored nothing.
async fn supersede(
    call: &Call,
    integration: &Integration,
    once: &Once,
    raw: RawEvent,
    superseded: Superseded,
) -> Result<Answer<Delivered>, Failed> {
    match superseded {
        Superseded::Before(first) => attempts::copied(call, integration, once, raw, first).await,
        Superseded::Erased => Ok(Delivered::erased(raw.id).write()?),
    }
}

/// `Prefer: respond-async` (RFC 7240, section 4.1).
fn prefers_later(header: &str) -> bool {
    header.split([',', ';']).any(|it| it.trim().eq_ignore_ascii_case("respond-async"))
}

/// Answers 202 as soon as the delivery is durable.
async fn later(
    call: &Call,
    integration: &Arc<Integration>,
    once: &Once,
    received: Received,
) -> Result<Answer<Delivered>, Failed> {
    let raw = received.raw();
    let place = call.app.queue.place(&raw.company_id, &integration.name);
    let place =
        place.inspect_err(|_| integration.series().delivered(DeliveryEnd::Failed)).map_err(Problem::QueueShare)?;
    let Told { answer, remembered } = once.tell(Delivered::queued(raw.id).write());
    match pipeline::accept(&call.app.pipeline, integration, raw.clone(), remembered).await? {
        None => {
            call.app.queue.push(integration, &received, Some(place));
            Ok(answer?)
        }
        Some(superseded) => supersede(call, integration, once, received.into_raw(), superseded).await,
    }
}

/// Identifies the delivery: by its own id, or else by the sender's `Idempotency-Key`.
fn once(call: &Call, integration: &Integration, sender: &str, received: &Received) -> Result<Once, Problem> {
    let (company, raw) = (&integration.company_id, received.raw());
    if let Some((id, before)) = integration.deliveries(received) {
        return Ok(Once::delivery(id, &raw.body, raw.received_at).known_before_as(Some(before), company));
    }
    let route = format!("/v1/hooks/{}", integration.name);
    let key = || IdempotencyKey::sent(&call.headers);
    let before = Once::of(key()?, &integration.name.0, &route, &raw.body).id();
    Ok(Once::of(key()?, sender, &route, &raw.body).known_before_as(before, company))
}

/// Answers Slack, which asks once whether this URL accepts its deliveries.
async fn greet(
    call: &Call,
    integration: &Integration,
    raw: RawEvent,
    challenge: &str,
) -> Result<Answer<Delivered>, Failed> {
    let event_id = raw.id;
    let reason = "url_verification: answered Slack's question whether this URL accepts its deliveries";
    pipeline::skip(&call.app.pipeline, integration, raw, reason).await?;
    let challenge = Challenge { challenge: challenge.to_owned() };
    Ok(Delivered::Greeted { challenge, event_id }.write()?)
}

/// Authenticates the sender and reads the body. A key, and whatever else the headers or the URL prove, is checked before the
/// body is read; then the body must match the signature.
async fn admit(
    call: &mut Call,
    integration: &Arc<Integration>,
    secret: Option<&str>,
) -> Result<(String, Bytes), Problem> {
    match &integration.auth {
        Auth::ApiKey => {
            let key = call.sender_key(Scope::HooksWrite, now())?;
            // Another company's key is not valid here.
            if key.company_id != integration.company_id {
                return Err(AuthError::WrongKey.into());
            }
            // Before the body, so that the request counts as its integration's from the start.
            call.belongs_to(&integration.company_id, &integration.name)?;
            Ok((key.id.0.clone(), call.body_within(integration.rules.body_bytes).await?))
        }
        auth => {
            let delivery = Delivery { headers: &call.headers, query: &call.query, received_at: now() };
            integration.one_id(&call.headers).map_err(AuthError::Signature)?;
            let claimed = auth.claim(&delivery, secret)?;
            let (company, name) = (&integration.company_id, &integration.name);
            let limit = integration.rules.body_bytes;
            let body = if matches!(claimed, Claimed::Proved) {
                call.prove(company);
                call.belongs_to(company, name)?;
                call.body_within(limit).await?
            } else {
                let body = call.body_within(limit).await?;
                proof::check(&call.app, integration, claimed, &body, call.given_up()).await?;
                call.belongs_to(company, name)?;
                call.proven(company, &body, limit).await?;
                body
            };
            // With the company: another company's integration may have had this name.
            Ok((format!("{}/{}", integration.company_id, integration.name), body))
        }
    }
}

/// Stores a rejected delivery without its body. If too many are rejected, they are only counted.
async fn reject(call: &Call, integration: &Integration, secret: Option<&str>, problem: Problem) -> Failed {
    integration.series().delivered(DeliveryEnd::Rejected);
    let (now, announced) = (now(), call.header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0));
    let code = problem.code().name();
    if let Some(turn) = log::sample(SampledLine::Rejected, &integration.name.0, now) {
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
    let event = pipeline::rejected(integration, id, now, headers, code, &why, announced);
    // The sender is rejected either way; a failing store has its own log line.
    let stored = call.app.store.commit(event.into()).await.is_ok();
    Failed { problem, event_id: stored.then_some(id) }
}
