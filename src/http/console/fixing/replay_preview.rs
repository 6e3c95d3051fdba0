//! What a replay of many events would do, and the form that begins it.

use maud::{Markup, html};
use serde_json::Value;

use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::parts;
use super::replay_asked::{AskedReplay, TITLE};
use super::{event_rows, tasks_choice};

/// Statuses of events that can be replayed.
const STATUSES: [&str; 5] = ["quarantined", "captured", "skipped", "duplicate", "stored"];

/// The page.
pub(super) fn content(
    page: &PageCall,
    asked: &AskedReplay,
    preview: Option<&Value>,
    failure: Option<&PageFailure>,
    plugins: &Value,
) -> Markup {
    html! {
        div.toolbar {
            h1 { (TITLE) }
            a href=(page.link("/console/replays")) { "Replays so far" }
        }
        @if let Some(failure) = failure { (parts::problem(failure)) }
        section.card aria-labelledby="which" {
            h2 #which { "Which events" }
            (filters(page, asked, plugins))
        }
        @if !asked.unknown.is_empty() {
            div.notice.notice-warn role="alert" {
                p {
                    strong { "A replay has no filter " (asked.unknown.join(", ")) ". " }
                    "Without it, more events match than the list shows. Choose the events with the filters above."
                }
            }
        } @else if let Some(preview) = preview {
            (matching(page, asked, preview))
        }
    }
}

fn filters(page: &PageCall, asked: &AskedReplay, plugins: &Value) -> Markup {
    let names = plugins["data"].as_array().into_iter().flatten().filter_map(|it| it["name"].as_str());
    let status = asked.text("status");
    html! {
        form.stack method="get" action="/console/events/replay" {
            @if let Some(company) = page.query("company") { input type="hidden" name="company" value=(company); }
            div.fields {
                div {
                    label for="integration" { "Integration" }
                    input #integration name="integration" type="text" list="integrations" value=(asked.text("integration")) autocomplete="off";
                    datalist #integrations { @for it in names { option value=(it) {} } }
                }
                div {
                    label for="status" { "Status" }
                    select #status name="status" {
                        option value="" { "any" }
                        @for it in STATUSES { option value=(it) selected[it == status] { (it) } }
                        @if status.contains(',') { option value=(status) selected { (status) } }
                    }
                }
                div { label for="reason" { "Stage or error code" } input #reason name="reason" type="text" value=(asked.text("reason")) autocomplete="off"; }
                div { label for="since" { "Received since" } input #since name="since" type="text" value=(asked.text("since")) placeholder="2026-12-01T09:00:00Z" autocomplete="off"; }
                div { label for="until" { "Received before" } input #until name="until" type="text" value=(asked.text("until")) placeholder="2026-12-02T09:00:00Z" autocomplete="off"; }
                div { label for="id" { "Text in the id" } input #id name="id" type="text" value=(asked.text("id")) autocomplete="off"; }
            }
            (tasks_choice(asked.tasks))
            button type="submit" { "Show what matches" }
        }
    }
}

fn matching(page: &PageCall, asked: &AskedReplay, preview: &Value) -> Markup {
    let count = |name: &str| preview[name].as_u64().unwrap_or(0);
    let exact = preview["is_exact"] == true;
    let more = if exact { "" } else { "more than " };
    let events = preview["events"].as_array().map_or(&[][..], Vec::as_slice);
    let (matching, to_replay) = (count("matching"), count("to_replay"));
    let facts = [
        (
            1,
            ("Replayed", html! { strong { (more) (parts::count(to_replay)) } ", one after another, the oldest first" }),
        ),
        (
            count("with_tasks"),
            ("With tasks", html! { (parts::count(count("with_tasks"))) " of them have tasks, which are updated" }),
        ),
        (count("left"), ("Left alone", html! { (parts::count(count("left"))) " have tasks, and stay as they are" })),
        (
            count("not_replayable"),
            (
                "Not possible",
                html! { (parts::count(count("not_replayable"))) " cannot be replayed (rejected, erased or repeated)" },
            ),
        ),
    ];
    if matching == 0 {
        return html! {
            section.card {
                (parts::empty_state("No events match", &html! { "Change the filters above, or look at " a href=(page.link("/console/events")) { "all events" } "." }))
            }
        };
    }
    html! {
        section.card aria-labelledby="what" {
            h2 #what { (more) (parts::count(matching)) " events match" }
            (parts::key_value(facts.into_iter().filter(|(number, _)| *number > 0).map(|(_, it)| it)))
            @if to_replay > 0 {
                form.stack method="post" action=(page.link("/console/events/replay")) {
                    (parts::form_field(page))
                    @for (name, value) in &asked.filters { input type="hidden" name=(name) value=(value); }
                    input type="hidden" name="tasks" value=(asked.tasks);
                    input type="hidden" name="newest" value=(parts::text(preview, "newest"));
                    @if exact { input type="hidden" name="expect" value=(matching); }
                    button.primary type="submit" { "Replay " (more) (parts::count(to_replay)) " events" }
                    p.muted.small { "It runs on the server, and pauses while that is busy. You can stop it at any time. Events that arrive from now on are not part of it." }
                }
            }
        }
        section.card aria-labelledby="first" {
            h2 #first { "The newest of them" }
            (event_rows(page, events))
        }
    }
}
