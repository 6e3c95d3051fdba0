//! `/console/system`: the store, the servers, and the settings without secrets.

use maud::{Markup, html};
use serde_json::Value;

use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};
use super::parts::{self, text};

/// `GET /console/system`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let ready = page.client.get("/readyz").await;
    let plugins = page.client.get("/v1/admin/plugins").await?;
    let content = html! {
        h1 { "System" }
        section.card aria-labelledby="readiness" {
            h2 #readiness { "Readiness" }
            @match &ready { Ok(it) => (readiness(it)), Err(failure) => (parts::problem(failure)) }
        }
        (differing(&page, &plugins["data"]))
        @if page.who.is_operator {
            (section("servers", "Servers", &page.client.get("/v1/admin/nodes").await, servers))
            (section("store", "Store", &page.client.get("/v1/admin/store").await, store))
            (section("settings", "Settings", &page.client.get("/v1/admin/settings").await, settings))
        } @else {
            p.muted { "The operator also sees the store, the servers and the settings: " code { "hookmill console" } " on the server's machine prints a link." }
        }
    };
    Ok(PageReply::html(&page, "System", Section::System, content))
}

/// A part of the page; one that fails does not hide the others.
fn section(id: &str, title: &str, answer: &Result<Value, PageFailure>, show: fn(&Value) -> Markup) -> Markup {
    html! {
        section.card aria-labelledby=(id) {
            h2 id=(id) { (title) }
            @match answer { Ok(it) => (show(it)), Err(failure) => (parts::problem(failure)) }
        }
    }
}

fn readiness(it: &Value) -> Markup {
    let mut facts = vec![
        ("State", parts::status_chip(text(it, "status"))),
        (
            "Store",
            html! { (text(it, "store")) @if let Some(why) = it["store_error"].as_str() { ": " (parts::visible(why)) } },
        ),
        ("Version", html! { (env!("CARGO_PKG_VERSION")) }),
    ];
    let counts = [
        ("Live integrations", "integrations"),
        ("Plugins being loaded", "loading_plugins"),
        ("Refused plugins", "refused_plugins"),
        ("Integrations with weak proofs", "weak_integrations"),
        ("Plugins that differ between servers", "differing_plugins"),
        ("Unreadable queued events", "unreadable_events"),
    ];
    facts.extend(
        counts.iter().filter_map(|(name, field)| Some((*name, html! { (parts::count(it[*field].as_u64()?)) }))),
    );
    parts::key_value(facts)
}

/// Where servers on one database do not run the same plugins.
fn differing(page: &PageCall, plugins: &Value) -> Markup {
    let differing: Vec<_> = plugins.as_array().into_iter().flatten().filter(|it| it["nodes"].is_array()).collect();
    html! {
        @if !differing.is_empty() {
            section.card aria-labelledby="differing" {
                h2 #differing { "Plugins that are not the same on all servers" }
                div.scroll tabindex="0" role="region" aria-labelledby="differing" {
                    table {
                        thead { tr { th scope="col" { "Plugin" } th scope="col" { "Server" } th scope="col" { "Version" } th scope="col" { "Files, SHA-256" } th scope="col" { "Refused" } } }
                        tbody {
                            @for it in differing {
                                @for node in it["nodes"].as_array().into_iter().flatten() {
                                    tr {
                                        th scope="row" { a href=(page.link(&format!("/console/plugins/{}", text(it, "name")))) { (parts::visible(text(it, "name"))) } }
                                        td { (parts::visible(text(node, "node"))) @if node["is_this"] == true { " (this one)" } }
                                        td { (parts::visible(node["version"].as_str().unwrap_or("–"))) }
                                        td { code { (node["digest"].as_str().and_then(|it| it.get(..16)).unwrap_or("–")) } }
                                        td { (parts::visible(node["refused"].as_str().unwrap_or("–"))) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn servers(list: &Value) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-labelledby="servers" {
            table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "Role" } th scope="col" { "Version" } th.number scope="col" { "Live plugins" } th.number scope="col" { "Refused plugins" } } }
                tbody {
                    @for it in list["data"].as_array().into_iter().flatten() {
                        tr {
                            th scope="row" { (parts::visible(text(it, "name"))) @if it["is_this"] == true { " (this one)" } }
                            td { (text(it, "role")) }
                            td { (text(it, "version")) }
                            td.number { (it["live_plugins"].as_u64().map_or("–".into(), parts::count)) }
                            td.number { (it["refused_plugins"].as_u64().map_or("–".into(), parts::count)) }
                        }
                    }
                }
            }
        }
    }
}

fn store(it: &Value) -> Markup {
    let number = |field: &str| html! { (parts::count(it[field].as_u64().unwrap_or(0))) };
    let disk = it["disk"].as_object();
    let damages: Vec<&str> = it["damages"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    html! {
        @if !damages.is_empty() {
            div.notice.notice-bad role="alert" { ul { @for it in damages { li { (parts::visible(it)) } } } }
        }
        (parts::key_value([
            ("API keys", number("api_keys")),
            ("Idempotency keys", number("idempotency_keys")),
            ("Last durable change", number("sequence")),
            ("Segments to verify", number("unverified_segments")),
        ]))
        div.grid {
            div {
                h3 #disk { "On disk" }
                div.scroll tabindex="0" role="region" aria-labelledby="disk" {
                    table {
                        thead { tr { th scope="col" { "What" } th.number scope="col" { "Size" } } }
                        tbody { @for (name, size) in disk.into_iter().flatten() { tr { th scope="row" { (name) } td.number { (parts::bytes(size.as_u64().unwrap_or(0))) } } } }
                    }
                }
            }
            div {
                h3 #companies-stored { "Companies" }
                @let companies = it["companies"].as_array().map_or(&[][..], Vec::as_slice);
                @if companies.is_empty() { p.muted { "No tasks are stored yet." } } @else {
                    div.scroll tabindex="0" role="region" aria-labelledby="companies-stored" {
                        table {
                            thead { tr { th scope="col" { "Company" } th.number scope="col" { "Tasks" } th.number scope="col" { "Deleted" } th.number scope="col" { "Size" } } }
                            tbody {
                                @for it in companies.iter().take(SHOWN) {
                                    tr {
                                        th scope="row" { (parts::visible(text(it, "company_id"))) }
                                        td.number { (parts::count(it["tasks"].as_u64().unwrap_or(0))) }
                                        td.number { (parts::count(it["deleted_tasks"].as_u64().unwrap_or(0))) }
                                        td.number { (parts::bytes(it["task_bytes"].as_u64().unwrap_or(0))) }
                                    }
                                }
                            }
                        }
                    }
                    @if companies.len() > SHOWN { p.muted { "and " (companies.len() - SHOWN) " more; the API lists all" } }
                }
            }
        }
    }
}

/// Number of companies that are shown.
const SHOWN: usize = 100;

fn settings(list: &Value) -> Markup {
    html! {
        p.muted { "Secrets are never shown. Those in bold are not the default." }
        div.scroll tabindex="0" role="region" aria-labelledby="settings" {
            table {
                thead { tr { th scope="col" { "Setting" } th scope="col" { "Value" } th scope="col" { "Default" } } }
                tbody {
                    @for it in list["data"].as_array().into_iter().flatten() {
                        @let value = it["value"].as_str();
                        tr {
                            th scope="row" { code { (text(it, "name")) } }
                            td {
                                @match (value, it["is_default"] == true) {
                                    (None, _) => span.muted { "not set" },
                                    (Some(value), true) => (parts::visible(value)),
                                    (Some(value), false) => strong { (parts::visible(value)) },
                                }
                            }
                            td { @if it["is_default"] == true { "yes" } @else { "no" } }
                        }
                    }
                }
            }
        }
    }
}
