//! Fixing what went wrong: replaying events, editing copies, erasing.

pub(super) mod edit;
mod edit_form;
pub(super) mod erase;
mod replay_asked;
pub(super) mod replay_job;
pub(super) mod replay_many;
pub(super) mod replay_one;
mod replay_preview;

use maud::{Markup, html};
use serde_json::Value;
use warp::http::StatusCode;

use super::client::target;
use super::page::PageCall;
use super::page_failure::PageFailure;
use super::parts;

/// An event without what was sent, so that nothing is read that must be audited.
async fn event_head(page: &PageCall) -> Result<Value, PageFailure> {
    let id = page.parameter("id");
    let found = page.client.get(&target("/v1/events", [("id", Some(id)), ("limit", Some("1"))])).await?;
    let event = found["data"][0].clone();
    // Another event may have this text in its id only if it is not a whole one.
    if event["id"].as_str().is_some_and(|it| it.eq_ignore_ascii_case(id)) {
        Ok(event)
    } else {
        Err(PageFailure::own(StatusCode::NOT_FOUND, "not_found", "No such event."))
    }
}

/// A link to an event.
fn event_link(page: &PageCall, id: &str) -> Markup {
    html! { a.mono href=(page.link(&format!("/console/events/{id}"))) { (parts::visible(id)) } }
}

/// What a page says about the event that it is about.
fn about(page: &PageCall, event: &Value) -> Markup {
    let message = parts::text(&event["reason"], "message");
    html! {
        (parts::key_value([
            ("Event", event_link(page, parts::text(event, "id"))),
            ("Integration", parts::visible(parts::text(event, "integration"))),
            ("Received", parts::time(parts::text(event, "received_at"))),
            ("Status", parts::status_chip(parts::text(event, "status"))),
            ("Reason", html! {
                @if message.is_empty() { span.muted { "none" } } @else { (parts::visible(message)) }
            }),
        ]))
    }
}

/// Rows of events: time, integration, status, reason, id.
fn event_rows(page: &PageCall, events: &[Value]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Events" {
            table {
                thead { tr { th { "Received" } th { "Integration" } th { "Status" } th { "Reason" } th { "Event" } } }
                tbody {
                    @for it in events {
                        tr {
                            td { (parts::time(parts::text(it, "received_at"))) }
                            td { (parts::visible(parts::text(it, "integration"))) }
                            td { (parts::status_chip(parts::text(it, "status"))) }
                            td { (parts::visible(parts::text(&it["reason"], "code"))) }
                            td { (event_link(page, parts::text(it, "id"))) }
                        }
                    }
                }
            }
        }
    }
}

/// The choice of what happens to tasks that exist.
fn tasks_choice(chosen: &str) -> Markup {
    let choices = [
        ("leave", "Leave them as they are", "An event that has tasks is not run again."),
        (
            "update",
            "Update them",
            "The plugin runs again, and every field that it sets is overwritten, except the status.",
        ),
    ];
    html! {
        fieldset {
            legend { "Tasks that the events have already created" }
            @for (value, name, about) in choices {
                p {
                    label {
                        input type="radio" name="tasks" value=(value) checked[chosen == value];
                        " " (name)
                    }
                    br; span.muted.small { (about) }
                }
            }
        }
    }
}

/// The form's choice of what happens to tasks that exist.
fn chosen_tasks(value: Option<&str>) -> &'static str {
    if value == Some("update") { "update" } else { "leave" }
}
