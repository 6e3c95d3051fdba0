//! Logging in and out.

use maud::{Markup, html};
use warp::http::{Method, StatusCode};

use super::interrupted::InterruptedForm;
use super::layout::{Frame, document};
use super::page::PageCall;
use super::page_failure::{PageFailure, refused};
use super::page_reply::{PageReply, Section};
use super::session::VisitorSession;
use super::urls::is_of;
use super::visitor::Visitor;
use super::{cookie, guard, parts, session};
use crate::auth::ApiKey;
use crate::http::call::Call;
use crate::http::key_holder::KeyHolder;
use crate::http::problem::Problem;
use crate::model::audit::{Action, Entry, OPERATOR};
use crate::model::time::now;
use crate::store::StoreError;

/// The button of somebody who has logged in elsewhere.
const ALREADY: &str = "already";

/// For a visitor who has not logged in: the page to do so, and then the one that was asked for. `keeps`: a form that was sent is
/// kept in it.
pub(super) async fn first(call: &mut Call, keeps: bool) -> PageReply {
    if call.exchange.method == Method::POST {
        let sent = if keeps { guard::form_to_keep(call).await.transpose() } else { None };
        return match sent {
            Some(Ok(fields)) => in_place(call, &form(None, Some(&InterruptedForm::of(call, fields)), &logged_out())),
            Some(Err(failure)) => in_place(call, &form(None, None, &not_kept(&failure))),
            None => PageReply::redirect("/console/login"),
        };
    }
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
    let wanted = format!("{}{query}", call.path_as_sent);
    let next = form_urlencoded::Serializer::new(String::new()).append_pair("next", &wanted).finish();
    PageReply::redirect(&format!("/console/login?{next}"))
}

/// The login in place of the page that was asked for.
fn in_place(call: &Call, content: &Markup) -> PageReply {
    let frame = Frame { app: &call.app, session: None, who: &Visitor::default(), path: "/console" };
    let html = document(&frame, "Log in", Section::Other, content).into_string();
    PageReply::markup(StatusCode::UNAUTHORIZED, html, call.header("accept-encoding"))
}

fn logged_out() -> Markup {
    html! {
        div.notice.notice-warn role="alert" {
            p { strong { "You were logged out, so nothing was done." } " What you entered is kept in this page. Log in, and you can send it again." }
        }
    }
}

/// A form that is too large to be kept.
fn not_kept(failure: &PageFailure) -> Markup {
    html! {
        div.notice.notice-bad role="alert" {
            p { strong { "You were logged out, so nothing was done." } }
            @if failure.status == StatusCode::PAYLOAD_TOO_LARGE {
                p { "What you entered is larger than " (parts::bytes(guard::KEPT as u64)) " and is not kept in this page. Your browser still has it: log in in another tab, go back to the previous page, and send it again." }
            } @else {
                p { "What you entered could not be read: " (parts::visible(&failure.message)) " Your browser still has it: log in in another tab, go back to the previous page, and send it again." }
            }
        }
    }
}

/// `GET /console/login`
pub(super) async fn show(page: PageCall) -> Result<PageReply, PageFailure> {
    if page.session().is_some() {
        return Ok(PageReply::redirect(next(page.query("next"))));
    }
    Ok(PageReply::html(&page, "Log in", Section::Other, form(page.query("next"), None, &html! {})))
}

fn form(next: Option<&str>, kept: Option<&InterruptedForm>, notice: &Markup) -> Markup {
    html! {
        section.card.narrow {
            h1 { "Log in" }
            (notice)
            form.stack method="post" action="/console/login" {
                @if let Some(kept) = kept { (kept.hidden()) }
                @if let Some(next) = next { input type="hidden" name="next" value=(next); }
                label for="key" { "API key" }
                input #key name="key" type="password" autocomplete="current-password" required autofocus
                    spellcheck="false" aria-describedby="key-help";
                p #key-help.muted {
                    "What you see depends on the key's scopes. The key itself is not kept: you get a session of at most 12 hours, which also ends after 30 minutes without a request."
                }
                div.row {
                    button.primary type="submit" { "Log in" }
                    @if kept.is_some() { button type="submit" name=(ALREADY) value="1" formnovalidate { "I have logged in in another tab" } }
                }
            }
        }
        section.narrow.muted {
            p { "No key? On the server's machine, " code { "hookmill console" } " prints a link that logs you in once, and "
                code { "hookmill key create" } " makes a key." }
        }
    }
}

/// `POST /console/login`
pub(super) async fn log_in(page: PageCall) -> Result<PageReply, PageFailure> {
    let kept = InterruptedForm::kept(&page);
    let again = |failure: &PageFailure| {
        let content = form(page.form("next"), kept.as_ref(), &parts::problem(failure));
        Ok(PageReply::with_status(failure.status, &page, "Log in", Section::Other, content))
    };
    if let Some(kept) = kept.as_ref().filter(|_| page.form(ALREADY).is_some()) {
        return match page.session() {
            Some(session) => Ok(kept.offer(page.call(), session, StatusCode::OK)),
            None => again(&PageFailure::own(
                StatusCode::UNAUTHORIZED,
                "not_logged_in",
                "This browser has no session yet. Log in here, or in another tab.",
            )),
        };
    }
    let holder = match session::log_in(page.call(), page.form("key").unwrap_or_default()) {
        Ok(holder) => holder,
        Err(failure) => return again(&failure),
    };
    let session = match begin(&page, &holder, "with its key").await {
        Ok(session) => session,
        Err(failure) => return again(&failure),
    };
    let reply = match &kept {
        Some(kept) => kept.offer(page.call(), &session, StatusCode::OK),
        None => PageReply::redirect(next(page.form("next"))),
    };
    Ok(reply.with("set-cookie", &cookie::set(page.call(), &session.token)))
}

/// Begins a session.
async fn begin(page: &PageCall, holder: &str, how: &str) -> Result<VisitorSession, PageFailure> {
    let (app, call) = (page.app(), page.call());
    let Some(found) = session::holder(call, holder) else {
        return Err(refused(crate::auth::AuthError::WrongKey.into()));
    };
    app.store.note(entry(&found, Action::ConsoleLogin, how)).await.map_err(of_store)?;
    let token = app.sessions.begin(&*app.store, holder, false, now()).await.map_err(of_store)?;
    // The session from before is not used on: its cookie may be known to somebody else.
    if let Some(before) = page.session() {
        app.sessions.end(&*app.store, &before.token).await.map_err(of_store)?;
    }
    Ok(VisitorSession { holder: found, token })
}

/// `POST /console/logout`
pub(super) async fn log_out(page: PageCall) -> Result<PageReply, PageFailure> {
    if let Some(session) = page.session() {
        let app = page.app();
        app.sessions.end(&*app.store, &session.token).await.map_err(of_store)?;
        app.store.note(entry(&session.holder, Action::ConsoleLogout, "")).await.map_err(of_store)?;
    }
    Ok(PageReply::redirect("/console/login").with("set-cookie", &cookie::unset(page.call())))
}

/// `GET /console/login/{link}`: a page with a button, so that a program that looks at links does not use this one up.
pub(super) async fn show_link(page: PageCall) -> Result<PageReply, PageFailure> {
    let content = html! {
        section.card.narrow {
            h1 { "Log in as the operator" }
            p { "This link works once, for five minutes." }
            form method="post" action={ "/console/login/" (page.parameter("link")) } {
                button.primary type="submit" autofocus { "Log in" }
            }
        }
    };
    Ok(PageReply::html(&page, "Log in", Section::Other, content))
}

/// `POST /console/login/{link}`
pub(super) async fn follow_link(page: PageCall) -> Result<PageReply, PageFailure> {
    session::attempt(page.call())?;
    let app = page.app();
    let followed = app.sessions.follow(&*app.store, page.parameter("link"), now()).await.map_err(of_store)?;
    match followed {
        Some(holder) => {
            let session = begin(&page, &holder, "with a link").await?;
            let reply = PageReply::redirect("/console");
            Ok(reply.with("set-cookie", &cookie::set(page.call(), &session.token)))
        }
        None => Err(PageFailure::own(
            StatusCode::UNAUTHORIZED,
            "wrong_link",
            "This link has been used, or is older than five minutes. Run `hookmill console` again.",
        )),
    }
}

/// `POST /console/company`: the operator chooses whose data the pages show.
pub(super) async fn choose_company(page: PageCall) -> Result<PageReply, PageFailure> {
    let company = page.form("company").unwrap_or_default();
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("company", company).finish();
    Ok(PageReply::redirect(&format!("{}?{query}", next(page.form("next")).split('?').next().unwrap_or("/console"))))
}

/// Only pages of the console: a link to the login must not lead to another site.
fn next(wanted: Option<&str>) -> &str {
    let is_own = |it: &&str| {
        is_of(it.split(['?', '#']).next().unwrap_or_default())
            && !it.contains(['\\', '\r', '\n'])
            && !it.starts_with("/console/login")
    };
    wanted.filter(is_own).unwrap_or("/console")
}

fn entry(holder: &KeyHolder, action: Action, detail: &str) -> Entry {
    let of_key = |key: &ApiKey| Entry::new(&key.id.0, action, &key.id, now()).of(&key.company_id);
    let entry = match holder {
        KeyHolder::Operator => Entry::new(OPERATOR, action, "console", now()),
        KeyHolder::Key(key) => of_key(key),
    };
    entry.with(detail)
}

fn of_store(error: StoreError) -> PageFailure {
    refused(Problem::from(error))
}

#[cfg(test)]
mod tests {
    use super::next;

    /// Otherwise a link that looks like the console's leads somebody who has just logged in to another site.
    #[test]
    fn a_login_leads_only_to_the_console() {
        for (wanted, leads) in [
            ("/console/events?status=quarantined", "/console/events?status=quarantined"),
            ("/console", "/console"),
            ("https://example.com/console", "/console"),
            ("//example.com/console", "/console"),
            ("/consoles", "/console"),
            ("/console\\..\\..", "/console"),
            ("/console/login?next=/console", "/console"),
            ("/v1/tasks", "/console"),
        ] {
            assert_eq!(next(Some(wanted)), leads, "{wanted}");
        }
    }
}
