//! A request as handlers see it, and their answer.

use std::pin::Pin;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use warp::Filter;
use warp::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use warp::reply::Response;

use super::Problem;
use super::edge::Exchange;
use crate::app::{Admin, App, now};
use crate::auth::limit::{Rate, TokenBucket};
use crate::auth::{ApiKey, CompanyId, Scope};
use crate::event::{EventId, IntegrationName, RawEvent, kept_headers, new_id};
use crate::integration::load::direct;
use crate::log::{Field, know};
use crate::memory::{self, Arriving, Charge, Held, Payer};
use crate::payload;
use crate::peer::Peer;
use crate::server::Wire;
use crate::shares::Share;
use crate::store::FirstAnswer;

/// Responses up to this size are not charged: they fit into the socket's send buffer.
const LARGE: usize = 64 * 1024;
/// How long a large body waits for the memory that decoding it takes.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);

type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send + Sync>>;

/// All requests with a company's keys count together, next to those of its integrations.
static DIRECT: LazyLock<IntegrationName> = LazyLock::new(direct);

/// One request.
pub(super) struct Call {
    pub(super) app: Arc<App>,
    pub(super) headers: HeaderMap,
    /// What follows the `?`, as sent.
    pub(super) query: String,
    body: Chunks,
    exchange: Exchange,
    /// Its place among the requests that run at once (`limits.concurrency`).
    place: Option<OwnedSemaphorePermit>,
    /// What its body is charged to, where that is not small.
    held: Option<Arc<Held>>,
    /// What its body becomes when it is decoded.
    decoded: Option<Charge>,
    /// Whose request it is, once that is proved.
    whose: OnceLock<(CompanyId, IntegrationName)>,
    /// The same place as a part of their share.
    share: OnceLock<Share>,
}

/// Extracts a [`Call`] from any request.
pub(super) fn call(app: Arc<App>) -> impl Filter<Extract = (Call,), Error = warp::Rejection> + Clone {
    let body = warp::body::stream();
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    let exchange = warp::ext::get::<Exchange>();
    warp::header::headers_cloned().and(query).and(body).and(exchange).map(move |headers, query, body, exchange| {
        let chunks = StreamExt::map(body, |chunk: Result<_, warp::Error>| {
            chunk.map(|mut buf| {
                let length = Buf::remaining(&buf);
                Buf::copy_to_bytes(&mut buf, length)
            })
        });
        Call {
            app: Arc::clone(&app),
            headers,
            query,
            body: Box::pin(chunks),
            exchange,
            place: None,
            held: None,
            decoded: None,
            whose: OnceLock::new(),
            share: OnceLock::new(),
        }
    })
}

impl Call {
    /// Nothing, where each header that decides how the request is taken is there once: of two, a proxy in front may have
    /// gone by the other.
    pub(super) fn unambiguous(&self) -> Result<(), Problem> {
        const ONCE: [&str; 5] = ["x-api-key", "idempotency-key", "authorization", "content-type", "content-encoding"];
        let twice = ONCE.into_iter().find(|it| self.headers.get_all(*it).iter().nth(1).is_some());
        twice.map_or(Ok(()), |name| Err(Problem::RepeatedHeader { name }))
    }

    /// Takes a place among the requests that run at once. A request whose body is still to come takes its place when it
    /// has arrived: slow senders must not keep others out.
    pub(super) fn begun(mut self) -> Result<Self, Problem> {
        if self.exchange.wire.is_restricted() {
            return Err(Problem::Overloaded);
        }
        self.unambiguous()?;
        let reads_body = [Method::POST, Method::PATCH].contains(&self.exchange.method);
        if !(reads_body && self.exchange.has_content) {
            self.take_place()?;
        }
        Ok(self)
    }

    fn take_place(&mut self) -> Result<(), Problem> {
        if self.place.is_none() {
            let place = Arc::clone(&self.app.in_flight).try_acquire_owned();
            self.place = Some(place.map_err(|_| Problem::Overloaded)?);
        }
        self.take_share()
    }

    /// The request is that of this company, and of this integration of it: its place counts as theirs.
    pub(super) fn belongs_to(&self, company: &CompanyId, integration: &IntegrationName) -> Result<(), Problem> {
        let _proved_before = self.whose.set((company.clone(), integration.clone()));
        self.take_share()
    }

    /// A request whose body is still to come takes no part of a share, as it takes no place.
    fn take_share(&self) -> Result<(), Problem> {
        if let (Some((company, integration)), Some(_), None) = (self.whose.get(), &self.place, self.share.get()) {
            let share = self.app.shares.take(company, integration, 1);
            let _there_was_none = self.share.set(share.map_err(Problem::Share)?);
        }
        Ok(())
    }

    /// Whom limits count it for.
    pub(super) fn peer(&self) -> Peer {
        self.exchange.peer
    }

    /// Resolves when the client of a long request has hung up, for work that is of use to nobody else.
    pub(super) async fn gone(&self) {
        self.exchange.wire.gone().await;
    }

    /// A header's text, where it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The key that the request carries, if it may do this, and as often. The request counts as one of its company's.
    pub(super) fn key(&self, scope: Scope, now: DateTime<Utc>) -> Result<Arc<ApiKey>, Problem> {
        self.key_for_one([scope; 3], now)
    }

    /// The same for what one of several scopes is enough for.
    pub(super) fn key_for_one(&self, scopes: [Scope; 3], now: DateTime<Utc>) -> Result<Arc<ApiKey>, Problem> {
        let key = self.allowed_key(scopes, now)?;
        self.belongs_to(&key.company_id, &DIRECT)?;
        Ok(key)
    }

    /// The same of a delivery's sender: the request counts as its integration's, which the caller says.
    pub(super) fn sender_key(&self, scope: Scope, now: DateTime<Utc>) -> Result<Arc<ApiKey>, Problem> {
        self.allowed_key([scope; 3], now)
    }

    fn allowed_key(&self, scopes: [Scope; 3], now: DateTime<Utc>) -> Result<Arc<ApiKey>, Problem> {
        let key = self.app.keys.check(self.header("x-api-key"), now)?;
        know(Field::Key, key.id.clone());
        key.allow_one(scopes)?;
        if let Some((rate, bucket)) = self.app.key_bucket(&key.id) {
            within("key", rate, &bucket, now)?;
        }
        self.exchange.wire.prove(Some(&key.company_id));
        Ok(key)
    }

    /// Who asks for the admin API.
    pub(super) fn admin(&self) -> Result<Admin, Problem> {
        let admin = self.app.admin(self.header("x-api-key"), now())?;
        know(Field::Key, admin.name().to_owned());
        self.exchange.wire.prove(admin.company());
        if let Admin::Company(company, _) = &admin {
            self.belongs_to(company, &DIRECT)?;
        }
        Ok(admin)
    }

    /// The whole body, within its limits of size and time.
    pub(super) async fn body(&mut self) -> Result<Bytes, Problem> {
        let limit = self.app.config.limits.body_bytes;
        self.body_within(limit).await
    }

    /// The whole body, where this route takes larger or smaller ones than others.
    pub(super) async fn body_within(&mut self, limit: usize) -> Result<Bytes, Problem> {
        let announced = self.header("content-length").and_then(|text| text.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limit as u64) {
            return Err(Problem::BodyTooLarge { limit });
        }
        if let Some(coding) =
            self.header("content-encoding").filter(|it| !it.trim().is_empty() && !it.eq_ignore_ascii_case("identity"))
        {
            return Err(Problem::ContentEncoding { got: coding.chars().take(64).collect() });
        }
        let timeout = self.app.config.limits.body_timeout;
        let wire = Arc::clone(&self.exchange.wire);
        let payer = if wire.is_proven() { Payer::Company(wire.company()) } else { Payer::Stranger(self.peer()) };
        let mut arriving = Arriving::new(&self.app.memory, payer);
        wire.receive();
        let body = tokio::time::timeout(timeout, collect(&mut self.body, limit, &mut arriving)).await;
        wire.run();
        let body = body.map_err(|_| Problem::BodyTimeout { timeout })??;
        let (body, held) = arriving.whole(body);
        self.held = held;
        // A stranger's body takes a place when its proof has been checked: that may wait for others' proofs.
        if wire.is_proven() {
            self.take_place()?;
            self.weigh(&body).await?;
        }
        Ok(body)
    }

    /// Resolves when the body, whole or not, is given up for those of other strangers.
    pub(super) fn given_up(&self) -> impl Future<Output = &'static str> + Send + 'static {
        let token = self.held.as_ref().and_then(|it| it.given_up());
        async move {
            match token {
                Some(token) => token.cancelled().await,
                None => std::future::pending().await,
            }
            memory::STRANGERS
        }
    }

    /// The sender is this company's, and has shown it before its body.
    pub(super) fn prove(&self, company: &CompanyId) {
        self.exchange.wire.prove(Some(company));
    }

    /// The body has turned out to be this company's.
    pub(super) async fn proven(&mut self, company: &CompanyId, body: &Bytes) -> Result<(), Problem> {
        self.prove(company);
        self.take_place()?;
        if let Some(held) = &self.held {
            held.prove(&self.app.memory.bodies, Some(company.clone()), body.len()).map_err(Problem::NoRoom)?;
        }
        self.weigh(body).await
    }

    /// Waits until there is memory for what this body becomes, and keeps some for the response: it may be as large, and
    /// what was done must be told.
    pub(super) async fn weigh(&mut self, body: &Bytes) -> Result<(), Problem> {
        if body.len() <= memory::SMALL {
            return Ok(());
        }
        let (wire, memory) = (&self.exchange.wire, &self.app.memory);
        let company = wire.company();
        let decoded = memory.decoded.charge_within(company.clone(), payload::weight(body), ROOM_TIMEOUT).await;
        self.decoded = Some(decoded.ok_or(Problem::NoRoom(memory::DECODED))?);
        if body.len() > LARGE {
            // A replay weighs twice: what was sent, and the event.
            drop(wire.take_reserved());
            let response = memory.responses.charge(company, body.len());
            wire.reserve(response.ok_or(Problem::NoRoom(memory::RESPONSES))?);
        }
        Ok(())
    }

    /// What its answer is written with.
    pub(super) fn writer(&self) -> Writer {
        let reads = [Method::GET, Method::HEAD].contains(&self.exchange.method);
        Writer { app: Arc::clone(&self.app), wire: Arc::clone(&self.exchange.wire), reads }
    }

    /// The delivery that this body is; `keep` names headers whose values are kept besides the usual ones.
    pub(super) fn raw_event(&self, company_id: CompanyId, body: Bytes, keep: &[String]) -> RawEvent {
        let now = now();
        let content_type = self.header("content-type").map(str::to_owned);
        let headers = kept_headers(&self.headers, keep);
        let id = EventId(new_id(now));
        know(Field::Event, id);
        RawEvent { id, received_at: now, company_id, content_type, headers, body, redacted: Vec::new() }
    }
}

/// Nothing, where there is a token left.
pub(super) fn within(whose: &'static str, rate: Rate, bucket: &TokenBucket, now: DateTime<Utc>) -> Result<(), Problem> {
    let seconds = |wait: chrono::TimeDelta| (wait.num_milliseconds() + 999) / 1000;
    bucket.ask(now).map_err(|wait| Problem::RateLimited { whose, rate, seconds: seconds(wait).max(1) })
}

/// A chunked body announces no length, so its size is watched as it comes.
async fn collect(chunks: &mut Chunks, limit: usize, arriving: &mut Arriving<'_>) -> Result<Bytes, Problem> {
    let mut whole = BytesMut::new();
    let mut first = None;
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = chunks.next() => chunk,
            setting = arriving.given_up() => return Err(Problem::NoRoom(setting)),
        };
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| Problem::BodyBroken)?;
        if whole.len() + first.as_ref().map_or(0, Bytes::len) + chunk.len() > limit {
            return Err(Problem::BodyTooLarge { limit });
        }
        // Most bodies come in one piece, which needs no copy.
        match first.take() {
            None if whole.is_empty() => first = Some(chunk),
            None => whole.extend_from_slice(&chunk),
            Some(start) => {
                whole.extend_from_slice(&start);
                whole.extend_from_slice(&chunk);
            }
        }
        // As much as there is room for, which may be twice what has come.
        arriving.grow_to(first.as_ref().map_or(whole.capacity(), Bytes::len)).map_err(Problem::NoRoom)?;
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// What a handler answers.
pub(super) struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    headers: HeaderMap,
}

impl Answer {
    /// A JSON body.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(body).map_err(|_| Problem::Internal)?;
        Ok(Self { status, body, headers: HeaderMap::new() }.with("content-type", "application/json"))
    }

    /// Bytes of no kind that is known.
    pub(super) fn bytes(body: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, body, headers: HeaderMap::new() }
            .with("content-type", "application/octet-stream")
    }

    /// No body.
    pub(super) fn empty() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: Vec::new(), headers: HeaderMap::new() }
    }

    /// One more header; a value that no header can hold is left out.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The same answer under another status.
    pub(super) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// This answer as it is remembered.
    pub(super) fn first(&self, fingerprint: [u8; 16], at: DateTime<Utc>) -> FirstAnswer {
        let text =
            |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
        FirstAnswer {
            fingerprint,
            at,
            refused: false,
            status: self.status.as_u16(),
            headers: self.headers.iter().filter_map(text).collect(),
            body: Bytes::copy_from_slice(&self.body),
        }
    }

    /// A remembered answer.
    pub(super) fn again(first: FirstAnswer) -> Result<Self, Problem> {
        let status = StatusCode::from_u16(first.status).map_err(|_| Problem::Internal)?;
        let pair = |(name, value): (String, String)| Some((HeaderName::try_from(name).ok()?, value.try_into().ok()?));
        Ok(Self { status, body: first.body.into(), headers: first.headers.into_iter().filter_map(pair).collect() })
    }

    /// Names the event.
    pub(super) fn for_event(self, id: EventId) -> Self {
        self.with("x-event-id", &id.to_string())
    }
}

/// A failure, and the event that it belongs to.
pub(super) struct Failed {
    pub(super) problem: Problem,
    pub(super) event_id: Option<EventId>,
}

impl<E: Into<Problem>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { problem: error.into(), event_id: None }
    }
}

impl Failed {
    /// Names the event only where it can be looked up.
    pub(super) fn of(event_id: EventId) -> impl FnOnce(crate::ingest::Stop) -> Self {
        move |stop| Self { event_id: stop.is_kept().then_some(event_id), problem: Problem::Stop(stop) }
    }
}

/// Writes a request's answer.
pub(super) struct Writer {
    app: Arc<App>,
    wire: Arc<Wire>,
    /// The request changes nothing: it can be sent again at any time.
    reads: bool,
}

impl Writer {
    /// A large body is charged until its client has read it.
    fn body(&self, body: Vec<u8>) -> Result<Bytes, Problem> {
        let reserved = self.wire.take_reserved();
        if body.len() <= LARGE {
            return Ok(body.into());
        }
        let budget = &self.app.memory.responses;
        let charge = match reserved {
            Some(charge) => Some(charge),
            None => budget.charge(self.wire.company(), if self.reads { body.len() } else { 0 }),
        };
        let mut charge = charge.ok_or(Problem::NoRoom(memory::RESPONSES))?;
        charge.force_to(body.len());
        Ok(memory::charged(body.into(), charge))
    }
}

/// The one place where a handler's result becomes a response.
pub(super) fn respond(writer: &Writer, result: Result<Answer, Failed>) -> Response {
    let written = result.and_then(|mut answer| {
        let body = writer.body(std::mem::take(&mut answer.body))?;
        Ok((answer, body))
    });
    match written {
        Err(failed) => {
            drop(writer.wire.take_reserved());
            failed.problem.reply(failed.event_id)
        }
        Ok((answer, body)) => {
            if let Some(id) = answer.headers.get("x-event-id").and_then(|it| it.to_str().ok()) {
                know(Field::Event, id.to_owned());
            }
            let mut response = Response::new(body.into());
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
            response
        }
    }
}

/// Turns a handler into what warp's `then` takes: path parameters first, the call last.
macro_rules! reply {
    // Health checks need no place among the others.
    (always $handler:path) => {
        |call: $crate::http::Call| async move {
            let writer = call.writer();
            $crate::http::call::respond(&writer, $handler(call).await)
        }
    };
    ($handler:path $(, $param:ident)*) => {
        |$($param: String,)* call: $crate::http::Call| async move {
            let writer = call.writer();
            let result = match call.begun() {
                Ok(call) => $handler(call $(, $param)*).await,
                Err(problem) => Err(problem.into()),
            };
            $crate::http::call::respond(&writer, result)
        }
    };
}
pub(super) use reply;
