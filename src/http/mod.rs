//! Every route, on one screen.
//!
//! A handler takes a [`Call`] and gives an [`Answer`] or a [`Problem`]; only `problem.rs` knows status codes of
//! failures. What every request passes first (limits, request id, log line) is in `edge.rs`.

mod admin;
mod call;
pub(crate) mod edge;
mod events;
mod health;
mod hooks;
mod problem;
mod tasks;

use std::convert::Infallible;
use std::sync::Arc;

use warp::reply::Response;
use warp::{Filter, Rejection, path};

use crate::app::App;
use call::{Call, call, reply};
pub(crate) use problem::Problem;

/// The whole API as one filter.
pub(crate) fn routes(app: Arc<App>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let call = call(app);
    let tasks = path!("v1" / "tasks").and(warp::post()).and(call.clone()).then(reply!(tasks::create)).or(path!(
        "v1" / "tasks" / String
    )
    .and(warp::get())
    .and(call.clone())
    .then(reply!(tasks::show, id)));
    let hooks = path!("v1" / "hooks" / String).and(warp::post()).and(call.clone()).then(reply!(hooks::receive, name));
    let events = path!("v1" / "events" / String).and(warp::get()).and(call.clone()).then(reply!(events::show, id));
    let admin = path!("v1" / "admin" / "keys")
        .and(warp::post())
        .and(call.clone())
        .then(reply!(admin::create_key))
        .or(path!("v1" / "admin" / "keys").and(warp::get()).and(call.clone()).then(reply!(admin::list_keys)))
        .or(path!("v1" / "admin" / "keys" / String)
            .and(warp::delete())
            .and(call.clone())
            .then(reply!(admin::revoke_key, id)));
    let health = path!("healthz")
        .and(warp::get())
        .and(call.clone())
        .then(reply!(health::live))
        .or(path!("readyz").and(warp::get()).and(call.clone()).then(reply!(health::ready)));

    tasks
        .or(hooks)
        .or(events)
        .or(admin)
        .or(health)
        .map(|reply| -> Response { warp::Reply::into_response(reply) })
        .or_else(move |rejection: Rejection| {
            let allowed = rejection.find::<warp::reject::MethodNotAllowed>().is_some();
            let problem = if allowed {
                Problem::Method
            } else {
                Problem::NotFound("no such URL; see the API description for the ones there are")
            };
            std::future::ready(Ok::<_, Infallible>((problem.reply(None),)))
        })
}
