//! An event: one delivery, from its bytes to what became of it.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use hyper::header::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

use crate::auth::CompanyId;
use crate::task::TaskId;

/// An event's id: a UUID of version 7 (RFC 9562), so that ids sort by time of receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A fresh UUID of version 7 for this moment; the rest of it is random.
#[must_use]
pub fn new_id(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, now.timestamp_subsec_nanos()))
}

/// An integration's name: also its folder's, and the last part of its URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntegrationName(pub Arc<str>);

impl std::fmt::Display for IntegrationName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// It made one or more tasks.
    Stored,
    /// The plugin had nothing to do for it.
    Skipped,
    /// A stage refused it. Its body is kept, so that it can be driven through again.
    Quarantined,
    /// It was not let in (wrong signature, too large). Its body is not kept.
    Rejected,
    /// It had come before, and was answered as it was then.
    Duplicate,
    /// It is durable and was answered; it goes through the line next.
    Queued,
}

/// A stage of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Bytes to JSON.
    Decode,
    /// The integration's schema.
    Schema,
    /// The integration's plugin, with its queue.
    Plugin,
    /// What came out, as a task.
    Task,
}

/// A stage that an event has gone through, or in which it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageTime {
    /// Which.
    pub stage: Stage,
    /// How long it took, in microseconds.
    pub micros: u32,
}

/// Why an event ended as it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The stage that ended the line: `auth`, `decode`, `schema`, `plugin` or `task`.
    pub stage: String,
    /// What went wrong, as in the error's `detail.code`.
    pub code: String,
    /// The sentence that the sender was told.
    pub message: String,
}

/// The exact plugin and schema that an event went through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// `version` in plugin.toml.
    pub plugin_version: String,
    /// SHA-256 of the module, hexadecimal.
    pub module_sha256: String,
    /// SHA-256 of input.schema.json, hexadecimal.
    pub schema_sha256: String,
}

/// A delivery whose sender is known, before anything has looked into it.
#[derive(Debug, Clone)]
pub struct RawEvent {
    /// Names it from here on, in every answer, log line and record.
    pub id: EventId,
    /// When its last byte had come.
    pub received_at: DateTime<Utc>,
    /// Whose it is.
    pub company_id: CompanyId,
    /// The `Content-Type` header as sent.
    pub content_type: Option<String>,
    /// The headers that are kept; see [`kept_headers`].
    pub headers: Headers,
    /// The body, byte for byte; unless something in it was replaced.
    pub body: Bytes,
    /// JSON Pointers at which values of the payload were replaced; the empty one where the whole body was, as it could
    /// not be read.
    pub redacted: Vec<String>,
}

impl RawEvent {
    /// A kept header's value, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, value)| it == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

/// Names, lower case, and values; an empty value was secret.
pub type Headers = Vec<(String, String)>;

/// Headers whose values are kept: what says which delivery it is, of what kind, and by which software it was sent. An
/// integration can name more. Anything else may hold a secret, under a name that nobody has thought of.
const KEPT: [&str; 37] = [
    "idempotency-key",
    "prefer",
    "traceparent",
    "user-agent",
    "x-correlation-id",
    "x-request-id",
    // Deliveries' ids, kinds and times.
    "i-twilio-idempotency-token",
    "linear-delivery",
    "linear-event",
    "svix-id",
    "svix-timestamp",
    "telnyx-timestamp",
    "webhook-id",
    "webhook-timestamp",
    "x-delivery-id",
    "x-event-id",
    "x-event-key",
    "x-event-type",
    "x-github-delivery",
    "x-github-event",
    "x-github-hook-id",
    "x-github-hook-installation-target-id",
    "x-github-hook-installation-target-type",
    "x-gitlab-event",
    "x-gitlab-event-uuid",
    "x-gitlab-webhook-uuid",
    "x-hook-uuid",
    "x-shopify-api-version",
    "x-shopify-event-id",
    "x-shopify-shop-domain",
    "x-shopify-topic",
    "x-shopify-triggered-at",
    "x-shopify-webhook-id",
    "x-slack-request-timestamp",
    "x-slack-retry-num",
    "x-slack-retry-reason",
    "x-zm-request-timestamp",
];
/// Headers that hold secrets, whatever an integration says.
pub const SECRET_HEADERS: [&str; 6] =
    ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-api-key", "x-forwarded-authorization"];

/// Of a request's headers those that say something of the delivery. Of `KEPT` and of `more` (lower case) the values are
/// kept, of the others the name; what belongs to the connection is not kept.
#[must_use]
pub fn kept_headers(headers: &HeaderMap, more: &[String]) -> Headers {
    const OF_THE_CONNECTION: [&str; 7] =
        ["host", "connection", "content-length", "content-type", "accept", "accept-encoding", "transfer-encoding"];
    let kept = |name: &str| KEPT.contains(&name) || more.iter().any(|it| it == name);
    let value = |name: &str, value: &HeaderValue| {
        let plain = kept(name) && !SECRET_HEADERS.contains(&name);
        if plain { String::from_utf8_lossy(value.as_bytes()).into_owned() } else { String::new() }
    };
    let said = headers.iter().filter(|(name, _)| !OF_THE_CONNECTION.contains(&name.as_str()));
    said.map(|(name, it)| (name.as_str().to_owned(), value(name.as_str(), it))).collect()
}

/// The few headers that are kept of a rejected delivery, cut short: strangers can send as many as they like.
#[must_use]
pub fn few_headers(headers: &HeaderMap) -> Headers {
    const FEW: [&str; 4] = ["user-agent", "x-request-id", "x-github-event", "x-shopify-topic"];
    const CHARACTERS: usize = 80;
    // One byte each.
    let shown = |it: &u8| if matches!(it, b' '..=b'~') { char::from(*it) } else { '?' };
    let cut = |it: &HeaderValue| it.as_bytes().iter().map(shown).take(CHARACTERS).collect();
    FEW.iter().filter_map(|name| Some(((*name).to_owned(), cut(headers.get(*name)?)))).collect()
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Its id.
    pub id: EventId,
    /// The way in that it took; `tasks` for `POST /v1/tasks`.
    pub integration: IntegrationName,
    /// Whose it is.
    pub company_id: CompanyId,
    /// When its last byte had come.
    #[serde(serialize_with = "crate::task::utc")]
    pub received_at: DateTime<Utc>,
    /// What became of it.
    pub status: EventStatus,
    /// Why, unless it made tasks.
    pub reason: Option<Reason>,
    /// The tasks that it made, in the plugin's order.
    pub task_ids: Vec<TaskId>,
    /// The plugin and schema it went through; none for `POST /v1/tasks`.
    pub provenance: Option<Provenance>,
    /// What the plugin logged, cut at its limit.
    pub plugin_log: String,
    /// The `Content-Type` header as sent.
    pub content_type: Option<String>,
    /// The headers that are kept.
    #[serde(serialize_with = "shown")]
    pub headers: Headers,
    /// The stages that it went through, and how long each took; the last one is where it ended, if it was stopped.
    pub stages: Vec<StageTime>,
    /// JSON Pointers at which values of the payload were replaced before it was stored.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redacted: Vec<String>,
    /// When what was sent was erased; only what happened is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub erased_at: Option<DateTime<Utc>>,
    /// How often the sender has delivered it: 1, and more where it tried again while the event was in quarantine.
    pub attempts: u32,
    /// When the sender delivered it last, where that was not the first time.
    #[serde(serialize_with = "crate::task::utc_or_null", skip_serializing_if = "Option::is_none")]
    pub last_attempt_at: Option<DateTime<Utc>>,
    /// The body's size in bytes.
    pub body_bytes: u64,
    /// The body; empty for a rejected or erased event. Not part of the answer: it may hold a patient's data.
    #[serde(skip)]
    pub body: Bytes,
}

/// Why an event's body is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoBody {
    /// A rejected event is kept without it.
    Rejected,
    /// It was erased.
    Erased,
    /// It could not be read, so nobody could tell what in it was to be redacted.
    Unreadable,
    /// A repeated delivery is kept without the body, which the first one has.
    Repeated,
}

impl NoBody {
    /// One word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Erased => "erased",
            Self::Unreadable => "redacted",
            Self::Repeated => "duplicate",
        }
    }

    /// A sentence.
    #[must_use]
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Rejected => "a rejected event is kept without its body",
            Self::Erased => "erased: what was sent is not kept any more",
            Self::Unreadable => {
                "redacted: its body could not be read, so nobody could tell what in it was to be replaced, and it was not kept"
            }
            Self::Repeated => "a repeated delivery is kept without its body, which the event that it repeats has",
        }
    }
}

impl Event {
    /// What of it may repeat what its sender sent: those who may only read tasks do not see it.
    pub const INSIDE: [&str; 4] = ["reason", "plugin_log", "content_type", "headers"];

    /// Whether another copy of what was sent is an attempt of this event.
    #[must_use]
    pub fn may_come_again(&self) -> bool {
        self.status == EventStatus::Quarantined && self.no_body().is_none()
    }

    /// Why there is no body; none where there is one.
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

    /// As it came in.
    #[must_use]
    pub fn raw(&self) -> RawEvent {
        RawEvent {
            id: self.id,
            received_at: self.received_at,
            company_id: self.company_id.clone(),
            content_type: self.content_type.clone(),
            headers: self.headers.clone(),
            body: self.body.clone(),
            redacted: self.redacted.clone(),
        }
    }
}

fn shown<S: serde::Serializer>(headers: &Headers, serializer: S) -> Result<S::Ok, S::Error> {
    let value = |it: &'_ String| if it.is_empty() { "(removed)".to_owned() } else { it.clone() };
    serializer.collect_map(headers.iter().map(|(name, it)| (name, value(it))))
}
