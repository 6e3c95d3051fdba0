//! `/console/events/{id}/edit`: a copy of an event with another body.

use serde_json::{Value, json};
use warp::http::StatusCode;

use super::super::client::target;
use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::{PageReply, Section};
use super::edit_form::{EditedCopy, content, not_editable};
use super::event_head;
use crate::http::console::parts;
use crate::model::ids::new_id;
use crate::model::time::now;

const TITLE: &str = "Edit and replay a copy";

/// `GET /console/events/{id}/edit`: the body as it was sent, as text.
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    // Reads the body, which the API audits.
    let event = page.client.get(&format!("/v1/events/{}", page.parameter("id"))).await?;
    let body = event["body"].as_str().map(str::to_owned);
    let why = body.as_ref().map_or_else(
        || Some("The body of this event is not stored, or has been erased.".to_owned()),
        |it| not_editable(it),
    );
    let body = body.unwrap_or_default();
    let edited = EditedCopy {
        has_crlf: body.contains("\r\n"),
        body,
        content_type: parts::text(&event, "content_type").to_owned(),
        key: new_id(now()).to_string(),
    };
    let shown = match &why {
        Some(why) => super::edit_form::refused(&page, &event, why),
        None => content(&page, &event, &edited, None, None),
    };
    Ok(PageReply::html(&page, TITLE, Section::Events, shown))
}

/// `POST /console/events/{id}/edit`: stores and processes the copy, or only says what would become of it.
pub(in super::super) async fn post(page: PageCall) -> Result<PageReply, PageFailure> {
    let edited = EditedCopy::sent(&page);
    let tries = page.form("dry_run").is_some();
    let mut asked = json!({ "body": edited.body, "dry_run": tries });
    if !edited.content_type.trim().is_empty() {
        asked["content_type"] = edited.content_type.trim().into();
    }
    let path = format!("/v1/events/{}/copy", page.parameter("id"));
    // What is only tried has another body each time.
    let key = [("idempotency-key", edited.key.as_str())];
    let headers = if tries { &[][..] } else { &key[..] };
    let answered = page.client.post_with(&path, headers, &asked).await;
    match answered {
        Ok(made) if !tries => {
            let id = parts::text(&made["event"], "id");
            Ok(PageReply::redirect(&page.link(&target(&format!("/console/events/{id}"), [("done", Some("copied"))]))))
        }
        Ok(would) => Ok(again(&page, &edited, Some(&would), None).await),
        Err(failure) => Ok(again(&page, &edited, None, Some(failure)).await),
    }
}

/// The form again, with a result. It has what was entered, also if the event cannot be read any more.
async fn again(page: &PageCall, edited: &EditedCopy, would: Option<&Value>, failure: Option<PageFailure>) -> PageReply {
    let (event, failure) = match event_head(page).await {
        Ok(event) => (event, failure),
        Err(unread) => (json!({ "id": page.parameter("id") }), failure.or(Some(unread))),
    };
    // A key names one body. After a failure it stays: the copy may have been stored.
    let key = if failure.as_ref().is_some_and(|it| it.code != "idempotency_conflict") {
        edited.key.clone()
    } else {
        new_id(now()).to_string()
    };
    let shown = content(page, &event, &EditedCopy { key, ..edited.clone() }, would, failure.as_ref());
    let status = failure.map_or(StatusCode::OK, |it| it.status);
    PageReply::with_status(status, page, TITLE, Section::Events, shown)
}
