//! Failures as HTTP: the only file that knows their status codes and the error body.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use warp::http::{HeaderValue, StatusCode, header};
use warp::reply::Response;

use super::table;
use crate::app::now;
use crate::auth::AuthError;
use crate::auth::limit::Rate;
use crate::event::{EventId, IntegrationName};
use crate::ingest::{Stop, moved};
use crate::log::{self, Field, Line, know};
use crate::payload::DecodeError;
use crate::plugin::PluginError;
use crate::schema::{Violation, Violations};
use crate::shares::UsedUp;
use crate::store::StoreError;

/// Where nothing is like the URL.
const ELSEWHERE: &str = "; they begin with /v1/tasks, /v1/hooks/{integration}, /v1/events or /v1/admin, and docs/OPERATIONS.md lists all of them";

/// Everything that can go wrong with a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("{0}")]
    Auth(#[from] AuthError),
    #[error("the header {name} was sent more than once; send it once")]
    RepeatedHeader { name: &'static str },
    #[error("{0}")]
    NotFound(&'static str),
    #[error("no integration named \"{name}\" is live on this server")]
    UnknownIntegration { name: String },
    #[error("there is no URL \"{url}\"{}", near.as_ref().map_or_else(|| ELSEWHERE.to_owned(), |near| format!("; did you mean \"{near}\"?")))]
    NoUrl { url: String, near: Option<String> },
    #[error("{method} does not work here; this URL takes {allow}")]
    Method { method: String, allow: String },
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error("the headers are larger than {limit} bytes")]
    HeadersTooLarge { limit: usize },
    #[error("the body had not come after {} seconds", timeout.as_secs_f64())]
    BodyTimeout { timeout: Duration },
    #[error("the connection ended before the whole body had come")]
    BodyBroken,
    #[error("Content-Encoding \"{got}\" is not understood; send the body uncompressed")]
    ContentEncoding { got: String },
    #[error("too many requests of this {whose}: {} a minute are allowed, {} at once; the next one in {seconds} s", rate.per_minute, rate.burst)]
    RateLimited { whose: &'static str, rate: Rate, seconds: i64 },
    #[error("the Host header {0}; send one, e.g. Host: tasks.example.com")]
    Host(&'static str),
    #[error("the server is busy with other requests; try again in a second")]
    Overloaded,
    #[error("the server holds as much as {0} allows; try again in a second")]
    NoRoom(&'static str),
    #[error("{}; try again in a second", used_up(*.0, "requests", "limits.concurrency"))]
    Share(UsedUp),
    #[error("{}; try again in a second", used_up(*.0, "queued deliveries", "limits.queue"))]
    QueueShare(UsedUp),
    #[error(
        "{whose} has an operation under way that takes long (an erasure, a dry run, a backup); send this again when that has ended"
    )]
    OperationRunning { whose: &'static str },
    #[error("no answer after {} seconds; what was asked for may still happen", timeout.as_secs_f64())]
    Timeout { timeout: Duration },
    #[error(
        "the task has been changed in between: its version is {version} by now; read it again, and send that version"
    )]
    VersionConflict { version: u64 },
    #[error("Idempotency-Key \"{key}\" came before with another body; a new request needs a new key")]
    IdempotencyConflict { key: String },
    #[error("This event cannot be replayed: {0}")]
    NotReplayable(&'static str),
    #[error("{}", moved(.0))]
    IntegrationMoved(IntegrationName),
    #[error("what was sent about this patient was erased while this request was being processed; nothing was created")]
    Erased,
    #[error("the shadow does not run: {0}")]
    NoShadow(String),
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Stop(#[from] Stop),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Operation(String),
    #[error("something went wrong on the server; its log has the request id")]
    Internal,
}

impl From<Vec<Violation>> for Problem {
    fn from(violations: Vec<Violation>) -> Self {
        Self::from(Violations::from(violations))
    }
}

impl From<Violations> for Problem {
    fn from(violations: Violations) -> Self {
        Self::Stop(Stop::Schema(violations))
    }
}

/// A problem's body on its way to the edge, which alone knows the request id and writes it out.
#[derive(Clone)]
pub(super) struct ProblemBody(Value);

impl ProblemBody {
    /// With the request's id; what is not there is named by its URL.
    pub(super) fn write(mut self, request_id: &str, path: &str) -> Bytes {
        if self.0["detail"]["type"] == "not_found" {
            self.name(path);
        }
        if let Value::Object(body) = &mut self.0 {
            body.insert("request_id".into(), request_id.into());
        }
        Bytes::from(self.0.to_string())
    }

    fn name(&mut self, path: &str) {
        let (shown, said) = (table::shown(path), self.0["message"].as_str().unwrap_or_default());
        if !said.contains(&shown) {
            let message = format!("{said} ({shown})");
            self.0["detail"]["message"] = message.as_str().into();
            self.0["message"] = message.into();
        }
    }
}

/// How one problem is told: status, `detail.type`, `detail.code`.
type Told<'a> = (StatusCode, &'static str, &'a str);

impl Problem {
    fn told(&self) -> Told<'_> {
        match self {
            Self::Auth(error) => auth(error),
            Self::NotFound(_) | Self::NoUrl { .. } => (StatusCode::NOT_FOUND, "not_found", "not_found"),
            Self::UnknownIntegration { .. } => (StatusCode::NOT_FOUND, "not_found", "unknown_integration"),
            Self::RepeatedHeader { .. } => (StatusCode::BAD_REQUEST, "invalid_request", "repeated_header"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request", "method_not_allowed"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", "body_too_large"),
            Self::HeadersTooLarge { .. } => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "invalid_request", "headers_too_large")
            }
            Self::BodyTimeout { .. } => (StatusCode::REQUEST_TIMEOUT, "invalid_request", "body_timeout"),
            Self::BodyBroken => (StatusCode::BAD_REQUEST, "invalid_request", "body_incomplete"),
            Self::ContentEncoding { .. } => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request", "unsupported_encoding")
            }
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "rate_limited"),
            Self::Host(_) => (StatusCode::BAD_REQUEST, "invalid_request", "bad_host"),
            Self::Overloaded | Self::NoRoom(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "overloaded"),
            Self::Share(used_up) | Self::QueueShare(used_up) => {
                let code = match used_up {
                    UsedUp::Integration => "integration_busy",
                    UsedUp::Company => "company_busy",
                    UsedUp::Whole => "overloaded",
                };
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", code)
            }
            Self::OperationRunning { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited", "operation_running"),
            Self::Timeout { .. } => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "request_timeout"),
            Self::NotReplayable(_) => (StatusCode::CONFLICT, "conflict", "not_replayable"),
            Self::IntegrationMoved(_) => (StatusCode::CONFLICT, "conflict", "integration_moved"),
            Self::Erased => (StatusCode::CONFLICT, "conflict", "erased"),
            Self::NoShadow(_) => (StatusCode::CONFLICT, "conflict", "shadow_refused"),
            Self::VersionConflict { .. } => (StatusCode::CONFLICT, "conflict", "version_conflict"),
            Self::IdempotencyConflict { .. } => (StatusCode::CONFLICT, "conflict", "idempotency_conflict"),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "validation_error", "invalid_field"),
            Self::Stop(stop) => stopped(stop),
            Self::Store(error) => store(error),
            Self::Operation(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "operation_failed"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "internal"),
        }
    }

    /// The error's `detail.code`.
    pub(crate) fn code(&self) -> &str {
        self.told().2
    }

    /// The status that it is answered with.
    pub(super) fn status(&self) -> StatusCode {
        self.told().0
    }

    /// The error body, without what names the request and the event.
    pub(super) fn body(&self) -> Value {
        let (_, kind, code) = self.told();
        let message = self.message();
        let errors = self.errors();
        let param = errors.first().map(Violation::field);
        let mut body = json!({
            "detail": {"type": kind, "code": code, "message": message, "param": param},
            "message": message,
            "errors": *errors,
        });
        if errors.omitted() > 0 || errors.is_uncounted() {
            body["errors_omitted"] = errors.omitted().into();
            // Counting ended as well: there are at least so many.
            body["errors_uncounted"] = errors.is_uncounted().into();
        }
        body
    }

    /// The response, its body still to be written out at the edge.
    pub(crate) fn reply(self, event_id: Option<EventId>) -> Response {
        let (status, _, code) = self.told();
        self.log(status, event_id);
        let mut body = self.body();
        if let (Value::Object(body), Some(id)) = (&mut body, event_id) {
            body.insert("event_id".into(), id.to_string().into());
        }
        let limited = self.limits();
        let mut response = Response::default();
        response.extensions_mut().insert(ProblemBody(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if status == StatusCode::SERVICE_UNAVAILABLE || code == "operation_running" {
            let seconds = if code == "storage_full" { "30" } else { "1" };
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
        }
        if let Self::Method { allow, .. } = &self
            && let Ok(allow) = HeaderValue::from_str(allow)
        {
            headers.insert(header::ALLOW, allow);
        }
        for (name, value) in limited.into_iter().flatten() {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        if let Some(id) = event_id.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
            headers.insert("x-event-id", id);
        }
        response
    }

    /// What the admin can find in the log with the request id.
    fn log(&self, status: StatusCode, event_id: Option<EventId>) {
        if let Some(id) = event_id {
            know(Field::Event, id);
        }
        let (cause, stage) = match self {
            _ if status.is_server_error() => (self.cause(), None),
            Self::Stop(stop) if event_id.is_some() => (self.cause(), Some(stop.stage())),
            _ => return,
        };
        // What fails for one sender must not hide what fails for another.
        let sender = log::known(Field::Integration).or_else(|| log::known(Field::Key)).unwrap_or_default();
        let line = if stage.is_none() { Line::Failed } else { Line::Quarantined };
        let Some(turn) = log::sample(line, &format!("{} {sender}", self.code()), now()) else { return };
        match stage {
            None => tracing::error!(cause, omitted = turn.omitted, "request failed"),
            Some(stage) => tracing::warn!(cause, stage, omitted = turn.omitted, "event quarantined"),
        }
    }

    /// When to try again, and the limit (draft-ietf-httpapi-ratelimit-headers-10).
    fn limits(&self) -> Option<[(&'static str, String); 3]> {
        let Self::RateLimited { whose, rate, seconds } = self else { return None };
        Some([
            ("retry-after", seconds.to_string()),
            ("ratelimit-policy", format!("\"{whose}\";q={};w=60", rate.per_minute)),
            ("ratelimit", format!("\"{whose}\";r=0;t={seconds}")),
        ])
    }

    /// The sentence for the sender. What the disk or the database said is for the log only.
    fn message(&self) -> String {
        match self {
            Self::Store(StoreError::Full { .. }) | Self::Stop(Stop::Store(StoreError::Full { .. })) => {
                "the server's disk is full; nothing was stored; send it again later".into()
            }
            Self::Store(StoreError::NoSpace(_)) | Self::Stop(Stop::Store(StoreError::NoSpace(_))) => {
                "the server's disk is full; send it again later".into()
            }
            Self::Store(StoreError::Rebuilding(_)) | Self::Stop(Stop::Store(StoreError::Rebuilding(_))) => {
                "the server is rebuilding its database; nothing is lost; send the request again in some seconds".into()
            }
            Self::Store(_) | Self::Stop(Stop::Store(_)) => {
                "the server cannot store anything right now; send it again later".into()
            }
            Self::Stop(Stop::Decode(error)) => {
                error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}; {hint}"))
            }
            other => other.to_string(),
        }
    }

    /// What the log says: the inner error without values from a payload.
    fn cause(&self) -> String {
        match self {
            Self::Stop(Stop::Schema(_) | Stop::Output(_) | Stop::Decode(_)) => self.told().2.to_owned(),
            Self::Stop(Stop::Plugin(failed)) => failed.error.code().to_owned(),
            Self::Internal => "internal; a panic has a line of its own".to_owned(),
            other => other.to_string(),
        }
    }

    fn errors(&self) -> Violations {
        match self {
            Self::Stop(Stop::Schema(violations) | Stop::Output(violations)) => violations.clone(),
            Self::Stop(Stop::Plugin(failed)) => refused(&failed.error),
            _ => Violations::default(),
        }
    }
}

/// Whose load it is. Only the last one is that of others.
fn used_up(whose: UsedUp, what: &str, setting: &str) -> String {
    match whose {
        UsedUp::Integration => format!("this integration's {what} use up its share of the server ({setting})"),
        UsedUp::Company => format!("this company's {what} use up its share of the server ({setting})"),
        UsedUp::Whole => format!("the server has no room for more {what} ({setting})"),
    }
}

/// Where a plugin has named the place in the payload.
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

fn auth(error: &AuthError) -> Told<'static> {
    match error {
        AuthError::NoKey => (StatusCode::UNAUTHORIZED, "authentication_error", "no_key"),
        AuthError::WrongKey => (StatusCode::UNAUTHORIZED, "authentication_error", "wrong_key"),
        AuthError::Signature(_) => (StatusCode::UNAUTHORIZED, "authentication_error", "wrong_signature"),
        AuthError::Credentials(_) => (StatusCode::UNAUTHORIZED, "authentication_error", "wrong_credentials"),
        AuthError::NotConfigured => (StatusCode::UNAUTHORIZED, "authentication_error", "auth_not_configured"),
        AuthError::Scope(_) => (StatusCode::FORBIDDEN, "permission_error", "scope_missing"),
    }
}

fn stopped(stop: &Stop) -> Told<'_> {
    match stop {
        Stop::Decode(error) => decode(error),
        Stop::Schema(_) | Stop::Output(_) => (StatusCode::UNPROCESSABLE_ENTITY, "validation_error", stop.code()),
        Stop::SchemaTime { .. } => (StatusCode::BAD_GATEWAY, "plugin_failed", stop.code()),
        Stop::Plugin(failed) => plugin(&failed.error),
        Stop::Loading(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", stop.code()),
        Stop::Store(error) => store(error),
    }
}

fn store(error: &StoreError) -> Told<'static> {
    match error {
        StoreError::Full { .. } | StoreError::NoSpace(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "storage_full")
        }
        StoreError::InUse { .. }
        | StoreError::Open { .. }
        | StoreError::Journal(_)
        | StoreError::Rebuilding(_)
        | StoreError::Write(_)
        | StoreError::OutOfRows { .. }
        | StoreError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "storage_unavailable"),
        StoreError::Read(_) | StoreError::Damaged { .. } => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal", "storage_damaged")
        }
    }
}

fn decode(error: &DecodeError) -> Told<'_> {
    let status = match error {
        DecodeError::UnsupportedMediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        DecodeError::MultipleItems { .. }
        | DecodeError::NotAnObject { .. }
        | DecodeError::NoItems
        | DecodeError::TooManyItems { .. }
        | DecodeError::NotAList => StatusCode::UNPROCESSABLE_ENTITY,
        DecodeError::Empty
        | DecodeError::NotUtf8 { .. }
        | DecodeError::Json { .. }
        | DecodeError::TooDeep { .. }
        | DecodeError::DuplicateKey { .. }
        | DecodeError::NumberOutOfRange
        | DecodeError::Form { .. } => StatusCode::BAD_REQUEST,
    };
    (status, "invalid_request", error.code())
}

fn plugin(error: &PluginError) -> Told<'_> {
    match error {
        PluginError::Refused { .. } | PluginError::BadOutput(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "validation_error", error.code())
        }
        PluginError::Busy | PluginError::Removed => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.code()),
        PluginError::Deadline { .. }
        | PluginError::Memory { .. }
        | PluginError::Table { .. }
        | PluginError::Output { .. }
        | PluginError::Stack
        | PluginError::Trap { .. }
        | PluginError::Host => (StatusCode::BAD_GATEWAY, "plugin_failed", error.code()),
    }
}
