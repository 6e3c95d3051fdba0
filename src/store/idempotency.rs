//! What a repeated request is known by, and what it is answered (draft-ietf-httpapi-idempotency-key-header-07).

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::event::EventId;

/// Names a request: who sent it, to which route, with which `Idempotency-Key`, or which delivery it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyId {
    /// 128 bits of SHA-256.
    pub name: [u8; 16],
    /// For how long it is the same request: an integration's own time for its deliveries, and none where that is the
    /// store's, for the `Idempotency-Key`.
    pub window: Option<Duration>,
}

impl IdempotencyId {
    /// Of one sender (an API key's id, or an integration's name), one route and one header value.
    #[must_use]
    pub fn of(sender: &str, route: &str, key: &str) -> Self {
        Self { name: digest(&[sender.as_bytes(), route.as_bytes(), key.as_bytes()]), window: None }
    }

    /// Of a delivery to this company's integration, by its own id: an integration of the same name may be another
    /// company's later.
    #[must_use]
    pub fn delivery_to(company: &str, integration: &str, id: &str, window: Duration) -> Self {
        let name = digest(&[b"delivery to", company.as_bytes(), integration.as_bytes(), id.as_bytes()]);
        Self { name, window: Some(window) }
    }

    /// The same as hookmill 0.1 remembered it, without the company.
    #[must_use]
    pub fn delivery(integration: &str, id: &str, window: Duration) -> Self {
        Self { name: digest(&[b"delivery", integration.as_bytes(), id.as_bytes()]), window: Some(window) }
    }
}

/// What the first request was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstAnswer {
    /// 128 bits of SHA-256 over the first request's body: another body is another request.
    pub fingerprint: [u8; 16],
    /// When it came; it is remembered from then on.
    pub at: DateTime<Utc>,
    /// The request was a delivery that was quarantined: it is remembered so that the sender's next try counts as an attempt
    /// of the same event, and not as a repetition.
    pub refused: bool,
    /// The HTTP status.
    pub status: u16,
    /// The headers that belong to the answer: `location`, `x-event-id`, `x-loosened` and the like.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Bytes,
}

impl FirstAnswer {
    /// The event that was answered so.
    #[must_use]
    pub fn event_id(&self) -> Option<EventId> {
        let (_, id) = self.headers.iter().find(|(name, _)| name == "x-event-id")?;
        Uuid::parse_str(id).ok().map(EventId)
    }

    /// The fingerprint of a body.
    #[must_use]
    pub fn fingerprint(body: &[u8]) -> [u8; 16] {
        digest(&[body])
    }
}

/// An idempotency key and the answer to remember under it: stored in one commit with what the request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Which request.
    pub id: IdempotencyId,
    /// Its answer.
    pub answer: FirstAnswer,
}

/// Every part is preceded by its length, so that no two lists of parts give the same bytes.
fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let whole: [u8; 32] = hasher.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}
