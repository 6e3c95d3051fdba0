//! Request headers that routes read.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use warp::http::{HeaderMap, HeaderValue};

use super::call::Call;
use super::input::Input;
use super::openapi::describer::Describer;
use super::openapi::document::ParameterPlace;
use super::openapi::headers;
use super::problem::Problem;
use crate::format::payload::Unevaluated;
use crate::format::schema::got;

/// Longest `Idempotency-Key`, in characters.
const LONGEST: usize = 255;

/// `Idempotency-Key`, if it was sent.
pub(super) struct IdempotencyKey(pub(super) Option<String>);

/// What `X-Loosened` names if the header has no key.
const NAME: &str = "Idempotency-Key";

/// Whether this header has no key: it is blank, or a workflow tool's text of a value that does not exist, perhaps with the
/// number of an item: n8n writes `{{ $json.missing }}-{{ $itemIndex }}` as `-0`, and `refill-{{ $json.missing }}` as `refill-`.
/// As keys, these would name the items of every run. Other text must be plain words: an id from random characters may begin or end
/// with a separator, and an execution's number makes a key.
fn is_no_key(sent: &HeaderValue) -> bool {
    let Ok(text) = sent.to_str() else { return false };
    let text = text.trim().trim_matches('"').trim();
    if text.starts_with("[object ") && text.ends_with(']') {
        return true;
    }
    let is_missing = |part: &str| {
        matches!(part, "" | "undefined" | "null" | "NaN" | "[object Object]" | "Invalid Date" | "Invalid DateTime")
    };
    let is_item = |part: &str| part.len() <= 3 && part.bytes().all(|it| it.is_ascii_digit());
    let parts = || text.split(['-', '_', ':', '/', '.']).map(str::trim);
    parts().any(is_missing) && parts().all(|it| is_missing(it) || is_word(it) || is_item(it))
}

/// Whether a part is empty, or a word as people write it: letters, all small, all capital, or one capital first.
fn is_word(part: &str) -> bool {
    let mut rest = part.bytes().skip(1);
    part.bytes().all(|it| it.is_ascii_alphabetic())
        && (rest.all(|it| it.is_ascii_lowercase()) || part.bytes().all(|it| it.is_ascii_uppercase()))
}

impl IdempotencyKey {
    /// The key in these headers.
    pub(super) fn sent(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(sent) = headers.get("idempotency-key").filter(|it| !is_no_key(it)) else { return Ok(Self(None)) };
        let unevaluated = sent.to_str().ok().and_then(|text| Unevaluated::whole(text).or(Unevaluated::part(text)));
        if let Some(what) = unevaluated {
            return Err(Problem::Invalid(format!("Idempotency-Key: {}; {}", what.said(), what.hint())));
        }
        let fits = (1..=LONGEST).contains(&sent.len()) && sent.as_bytes().iter().all(u8::is_ascii_graphic);
        let text = sent.to_str().ok().filter(|_| fits);
        let text = text.ok_or_else(|| {
            let said = format!("Idempotency-Key: 1 to {LONGEST} letters, digits and signs of ASCII, without spaces");
            Problem::Invalid(said)
        });
        Ok(Self(Some(text?.to_owned())))
    }

    /// Names the header in `X-Loosened` if it was sent without a key.
    pub(super) fn note(call: &mut Call) {
        if call.headers.get("idempotency-key").is_some_and(is_no_key) {
            call.loosened.add(NAME);
        }
    }

    /// Describes the header; also for routes that read it later.
    pub(super) fn described(to: &mut Describer<'_>) {
        let about = "Names this request: a request that is sent again with the same key and body takes effect once, and \
                     gets the first response, for 24 hours by default. Blank, `undefined`, `null`, `NaN` and `[object Object]` \
                     count as no key, alone or next to words and numbers of items (`refill-`, `refill-undefined`, `-0`), and `X-Loosened` names the header.";
        to.header(
            ParameterPlace::Header,
            "Idempotency-Key",
            about,
            json!({"type": "string", "anyOf": [{"minLength": 1, "maxLength": LONGEST, "pattern": "^[!-~]+$"}, {"maxLength": 0}]}),
        );
        to.every_success_may_have(headers::LOOSENED);
        to.fails(&[409, 422]);
        to.every_success_may_have(headers::REPLAYED);
        to.every_success_may_be::<ErasedResponse>();
    }
}

/// What a repeated request gets if its first response was erased with a patient's data.
#[derive(Debug, Serialize, JsonSchema)]
struct ErasedResponse {
    /// Always true.
    erased: bool,
}

impl Input for IdempotencyKey {
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        Self::note(call);
        Self::sent(&call.headers)
    }

    fn describe(to: &mut Describer<'_>) {
        Self::described(to);
    }
}

/// The version in `If-Match`, if one was sent.
pub(super) struct IfMatch(pub(super) Option<u64>);

impl Input for IfMatch {
    /// As the header `ETag` writes it or without its quotes; `*` asks for none.
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        let Some(sent) = call.headers.get("if-match") else { return Ok(Self(None)) };
        let sent = String::from_utf8_lossy(sent.as_bytes());
        let text = sent.trim();
        if matches!(text, "" | "*") {
            return Ok(Self(None));
        }
        let tag = text.strip_prefix("W/").unwrap_or(text);
        let number = tag.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(tag).parse();
        number.map(|it| Self(Some(it))).map_err(|_| {
            Problem::Invalid(format!("If-Match: {} is not a version; send e.g. If-Match: \"3\"", got(&json!(text))))
        })
    }

    fn describe(to: &mut Describer<'_>) {
        let about = "The version that you read, as `ETag` has it. If the task has another one, nothing is changed.";
        let pattern = r#"^(|\*|(W/)?("[0-9]{1,19}"|[0-9]{1,19}))$"#;
        let schema = json!({"type": "string", "pattern": pattern, "examples": ["\"1\""]});
        to.header(ParameterPlace::Header, "If-Match", about, schema);
        to.fails(&[409, 422]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the second item of an n8n workflow with a missing field is lost, or an id from random characters protects
    /// nothing.
    #[test]
    fn a_key_without_its_value_is_none_and_an_id_is_a_key() {
        let is_none = |it: &str| is_no_key(&HeaderValue::from_str(it).unwrap());
        for key in [
            "",
            " ",
            "-0",
            "refill-",
            "-refill",
            "refill--0",
            "refill-undefined",
            "null-3",
            "--0-0-create-task",
            "Refill:",
            "undefined",
            "refill-null-7",
            "[object Object]",
        ] {
            assert!(is_none(key), "{key}");
        }
        for key in [
            "refill-7",
            "refill",
            "-V1StGXR8_Z5jdHi6B-myT",
            "V1StGXR8Z5jdHi6BmyT-",
            "aBcDeFgHiJkLm-",
            "0",
            "r2-",
            "6f1ed002-ab5d-4f6e-9c8b-000000000000",
            "create-task-12",
            "wf-2310-undefined",
        ] {
            assert!(!is_none(key), "{key}");
        }
    }
}
