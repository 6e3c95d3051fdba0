//! Spans as OTLP writes them in JSON: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.
//!
//! `opentelemetry-otlp` writes the same, but its code generation changes features of crates that the engine is compiled with
//! (docs/decisions/0043).

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{Link, SpanContext, SpanId, SpanKind, Status};
use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use serde_json::{Value as Json, json};

/// Bits of `flags`: it is known whether the span it names is of another process, and that it is.
const REMOTE: (u32, u32) = (0x100, 0x200);

/// An `ExportTraceServiceRequest`.
pub(super) fn request(resource: &Resource, spans: &[SpanData]) -> Json {
    let attributes: Vec<Json> = resource.iter().map(|(key, value)| attribute(key, value)).collect();
    let scope = json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") });
    let spans: Vec<Json> = spans.iter().map(span).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": attributes },
            "scopeSpans": [{ "scope": scope, "spans": spans }],
        }],
    })
}

fn span(span: &SpanData) -> Json {
    let own = &span.span_context;
    let mut written = json!({
        "traceId": own.trace_id().to_string(),
        "spanId": own.span_id().to_string(),
        "flags": flags(own, span.parent_span_is_remote),
        "name": span.name,
        "kind": kind(&span.span_kind),
        "startTimeUnixNano": nanos(span.start_time),
        "endTimeUnixNano": nanos(span.end_time),
        "attributes": attributes(&span.attributes),
        "status": status(&span.status),
    });
    let mut add = |name: &str, value: Json, is_there: bool| {
        if is_there {
            written[name] = value;
        }
    };
    add("parentSpanId", span.parent_span_id.to_string().into(), span.parent_span_id != SpanId::INVALID);
    let state = own.trace_state().header();
    add("traceState", state.as_str().into(), !state.is_empty());
    add("links", span.links.iter().map(link).collect(), !span.links.is_empty());
    written
}

fn link(link: &Link) -> Json {
    let to = &link.span_context;
    json!({
        "traceId": to.trace_id().to_string(),
        "spanId": to.span_id().to_string(),
        "traceState": to.trace_state().header(),
        "flags": flags(to, to.is_remote()),
        "attributes": attributes(&link.attributes),
    })
}

fn flags(of: &SpanContext, is_remote: bool) -> u32 {
    let (known, remote) = REMOTE;
    u32::from(of.trace_flags().to_u8()) | known | if is_remote { remote } else { 0 }
}

fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn status(status: &Status) -> Json {
    match status {
        Status::Unset => json!({}),
        Status::Ok => json!({ "code": 1 }),
        Status::Error { description } => json!({ "code": 2, "message": description }),
    }
}

/// 64-bit numbers are text in this encoding.
fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

fn attributes(all: &[KeyValue]) -> Json {
    all.iter().map(|it| attribute(&it.key, &it.value)).collect()
}

fn attribute(key: &Key, value: &Value) -> Json {
    let value = match value {
        Value::Bool(it) => json!({ "boolValue": it }),
        Value::I64(it) => json!({ "intValue": it.to_string() }),
        Value::F64(it) => json!({ "doubleValue": it }),
        other => json!({ "stringValue": other.as_str() }),
    };
    json!({ "key": key.as_str(), "value": value })
}
