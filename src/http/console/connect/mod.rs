//! `/console/connect`: connecting a sender, from its choice to what arrived.

mod details;
pub(super) mod sender;

use std::collections::BTreeMap;

use maud::{Markup, html};
use serde_json::Value;

use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};
use super::parts;

/// `GET /console/connect`: the senders, by their kind.
pub(super) async fn list(page: PageCall) -> Result<PageReply, PageFailure> {
    let senders = page.client.get("/v1/admin/senders").await?;
    let wanted = page.query("q").unwrap_or_default().to_lowercase();
    let fits = |it: &&Value| {
        ["name", "title", "group"].iter().any(|field| parts::text(it, field).to_lowercase().contains(&wanted))
    };
    let mut groups: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for it in senders["data"].as_array().into_iter().flatten().filter(fits) {
        groups.entry(parts::text(it, "group")).or_default().push(it);
    }
    let content = html! {
        h1 { "Connect a sender" }
        section.card {
            p { "Choose who sends the webhooks. You get the URL, the lines for plugin.toml, where the secret belongs, and a test delivery." }
            form.row method="get" action="/console/connect" role="search" {
                @if let Some(company) = page.query("company") { input type="hidden" name="company" value=(company); }
                label for="q" { "Find a sender" }
                input #q name="q" type="search" value=(page.query("q").unwrap_or_default()) autocomplete="off";
                button type="submit" { "Find" }
            }
        }
        @if groups.is_empty() {
            section.card {
                (parts::empty_state("No sender has this name", &html! {
                    "A sender that is not listed can be described in a file of its own: see SENDER-FILES.md in the documentation. Or give it an API key with the scope hooks:write: "
                    a href=(page.link("/console/keys")) { "create a key" } "."
                }))
            }
        }
        div.grid { @for (group, all) in &groups { (kind(&page, group, all)) } }
    };
    Ok(PageReply::html(&page, "Connect a sender", Section::Connect, content))
}

fn kind(page: &PageCall, group: &str, all: &[&Value]) -> Markup {
    html! {
        section.card {
            h2 { (group) }
            ul {
                @for it in all {
                    @let used = it["integrations"].as_array().map_or(0, Vec::len);
                    li {
                        a href=(page.link(&format!("/console/connect/{}", parts::text(it, "name")))) { (parts::visible(parts::text(it, "title"))) }
                        " " (trust(parts::text(it, "trust")))
                        @if used > 0 { " " span.muted.small { (used) " connected" } }
                    }
                }
            }
        }
    }
}

/// How far the content of a sender's deliveries can be trusted.
fn trust(word: &str) -> Markup {
    let (class, text) = match word {
        "signed" => ("chip chip-ok", "signed"),
        "credential" => ("chip chip-info", "credential"),
        _ => ("chip chip-warn", "weak proof"),
    };
    html! { span class=(class) { (text) } }
}
