//! `/console/connect/{sender}`: one sender, and test deliveries to its integrations.

use maud::{Markup, html};
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::{PageReply, Section};
use super::super::parts;
use super::details::{AskedName, content, test_again};

/// `GET /console/connect/{sender}`
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    let sender = page.client.get(&path(&page)).await?;
    Ok(shown(&page, &sender, StatusCode::OK, html! {}))
}

/// `POST /console/connect/{sender}`: sends a test delivery.
pub(in super::super) async fn test(page: PageCall) -> Result<PageReply, PageFailure> {
    let integration = page.form("integration").unwrap_or_default().to_owned();
    let asked = page.form("body").map_or_else(|| json!({}), |body| json!({ "body": body }));
    let known = integration.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-');
    if integration.is_empty() || !known {
        let none = PageFailure::own(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_field",
            "integration: choose one of those that use this sender",
        );
        return Ok(again(&page, none.status, parts::problem(&none)).await);
    }
    match page.client.post(&format!("/v1/admin/plugins/{integration}/test-delivery"), &asked).await {
        Ok(came) => Ok(again(&page, StatusCode::OK, result(&page, &came)).await),
        Err(failure) => Ok(again(&page, failure.status, parts::problem(&failure)).await),
    }
}

/// Its path in the API.
fn path(page: &PageCall) -> String {
    format!("/v1/admin/senders/{}", page.parameter("sender"))
}

/// The page after a test, with what was entered, also if the sender cannot be read.
async fn again(page: &PageCall, status: StatusCode, result: Markup) -> PageReply {
    match page.client.get(&path(page)).await {
        Ok(sender) => shown(page, &sender, status, result),
        Err(unread) => {
            let result = html! { (result) (parts::problem(&unread)) };
            let used = json!([{ "name": page.form("integration").unwrap_or_default(), "no_test": null }]);
            let name = page.parameter("sender");
            let sender = json!({ "name": name, "title": name, "used_by": used });
            PageReply::with_status(unread.status, page, "Connect", Section::Connect, test_again(page, &sender, &result))
        }
    }
}

fn shown(page: &PageCall, sender: &Value, status: StatusCode, result: Markup) -> PageReply {
    let title = format!("Connect {}", parts::text(sender, "title"));
    let asked = AskedName::of(page);
    let content = content(page, sender, &asked, &result);
    PageReply::with_status(status, page, &title, Section::Connect, content)
}

/// What became of a test delivery.
fn result(page: &PageCall, came: &Value) -> Markup {
    let event = &came["event"];
    let status = came["status"].as_u64().unwrap_or(0);
    let class = if (200..300).contains(&status) && event["status"] != "quarantined" {
        "notice notice-ok"
    } else {
        "notice notice-bad"
    };
    let id = parts::text(event, "id");
    html! {
        div class=(class) role="status" {
            p { strong { "The test was sent, signed with the integration's secret. The sender would have got " (status) "." } }
            @if !came["message"].is_null() { p { (parts::visible(parts::text(came, "message"))) } }
            @if !id.is_empty() {
                (parts::key_value([
                    ("What arrived", html! { a.mono href=(page.link(&format!("/console/events/{id}"))) { (id) } }),
                    ("Status", parts::status_chip(parts::text(event, "status"))),
                    ("Reason", html! { @if event["reason"].is_null() { span.muted { "none" } } @else { (parts::visible(parts::text(&event["reason"], "message"))) } }),
                    ("Stages", stages(event)),
                    ("Tasks", tasks(page, event)),
                ]))
                p.muted { "The event says that it is a test. Its tasks are real ones: delete those that nobody needs." }
            }
        }
    }
}

fn stages(event: &Value) -> Markup {
    let all = event["stages"].as_array().into_iter().flatten();
    html! {
        "received, authenticated"
        @for it in all { ", " (parts::text(it, "stage")) " (" (it["micros"]) " µs)" }
    }
}

fn tasks(page: &PageCall, event: &Value) -> Markup {
    let ids: Vec<_> = event["task_ids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    html! {
        @if ids.is_empty() { span.muted { "none" } }
        @for it in ids { a.mono href=(page.link(&format!("/console/tasks/{it}"))) { (it) } " " }
    }
}
