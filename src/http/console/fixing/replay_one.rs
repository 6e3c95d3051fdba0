//! `/console/events/{id}/replay`: runs one event again.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::super::client::target;
use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::{PageReply, Section};
use super::super::parts;
use super::{about, chosen_tasks, event_head, tasks_choice};

/// `GET /console/events/{id}/replay`: what will happen.
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let event = event_head(&page).await?;
    Ok(PageReply::html(&page, "Replay an event", Section::Events, content(&page, &event, None)))
}

/// `POST /console/events/{id}/replay`
pub(in super::super) async fn post(page: PageCall) -> Result<PageReply, PageFailure> {
    let id = page.parameter("id").to_owned();
    let asked = json!({ "tasks": chosen_tasks(page.form("tasks")) });
    match page.client.post(&format!("/v1/events/{id}/replay"), &asked).await {
        Ok(done) => {
            let count = |name: &str| done[name].as_u64().unwrap_or(0).to_string();
            let (created, updated, left) = (count("created"), count("updated"), count("left"));
            let counts = [("created", created.as_str()), ("updated", &updated), ("left", &left)];
            let counts = counts.into_iter().map(|(name, it)| (name, Some(it)));
            let path = target(&format!("/console/events/{id}"), [("done", Some("replayed"))].into_iter().chain(counts));
            Ok(PageReply::redirect(&page.link(&path)))
        }
        Err(failure) => {
            let event = event_head(&page).await.map_err(|_| failure.clone())?;
            let shown = content(&page, &event, Some(&failure));
            Ok(PageReply::with_status(failure.status, &page, "Replay an event", Section::Events, shown))
        }
    }
}

fn content(page: &PageCall, event: &Value, failure: Option<&PageFailure>) -> Markup {
    let id = parts::text(event, "id");
    let tasks = event["task_ids"].as_array().map_or(&[][..], Vec::as_slice);
    let impossible = impossible(event);
    html! {
        h1 { "Replay an event" }
        @if let Some(failure) = failure { (parts::problem(failure)) }
        section.card { (about(page, event)) }
        section.card {
            h2 { "What will happen" }
            @if let Some(why) = impossible {
                p { "This event cannot be replayed: " (why) "." }
            } @else {
                p { "The stored delivery runs through decoding, schema and plugin again, as they are now. The event keeps its id and its time. No task is created twice." }
            }
            @if !tasks.is_empty() {
                p { "It has created " (tasks.len()) " tasks:" }
                ul {
                    @for it in tasks.iter().filter_map(Value::as_str) {
                        li { a.mono href=(page.link(&format!("/console/tasks/{it}"))) { (it) } }
                    }
                }
            }
            @if impossible.is_none() {
                form.stack method="post" action=(page.link(&format!("/console/events/{id}/replay"))) {
                    (parts::form_field(page))
                    @if !tasks.is_empty() { (tasks_choice("leave")) }
                    div.row {
                        button.primary type="submit" { "Replay" }
                        a href=(page.link(&format!("/console/events/{id}"))) { "Cancel" }
                    }
                }
            }
        }
        p.small {
            a href=(page.link(&format!("/console/events/{id}/edit"))) { "Edit and replay a copy" }
            " if the delivery itself is wrong."
        }
    }
}

/// Why there is no button: the API would refuse it.
fn impossible(event: &Value) -> Option<&'static str> {
    match parts::text(event, "status") {
        "rejected" => Some("rejected events are stored without their body"),
        "queued" => Some("it is still queued"),
        "duplicate" if event["reason"]["code"] == "duplicate" => Some("a duplicate; replay the event that it repeats"),
        _ if !event["erased_at"].is_null() => Some("its content has been erased"),
        _ => None,
    }
}
