//! `/console/events/compare`: two events next to each other.

use maud::{Markup, html};
use serde_json::Value;
use warp::http::StatusCode;

use super::super::client::target;
use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::{PageReply, Section};
use super::super::parts;
use super::{head, text};
use crate::auth::Scope;
use crate::format::diff::{Differences, differences};

/// Most tasks of an event that are compared.
const TASKS: usize = 20;

/// `GET /console/events/compare?a=…&b=…`
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let (Some(a), Some(b)) = (page.query("a").map(str::to_owned), page.query("b").map(str::to_owned)) else {
        let message = "Choose two events: with “Compare” in the list of events, first one, then the other.";
        return Err(PageFailure::own(StatusCode::UNPROCESSABLE_ENTITY, "invalid_query", message));
    };
    let with_bodies = page.query("body").is_some() && page.who.can(Scope::Admin);
    let (one, other) = (read(&page, &a, with_bodies).await?, read(&page, &b, with_bodies).await?);
    let (tasks, other_tasks) = (tasks(&page, &one).await?, tasks(&page, &other).await?);
    let content = html! {
        nav aria-label="Breadcrumb" { a href=(page.link("/console/events")) { "Events" } }
        h1 { "Compare two events" }
        section.card aria-labelledby="fields" { h2 #fields { "Fields" } (side_by_side(&page, &one, &other)) }
        section.card #payloads aria-labelledby="payloads-title" {
            h2 #payloads-title { "Payloads" }
            @if with_bodies { (difference_table(&differences(&one["payload"], &other["payload"]))) }
            @else if page.who.can(Scope::Admin) {
                p { "Both may contain a patient's data. The audit log records who has seen them." }
                p { a.button href={ (page.link_with(&[("body", Some("1"))])) "#payloads" } { "Compare the payloads" } }
            } @else {
                p.muted { "Payloads are shown to keys with the scope admin." }
            }
        }
        section.card aria-labelledby="tasks" {
            h2 #tasks { "Tasks" }
            @if tasks.is_empty() && other_tasks.is_empty() { p.muted { "Neither has created a task that still exists." } }
            @else { (difference_table(&differences(&Value::Array(tasks), &Value::Array(other_tasks)))) }
        }
        p { a href=(page.link(&format!("/console/events/compare?a={b}&b={a}"))) { "Swap them" } }
    };
    Ok(PageReply::html(&page, "Compare events", Section::Events, content))
}

async fn read(page: &PageCall, id: &str, with_body: bool) -> Result<Value, PageFailure> {
    let event = head(&page.client, id).await?;
    if !with_body || !super::body::is_there(&event) {
        return Ok(event);
    }
    page.client.get(&format!("/v1/events/{}", text(&event, "id"))).await
}

/// The tasks of an event that can still be read.
async fn tasks(page: &PageCall, event: &Value) -> Result<Vec<Value>, PageFailure> {
    let mut found = Vec::new();
    if !page.who.can(Scope::TasksRead) {
        return Ok(found);
    }
    for id in event["task_ids"].as_array().into_iter().flatten().take(TASKS).filter_map(Value::as_str) {
        match page.client.get(&target(&format!("/v1/tasks/{id}"), [])).await {
            Ok(task) => found.push(task),
            Err(failure) if failure.status == StatusCode::NOT_FOUND => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(found)
}

fn side_by_side(page: &PageCall, one: &Value, other: &Value) -> Markup {
    let fields = [
        ("received_at", "Received"),
        ("integration", "Integration"),
        ("status", "Status"),
        ("reason", "Reason"),
        ("attempts", "Attempts"),
        ("content_type", "Content type"),
        ("body_bytes", "Size"),
        ("path", "Path"),
        ("provenance", "Provenance"),
        ("headers", "Headers"),
        ("query", "Query"),
    ];
    let link = |event: &Value| {
        let id = text(event, "id");
        html! { a.mono href=(page.link(&format!("/console/events/{id}"))) { (id) } }
    };
    html! {
        div.scroll role="region" aria-label="Fields of both events" tabindex="0" {
            table {
                thead { tr { th scope="col" { "Field" } th scope="col" { (link(one)) } th scope="col" { (link(other)) } } }
                tbody {
                    @for (field, name) in fields {
                        @if one.get(field).is_some() || other.get(field).is_some() {
                            @let differ = one[field] != other[field];
                            tr class=[differ.then_some("diff-changed")] {
                                th scope="row" { (name) @if differ { span.visually-hidden { " (different)" } } }
                                td { (value(&one[field])) }
                                td { (value(&other[field])) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn value(value: &Value) -> Markup {
    match value {
        Value::Null => html! { span.muted { "none" } },
        Value::String(text) => parts::visible(text),
        Value::Object(fields) => html! {
            @for (name, it) in fields { div.small { (parts::visible(name)) ": " (self::value(it)) } }
        },
        other => parts::visible(&other.to_string()),
    }
}

/// Places where two values differ, with both values.
fn difference_table(found: &Differences) -> Markup {
    let shown = |it: &Option<Value>, class: &'static str| {
        html! { td class=[it.is_some().then_some(class)] { @match it { Some(it) => (value(it)), None => { span.muted { "nothing" } } } } }
    };
    html! {
        @if found.shown.is_empty() { p { "No difference." } }
        @else {
            div.scroll role="region" aria-label="Differences" tabindex="0" {
                table {
                    thead { tr { th scope="col" { "Place" } th scope="col" { "First" } th scope="col" { "Second" } } }
                    tbody {
                        @for it in &found.shown {
                            tr {
                                th.mono scope="row" { @if it.pointer.is_empty() { "the whole" } @else { (parts::visible(&it.pointer)) } }
                                (shown(&it.expected, "diff-removed"))
                                (shown(&it.found, "diff-added"))
                            }
                        }
                    }
                }
            }
            @if found.omitted > 0 { p.muted { "and " (parts::count(found.omitted as u64)) " more places" } }
        }
    }
}
