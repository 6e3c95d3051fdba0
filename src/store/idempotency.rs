//! Ids of repeated requests, and the stored responses to them (draft-ietf-httpapi-idempotency-key-header-07).

use bytes::Bytes;
use chrono::{DateTime, Duration, Utc};
use sha2::{Digest as _, Sha256};

use crate::model::company::CompanyId;
use crate::model::ids::EventId;

/// Identifies a request: its sender, route and `Idempotency-Key`, or a delivery's own id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyId {
    /// Company of the request, which says where the response is stored; `None` for the operator. The name is unique without it.
    pub company: Option<CompanyId>,
    /// The first 128 bits of a SHA-256 hash.
    pub name: [u8; 16],
    /// How long a repetition is recognized. `Some` for deliveries (the integration's own time); `None` for an
    /// `Idempotency-Key`, where the store's retention applies.
    pub window: Option<Duration>,
}

impl IdempotencyId {
    /// Returns the id for a sender (an API key's id, or an integration's name), a route and the value of the
    /// `Idempotency-Key` header.
    #[must_use]
    pub fn of(company: Option<&CompanyId>, sender: &str, route: &str, key: &str) -> Self {
        Self {
            company: company.cloned(),
            name: digest(&[sender.as_bytes(), route.as_bytes(), key.as_bytes()]),
            window: None,
        }
    }

    /// Returns the id of a delivery to this company's integration. The company is part of it, because an
    /// integration of the same name may belong to another company later.
    #[must_use]
    pub fn delivery_to(company: &CompanyId, integration: &str, id: &str, window: Duration) -> Self {
        let name = digest(&[b"delivery to", company.as_str().as_bytes(), integration.as_bytes(), id.as_bytes()]);
        Self { company: Some(company.clone()), name, window: Some(window) }
    }

    /// Returns the id of a delivery as hookmill 0.1 stored it, without the company.
    #[must_use]
    pub fn delivery(company: &CompanyId, integration: &str, id: &str, window: Duration) -> Self {
        Self {
            company: Some(company.clone()),
            name: digest(&[b"delivery", integration.as_bytes(), id.as_bytes()]),
            window: Some(window),
        }
    }
}

/// The response to the first request with an idempotency key or delivery id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstAnswer {
    /// The first 128 bits of SHA-256 over the request's body. A request with another body is another request.
    pub fingerprint: [u8; 16],
    /// When the request was received; the retention starts then.
    pub at: DateTime<Utc>,
    /// Whether the request was a quarantined delivery. The sender's next try then counts as another attempt of the
    /// same event, not as a repetition.
    pub refused: bool,
    /// The event that the response belongs to.
    pub event_id: Option<EventId>,
    /// Status and headers, as the server encodes them. Opaque to every backend.
    pub head: Bytes,
    /// Body of the response, byte for byte. An erasure searches and replaces it.
    pub body: Bytes,
}

impl FirstAnswer {
    /// Returns the fingerprint of a body.
    #[must_use]
    pub fn fingerprint(body: &[u8]) -> [u8; 16] {
        digest(&[body])
    }
}

/// An idempotency key and the response to store for it, in the same commit as the request's changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Id of the request.
    pub id: IdempotencyId,
    /// Response to the request.
    pub answer: FirstAnswer,
}

/// Hashes the parts. Each is preceded by its length, so that no two lists of parts give the same bytes.
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
