//! `/console/audit`: who did what.

use maud::{Markup, html};
use serde_json::Value;

use super::client::target;
use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};
use super::parts::{self, text};

/// `GET /console/audit`
pub(super) async fn list(page: PageCall) -> Result<PageReply, PageFailure> {
    let list =
        page.client.get(&target("/v1/admin/audit", [("limit", Some("50")), ("cursor", page.query("cursor"))])).await?;
    let entries = list["data"].as_array().map_or(&[][..], Vec::as_slice);
    let content = html! {
        h1 { "Audit log" }
        @if page.who.is_operator {
            p.muted {
                @match &page.who.company {
                    Some(company) => { "Entries about " (parts::visible(company.as_str())) ". " a href="/console/audit" { "Show all companies" } },
                    None => "Entries about all companies and the server. Choose a company at the top to see only its own.",
                }
            }
        }
        section.card aria-label="Entries" {
            @if entries.is_empty() {
                (parts::empty_state("No entries", &html! { "Changes of keys and plugins, reads of bodies, replays and erasures are listed here as they happen." }))
            } @else {
                div.scroll tabindex="0" role="region" aria-label="Table of entries" {
                    table {
                        thead { tr {
                            th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "Of what" }
                            th scope="col" { "Details" } @if page.who.is_operator { th scope="col" { "Company" } }
                        } }
                        tbody { @for it in entries { (row(&page, it)) } }
                    }
                }
            }
            (parts::pager(&page, list["pagination"]["next_cursor"].as_str()))
        }
    };
    Ok(PageReply::html(&page, "Audit log", Section::Audit, content))
}

fn row(page: &PageCall, it: &Value) -> Markup {
    let (action, object) = (text(it, "action"), text(it, "target"));
    let actor = text(it, "actor");
    html! {
        tr id=(text(it, "id")) {
            td { (parts::time(text(it, "at"))) }
            td { @if actor.starts_with("key_") { a href=(page.link(&format!("/console/keys#{actor}"))) { code { (actor) } } } @else { (parts::visible(actor)) } }
            th scope="row" { code { (action) } }
            td { @match link(action, object) { Some(url) => a href=(page.link(&url)) { code { (parts::visible(object)) } }, None => (parts::visible(object)) } }
            td { (parts::visible(text(it, "detail"))) }
            @if page.who.is_operator { td { (parts::visible(it["company_id"].as_str().unwrap_or("–"))) } }
        }
    }
}

/// The page of the object.
fn link(action: &str, object: &str) -> Option<String> {
    let encoded: String = form_urlencoded::byte_serialize(object.as_bytes()).collect();
    let is_event = uuid::Uuid::parse_str(object).is_ok();
    match action.split('.').next()? {
        "key" => Some(format!("/console/keys#{encoded}")),
        "event" | "events" if is_event => Some(format!("/console/events/{encoded}")),
        "plugin" | "shadow" | "secret" if object != "plugins" => Some(format!("/console/plugins/{encoded}")),
        _ => None,
    }
}
