//! What happens to every request before its route, and to every response after it.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use tokio_util::task::TaskTracker;
use tower_service::Service;
use warp::http::{Method, Request, StatusCode, Uri, Version};
use warp::reply::Response;

use super::content::Content;
use super::detached_handler::DetachedHandler;
use super::exchange::Exchange;
use super::problem::Problem;
use super::problem_reply::UnwrittenProblem;
use super::routes;
use super::server::wire::Wire;
use super::trace::{RequestIds, answered};
use crate::metrics::http::{HTTP, OTHER, RouteSeries};
use crate::model::ids::new_id;
use crate::model::peer::Peer;
use crate::model::time::now;
use crate::service::app::App;

/// How long a backup, a rebuild, a dry run or an erasure may take.
const UPKEEP_TIMEOUT: Duration = Duration::from_secs(6 * 60 * 60);

/// Runs every request to its end, even if its client hangs up or the request times out: each change is made once, and
/// completely.
pub(crate) struct Edge<S> {
    app: Arc<App>,
    routes: S,
    requests: TaskTracker,
}

impl<S> Edge<S> {
    pub(crate) fn new(app: Arc<App>, routes: S) -> Self {
        Self { app, routes, requests: TaskTracker::new() }
    }

    /// Waits for the running requests, and returns how many are left at `until`.
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
        let (started, route) = (Instant::now(), Arc::<OnceLock<_>>::default());
        let ids = RequestIds::new(new_id(now()), request.uri().path(), request.headers());
        let logged = ids.logged();
        let url = request.uri().clone();
        let timeout = if routes::takes_long(url.path()) {
            // From here on, the connection's own task watches for a hang-up.
            wire.watch();
            UPKEEP_TIMEOUT
        } else {
            edge.app.config.limits.request_timeout
        };
        let work = edge.clone().answer(Arc::clone(&wire), Arc::clone(&route), request);
        let running = match ids.operation() {
            None => DetachedHandler::new(&edge.requests, logged.scope(work)),
            Some(operation) => DetachedHandler::new(&edge.requests, operation.scope(logged.scope(work))),
        };
        let response = match tokio::time::timeout(timeout, running).await {
            Ok(Ok(response)) => response,
            Ok(Err(_panicked)) => {
                ids.panicked();
                logged.in_scope(|| Problem::Internal.reply(None))
            }
            Err(_) => {
                ids.timed_out();
                logged.in_scope(|| Problem::Timeout { timeout }.reply(None))
            }
        };
        wire.end();
        let response = stamp(response, &ids, &url, &wire);
        HTTP.response_bytes.add(response.body().size_hint().exact().unwrap_or(0));
        route.get().copied().unwrap_or(&OTHER).answered(response.status().as_u16(), started.elapsed());
        Ok(response)
    }

    async fn answer(
        self: Arc<Self>,
        wire: Arc<Wire>,
        route: Arc<OnceLock<&'static RouteSeries>>,
        request: Request<Incoming>,
    ) -> Response {
        let _in_flight = HTTP.in_flight.hold();
        let (method, started) = (request.method().clone(), Instant::now());
        let limit = self.app.config.limits.header_bytes;
        let too_large = header_bytes(request.headers()) > limit;
        let peer = self.app.proxies.peer(wire.address(), request.headers());
        let request = enter(request, &method, peer, wire, route);
        let refused = if too_large { Some(Problem::HeadersTooLarge { limit }) } else { wrong_host(&request) };
        let response = if let Some(problem) = refused {
            drop(request);
            problem.reply(None)
        } else {
            let Ok(response) = self.routes.clone().call(request).await;
            response
        };
        tracing::debug!(%method, status = response.status().as_u16(), micros = started.elapsed().as_micros(), "answered");
        answered(&method, &response);
        response
    }
}

/// Converts the request for the routes. HEAD runs as GET, and hyper omits the body (RFC 9110, section 9.3.2).
fn enter(
    request: Request<Incoming>,
    method: &Method,
    peer: Peer,
    wire: Arc<Wire>,
    route: Arc<OnceLock<&'static RouteSeries>>,
) -> Request<Content> {
    let (mut parts, incoming) = request.into_parts();
    let content = Content::new(incoming, &parts.headers, &wire);
    if method == Method::HEAD {
        parts.method = Method::GET;
    }
    let has_content = content.is_expected();
    parts.extensions.insert(Exchange { method: method.clone(), has_content, peer, wire, route });
    Request::from_parts(parts, content)
}

/// Rejects an HTTP/1.1 request without exactly one valid `Host` (RFC 9112, section 3.2). With two of them, a proxy and this
/// server may disagree on which one counts.
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

/// Whether the text is a host with an optional port, or empty, for a URL without a host.
fn is_host(text: &[u8]) -> bool {
    let Ok(authority) = Authority::try_from(text) else { return text.is_empty() };
    let port = authority.as_str().strip_prefix(authority.host()).map(|it| it.strip_prefix(':').unwrap_or(it));
    port.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit()))
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Adds the request's id to the response's headers, and to the body of an error.
fn stamp(mut response: Response, ids: &RequestIds, url: &Uri, wire: &Wire) -> Response {
    let request_id = ids.request();
    if let Some(body) = response.extensions_mut().remove::<UnwrittenProblem>() {
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
