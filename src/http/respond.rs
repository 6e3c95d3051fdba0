//! The one place where a handler's result becomes a response.

use std::sync::Arc;

use bytes::Bytes;
use warp::http::{HeaderValue, Method, header};
use warp::reply::Response;

use super::answer::{Failed, WrittenResponse};
use super::call::{Call, LARGE};
use super::problem::Problem;
use super::server::wire::Wire;
use crate::limits::memory;
use crate::service::app::App;
use crate::system::log::{Field, know};

/// Writes a request's answer.
pub(super) struct ResponseWriter {
    app: Arc<App>,
    wire: Arc<Wire>,
    /// The request only reads, so it can be sent again at any time.
    reads: bool,
}

impl ResponseWriter {
    pub(super) fn of(call: &Call) -> Self {
        let reads = [Method::GET, Method::HEAD].contains(&call.exchange.method);
        Self { app: Arc::clone(&call.app), wire: Arc::clone(&call.exchange.wire), reads }
    }

    /// Exempts the response from the memory limit.
    pub(super) fn exempt(self) -> Self {
        Self { reads: false, ..self }
    }

    /// Charges a large body to the response budget until the client has read it.
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

/// Converts a handler's result to a response.
pub(super) fn respond(writer: &ResponseWriter, result: Result<WrittenResponse, Failed>) -> Response {
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
