//! `/console/events`: what arrived, and what became of it.

use maud::{Markup, html};
use serde_json::Value;

use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::{PageReply, Section};
use super::super::parts;
use super::{filters, text};
use crate::auth::Scope;

/// `GET /console/events`
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let (status, content) = match page.client.get(&filters::api_target(&page)).await {
        Ok(found) => (warp::http::StatusCode::OK, listed(&page, &found)),
        // A filter is wrong: the form is there to correct it.
        Err(failure) if failure.status.as_u16() == 422 => (failure.status, parts::problem(&failure)),
        Err(failure) => return Err(failure),
    };
    let content = html! {
        div.toolbar {
            h1 { "Events" }
            div.row {
                @if page.query("cursor").is_none() { (live(&page)) }
                @if page.who.can(Scope::Admin) {
                    a.button href=(replay_link(&page)) { "Replay many" }
                    a.button href=(page.link("/console/erase")) { "Erase a patient" }
                }
            }
        }
        (filters::form(&page))
        @if let Some(first) = page.query("compare") { (comparing(&page, first)) }
        (content)
    };
    Ok(PageReply::with_status(status, &page, "Events", Section::Events, content))
}

/// The replay of the events that the list shows.
fn replay_link(page: &PageCall) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(filters::set(page));
    page.link(&format!("/console/events/replay?{}", query.finish()))
}

/// The live tail, for browsers that run scripts.
fn live(page: &PageCall) -> Markup {
    let of_payloads = ["text", "pointer"].iter().any(|it| page.query(it).is_some());
    html! {
        @if !of_payloads {
            div.row data-module="tail" data-url=(filters::tail_target(page)) {
                span.muted.small aria-live="polite" data-tail-state="" {}
                button type="button" aria-pressed="false" data-scripted="" hidden { "Live" }
            }
        }
    }
}

fn comparing(page: &PageCall, first: &str) -> Markup {
    html! {
        p.notice {
            "Choose the event to compare with " code { (parts::visible(first)) } ". "
            a href=(page.link_with(&[("compare", None)])) { "Compare nothing" }
        }
    }
}

fn listed(page: &PageCall, found: &Value) -> Markup {
    let events = found["data"].as_array().map_or(&[][..], Vec::as_slice);
    let next = found["pagination"]["next_cursor"].as_str();
    html! {
        @if let Some(since) = found["pagination"]["searched_since"].as_str() {
            p.notice { "Payloads are searched back to " (parts::time(since)) ". Older events are not in the index, or not yet." }
        }
        @if events.is_empty() && page.query("cursor").is_none() && next.is_none() {
            (nothing(page))
        } @else {
            @if events.is_empty() {
                p.muted { "Nothing that matches on this page." @if next.is_some() { " The search goes on with “Older”." } }
            }
            div.scroll role="region" aria-label="Events" tabindex="0" {
                table #events {
                    thead {
                        tr {
                            th scope="col" { "Received" } th scope="col" { "Integration" } th scope="col" { "Status" }
                            th scope="col" { "Reason" } th scope="col" { "Tasks" } th scope="col" { "Event" }
                            th scope="col" { "Size" } th scope="col" { span.visually-hidden { "Compare" } }
                        }
                    }
                    tbody { @for event in events { (row(page, event)) } }
                }
            }
        }
        (parts::pager(page, next))
    }
}

fn nothing(page: &PageCall) -> Markup {
    if filters::set(page).is_empty() {
        let what_to_do = html! {
            "Deliveries are shown here as they arrive. " a href=(page.link("/console/connect")) { "Connect a sender" } "."
        };
        return parts::empty_state("No events yet", &what_to_do);
    }
    let what_to_do = html! {
        "Change the filters, or " a href=(page.link("/console/events")) { "remove all filters" } "."
    };
    parts::empty_state("No event matches", &what_to_do)
}

fn row(page: &PageCall, event: &Value) -> Markup {
    let id = text(event, "id");
    let url = page.link(&format!("/console/events/{id}"));
    let tasks = event["task_ids"].as_array().map_or(0, Vec::len);
    html! {
        tr data-event=(id) data-status=(text(event, "status")) {
            td { a href=(url) { (parts::time(text(event, "received_at"))) } }
            td { (parts::visible(text(event, "integration"))) }
            td { (parts::status_chip(text(event, "status"))) }
            td { @if let Some(code) = event["reason"]["code"].as_str() { code { (parts::visible(code)) } } }
            td { @if tasks > 0 { (parts::count(tasks as u64)) } }
            td { a.mono href=(url) title=(id) { (id.get(24..).unwrap_or(id)) } }
            td { (parts::bytes(event["body_bytes"].as_u64().unwrap_or(0))) }
            td { (compare(page, id)) }
        }
    }
}

fn compare(page: &PageCall, id: &str) -> Markup {
    let short = id.get(24..).unwrap_or(id);
    match page.query("compare") {
        Some(first) if first == id => html! { span.muted { "chosen" } },
        Some(first) => {
            let query =
                form_urlencoded::Serializer::new(String::new()).append_pair("a", first).append_pair("b", id).finish();
            let url = page.link(&format!("/console/events/compare?{query}"));
            html! { a href=(url) { "Compare" span.visually-hidden { " with " (short) } } }
        }
        None => html! {
            a href=(page.link_with(&[("compare", Some(id))])) { "Compare" span.visually-hidden { " " (short) } }
        },
    }
}
