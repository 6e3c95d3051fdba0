//! A page that cannot be shown: the API's error.

use serde_json::Value;
use warp::http::StatusCode;
use warp::reply::Response;

use super::urls::CONSOLE;
use crate::http::problem::Problem;
use crate::http::problem_reply::UnwrittenProblem;

/// An error of the API.
#[derive(Debug, Clone)]
pub(super) struct PageFailure {
    pub(super) status: StatusCode,
    /// `detail.code`.
    pub(super) code: String,
    /// The sentence.
    pub(super) message: String,
    /// The whole body, with `errors` and what else the code has.
    pub(super) body: Box<Value>,
}

impl PageFailure {
    /// The failure that a route would answer.
    pub(super) fn of(problem: Problem, path: &str) -> Self {
        let mut response = problem.reply(None);
        Self::unwritten(&mut response, path)
    }

    /// Takes the failure out of a response of the API.
    pub(super) fn unwritten(response: &mut Response, path: &str) -> Self {
        let status = response.status();
        let body = response.extensions_mut().remove::<UnwrittenProblem>().map(|it| it.write("", path));
        let body: Value = body.and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            status,
            code: text(&body["detail"]["code"]).unwrap_or_else(|| "internal".into()),
            message: text(&body["message"]).unwrap_or_else(|| "The server failed. Its log says why.".into()),
            body: Box::new(body),
        }
    }

    /// A failure that only the console knows.
    pub(super) fn own(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self { status, code: code.to_owned(), message: message.into(), body: Box::default() }
    }

    /// The violations, each with its pointer and sentence.
    pub(super) fn errors(&self) -> &[Value] {
        self.body["errors"].as_array().map_or(&[], Vec::as_slice)
    }
}

/// The failure of a request that only the console refuses.
pub(super) fn refused(problem: Problem) -> PageFailure {
    PageFailure::of(problem, CONSOLE)
}
