//! What every request passes before its route, and every answer after it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use tower_service::Service;
use warp::http::Request;
use warp::reply::Response;

use super::Problem;
use super::problem::ProblemBody;
use crate::app::{App, now};
use crate::event::new_id;

/// How long a backup, a rebuild, a dry run or an erasure may take.
const UPKEEP_TIMEOUT: Duration = Duration::from_secs(6 * 60 * 60);

/// Takes one request through the limits and its route.
pub(crate) async fn handle<S>(app: Arc<App>, mut routes: S, request: Request<Incoming>) -> Result<Response, Infallible>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let request_id = new_id(now()).to_string();
    let method = request.method().clone();
    let started = std::time::Instant::now();
    let limits = &app.config.limits;
    // These take as long as they take; their callers are admins.
    let path = request.uri().path();
    let upkeep = path.starts_with("/v1/admin/store/") || ["/v1/admin/plugins/diff", "/v1/events/erase"].contains(&path);
    let timeout = if upkeep { UPKEEP_TIMEOUT } else { limits.request_timeout };
    let too_large = header_bytes(request.headers()) > limits.header_bytes;
    let response = match app.in_flight.try_acquire() {
        _ if too_large => Problem::HeadersTooLarge { limit: limits.header_bytes }.reply(None),
        Err(_) => Problem::Overloaded.reply(None),
        Ok(_permit) => match tokio::time::timeout(timeout, routes.call(request)).await {
            Ok(Ok(response)) => response,
            Err(_) => Problem::Timeout { timeout }.reply(None),
        },
    };
    let response = stamp(response, &request_id);
    tracing::debug!(%method, status = response.status().as_u16(), micros = started.elapsed().as_micros(), request.id = %request_id, "answered");
    Ok(response)
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}

/// Names the request in the answer, and in the body where that is an error.
fn stamp(mut response: Response, request_id: &str) -> Response {
    if let Some(body) = response.extensions_mut().remove::<ProblemBody>() {
        let (parts, _) = response.into_parts();
        response = Response::from_parts(parts, body.write(request_id).into());
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}
