//! `/console`: what needs attention, charts, and the state of every integration.

mod charts;
mod integrations;

use maud::{Markup, html};
use serde_json::Value;

use super::client::target;
use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};
use super::parts::{self, text};
use crate::auth::Scope;

/// Windows: value, name, and in a sentence.
const WINDOWS: [(&str, &str, &str); 3] =
    [("1h", "1 hour", "the last hour"), ("24h", "24 hours", "the last 24 hours"), ("7d", "7 days", "the last 7 days")];

/// `GET /console`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    if !page.who.can(Scope::Admin) {
        return Ok(PageReply::html(&page, "Overview", Section::Overview, without_admin(&page)));
    }
    let window = page.query("window").unwrap_or("24h");
    let overview = page.client.get(&target("/v1/admin/overview", [("window", Some(window))])).await?;
    let during = WINDOWS.iter().find(|it| it.0 == window).map_or("the window", |it| it.2);
    let content = html! {
        div.toolbar {
            h1 { "Overview" }
            nav.segments aria-label="Window" {
                @for (value, name, _) in WINDOWS {
                    a href=(page.link_with(&[("window", Some(value))])) aria-current=[(value == window).then_some("true")] { (name) }
                }
            }
        }
        (attention(&page, &overview["attention"]))
        @if is_fresh(&overview) { (first_steps(&page)) }
        (incomplete(&overview))
        (charts::figures(&overview, during))
        (charts::all(&overview, during))
        (integrations::table(&page, &overview["integrations"], during))
    };
    Ok(PageReply::html(&page, "Overview", Section::Overview, content))
}

/// What a visitor may see who is no admin.
fn without_admin(page: &PageCall) -> Markup {
    let events = page.who.can(Scope::EventsRead) || page.who.can(Scope::TasksRead);
    html! {
        h1 { "Overview" }
        section.card {
            p { "Your key may not see the overview: it needs the scope " code { "admin" } "." }
            p {
                @if events { a href=(page.link("/console/events")) { "Events" } " " }
                @if page.who.can(Scope::TasksRead) { a href=(page.link("/console/tasks")) { "Tasks" } }
            }
        }
    }
}

fn attention(page: &PageCall, all: &Value) -> Markup {
    let all = all.as_array().map_or(&[][..], Vec::as_slice);
    html! {
        section.attention aria-labelledby="attention" {
            h2 #attention { "Needs attention" }
            @if all.is_empty() {
                p.all-well { span.chip.chip-ok { "✓ Nothing" } " Plugins, store and queue are as they should be." }
            } @else {
                ul {
                    @for it in all {
                        @let (class, name) = match text(it, "severity") {
                            "bad" => ("chip chip-bad", "Urgent"),
                            "warn" => ("chip chip-warn", "Warning"),
                            _ => ("chip chip-info", "Note"),
                        };
                        li {
                            span class=(class) { (name) }
                            p { (parts::visible(text(it, "message"))) }
                            a href=(page.link(text(it, "link"))) aria-label={"Look at: " (text(it, "kind").replace('_', " "))} { "Look" }
                        }
                    }
                }
            }
        }
    }
}

/// Whether nothing has arrived yet.
fn is_fresh(overview: &Value) -> bool {
    let buckets = overview["buckets"].as_array().map_or(&[][..], Vec::as_slice);
    buckets.iter().all(|it| it["events"].as_object().is_none_or(serde_json::Map::is_empty))
        && overview["complete_since"].is_null()
}

fn first_steps(page: &PageCall) -> Markup {
    html! {
        section.card.first-steps {
            h2 { "No deliveries in this window" }
            p { "If this server is new:" }
            ol {
                li { a href=(page.link("/console/connect")) { "Connect a sender" } ": choose it, and get the URL and what to paste where." }
                li { a href=(page.link("/console/keys")) { "Create an API key" } " for whoever sends or reads tasks." }
                li { a href=(page.link("/console/plugins")) { "Look at the plugins" } " that turn deliveries into tasks." }
            }
        }
    }
}

/// While a server that has just started still counts.
fn incomplete(overview: &Value) -> Markup {
    let since = overview["complete_since"].as_str();
    html! {
        @if let Some(since) = since {
            div.notice { p { "The server has just started, and still counts what it has stored: so far from " (parts::time(since)) " on." } }
        }
    }
}
