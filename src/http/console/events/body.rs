//! The body of an event, as sent and as decoded. It is shown only if it is asked for, because the API audits each read.

use maud::{Markup, html};
use serde_json::Value;
use warp::http::HeaderMap;

use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::page_reply::PageReply;
use super::super::parts::{self, JsonNode, TreeMark};
use super::text;
use crate::auth::Scope;

/// Whether an event has a body that can be shown.
pub(super) fn is_there(event: &Value) -> bool {
    let is_whole = |it: &Value| it.as_str() == Some("");
    let is_removed = event["redacted"].as_array().is_some_and(|it| it.iter().any(is_whole));
    let is_copy = text(event, "status") == "duplicate" && event["reason"]["code"] == "duplicate";
    text(event, "status") != "rejected" && event.get("erased_at").is_none() && !is_removed && !is_copy
}

pub(super) fn section(page: &PageCall, event: &Value, id: &str, is_shown: bool) -> Markup {
    let show = page.link(&format!("/console/events/{id}?body=1#body"));
    html! {
        section.card #body aria-labelledby="body-title" {
            h2 #body-title { "Body" }
            @if !page.who.can(Scope::Admin) {
                p.muted { "Bodies are shown to keys with the scope admin." }
            } @else if !is_there(event) {
                p.muted { "There is no body: it was not stored, or it has been erased." }
            } @else if is_shown {
                (shown(event))
                p.row { (download(page, id)) a href=(page.link(&format!("/console/events/{id}"))) { "Hide the body" } }
            } @else {
                p { "It may contain a patient's data. The audit log records who has seen it." }
                p.row { a.button href=(show) { "Show the body" } (download(page, id)) }
            }
        }
    }
}

fn download(page: &PageCall, id: &str) -> Markup {
    html! { a href=(page.link(&format!("/console/events/{id}/raw"))) download=(format!("event-{id}.bin")) { "Download as sent" } }
}

fn shown(event: &Value) -> Markup {
    let body = text(event, "body");
    let (payload, marks) = (&event["payload"], marks(event));
    // Numbers keep their digits if the payload is in the body.
    let sent = JsonNode::parse(body);
    let exact = sent.as_ref().and_then(|it| it.like(payload));
    html! {
        @if payload.is_null() && exact.is_none() {
            p.muted { "The integration cannot decode it, or is not live." }
        } @else {
            h3 { "As decoded" }
            @if !marks.is_empty() { p.notice.notice-warn { "The schema that is live refuses what is marked." } }
            @match exact {
                Some(node) => (parts::node_tree(node, &marks)),
                None => (parts::json_tree(payload, &marks)),
            }
        }
        details open[payload.is_null()] {
            summary { h3 { "As sent" } }
            pre #sent tabindex="0" { (parts::visible(body)) }
        }
    }
}

/// What the schema says, and what was redacted.
fn marks(event: &Value) -> Vec<TreeMark> {
    let violations = event["violations"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|it| TreeMark { pointer: text(it, "pointer").to_owned(), message: text(it, "message").to_owned() });
    let redacted = event["redacted"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let redacted =
        redacted.map(|it| TreeMark { pointer: it.to_owned(), message: "redacted before it was stored".into() });
    violations.chain(redacted).collect()
}

/// `GET /console/events/{id}/raw`
pub(in super::super) async fn raw(page: PageCall) -> Result<PageReply, PageFailure> {
    let (headers, body): (HeaderMap, _) =
        page.client.bytes(&format!("/v1/events/{}/raw", page.parameter("id"))).await?;
    let of = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
    let reply = PageReply::file("application/octet-stream", body).with("cache-control", "no-store");
    let disposition = of("content-disposition").unwrap_or_else(|| "attachment".into());
    Ok(reply.with("content-disposition", &disposition))
}
