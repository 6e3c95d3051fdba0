//! From a request to its route. warp takes requests apart, the table of routes says what each of them does.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use futures_util::future::BoxFuture;
use warp::Filter;
use warp::http::Method;
use warp::path::FullPath;
use warp::reply::Response;

use super::answer::Failed;
use super::call::{Call, call};
use super::console;
use super::metrics;
use super::problem::Problem;
use super::reply::TypedReply;
use super::respond::{ResponseWriter, respond};
use super::route::Route;
use super::router::{FoundRoute, Router};
use super::routes;
use crate::metrics::http::{HTTP, RouteSeries};
use crate::service::app::App;
use crate::system::trace;

/// The URLs of a server that only processes queued events.
const ABOUT_HEALTH: [&str; 3] = ["/healthz", "/readyz", metrics::PATH];
/// What it answers to other requests.
const ONLY_WORKS: &str = "this server only processes queued events (--role worker); send requests to another one";

static ROUTER: LazyLock<Router<Route>> =
    LazyLock::new(|| Router::new(routes::routes().into_iter().map(|route| (route.method.clone(), route.path, route))));

/// The one route of the address for metrics.
static SCRAPES: LazyLock<Router<&RouteSeries>> =
    LazyLock::new(|| Router::new([(Method::GET, metrics::PATH, HTTP.route("GET", metrics::PATH))]));

/// The whole API as one filter. It rejects no request.
pub(crate) fn routes(app: Arc<App>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    // The counts of every route are shown from the start.
    LazyLock::force(&ROUTER);
    console::count();
    let request = warp::method().and(warp::path::full()).and(call(app));
    request.then(dispatch).or_else(|_| std::future::ready(Ok::<_, Infallible>((Problem::Internal.reply(None),))))
}

/// `/metrics` alone, for its own address.
pub(crate) fn metrics_route(app: Arc<App>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let request = warp::method().and(warp::path::full()).and(call(app));
    let answered = request.map(|method: Method, path: FullPath, call: Call| scrape(&method, path.as_str(), &call));
    answered.or_else(|_| std::future::ready(Ok::<_, Infallible>((Problem::Internal.reply(None),))))
}

fn scrape(method: &Method, path: &str, call: &Call) -> Response {
    let sent = &call.exchange.method;
    let route = match SCRAPES.find(method, sent, path) {
        Ok(found) => *found.route,
        Err(problem) => return problem.reply(None),
    };
    let _only_one_does = call.exchange.route.set(route);
    let text = metrics::show_alone(call).and_then(TypedReply::write);
    respond(&ResponseWriter::of(call).exempt(), text.map(|it| it.written).map_err(Failed::from))
}

async fn dispatch(method: Method, path: FullPath, call: Call) -> Response {
    if console::is_of(path.as_str()) && !call.app.only_works && call.app.config.console.enabled {
        return console::serve(api, call, method, path.as_str()).await;
    }
    route(&method, path.as_str(), call).await
}

/// Answers a request of the API that the console makes.
fn api(method: Method, path: String, call: Call) -> BoxFuture<'static, Response> {
    Box::pin(async move { route(&method, &path, call).await })
}

/// Answers a request of the API.
async fn route(method: &Method, path: &str, mut call: Call) -> Response {
    match ROUTER.find(method, &call.exchange.method, path) {
        Ok(FoundRoute { route, .. }) if call.app.only_works && !ABOUT_HEALTH.contains(&route.path) => {
            Problem::NotFound(ONLY_WORKS).reply(None)
        }
        Ok(FoundRoute { route, parameters }) => {
            trace::route(route.path);
            let _only_one_does = call.exchange.route.set(route.series);
            call.path = parameters;
            path.clone_into(&mut call.path_as_sent);
            route.serve(call).await
        }
        Err(problem) => problem.reply(None),
    }
}
