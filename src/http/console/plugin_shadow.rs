//! `/console/plugins/{name}/shadow`: a candidate next to the live plugin.

use maud::html;

use super::comparison::report;
use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};
use super::parts::{key_value, problem, text, time, visible};

/// `GET /console/plugins/{name}/shadow`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let name = page.parameter("name").to_owned();
    let values = page.query("values") == Some("true");
    let got = page.client.get(&format!("/v1/admin/plugins/{name}/shadow?values={values}")).await;
    let content = html! {
        div.toolbar { h1 { "Shadow of " (name) } a.button href=(page.link(&format!("/console/plugins/{name}"))) { "The plugin" } }
        @match &got {
            Err(failure) => { (problem(failure)) p { "A shadow is a folder that plugin.toml of the live plugin names with " code { "shadow = \"../NAME-next\"" } "." } },
            Ok(it) => {
                section.card {
                    (key_value([
                        ("Version", html! { (visible(text(it, "version"))) }),
                        ("SHA-256", html! { code { (text(it, "sha256")) } }),
                        ("Since", html! { (time(text(it, "since"))) }),
                        ("Events not seen", html! { (it["dropped"].as_u64().unwrap_or_default()) }),
                    ]))
                    @if values { p { a href=(page.link_with(&[("values", None)])) { "Hide values" } } }
                    @else { p { a href=(page.link_with(&[("values", Some("true"))])) { "Show values of the senders' data" } span.muted { " (this is noted in the audit log)" } } }
                }
                (report(&page, it, values))
            }
        }
    };
    Ok(PageReply::html(&page, &format!("Shadow of {name}"), Section::Plugins, content))
}
