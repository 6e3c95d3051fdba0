//! The form with an event's body.

use maud::{Markup, html};
use serde_json::Value;

use super::super::page::PageCall;
use super::super::page_failure::PageFailure;
use super::super::parts;
use super::about;

/// Largest body that a form shows, in bytes.
const EDITABLE: usize = 2 * 1024 * 1024;

/// What the form has.
#[derive(Debug, Clone)]
pub(super) struct EditedCopy {
    pub(super) body: String,
    pub(super) content_type: String,
    /// The `Idempotency-Key`: a form that is sent twice makes one copy.
    pub(super) key: String,
    /// Browsers send every line's end as CRLF; only a body that had some keeps them.
    pub(super) has_crlf: bool,
}

impl EditedCopy {
    /// The form as it was sent.
    pub(super) fn sent(page: &PageCall) -> Self {
        let raw = |name: &str| page.form_all().iter().find(|(it, _)| it == name).map_or("", |(_, it)| it.as_str());
        let has_crlf = raw("crlf") == "1";
        let body = if has_crlf { raw("body").to_owned() } else { raw("body").replace("\r\n", "\n") };
        Self { body, content_type: raw("content_type").to_owned(), key: raw("key").to_owned(), has_crlf }
    }
}

/// Why a body cannot be edited in a form; none if it can.
pub(super) fn not_editable(body: &str) -> Option<String> {
    let is_changed = |it: char| it.is_control() && !matches!(it, '\n' | '\r' | '\t');
    if body.len() > EDITABLE {
        Some(format!(
            "The body has {}, and a form is for at most {}.",
            parts::bytes(body.len() as u64),
            parts::bytes(EDITABLE as u64)
        ))
    } else if body.contains('\u{fffd}') {
        Some("The body is not text in UTF-8.".into())
    } else if body.contains(is_changed) || body.replace("\r\n", "").contains('\r') {
        Some("The body has control characters, which a form would change.".into())
    } else {
        None
    }
}

/// The page of an event that a form cannot edit.
pub(super) fn refused(page: &PageCall, event: &Value, why: &str) -> Markup {
    let id = parts::text(event, "id");
    html! {
        h1 { "Edit and replay a copy" }
        section.card { (about(page, event)) }
        section.card {
            p { (why) }
            p {
                "Send the body that you want with the API: "
                code { "POST /v1/events/" (id) "/copy" }
                ", or "
                a href=(page.link(&format!("/console/events/{id}/replay"))) { "replay the event as it is" } "."
            }
        }
    }
}

/// The form, with what would become of the copy, or an error.
pub(super) fn content(
    page: &PageCall,
    event: &Value,
    edited: &EditedCopy,
    would: Option<&Value>,
    failure: Option<&PageFailure>,
) -> Markup {
    let id = parts::text(event, "id");
    html! {
        h1 { "Edit and replay a copy" }
        @if let Some(failure) = failure { (parts::problem(failure)) }
        @if let Some(would) = would { (outcome(would)) }
        section.card { (about(page, event)) }
        section.card {
            p { "The copy is a new event of the same integration, and is marked as a copy. The original does not change. The sender's delivery id is not compared." }
            form.stack method="post" action=(page.link(&format!("/console/events/{id}/edit"))) {
                (parts::form_field(page))
                input type="hidden" name="key" value=(edited.key);
                @if edited.has_crlf { input type="hidden" name="crlf" value="1"; }
                label for="content_type" { "Content type" }
                input #content_type name="content_type" type="text" value=(edited.content_type) maxlength="256" size="40" spellcheck="false" autocomplete="off";
                label for="body" { "Body" }
                // A browser leaves out the first line's end.
                textarea #body name="body" rows="22" spellcheck="false" autocomplete="off" { "\n" (edited.body) }
                div.row {
                    button.primary type="submit" { "Store and process the copy" }
                    button type="submit" name="dry_run" value="1" { "Try without storing" }
                    a href=(page.link(&format!("/console/events/{id}"))) { "Cancel" }
                }
            }
        }
    }
}

/// What would become of the copy.
fn outcome(would: &Value) -> Markup {
    let event = &would["event"];
    let reason = parts::text(&event["reason"], "message");
    html! {
        section.card aria-labelledby="would" {
            h2 #would { "What would become of it" }
            p { (parts::status_chip(parts::text(event, "status"))) " " (parts::visible(reason)) }
            @for (n, task) in would["tasks"].as_array().into_iter().flatten().enumerate() {
                details open[n == 0] {
                    summary { "Task " (n + 1) ": " (parts::visible(parts::text(task, "title"))) }
                    pre tabindex="0" { (parts::visible(&serde_json::to_string_pretty(task).unwrap_or_default())) }
                }
            }
            @if !parts::text(event, "plugin_log").is_empty() {
                details { summary { "Log of the plugin" } pre tabindex="0" { (parts::visible(parts::text(event, "plugin_log"))) } }
            }
            p.muted { "Nothing was stored." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a form changes a body without anybody having edited it.
    #[test]
    fn only_text_that_a_form_keeps_is_editable() {
        assert_eq!(not_editable("{\n\t\"a\": \"ü\"\r\n}"), None);
        for body in ["a\u{0}b", "a\rb", "\u{fffd}", "\u{1b}[31m"] {
            assert!(not_editable(body).is_some(), "{body:?}");
        }
        assert!(not_editable(&"x".repeat(EDITABLE + 1)).unwrap().contains("2.0 MiB"));
    }
}
