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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::schema::task_create;

    /// Otherwise a replay of a redacted delivery gets something else than the first run.
    #[test]
    fn a_value_is_read_as_its_text_would_be() {
        let bodies = [
            r#"{"title":"t","deadline":"tomorrow"}"#,
            r#"{"data":{"data":{"title":"t"}}}"#,
            r#"[{"json":{"body":{"title":"t"}}}]"#,
            r#""{\"title\":\"t\"}""#,
            r#"{"title":"t","n":[0.1,1e-7,1.7976931348623157e308,123456789.12345679,18446744073709551615,-0.0]}"#,
            "[1,2]",
            "7",
        ];
        for (body, strict) in bodies.iter().flat_map(|it| [(it, false), (it, true)]) {
            let rules = Rules { strict, ..Rules::default() };
            let value: Value = serde_json::from_str(body).unwrap();
            let text = value.to_string();
            let parsed = decode(Some("application/json"), text.as_bytes(), &rules)
                .and_then(|it| unwrap_envelope(it, task_create().shape(), &rules));
            let again = decode_again(value, task_create().shape(), &rules);
            assert_eq!(format!("{again:?}"), format!("{parsed:?}"), "{body}, strict: {strict}");
        }
    }
}
