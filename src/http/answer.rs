//! A handler's response: bytes that remember which type they were written from.

use std::marker::PhantomData;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use warp::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::problem::Problem;
use crate::format::payload::Loosened;
use crate::model::ids::EventId;
use crate::store::FirstAnswer;

/// The header with the event's id.
const EVENT_ID: &str = "x-event-id";

/// What is remembered of a response apart from its body and its event. It is stored as postcard writes it, so its meaning never
/// changes.
#[derive(Serialize, Deserialize)]
struct Head {
    status: u16,
    headers: Vec<(String, String)>,
}

/// A response that is written, of the type `T` that describes it. It is written before the commit, so that a repeated request
/// gets the same bytes.
pub(super) struct Answer<T> {
    pub(super) written: WrittenResponse,
    of: PhantomData<fn() -> T>,
}

/// A response's bytes.
pub(super) struct WrittenResponse {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl<T> Answer<T> {
    /// A JSON body. It is written as it is: a tree of JSON would take as much memory again.
    pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(body).map_err(|_| Problem::Internal)?;
        Ok(Self::of(status, body).with("content-type", "application/json"))
    }

    /// A body of another type.
    pub(super) fn bytes(content_type: &'static str, body: Vec<u8>) -> Self {
        Self::of(StatusCode::OK, body).with("content-type", content_type)
    }

    /// No body.
    pub(super) fn empty() -> Self {
        Self::of(StatusCode::NO_CONTENT, Vec::new())
    }

    /// A body that the sender's file describes.
    pub(super) fn described(status: StatusCode, content_type: Option<&'static str>, body: Vec<u8>) -> Self {
        let answer = Self::of(status, body).with("x-content-type-options", "nosniff");
        match content_type {
            Some(content_type) => answer.with("content-type", content_type),
            None => answer,
        }
    }

    /// Adds a header of a sender's file; a name or value that cannot be sent is left out.
    pub(super) fn with_described(mut self, name: &str, value: &str) -> Self {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
            self.written.headers.insert(name, value);
        }
        self
    }

    fn of(status: StatusCode, body: Vec<u8>) -> Self {
        Self { written: WrittenResponse { status, headers: HeaderMap::new(), body }, of: PhantomData }
    }

    /// Adds a header; a value that no header can hold is left out.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.written.headers.insert(name, value);
        }
        self
    }

    /// The same response with another status.
    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.written.status = status;
        self
    }

    /// Adds the event's id.
    pub(super) fn for_event(self, id: EventId) -> Self {
        self.with(EVENT_ID, &id.to_string())
    }

    /// Its event.
    pub(super) fn event_id(&self) -> Option<EventId> {
        let sent = self.written.headers.get(EVENT_ID)?;
        Uuid::parse_str(sent.to_str().ok()?).ok().map(EventId)
    }

    /// The response as it is remembered.
    pub(super) fn first(&self, fingerprint: [u8; 16], at: DateTime<Utc>) -> FirstAnswer {
        let text =
            |(name, value): (&HeaderName, &HeaderValue)| Some((name.to_string(), value.to_str().ok()?.to_owned()));
        let headers = &self.written.headers;
        let event_id = self.event_id();
        let others = headers.iter().filter(|(name, _)| *name != EVENT_ID);
        let head = Head { status: self.written.status.as_u16(), headers: others.filter_map(text).collect() };
        FirstAnswer {
            fingerprint,
            at,
            refused: false,
            event_id,
            // Texts and a number: this cannot fail.
            head: postcard::to_stdvec(&head).unwrap_or_default().into(),
            body: Bytes::copy_from_slice(&self.written.body),
        }
    }

    /// A remembered response.
    pub(super) fn again(first: FirstAnswer) -> Result<Self, Problem> {
        let head: Head = postcard::from_bytes(&first.head).map_err(|_| Problem::Internal)?;
        let status = StatusCode::from_u16(head.status).map_err(|_| Problem::Internal)?;
        let pair = |(name, value): (String, String)| Some((HeaderName::try_from(name).ok()?, value.try_into().ok()?));
        let headers = head.headers.into_iter().filter_map(pair).collect();
        let answer = Self { written: WrittenResponse { status, headers, body: first.body.into() }, of: PhantomData };
        Ok(match first.event_id {
            Some(id) => answer.for_event(id),
            None => answer,
        })
    }
}

/// A failure, and its event.
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
    /// Adds the event's id if the event is stored.
    pub(super) fn of(event_id: EventId) -> impl Fn(crate::integration::stop::Stop) -> Self {
        move |stop| Self { event_id: stop.is_kept().then_some(event_id), problem: Problem::Stop(stop) }
    }
}

/// Adds to `X-Loosened` if any value was read loosely.
pub(super) fn with_loosened<T>(answer: Answer<T>, loosened: &Loosened) -> Answer<T> {
    let Some(names) = loosened.header_value() else { return answer };
    let before = answer.written.headers.get("x-loosened").and_then(|it| it.to_str().ok()).map(str::to_owned);
    match before {
        Some(before) => answer.with("x-loosened", &format!("{before},{names}")),
        None => answer.with("x-loosened", &names),
    }
}
