//! Questions of senders whether this URL accepts their deliveries: answered before the plugin, and stored as skipped events.

use std::sync::Arc;

use bytes::Bytes;
use subtle::ConstantTimeEq as _;
use warp::http::{Method, StatusCode};

use super::answer::{Answer, Failed};
use super::call::Call;
use super::deliveries::Delivered;
use super::problem::Problem;
use super::proof;
use crate::auth::AuthError;
use crate::auth::sender::{Handshake, HandshakeAnswer, HandshakeProof, Sender};
use crate::auth::signature::{BodyHints, Delivery, SentBody, ValueSource};
use crate::integration::{Auth, Claimed, Integration};
use crate::model::event::RawEvent;
use crate::model::headers::few_headers;
use crate::model::time::now;
use crate::pipeline;
use crate::system::rate::Rate;

/// Maximum size of a question that nobody is authenticated for, in bytes.
const QUESTION_BYTES: usize = 64 * 1024;
/// Shown in a response to too many questions.
const QUESTIONS: Rate = Rate { per_minute: 10, burst: 10 };
/// Methods of the routes of hooks, for `Allow`.
const POST: &str = "POST";

impl Call {
    /// The request as a sender's proofs and questions see it.
    pub(super) fn delivery(&self) -> Delivery<'_> {
        Delivery {
            method: self.exchange.method.as_str(),
            path: &self.path_as_sent,
            query: &self.query,
            headers: &self.headers,
            received_at: now(),
        }
    }
}

/// What a question says.
struct Said {
    answered: HandshakeAnswer,
    /// The URL that is requested once.
    to_open: Option<String>,
    /// What is shown to the admin.
    shown: Option<String>,
    /// The secret that it sets.
    learned: Option<String>,
}

/// A question, and where its sender's file has the answer.
#[derive(Debug)]
pub(super) struct Question {
    sender: Arc<Sender>,
    index: usize,
}

impl Question {
    fn handshake(&self) -> &Handshake {
        &self.sender.handshakes[self.index]
    }

    /// The first question that a complete request asks, of those that `which` selects.
    pub(super) fn of(
        call: &Call,
        integration: &Integration,
        body: &Bytes,
        which: impl Fn(&Handshake) -> bool,
    ) -> Option<Self> {
        let sender = integration.sender.as_ref().filter(|it| !it.handshakes.is_empty())?;
        let (delivery, kind) = (call.delivery(), call.content_type());
        let body = SentBody::new(body, hints(call, integration, kind.as_deref()));
        let index = sender.handshakes.iter().position(|it| which(it) && it.asks(&delivery, &body))?;
        Some(Self { sender: Arc::clone(sender), index })
    }

    /// Checks that its sender may ask, apart from a signature.
    fn admit(&self, call: &Call, integration: &Integration, body: &Bytes) -> Result<(), Problem> {
        match &self.handshake().proof {
            HandshakeProof::Signed => Ok(()),
            _ if !integration.uses.may_ask(call.peer(), now()) => {
                Err(Problem::RateLimited { whose: "integration", rate: QUESTIONS, seconds: 6 })
            }
            HandshakeProof::None => Ok(()),
            HandshakeProof::Secret { source, name } => {
                let secrets = integration.secrets.others.get(name).map(Vec::as_slice).unwrap_or_default();
                if secrets.is_empty() {
                    return Err(AuthError::NotConfigured.into());
                }
                let kind = call.content_type();
                let body = SentBody::new(body, hints(call, integration, kind.as_deref()));
                let sent = self.handshake().value(source, &call.delivery(), &body);
                let missing = AuthError::Credentials("the value that must equal the verify token is missing");
                let sent = sent.filter(|it| !it.trim().is_empty()).ok_or(missing)?;
                let equals = |it: &(_, crate::model::secret::Secret)| {
                    bool::from(it.1.expose().as_bytes().ct_eq(sent.as_bytes()))
                };
                let found = secrets.iter().fold(false, |found, it| found | equals(it));
                if found {
                    Ok(())
                } else {
                    Err(AuthError::Credentials("the value that must equal the verify token is wrong").into())
                }
            }
        }
    }

    /// Answers it, and stores it as a skipped event.
    pub(super) async fn answer(
        self,
        call: &Call,
        integration: &Integration,
        secret: Option<&str>,
        body: Bytes,
    ) -> Result<Answer<Delivered>, Failed> {
        self.admit(call, integration, &body)?;
        let Said { answered, to_open, shown, learned } = self.said(call, integration, &body)?;
        let handshake = self.handshake();
        let mut message = format!("question \"{}\" of {}: answered", handshake.name, self.sender.title);
        let opened = match &to_open {
            Some(url) => Some(call.app.sender_keys.open(url, &handshake.hosts).await),
            None => None,
        };
        match &opened {
            Some(Ok(())) => message.push_str("; its link was opened"),
            Some(Err(cause)) => message.push_str(&format!("; its link was not opened: {cause}")),
            None => {}
        }
        if let (Some(shown), false) = (shown, matches!(opened, Some(Ok(())))) {
            let shown: String = shown.chars().filter(|it| !it.is_control()).collect();
            message.push_str(&format!("; to confirm, open {shown}"));
        }
        if learned.is_some() {
            message.push_str("; it sets the secret, once an admin has confirmed it: hookmill sender confirm ");
            message.push_str(&integration.name.0);
        }
        let raw = self.stored(call, integration, secret, body);
        let (event_id, received_at) = (raw.id, raw.received_at);
        if let Some(learned) = learned {
            let added = call.app.learned.add(integration, event_id, received_at, call.peer(), learned);
            if let Some(dropped) = added.map_err(Problem::Operation)? {
                message.push_str(&format!("; too many wait, so the secret of event {dropped} was dropped"));
                tracing::warn!(integration = %integration.name, event.id = %dropped, "a secret that waited for confirmation was dropped, because too many wait");
            }
        }
        pipeline::question(&call.app.pipeline, integration, raw, message).await?;
        let status = StatusCode::from_u16(answered.status).unwrap_or(StatusCode::OK);
        let answer = Answer::described(status, answered.content_type, answered.body.into_bytes()).for_event(event_id);
        Ok(answered.headers.iter().fold(answer, |answer, (name, value)| answer.with_described(name, value)))
    }

    /// What the question says, as far as its sender's file looks for it.
    fn said(&self, call: &Call, integration: &Integration, body: &Bytes) -> Result<Said, Problem> {
        let (handshake, delivery) = (self.handshake(), call.delivery());
        let kind = call.content_type();
        let sent = SentBody::new(body, hints(call, integration, kind.as_deref()));
        let key = integration.secrets.main.first().and_then(|(_, it)| self.sender.handshake_key(it));
        let answered = handshake.answer(&delivery, &sent, key.as_deref()).map_err(AuthError::Signature)?;
        let value = |source: &Option<ValueSource>| handshake.value(source.as_ref()?, &delivery, &sent);
        // A stranger must not make the server request anything.
        let is_signed = handshake.proof == HandshakeProof::Signed;
        let to_open = value(&handshake.fetch).filter(|_| is_signed);
        let (shown, learned) = (value(&handshake.show), value(&handshake.learn));
        Ok(Said { answered, to_open, shown, learned })
    }

    /// What is stored. Of a question that is not signed, only the few usual headers, and not the body.
    fn stored(&self, call: &Call, integration: &Integration, secret: Option<&str>, body: Bytes) -> RawEvent {
        let mut raw = call.raw_event(integration.company_id.clone(), Bytes::new(), &integration.keep_headers);
        let is_signed = self.handshake().proof == HandshakeProof::Signed;
        if !is_signed {
            (raw.headers, raw.content_type) = (few_headers(&call.headers), None);
        }
        integration.auth.hide(&mut raw.headers, secret);
        raw.content_type = raw.content_type.filter(|it| !integration.auth.is_in(it, secret));
        if !is_signed {
            return raw;
        }
        // Redacted like a delivery; a body that cannot be decoded then is not stored.
        match integration.receive(RawEvent { body, ..raw }) {
            Ok(received) => received.into_raw(),
            Err(unreadable) => unreadable.0,
        }
    }
}

/// How the body is read, as for a delivery.
fn hints<'a>(call: &'a Call, integration: &Integration, content_type: Option<&'a str>) -> BodyHints<'a> {
    BodyHints { content_type, coding: call.header("content-encoding"), format: integration.rules.format }
}

/// Whether a request that does not prove itself may be a question that nobody is authenticated for.
pub(super) fn may_ask(call: &Call, integration: &Integration) -> bool {
    let open = |it: &Handshake| it.proof != HandshakeProof::Signed && it.may_be(&call.delivery());
    !matches!(integration.auth, Auth::UrlSecret { .. })
        && integration.sender.as_ref().is_some_and(|it| it.handshakes.iter().any(open))
}

/// Reads a request that may be a question that nobody is authenticated for.
pub(super) async fn open_question(
    call: &mut Call,
    integration: &Integration,
) -> Result<Option<(Question, Bytes)>, Problem> {
    let body = call.body_within(QUESTION_BYTES).await?;
    call.take_place()?;
    Ok(open(call, integration, &body).map(|it| (it, body)))
}

/// The question that a request with this body asks, of those that nobody is authenticated for.
pub(super) fn open(call: &Call, integration: &Integration, body: &Bytes) -> Option<Question> {
    let is_small = body.len() <= QUESTION_BYTES;
    is_small.then(|| Question::of(call, integration, body, |it| it.proof != HandshakeProof::Signed)).flatten()
}

/// A GET or HEAD request, which can only be a question.
pub(super) async fn without_body(
    call: &Call,
    integration: &Arc<Integration>,
    secret: Option<&str>,
) -> Result<Answer<Delivered>, Failed> {
    let method = || Problem::Method { method: call.exchange.method.to_string(), allow: POST.to_owned() };
    let body = Bytes::new();
    let question = Question::of(call, integration, &body, |_| true).ok_or_else(method)?;
    let is_signed = question.handshake().proof == HandshakeProof::Signed;
    if is_signed || matches!(integration.auth, Auth::UrlSecret { .. }) {
        let claimed = integration.auth.claim(&call.delivery(), secret).map_err(Problem::from)?;
        if let Claimed::Signed(_) = claimed {
            proof::check(&call.app, integration, claimed, &body, call.given_up()).await?;
        }
    }
    question.answer(call, integration, secret, body).await
}

/// Whether the method of a request has no body here.
pub(super) fn has_no_body(call: &Call) -> bool {
    [Method::GET, Method::HEAD].contains(&call.exchange.method)
}
