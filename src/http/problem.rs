//! Everything that can go wrong with a request, and the code of each problem. `problem_code.rs` has the codes with their
//! status, `problem_reply.rs` the response.

use std::time::Duration;

use super::key_conflict::KeyConflict;
use super::problem_code::ProblemCode as Code;
use crate::auth::AuthError;
use crate::format::payload::DecodeError;
use crate::format::schema::{Violation, Violations};
use crate::integration::stop::Stop;
use crate::limits::shares::UsedUp;
use crate::model::ids::IntegrationName;
use crate::pipeline::moved;
use crate::plugin::PluginError;
use crate::service::scripts::{NotPlaced, NotSaved};
use crate::service::sender_keys::KeyFailure;
use crate::store::StoreError;
use crate::system::rate::Rate;

/// The hint for a URL that is similar to none.
const ELSEWHERE: &str = "; URLs begin with /v1/tasks, /v1/hooks/{integration}, /v1/events or /v1/admin, and GET /openapi.json describes all of them";

/// The usual cause of a GET where a POST is meant.
pub(super) const USES_GET: &str = "n8n's HTTP Request node uses GET by default: set Method to POST";

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
    #[error("this URL does not support {method}; use {allow}{}", if method == "GET" && allow == "POST" { format!(". {USES_GET}") } else { String::new() })]
    Method { method: String, allow: String },
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge { limit: usize },
    #[error(
        "the body is larger than {limit} bytes; the server's admin can allow more with body_mib in [limits] of the integration's plugin.toml, or for all with limits.body_bytes"
    )]
    DeliveryTooLarge { limit: usize },
    #[error(
        "the path after the integration's name, and the parameters of the query that it asks for, are together larger than {limit} bytes"
    )]
    UrlTooLarge { limit: usize },
    #[error("the headers are larger than {limit} bytes")]
    HeadersTooLarge { limit: usize },
    #[error("the body did not arrive within {} seconds; send it again", timeout.as_secs_f64())]
    BodyTimeout { timeout: Duration },
    #[error("the connection ended before the whole body arrived; send it again")]
    BodyBroken,
    #[error("too many requests of this {whose}: {} a minute are allowed, {} at once; send the next one in {seconds} s", rate.per_minute, rate.burst)]
    RateLimited { whose: &'static str, rate: Rate, seconds: i64 },
    #[error("the Host header {0}; send one, e.g. Host: tasks.example.com")]
    Host(&'static str),
    #[error("the server is busy with other requests; try again in a second")]
    Overloaded,
    #[error("requests use all the memory that {0} allows; try again in a second")]
    NoRoom(&'static str),
    #[error("{}; try again in a second", used_up(*.0, "requests", "limits.concurrency"))]
    Share(UsedUp),
    #[error("{}; try again in a second", used_up(*.0, "queued deliveries", "limits.queue"))]
    QueueShare(UsedUp),
    #[error("{}; try again in a second", used_up(*.0, "trials of plugins", "a few run at the same time"))]
    TrialShare(UsedUp),
    #[error("another plugin is being compiled to count its instructions; try again in a second")]
    CountingBusy,
    #[error(
        "a long operation of {whose} (an erasure, a dry run or a backup) is still running; try again when it has finished"
    )]
    OperationRunning { whose: &'static str },
    #[error(
        "this company already runs as many searches and previews of replays as it may at the same time; try again when one has finished"
    )]
    SearchesRunning,
    #[error("the request took longer than {} seconds; it may still take effect", timeout.as_secs_f64())]
    Timeout { timeout: Duration },
    #[error("the task changed since you read it, and now has version {version}; read it again, and send that version")]
    VersionConflict { version: u64 },
    #[error("{0}")]
    IdempotencyConflict(Box<KeyConflict>),
    #[error("a GET creates nothing and has no body: to create a task, send a POST. {USES_GET}")]
    BodyOnGet,
    #[error("This event cannot be replayed: {0}")]
    NotReplayable(&'static str),
    #[error(
        "the preview counted {expected} events that match, and now there are {found}; look at the preview again, and begin then"
    )]
    OtherEvents { expected: u64, found: u64 },
    #[error("{}", moved(.0))]
    IntegrationMoved(IntegrationName),
    #[error("what was sent about this patient was erased while this request was being processed; nothing was created")]
    Erased,
    #[error(
        "changes since this cursor are no longer known: read everything again, beginning with GET /v1/tasks/changes without a cursor"
    )]
    CursorExpired,
    #[error("the shadow is not running: {0}")]
    NoShadow(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the delivery is in quarantine and can be replayed; its event says why")]
    Withheld(Code),
    #[error(
        "the public keys of this sender cannot be fetched right now, so its signature cannot be checked; send the delivery again later"
    )]
    SenderKeys,
    #[error("no test delivery can be sent: {0}")]
    NoTest(String),
    #[error("{0}")]
    SecretPlace(String),
    #[error("this plugin's files are being changed by another request; try again when it has finished")]
    BeingEdited,
    #[error(transparent)]
    NotSaved(#[from] NotSaved),
    #[error(transparent)]
    Stop(#[from] Stop),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Operation(String),
    #[error("the server failed; its log has the cause under this request id")]
    Internal,
}

impl From<KeyFailure> for Problem {
    fn from(failure: KeyFailure) -> Self {
        match failure {
            KeyFailure::Refused(mismatch) => AuthError::Signature(mismatch).into(),
            KeyFailure::Unavailable => Self::SenderKeys,
        }
    }
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

impl Problem {
    /// Its code, which decides the status. Exhaustive: a new problem needs a code here.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Auth(error) => auth(error),
            Self::NotFound(_) | Self::NoUrl { .. } => Code::NotFound,
            Self::UnknownIntegration { .. } => Code::UnknownIntegration,
            Self::RepeatedHeader { .. } => Code::RepeatedHeader,
            Self::Method { .. } => Code::MethodNotAllowed,
            Self::BodyTooLarge { .. } | Self::DeliveryTooLarge { .. } => Code::BodyTooLarge,
            Self::UrlTooLarge { .. } => Code::UrlTooLarge,
            Self::HeadersTooLarge { .. } => Code::HeadersTooLarge,
            Self::BodyTimeout { .. } => Code::BodyTimeout,
            Self::BodyBroken => Code::BodyIncomplete,
            Self::RateLimited { .. } => Code::RateLimited,
            Self::Host(_) => Code::BadHost,
            Self::Overloaded | Self::NoRoom(_) | Self::CountingBusy => Code::Overloaded,
            Self::Share(used_up) | Self::QueueShare(used_up) | Self::TrialShare(used_up) => match used_up {
                UsedUp::Integration => Code::IntegrationBusy,
                UsedUp::Company => Code::CompanyBusy,
                UsedUp::Whole => Code::Overloaded,
            },
            Self::OperationRunning { .. } | Self::SearchesRunning => Code::OperationRunning,
            Self::Timeout { .. } => Code::RequestTimeout,
            Self::NotReplayable(_) => Code::NotReplayable,
            Self::OtherEvents { .. } => Code::OtherEvents,
            Self::IntegrationMoved(_) => Code::IntegrationMoved,
            Self::Erased => Code::Erased,
            Self::NoShadow(_) => Code::ShadowRefused,
            Self::CursorExpired => Code::CursorExpired,
            Self::VersionConflict { .. } => Code::VersionConflict,
            Self::IdempotencyConflict(_) => Code::IdempotencyConflict,
            Self::BodyOnGet => Code::BodyOnGet,
            Self::Invalid(_) => Code::InvalidField,
            Self::Withheld(code) => *code,
            Self::SenderKeys => Code::SenderKeysUnavailable,
            Self::NoTest(_) => Code::NoTestDelivery,
            Self::SecretPlace(_) => Code::SecretNotSet,
            Self::BeingEdited => Code::ScriptChanged,
            Self::NotSaved(why) => not_saved(why),
            Self::Stop(stop) => stopped(stop),
            Self::Store(error) => store(error),
            Self::Operation(_) => Code::OperationFailed,
            Self::Internal => Code::Internal,
        }
    }
}

fn auth(error: &AuthError) -> Code {
    match error {
        AuthError::NoKey => Code::NoKey,
        AuthError::WrongKey | AuthError::QuotedKey => Code::WrongKey,
        AuthError::Signature(_) => Code::WrongSignature,
        AuthError::Credentials(_) | AuthError::Password(_) => Code::WrongCredentials,
        AuthError::NotConfigured => Code::AuthNotConfigured,
        AuthError::Scope(_) => Code::ScopeMissing,
        AuthError::OtherCompany => Code::OtherCompany,
    }
}

fn stopped(stop: &Stop) -> Code {
    match stop {
        Stop::Decode(error) => decode(error),
        Stop::Schema(_) => Code::InvalidField,
        Stop::Output(_) => Code::PluginOutputInvalid,
        Stop::SchemaTime { .. } => Code::SchemaTime,
        Stop::Plugin(failed) => plugin(&failed.error),
        Stop::Loading(_) => Code::PluginLoading,
        Stop::Store(error) => store(error),
    }
}

fn store(error: &StoreError) -> Code {
    match error {
        StoreError::Full { .. } | StoreError::NoSpace(_) => Code::StorageFull,
        StoreError::InUse { .. }
        | StoreError::Open { .. }
        | StoreError::Journal(_)
        | StoreError::Rebuilding(_)
        | StoreError::Unavailable(_)
        | StoreError::Write(_)
        | StoreError::Unstorable(_)
        | StoreError::OutOfRows { .. }
        | StoreError::Closed => Code::StorageUnavailable,
        StoreError::Read(_) | StoreError::Damaged { .. } => Code::StorageDamaged,
    }
}

fn not_saved(why: &NotSaved) -> Code {
    match why {
        NotSaved::Stale | NotSaved::NotPlaced(NotPlaced::Superseded) => Code::ScriptChanged,
        NotSaved::OtherCompany => Code::NotFound,
        NotSaved::Invalid(_) | NotSaved::NoScript => Code::InvalidField,
        NotSaved::Script(_) => Code::ScriptInvalid,
        NotSaved::Fixtures(_) => Code::FixtureFailed,
        NotSaved::Refused(_) => Code::PluginNotLoaded,
        NotSaved::NotPlaced(NotPlaced::ReadOnly { .. }) => Code::FolderReadOnly,
        NotSaved::NotPlaced(NotPlaced::Exists(_)) => Code::FixtureExists,
        NotSaved::NotPlaced(NotPlaced::Store(error)) | NotSaved::NotNoted(error) => store(error),
        NotSaved::NotPlaced(NotPlaced::Files | NotPlaced::Other(_)) | NotSaved::Unreadable(_) => Code::OperationFailed,
    }
}

fn decode(error: &DecodeError) -> Code {
    match error {
        DecodeError::UnsupportedMediaType { .. } | DecodeError::Binary { .. } => Code::UnsupportedMediaType,
        DecodeError::MultipleItems { .. } => Code::MultipleItems,
        DecodeError::NotAnObject { .. } => Code::NotAnObject,
        DecodeError::NoItems => Code::NoItems,
        DecodeError::TooManyItems { .. } => Code::TooManyItems,
        DecodeError::NotAList => Code::NotAList,
        DecodeError::Empty | DecodeError::OnlyQuery => Code::EmptyBody,
        DecodeError::NotUtf8 { .. } | DecodeError::Charset { .. } => Code::NotUtf8,
        DecodeError::ContentCoding { .. } => Code::UnsupportedEncoding,
        DecodeError::Expanded { .. } => Code::BodyTooLarge,
        DecodeError::Xml { .. } => Code::MalformedXml,
        DecodeError::Jwt => Code::MalformedJwt,
        DecodeError::Json { .. } => Code::MalformedJson,
        DecodeError::TooDeep { .. } => Code::TooDeep,
        DecodeError::DuplicateKey { .. } => Code::DuplicateKey,
        DecodeError::NumberOutOfRange | DecodeError::InexactNumber => Code::NumberOutOfRange,
        DecodeError::Form { .. } => Code::MalformedForm,
    }
}

fn plugin(error: &PluginError) -> Code {
    match error {
        PluginError::Refused { .. } => Code::PluginRefused,
        PluginError::BadOutput(_) => Code::PluginOutputInvalid,
        PluginError::Busy => Code::PluginBusy,
        PluginError::Removed => Code::PluginRemoved,
        PluginError::Deadline { .. } => Code::PluginDeadline,
        PluginError::Memory { .. } => Code::PluginMemory,
        PluginError::Table { .. } => Code::PluginTable,
        PluginError::Output { .. } => Code::PluginOutput,
        PluginError::Stack => Code::PluginStack,
        PluginError::Trap { .. } | PluginError::Crashed { .. } => Code::PluginTrap,
        PluginError::Exception { .. } => Code::PluginException,
        PluginError::Host => Code::PluginHost,
    }
}

/// Whose load is too high, as a sentence.
fn used_up(whose: UsedUp, what: &str, setting: &str) -> String {
    match whose {
        UsedUp::Integration => format!("this integration's {what} use its whole share of the server ({setting})"),
        UsedUp::Company => format!("this company's {what} use its whole share of the server ({setting})"),
        UsedUp::Whole => format!("the server accepts no more {what} right now ({setting})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The code in a response and the code that an event is quarantined with are the same word.
    #[test]
    fn codes_are_those_of_the_stages() {
        let limit = 1;
        for error in [
            DecodeError::Empty,
            DecodeError::NotUtf8 { offset: 0 },
            DecodeError::Json { line: 1, column: 1, message: String::new() },
            DecodeError::TooDeep { limit },
            DecodeError::DuplicateKey { key: String::new() },
            DecodeError::NumberOutOfRange,
            DecodeError::UnsupportedMediaType { got: String::new() },
            DecodeError::MultipleItems { count: 2 },
            DecodeError::NotAnObject { got: "" },
            DecodeError::NoItems,
            DecodeError::TooManyItems { count: 2, limit },
            DecodeError::NotAList,
            DecodeError::Form { message: String::new() },
            DecodeError::OnlyQuery,
            DecodeError::Charset { got: String::new(), known: true },
            DecodeError::ContentCoding { message: String::new() },
            DecodeError::Expanded { limit },
            DecodeError::InexactNumber,
            DecodeError::Binary { what: "" },
            DecodeError::Xml { message: String::new() },
            DecodeError::Jwt,
        ] {
            assert_eq!(decode(&error).name(), error.code());
        }
        for error in [
            PluginError::Deadline { limit: Duration::ZERO },
            PluginError::Memory { limit },
            PluginError::Table { limit },
            PluginError::Output { limit },
            PluginError::Stack,
            PluginError::Trap { reason: String::new(), frames: Vec::new() },
            PluginError::Crashed { message: String::new() },
            PluginError::Refused { message: String::new(), pointer: None },
            PluginError::Exception { message: String::new(), place: None },
            PluginError::BadOutput(String::new()),
            PluginError::Busy,
            PluginError::Removed,
            PluginError::Host,
        ] {
            assert_eq!(plugin(&error).name(), error.code());
        }
        for stop in [
            Stop::Schema(Violations::default()),
            Stop::Output(Violations::default()),
            Stop::SchemaTime { plugin: IntegrationName("fax".into()), limit: Duration::ZERO },
            Stop::Loading(IntegrationName("fax".into())),
        ] {
            assert_eq!(stopped(&stop).name(), stop.code());
        }
    }
}
