//! An event: one delivery, from its bytes to what became of it.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
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
    /// The body, byte for byte.
    pub body: Bytes,
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
    /// The body's size in bytes.
    pub body_bytes: u64,
    /// The body; empty for a rejected event. Not part of the answer: it may hold a patient's data.
    #[serde(skip)]
    pub body: Bytes,
}
