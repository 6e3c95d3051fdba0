//! Every route, on one screen.
//!
//! A handler takes a [`Call`] and gives an [`Answer`](call::Answer) or a [`Problem`]; only `problem.rs` knows status codes of
//! failures. What every request passes first (its task, limits, request id, log line) is in `edge.rs` with
//! `running.rs`, `content.rs` and `trace.rs`, what answers the other URLs and methods in `table.rs`, what repeated requests get in `repeat.rs`.

mod admin;
mod attempts;
mod audit;
mod batch;
mod call;
mod content;
mod dry_run;
pub(crate) mod edge;
mod erase;
mod event_query;
mod events;
mod health;
mod hooks;
mod plugins;
mod problem;
mod proof;
mod query;
mod repeat;
mod replay;
mod running;
mod table;
mod tasks;
mod trace;
mod upkeep;

use std::convert::Infallible;
use std::sync::Arc;

use warp::path::FullPath;
use warp::reply::Response;
use warp::{Filter, path};

use crate::app::App;
use call::{Call, call, reply};
use edge::Exchange;
pub(crate) use problem::Problem;
use table::Table;

/// The whole API as one filter.
pub(crate) fn routes(app: Arc<App>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let call = call(app);
    let mut table = Table::default();
    macro_rules! on {
        (always $method:ident ($($path:tt)*) $handler:path) => {{
            table.add(stringify!($method), stringify!($($path)*), &[]);
            path!($($path)*).and(warp::$method()).and(call.clone()).then(reply!(always $handler))
        }};
        ($method:ident ($($path:tt)*) $handler:path $(, $param:ident)*) => {{
            table.add(stringify!($method), stringify!($($path)*), &[$(stringify!($param)),*]);
            path!($($path)*).and(warp::$method()).and(call.clone()).then(reply!($handler $(, $param)*))
        }};
    }
    // In groups with types of their own: one type of all routes is deeper than the compiler goes.
    let tasks = on!(post ("v1" / "tasks") tasks::create)
        .or(on!(get ("v1" / "tasks") tasks::list))
        .or(on!(post ("v1" / "tasks" / "batch") batch::create))
        .or(on!(get ("v1" / "tasks" / String) tasks::show, id))
        .or(on!(get ("v1" / "tasks" / String / "provenance") events::provenance, id))
        .or(on!(patch ("v1" / "tasks" / String) tasks::change, id))
        .or(on!(delete ("v1" / "tasks" / String) tasks::delete, id))
        .boxed();
    let deliveries = on!(post ("v1" / "hooks" / String) hooks::receive, name)
        .or(on!(post ("v1" / "hooks" / String / String) hooks::receive_with_secret, name, secret))
        .or(on!(get ("v1" / "events") events::list))
        .or(on!(post ("v1" / "events" / "erase") erase::erase))
        .or(on!(get ("v1" / "events" / String) events::show, id))
        .or(on!(get ("v1" / "events" / String / "raw") events::raw, id))
        .or(on!(post ("v1" / "events" / String / "replay") replay::replay, id))
        .boxed();
    let admin = on!(post ("v1" / "admin" / "keys") admin::create_key)
        .or(on!(get ("v1" / "admin" / "keys") admin::list_keys))
        .or(on!(delete ("v1" / "admin" / "keys" / String) admin::revoke_key, id))
        .or(on!(get ("v1" / "admin" / "audit") audit::list))
        .or(on!(get ("v1" / "admin" / "plugins") plugins::list))
        .or(on!(post ("v1" / "admin" / "plugins" / "reload") plugins::reload))
        .or(on!(post ("v1" / "admin" / "plugins" / "diff") dry_run::diff))
        .or(on!(get ("v1" / "admin" / "plugins" / String / "shadow") plugins::shadow, name))
        .or(on!(get ("v1" / "admin" / "store") upkeep::stats))
        .or(on!(post ("v1" / "admin" / "store" / "backup") upkeep::backup))
        .or(on!(post ("v1" / "admin" / "store" / "compact") upkeep::compact))
        .or(on!(always get ("healthz") health::live))
        .or(on!(always get ("readyz") health::ready))
        .boxed();
    let table = Arc::new(table);
    let nothing = warp::path::full()
        .and(warp::ext::get::<Exchange>())
        .map(move |path: FullPath, exchange: Exchange| table.nothing(&exchange.method, path.as_str()).reply(None));
    let all = tasks.or(deliveries).or(admin).map(|reply| -> Response { warp::Reply::into_response(reply) });
    // Nothing is rejected: the last one takes every request.
    all.or(nothing).unify().or_else(|_| std::future::ready(Ok::<_, Infallible>((Problem::Internal.reply(None),))))
}
