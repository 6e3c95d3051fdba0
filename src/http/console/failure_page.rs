//! What a failure looks like.

use std::sync::Arc;

use maud::html;

use super::layout::{Frame, document};
use super::page_failure::PageFailure;
use super::page_reply::PageReply;
use super::parts;
use super::section::Section;
use super::session::VisitorSession;
use super::visitor::Visitor;
use crate::model::company::CompanyId;
use crate::service::app::App;

/// The page of a failure.
pub(super) fn show(
    app: &Arc<App>,
    session: Option<&VisitorSession>,
    company: Option<&CompanyId>,
    failure: &PageFailure,
) -> PageReply {
    let who = session.map(|it| Visitor::new(it, company.cloned())).unwrap_or_default();
    let content = html! {
        section.card.narrow {
            h1 { (failure.status.canonical_reason().unwrap_or("Failure")) }
            (parts::problem(failure))
            @if failure.code == "invalid" && failure.message.starts_with("company_id") {
                p { "Choose a company at the top of the page." }
            }
            p { a href="/console" { "Overview" } }
        }
    };
    let frame = Frame { app, session, who: &who, path: "/console" };
    let html = document(&frame, "Failure", Section::Other, &content).into_string();
    PageReply::markup(failure.status, html, None)
}
