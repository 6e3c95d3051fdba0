//! The id of a delivery: how repeated deliveries are recognised.

use hyper::header::HeaderMap;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::live::Integration;
use super::received::Received;
use crate::auth::sender::IdPlace;
use crate::auth::signature::{Mismatch, ValueSource};
use crate::store::IdempotencyId;

/// Maximum length of an id, in bytes; a longer text is not used as an id.
const LONGEST: usize = 1024;

impl Integration {
    /// Checks that no header that may contain the delivery's id occurs twice, because the id would be ambiguous.
    ///
    /// # Errors
    /// The header.
    pub fn one_id(&self, headers: &HeaderMap) -> Result<(), Mismatch> {
        match self.dedupe.headers().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
            None => Ok(()),
            Some(header) => Err(Mismatch::Repeated { header: header.to_owned() }),
        }
    }

    /// Returns the idempotency id of the delivery, if it has an id.
    #[must_use]
    pub fn delivery(&self, received: &Received) -> Option<IdempotencyId> {
        self.deliveries(received).map(|(id, _)| id)
    }

    /// Returns the idempotency id, and the one that hookmill 0.1 stored, which does not contain the company.
    #[must_use]
    pub fn deliveries(&self, received: &Received) -> Option<(IdempotencyId, IdempotencyId)> {
        let (company, name, window) = (&self.company_id, &self.name.0, self.dedupe.window);
        let id = self.delivery_id(received)?;
        Some((
            IdempotencyId::delivery_to(company, name, &id, window),
            IdempotencyId::delivery(company, name, &id, window),
        ))
    }

    /// Returns the delivery's own id. It is never derived from the whole body, because two equal bodies may be two
    /// events.
    fn delivery_id(&self, received: &Received) -> Option<String> {
        let value = |source: &ValueSource| {
            let value = match source {
                ValueSource::Header(name) => received.raw().header(name).map(str::to_owned),
                ValueSource::Body(pointer) => received.payload(self)?.pointer(pointer).and_then(text),
                // A sender file cannot name these.
                ValueSource::Query(_) | ValueSource::Claim(_) => None,
            };
            value.filter(|it| !it.trim().is_empty())
        };
        let id = |place: &IdPlace| joined(place.0.iter().map(value).collect::<Option<Vec<_>>>()?);
        self.dedupe.by.iter().find_map(|place| id(place).filter(|it| it.len() <= LONGEST))
    }

    /// Returns the key of events that must be processed in order, if this is configured and the event has it.
    #[must_use]
    pub fn order_key(&self, received: &Received) -> Option<String> {
        let pointer = self.later.order_by.as_deref()?;
        received.payload(self)?.pointer(pointer).and_then(text)
    }

    /// Returns the lane of an event with such a key: the same on every server, and in later versions, because events wait in
    /// the store with it.
    #[must_use]
    pub fn lane(&self, received: &Received) -> Option<i64> {
        let hash: [u8; 32] = Sha256::digest(self.order_key(received)?).into();
        hash.first_chunk().map(|it| i64::from_be_bytes(*it))
    }
}

/// Combines values to an id: a single value is used as it is, several are joined so that no two lists give the same
/// text.
fn joined(mut values: Vec<String>) -> Option<String> {
    if values.len() > 1 { serde_json::to_string(&values).ok() } else { values.pop() }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
