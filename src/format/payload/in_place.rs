//! What a sender's description says about its bodies: text that is JSON, wrappers, and formats.

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};

use super::decode_error::DecodeError;
use super::decoded::{Encoding, Loosened, Payload, Rules};
use super::json;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Returns the claims of a JSON Web Token.
///
/// # Errors
/// Fails if the text is not a token.
pub(super) fn claims(text: &str, loosened: &mut Loosened) -> Result<Value, DecodeError> {
    let mut parts = text.trim().split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(DecodeError::Jwt);
    };
    let bytes = BASE64_URL.decode(claims).map_err(|_| DecodeError::Jwt)?;
    json::read(std::str::from_utf8(&bytes).map_err(|_| DecodeError::Jwt)?, loosened)
}

/// Replaces text by the JSON that it contains, and removes wrappers, where the rules say so. Text that is not JSON is
/// kept.
pub(super) fn apply(mut payload: Payload, rules: &Rules) -> Payload {
    for (pointers, is_base64) in [(&rules.json_in, false), (&rules.base64_json_in, true)] {
        for pointer in pointers {
            let Some(place) = payload.value.pointer_mut(pointer) else { continue };
            if let Some(inner) = inner(place, is_base64, &mut payload.loosened) {
                *place = inner;
            }
        }
    }
    let unwrapped = rules.unwrap_at.iter().find_map(|pointer| sole(&payload.value, pointer));
    if let Some(steps) = unwrapped {
        for step in steps {
            payload.enter(&step);
        }
        if let Some(inner) = inner(&payload.value, false, &mut payload.loosened) {
            payload.value = inner;
            payload.encoding = Encoding::Json;
        }
    }
    payload
}

/// Drops everything but the values at these places, because the sender does not sign it.
pub(super) fn only(mut payload: Payload, pointers: &[String]) -> Payload {
    let mut kept = Value::Object(Map::new());
    for pointer in pointers {
        if let Some(value) = payload.value.pointer_mut(pointer) {
            put(&mut kept, pointer, value.take());
        }
    }
    payload.loosened.add("unsigned");
    Payload { value: kept, ..payload }
}

/// Puts a value where a pointer leads, through objects.
fn put(place: &mut Value, pointer: &str, value: Value) {
    let mut place = place;
    for step in pointer.split('/').skip(1).map(|it| it.replace("~1", "/").replace("~0", "~")) {
        let Value::Object(map) = place else { return };
        place = map.entry(step).or_insert_with(|| Value::Object(Map::new()));
    }
    *place = value;
}

/// Returns the JSON in a text; an object or a list.
fn inner(place: &Value, is_base64: bool, loosened: &mut Loosened) -> Option<Value> {
    let text = place.as_str()?;
    let decoded;
    let text = if is_base64 {
        let compact: String = text.split_ascii_whitespace().collect();
        let bytes = BASE64.decode(&compact).or_else(|_| BASE64_URL.decode(&compact)).ok()?;
        decoded = String::from_utf8(bytes).ok()?;
        &decoded
    } else {
        text
    };
    json::read(text, loosened).ok().filter(|it| it.is_object() || it.is_array())
}

/// Returns the steps of a pointer, if every object on its way has only this member.
fn sole(value: &Value, pointer: &str) -> Option<Vec<String>> {
    let steps: Vec<_> = pointer.split('/').skip(1).map(|it| it.replace("~1", "/").replace("~0", "~")).collect();
    let mut place = value;
    for step in &steps {
        let map = place.as_object().filter(|it| it.len() == 1)?;
        place = map.get(step)?;
    }
    (!steps.is_empty()).then_some(steps)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn applied(value: Value, rules: &Rules) -> Value {
        apply(Payload::of(value), rules).value
    }

    /// Otherwise the JSON that Slack, Jotform or Pub/Sub send as text cannot be mapped, deduplicated or redacted.
    #[test]
    fn text_that_is_json_is_parsed_where_the_sender_says_so() {
        let rules = Rules {
            json_in: vec!["/raw".into(), "/a/0".into(), "/missing".into()],
            base64_json_in: vec!["/message/data".into()],
            ..Rules::default()
        };
        let sent = json!({"raw": "{\"q\":1}", "a": ["[1]"], "message": {"data": "eyJpZCI6MX0"}, "other": "{}"});
        let expected = json!({"raw": {"q": 1}, "a": [[1]], "message": {"data": {"id": 1}}, "other": "{}"});
        assert_eq!(applied(sent, &rules), expected);
        let text = json!({"raw": "{call back}", "message": {"data": "***"}, "a": "7"});
        assert_eq!(applied(text.clone(), &rules), text);
    }

    #[test]
    fn a_wrapper_is_removed_only_if_it_holds_nothing_else() {
        let rules = Rules { unwrap_at: vec!["/payload".into(), "/a~1b/c".into()], ..Rules::default() };
        assert_eq!(applied(json!({"payload": "{\"id\":1}"}), &rules), json!({"id": 1}));
        assert_eq!(applied(json!({"payload": {"id": 1}}), &rules), json!({"id": 1}));
        assert_eq!(applied(json!({"a/b": {"c": {"id": 1}}}), &rules), json!({"id": 1}));
        let both = json!({"payload": "{\"id\":1}", "token": "x"});
        assert_eq!(applied(both.clone(), &rules), both);
        let wrapped = apply(Payload::of(json!({"payload": {"id": 1}})), &rules);
        assert_eq!(wrapped.pointer("/payload/id"), Some(&json!(1)));
    }

    #[test]
    fn a_token_is_its_claims() {
        let read = |text: &str| claims(text, &mut Loosened::default());
        assert_eq!(read("eyJhbGciOiJIUzI1NiJ9.eyJjYWxsX2lkIjoxfQ.c2ln\n"), Ok(json!({"call_id": 1})));
        for broken in ["", "a.b", "a.***.c", "a.eyJjYWxsX2lkIjoxfQ.c.d"] {
            assert_eq!(read(broken), Err(DecodeError::Jwt), "{broken}");
        }
    }
}
