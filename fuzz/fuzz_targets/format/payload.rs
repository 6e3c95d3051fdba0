//! The decoder, and what is asked of it.

#[path = "../../../src/format/payload/charset.rs"]
mod charset;
#[path = "../../../src/format/payload/coding.rs"]
mod coding;
#[path = "../../../src/format/payload/content_type.rs"]
mod content_type;
#[path = "../../../src/format/payload/decode.rs"]
mod decode;
#[path = "../../../src/format/payload/decode_error.rs"]
mod decode_error;
#[path = "../../../src/format/payload/decoded.rs"]
mod decoded;
#[path = "../../../src/format/payload/envelope.rs"]
mod envelope;
#[path = "../../../src/format/payload/event.rs"]
mod event;
#[path = "../../../src/format/payload/form.rs"]
mod form;
#[path = "../../../src/format/payload/form_tree.rs"]
mod form_tree;
#[path = "../../../src/format/payload/in_place.rs"]
mod in_place;
#[path = "../../../src/format/payload/json.rs"]
mod json;
#[path = "../../../src/format/payload/magic.rs"]
mod magic;
#[path = "../../../src/format/payload/multipart.rs"]
mod multipart;
#[path = "../../../src/format/payload/named_charset.rs"]
mod named_charset;
#[path = "../../../src/format/payload/number.rs"]
mod number;
#[path = "../../../src/format/payload/part.rs"]
mod part;
#[path = "../../../src/format/payload/stored.rs"]
mod stored;
#[path = "../../../src/format/payload/surrogate.rs"]
mod surrogate;
#[path = "../../../src/format/payload/weight.rs"]
mod weight;
#[path = "../../../src/format/payload/xml.rs"]
mod xml;

use decoded::{DeclaredFormat, Rules};
use serde_json::Value;

use super::schema::Schema;
use crate::model::event::RawEvent;

/// Largest content, in bytes.
const LIMIT: usize = 1 << 20;

/// Content types; an input can also have its own.
const TYPES: [&str; 12] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=windows-1252",
    "multipart/form-data; boundary=XX",
    "multipart/form-data",
    "application/xml",
    "text/plain; charset=shift_jis",
    "application/json; charset=utf-16",
    "application/json, application/x-www-form-urlencoded",
    "multipart/related; boundary=hookmill-0; type=\"application/json\"",
    "",
    "application/octet-stream",
];
const CODINGS: [&str; 8] = ["", "gzip", "deflate", "br", "zstd", "gzip, zstd", "utf-8", "zstd, zstd, br"];
const FORMATS: [Option<DeclaredFormat>; 6] = [
    None,
    Some(DeclaredFormat::Json),
    Some(DeclaredFormat::Form),
    Some(DeclaredFormat::Multipart),
    Some(DeclaredFormat::Xml),
    Some(DeclaredFormat::Jwt),
];

/// Decodes an input: three bytes choose content type, coding and rules; a fourth one is the length of an own content type.
pub fn run(input: &[u8]) {
    let [kind, coding, rules, own, rest @ ..] = input else { return };
    let (own, body) = rest.split_at((*own as usize % 64).min(rest.len()));
    let content_type = match TYPES.get(*kind as usize % (TYPES.len() + 1)) {
        Some(listed) => (*listed).to_owned(),
        None => String::from_utf8_lossy(own).into_owned(),
    };
    let coding = CODINGS[*coding as usize % CODINGS.len()];
    let rules = self::rules(*rules);
    let schema = Schema::new(if rules.unwrap { serde_json::json!({}) } else { serde_json::json!({ "data": true, "payload": true }) });
    let raw = RawEvent {
        content_type: Some(content_type),
        headers: vec![("content-encoding".into(), coding.into())],
        body: body.to_vec(),
    };
    assert!(raw.content(LIMIT).len() <= LIMIT.max(body.len()));
    let weight = weight::weight_of(raw.content_type.as_deref(), Some(coding), body, LIMIT);
    if let Ok(payload) = raw.decode(&schema, &rules) {
        assert!(size(&payload.value) <= weight * 4 + 4096, "more than its weight");
        let places = event::file_places(&payload.value);
        let stored = raw.redacted_body(&places, &payload.value, LIMIT);
        let again = RawEvent { content_type: Some(stored.content_type), headers: Vec::new(), body: stored.body };
        let plain = Rules { unwrap: false, body_bytes: usize::MAX, ..Rules::default() };
        let read = again.decode(&Schema::default(), &plain).expect("what is stored can be read");
        assert_eq!(read.value, payload.value, "what is stored is what was read");
        drop((0..4).map(|it| again.file(it, LIMIT)).collect::<Vec<_>>());
        drop(payload.pointer("/data/0/id"));
    }
}

fn rules(choice: u8) -> Rules {
    let (on, pointers) = (|bit: u8| choice & bit != 0, |it: &str| vec![it.to_owned()]);
    Rules {
        strict: choice == 0xff,
        unwrap: !on(1),
        body_bytes: LIMIT,
        format: FORMATS[(choice >> 1) as usize % FORMATS.len()],
        empty: on(16).then(|| serde_json::json!({})),
        json_in: if on(32) { pointers("/payload") } else { Vec::new() },
        base64_json_in: if on(64) { pointers("/data") } else { Vec::new() },
        unwrap_at: if on(128) { pointers("/payload") } else { Vec::new() },
        ..Rules::default()
    }
}

/// About the memory of a value, in bytes.
fn size(value: &Value) -> usize {
    32 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map.iter().map(|(name, it)| name.len() + 32 + size(it)).sum(),
        _ => 0,
    }
}
