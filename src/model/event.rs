//! An event: one delivery, from its bytes to its result.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::company::CompanyId;
use super::headers::Headers;
use super::ids::{EventId, IntegrationName, TaskId};
use super::origin::Origin;
use super::provenance::Provenance;
use super::sent_url::SentParameter;
use crate::system::trace::TraceContext;

/// The status of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// It created one or more tasks.
    Stored,
    /// The plugin skipped it.
    Skipped,
    /// A stage refused it. Its body is stored, so that it can be replayed.
    Quarantined,
    /// It was rejected (wrong signature, too large). Its body is not stored.
    Rejected,
    /// A repetition of an earlier delivery, which got the same response.
    Duplicate,
    /// It is durable and acknowledged, but not processed yet.
    Queued,
    /// Its integration only captures deliveries (`mode = "capture"`): it is not mapped yet, and can be replayed. The reason is
    /// what its body or the schema would have failed with.
    Captured,
}

/// A stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Decoding of the body.
    Decode,
    /// Check against the integration's schema.
    Schema,
    /// The integration's plugin, including its queue.
    Plugin,
    /// Parsing of the plugin's output as tasks.
    Task,
}

impl EventStatus {
    /// All statuses, in the order in which they are stored.
    pub const ALL: [Self; 7] =
        [Self::Stored, Self::Skipped, Self::Quarantined, Self::Rejected, Self::Duplicate, Self::Queued, Self::Captured];
}

impl Stage {
    /// Its name in the API, and of its span.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Schema => "schema",
            Self::Plugin => "plugin",
            Self::Task => "task",
        }
    }
}

/// A completed stage of an event, or the one that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StageTime {
    /// The stage.
    pub stage: Stage,
    /// Duration of the stage, in microseconds.
    pub micros: u32,
}

/// Why an event was not stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Reason {
    /// The stage that ended the pipeline: `auth`, `decode`, `schema`, `plugin` or `task`.
    pub stage: String,
    /// Code of the error, as in `detail.code`.
    pub code: String,
    /// The message that was sent to the sender.
    pub message: String,
}

impl Reason {
    /// Returns the event that a duplicate repeats; `None` if this is not a duplicate's reason, or was erased.
    #[must_use]
    pub fn repeats(&self) -> Option<EventId> {
        let (_, id) = self.message.split_once(" event ").filter(|_| self.stage == "dedupe")?;
        uuid::Uuid::parse_str(id.get(..36)?).ok().map(EventId)
    }
}

/// An authenticated delivery, before its content is examined.
#[derive(Debug, Clone)]
pub struct RawEvent {
    /// Id of the event, used in every response, log line and record.
    pub id: EventId,
    /// Time at which its last byte was received.
    pub received_at: DateTime<Utc>,
    /// Company of the event.
    pub company_id: CompanyId,
    /// The `Content-Type` header as sent.
    pub content_type: Option<String>,
    /// The stored headers; see [`kept_headers`](super::headers::kept_headers).
    pub headers: Headers,
    /// The parameters of the query, in the order in which they were sent.
    pub query: Vec<SentParameter>,
    /// The path after the integration's name; see [`passed_path`](super::sent_url::passed_path).
    pub path: String,
    /// The body, byte for byte, unless values in it were redacted.
    pub body: Bytes,
    /// JSON Pointers of redacted values; the empty pointer if the whole body was removed because it could not be
    /// decoded.
    pub redacted: Vec<String>,
    /// The span that received it, if traces are enabled.
    pub trace: Option<TraceContext>,
    /// How it was made, if no sender has sent it.
    pub origin: Option<Origin>,
}

impl RawEvent {
    /// Returns a stored header's value, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, value)| it == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Event {
    /// Id of the event.
    pub id: EventId,
    /// Integration that received it; `tasks` for `POST /v1/tasks`.
    pub integration: IntegrationName,
    /// Company of the event.
    pub company_id: CompanyId,
    /// Time at which its last byte was received.
    #[serde(serialize_with = "super::time::utc")]
    pub received_at: DateTime<Utc>,
    /// Status of the event.
    pub status: EventStatus,
    /// Why it created no tasks.
    pub reason: Option<Reason>,
    /// The tasks that it created, in the plugin's order.
    pub task_ids: Vec<TaskId>,
    /// The plugin and schema that processed it; `None` for `POST /v1/tasks`.
    pub provenance: Option<Provenance>,
    /// The plugin's log, truncated at its limit.
    pub plugin_log: String,
    /// The `Content-Type` header as sent.
    pub content_type: Option<String>,
    /// The stored headers.
    #[serde(serialize_with = "shown")]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub headers: Headers,
    /// The parameters of the query, in the order in which they were sent; the values of those that plugin.toml names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<SentParameter>,
    /// The path after the integration's name, decoded; `(removed)` if plugin.toml does not ask for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The stages with their durations; the last one is the stage that failed, if one did.
    pub stages: Vec<StageTime>,
    /// JSON Pointers of values that were redacted before the event was stored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
    /// When its content was erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<DateTime<Utc>>,
    /// How often the sender has delivered it: 1, or more if it retried while the event was quarantined.
    pub attempts: u32,
    /// Time of the sender's last attempt, if there was more than one.
    #[serde(serialize_with = "super::time::utc_or_null", skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// The span that received it, if traces were enabled: queued work continues its trace, and a replay links to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceContext>,
    /// How it was made, if no sender has sent it: a copy of another event, or a test delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Size of the body, in bytes.
    pub body_bytes: u64,
    /// The body; empty for a rejected or erased event. Not part of responses, because it may contain a patient's
    /// data.
    #[serde(skip)]
    pub body: Bytes,
}

/// Why an event has no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBody {
    /// Rejected events are stored without it.
    Rejected,
    /// It was erased.
    Erased,
    /// It could not be decoded, so values to redact could not be found.
    Unreadable,
    /// Repeated deliveries are stored without it; the first one has it.
    Repeated,
}

impl NoBody {
    /// Returns a one-word code.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Erased => "erased",
            Self::Unreadable => "redacted",
            Self::Repeated => "duplicate",
        }
    }

    /// Returns a sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Rejected => "rejected events are stored without their body",
            Self::Erased => "the event's content has been erased",
            Self::Unreadable => {
                "its body was not stored: it could not be decoded, so the values that must be redacted could not be found"
            }
            Self::Repeated => "repeated deliveries are stored without their body; see the event that it repeats",
        }
    }
}

impl Event {
    /// Fields that may repeat what the sender sent; not shown to keys that may only read tasks.
    pub const INSIDE: [&str; 7] = ["reason", "plugin_log", "content_type", "headers", "query", "path", "trace"];

    /// Returns whether another copy of the delivery counts as an attempt of this event.
    #[must_use]
    pub fn may_come_again(&self) -> bool {
        self.status == EventStatus::Quarantined && self.no_body().is_none()
    }

    /// Returns the event that this one repeats, as its reason says. `None` if it is not a duplicate, or the reason was erased.
    #[must_use]
    pub fn repeats(&self) -> Option<EventId> {
        self.reason.as_ref().filter(|_| self.status == EventStatus::Duplicate)?.repeats()
    }

    /// Returns what is known about an event that cannot be read.
    #[must_use]
    pub fn unreadable(company: &CompanyId, id: EventId, integration: &IntegrationName, reason: Reason) -> Self {
        let (seconds, nanos) = id.0.get_timestamp().map_or((0, 0), |it| it.to_unix());
        Self {
            id,
            integration: integration.clone(),
            company_id: company.clone(),
            received_at: chrono::DateTime::from_timestamp(i64::try_from(seconds).unwrap_or(0), nanos)
                .unwrap_or_default(),
            status: EventStatus::Quarantined,
            reason: Some(reason),
            task_ids: Vec::new(),
            provenance: None,
            plugin_log: String::new(),
            content_type: None,
            headers: Vec::new(),
            query: Vec::new(),
            path: String::new(),
            stages: Vec::new(),
            redacted: Vec::new(),
            erased_at: None,
            attempts: 1,
            last_attempt_at: None,
            trace: None,
            origin: None,
            body_bytes: 0,
            body: Bytes::new(),
        }
    }

    /// Returns why there is no body; `None` if there is one.
    #[must_use]
    pub fn no_body(&self) -> Option<NoBody> {
        match self {
            Self { status: EventStatus::Rejected, .. } => Some(NoBody::Rejected),
            Self { erased_at: Some(_), .. } => Some(NoBody::Erased),
            Self { redacted, .. } if redacted.iter().any(String::is_empty) => Some(NoBody::Unreadable),
            Self { status: EventStatus::Duplicate, .. } if self.body.is_empty() && self.body_bytes > 0 => {
                Some(NoBody::Repeated)
            }
            _ => None,
        }
    }

    /// Returns the delivery as it was received.
    #[must_use]
    pub fn raw(&self) -> RawEvent {
        RawEvent {
            id: self.id,
            received_at: self.received_at,
            company_id: self.company_id.clone(),
            content_type: self.content_type.clone(),
            headers: self.headers.clone(),
            query: self.query.clone(),
            path: self.path.clone(),
            body: self.body.clone(),
            redacted: self.redacted.clone(),
            trace: self.trace.clone(),
            origin: self.origin.clone(),
        }
    }
}

fn shown<S: serde::Serializer>(headers: &Headers, serializer: S) -> Result<S::Ok, S::Error> {
    let value = |it: &'_ String| if it.is_empty() { "(removed)".to_owned() } else { it.clone() };
    serializer.collect_map(headers.iter().map(|(name, it)| (name, value(it))))
}
