//! What every request passes before its route, and every answer after it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use warp::http::{Method, Request, StatusCode, Uri, Version};
use warp::reply::Response;

use super::Problem;
use super::content::Content;
use super::problem::ProblemBody;
use super::running::Running;
use super::trace::Ids;
use crate::app::{App, now};
use crate::event::new_id;
use crate::peer::Peer;
use crate::server::Wire;

/// How long a backup, a rebuild, a dry run or an erasure may take.
const UPKEEP_TIMEOUT: Duration = Duration::from_secs(6 * 60 * 60);

/// Every request runs to its end, also when its caller hangs up or has waited for too long: what it changes is changed once,
/// and as a whole.
pub(crate) struct Edge<S> {
    app: Arc<App>,
    routes: S,
    requests: TaskTracker,
}

/// What a handler can find out about its request beyond what was sent.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// As it was sent: routes see GET for HEAD.
    pub(super) method: Method,
    /// Content follows.
    pub(super) has_content: bool,
    /// Whom limits count it for.
    pub(super) peer: Peer,
    pub(super) wire: Arc<Wire>,
}

impl<S> Edge<S> {
    pub(crate) fn new(app: Arc<App>, routes: S) -> Self {
        Self { app, routes, requests: TaskTracker::new() }
    }

    /// Waits for the requests under way, and says how many are left at `until`.
    pub(crate) async fn drain(&self, until: tokio::time::Instant) -> usize {
        self.requests.close();
        let _all_done = tokio::time::timeout_at(until, self.requests.wait()).await;
        self.requests.len()
    }
}

impl<S> Edge<S>
where
    S: Service<Request<Content>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    /// Takes one request through the limits and its route.
    pub(crate) async fn handle(
        edge: Arc<Self>,
        wire: Arc<Wire>,
        request: Request<Incoming>,
    ) -> Result<Response, Infallible> {
        wire.begin();
        let ids = Ids::new(new_id(now()), request.headers());
        let logged = ids.logged();
        let url = request.uri().clone();
        let timeout = if is_upkeep(url.path()) {
            // Here, so that the connection's own task looks out for it from now on.
            wire.watch();
            UPKEEP_TIMEOUT
        } else {
            edge.app.config.limits.request_timeout
        };
        let work = edge.clone().answer(Arc::clone(&wire), request);
        let running = Running::new(&edge.requests, logged.scope(work));
        let response = match tokio::time::timeout(timeout, running).await {
            Ok(Ok(response)) => response,
            Ok(Err(_panicked)) => logged.in_scope(|| Problem::Internal.reply(None)),
            Err(_) => logged.in_scope(|| Problem::Timeout { timeout }.reply(None)),
        };
        wire.end();
        Ok(stamp(response, &ids, &url, &wire))
    }

    async fn answer(self: Arc<Self>, wire: Arc<Wire>, request: Request<Incoming>) -> Response {
        let (method, started) = (request.method().clone(), Instant::now());
        let limit = self.app.config.limits.header_bytes;
        let too_large = header_bytes(request.headers()) > limit;
        let peer = self.app.proxies.peer(wire.address(), request.headers());
        let request = enter(request, &method, peer, wire);
        let refused = if too_large { Some(Problem::HeadersTooLarge { limit }) } else { wrong_host(&request) };
        let response = if let Some(problem) = refused {
            drop(request);
            problem.reply(None)
        } else {
            let Ok(response) = self.routes.clone().call(request).await;
            response
        };
        tracing::debug!(%method, status = response.status().as_u16(), micros = started.elapsed().as_micros(), "answered");
        response
    }
}

/// These take as long as they take; their callers are admins.
fn is_upkeep(path: &str) -> bool {
    path.starts_with("/v1/admin/store/") || ["/v1/admin/plugins/diff", "/v1/events/erase"].contains(&path)
}

/// The request as routes see it. HEAD runs as GET, and hyper leaves out the body (RFC 9110, section 9.3.2).
fn enter(request: Request<Incoming>, method: &Method, peer: Peer, wire: Arc<Wire>) -> Request<Content> {
    let (mut parts, incoming) = request.into_parts();
    let content = Content::new(incoming, &parts.headers, &wire);
    if method == Method::HEAD {
        parts.method = Method::GET;
    }
    parts.extensions.insert(Exchange { method: method.clone(), has_content: content.is_expected(), peer, wire });
    Request::from_parts(parts, content)
}

/// RFC 9112, section 3.2: of HTTP/1.1, a request without one valid `Host` is refused. Two of them mean different servers to
/// different readers.
fn wrong_host<B>(request: &Request<B>) -> Option<Problem> {
    let mut hosts = request.headers().get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => None,
        (None, _) => Some(Problem::Host("is missing")),
        (Some(_), Some(_)) => Some(Problem::Host("was sent twice")),
        (Some(host), None) if is_host(host.as_bytes()) => None,
        (Some(_), None) => Some(Problem::Host("is not a host name with an optional port")),
    }
}

/// A host with an optional port, or nothing, for a URL that names no host.
fn is_host(text: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(text) else { return text.is_empty() };
    let port = authority.as_str().strip_prefix(authority.host()).map(|it| it.strip_prefix(':').unwrap_or(it));
    port.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Names the request in the answer, and in the body where that is an error.
fn stamp(mut response: Response, ids: &Ids, url: &Uri, wire: &Wire) -> Response {
    let request_id = ids.request();
    if let Some(body) = response.extensions_mut().remove::<ProblemBody>() {
        let (parts, _) = response.into_parts();
        response = Response::from_parts(parts, body.write(&request_id, url.path()).into());
    }
    let status = response.status();
    let mut add = |name, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    add(HeaderName::from_static("x-request-id"), &request_id);
    if let Some(trace) = ids.trace_response() {
        add(HeaderName::from_static("traceresponse"), &trace);
    }
    if wire.is_unread() || wire.is_restricted() || status == StatusCode::REQUEST_TIMEOUT {
        add(CONNECTION, "close");
    }
    response
}
