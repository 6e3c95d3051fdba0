//! `/console/events/{id}`: one event, from its receipt to its tasks.

use maud::{Markup, html};
use serde_json::Value;

use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::{PageReply, Section};
use super::super::parts;
use super::timeline::timeline;
use super::{body, curl, head, related, text};
use crate::auth::Scope;

/// `GET /console/events/{id}`. What was sent is read, and the read audited, only if it is asked for.
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let id = page.parameter("id").to_owned();
    let with_body = page.query("body").is_some() && page.who.can(Scope::Admin);
    let event =
        if with_body { page.client.get(&format!("/v1/events/{id}")).await? } else { head(&page.client, &id).await? };
    let copies = related::copies(&page, &event).await;
    let short = id.get(24..).unwrap_or(&id);
    let title = format!("Event {short}");
    let content = html! {
        nav aria-label="Breadcrumb" { a href=(page.link("/console/events")) { "Events" } }
        div.toolbar {
            h1 { "Event " span.mono { (short) } " " (parts::status_chip(text(&event, "status"))) }
            @if page.who.can(Scope::Admin) { (actions(&page, &event, &id)) }
        }
        (parts::fix_notice(&page))
        div.grid {
            section.card aria-labelledby="stages" { h2 #stages { "Stages" } (timeline(&page, &event)) }
            section.card aria-labelledby="facts" { h2 #facts { "Facts" } (facts(&page, &event, &id)) }
        }
        (related::section(&page, &event, copies.as_ref()))
        (body::section(&page, &event, &id, with_body))
        @if event.get("headers").is_some() { (request(&event)) }
        @if !text(&event, "plugin_log").is_empty() {
            section.card aria-labelledby="log" { h2 #log { "Plugin log" } pre tabindex="0" { (parts::visible(text(&event, "plugin_log"))) } }
        }
        @if page.who.can(Scope::Admin) { (curl::section(&event, &id)) }
    };
    Ok(PageReply::html(&page, &title, Section::Events, content))
}

fn actions(page: &PageCall, event: &Value, id: &str) -> Markup {
    let has_body = body::is_there(event);
    html! {
        div.row {
            @if has_body {
                a.button.primary href=(page.link(&format!("/console/events/{id}/replay"))) { "Replay" }
                a.button href=(page.link(&format!("/console/events/{id}/edit"))) { "Edit and replay" }
                a.button href=(page.link(&format!("/console/bench?event={id}"))) { "Try in the bench" }
            }
            a.button href=(page.link(&format!("/console/events?compare={id}"))) { "Compare" }
        }
    }
}

fn facts(page: &PageCall, event: &Value, id: &str) -> Markup {
    let integration = text(event, "integration");
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("integration", integration).finish();
    let mut facts = vec![
        (
            "Id",
            html! { code #event-id { (id) } " " button type="button" data-copy="event-id" data-scripted="" hidden { "Copy" } },
        ),
        ("Received", parts::time(text(event, "received_at"))),
        (
            "Integration",
            html! {
                (parts::visible(integration)) " "
                a.small href=(page.link(&format!("/console/events?{query}"))) { "its events" }
            },
        ),
        ("Company", parts::visible(text(event, "company_id"))),
    ];
    if let Some(provenance) = event["provenance"].as_object() {
        let names = [
            ("plugin_version", "Version"),
            ("module_sha256", "Module (SHA-256)"),
            ("script_sha256", "Script (SHA-256)"),
            ("schema_sha256", "Schema (SHA-256)"),
        ];
        for (field, name) in names {
            if let Some(value) = provenance.get(field).and_then(Value::as_str).filter(|it| !it.is_empty()) {
                facts.push((name, html! { code { (parts::visible(value)) } }));
            }
        }
    }
    facts.extend(origin(page, &event["origin"]));
    if let Some(trace) = event["trace"]["trace_id"].as_str().or(event["trace"].as_str()) {
        facts.push(("Trace", html! { code { (parts::visible(trace)) } }));
    }
    parts::key_value(facts)
}

/// How an event was made that no sender has sent.
fn origin(page: &PageCall, origin: &Value) -> Option<(&'static str, Markup)> {
    let by = parts::visible(text(origin, "by"));
    match text(origin, "kind") {
        "copy" => {
            let of = text(origin, "copy_of");
            let link = page.link(&format!("/console/events/{of}"));
            Some(("Edited copy of", html! { a.mono href=(link) { (of) } " by " (by) }))
        }
        "test" => Some(("Test delivery", html! { span.chip.chip-info { "test" } " sent by " (by) })),
        _ => None,
    }
}

/// Headers, query and path as far as they are stored.
fn request(event: &Value) -> Markup {
    let headers: Vec<_> = event["headers"].as_object().into_iter().flatten().collect();
    let query: Vec<_> = event["query"].as_array().into_iter().flatten().collect();
    html! {
        section.card aria-labelledby="request" {
            h2 #request { "Request" }
            @if !text(event, "path").is_empty() { p { "Path after the name: " code { (parts::visible(text(event, "path"))) } } }
            @if headers.is_empty() { p.muted { "No headers are stored." } }
            dl.facts {
                @for (name, value) in headers {
                    div { dt.mono { (parts::visible(name)) } dd.mono { (parts::visible(value.as_str().unwrap_or_default())) } }
                }
            }
            @if !query.is_empty() {
                h3 { "Query" }
                dl.facts {
                    @for it in query {
                        div { dt.mono { (parts::visible(text(it, "name"))) } dd.mono { (parts::visible(it["value"].as_str().unwrap_or("(removed)"))) } }
                    }
                }
            }
        }
    }
}
