//! A form that was sent without its session: that has ended, or another one has begun since.
//!
//! With scripts off, what was entered is nowhere but in that request. So the page that answers it keeps the form as hidden fields,
//! through the login, and then offers to send it again. It is never sent by itself: what it would do is for a person to decide.

use maud::{Markup, html};
use warp::http::StatusCode;

use super::guard;
use super::layout::{Frame, document};
use super::page::{PageCall, chosen};
use super::page_reply::PageReply;
use super::parts::visible;
use super::section::Section;
use super::session::{FIELD, VisitorSession};
use super::urls::is_of;
use super::visitor::Visitor;
use crate::http::call::Call;

/// The hidden field with the URL that a form was sent to.
pub(super) const ACTION: &str = "kept_action";
/// Names of hidden fields with what was entered begin with this.
const KEPT: &str = "kept:";
/// Of a longer value, the page shows only the beginning; all of it is sent.
const SHOWN: usize = 2000;

/// A form that was sent without its session.
pub(super) struct InterruptedForm {
    action: String,
    fields: Vec<(String, String)>,
}

impl InterruptedForm {
    /// The form of this request.
    pub(super) fn of(call: &Call, fields: Vec<(String, String)>) -> Self {
        let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
        let fields = fields.into_iter().filter(|(name, _)| name != FIELD).collect();
        Self { action: format!("{}{query}", call.path_as_sent), fields }
    }

    /// The form that a login page has kept; none if a browser does not say that the page was ours.
    pub(super) fn kept(page: &PageCall) -> Option<Self> {
        let action = page.form(ACTION).filter(|_| guard::is_surely_own(page.call()))?.to_owned();
        let fields = page.form_all().iter();
        let kept = |(name, it): &(String, String)| Some((name.strip_prefix(KEPT)?.to_owned(), it.clone()));
        Some(Self { action, fields: fields.filter_map(kept).collect() })
    }

    /// The fields that keep it in a login page.
    pub(super) fn hidden(&self) -> Markup {
        html! {
            input type="hidden" name=(ACTION) value=(self.action);
            @for (name, value) in &self.fields { input type="hidden" name=(format!("{KEPT}{name}")) value=(value); }
        }
    }

    /// The page that offers to send it again, with the token of this session.
    pub(super) fn offer(&self, call: &Call, session: &VisitorSession, status: StatusCode) -> PageReply {
        let content = html! {
            section.card.stack {
                h1 { "Send it again?" }
                p { "You had logged out or in since you opened this form, so nothing of it was done. What you entered is kept in this page." }
                p { "It goes to " code { (visible(&self.action)) } " with the rights of your current session." }
                form.row method="post" action=(self.action) {
                    input type="hidden" name=(FIELD) value=(session.form_token());
                    @for (name, value) in &self.fields { input type="hidden" name=(name) value=(value); }
                    button.primary type="submit" { "Send it again" }
                    a.button href="/console" { "Discard it" }
                }
                details {
                    summary { "What you entered" }
                    dl.facts { @for (name, value) in &self.fields { div { dt { (visible(name)) } dd { (beginning(value)) } } } }
                }
            }
        };
        let company = self.action.split_once('?').and_then(|(_, query)| chosen(query).ok().flatten());
        let who = Visitor::new(session, company);
        let frame = Frame { app: &call.app, session: Some(session), who: &who, path: "/console" };
        let html = document(&frame, "Send it again?", Section::Other, &content).into_string();
        PageReply::markup(status, html, call.header("accept-encoding"))
    }
}

fn beginning(value: &str) -> Markup {
    let shown: String = value.chars().take(SHOWN).collect();
    html! { pre { (visible(&shown)) @if shown.len() < value.len() { "…" } } }
}

/// Leaves out the URL of a kept form that is not one of the console's pages for forms.
pub(super) fn without_others(fields: &mut Vec<(String, String)>, takes_form: impl Fn(&str) -> bool) {
    fields.retain(|(name, it)| name != ACTION || is_page(it, &takes_form));
}

fn is_page(action: &str, takes_form: impl Fn(&str) -> bool) -> bool {
    let path = action.split(['?', '#']).next().unwrap_or_default();
    is_of(path) && !action.contains(['\\', '\r', '\n']) && takes_form(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a button of the console sends what somebody has entered to another place.
    #[test]
    fn a_kept_form_goes_only_to_a_page_for_forms() {
        let takes_form = |path: &str| path == "/console/bench/x";
        let mut fields = Vec::new();
        for action in [
            "/console/bench/x?company=a",
            "/console/bench",
            "//example.com/console/bench/x",
            "https://example.com",
            "/v1/tasks",
            "/console/bench/x\\..",
        ] {
            fields.push((ACTION.to_owned(), action.to_owned()));
        }
        fields.push(("kept:a".to_owned(), "//example.com".to_owned()));
        without_others(&mut fields, takes_form);
        let left: Vec<_> = fields.iter().map(|(_, it)| it.as_str()).collect();
        assert_eq!(left, ["/console/bench/x?company=a", "//example.com"]);
    }
}
