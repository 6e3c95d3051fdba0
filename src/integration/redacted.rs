//! Redacts a delivery before it is stored or mapped.

use std::borrow::Cow;
use std::time::Instant;

use serde_json::Value;

use super::live::Integration;
use super::received::Received;
use super::redact::ReplacedValues;
use crate::format::payload::{CODING_HEADER, DecodeError, Payload, Rules, StoredBody, decode_again, file_places};
use crate::model::event::RawEvent;
use crate::model::origin::OriginKind;
use crate::system::log;
use crate::system::log::SampledLine;

impl Integration {
    /// Decodes a delivery's payload, redacted for the plugin.
    ///
    /// # Errors
    /// Fails if it cannot be decoded.
    pub fn payload(&self, raw: &RawEvent) -> Result<Payload, DecodeError> {
        let stored = self.rules.format.is_some() && self.is_stored_payload(raw);
        let rules = if stored { Cow::Owned(self.stored_rules()) } else { Cow::Borrowed(&self.rules) };
        Ok(self.redacted(raw.decode(&self.schema, &rules)?))
    }

    /// Returns whether a delivery's body is a redacted payload, and not what was sent.
    fn is_stored_payload(&self, raw: &RawEvent) -> bool {
        (!self.redact.is_empty() || !raw.redacted.is_empty()) && StoredBody::is_type(raw.content_type.as_deref())
    }

    /// Returns how a redacted payload is read: it is no longer what the sender's file says.
    fn stored_rules(&self) -> Rules {
        Rules { format: None, ..self.rules.clone() }
    }

    /// Redacts a delivery before it is stored. If this integration redacts values, the body becomes the redacted
    /// payload as JSON, without its wrappers. A body that cannot be decoded is removed, because it could contain
    /// such a value anywhere.
    ///
    /// # Errors
    /// The delivery without its body, and why it cannot be decoded.
    pub fn receive(&self, mut raw: RawEvent) -> Result<Received, Box<(RawEvent, DecodeError)>> {
        if self.redact.is_empty() {
            return Ok(Received::new(raw));
        }
        let started = Instant::now();
        // A copy of a redacted event has its redacted payload.
        let is_copy = raw.origin.as_ref().is_some_and(|it| it.kind == OriginKind::Copy);
        let rules = if is_copy && self.is_stored_payload(&raw) {
            Cow::Owned(self.stored_rules())
        } else {
            Cow::Borrowed(&self.rules)
        };
        let decoded = raw.decode(&self.schema, &rules);
        match decoded {
            Ok(mut payload) => {
                let files = file_places(&payload.value);
                let ReplacedValues { places, wholes } = self.redact.apply(&mut payload.value);
                if !wholes.is_empty() {
                    self.warn_of_wholes(&wholes, &raw);
                }
                raw.redacted = places.into_iter().chain(wholes).collect();
                self.store_redacted(&mut raw, &files, &payload.value);
                // As a replay reads the body that is stored, without parsing it again.
                let again = decode_again(payload.value, self.schema.shape(), &self.rules).map(|it| self.redacted(it));
                let payload = again.map(|it| Payload { loosened: payload.loosened, wrappers: payload.wrappers, ..it });
                Ok(Received::decoded(raw, payload, started.elapsed()))
            }
            Err(error) => {
                raw.body = bytes::Bytes::new();
                raw.redacted = vec![String::new()];
                Err(Box::new((raw, error)))
            }
        }
    }

    /// Replaces the body by the redacted payload, with the files whose places were not redacted.
    fn store_redacted(&self, raw: &mut RawEvent, files: &[usize], redacted: &Value) {
        let stored = raw.redacted_body(files, redacted, self.rules.body_bytes);
        raw.body = stored.body.into();
        raw.content_type = Some(stored.content_type);
        raw.headers.retain(|(name, _)| name != CODING_HEADER);
    }

    fn redacted(&self, mut payload: Payload) -> Payload {
        self.redact.apply(&mut payload.value);
        payload
    }

    fn warn_of_wholes(&self, wholes: &[String], raw: &RawEvent) {
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
}
