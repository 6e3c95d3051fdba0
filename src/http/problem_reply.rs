//! A problem as a response: the error body, its headers, and its log line.

use bytes::Bytes;
use schemars::JsonSchema;
use serde::Serialize;
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::Response;

use super::key_conflict::KeyConflict;
use super::problem::Problem;
use super::problem_code::{ProblemCode, ProblemKind};
use super::shown_url::shown;
use crate::auth::AuthError;
use crate::format::schema::{Violation, Violations};
use crate::integration::stop::Stop;
use crate::metrics::http::HTTP;
use crate::model::ids::{EventId, TaskId};
use crate::model::time::now;
use crate::plugin::PluginError;
use crate::service::scripts::NotSaved;
use crate::store::StoreError;
use crate::system::log;
use crate::system::log::{Field, SampledLine, know};

/// What went wrong.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "ItemProblem")]
pub(super) struct ProblemBody {
    /// The error, for programs.
    detail: ProblemDetail,
    /// The same sentence as in `detail`; the n8n editor shows this field.
    message: String,
    /// The first 100 violations, in document order.
    #[schemars(length(max = 100))]
    errors: Vec<Violation>,
    /// How many more violations there are, if `errors` does not have all.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_omitted: Option<usize>,
    /// Counting was stopped: there are at least `errors_omitted` more.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors_uncounted: Option<bool>,
}

/// An error, for programs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct ProblemDetail {
    /// The kind of error.
    #[serde(rename = "type")]
    kind: ProblemKind,
    /// The error.
    code: ProblemCode,
    /// The whole sentence.
    message: String,
    /// The first field that is not valid.
    param: Option<String>,
    /// `idempotency_conflict`: the event of the first request with this key, or of its first item.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_event_id: Option<EventId>,
    /// `idempotency_conflict`: the tasks that the first request created; the first 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    task_ids: Option<Vec<TaskId>>,
    /// `idempotency_conflict`: the first 5 fields that differ from the first request, nested ones and those of a batch as JSON
    /// Pointers. Missing if its body is no longer stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 5))]
    differs: Option<Vec<String>>,
}

/// The body of every error response.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct ProblemAnswer {
    #[serde(flatten)]
    body: ProblemBody,
    /// The event that the request became, if it is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<EventId>,
    /// The request's id, as in `X-Request-Id`; the server's log has it.
    request_id: String,
}

/// An error body on its way to the edge, which alone knows the request id and writes it.
#[derive(Clone)]
pub(super) struct UnwrittenProblem(ProblemAnswer);

impl UnwrittenProblem {
    /// `detail.code`.
    pub(super) fn code(&self) -> &'static str {
        self.0.body.detail.code.name()
    }

    /// With the request's id; what does not exist is named by its URL.
    pub(super) fn write(mut self, request_id: &str, path: &str) -> Bytes {
        if self.0.body.detail.kind == ProblemKind::NotFound {
            self.0.body.name(path);
        }
        self.0.request_id = request_id.to_owned();
        serde_json::to_vec(&self.0).unwrap_or_default().into()
    }
}

impl ProblemBody {
    /// The whole sentence.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    fn name(&mut self, path: &str) {
        let shown = shown(path);
        if !self.message.contains(&shown) {
            self.message = format!("{} ({shown})", self.message);
            self.detail.message.clone_from(&self.message);
        }
    }
}

impl Problem {
    /// The status of its response.
    pub(super) fn status(&self) -> StatusCode {
        self.code().status()
    }

    /// The error body, without the ids of the request and the event.
    pub(super) fn body(&self) -> ProblemBody {
        let (code, message, errors) = (self.code(), self.message(), self.errors());
        let is_cut = errors.omitted() > 0 || errors.is_uncounted();
        let param = errors.first().map(|it| it.field().to_owned());
        let conflict = if let Self::IdempotencyConflict(conflict) = self { Some(&**conflict) } else { None };
        ProblemBody {
            detail: ProblemDetail {
                kind: code.kind(),
                code,
                message: message.clone(),
                param,
                first_event_id: conflict.and_then(KeyConflict::first_event_id),
                task_ids: conflict.map(|it| it.task_ids.clone()).filter(|it| !it.is_empty()),
                differs: conflict.and_then(|it| it.differs.clone()),
            },
            message,
            errors_omitted: is_cut.then(|| errors.omitted()),
            // Counting ended as well: there are at least so many.
            errors_uncounted: is_cut.then(|| errors.is_uncounted()),
            errors: errors.to_vec(),
        }
    }

    fn count(&self, code: &str) {
        HTTP.failed(code);
        match self {
            Self::Auth(_) => HTTP.not_authenticated(code),
            Self::RateLimited { whose, .. } => HTTP.rate_limited(*whose == "key"),
            _ => {}
        }
    }

    /// Counts the problem, and writes its log line.
    pub(super) fn note(&self, event_id: Option<EventId>) {
        self.count(self.code().name());
        self.log(event_id);
    }

    /// The response; the edge writes its body.
    pub(super) fn reply(self, event_id: Option<EventId>) -> Response {
        let code = self.code();
        if !matches!(self, Self::Withheld(_)) {
            self.note(event_id);
        }
        let body = ProblemAnswer { body: self.body(), event_id, request_id: String::new() };
        let mut response = Response::default();
        response.extensions_mut().insert(UnwrittenProblem(body));
        *response.status_mut() = code.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if code.status() == StatusCode::SERVICE_UNAVAILABLE || code == ProblemCode::OperationRunning {
            let seconds = if code == ProblemCode::StorageFull { "30" } else { "1" };
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if matches!(&self, Self::Auth(AuthError::Password(_))) {
            // Some senders send their password only after this (RFC 7617, section 2).
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"hookmill\", charset=\"UTF-8\""),
            );
        }
        if let Self::Method { allow, .. } = &self
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            headers.insert(header::ALLOW, allow);
        }
        for (name, value) in self.limits().into_iter().flatten() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        if let Some(id) = event_id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
            headers.insert("x-event-id", id);
        }
        response
    }

    /// Writes the log line that an admin finds by the request id.
    fn log(&self, event_id: Option<EventId>) {
        if let Some(id) = event_id {
            know(Field::Event, id);
        }
        let (cause, stage) = match self {
            _ if self.status().is_server_error() => (self.cause(), None),
            Self::Stop(stop) if event_id.is_some() => (self.cause(), Some(stop.stage())),
            _ => return,
        };
        // Sampled per sender: the failures of one must not hide those of another.
        let sender = log::known(Field::Integration).or_else(|| log::known(Field::Key)).unwrap_or_default();
        let line = if stage.is_none() { SampledLine::Failed } else { SampledLine::Quarantined };
        let Some(turn) = log::sample(line, &format!("{} {sender}", self.code().name()), now()) else { return };
        match stage {
            None => tracing::error!(cause, omitted = turn.omitted, "request failed"),
            Some(stage) => tracing::warn!(cause, stage, omitted = turn.omitted, "event quarantined"),
        }
    }

    /// The headers of a rate limit: when to try again, and the limit (draft-ietf-httpapi-ratelimit-headers-10).
    fn limits(&self) -> Option<[(&'static str, String); 3]> {
        let Self::RateLimited { whose, rate, seconds } = self else { return None };
        Some([
            ("retry-after", seconds.to_string()),
            ("ratelimit-policy", format!("\"{whose}\";q={};w=60", rate.per_minute)),
            ("ratelimit", format!("\"{whose}\";r=0;t={seconds}")),
        ])
    }

    /// The sentence for the sender. Errors of the disk and the database are for the log only.
    fn message(&self) -> String {
        match self {
            Self::Store(StoreError::Full { .. }) | Self::Stop(Stop::Store(StoreError::Full { .. })) => {
                "the server's disk is full and nothing was stored; send the request again later".into()
            }
            Self::Store(StoreError::NoSpace(_)) | Self::Stop(Stop::Store(StoreError::NoSpace(_))) => {
                "the server's disk is full; send the request again later".into()
            }
            Self::Store(StoreError::Rebuilding(_)) | Self::Stop(Stop::Store(StoreError::Rebuilding(_))) => {
                "the server is rebuilding its database and nothing is lost; send the request again in a few seconds"
                    .into()
            }
            Self::Store(_) | Self::Stop(Stop::Store(_)) => {
                "the server cannot store anything right now; send the request again later".into()
            }
            Self::Stop(Stop::Decode(error)) => {
                error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"))
            }
            other => other.to_string(),
        }
    }

    /// The cause for the log: the inner error, without values from a payload.
    fn cause(&self) -> String {
        match self {
            Self::Stop(Stop::Schema(_) | Stop::Output(_) | Stop::Decode(_) | Stop::Plugin(_)) => {
                self.code().name().to_owned()
            }
            Self::Internal => "internal; a panic has its own log line".to_owned(),
            // Fixtures and scripts may have values of payloads.
            Self::NotSaved(NotSaved::Fixtures(_) | NotSaved::Script(_) | NotSaved::Refused(_)) => {
                self.code().name().to_owned()
            }
            other => other.to_string(),
        }
    }

    fn errors(&self) -> Violations {
        match self {
            Self::Stop(Stop::Schema(violations) | Stop::Output(violations)) => violations.clone(),
            Self::Stop(Stop::Plugin(failed)) => refused(&failed.error),
            Self::NotSaved(NotSaved::Fixtures(failed)) => failed.clone().into(),
            _ => Violations::default(),
        }
    }
}

/// The violation of a payload that a plugin refused, if the plugin named the place.
fn refused(error: &PluginError) -> Violations {
    let PluginError::Refused { message, pointer: Some(pointer) } = error else { return Violations::default() };
    let refused = Violation {
        pointer: pointer.clone(),
        code: "refused".into(),
        expected: "what the integration's plugin can map".into(),
        got: None,
        message: message.clone(),
        hint: None,
    };
    refused.into()
}
