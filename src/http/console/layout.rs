//! The frame around every page: head and navigation.

use maud::{DOCTYPE, Markup, html};

use super::page::PageCall;
use super::section::Section;
use super::session::{FIELD, VisitorSession};
use super::visitor::{Visitor, keeping_company};
use super::{assets, parts};
use crate::auth::Scope;
use crate::service::app::App;

/// The navigation: section, URL, name, and the scopes of which one is needed.
const SECTIONS: [(Section, &str, &str, &[Scope]); 9] = [
    (Section::Overview, "/console", "Overview", &[]),
    (Section::Events, "/console/events", "Events", &[Scope::Admin, Scope::EventsRead, Scope::TasksRead]),
    (Section::Tasks, "/console/tasks", "Tasks", &[Scope::TasksRead]),
    (Section::Plugins, "/console/plugins", "Plugins", &[Scope::Admin]),
    (Section::Bench, "/console/bench", "Bench", &[Scope::Admin]),
    (Section::Connect, "/console/connect", "Connect", &[Scope::Admin]),
    (Section::Keys, "/console/keys", "Keys", &[Scope::Admin]),
    (Section::Audit, "/console/audit", "Audit", &[Scope::Admin]),
    (Section::System, "/console/system", "System", &[Scope::Admin]),
];

/// Most companies that are proposed to the operator, who can write any other one.
const COMPANIES: usize = 200;

/// A whole page.
pub(super) fn shell(page: &PageCall, title: &str, section: Section, content: &Markup) -> Markup {
    let frame = Frame { app: page.app(), session: page.session(), who: &page.who, path: page.path() };
    document(&frame, title, section, content)
}

/// What the frame needs.
pub(super) struct Frame<'a> {
    pub(super) app: &'a App,
    pub(super) session: Option<&'a VisitorSession>,
    pub(super) who: &'a Visitor,
    pub(super) path: &'a str,
}

pub(super) fn document(frame: &Frame<'_>, title: &str, section: Section, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · hookmill" }
                link rel="stylesheet" href=(assets::url("console.css"));
                link rel="icon" type="image/svg+xml" href=(assets::url("icon.svg"));
                script type="module" src=(assets::url("console.js")) {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                (header(frame, section))
                main #main tabindex="-1" { (content) }
                footer.muted { "hookmill " (env!("CARGO_PKG_VERSION")) }
            }
        }
    }
}

fn header(frame: &Frame<'_>, section: Section) -> Markup {
    html! {
        header.top {
            a.brand href=(keeping_company(frame.who, "/console")) {
                img src=(assets::url("icon.svg")) alt="" width="20" height="20";
                " hookmill"
            }
            @if let Some(session) = frame.session {
                nav aria-label="Sections" {
                    ul {
                        @for (it, url, name, scopes) in SECTIONS {
                            @if scopes.is_empty() || scopes.iter().any(|it| frame.who.can(*it)) {
                                li {
                                    a href=(keeping_company(frame.who, url)) aria-current=[(it == section).then_some("page")] { (name) }
                                }
                            }
                        }
                    }
                }
                div.visitor {
                    @if frame.who.is_operator { (companies(frame, session)) }
                    span.muted { (parts::visible(&frame.who.name)) }
                    a href="/console/help" data-help="" { "Help " kbd { "?" } }
                    (log_out_button(&session.form_token()))
                }
            }
        }
    }
}

/// The operator's choice of a company.
fn companies(frame: &Frame<'_>, session: &VisitorSession) -> Markup {
    let live = frame.app.registry.list();
    let mut all: Vec<String> = live.iter().map(|it| it.company_id.to_string()).collect();
    all.extend(frame.app.keys.list().iter().map(|it| it.company_id.to_string()));
    all.sort();
    all.dedup();
    all.truncate(COMPANIES);
    let chosen = frame.who.company.as_ref().map(ToString::to_string);
    html! {
        form.row method="post" action="/console/company" {
            input type="hidden" name=(FIELD) value=(session.form_token());
            input type="hidden" name="next" value=(frame.path);
            label for="company" { "Company" }
            input #company name="company" list="companies" value=[chosen.as_deref()] required size="12" autocomplete="off";
            datalist #companies { @for it in &all { option value=(it) {} } }
            button type="submit" { "Show" }
        }
    }
}

/// The button that ends a session.
fn log_out_button(form_token: &str) -> Markup {
    html! {
        form method="post" action="/console/logout" {
            input type="hidden" name=(FIELD) value=(form_token);
            button.link type="submit" { "Log out" }
        }
    }
}
