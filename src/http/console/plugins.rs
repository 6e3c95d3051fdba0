//! `/console/plugins`: every plugin folder with its state, and the page of one.

use maud::{Markup, html};
use serde_json::Value;

use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};
use super::parts::{count, empty_state, key_value, problem, status_chip, text, time, visible};
use super::plugin_facts::{calls, digests, limits, secrets, segment, shadow_line};

/// `GET /console/plugins`
pub(super) async fn list(page: PageCall) -> Result<PageReply, PageFailure> {
    let all = page.client.get("/v1/admin/plugins").await?;
    let company = page.who.company.as_ref().map(ToString::to_string);
    let is_of = |it: &&Value| match (&company, it["company_id"].as_str()) {
        (Some(company), Some(own)) if page.who.is_operator => company == own,
        _ => true,
    };
    let shown: Vec<&Value> = all["data"].as_array().into_iter().flatten().filter(is_of).collect();
    let content = html! {
        div.toolbar { h1 { "Plugins" } a.button href=(page.link("/console/bench")) { "Open the bench" } }
        @if shown.is_empty() {
            (empty_state("No plugins", &html! {
                "Put a folder with a plugin.toml into the server's plugins folder, or write one with "
                code { "hookmill plugin new NAME --from payload.json" } ". It goes live once it has passed its fixtures."
            }))
        } @else {
            section.card { div.scroll { table {
                thead { tr { th { "Plugin" } th { "State" } th { "Version" } th { "Kind" } th { "Sender" } th.number { "Calls" } th.number { "Failures" } th { "Live since" } } }
                tbody { @for it in &shown { (row(&page, it)) } }
            } } }
        }
    };
    Ok(PageReply::html(&page, "Plugins", Section::Plugins, content))
}

fn row(page: &PageCall, it: &Value) -> Markup {
    let name = text(it, "name");
    html! {
        tr {
            td {
                a href=(page.link(&format!("/console/plugins/{}", segment(name)))) { (visible(name)) }
                @if !text(it, "description").is_empty() { div.muted.small { (visible(text(it, "description"))) } }
                @if page.who.is_operator && page.who.company.is_none() { div.muted.small { (text(it, "company_id")) } }
            }
            td {
                (state(it))
                @if let Some(message) = it["message"].as_str() { div.small { (visible(message)) } }
            }
            td { (visible(text(it, "version"))) }
            td { (kind(it)) }
            td { (visible(it["sender"].as_str().unwrap_or("—"))) }
            td.number { (count(it["calls"]["calls"].as_u64().unwrap_or_default())) }
            td.number { (count(it["calls"]["failures"].as_u64().unwrap_or_default())) }
            td { @if let Some(at) = it["loaded_at"].as_str() { (time(at)) } }
        }
    }
}

/// The state as a chip: a version that is refused while an older one serves needs attention.
pub(super) fn state(it: &Value) -> Markup {
    match text(it, "state") {
        "outdated" => html! { span class="chip chip-bad" { "new version refused" } },
        other => status_chip(other),
    }
}

fn kind(it: &Value) -> &'static str {
    match text(it, "abi") {
        "script" => "script",
        "component" => "component",
        "command" => "WASI command",
        "none" => "captures only",
        _ => "—",
    }
}

/// `GET /console/plugins/{name}`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let name = page.parameter("name").to_owned();
    let plugin = find(&page, &name).await?;
    let fixtures = match plugin["version"].as_str() {
        Some(_) => Some(page.client.get(&format!("/v1/admin/plugins/{name}/fixtures")).await),
        None => None,
    };
    let content = html! {
        div.toolbar { h1 { (name) " " (state(&plugin)) } (links(&page, &name, &plugin)) }
        @if let Some(message) = plugin["message"].as_str() {
            div.notice.notice-bad role="alert" {
                p { strong { "The newest version is refused" } @if plugin["version"].is_string() { ", and version " (visible(text(&plugin, "version"))) " serves" } "." }
                p { (visible(message)) }
                p { "Fix the folder: the server tries it again as soon as a file changes." }
            }
        }
        @if !text(&plugin, "description").is_empty() { p { (visible(text(&plugin, "description"))) } }
        div.grid {
            section.card { h2 { "Version" } (facts(&plugin)) }
            section.card { h2 { "Calls since it went live" } (calls(&page, &plugin["calls"])) }
            section.card { h2 { "Limits of a call" } (limits(&plugin["limits"])) }
            section.card { h2 { "Secrets" } (secrets(&plugin)) }
        }
        section.card { h2 { "Fixtures" } @match &fixtures { None => p.muted { "None can be run before a version is live." }, Some(Ok(all)) => (fixture_table(&page, &name, all)), Some(Err(failure)) => (problem(failure)) } }
        section.card { h2 { "Shadow" } (shadow_line(&page, &name, &plugin["shadow"])) }
    };
    Ok(PageReply::html(&page, &name, Section::Plugins, content))
}

/// The plugin of this name, as the API shows it.
pub(super) async fn find(page: &PageCall, name: &str) -> Result<Value, PageFailure> {
    let all = page.client.get("/v1/admin/plugins").await?;
    let found = all["data"].as_array().into_iter().flatten().find(|it| it["name"] == name).cloned();
    found.ok_or_else(|| {
        let message = format!("You may see no plugin named \"{name}\". The list of plugins has the others.");
        PageFailure::own(warp::http::StatusCode::NOT_FOUND, "not_found", message)
    })
}

fn links(page: &PageCall, name: &str, plugin: &Value) -> Markup {
    html! {
        div.row {
            @if plugin["version"].is_string() {
                a.button.primary href=(page.link(&format!("/console/bench/{name}"))) { @if plugin["abi"] == "script" { "Try and edit" } @else { "Try" } }
                a.button href=(page.link(&format!("/console/events?integration={name}"))) { "Events" }
                a.button href=(page.link(&format!("/console/plugins/{name}/diff"))) { "Run over stored history" }
            }
        }
    }
}

fn facts(plugin: &Value) -> Markup {
    html! {
        (key_value([
            ("Version", html! { (visible(text(plugin, "version"))) }),
            ("Company", html! { (text(plugin, "company_id")) }),
            ("Kind", html! { (kind(plugin)) }),
            ("Sender", html! { (visible(plugin["sender"].as_str().unwrap_or("none named"))) }),
            ("Live since", html! { @if let Some(at) = plugin["loaded_at"].as_str() { (time(at)) } }),
            ("Deliveries", html! { @if plugin["captures"] == true { "captured only" } @else { "mapped to tasks" } }),
        ]))
        (digests(plugin))
    }
}

fn fixture_table(page: &PageCall, name: &str, all: &Value) -> Markup {
    let fixtures = all["data"].as_array().map_or(&[][..], Vec::as_slice);
    html! {
        @if fixtures.is_empty() {
            p { "There are none, so nothing tests a new version before it goes live. "
                a href=(page.link(&format!("/console/bench/{name}"))) { "Try an event on the bench" } " and save it as a fixture." }
        } @else {
            div.scroll { table {
                thead { tr { th { "File" } th { "Example of" } th { "State" } } }
                tbody { @for it in fixtures { tr {
                    td { code { (visible(text(it, "file"))) } }
                    td { (visible(text(it, "name"))) }
                    td {
                        @if it["passes"] == true { span class="chip chip-ok" { "passes" } } @else {
                            span class="chip chip-bad" { "fails" }
                            ul { @for failure in it["failures"].as_array().into_iter().flatten().take(5) { li.small { (visible(text(failure, "message"))) } } }
                        }
                    }
                } } }
            } }
        }
    }
}
