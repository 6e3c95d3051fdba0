//! From a request to its route. warp takes requests apart, the table of routes says what each of them does.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock};

use warp::Filter;
use warp::http::Method;
use warp::path::FullPath;
use warp::reply::Response;

use super::call::{Call, call};
use super::problem::Problem;
use super::route::Route;
use super::router::{FoundRoute, Router};
use super::routes;
use crate::service::app::App;
use crate::system::trace;

static ROUTER: LazyLock<Router<Route>> =
    LazyLock::new(|| Router::new(routes::routes().into_iter().map(|route| (route.method.clone(), route.path, route))));

/// The whole API as one filter. It rejects no request.
pub(crate) fn routes(app: Arc<App>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let request = warp::method().and(warp::path::full()).and(call(app));
    request.then(dispatch).or_else(|_| std::future::ready(Ok::<_, Infallible>((Problem::Internal.reply(None),))))
}

async fn dispatch(method: Method, path: FullPath, mut call: Call) -> Response {
    match ROUTER.find(&method, &call.exchange.method, path.as_str()) {
        Ok(FoundRoute { route, parameters }) => {
            trace::route(route.path);
            call.path = parameters;
            route.serve(call).await
        }
        Err(problem) => problem.reply(None),
    }
}
