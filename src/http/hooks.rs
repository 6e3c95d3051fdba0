//! `POST /v1/hooks/{integration}`: third-party webhooks.

use std::sync::Arc;

use bytes::Bytes;
use warp::http::StatusCode;

use super::answer::{Answer, Failed};
use super::attempts;
use super::call::{Call, within};
use super::deliveries::{Delivered, SentDelivery};
use super::input::Input;
use super::openapi::describer::Describer;
use super::outcome_answer;
use super::path::{Path, SentName, SentRest, UrlSecret};
use super::problem::Problem;
use super::proof;
use super::questions;
use super::questions::Question;
use super::repeat::{Once, Told};
use super::reply::TypedReply as _;
use super::request_headers::IdempotencyKey;
use crate::auth::{AuthError, Scope};
use crate::format::payload::DecodeError;
use crate::integration::sent_url::{SentUrl, URL_BYTES};
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
    delivered(call, name, &[]).await
}

/// `POST /v1/hooks/{integration}/{secret}`, for senders that can authenticate only by a secret in the URL, and for URLs that say more after the name.
pub(super) async fn receive_with_secret(
    call: Call,
    (): (),
    (Path(SentName(name)), Path(UrlSecret(secret)), SentDelivery): (Path<SentName>, Path<UrlSecret>, SentDelivery),
) -> Result<Answer<Delivered>, Failed> {
    delivered(call, name, &[secret]).await
}

/// `POST /v1/hooks/{integration}/…/…`, where the first part is the secret if the integration has one.
pub(super) async fn receive_at_path(
    call: Call,
    (): (),
    (Path(SentName(name)), HookPath(parts), SentDelivery): (Path<SentName>, HookPath, SentDelivery),
) -> Result<Answer<Delivered>, Failed> {
    delivered(call, name, &parts).await
}

/// `GET /v1/hooks/{integration}`: a sender's question whether this URL accepts its deliveries.
pub(super) async fn ask(
    call: Call,
    (): (),
    (Path(SentName(name)), SentDelivery): (Path<SentName>, SentDelivery),
) -> Result<Answer<Delivered>, Failed> {
    delivered(call, name, &[]).await
}

/// `GET /v1/hooks/{integration}/{secret}`
pub(super) async fn ask_with_secret(
    call: Call,
    (): (),
    (Path(SentName(name)), Path(UrlSecret(secret)), SentDelivery): (Path<SentName>, Path<UrlSecret>, SentDelivery),
) -> Result<Answer<Delivered>, Failed> {
    delivered(call, name, &[secret]).await
}

/// `GET /v1/hooks/{integration}/…/…`
pub(super) async fn ask_at_path(
    call: Call,
    (): (),
    (Path(SentName(name)), HookPath(parts), SentDelivery): (Path<SentName>, HookPath, SentDelivery),
) -> Result<Answer<Delivered>, Failed> {
    delivered(call, name, &parts).await
}

/// What follows the integration's name, of two parts or more.
pub(super) struct HookPath([String; 2]);

impl Input for HookPath {
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        let (Path(UrlSecret(first)), Path(SentRest(rest))) = (Path::read(call).await?, Path::read(call).await?);
        Ok(Self([first, rest]))
    }

    fn describe(to: &mut Describer<'_>) {
        Path::<UrlSecret>::describe(to);
        Path::<SentRest>::describe(to);
    }
}

/// Divides what follows the name into the secret, if the integration has one in its URL, and the rest, which begins with `/`.
fn divided<'a>(integration: &Integration, parts: &'a [String]) -> (Option<&'a str>, String) {
    let (secret, rest) = match (&integration.auth, parts) {
        (Auth::UrlSecret { .. }, [secret, rest @ ..]) => (Some(secret.as_str()), rest),
        (_, all) => (None, all),
    };
    (secret, rest.iter().map(|it| format!("/{it}")).collect())
}

async fn delivered(mut call: Call, name: String, parts: &[String]) -> Result<Answer<Delivered>, Failed> {
    let integration = found(&call, name)?;
    know(Field::Integration, integration.name.clone());
    let (secret, rest) = divided(&integration, parts);
    let result = if questions::has_no_body(&call) {
        let answered = questions::without_body(&call, &integration, secret).await;
        or_rejected(&call, &integration, secret, answered).await
    } else {
        process(&mut call, &integration, secret, &rest).await
    };
    match result {
        Err(failed) => outcome_answer::failed(failed, &integration.answers),
        answered => answered,
    }
}

/// The integration of a delivery.
fn found(call: &Call, name: String) -> Result<Arc<Integration>, Failed> {
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
    Ok(integration)
}

async fn process(
    call: &mut Call,
    integration: &Arc<Integration>,
    secret: Option<&str>,
    rest: &str,
) -> Result<Answer<Delivered>, Failed> {
    let admitted = trace::stage("authenticate").end(admit(call, integration, secret).await);
    let (sender, body) = match admitted {
        Ok(Admitted::Delivery { sender, body }) => (sender, body),
        Ok(Admitted::Question(question, body)) => {
            let answered = question.answer(call, integration, secret, body).await;
            return or_rejected(call, integration, secret, answered).await;
        }
        // The server is busy, which says nothing about the delivery.
        Err(problem @ (Problem::Overloaded | Problem::NoRoom(_) | Problem::Share(_) | Problem::SenderKeys)) => {
            integration.series().delivered(DeliveryEnd::Failed);
            return Err(problem.into());
        }
        Err(problem) => return Err(reject(call, integration, secret, problem).await),
    };
    if let Some((rate, bucket)) = &integration.rate {
        within("integration", *rate, bucket, now())
            .inspect_err(|_| integration.series().delivered(DeliveryEnd::Failed))?;
    }
    let Some(SentUrl { query, path }) = integration.sent_url(&call.query, rest, secret) else {
        return Err(reject(call, integration, secret, Problem::UrlTooLarge { limit: URL_BYTES }).await);
    };
    let mut raw = call.raw_event(integration.company_id.clone(), body, &integration.keep_headers);
    integration.auth.hide(&mut raw.headers, secret);
    raw.content_type = raw.content_type.filter(|it| !integration.auth.is_in(it, secret));
    (raw.query, raw.path) = (query, path);
    // Whatever is sent is captured.
    let only_query = !integration.captures
        && raw.body.trim_ascii().is_empty()
        && !call.query.is_empty()
        && integration.rules.empty.is_none();
    let (event_id, sent) = (raw.id, raw.body.len() as u64);
    if only_query {
        let stop = pipeline::unreadable(&call.app.pipeline, integration, raw, DecodeError::OnlyQuery, sent).await;
        return Err(Failed::of(event_id)(stop));
    }
    let mut received = match integration.receive(raw) {
        Ok(received) => received,
        Err(unreadable) => {
            let (raw, error) = *unreadable;
            let stop = pipeline::unreadable(&call.app.pipeline, integration, raw, error, sent).await;
            return Err(Failed::of(event_id)(stop));
        }
    };
    // Providers accept any 2xx; 200 says that nothing was created this time.
    let once = once(call, integration, &sender, &received)?.answered_again_with(StatusCode::OK);
    if let Some(answer) = attempts::repeated(call, integration, &once, &mut received).await? {
        return Ok(answer);
    }
    if !integration.captures && (integration.later.always || call.header("prefer").is_some_and(prefers_later)) {
        return later(call, integration, &once, received).await;
    }
    let (same, refusal) = (received.raw().clone(), once.refusal(event_id, &received.raw().body));
    let (pipeline, failed) = (&call.app.pipeline, Failed::of(event_id));
    let superseded = match pipeline::hook(pipeline, integration, received, refusal).await.map_err(&failed)? {
        Prepared::Superseded(superseded) => superseded,
        Prepared::Ready(ready) => {
            let Told { answer, remembered } = once
                .tell_receipt(ready.receipt(), outcome_answer::told(ready.receipt(), event_id, &integration.answers));
            // Repetitions were looked up before the plugin ran.
            let committed = ready.commit(pipeline, remembered, std::future::ready(Ok(None))).await;
            match committed.map_err(|it| failed(it.into()))? {
                None => return Ok(answer?),
                Some(superseded) => superseded,
            }
        }
    };
    supersede(call, integration, &once, same, superseded).await
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
        Superseded::Erased => Ok(outcome_answer::erased(raw.id, &integration.answers)?),
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
    let Told { answer, remembered } = once.tell(
        Delivered::queued(raw.id)
            .write()
            .and_then(|it| outcome_answer::shaped(it, &integration.answers.queued, raw.id, &[])),
    );
    let lane = integration.lane(&received);
    match pipeline::accept(&call.app.pipeline, integration, raw.clone(), remembered, lane).await? {
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
    if raw.origin.is_some() {
        // A test repeats no delivery, and none repeats a test.
        return Ok(Once::of(IdempotencyKey(None), Some(company), sender, "", &raw.body));
    }
    if let Some((id, before)) = integration.deliveries(received) {
        return Ok(Once::delivery(id, &raw.body, raw.received_at).known_before_as(Some(before), company));
    }
    let route = format!("/v1/hooks/{}", integration.name);
    let key = || IdempotencyKey::sent(&call.headers);
    let before = Once::of(key()?, Some(company), &integration.name.0, &route, &raw.body).id();
    Ok(Once::of(key()?, Some(company), sender, &route, &raw.body).known_before_as(before, company))
}

/// An authenticated request.
enum Admitted {
    /// A delivery: who sent it, for idempotency, and its body.
    Delivery { sender: String, body: Bytes },
    /// A question that the server answers itself.
    Question(Question, Bytes),
}

/// Authenticates the sender and reads the body. A key, and whatever else the headers or the URL prove, is checked before the
/// body is read; then the body must match the signature.
async fn admit(call: &mut Call, integration: &Arc<Integration>, secret: Option<&str>) -> Result<Admitted, Problem> {
    let (company, name) = (&integration.company_id, &integration.name);
    let limit = integration.rules.body_bytes;
    if matches!(integration.auth, Auth::ApiKey) {
        let key = call.sender_key(Scope::HooksWrite, now())?;
        // Another company's key is not valid here.
        if key.company_id != *company {
            return Err(AuthError::WrongKey.into());
        }
        // Before the body, so that the request counts as its integration's from the start.
        call.belongs_to(company, name)?;
        return Ok(Admitted::Delivery { sender: key.id.0.clone(), body: call.body_within(limit).await? });
    }
    integration.one_id(&call.headers).map_err(AuthError::Signature)?;
    let claimed = match integration.auth.claim(&call.delivery(), secret) {
        Ok(claimed) => claimed,
        Err(error) if questions::may_ask(call, integration) => {
            let question = questions::open_question(call, integration).await?;
            return question.map(|(it, body)| Admitted::Question(it, body)).ok_or_else(|| error.into());
        }
        Err(error) => return Err(error.into()),
    };
    let (body, used) = if let Claimed::Proved(used) = claimed {
        call.prove(company);
        call.belongs_to(company, name)?;
        (call.body_within(limit).await?, Some(used))
    } else {
        let body = call.body_within(limit).await?;
        let used = match proof::check(&call.app, integration, claimed, &body, call.given_up()).await {
            Err(Problem::Auth(error)) if questions::may_ask(call, integration) => {
                call.take_place()?;
                let question = questions::open(call, integration, &body);
                return question.map(|it| Admitted::Question(it, body)).ok_or_else(|| error.into());
            }
            checked => checked?,
        };
        call.belongs_to(company, name)?;
        call.proven(company, &body, limit).await?;
        (body, used)
    };
    // A test says nothing about what the sender uses.
    used.filter(|_| call.origin.is_none()).inspect(|it| integration.uses.used(*it, now()));
    if let Some(question) = Question::of(call, integration, &body, |_| true) {
        return Ok(Admitted::Question(question, body));
    }
    // With the company: another company's integration may have had this name.
    Ok(Admitted::Delivery { sender: format!("{company}/{name}"), body })
}

/// The answer to a question; one that is not admitted is stored like a rejected delivery.
async fn or_rejected(
    call: &Call,
    integration: &Integration,
    secret: Option<&str>,
    answered: Result<Answer<Delivered>, Failed>,
) -> Result<Answer<Delivered>, Failed> {
    match answered {
        Err(Failed { problem: problem @ (Problem::Auth(_) | Problem::RateLimited { .. }), .. }) => {
            Err(reject(call, integration, secret, problem).await)
        }
        answered => answered,
    }
}

/// Stores a rejected delivery without its body. If too many are rejected, they are only counted.
async fn reject(call: &Call, integration: &Integration, secret: Option<&str>, problem: Problem) -> Failed {
    let problem = match problem {
        Problem::BodyTooLarge { limit } if limit == integration.rules.body_bytes => Problem::DeliveryTooLarge { limit },
        other => other,
    };
    integration.series().delivered(DeliveryEnd::Rejected);
    let (now, announced) = (now(), call.header("content-length").and_then(|it| it.parse().ok()).unwrap_or(0));
    let code = problem.code().name();
    if let Some(turn) = log::sample(SampledLine::Rejected, &integration.name.0, now) {
        tracing::warn!(code, peer = %call.peer(), omitted = turn.omitted, "delivery rejected");
    }
    let Some(omitted) = integration.rejections.admit(call.peer(), now) else { return problem.into() };
    let id = EventId(new_id(now));
    let mut why = match &problem {
        Problem::Auth(AuthError::NotConfigured) => not_configured(integration),
        Problem::Auth(error) => error.detail(),
        other => other.to_string(),
    };
    if omitted > 0 {
        why.push_str(&format!(" ({omitted} rejected deliveries before this one were not stored)"));
    }
    let mut headers = few_headers(&call.headers);
    integration.auth.hide(&mut headers, secret);
    let stage = if matches!(problem, Problem::Auth(_)) { "auth" } else { "decode" };
    let reason = crate::model::event::Reason { stage: stage.into(), code: code.into(), message: why };
    let event = pipeline::rejected(integration, id, now, headers, reason, announced);
    // The sender is rejected either way; a failing store has its own log line.
    let stored = call.app.store.commit(event.into()).await.is_ok();
    Failed { problem, event_id: stored.then_some(id) }
}

/// Names the secrets, for the admin.
fn not_configured(integration: &Integration) -> String {
    let names = &integration.secrets.names;
    let all = names.join(", ");
    match names.first() {
        Some(first) => {
            format!("none of its secrets is set on the server ({all}); set one with: hookmill secret set {first}")
        }
        None => AuthError::NotConfigured.detail(),
    }
}
