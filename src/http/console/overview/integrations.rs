//! The table of integrations.

use maud::{Markup, html};
use serde_json::Value;

use crate::http::console::client::target;
use crate::http::console::page::PageCall;
use crate::http::console::parts::{self, text};

pub(super) fn table(page: &PageCall, all: &Value, during: &str) -> Markup {
    let all = all.as_array().map_or(&[][..], Vec::as_slice);
    html! {
        section.card aria-labelledby="integrations" {
            h2 #integrations { "Integrations" }
            @if all.is_empty() {
                (parts::empty_state("No integration yet", &html! {
                    "Put a folder into the plugins folder, or " a href=(page.link("/console/connect")) { "connect a sender" } "."
                }))
            } @else {
                div.scroll tabindex="0" role="region" aria-labelledby="integrations" {
                    table {
                        thead {
                            tr {
                                th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Version" }
                                th.number scope="col" { "Deliveries" } th.number scope="col" { "Quarantined" } th.number scope="col" { "Rejected" }
                                th scope="col" { "Last delivery" } th.number scope="col" { "Call, median" } th.number scope="col" { "Call, p99" }
                                th scope="col" { span.visually-hidden { "Links" } }
                            }
                        }
                        tbody { @for it in all { (row(page, it)) } }
                    }
                }
                p.muted.small { "Deliveries of " (during) ". Times of calls are since the version went live." }
            }
        }
    }
}

fn row(page: &PageCall, it: &Value) -> Markup {
    let name = text(it, "name");
    let has_plugin = !it["state"].is_null();
    let number = |field: &str| it[field].as_u64().unwrap_or(0);
    let events =
        |status: Option<&str>| page.link(&target("/console/events", [("integration", Some(name)), ("status", status)]));
    html! {
        tr {
            th scope="row" {
                @if has_plugin { a href=(page.link(&plugin(name))) { (parts::visible(name)) } } @else { (parts::visible(name)) }
            }
            td {
                @if has_plugin { (parts::status_chip(text(it, "state"))) } @else { span.muted { "no plugin" } }
                @if it["captures"] == true { " " (parts::status_chip("captures")) }
            }
            td { @if let Some(version) = it["version"].as_str() { (parts::visible(version)) } @else { span.muted { "–" } } }
            td.number { a href=(events(None)) { (parts::count(number("deliveries"))) } }
            td.number { (problem(number("quarantined"), &events(Some("quarantined")))) }
            td.number { (problem(number("rejected"), &events(Some("rejected")))) }
            td { @if let Some(at) = it["last_delivery_at"].as_str() { (parts::time(at)) } @else { span.muted { "none in the window" } } }
            td.number { (micros(it["p50_us"].as_u64())) }
            td.number { (micros(it["p99_us"].as_u64())) }
            td { @if has_plugin { a href=(page.link(&format!("/console/bench/{}", encoded(name)))) aria-label={"Bench of " (name)} { "Bench" } } }
        }
    }
}

/// The page of a plugin.
fn plugin(name: &str) -> String {
    format!("/console/plugins/{}", encoded(name))
}

fn encoded(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect()
}

/// A number that should be 0.
fn problem(number: u64, link: &str) -> Markup {
    html! { @if number == 0 { span.muted { "0" } } @else { a href=(link) { strong { (parts::count(number)) } } } }
}

fn micros(time: Option<u64>) -> Markup {
    let shown = match time {
        None => return html! { span.muted { "–" } },
        Some(it) if it < 1000 => format!("{it} µs"),
        Some(it) => format!("{}.{} ms", it / 1000, it % 1000 / 100),
    };
    html! { (shown) }
}
