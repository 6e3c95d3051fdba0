//! `/console/tasks`: tasks, and what each was made from.

use maud::{Markup, html};
use serde_json::Value;

use super::client::target;
use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};
use super::parts::{self, text};
use crate::auth::Scope;

/// The filters of the API that are text fields: name, and what it is.
const TEXTS: [(&str, &str); 3] = [("patient_id", "Patient"), ("assigned_user_id", "Assigned user"), ("type", "Type")];
/// Those with fixed values.
const CHOICES: [(&str, &str, &[&str]); 2] = [
    ("status", "Status", &["pending", "in_progress", "completed"]),
    ("priority", "Priority", &["low", "medium", "high", "urgent"]),
];
const LIMIT: &str = "50";

/// `GET /console/tasks`
pub(super) async fn list(page: PageCall) -> Result<PageReply, PageFailure> {
    let names = TEXTS.iter().map(|it| it.0).chain(CHOICES.iter().map(|it| it.0)).chain(["updated_since", "cursor"]);
    let query = names.map(|name| (name, page.query(name))).chain([("limit", Some(LIMIT))]);
    let (list, failure) = match page.client.get(&target("/v1/tasks", query)).await {
        Ok(list) => (list, None),
        // A filter that is wrong is shown in its form.
        Err(failure) if failure.code == "invalid" || failure.status == 422 => (Value::Null, Some(failure)),
        Err(failure) => return Err(failure),
    };
    let tasks = list["data"].as_array().map_or(&[][..], Vec::as_slice);
    let content = html! {
        h1 { "Tasks" }
        @if let Some(failure) = &failure { (parts::problem(failure)) }
        (filters(&page))
        section.card aria-label="Tasks" {
            @if tasks.is_empty() && failure.is_none() {
                (nothing(&page))
            } @else if !tasks.is_empty() {
                p.muted { (parts::count(list["pagination"]["total"].as_u64().unwrap_or(0))) " tasks match, newest first" }
                div.scroll tabindex="0" role="region" aria-label="Table of tasks" {
                    table {
                        thead { tr {
                            th scope="col" { "Title" } th scope="col" { "Status" } th scope="col" { "Priority" } th scope="col" { "Patient" }
                            th scope="col" { "Type" } th scope="col" { "Deadline" } th scope="col" { "Created" }
                        } }
                        tbody { @for it in tasks { (row(&page, it)) } }
                    }
                }
            }
            (parts::pager(&page, list["pagination"]["next_cursor"].as_str()))
        }
    };
    Ok(PageReply::html(&page, "Tasks", Section::Tasks, content))
}

fn filters(page: &PageCall) -> Markup {
    html! {
        form.card method="get" action="/console/tasks" role="search" aria-label="Filter tasks" {
            div.fields {
                @for (name, label) in TEXTS {
                    div { label for=(name) { (label) } input id=(name) name=(name) type="text" value=[page.query(name)] autocomplete="off"; }
                }
                @for (name, label, values) in CHOICES {
                    div {
                        label for=(name) { (label) }
                        select id=(name) name=(name) {
                            option value="" { "any" }
                            @for it in values { option value=(it) selected[page.query(name) == Some(*it)] { (it.replace('_', " ")) } }
                        }
                    }
                }
                div {
                    label for="updated_since" { "Updated since" }
                    input #updated_since name="updated_since" type="text" placeholder="2026-01-31T09:00:00Z" value=[page.query("updated_since")] autocomplete="off";
                }
                div { button.primary type="submit" { "Filter" } }
            }
        }
    }
}

fn nothing(page: &PageCall) -> Markup {
    let is_filtered = page.query_all().iter().any(|(name, value)| name != "company" && !value.is_empty());
    if is_filtered {
        return parts::empty_state(
            "No task matches",
            &html! { a href=(page.link("/console/tasks")) { "Show all tasks" } },
        );
    }
    let what = html! {
        "Tasks are made from deliveries: " a href=(page.link("/console/connect")) { "connect a sender" } ", or send one with "
        code { "POST /v1/tasks" } "."
    };
    parts::empty_state("No tasks yet", &what)
}

fn row(page: &PageCall, it: &Value) -> Markup {
    html! {
        tr {
            th scope="row" { a href=(page.link(&format!("/console/tasks/{}", text(it, "id")))) { (parts::visible(&short(text(it, "title")))) } }
            td { (parts::status_chip(text(it, "status"))) }
            td { (priority(text(it, "priority"))) }
            td { (parts::visible(&short(text(it, "patient_id")))) }
            td { (parts::visible(&short(text(it, "type")))) }
            td { (parts::time(text(it, "deadline"))) }
            td { (parts::time(text(it, "created_at"))) }
        }
    }
}

fn priority(it: &str) -> Markup {
    let class = if matches!(it, "high" | "urgent") { "chip chip-warn" } else { "chip" };
    html! { span class=(class) { (it) } }
}

/// The beginning of a text, for a table.
fn short(text: &str) -> String {
    const SHOWN: usize = 120;
    let mut short: String = text.chars().take(SHOWN).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// `GET /console/tasks/{id}`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let id: String = form_urlencoded::byte_serialize(page.parameter("id").as_bytes()).collect();
    let task = page.client.get(&format!("/v1/tasks/{id}")).await?;
    let made_from = match page.who.can(Scope::Admin) {
        true => Some(page.client.get(&format!("/v1/tasks/{id}/provenance")).await),
        false => None,
    };
    let task = task.get("data").unwrap_or(&task);
    let fields = task.as_object().into_iter().flatten().filter(|(name, _)| *name != "title" && *name != "description");
    let content = html! {
        h1 { (parts::visible(&short(text(task, "title")))) }
        section.card aria-labelledby="description" {
            h2 #description { "Description" }
            p { (folded(text(task, "description"))) }
        }
        section.card aria-labelledby="fields" {
            h2 #fields { "Fields" }
            (parts::key_value(fields.map(|(name, it)| (name.as_str(), value(name, it)))))
        }
        section.card aria-labelledby="provenance" {
            h2 #provenance { "Where it comes from" }
            @match &made_from {
                None => p.muted { "A key with the scope " code { "admin" } " sees the event, the plugin and the schema." },
                Some(Err(failure)) => (parts::problem(failure)),
                Some(Ok(it)) => (provenance(&page, it)),
            }
        }
        p { a href=(page.link("/console/tasks")) { "All tasks" } }
    };
    Ok(PageReply::html(&page, "Task", Section::Tasks, content))
}

fn value(name: &str, it: &Value) -> Markup {
    match it {
        Value::Null => html! { span.muted { "none" } },
        Value::String(text) if matches!(name, "created_at" | "updated_at" | "deadline") => parts::time(text),
        Value::String(text) if name == "status" => parts::status_chip(text),
        Value::String(text) => folded(text),
        Value::Array(all) if all.is_empty() => html! { span.muted { "none" } },
        other => html! { code { (folded(&other.to_string())) } },
    }
}

/// A text that may be long.
fn folded(text: &str) -> Markup {
    const WHOLE: usize = 2000;
    let Some((at, _)) = text.char_indices().nth(WHOLE) else { return html! { (parts::visible(text)) } };
    html! {
        (parts::visible(&text[..at])) "…"
        details { summary { "All " (parts::count(text.len() as u64)) " bytes" } (parts::visible(text)) }
    }
}

fn provenance(page: &PageCall, it: &Value) -> Markup {
    let it = it.get("data").unwrap_or(it);
    let event = text(it, "event_id");
    let integration = it["integration"].as_str();
    let digest = |field: &str| match it[field].as_str() {
        Some(digest) => html! { code { (digest) } },
        None => html! { span.muted { "none" } },
    };
    parts::key_value([
        (
            "Event",
            html! {
                @if it["event_expired"] == true { code { (event) } " (expired)" } @else { a href=(page.link(&format!("/console/events/{event}"))) { code { (event) } } }
            },
        ),
        (
            "Integration",
            html! {
                @match integration {
                    Some(name) if name != "tasks" => a href=(page.link(&format!("/console/plugins/{name}"))) { (parts::visible(name)) },
                    Some(name) => (parts::visible(name)),
                    None => span.muted { "not known" },
                }
            },
        ),
        (
            "Received",
            html! { @if let Some(at) = it["received_at"].as_str() { (parts::time(at)) } @else { span.muted { "not known" } } },
        ),
        ("Plugin version", html! { (parts::visible(it["plugin_version"].as_str().unwrap_or("none"))) }),
        ("Module, SHA-256", digest("module_sha256")),
        ("Script, SHA-256", digest("script_sha256")),
        ("Schema, SHA-256", digest("schema_sha256")),
    ])
}
