//! `/console/replays`: replays of many events, and how far they are.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::super::client::target;
use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::{PageReply, Section};
use super::super::parts;
use super::event_link;

/// `GET /console/replays`
pub(in super::super) async fn list(page: PageCall) -> Result<PageReply, PageFailure> {
    let jobs = page.client.get("/v1/admin/replays").await?;
    let jobs = jobs["data"].as_array().map_or(&[][..], Vec::as_slice);
    let content = html! {
        div.toolbar {
            h1 { "Replays" }
            a.button href=(page.link("/console/events/replay?status=quarantined")) { "Replay many events" }
        }
        section.card {
            @if jobs.is_empty() {
                (parts::empty_state("No replays of many events", &html! {
                    "The newest 20 replays are listed here; a server with a data directory forgets them when it restarts. To begin one, "
                    a href=(page.link("/console/events/replay?status=quarantined")) { "choose events" } "."
                }))
            } @else { (rows(&page, jobs)) }
        }
    };
    Ok(PageReply::html(&page, "Replays", Section::Events, content))
}

/// `GET /console/replays/{id}`
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let job = page.client.get(&format!("/v1/admin/replays/{}", page.parameter("id"))).await?;
    let running = job["ended_at"].is_null();
    let content = html! {
        div.toolbar {
            h1 { "Replay of many events" }
            a href=(page.link("/console/replays")) { "All replays" }
        }
        div #job data-module=[running.then_some("progress")] { (content(&page, &job)) }
    };
    Ok(PageReply::html(&page, "Replay of many events", Section::Events, content))
}

/// `POST /console/replays/{id}/stop`
pub(in super::super) async fn stop(page: PageCall) -> Result<PageReply, PageFailure> {
    let id = page.parameter("id");
    page.client.post(&format!("/v1/admin/replays/{id}/stop"), &json!({})).await?;
    Ok(PageReply::redirect(&page.link(&format!("/console/replays/{id}"))))
}

fn rows(page: &PageCall, jobs: &[Value]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Replays" {
            table {
                thead { tr { th { "Begun" } th { "By" } th { "State" } th.number { "Done" } th.number { "Of" } th.number { "Failed" } th { "Replay" } } }
                tbody {
                    @for it in jobs {
                        @let id = parts::text(it, "id");
                        tr {
                            td { (parts::time(parts::text(it, "started_at"))) }
                            td { (parts::visible(parts::text(it, "started_by"))) }
                            td { (state_chip(it)) }
                            td.number { (number(it, "done")) }
                            td.number { (number(it, "total")) }
                            td.number { (number(it, "failed")) }
                            td { a.mono href=(page.link(&format!("/console/replays/{id}"))) { (id) } }
                        }
                    }
                }
            }
        }
    }
}

fn content(page: &PageCall, job: &Value) -> Markup {
    let running = job["ended_at"].is_null();
    let (done, total) = (job["done"].as_u64().unwrap_or(0), job["total"].as_u64().unwrap_or(0));
    let id = parts::text(job, "id");
    html! {
        section.card aria-labelledby="state" {
            h2 #state { (state_chip(job)) " " (parts::count(done)) " of " (parts::count(total)) " events" }
            progress aria-label="Events that were replayed" value=(done) max=(total.max(1)) { (done) " of " (total) }
            p role="status" { (sentence(job)) }
            @if !job["error"].is_null() {
                div.notice.notice-bad { p { (parts::visible(parts::text(job, "error"))) } }
            }
            div.row {
                @if running {
                    form method="post" action=(page.link(&format!("/console/replays/{id}/stop"))) {
                        (parts::form_field(page))
                        button.danger type="submit" { "Stop" }
                    }
                    a href=(page.link(&format!("/console/replays/{id}"))) { "Show the current state" }
                }
            }
        }
        (failures(page, job))
        section.card aria-labelledby="counts" {
            h2 #counts { "Details" }
            (parts::key_value([
                ("Tasks created", html! { (number(job, "created")) }),
                ("Tasks updated", html! { (number(job, "updated")) }),
                ("Left alone", html! { (number(job, "left")) " events have tasks, and stayed as they are" }),
                ("Not possible", html! { (number(job, "not_replayable")) " events cannot be replayed" }),
                ("Per second", html! { (job["per_second"]) " events" }),
                ("Begun", html! { (parts::time(parts::text(job, "started_at"))) " by " (parts::visible(parts::text(job, "started_by"))) }),
                ("Ended", html! { @if running { span.muted { "not yet" } } @else { (parts::time(parts::text(job, "ended_at"))) } }),
                ("Filter", html! { code { (parts::visible(&job["filter"].to_string())) } }),
            ]))
        }
    }
}

/// Failures by their reason, with links to the events.
fn failures(page: &PageCall, job: &Value) -> Markup {
    let all = job["failures"].as_array().map_or(&[][..], Vec::as_slice);
    let integrations: Vec<_> =
        job["filter"]["integration"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let joined = integrations.join(",");
    let of = Some(joined.as_str()).filter(|it| !it.is_empty());
    let list = |reason: &str| {
        let query = [("status", Some("quarantined")), ("reason", Some(reason)), ("integration", of)];
        page.link(&target("/console/events", query))
    };
    html! {
        @if !all.is_empty() {
            section.card aria-labelledby="failures" {
                h2 #failures { "Failures" }
                div.scroll tabindex="0" role="region" aria-label="Failures by their reason" {
                    table {
                        thead { tr { th { "Reason" } th.number { "Events" } th { "The first of them" } } }
                        tbody {
                            @for it in all {
                                @let reason = parts::text(it, "reason");
                                tr {
                                    td.whole { a href=(list(reason)) { code { (parts::visible(reason)) } } }
                                    td.number { (number(it, "count")) }
                                    td { @for id in it["events"].as_array().into_iter().flatten().filter_map(Value::as_str) { div { (event_link(page, id)) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn sentence(job: &Value) -> String {
    let by = parts::text(job, "stopped_by");
    if job["ended_at"].is_null() && !by.is_empty() {
        return format!("It is being stopped by {by}.");
    }
    match parts::text(job, "state") {
        "waiting" => "It waits for replays of other companies.".into(),
        "searching" => "It looks for its events.".into(),
        "running" => "It is replaying events.".into(),
        "paused" => "It waits until the server has fewer other requests.".into(),
        "done" => "It has ended.".into(),
        "interrupted" => "The server that ran it has ended, or was cut off. What was replayed until then stays.".into(),
        "stopped" => format!("It was stopped by {by}. What was replayed until then stays."),
        _ => "It could not go on. What was replayed until then stays.".into(),
    }
}

fn state_chip(job: &Value) -> Markup {
    parts::status_chip(parts::text(job, "state"))
}

fn number(value: &Value, name: &str) -> String {
    parts::count(value[name].as_u64().unwrap_or(0))
}
