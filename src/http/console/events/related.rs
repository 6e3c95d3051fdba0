//! Other deliveries with the id of an event.

use maud::{Markup, html};
use serde_json::Value;
use uuid::Uuid;

use super::super::client::target;
use super::super::page::PageCall;
use super::super::parts;
use super::text;
use crate::auth::Scope;

/// Most duplicates that are shown.
const SHOWN: usize = 100;
/// How many pages are read for them. A page may be short although more follow.
const PAGES: usize = 5;

/// Duplicates of an event.
pub(super) struct Copies {
    events: Vec<Value>,
    /// There may be more.
    more: bool,
}

/// Returns the deliveries that repeat this one; for a duplicate, the others that repeat the same event. None if the visitor may
/// not see reasons, or there can be none.
pub(super) async fn copies(page: &PageCall, event: &Value) -> Option<Copies> {
    event.get("headers")?;
    if text(event, "integration") == "tasks" || text(event, "status") == "rejected" {
        return None;
    }
    let of = first_of(event)?;
    let (mut copies, mut cursor) = (Copies { events: Vec::new(), more: true }, None);
    for _ in 0..PAGES {
        let query = [("repeats", Some(of.as_str())), ("limit", Some("100")), ("cursor", cursor.as_deref())];
        let mut found = page.client.get(&target("/v1/events", query)).await.ok()?;
        let events = found["data"].as_array_mut().map(std::mem::take).unwrap_or_default();
        copies.events.extend(events.into_iter().filter(|it| it["id"] != event["id"]));
        cursor = found["pagination"]["next_cursor"].as_str().map(str::to_owned);
        copies.more = cursor.is_some();
        if cursor.is_none() || copies.events.len() >= SHOWN {
            break;
        }
    }
    copies.more |= copies.events.len() > SHOWN;
    copies.events.truncate(SHOWN);
    Some(copies)
}

/// The first event with the id of this one: a duplicate names it.
fn first_of(event: &Value) -> Option<String> {
    if text(event, "status") == "duplicate" { first(event) } else { Some(text(event, "id").to_owned()) }
}

/// The event that a duplicate repeats: its reason says so.
fn first(event: &Value) -> Option<String> {
    let message = event["reason"]["message"].as_str()?;
    let id = message.split_once(" event ")?.1.get(..36)?;
    Uuid::parse_str(id).is_ok().then(|| id.to_owned())
}

pub(super) fn section(page: &PageCall, event: &Value, copies: Option<&Copies>) -> Markup {
    let of = first_of(event).filter(|it| it != text(event, "id"));
    let others = copies.map_or(&[][..], |it| it.events.as_slice());
    let search = search(page, event);
    html! {
        @if of.is_some() || !others.is_empty() || copies.is_some_and(|it| it.more) || search.is_some() {
            section.card aria-labelledby="related" {
                h2 #related { "Deliveries with the same id" }
                @if let Some(of) = &of {
                    p {
                        "It repeats " a.mono href=(page.link(&format!("/console/events/{of}"))) { (of) } ". "
                        a href=(page.link(&format!("/console/events/compare?a={of}&b={}", text(event, "id")))) { "Compare them" }
                    }
                }
                @if !others.is_empty() {
                    ul {
                        @for it in others {
                            li {
                                a href=(page.link(&format!("/console/events/{}", text(it, "id")))) { (parts::time(text(it, "received_at"))) }
                                " " (parts::status_chip(text(it, "status"))) " " code { (text(it, "reason")) (it["reason"]["code"].as_str().unwrap_or_default()) }
                            }
                        }
                    }
                }
                @if let (Some(first), true) = (first_of(event), copies.is_some_and(|it| it.more)) {
                    p { a href=(page.link(&target("/console/events", [("repeats", Some(first.as_str()))]))) { "Show all repetitions" } }
                }
                @if let Some(url) = &search { p { a href=(url) { "Search for its delivery id" } } }
            }
        }
    }
}

/// The search for the delivery's id: the value of the first header that may have it, or of its place in the payload.
fn search(page: &PageCall, event: &Value) -> Option<String> {
    let integration = page.app().registry.get(text(event, "integration"))?;
    if !page.who.can(Scope::Admin) || page.who.company.as_ref() != Some(&integration.company_id) {
        return None;
    }
    let url = |query: &[(&str, &str)]| {
        let mut to = form_urlencoded::Serializer::new(String::new());
        to.append_pair("integration", text(event, "integration")).extend_pairs(query);
        Some(page.link(&format!("/console/events?{}", to.finish())))
    };
    let header = integration.dedupe.headers().find_map(|name| event["headers"][name].as_str());
    if let Some(id) = header.filter(|it| it.contains(char::is_alphanumeric) && *it != "(removed)") {
        return url(&[("text", id)]);
    }
    let pointer = integration.dedupe.pointers().find(|it| event["payload"].pointer(it).is_some_and(is_id))?;
    let value = match event["payload"].pointer(pointer)? {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    url(&[("pointer", pointer), ("value", &value)])
}

fn is_id(value: &Value) -> bool {
    value.is_string() || value.is_number()
}
