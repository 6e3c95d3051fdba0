//! What is saved from the bench: fixtures, and new versions of a script.

use maud::html;
use serde_json::json;
use warp::http::StatusCode;

use super::bench_page::BenchPage;
use super::form::BenchForm;
use super::show::tried;
use crate::http::console::page::PageCall;
use crate::http::console::page_failure::PageFailure;
use crate::http::console::page_reply::PageReply;
use crate::http::console::parts::{count, notice_ok, problem, text, visible};
use crate::http::console::plugin_facts::segment;

/// `POST /console/bench/{name}/fixture`
pub(in super::super) async fn fixture(page: PageCall) -> Result<PageReply, PageFailure> {
    let (bench, form) = (BenchPage::open(&page).await?, BenchForm::sent(&page));
    let path = format!("/v1/admin/plugins/{}/fixtures", segment(page.parameter("name")));
    let saved = match form.fixture(page.form("fixture").unwrap_or_default(), page.form("replace").is_some()) {
        Ok(body) => page.client.post_text(&path, body).await,
        Err(failure) => Err(failure),
    };
    let trial = tried(&page, &form).await;
    let (status, notice) = match &saved {
        Ok(it) => (
            None,
            notice_ok(
                &html! { p { "Saved as " code { (visible(text(it, "file"))) } ". Every new version must pass it." } },
            ),
        ),
        Err(failure) => (Some(failure.status), problem(failure)),
    };
    let reply = bench.page(&page, &form, Some(notice), Some(&trial)).await?;
    Ok(reply.at(status.unwrap_or(StatusCode::OK)))
}

/// `POST /console/bench/{name}/script`: live when the page is shown, or nothing has changed.
pub(in super::super) async fn script(page: PageCall) -> Result<PageReply, PageFailure> {
    let mut form = BenchForm::sent(&page);
    let path = format!("/v1/admin/plugins/{}/script", segment(page.parameter("name")));
    let change = json!({ "files": form.files, "base_digest": form.base });
    let saved = page.client.put(&path, &change).await;
    let bench = BenchPage::open(&page).await?;
    let notice = match &saved {
        Ok(it) => {
            if let Some(script) = &bench.script {
                form.take_script(script);
            }
            let fixtures = it["fixtures"].as_u64().unwrap_or_default();
            let said =
                if it["is_new"] == true { "Saved, and live" } else { "Nothing to save: this is the current version" };
            notice_ok(
                &html! { p { strong { (said) } @if it["is_new"] == true { ": version " (visible(text(it, "version"))) ", which has passed " (count(fixtures)) " fixtures" } "." } },
            )
        }
        Err(failure) => problem(failure),
    };
    let trial = match form.event.is_some() || !form.payload.trim().is_empty() {
        true => Some(tried(&page, &form).await),
        false => None,
    };
    let reply = bench.page(&page, &form, Some(notice), trial.as_ref()).await?;
    Ok(reply.at(saved.err().map_or(StatusCode::OK, |it| it.status)))
}
