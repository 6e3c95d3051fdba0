//! The filters of the list of events: a form whose values are in the URL.

use maud::{Markup, html};

use super::super::client::target;
use super::super::page::PageCall;
use super::super::parts::whole_time;
use crate::auth::Scope;

/// Statuses, as the API names them.
const STATUSES: [&str; 7] = ["stored", "skipped", "quarantined", "captured", "queued", "duplicate", "rejected"];
/// Parameters of the API with one value.
const SINGLE: [&str; 10] =
    ["integration", "reason", "since", "until", "task_id", "id", "repeats", "text", "pointer", "value"];
/// Events on a page.
const LIMIT: &str = "50";

/// The filters that are set, as the API takes them.
pub(super) fn set(page: &PageCall) -> Vec<(&'static str, String)> {
    let single = SINGLE.iter().filter_map(|name| Some((*name, page.query(name)?.trim().to_owned())));
    let single = single.map(|(name, value)| if is_time(name) { (name, whole_time(&value)) } else { (name, value) });
    let statuses = page.query_all().iter().filter(|(name, value)| name == "status" && !value.is_empty());
    single.chain(statuses.map(|(_, value)| ("status", value.clone()))).collect()
}

/// The path of the API with the filters of this page.
pub(super) fn api_target(page: &PageCall) -> String {
    let set = set(page);
    let filters = set.iter().map(|(name, value)| (*name, Some(value.as_str())));
    target("/v1/events", filters.chain([("limit", Some(LIMIT)), ("cursor", page.query("cursor"))]))
}

/// The URL of the live tail with the filters of this page.
pub(super) fn tail_target(page: &PageCall) -> String {
    let set = set(page);
    let company = page.query("company");
    target(
        "/console/events/tail",
        set.iter().map(|(name, value)| (*name, Some(value.as_str()))).chain([("company", company)]),
    )
}

fn is_time(name: &str) -> bool {
    matches!(name, "since" | "until")
}

pub(super) fn form(page: &PageCall) -> Markup {
    let of_bodies = page.who.can(Scope::Admin);
    let more = ["reason", "since", "until", "task_id", "id", "repeats", "pointer", "value"];
    let is_open = more.iter().any(|it| page.query(it).is_some());
    let statuses: Vec<&str> =
        page.query_all().iter().filter(|(name, _)| name == "status").map(|(_, value)| value.as_str()).collect();
    html! {
        form.card.stack method="get" action="/console/events" role="search" aria-label="Filter events" {
            @for kept in ["company", "compare"] {
                @if let Some(value) = page.query(kept) { input type="hidden" name=(kept) value=(value); }
            }
            div.fields {
                @if of_bodies { (field(page, "text", "Words in payloads", "search", "jane invoice 12.50")) }
                (integration(page))
            }
            fieldset.row {
                legend { "Status" }
                @for it in STATUSES {
                    label { input type="checkbox" name="status" value=(it) checked[statuses.contains(&it)]; " " (it) }
                }
            }
            details open[is_open] {
                summary { "More filters" }
                div.fields {
                    (field(page, "reason", "Stage or code", "text", "schema"))
                    (field(page, "since", "Since", "text", "2026-11-27T09:00:00Z"))
                    (field(page, "until", "Until", "text", "2026-11-28"))
                    (field(page, "id", "Text in the event's id", "text", ""))
                    (field(page, "task_id", "Id of a task it created", "text", ""))
                    (field(page, "repeats", "Id of the event it repeats", "text", ""))
                    @if of_bodies {
                        (field(page, "pointer", "Place in the payload", "text", "/payload/email"))
                        (field(page, "value", "Value at this place", "text", "jane@example.com"))
                    }
                }
                p.small.muted { "Times without a zone are in UTC." }
            }
            div.row {
                button.primary type="submit" { "Show" }
                @if !set(page).is_empty() { a href=(page.link("/console/events")) { "Remove all filters" } }
            }
        }
    }
}

fn field(page: &PageCall, name: &str, label: &str, kind: &str, example: &str) -> Markup {
    let example = (!example.is_empty()).then_some(example);
    html! {
        div {
            label for={ "filter-" (name) } { (label) }
            input id={ "filter-" (name) } type=(kind) name=(name) value=[page.query(name)] placeholder=[example] autocomplete="off" spellcheck="false";
        }
    }
}

fn integration(page: &PageCall) -> Markup {
    let live = page.app().registry.list();
    let own = live.iter().filter(|it| page.who.company.as_ref() == Some(&it.company_id));
    html! {
        div {
            label for="filter-integration" { "Integration" }
            input #filter-integration type="text" name="integration" list="integrations" value=[page.query("integration")] autocomplete="off" spellcheck="false";
            datalist #integrations { option value="tasks" {} @for it in own { option value=(it.name) {} } }
        }
    }
}
