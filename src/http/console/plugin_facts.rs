//! Parts of a plugin's page.

use maud::{Markup, html};
use serde_json::Value;

use super::page::PageCall;
use super::parts::{count, key_value, status_chip, text, time, visible};

/// A name as a part of a URL.
pub(super) fn segment(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>().replace('+', "%20")
}

/// The digests that provenance names.
pub(super) fn digests(plugin: &Value) -> Markup {
    let names = [("Module", "sha256"), ("Script", "script_sha256"), ("Schema", "schema_sha256")];
    html! {
        details {
            summary { "SHA-256 of its files" }
            dl.facts {
                @for (shown, field) in names {
                    @if let Some(digest) = plugin[field].as_str().filter(|it| !it.is_empty()) {
                        div { dt { (shown) } dd { code { (digest) } } }
                    }
                }
            }
        }
    }
}

/// How its calls went.
pub(super) fn calls(page: &PageCall, calls: &Value) -> Markup {
    let number = |name: &str| html! { (count(calls[name].as_u64().unwrap_or_default())) };
    let error = &calls["last_error"];
    html! {
        (key_value([
            ("Calls", number("calls")),
            ("Refused", number("refused")),
            ("Failed", number("failures")),
            ("Too busy", number("busy")),
            ("Median", html! { (millis(calls["p50_us"].as_u64().unwrap_or_default())) }),
            ("99th percentile", html! { (millis(calls["p99_us"].as_u64().unwrap_or_default())) }),
        ]))
        @if error.is_object() {
            h3 { "Newest failure" }
            p { code { (text(error, "code")) } }
            p.muted {
                @if let Some(at) = error["at"].as_str() { (time(at)) " " }
                @if let Some(id) = error["event_id"].as_str() { a href=(page.link(&format!("/console/events/{id}"))) { "its event" } }
            }
        }
    }
}

/// Microseconds for people.
pub(super) fn millis(micros: u64) -> String {
    if micros < 1000 { format!("{micros} µs") } else { format!("{:.1} ms", micros as f64 / 1000.0) }
}

/// The limits in plugin.toml.
pub(super) fn limits(limits: &Value) -> Markup {
    let rows = [
        ("Time", "time_ms", "ms"),
        ("Memory", "memory_mib", "MiB"),
        ("Output", "output_kib", "KiB"),
        ("Log", "log_kib", "KiB"),
        ("At once", "concurrency", "calls"),
        ("Waiting", "queue", "calls"),
    ];
    html! {
        dl.facts { @for (name, field, unit) in rows { div {
            dt { (name) }
            dd { (count(limits[field].as_u64().unwrap_or_default())) " " (unit) }
        } } }
    }
}

/// Which secrets are set; never the secrets.
pub(super) fn secrets(plugin: &Value) -> Markup {
    let all = plugin["secrets"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if all.is_empty() { p.muted { "Its senders prove themselves with an API key." } }
        ul { @for it in all { li {
            code { (visible(text(it, "name"))) } " "
            @if it["is_set"] == true { span class="chip chip-ok" { "set" } } @else { span class="chip chip-bad" { "not set" } }
            @if let Some(at) = it["last_used_at"].as_str() { " last used " (time(at)) }
        } } }
    }
}

/// The candidate next to it, in short.
pub(super) fn shadow_line(page: &PageCall, name: &str, shadow: &Value) -> Markup {
    let number = |field: &str| count(shadow[field].as_u64().unwrap_or_default());
    html! {
        @if shadow.is_object() {
            p { (status_chip(text(shadow, "state"))) " " code { (visible(text(shadow, "folder"))) }
                @if let Some(version) = shadow["version"].as_str() { " version " (visible(version)) } }
            @if let Some(message) = shadow["message"].as_str() { p { (visible(message)) } }
            @else {
                p { (number("events")) " events: " (number("same")) " the same, " (number("changed")) " changed, "
                    (number("newly_failing")) " newly failing, " (number("newly_passing")) " newly passing. "
                    a href=(page.link(&format!("/console/plugins/{name}/shadow"))) { "Compare field by field" } }
            }
        } @else {
            p.muted { "None. A shadow is a second version that gets every live delivery and stores nothing: name its folder with "
                code { "shadow = \"../NAME-next\"" } " in plugin.toml." }
        }
    }
}
