//! What is saved from the bench: fixtures, and new versions of a script.

use maud::html;
use serde_json::json;

use super::bench_page::BenchPage;
use super::form::{BenchForm, NamedFixture};
use super::show::tried;
use crate::http::console::page::PageCall;
use crate::http::console::page_failure::PageFailure;
use crate::http::console::page_reply::PageReply;
use crate::http::console::parts::{count, notice_ok, problem, text, visible};
use crate::http::console::plugin_facts::segment;

/// `POST /console/bench/{name}/fixture`
pub(in super::super) async fn fixture(page: PageCall) -> Result<PageReply, PageFailure> {
    let (bench, mut form) = (BenchPage::for_form(&page).await, BenchForm::sent(&page));
    let path = format!("/v1/admin/plugins/{}/fixtures", segment(page.parameter("name")));
    let saved = match form.saved_fixture() {
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
    if saved.is_ok() {
        form.fixture = NamedFixture::default();
    }
    let reply = bench.page(&page, &form, Some(notice), Some(&trial)).await;
    Ok(match status {
        Some(status) => reply.at(status),
        None => reply,
    })
}

/// `POST /console/bench/{name}/script`: live when the page is shown, or nothing has changed.
pub(in super::super) async fn script(page: PageCall) -> Result<PageReply, PageFailure> {
    let mut form = BenchForm::sent(&page);
    let path = format!("/v1/admin/plugins/{}/script", segment(page.parameter("name")));
    let change = json!({ "files": form.files, "base_digest": form.base });
    let saved = page.client.put(&path, &change).await;
    let bench = BenchPage::for_form(&page).await;
    let notice = match &saved {
        Ok(it) => {
            match &bench.script {
                Some(script) => form.take_script(script),
                None => text(it, "digest").clone_into(&mut form.base),
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
    let reply = bench.page(&page, &form, Some(notice), trial.as_ref()).await;
    Ok(match saved {
        Ok(_) => reply,
        Err(failure) => reply.at(failure.status),
    })
}
