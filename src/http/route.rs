//! A route: what it takes and answers, and how it is described. Both come from the types of its handler.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use warp::http::Method;
use warp::reply::Response;

use super::access::Access;
use super::answer::{Failed, with_loosened};
use super::call::Call;
use super::input::Input;
use super::openapi::describer::{Describer, Schemas};
use super::openapi::document::DescribedOperation;
use super::problem::Problem;
use super::query::reading;
use super::reply::{IntoAnswer, TypedReply};
use super::respond::{ResponseWriter, respond};
use crate::metrics::http::{HTTP, RouteSeries};

/// One method of one URL.
pub(super) struct Route {
    pub(super) method: Method,
    /// With parameters in braces: `/v1/tasks/{id}`.
    pub(super) path: &'static str,
    /// The handler's name.
    id: &'static str,
    /// One sentence.
    about: &'static str,
    pub(super) statuses: Statuses,
    /// It may take hours.
    pub(super) is_long: bool,
    /// Counts of its requests.
    pub(super) series: &'static RouteSeries,
    serve: ServeFn,
    describe: Box<dyn Fn(&mut Describer<'_>) + Send + Sync>,
}

/// The statuses that a route's own answers have, and those of failures that its types do not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Statuses(
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reader; a test compares it with the types"))]
    pub(super)  &'static [u16],
    pub(super) &'static [u16],
);

type ServeFn = Arc<dyn Fn(Call) -> BoxFuture<'static, Response> + Send + Sync>;

impl Route {
    /// A route with a handler that takes an `I` from callers that `access` admits, and answers an `R`.
    pub(super) fn new<I, R, A, O, H, F>(
        method: Method,
        path: &'static str,
        id: &'static str,
        about: &'static str,
        statuses: Statuses,
        access: A,
        handler: H,
    ) -> Self
    where
        I: Input + 'static,
        R: TypedReply + 'static,
        A: Access,
        H: Fn(Call, A::Who, I) -> F + Copy + Send + Sync + 'static,
        F: Future<Output = Result<O, Failed>> + Send,
        O: IntoAnswer<R>,
    {
        let access = Arc::new(access);
        let served_by = Arc::clone(&access);
        let serve = move |call: Call| -> BoxFuture<'static, Response> {
            let access = Arc::clone(&served_by);
            Box::pin(async move {
                let writer = ResponseWriter::of(&call);
                let writer = if A::ALWAYS { writer.exempt() } else { writer };
                let answered = async move {
                    let mut call = if A::ALWAYS { call } else { call.begun(A::ANY_TYPE)? };
                    let who = access.admit(&mut call)?;
                    check_query::<A, I>(&mut call, path)?;
                    let input = I::read(&mut call).await?;
                    let loosened = std::mem::take(&mut call.loosened);
                    Ok(with_loosened(handler(call, who, input).await?.into_answer()?, &loosened).written)
                };
                respond(&writer, answered.await)
            })
        };
        let describe = move |to: &mut Describer<'_>| {
            access.describe(to);
            I::describe(to);
            R::describe(to);
            if !I::ANY_QUERY {
                to.fails(&[422]);
            }
        };
        let (serve, describe) = (Arc::new(serve), Box::new(describe));
        let series = HTTP.route(method.as_str(), path);
        Self { method, path, id, about, statuses, is_long: false, series, serve, describe }
    }

    /// The same route, which may take hours.
    pub(super) fn long(self) -> Self {
        Self { is_long: true, ..self }
    }

    /// Answers a request.
    pub(super) fn serve(&self, call: Call) -> BoxFuture<'static, Response> {
        (self.serve)(call)
    }

    /// What kind of thing it is about: the first part of its path after the version.
    pub(super) fn tag(&self) -> &'static str {
        let noun = self.path.strip_prefix("/v1/").and_then(|it| it.split('/').next());
        noun.unwrap_or("server")
    }

    /// Its description.
    pub(super) fn operation(&self, schemas: &mut Schemas) -> DescribedOperation {
        let mut describer =
            Describer::new(schemas, self.id.replace(" :: ", "_").replace("::", "_"), self.tag(), self.about);
        (self.describe)(&mut describer);
        describer.fails(&[400, 431, 500, 503]);
        describer.fails(self.statuses.1);
        describer.done()
    }
}

/// Notes query parameters that the route does not have. They are reported with those whose values are wrong, if the
/// route has any.
fn check_query<A: Access, I: Input>(call: &mut Call, path: &str) -> Result<(), Problem> {
    if call.query.is_empty() || I::ANY_QUERY {
        return Ok(());
    }
    call.unknown_parameters = reading::unknown(&call.query, &[A::QUERY, I::QUERY]);
    if path == "/v1/tasks" && call.exchange.method == Method::GET {
        reading::hint_at_post(&mut call.unknown_parameters);
    }
    if I::QUERY.is_empty() && !call.unknown_parameters.is_empty() {
        return Err(std::mem::take(&mut call.unknown_parameters).into());
    }
    Ok(())
}
