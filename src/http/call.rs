//! A request as handlers see it. `call_body.rs` reads the body.

use std::pin::Pin;
use std::sync::{Arc, LazyLock, OnceLock};

use bytes::{Buf, Bytes};
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use warp::Filter;
use warp::http::{HeaderMap, Method};

use super::exchange::Exchange;
use super::key_holder::KeyHolder;
use super::problem::Problem;
use crate::auth::{ApiKey, AuthError, Scope};
use crate::format::payload::{CODING_HEADER, Loosened, Rules, received_type};
use crate::format::schema::Violation;
use crate::integration::load::direct;
use crate::limits::memory::{Charge, Held};
use crate::limits::shares::Share;
use crate::model::company::CompanyId;
use crate::model::event::RawEvent;
use crate::model::headers::{content_type, kept_headers};
use crate::model::ids::{EventId, IntegrationName, new_id};
use crate::model::origin::Origin;
use crate::model::peer::Peer;
use crate::model::time::now;
use crate::service::app::{Admin, App};
use crate::system::log::{Field, know};
use crate::system::rate::{Rate, TokenBucket};
use crate::system::trace;

/// Responses up to this size are not charged to a memory budget: they fit into the socket's send buffer.
pub(super) const LARGE: usize = 64 * 1024;

/// A body as it arrives.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send + Sync>>;

/// The name under which all requests with a company's keys count together, separate from its integrations.
static DIRECT: LazyLock<IntegrationName> = LazyLock::new(direct);

/// One request.
pub(super) struct Call {
    pub(super) app: Arc<App>,
    pub(super) headers: HeaderMap,
    /// The path of the URL, as sent.
    pub(super) path_as_sent: String,
    /// The query as sent, without the `?`.
    pub(super) query: String,
    /// Query parameters that its route does not have, until they are reported.
    pub(super) unknown_parameters: Vec<Violation>,
    /// Names of query parameters that were loosened or ignored.
    pub(super) loosened: Loosened,
    /// How loosely values are read.
    pub(super) rules: Rules,
    /// Who calls, where a session of the console says so; else the request's headers do.
    pub(super) holder: Option<KeyHolder>,
    /// How its event is made, if no sender has sent it.
    pub(super) origin: Option<Origin>,
    /// The values of the URL's parameters, by name.
    pub(super) path: Vec<(&'static str, String)>,
    pub(super) body: Chunks,
    pub(super) exchange: Exchange,
    /// Its place among the running requests (`limits.concurrency`).
    place: Option<OwnedSemaphorePermit>,
    /// The memory charge of its body, unless that is small.
    pub(super) held: Option<Arc<Held>>,
    /// The memory charge of its decoded body.
    pub(super) decoded: Option<Charge>,
    /// The company and integration that it counts for, once that is proved.
    whose: OnceLock<(CompanyId, IntegrationName)>,
    /// Its part of their share.
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
            path_as_sent: String::new(),
            query,
            unknown_parameters: Vec::new(),
            loosened: Loosened::default(),
            rules: Rules::default(),
            holder: None,
            origin: None,
            path: Vec::new(),
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
    /// Rejects a request with two headers of the same name where that matters: a proxy in front may have used the other one.
    pub(super) fn unambiguous(&self) -> Result<(), Problem> {
        self.unambiguous_but(false)
    }

    /// Like [`Self::unambiguous`]; the body of a delivery is read by its content, whatever its type says.
    fn unambiguous_but(&self, any_type: bool) -> Result<(), Problem> {
        const ONCE: [&str; 5] = ["x-api-key", "idempotency-key", "authorization", "content-encoding", "content-type"];
        let once = ONCE.into_iter().filter(|it| !any_type || *it != "content-type");
        let twice = once.into_iter().find(|it| self.headers.get_all(*it).iter().nth(1).is_some());
        twice.map_or(Ok(()), |name| Err(Problem::RepeatedHeader { name }))
    }

    /// Takes a place among the running requests. A request with a body takes its place when the body has arrived, so that slow
    /// senders do not block others. `any_type`: its content type may be sent more than once.
    pub(super) fn begun(mut self, any_type: bool) -> Result<Self, Problem> {
        if self.exchange.wire.is_restricted() {
            return Err(Problem::Overloaded);
        }
        self.unambiguous_but(any_type)?;
        let reads_body = [Method::POST, Method::PUT, Method::PATCH].contains(&self.exchange.method);
        if !(reads_body && self.exchange.has_content) {
            self.take_place()?;
        }
        Ok(self)
    }

    pub(super) fn take_place(&mut self) -> Result<(), Problem> {
        if self.place.is_none() {
            let place = Arc::clone(&self.app.in_flight).try_acquire_owned();
            self.place = Some(place.map_err(|_| Problem::Overloaded)?);
        }
        self.take_share()
    }

    /// Counts the request for this company and integration.
    pub(super) fn belongs_to(&self, company: &CompanyId, integration: &IntegrationName) -> Result<(), Problem> {
        let _proved_before = self.whose.set((company.clone(), integration.clone()));
        self.take_share()
    }

    /// Takes a part of the share, unless the body is still to arrive: then it has no place either.
    fn take_share(&self) -> Result<(), Problem> {
        if let (Some((company, integration)), Some(_), None) = (self.whose.get(), &self.place, self.share.get()) {
            let share = self.app.shares.take(company, integration, 1);
            let _there_was_none = self.share.set(share.map_err(Problem::Share)?);
        }
        Ok(())
    }

    /// The client, for limits.
    pub(super) fn peer(&self) -> Peer {
        self.exchange.peer
    }

    /// Resolves when the client of a long request hangs up, for work that only the client needs.
    pub(super) async fn gone(&self) {
        self.exchange.wire.gone().await;
    }

    /// A header's value; `None` if it is missing or not text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The content type as sent. If there are several, they are joined as a list (RFC 9110 section 5.3).
    pub(super) fn content_type(&self) -> Option<String> {
        content_type(&self.headers).map(received_type)
    }

    /// The request's API key, if it has the scope and is within its rate limit. The request counts for its company.
    pub(super) fn key(&self, scope: Scope, now: DateTime<Utc>) -> Result<Arc<ApiKey>, Problem> {
        self.key_for_one([scope; 3], now)
    }

    /// Like [`Self::key`], where one of several scopes suffices.
    pub(super) fn key_for_one(&self, scopes: [Scope; 3], now: DateTime<Utc>) -> Result<Arc<ApiKey>, Problem> {
        let key = trace::stage("authenticate").end(self.allowed_key(&scopes, now))?;
        self.belongs_to(&key.company_id, &DIRECT)?;
        Ok(key)
    }

    /// The key that the request carries, whatever its scopes. The request counts as one of its company's.
    pub(super) fn any_key(&self, now: DateTime<Utc>) -> Result<Arc<ApiKey>, Problem> {
        let key = self.allowed_key(&[], now)?;
        self.belongs_to(&key.company_id, &DIRECT)?;
        Ok(key)
    }

    /// Reads the rest of the request as strictly as its key says, if it has one.
    pub(super) fn read_as_its_key(&mut self, now: DateTime<Utc>) {
        if let Ok(key) = self.sent_key(now) {
            self.rules = key.rules();
        }
    }

    /// Like [`Self::key`], for a delivery: the caller counts the request for its integration.
    pub(super) fn sender_key(&self, scope: Scope, now: DateTime<Utc>) -> Result<Arc<ApiKey>, Problem> {
        self.allowed_key(&[scope], now)
    }

    fn allowed_key(&self, scopes: &[Scope], now: DateTime<Utc>) -> Result<Arc<ApiKey>, Problem> {
        let key = self.sent_key(now)?;
        know(Field::Key, key.id.clone());
        key.allow_one(scopes)?;
        if let Some((rate, bucket)) = self.app.key_bucket(&key.id) {
            within("key", rate, &bucket, now)?;
        }
        self.exchange.wire.prove(Some(&key.company_id));
        Ok(key)
    }

    /// The key of the caller, whatever its scopes and rate limit.
    fn sent_key(&self, now: DateTime<Utc>) -> Result<Arc<ApiKey>, AuthError> {
        match &self.holder {
            None => self.app.keys.check(self.header("x-api-key"), now),
            Some(KeyHolder::Key(key)) if key.is_good(now) => Ok(Arc::clone(key)),
            Some(KeyHolder::Key(_)) => Err(AuthError::WrongKey),
            Some(KeyHolder::Operator) => Err(AuthError::NoKey),
        }
    }

    /// The caller, if it is an admin. The request counts for nobody.
    pub(super) fn sent_admin(&self, now: DateTime<Utc>) -> Result<Admin, AuthError> {
        match &self.holder {
            None => self.app.admin(self.header("x-api-key"), now),
            Some(KeyHolder::Operator) => Ok(Admin::Operator),
            Some(KeyHolder::Key(_)) => {
                let key = self.sent_key(now)?;
                key.allow(Scope::Admin)?;
                Ok(Admin::Company(key.company_id.clone(), key.id.clone()))
            }
        }
    }

    /// A request of the console on behalf of its visitor.
    pub(super) fn on_behalf(
        &self,
        holder: KeyHolder,
        method: Method,
        headers: HeaderMap,
        query: &str,
        body: Bytes,
    ) -> Self {
        self.inner(Some(holder), method, headers, query, body)
    }

    /// Another request of the same client, which is answered in the process.
    pub(super) fn inner(
        &self,
        holder: Option<KeyHolder>,
        method: Method,
        headers: HeaderMap,
        query: &str,
        body: Bytes,
    ) -> Self {
        let exchange =
            Exchange { method, has_content: !body.is_empty(), route: Arc::default(), ..self.exchange.clone() };
        Self {
            app: Arc::clone(&self.app),
            headers,
            path_as_sent: String::new(),
            query: query.to_owned(),
            unknown_parameters: Vec::new(),
            loosened: Loosened::default(),
            rules: Rules::default(),
            holder,
            origin: None,
            path: Vec::new(),
            body: Box::pin(futures_util::stream::once(std::future::ready(Ok(body)))),
            exchange,
            place: None,
            held: None,
            decoded: None,
            whose: OnceLock::new(),
            share: OnceLock::new(),
        }
    }

    /// The caller of the admin API.
    pub(super) fn admin(&self) -> Result<Admin, Problem> {
        let admin = self.sent_admin(now())?;
        know(Field::Key, admin.name().to_owned());
        self.exchange.wire.prove(admin.company());
        if let Admin::Company(company, _) = &admin {
            self.belongs_to(company, &DIRECT)?;
        }
        Ok(admin)
    }

    /// The event for this body. `keep` names headers whose values are kept in addition to the usual ones.
    pub(super) fn raw_event(&self, company_id: CompanyId, body: Bytes, keep: &[String]) -> RawEvent {
        let now = now();
        let content_type = self.content_type();
        let mut headers = kept_headers(&self.headers, keep);
        // The body is stored as it was sent, so it is read with its coding.
        if let (Some(coding), Some((_, kept))) =
            (self.header(CODING_HEADER), headers.iter_mut().find(|(name, _)| name == CODING_HEADER))
        {
            coding.clone_into(kept);
        }
        let id = EventId(new_id(now));
        know(Field::Event, id);
        let trace = trace::context();
        let (query, path) = (Vec::new(), String::new());
        RawEvent {
            id,
            received_at: now,
            company_id,
            content_type,
            headers,
            query,
            path,
            body,
            redacted: Vec::new(),
            trace,
            origin: self.origin.clone(),
        }
    }
}

/// Takes a token from the bucket, or fails with the rate limit.
pub(super) fn within(whose: &'static str, rate: Rate, bucket: &TokenBucket, now: DateTime<Utc>) -> Result<(), Problem> {
    let seconds = |wait: chrono::TimeDelta| (wait.num_milliseconds() + 999) / 1000;
    bucket.ask(now).map_err(|wait| Problem::RateLimited { whose, rate, seconds: seconds(wait).max(1) })
}
