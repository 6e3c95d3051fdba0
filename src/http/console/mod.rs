//! The console: pages for a browser, at `/console`.
//!
//! The console is a client of the API, in the same process: a page calls routes with the rights of its visitor, and shows what
//! they answer. So scopes, limits, audit log and errors are the API's. `pages.rs` has every URL. A request passes `serve`
//! here: `session.rs` finds its visitor, `guard.rs` refuses requests that other sites make. A handler gets a `PageCall`
//! (`page.rs`) with an `ApiClient` (`client.rs`), and returns a `PageReply` (`page_reply.rs`): `layout.rs` is around every
//! page, `parts/` is what pages share. Files in `assets/` are built into the binary. Everything works without scripts.

mod asset_page;
mod assets;
mod audit;
mod bench;
mod chart;
mod client;
mod comparison;
mod compression;
mod connect;
mod cookie;
mod events;
mod failure_page;
mod fixing;
mod guard;
mod help;
mod interrupted;
mod keys;
mod layout;
mod login;
mod overview;
mod page;
mod page_failure;
mod page_reply;
mod pages;
mod parts;
mod plugin_facts;
mod plugin_history;
mod plugin_shadow;
mod plugins;
mod section;
mod session;
mod system;
mod tasks;
mod urls;
mod visitor;

use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::call::Call;
use super::router::FoundRoute;
use crate::metrics::http::HTTP;
use crate::system::trace;
use client::ApiFn;
use guard::{Admits, SentForm};
use interrupted::InterruptedForm;
use page::PageCall;
use page_failure::PageFailure;
use page_reply::PageReply;
use pages::{PAGES, PageKind, PageRow};
use session::found;
use urls::CONSOLE;

pub(super) use urls::is_of;

/// Whether a request may take hours, because the route that it calls may.
pub(super) fn takes_long(path: &str) -> bool {
    is_of(path) && PAGES.find(&Method::POST, &Method::POST, path).is_ok_and(|it| it.route.kind == PageKind::Long)
}

/// Whether a path is of a page whose form is kept when the session has ended.
fn keeps_form(path: &str) -> bool {
    PAGES.find(&Method::POST, &Method::POST, path).is_ok_and(|it| it.route.keeps_form())
}

/// Counts its requests from the start.
pub(super) fn count() {
    HTTP.route("GET", CONSOLE);
    HTTP.route("POST", CONSOLE);
}

/// Answers a request of a browser.
pub(super) async fn serve(api: ApiFn, call: Call, method: Method, path: &str) -> Response {
    trace::route(CONSOLE);
    let counted = if method == Method::POST { "POST" } else { "GET" };
    let _only_one_does = call.exchange.route.set(HTTP.route(counted, CONSOLE));
    let mut reply = match PAGES.find(&method, &call.exchange.method, path) {
        Ok(FoundRoute { route, parameters }) => answer(api, call, *route, parameters, path).await,
        Err(problem) => {
            let visitor = found(&call).await.ok().flatten();
            failure_page::show(&call.app, visitor.as_ref(), None, &PageFailure::of(problem, path))
        }
    };
    guard::protect(&mut reply.headers);
    reply.into_response()
}

async fn answer(
    api: ApiFn,
    mut call: Call,
    page: PageRow,
    parameters: Vec<(&'static str, String)>,
    path: &str,
) -> PageReply {
    call.path = parameters;
    path.clone_into(&mut call.path_as_sent);
    if let Err(problem) = call.unambiguous() {
        return failure_page::show(&call.app, None, None, &PageFailure::of(problem, path));
    }
    let session = match (page.admits, found(&call).await) {
        (Admits::Anyone, Ok(session)) => session,
        (Admits::Visitors, Ok(Some(session))) => Some(session),
        (Admits::Visitors, Ok(None)) => return login::first(&mut call, page.keeps_form()).await,
        (_, Err(problem)) => return failure_page::show(&call.app, None, None, &PageFailure::of(problem, path)),
    };
    let (app, visitor) = (std::sync::Arc::clone(&call.app), session.clone());
    let company = page::chosen(&call.query).ok().flatten();
    let answered = async {
        let mut form = match (guard::form(&mut call, session.as_ref(), page.admits).await?, &session) {
            (SentForm::Own(form), _) => form,
            (SentForm::Earlier(form), Some(session)) if page.keeps_form() => {
                let form = InterruptedForm::of(&call, form);
                return Ok(form.offer(&call, session, StatusCode::FORBIDDEN));
            }
            (SentForm::Earlier(_), _) => return Err(guard::foreign()),
        };
        interrupted::without_others(&mut form, keeps_form);
        (page.handler)(PageCall::new(api, call, session, form)?).await
    };
    answered.await.unwrap_or_else(|failure| failure_page::show(&app, visitor.as_ref(), company.as_ref(), &failure))
}
