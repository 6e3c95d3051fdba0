//! What pages share.

mod fix_notice;
mod json_node;
mod json_tree;
mod visible;

use std::fmt::Write as _;

use maud::{Markup, html};
use serde_json::Value;

use super::page::PageCall;
use super::page_failure::PageFailure;
use super::session::FIELD;

pub(super) use fix_notice::fix_notice;
pub(super) use json_node::JsonNode;
pub(super) use json_tree::{TreeMark, json_tree, node_tree};
pub(super) use visible::visible;

/// The hidden field of every form that is sent with POST.
pub(super) fn form_field(page: &PageCall) -> Markup {
    let token = page.session().map(super::session::VisitorSession::form_token).unwrap_or_default();
    html! { input type="hidden" name=(FIELD) value=(token); }
}

/// A time of the API. A script shows it in the viewer's time zone; it is exact on hover.
pub(super) fn time(at: &str) -> Markup {
    let shown = at.get(..19).map_or_else(|| at.to_owned(), |it| format!("{} UTC", it.replace('T', " ")));
    html! { time datetime=(at) title=(at) { (shown) } }
}

/// A time without a zone is in UTC, and a day begins at midnight.
pub(super) fn whole_time(text: &str) -> String {
    let text = text.replacen(' ', "T", 1);
    let has_zone = text.ends_with('Z') || text.get(10..).is_some_and(|it| it.contains(['+', '-']));
    match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 if !has_zone => format!("{text}:00Z"),
        _ if !has_zone => format!("{text}Z"),
        _ => text,
    }
}

/// A status of an event or a task.
pub(super) fn status_chip(status: &str) -> Markup {
    let class = match status {
        "stored" | "processed" | "completed" | "done" | "live" | "ready" | "ok" => "chip chip-ok",
        "quarantined" | "rejected" | "refused" | "failed" | "interrupted" | "not_ready" | "revoked" => "chip chip-bad",
        "queued" | "loading" | "captured" | "skipped" | "expired" => "chip chip-warn",
        _ => "chip chip-info",
    };
    html! { span class=(class) { (status.replace('_', " ")) } }
}

/// An empty list: what it would show, and what to do.
pub(super) fn empty_state(title: &str, what_to_do: &Markup) -> Markup {
    html! { div.empty { h2 { (title) } p { (what_to_do) } } }
}

/// Links to the first and the next page of a list.
pub(super) fn pager(page: &PageCall, next_cursor: Option<&str>) -> Markup {
    let is_first = page.query("cursor").is_none();
    html! {
        @if !is_first || next_cursor.is_some() {
            nav.pager aria-label="Pages" {
                @if !is_first { a href=(page.link_with(&[("cursor", None)])) { "Newest" } }
                @if let Some(next) = next_cursor {
                    a rel="next" href=(page.link_with(&[("cursor", Some(next))])) { "Older" }
                }
            }
        }
    }
}

/// Names and values.
pub(super) fn key_value<'a>(pairs: impl IntoIterator<Item = (&'a str, Markup)>) -> Markup {
    html! { dl.facts { @for (name, value) in pairs { div { dt { (name) } dd { (value) } } } } }
}

/// An error of the API, with its violations.
pub(super) fn problem(failure: &PageFailure) -> Markup {
    html! {
        div.notice.notice-bad role="alert" {
            p { strong { (visible(&failure.message)) } }
            (violations(failure.errors()))
            p.muted { code { (failure.code) } }
        }
    }
}

fn violations(errors: &[Value]) -> Markup {
    /// Of more, the API's answer has the rest.
    const SHOWN: usize = 20;
    html! {
        @if !errors.is_empty() {
            ul {
                @for it in errors.iter().take(SHOWN) {
                    li { (visible(it["message"].as_str().unwrap_or_default())) }
                }
                @if errors.len() > SHOWN { li.muted { "and " (errors.len() - SHOWN) " more" } }
            }
        }
    }
}

/// Something that went well.
pub(super) fn notice_ok(content: &Markup) -> Markup {
    html! { div.notice.notice-ok role="status" { (content) } }
}

/// A number of bytes, for people.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut text = String::new();
    let unit = UNITS.iter().enumerate().rev().find(|(n, _)| count >> (10 * n) > 0).map_or(0, |(n, _)| n);
    if unit == 0 {
        let _never_fails = write!(text, "{count} B");
    } else {
        let tenths = (u128::from(count) * 10) >> (10 * unit);
        let _never_fails = write!(text, "{}.{} {}", tenths / 10, tenths % 10, UNITS[unit]);
    }
    text
}

/// A number with a thin space between groups of three digits.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A field of JSON as text; empty if it is missing.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        for (number, shown) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB")] {
            assert_eq!(bytes(number), shown);
        }
        assert_eq!(count(1_234_567).replace('\u{202f}', " "), "1 234 567");
        assert_eq!(count(999), "999");
    }

    /// Otherwise a time that a person types is refused, or is taken for another one.
    #[test]
    fn times_are_read_as_people_type_them() {
        for (typed, sent) in [
            ("2026-11-27", "2026-11-27T00:00:00Z"),
            ("2026-11-27 09:30", "2026-11-27T09:30:00Z"),
            ("2026-11-27T09:30:15", "2026-11-27T09:30:15Z"),
            ("2026-11-27T09:30:15.123Z", "2026-11-27T09:30:15.123Z"),
            ("2026-11-27T09:30:15+01:00", "2026-11-27T09:30:15+01:00"),
            ("soon", "soonZ"),
        ] {
            assert_eq!(whole_time(typed), sent);
        }
    }
}
