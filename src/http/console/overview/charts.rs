//! The figures and charts of the overview.

use chrono::{DateTime, Utc};
use maud::{Markup, html};
use serde_json::Value;

use crate::http::console::chart::{Chart, ChartSeries, SeriesMark};
use crate::http::console::parts;

/// The values of some statuses together, by bucket.
fn events(buckets: &[Value], statuses: &[&str]) -> Vec<Option<f64>> {
    let sum = |it: &Value| statuses.iter().filter_map(|status| it["events"][*status].as_f64()).sum();
    buckets.iter().map(|it| Some(sum(it))).collect()
}

fn values(buckets: &[Value], field: &str) -> Vec<Option<f64>> {
    buckets.iter().map(|it| it[field].as_f64()).collect()
}

fn list<'a>(overview: &'a Value, field: &str) -> &'a [Value] {
    overview[field].as_array().map_or(&[], Vec::as_slice)
}

/// The sums of the window.
pub(super) fn figures(overview: &Value, during: &str) -> Markup {
    let buckets = list(overview, "buckets");
    let sum = |statuses: &[&str]| -> u64 {
        buckets.iter().flat_map(|it| statuses.iter().filter_map(|status| it["events"][*status].as_u64())).sum()
    };
    let deliveries: u64 = buckets
        .iter()
        .filter_map(|it| it["events"].as_object())
        .flat_map(|it| it.values())
        .filter_map(Value::as_u64)
        .sum();
    let tasks: u64 = buckets.iter().filter_map(|it| it["tasks"].as_u64()).sum();
    let figures = [
        ("Deliveries", deliveries),
        ("Tasks created", tasks),
        ("Quarantined", sum(&["quarantined"])),
        ("Rejected", sum(&["rejected"])),
        ("In the queue", sum(&["queued"])),
    ];
    html! {
        dl.figures aria-label={"Sums of " (during)} {
            @for (name, number) in figures {
                div.card { dt { (name) } dd { (parts::count(number)) } }
            }
        }
    }
}

/// All charts.
pub(super) fn all(overview: &Value, during: &str) -> Markup {
    let (buckets, served) = (list(overview, "buckets"), list(overview, "served"));
    let begins = |it: &Value| it["at"].as_str().and_then(|it| it.parse::<DateTime<Utc>>().ok());
    let times: Vec<_> = buckets.iter().filter_map(begins).collect();
    let bar = |name, kind, values| ChartSeries { name, mark: SeriesMark::Bar(kind), values };
    let line = |name, kind, values| ChartSeries { name, mark: SeriesMark::Line(kind), values };
    let chart = |id, title, about: &str, unit, series| Chart {
        id,
        title,
        about: format!("{about}, in {during}; times in UTC. The numbers follow as a table."),
        unit,
        times: &times,
        series,
    };
    let since = overview["served_since"].as_str().unwrap_or_default();
    let deliveries = vec![
        bar("stored", "accent", events(buckets, &["stored"])),
        bar("skipped, repeated or captured", "muted", events(buckets, &["skipped", "duplicate", "captured"])),
        bar("queued", "dotted", events(buckets, &["queued"])),
        bar("quarantined or rejected", "hatched", events(buckets, &["quarantined", "rejected"])),
    ];
    let quarantine = vec![
        bar("quarantined", "hatched", events(buckets, &["quarantined"])),
        bar("rejected", "dotted", events(buckets, &["rejected"])),
    ];
    let tasks = vec![bar("tasks", "ok", values(buckets, "tasks"))];
    let latency = vec![
        line("median", "solid", values(served, "p50_ms")),
        line("99th percentile", "dashed", values(served, "p99_ms")),
    ];
    let errors = vec![
        bar("refused (4xx)", "dotted", values(served, "refused")),
        bar("failed (5xx)", "hatched", values(served, "failed")),
    ];
    let queue = vec![line("queued", "solid", values(served, "queued"))];
    html! {
        section.charts aria-label="Charts" {
            div.card { (chart("deliveries", "Deliveries", "Deliveries by the time of their receipt and their status now", "", deliveries).figure()) }
            div.card { (chart("quarantine", "Quarantine", "Deliveries that are quarantined now, or were rejected", "", quarantine).figure()) }
            div.card { (chart("tasks", "Tasks created", "Tasks by the time of their creation", "", tasks).figure()) }
            @if !served.is_empty() {
            div.card { (chart("latency", "Latency, ms", "Time until the response to deliveries and requests about tasks", "ms", latency).figure()) }
            div.card { (chart("errors", "Errors", "Responses to deliveries and requests about tasks that say that something is wrong", "", errors).figure()) }
            div.card { (chart("queue", "Queue", "Deliveries that wait in the queue", "", queue).figure()) }
            }
        }
        @if served.is_empty() {
            p.muted.small { "Times on the axes are UTC. Latency, errors and queue are those of all companies on this server: the operator sees them." }
        } @else {
            p.muted.small { "Times on the axes are UTC. Latency, errors and queue are those of this server, for all companies, since its start at " (parts::time(since)) "." }
        }
    }
}
