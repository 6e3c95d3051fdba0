//! Decodes the body of a delivery, and removes its wrappers.

use serde_json::Value;

use super::decode::{decode, unpack};
use super::decode_error::DecodeError;
use super::decoded::{Loosened, Payload, Rules};
use super::envelope::unwrap_envelope;
use crate::format::schema::{Schema, Shape};
use crate::model::event::RawEvent;

impl RawEvent {
    /// Decodes the body, and removes wrappers.
    ///
    /// # Errors
    /// Fails if it is not JSON or a form, or has several items.
    pub fn decode(&self, schema: &Schema, rules: &Rules) -> Result<Payload, DecodeError> {
        let payload = decode(self.content_type.as_deref(), &self.body, rules)?;
        unwrap_envelope(payload, schema.shape(), rules)
    }
}

/// Reads a value as [`RawEvent::decode`] reads its JSON text, without parsing it.
///
/// # Errors
/// Fails as that does.
pub fn decode_again(value: Value, shape: &Shape, rules: &Rules) -> Result<Payload, DecodeError> {
    unwrap_envelope(unpack(value, Loosened::default(), rules)?, shape, rules)
}
