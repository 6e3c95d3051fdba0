//! The stages of an event: what happened in which order, where it ended, and what was not reached.

use maud::{Markup, html};
use serde_json::Value;

use super::super::page::PageCall;
use super::super::parts;
use super::text;

/// The stages of the pipeline, with what they do.
const STAGES: [(&str, &str); 4] = [
    ("decode", "Decoded"),
    ("schema", "Checked against the schema"),
    ("plugin", "Mapped by the plugin"),
    ("task", "Read as tasks"),
];

pub(super) fn timeline(page: &PageCall, event: &Value) -> Markup {
    let failed = event["reason"]["stage"].as_str().unwrap_or_default();
    let is_refused = failed == "auth" || text(event, "status") == "rejected";
    html! {
        ol.timeline {
            (received(event))
            @if is_refused {
                li.bad { strong { "Rejected" } (reason(event)) }
            } @else {
                li { strong { "Authenticated" } }
            }
            @for (stage, name) in STAGES { (self::stage(event, stage, name, is_refused)) }
            (end(page, event, is_refused))
        }
    }
}

fn received(event: &Value) -> Markup {
    let attempts = event["attempts"].as_u64().unwrap_or(1);
    html! {
        li {
            strong { "Received" } " " (parts::time(text(event, "received_at")))
            div.muted.small {
                (parts::bytes(event["body_bytes"].as_u64().unwrap_or(0)))
                @if let Some(kind) = event["content_type"].as_str() { ", " (parts::visible(kind)) }
                @if attempts > 1 {
                    ", delivered " (parts::count(attempts)) " times"
                    @if let Some(last) = event["last_attempt_at"].as_str() { ", last " (parts::time(last)) }
                }
            }
        }
    }
}

fn stage(event: &Value, stage: &str, name: &str, is_refused: bool) -> Markup {
    let done = event["stages"].as_array().into_iter().flatten().find(|it| it["stage"] == stage);
    let is_end = !is_refused && event["reason"]["stage"] == stage;
    let took = done.and_then(|it| it["micros"].as_u64());
    let class = match (is_end, done.is_some()) {
        (true, _) => Some("bad"),
        (false, true) => None,
        (false, false) => Some("skipped"),
    };
    html! {
        li class=[class] {
            strong { (name) }
            @if let Some(micros) = took { span.muted { " in " (duration(micros)) } }
            @if is_end { (reason(event)) }
            @if done.is_none() && !is_end { span.muted { ": not reached" } }
        }
    }
}

fn end(page: &PageCall, event: &Value, is_refused: bool) -> Markup {
    let tasks = event["task_ids"].as_array().map_or(&[][..], Vec::as_slice);
    let status = text(event, "status");
    let is_told = is_refused || STAGES.iter().any(|(stage, _)| event["reason"]["stage"] == *stage);
    let class = match status {
        "stored" => None,
        "quarantined" | "rejected" => Some("bad"),
        _ => Some("skipped"),
    };
    html! {
        li class=[class] {
            (parts::status_chip(status))
            @if !is_told { (reason(event)) }
            @if let Some(at) = event["erased_at"].as_str() { div { "Its content was erased " (parts::time(at)) } }
            @if !tasks.is_empty() {
                ul {
                    @for id in tasks.iter().filter_map(Value::as_str) {
                        li { a.mono href=(page.link(&format!("/console/tasks/{id}"))) { (id) } }
                    }
                }
            }
        }
    }
}

fn reason(event: &Value) -> Markup {
    let Some(reason) = event["reason"].as_object() else { return html! {} };
    let of = |name: &str| reason.get(name).and_then(Value::as_str).unwrap_or_default();
    html! {
        div { code { (parts::visible(of("code"))) } " " (parts::visible(of("message"))) }
    }
}

/// Microseconds, for people.
pub(super) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}
