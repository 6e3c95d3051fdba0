//! An event as JSON, in two parts: its state, which lists show and which changes, and what was sent, which does not change.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus, Reason, StageTime};
use crate::model::headers::Headers;
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::model::origin::Origin;
use crate::model::provenance::Provenance;
use crate::model::sent_url::SentParameter;
use crate::system::trace::TraceContext;

/// An event without what was sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EventDocument {
    id: EventId,
    integration: IntegrationName,
    company_id: CompanyId,
    received_at: DateTime<Utc>,
    status: EventStatus,
    reason: Option<Reason>,
    task_ids: Vec<TaskId>,
    provenance: Option<Provenance>,
    plugin_log: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    stages: Vec<StageTime>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    redacted: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased_at: Option<DateTime<Utc>>,
    #[serde(default = "once", skip_serializing_if = "is_once")]
    attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_attempt_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
    body_bytes: u64,
}

/// What was sent, without the body.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct SentParts {
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Headers,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    query: Vec<SentParameter>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<TraceContext>,
}

fn once() -> u32 {
    1
}

fn is_once(attempts: &u32) -> bool {
    *attempts == 1
}

impl EventDocument {
    /// Takes an event apart: its state, what was sent, and the body. All fields, so that a new one cannot be left out.
    pub(crate) fn parts(event: Event) -> (Self, SentParts, Bytes) {
        let Event {
            id,
            integration,
            company_id,
            received_at,
            status,
            reason,
            task_ids,
            provenance,
            plugin_log,
            content_type,
            headers,
            query,
            path,
            stages,
            redacted,
            erased_at,
            attempts,
            last_attempt_at,
            trace,
            origin,
            body_bytes,
            body,
        } = event;
        let document = Self {
            id,
            integration,
            company_id,
            received_at,
            status,
            reason,
            task_ids,
            provenance,
            plugin_log,
            stages,
            redacted,
            erased_at,
            attempts,
            last_attempt_at,
            origin,
            body_bytes,
        };
        (document, SentParts { content_type, headers, query, path, trace }, body)
    }

    /// Puts an event together.
    pub(crate) fn whole(self, sent: SentParts, body: Bytes) -> Event {
        let Self {
            id,
            integration,
            company_id,
            received_at,
            status,
            reason,
            task_ids,
            provenance,
            plugin_log,
            stages,
            redacted,
            erased_at,
            attempts,
            last_attempt_at,
            origin,
            body_bytes,
        } = self;
        let SentParts { content_type, headers, query, path, trace } = sent;
        Event {
            id,
            integration,
            company_id,
            received_at,
            status,
            reason,
            task_ids,
            provenance,
            plugin_log,
            content_type,
            headers,
            query,
            path,
            stages,
            redacted,
            erased_at,
            attempts,
            last_attempt_at,
            trace,
            origin,
            body_bytes,
            body,
        }
    }
}
