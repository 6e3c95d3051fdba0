//! `/console/plugins/{name}/diff` and `/shadow`: a candidate over stored history, and next to the live plugin.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::comparison::report;
use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};
use super::parts::{form_field, key_value, problem, text, time, visible};
use super::plugins::find;

/// `GET /console/plugins/{name}/diff`: what to compare.
pub(super) async fn diff(page: PageCall) -> Result<PageReply, PageFailure> {
    let name = page.parameter("name").to_owned();
    let plugin = find(&page, &name).await?;
    let content = diff_page(&page, &name, &plugin, None);
    Ok(PageReply::html(&page, &format!("{name} over history"), Section::Plugins, content))
}

/// `POST /console/plugins/{name}/diff`: runs it, for as long as it takes.
pub(super) async fn run_diff(page: PageCall) -> Result<PageReply, PageFailure> {
    let name = page.parameter("name").to_owned();
    // Without it, the comparison says why, and what was entered is shown again.
    let plugin = find(&page, &name).await.unwrap_or_default();
    let mut asked = json!({ "dir": page.form("dir").unwrap_or_default().trim(), "integration": name });
    for field in ["since", "until"] {
        if let Some(at) = page.form(field) {
            asked[field] = json!(day(at));
        }
    }
    if let Some(samples) = page.form("samples").and_then(|it| it.parse::<u64>().ok()) {
        asked["samples"] = json!(samples);
    }
    let result = page.client.post("/v1/admin/plugins/diff", &asked).await;
    let content = diff_page(&page, &name, &plugin, Some(&result));
    let status = result.err().map_or(warp::http::StatusCode::OK, |it| it.status);
    Ok(PageReply::with_status(status, &page, &format!("{name} over history"), Section::Plugins, content))
}

/// A date means its first moment.
fn day(text: &str) -> String {
    if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() }
}

fn diff_page(page: &PageCall, name: &str, plugin: &Value, result: Option<&Result<Value, PageFailure>>) -> Markup {
    html! {
        div.toolbar { h1 { (name) " over stored history" } a.button href=(page.link(&format!("/console/plugins/{name}"))) { "The plugin" } }
        @if page.who.is_operator { (diff_form(page, name, plugin)) } @else { (not_for_you(page, name)) }
        @match result {
            None => {},
            Some(Err(failure)) => (problem(failure)),
            Some(Ok(it)) => (report(page, it, page.form("values").is_some())),
        }
    }
}

fn not_for_you(page: &PageCall, name: &str) -> Markup {
    html! {
        div.notice {
            p { strong { "Only the operator runs a plugin over stored history, because the candidate is a folder on the server's machine." } }
            p { "You can " a href=(page.link(&format!("/console/bench/{name}"))) { "try single events on the bench" } ", and see how a "
                a href=(page.link(&format!("/console/plugins/{name}/shadow"))) { "shadow" } " compares. On the machine: " code { "hookmill plugin diff DIR" } "." }
        }
    }
}

fn diff_form(page: &PageCall, name: &str, plugin: &Value) -> Markup {
    let dir = page.app().config.live_plugins_dir();
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let folder = plugin["shadow"]["folder"].as_str().map_or(name, |it| it.trim_start_matches("../"));
    let proposed = dir.join(folder).display().to_string();
    html! {
        form.card.stack method="post" action=(page.link(&format!("/console/plugins/{name}/diff"))) data-module="busy" {
            (form_field(page))
            p { "Runs the plugin of a folder over the stored events of " strong { (name) } ", and compares with what was stored. Nothing is stored." }
            label for="dir" { "Folder on the server's machine" }
            input.wide #dir name="dir" required value=(page.form("dir").unwrap_or(&proposed));
            div.fields {
                div { label for="since" { "Received since" } input #since name="since" type="date" value=[page.form("since")]; }
                div { label for="until" { "Received before" } input #until name="until" type="date" value=[page.form("until")]; }
                div { label for="samples" { "Examples" } input #samples name="samples" type="number" min="0" max="1000" value=(page.form("samples").unwrap_or("10")); }
            }
            p { input #values type="checkbox" name="values" value="yes" checked[page.form("values").is_some()]; " " label for="values" { "Show values of the senders' data" } }
            div.row { button.primary type="submit" { "Compare" } span.muted.small { "The comparison is in the audit log. It may take minutes; leaving the page stops it." } }
            div.busy.row hidden role="status" { progress aria-label="Comparing" {} " Comparing… " span.seconds {} button type="button" { "Stop" } }
            div.failed role="alert" {}
        }
    }
}

/// `GET /console/plugins/{name}/shadow`
pub(super) async fn shadow(page: PageCall) -> Result<PageReply, PageFailure> {
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
