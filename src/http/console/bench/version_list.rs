//! The versions of a script, below the bench.

use maud::{Markup, html};
use serde_json::Value;

use crate::http::console::page::PageCall;
use crate::http::console::parts::{empty_state, problem, text, time, visible};
use crate::http::console::plugin_facts::segment;

/// Digits of a digest that are shown.
pub(super) const DIGITS: usize = 12;

/// The list below the bench.
pub(super) async fn list(page: &PageCall, name: &str, current: &str) -> Markup {
    let path = format!("/v1/admin/plugins/{}/script/versions", segment(name));
    let found = page.client.get(&path).await;
    html! {
        section.card #versions {
            h2 { "Versions" }
            @match &found {
                Err(failure) => (problem(failure)),
                Ok(it) => @match it["data"].as_array().filter(|it| !it.is_empty()) {
                    None => (empty_state("No earlier versions", &html! { "Each version that you save here is kept, so that you can compare it and go back." })),
                    Some(all) => div.scroll { table {
                        thead { tr { th { "Saved" } th { "By" } th { "Version" } th { "SHA-256" } th { "" } } }
                        tbody { @for it in all { (row(page, name, it, current)) } }
                    } },
                },
            }
        }
    }
}

fn row(page: &PageCall, name: &str, it: &Value, current: &str) -> Markup {
    let digest = text(it, "digest");
    let is_current = it["is_current"] == true || digest == current;
    let link = format!("/console/bench/{}/script/{}", segment(name), segment(digest));
    html! {
        tr {
            td { (time(text(it, "at"))) }
            td { (visible(text(it, "by"))) }
            td { (visible(text(it, "version"))) }
            td { code title=(digest) { (digest.get(..DIGITS).unwrap_or(digest)) } }
            td {
                @if is_current { span class="chip chip-ok" { "current" } } @else {
                    div.row {
                        a href=(page.link(&link)) { "Compare" }
                        // Of the form above, so that what was entered there is kept.
                        button.link type="submit" form="bench" formaction=(page.link(&format!("{link}/restore"))) { "Go back to it" }
                    }
                }
            }
        }
    }
}
