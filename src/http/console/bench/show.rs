//! The pages of the bench that show and run something.

use maud::html;
use serde_json::Value;

use super::bench_page::BenchPage;
use super::form::BenchForm;
use super::result::result;
use crate::http::console::page::PageCall;
use crate::http::console::page_failure::PageFailure;
use crate::http::console::page_reply::{PageReply, Section};
use crate::http::console::parts::{empty_state, text, visible};
use crate::http::console::plugin_facts::segment;
use crate::http::console::plugins::state;

/// `GET /console/bench`: choose an integration.
pub(in super::super) async fn choose(page: PageCall) -> Result<PageReply, PageFailure> {
    let all = page.client.get("/v1/admin/plugins").await?;
    let company = page.who.company.as_ref().map(ToString::to_string);
    let is_own = |it: &&Value| company.as_deref().is_none_or(|own| it["company_id"] == own);
    let live = all["data"].as_array().into_iter().flatten().filter(|it| it["version"].is_string() && is_own(it));
    let live: Vec<_> = live.collect();
    let event = page.query("event").map(|it| format!("?event={}", segment(it))).unwrap_or_default();
    let content = html! {
        h1 { "Bench" }
        p { "Run a payload through an integration's schema and plugin, without storing anything." }
        @if live.is_empty() {
            (empty_state("No integration is live", &html! { "The " a href=(page.link("/console/plugins")) { "list of plugins" } " says why." }))
        } @else {
            ul.grid.plain { @for it in live { li.card {
                h2 { a href=(page.link(&format!("/console/bench/{}{event}", segment(text(it, "name"))))) { (visible(text(it, "name"))) } }
                p { (state(it)) " " @if it["abi"] == "script" { span class="chip" { "script, can be edited here" } } @else { span class="chip" { (text(it, "abi")) } } }
                p.muted { (visible(text(it, "description"))) }
            } } }
        }
    };
    Ok(PageReply::html(&page, "Bench", Section::Bench, content))
}

/// `GET /console/bench/{name}?event=ID`
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let bench = BenchPage::open(&page).await?;
    let form = BenchForm::stored(&page, bench.script.as_ref()).await?;
    // What an event comes to is shown at once.
    let trial = match form.event {
        // As it was sent: what is in the field may be larger than a request may be.
        Some(_) => {
            let sent = BenchForm { payload: String::new(), event: form.event.clone(), ..BenchForm::default() };
            Some(tried(&page, &sent).await)
        }
        None => None,
    };
    Ok(bench.page(&page, &form, None, trial.as_ref()).await)
}

/// `POST /console/bench/{name}`: runs what was entered.
pub(in super::super) async fn run(page: PageCall) -> Result<PageReply, PageFailure> {
    let (bench, form) = (BenchPage::for_form(&page).await, BenchForm::sent(&page));
    let trial = tried(&page, &form).await;
    let reply = bench.page(&page, &form, None, Some(&trial)).await;
    Ok(match &trial {
        Ok(_) => reply,
        Err(failure) => reply.at(failure.status),
    })
}

/// `POST /console/bench/{name}/result`: the same, for a script that puts the result into the page.
pub(in super::super) async fn run_part(page: PageCall) -> Result<PageReply, PageFailure> {
    let form = BenchForm::sent(&page);
    let trial = tried(&page, &form).await;
    Ok(PageReply::part(&page, html! { div #result { (result(&page, &form, &trial)) } }))
}

/// Runs a form.
pub(super) async fn tried(page: &PageCall, form: &BenchForm) -> Result<Value, PageFailure> {
    if form.event.is_none() && form.payload.trim().is_empty() {
        let status = warp::http::StatusCode::BAD_REQUEST;
        return Err(PageFailure::own(status, "empty_body", "Enter a payload, or open the bench from an event's page."));
    }
    let path = format!("/v1/admin/plugins/{}/try", segment(page.parameter("name")));
    page.client.post_text(&path, form.trial()?).await
}
