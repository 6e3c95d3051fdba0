//! Redacts a delivery before it is stored or mapped.

use super::redact::ReplacedValues;

use super::live::Integration;
use crate::format::payload::{DecodeError, Payload};
use crate::model::event::RawEvent;
use crate::system::log;
use crate::system::log::SampledLine;

impl Integration {
    /// Decodes a delivery's payload, redacted for the plugin.
    ///
    /// # Errors
    /// Fails if it cannot be decoded.
    pub fn payload(&self, raw: &RawEvent) -> Result<Payload, DecodeError> {
        let mut payload = raw.decode(&self.schema, &self.rules)?;
        self.redact.apply(&mut payload.value);
        Ok(payload)
    }

    /// Redacts a delivery before it is stored. If this integration redacts values, the body becomes the redacted
    /// payload as JSON, without its wrappers. A body that cannot be decoded is removed, because it could contain
    /// such a value anywhere.
    ///
    /// # Errors
    /// Why it cannot be decoded.
    pub fn redact(&self, raw: &mut RawEvent) -> Result<(), DecodeError> {
        if self.redact.is_empty() {
            return Ok(());
        }
        let decoded = raw.decode(&self.schema, &self.rules);
        raw.body = bytes::Bytes::new();
        match decoded {
            Ok(mut payload) => {
                let ReplacedValues { places, wholes } = self.redact.apply(&mut payload.value);
                if !wholes.is_empty() {
                    let pointers = wholes.join(" ");
                    if let Some(turn) = log::sample(SampledLine::Redacted, &self.name.0, raw.received_at) {
                        tracing::warn!(
                            integration = %self.name,
                            pointers,
                            omitted = turn.omitted,
                            "values with another structure than redact expects were replaced as a whole"
                        );
                    }
                }
                raw.redacted = places.into_iter().chain(wholes).collect();
                raw.body = payload.value.to_string().into();
                raw.content_type = Some("application/json".into());
                Ok(())
            }
            Err(error) => {
                raw.redacted = vec![String::new()];
                Err(error)
            }
        }
    }
}
