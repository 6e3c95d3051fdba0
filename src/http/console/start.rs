//! `/console`: the overview.

use maud::html;

use super::page::PageCall;
use super::page_failure::PageFailure;
use super::page_reply::{PageReply, Section};

/// `GET /console`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    Ok(PageReply::html(&page, "Overview", Section::Overview, html! { h1 { "Overview" } }))
}
