//! How a candidate compares with what was stored, or with the live plugin: counts, fields, failures and examples.

use maud::{Markup, html};
use serde_json::Value;

use super::page::PageCall;
use super::parts::{bytes, count, text, visible};
use super::plugin_facts::millis;

/// Most rows of a table; the API's report has all of them.
const SHOWN: usize = 100;

/// The report. Without `values`, only places are shown.
pub(super) fn report(page: &PageCall, it: &Value, values: bool) -> Markup {
    html! {
        section.card { h2 { "Result" } (counts(it)) }
        (fields(page, &it["fields"], values))
        (failures(page, &it["failures"], values))
        (samples(page, it["samples"].as_array().map_or(&[][..], Vec::as_slice), values))
        section.card { h2 { "Use of limits" } (limits(it["limits"].as_array().map_or(&[][..], Vec::as_slice))) }
    }
}

fn counts(it: &Value) -> Markup {
    let number = |name: &str| it[name].as_u64().unwrap_or_default();
    let rows = [
        ("Events", "events", "chip"),
        ("The same", "same", "chip chip-ok"),
        ("Changed", "changed", "chip chip-warn"),
        ("Newly failing", "newly_failing", "chip chip-bad"),
        ("Newly passing", "newly_passing", "chip chip-ok"),
        ("Not comparable", "uncompared", "chip"),
    ];
    html! {
        ul.row { @for (name, field, class) in rows { li { span class=(class) { (count(number(field))) } " " (name) } } }
        p.muted.small { "A call took " (millis(it["p50_us"].as_f64().unwrap_or_default() as u64)) " at the median, "
            (millis(it["p99_us"].as_f64().unwrap_or_default() as u64)) " at the 99th percentile." }
        @if let Some(not_run) = it["not_run"].as_object().filter(|it| !it.is_empty()) {
            p.muted.small { "Not run: " @for (why, number) in not_run { (count(number.as_u64().unwrap_or_default())) " " (why) " " } }
        }
    }
}

fn fields(page: &PageCall, all: &Value, values: bool) -> Markup {
    let Some(all) = all.as_object().filter(|it| !it.is_empty()) else { return html! {} };
    let mut rows: Vec<_> = all.iter().collect();
    rows.sort_by_key(|(_, it)| std::cmp::Reverse(it["events"].as_u64()));
    html! {
        section.card {
            h2 { "Fields that differ" }
            div.scroll { table {
                thead { tr { th { "Place" } th.number { "Events" } @if values { th { "Before" } th { "Now" } } th { "Example" } } }
                tbody { @for (place, it) in rows.iter().take(SHOWN) { tr {
                    td { code { (visible(place)) } }
                    td.number { (count(it["events"].as_u64().unwrap_or_default())) }
                    @if values { td.diff-removed { (value(it.get("before"))) } td.diff-added { (value(it.get("after"))) } }
                    td { (event(page, text(it, "example"))) }
                } } }
            } }
            @if rows.len() > SHOWN { p.muted { "and " (rows.len() - SHOWN) " more places" } }
        }
    }
}

fn failures(page: &PageCall, all: &Value, values: bool) -> Markup {
    let Some(all) = all.as_object().filter(|it| !it.is_empty()) else { return html! {} };
    html! {
        section.card {
            h2 { "Why events fail now" }
            div.scroll { table {
                thead { tr { th { "Reason" } th.number { "Events" } @if values { th { "Message" } } th { "Example" } } }
                tbody { @for (why, it) in all.iter().take(SHOWN) { tr {
                    td { code { (visible(why)) } }
                    td.number { (count(it["events"].as_u64().unwrap_or_default())) }
                    @if values { td { (visible(text(it, "message"))) } }
                    td { (event(page, text(it, "example"))) }
                } } }
            } }
        }
    }
}

fn samples(page: &PageCall, all: &[Value], values: bool) -> Markup {
    html! {
        @if !all.is_empty() {
            section.card {
                h2 { "Examples" }
                @for it in all.iter().take(SHOWN) {
                    details {
                        summary { (class(text(it, "class"))) " " code { (visible(text(it, "event_id"))) }
                            @if values { " " (visible(text(it, "before"))) " → " (visible(text(it, "after"))) } }
                        p { "Event " (event(page, text(it, "event_id"))) }
                        (differences(it["differences"].as_array().map_or(&[][..], Vec::as_slice), it["differences_omitted"].as_u64(), values))
                    }
                }
            }
        }
    }
}

/// Places that differ, with both values.
pub(super) fn differences(all: &[Value], omitted: Option<u64>, values: bool) -> Markup {
    html! {
        @if !all.is_empty() {
            div.scroll { table {
                thead { tr { th { "Place" } @if values { th { "Stored" } th { "Now" } } } }
                tbody { @for it in all { tr {
                    td { code { (visible(text(it, "pointer"))) } }
                    @if values { td.diff-removed { (value(it.get("expected"))) } td.diff-added { (value(it.get("found"))) } }
                } } }
            } }
        }
        @if let Some(more @ 1..) = omitted { p.muted { "and " (count(more)) " more places" } }
    }
}

fn value(it: Option<&Value>) -> Markup {
    match it {
        None => html! { span.muted { "nothing" } },
        Some(Value::String(text)) => html! { (visible(text)) },
        Some(other) => html! { code { (visible(&other.to_string())) } },
    }
}

/// The kind of difference.
pub(super) fn class(class: &str) -> Markup {
    let (style, said) = match class {
        "same" => ("chip chip-ok", "the same"),
        "changed" => ("chip chip-warn", "changed"),
        "newly_failing" => ("chip chip-bad", "newly failing"),
        "newly_passing" => ("chip chip-ok", "newly passing"),
        _ => ("chip", "not comparable"),
    };
    html! { span class=(style) { (said) } }
}

fn event(page: &PageCall, id: &str) -> Markup {
    html! { a.mono.small href=(page.link(&format!("/console/events/{id}"))) { (id) } }
}

/// A meter for each limit.
pub(super) fn limits(all: &[Value]) -> Markup {
    let amount = |number: u64, unit: &str| match unit {
        "bytes" => bytes(number),
        "µs" => millis(number),
        _ => count(number),
    };
    html! {
        dl.meters {
            @for it in all {
                @let (used, limit) = (it["used"].as_u64().unwrap_or_default(), it["limit"].as_u64().unwrap_or_default());
                @let (name, unit) = (limit_name(text(it, "name")), text(it, "unit"));
                div {
                    dt { (name) }
                    dd {
                        meter min="0" max=(limit.max(1)) high=(limit / 2) low=(limit / 4) optimum="0" value=(used.min(limit)) aria-label=(format!("{name}: used of the limit")) {}
                        span.small { (amount(used, unit)) " of " (amount(limit, unit)) }
                    }
                }
            }
        }
    }
}

fn limit_name(name: &str) -> &str {
    match name {
        "time_ms" => "Time",
        "memory_mib" => "Memory",
        "output_kib" => "Output",
        "log_kib" => "Log",
        "table elements" => "Table elements",
        other => other,
    }
}
