//! What an erasure did, and how long integrations keep what they were sent.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};

use super::patient::{FoundBy, Match, Patient};
use crate::model::event::{Event, EventStatus};
use crate::model::ids::TaskId;
use crate::model::ids::{EventId, IntegrationName};
use crate::model::task::Task;

/// What an erasure erased, or what a dry run would erase.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Erased {
    /// The events, each once, oldest first.
    pub events: Vec<ErasedEvent>,
    /// Size of their bodies, in bytes.
    pub body_bytes: u64,
    /// Number of unreadable places in the journal. They may contain more data of the patient.
    pub damaged: u64,
    /// Number of stored responses that concern the patient.
    #[serde(default)]
    pub remembered_responses: u64,
    /// Tasks that name the patient. They are not erased: delete them through the API.
    #[serde(default)]
    pub tasks: Vec<NamingTask>,
}

/// A task that names the patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct NamingTask {
    /// Id of the task.
    pub id: TaskId,
    /// The fields that name the patient, and how.
    pub matches: Vec<Match>,
}

impl NamingTask {
    /// Returns the match if this task is readable and names the patient.
    pub(in crate::store) fn of(patient: &Patient, task: &Task) -> Option<Self> {
        let matches = if task.deleted_at.is_some() { Vec::new() } else { patient.in_task(task) };
        (!matches.is_empty()).then_some(Self { id: task.id, matches })
    }
}

/// An event that was erased, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ErasedEvent {
    /// Id of the event.
    pub id: EventId,
    /// Integration that received the event.
    pub integration: IntegrationName,
    /// Time of receipt.
    pub received_at: DateTime<Utc>,
    /// Status of the event.
    pub status: EventStatus,
    /// How the event was found to belong to the patient.
    pub found_by: FoundBy,
    /// Where the event names the patient, and how.
    #[serde(default)]
    pub matches: Vec<Match>,
    /// Size of the body, in bytes.
    pub body_bytes: u64,
}

impl ErasedEvent {
    /// Describes an event that is erased, or would be.
    pub(in crate::store) fn of(event: &Event, found_by: FoundBy, matches: Vec<Match>) -> Self {
        Self {
            id: event.id,
            integration: event.integration.clone(),
            received_at: event.received_at,
            status: event.status,
            found_by,
            matches,
            body_bytes: event.body_bytes,
        }
    }
}

/// How long an integration's events keep what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Name of the integration.
    pub integration: String,
    /// The age at which content is erased.
    pub age: Duration,
}

impl Keep {
    /// Returns the age at which content is certainly erased.
    #[must_use]
    pub fn latest(&self) -> Duration {
        self.age + self.slack()
    }

    /// Returns how late an event may be erased. Rewriting a segment for each single event would read it too often.
    pub(in crate::store) fn slack(&self) -> Duration {
        (self.age / 8).max(Duration::hours(1))
    }
}
