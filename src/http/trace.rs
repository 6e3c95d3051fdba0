//! What a request is known by: its id, and its trace (W3C Trace Context).

use std::sync::Arc;

use hyper::header::HeaderMap;
use uuid::Uuid;
use warp::http::Method;
use warp::reply::Response;

use super::problem_reply::UnwrittenProblem;
use crate::system::log::{self, Field};
use crate::system::trace::{self, Kind, Operation, TraceContext};

/// A request's ids.
#[derive(Debug, Clone)]
pub(super) struct RequestIds {
    request: Uuid,
    /// The caller's span.
    caller: Option<TraceContext>,
    /// The span that is open for the request, where traces are on.
    operation: Option<Arc<Operation>>,
}

impl RequestIds {
    /// Begins the request's span, unless somebody only looks whether the server lives.
    pub(super) fn new(request: Uuid, path: &str, headers: &HeaderMap) -> Self {
        if !trace::is_on() || ["/healthz", "/readyz", "/metrics"].contains(&path) {
            return Self { request, caller: TraceContext::ids_of(headers), operation: None };
        }
        let caller = TraceContext::of(headers);
        let operation = trace::begin(Kind::Server, "HTTP", caller.as_ref());
        Self { request, caller, operation }
    }

    /// `X-Request-Id`.
    pub(super) fn request(&self) -> String {
        self.request.to_string()
    }

    /// The request's span.
    pub(super) fn operation(&self) -> Option<&Arc<Operation>> {
        self.operation.as_ref()
    }

    /// `traceresponse`, of the editor's draft "Trace Context HTTP Response Headers Format": version, trace, the operation
    /// here, and flags. Where traces are off, the operation is the request id's second half, which is never zero in a UUID,
    /// and the flags say that nothing was recorded.
    pub(super) fn trace_response(&self) -> Option<String> {
        match (&self.operation, &self.caller) {
            (Some(operation), _) => Some(operation.context().traceparent()),
            (None, Some(caller)) => Some(format!("00-{}-{:016x}-00", caller.trace_id(), self.request.as_u64_pair().1)),
            (None, None) => None,
        }
    }

    /// What the request's log lines carry; more is added as it becomes known.
    pub(super) fn logged(&self) -> Arc<log::Request> {
        let request = log::Request::default();
        request.know(Field::Request, self.request);
        let own = self.operation.as_ref().map(|it| it.context());
        if let Some(context) = own.or(self.caller.as_ref()) {
            request.know(Field::Trace, context.trace_id());
        }
        Arc::new(request)
    }

    /// The handler panicked.
    pub(super) fn panicked(&self) {
        if let Some(operation) = &self.operation {
            operation.set("error.type", "panic");
            operation.fail();
            operation.end();
        }
    }

    /// The caller did not wait for the handler, which goes on.
    pub(super) fn timed_out(&self) {
        if let Some(operation) = &self.operation {
            operation.set("hookmill.timed_out", true);
        }
    }
}

/// Ends the span of the request that this task works on, with what is known by now: names and ids, and nothing that was
/// sent.
pub(super) fn answered(method: &Method, response: &Response) {
    let Some(operation) = trace::current().filter(|it| it.is_recorded()) else { return };
    // Anything can be sent as a method.
    let known = [Method::GET, Method::HEAD, Method::POST, Method::PATCH, Method::DELETE, Method::PUT, Method::OPTIONS];
    let method = known.iter().find(|it| *it == method).map_or("_OTHER", |it| it.as_str()).to_owned();
    let route = operation.route();
    let name = route.map_or_else(|| method.clone(), |route| format!("{method} {route}"));
    operation.rename(name);
    if let Some(route) = route {
        operation.set("http.route", route);
    }
    operation.set("http.request.method", method);
    operation.set("http.response.status_code", i64::from(response.status().as_u16()));
    for (name, field) in [
        ("hookmill.request_id", Field::Request),
        ("hookmill.event_id", Field::Event),
        ("hookmill.integration", Field::Integration),
    ] {
        if let Some(value) = log::known(field) {
            operation.set(name, value);
        }
    }
    if let Some(code) = response.extensions().get::<UnwrittenProblem>().map(UnwrittenProblem::code) {
        operation.set("error.type", code.to_owned());
    }
    if response.status().is_server_error() {
        operation.fail();
    }
    operation.end();
}
