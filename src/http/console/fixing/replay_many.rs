//! `/console/events/replay`: replays the events of a filter, after a preview.

use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::{PageReply, Section};
use super::super::parts;
use super::replay_asked::{AskedReplay, TITLE};
use super::replay_preview::content;

/// `GET /console/events/replay`: what would be replayed.
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let asked = AskedReplay::of(page.query_all());
    shown(&page, &asked, None).await
}

/// `POST /console/events/replay`: begins.
pub(in super::super) async fn post(page: PageCall) -> Result<PageReply, PageFailure> {
    let asked = AskedReplay::of(page.form_all());
    let mut body = asked.body();
    if let Some(newest) = page.form("newest") {
        body["newest"] = newest.into();
    }
    if let Some(expect) = page.form("expect").and_then(|it| it.parse::<u64>().ok()) {
        body["expect"] = expect.into();
    }
    match page.client.post("/v1/admin/replays", &body).await {
        Ok(job) => Ok(PageReply::redirect(&page.link(&format!("/console/replays/{}", parts::text(&job, "id"))))),
        Err(failure) => shown(&page, &asked, Some(&failure)).await,
    }
}

async fn shown(page: &PageCall, asked: &AskedReplay, failure: Option<&PageFailure>) -> Result<PageReply, PageFailure> {
    let mut body = asked.body();
    body["dry_run"] = true.into();
    let preview = page.client.post("/v1/admin/replays", &body).await;
    let own = preview.as_ref().err();
    let status = failure.or(own).map(|it| it.status);
    let plugins = page.client.get("/v1/admin/plugins").await.unwrap_or_default();
    let content = content(page, asked, preview.as_ref().ok(), failure.or(own), &plugins);
    Ok(match status {
        None => PageReply::html(page, TITLE, Section::Events, content),
        Some(status) => PageReply::with_status(status, page, TITLE, Section::Events, content),
    })
}
