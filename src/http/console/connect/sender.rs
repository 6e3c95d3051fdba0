//! `/console/connect/{sender}`: one sender, and test deliveries to its integrations.

use maud::{Markup, html};
use serde_json::{Value, json};
use warp::http::StatusCode;

use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::{PageReply, Section};
use super::super::parts;
use super::details::{AskedName, content};

/// `GET /console/connect/{sender}`
pub(in super::super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    shown(&page, StatusCode::OK, html! {}).await
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
        return shown(&page, none.status, parts::problem(&none)).await;
    }
    match page.client.post(&format!("/v1/admin/plugins/{integration}/test-delivery"), &asked).await {
        Ok(came) => shown(&page, StatusCode::OK, result(&page, &came)).await,
        Err(failure) => shown(&page, failure.status, parts::problem(&failure)).await,
    }
}

async fn shown(page: &PageCall, status: StatusCode, result: Markup) -> Result<PageReply, PageFailure> {
    let name = page.parameter("sender");
    let sender = page.client.get(&format!("/v1/admin/senders/{name}")).await?;
    let title = format!("Connect {}", parts::text(&sender, "title"));
    let asked = AskedName::of(page);
    let content = content(page, &sender, &asked, &result);
    Ok(PageReply::with_status(status, page, &title, Section::Connect, content))
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
                    ("Reason", parts::visible(parts::text(&event["reason"], "message"))),
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
