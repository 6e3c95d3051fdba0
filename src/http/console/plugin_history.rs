//! `/console/plugins/{name}/diff`: a candidate over stored history, how far that is, and what has come of it.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::comparison::report;
use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};
use super::parts::{count, form_field, problem, status_chip, text, time, visible};
use super::plugin_facts::segment;
use super::plugins::find;

/// `GET /console/plugins/{name}/diff`: what to compare.
pub(super) async fn form(page: PageCall) -> Result<PageReply, PageFailure> {
    let plugin = find(&page, page.parameter("name")).await?;
    let content = form_page(&page, &plugin, &earlier(&page).await?, None);
    Ok(PageReply::html(&page, &title(&page), Section::Plugins, content))
}

/// `POST /console/plugins/{name}/diff`: begins it.
pub(super) async fn begin(page: PageCall) -> Result<PageReply, PageFailure> {
    let name = page.parameter("name").to_owned();
    let mut asked = json!({ "dir": page.form("dir").unwrap_or_default().trim(), "integration": name });
    for field in ["since", "until"] {
        if let Some(at) = page.form(field) {
            asked[field] = json!(day(at));
        }
    }
    if let Some(samples) = page.form("samples").and_then(|it| it.parse::<u64>().ok()) {
        asked["samples"] = json!(samples);
    }
    match page.client.post("/v1/admin/comparisons", &asked).await {
        Ok(job) => {
            let values = if page.form("values").is_some() { "?values=true" } else { "" };
            let path = format!("/console/plugins/{}/diff/{}{values}", segment(&name), text(&job, "id"));
            Ok(PageReply::redirect(&page.link(&path)))
        }
        Err(failure) => {
            // What was entered is shown again, even if nothing else can be read.
            let plugin = find(&page, &name).await.unwrap_or_default();
            let content = form_page(&page, &plugin, &earlier(&page).await.unwrap_or_default(), Some(&failure));
            Ok(PageReply::html(&page, &title(&page), Section::Plugins, content).at(failure.status))
        }
    }
}

/// `GET /console/plugins/{name}/diff/{id}`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let job = page.client.get(&format!("/v1/admin/comparisons/{}", segment(page.parameter("id")))).await?;
    let running = job["ended_at"].is_null();
    let content = html! {
        div.toolbar { h1 { (title(&page)) } a.button href=(page.link(&own(&page, "/diff"))) { "Compare again" } }
        div #job data-module=[running.then_some("progress")] {
            (state(&page, &job))
            @if job["report"].is_object() { (report(&page, &job["report"], page.query("values") == Some("true"))) }
        }
    };
    Ok(PageReply::html(&page, &title(&page), Section::Plugins, content))
}

/// `POST /console/plugins/{name}/diff/{id}/stop`
pub(super) async fn stop(page: PageCall) -> Result<PageReply, PageFailure> {
    let id = segment(page.parameter("id"));
    page.client.post(&format!("/v1/admin/comparisons/{id}/stop"), &json!({})).await?;
    Ok(PageReply::redirect(&page.link(&own(&page, &format!("/diff/{id}{}", values(&page))))))
}

/// A date means its first moment.
fn day(text: &str) -> String {
    if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() }
}

fn title(page: &PageCall) -> String {
    format!("{} over stored history", page.parameter("name"))
}

/// Whether values are shown, for links.
fn values(page: &PageCall) -> &'static str {
    if page.query("values") == Some("true") { "?values=true" } else { "" }
}

/// A page of the plugin.
fn own(page: &PageCall, rest: &str) -> String {
    format!("/console/plugins/{}{rest}", segment(page.parameter("name")))
}

fn state(page: &PageCall, job: &Value) -> Markup {
    let running = job["ended_at"].is_null();
    let (done, total) = (job["done"].as_u64().unwrap_or(0), job["total"].as_u64().unwrap_or(0));
    let id = text(job, "id");
    html! {
        section.card aria-labelledby="state" {
            h2 #state { (status_chip(text(job, "state"))) " " (count(done)) " of " (count(total)) " events" }
            progress aria-label="Events that were examined" value=(done) max=(total.max(1)) { (done) " of " (total) }
            p role="status" { (sentence(job)) }
            @if let Some(error) = job["error"].as_str() { div.notice.notice-bad { p { (visible(error)) } } }
            p.muted.small { "Folder " code { (visible(text(job, "dir"))) } ". Begun " (time(text(job, "started_at")))
                @if !running { ", ended " (time(text(job, "ended_at"))) } "." }
            @if running {
                div.row {
                    form method="post" action=(page.link(&own(page, &format!("/diff/{id}/stop{}", values(page))))) {
                        (form_field(page))
                        button.danger type="submit" { "Stop" }
                    }
                    a href=(page.link_with(&[])) { "Show the current state" }
                }
            }
        }
    }
}

fn sentence(job: &Value) -> String {
    let by = text(job, "stopped_by");
    match text(job, "state") {
        "running" if !by.is_empty() => format!("It is being stopped by {by}."),
        "running" if job["total"] == 0 => "The candidate is loaded and its fixtures are run.".into(),
        "running" => "It runs over the stored events, oldest first. You may leave this page.".into(),
        "done" => "It has run over all of them.".into(),
        "stopped" => format!("It was stopped by {by}. The result has the events until then."),
        _ => "It could not go on.".into(),
    }
}

fn form_page(page: &PageCall, plugin: &Value, earlier: &Value, failure: Option<&PageFailure>) -> Markup {
    let name = page.parameter("name");
    html! {
        div.toolbar { h1 { (title(page)) } a.button href=(page.link(&own(page, ""))) { "The plugin" } }
        @if page.who.is_operator { (diff_form(page, name, plugin)) } @else { (not_for_you(page)) }
        @if let Some(failure) = failure { (problem(failure)) }
        (list(page, earlier["data"].as_array().map_or(&[][..], Vec::as_slice)))
    }
}

/// The comparisons of before: the operator's.
async fn earlier(page: &PageCall) -> Result<Value, PageFailure> {
    match page.who.is_operator {
        true => page.client.get("/v1/admin/comparisons").await,
        false => Ok(Value::Null),
    }
}

fn not_for_you(page: &PageCall) -> Markup {
    let bench = format!("/console/bench/{}", segment(page.parameter("name")));
    html! {
        div.notice {
            p { strong { "Only the operator runs a plugin over stored history, because the candidate is a folder on the server's machine." } }
            p { "You can " a href=(page.link(&bench)) { "try single events on the bench" } ", and see how a "
                a href=(page.link(&own(page, "/shadow"))) { "shadow" } " compares. On the machine: " code { "hookmill plugin diff DIR" } "." }
        }
    }
}

fn diff_form(page: &PageCall, name: &str, plugin: &Value) -> Markup {
    let dir = page.app().config.live_plugins_dir();
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let folder = plugin["shadow"]["folder"].as_str().map_or(name, |it| it.trim_start_matches("../"));
    let proposed = dir.join(folder).display().to_string();
    html! {
        form.card.stack method="post" action=(page.link(&own(page, "/diff"))) {
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
            div.row { button.primary type="submit" { "Compare" } span.muted.small { "The comparison is in the audit log. It may take minutes, and goes on if you leave the page." } }
        }
    }
}

/// The comparison that runs, and the last few.
fn list(page: &PageCall, jobs: &[Value]) -> Markup {
    let name = page.parameter("name");
    let own_jobs: Vec<_> = jobs.iter().filter(|it| it["integration"] == name).collect();
    html! {
        @if !own_jobs.is_empty() {
            section.card {
                h2 { "Earlier comparisons" }
                ul { @for it in own_jobs { li {
                    a href=(page.link(&own(page, &format!("/diff/{}", text(it, "id"))))) { (time(text(it, "started_at"))) } " " (status_chip(text(it, "state")))
                    " " (count(it["done"].as_u64().unwrap_or(0))) " events, " code { (visible(text(it, "dir"))) }
                } } }
            }
        }
    }
}
