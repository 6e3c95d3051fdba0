//! Which events a job replays.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::event::{Event, EventStatus};
use crate::model::ids::EventId;
use crate::pipeline::is_replayable;
use crate::store::EventFilter;

/// Which events to replay; an event must match every field. An empty filter matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayFilter {
    /// Events of one of these integrations.
    #[schemars(length(max = 100), inner(length(max = 200)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub integration: Vec<String>,
    /// Events with one of these statuses.
    #[schemars(length(max = 100))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<EventStatus>,
    /// Events that ended at one of these stages, or with one of these error codes.
    #[schemars(length(max = 100), inner(length(max = 200)))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reason: Vec<String>,
    /// Events received at this time or later.
    #[serde(serialize_with = "crate::model::time::utc_or_null", skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Events received before this time.
    #[serde(serialize_with = "crate::model::time::utc_or_null", skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Events with this text in their id.
    #[schemars(length(max = 200))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// Maximum number of characters of a filter in the audit log.
const SHOWN: usize = 200;

/// Most values of a field, and most characters of each, as in the attributes above.
const VALUES: usize = 100;
const CHARACTERS: usize = 200;

impl ReplayFilter {
    /// Checks its size: a job keeps it, and compares each event with it.
    ///
    /// # Errors
    /// The field and its rule.
    pub fn check(&self) -> Result<(), String> {
        let id = self.id.as_slice();
        for (name, count, values) in [
            ("integration", self.integration.len(), self.integration.as_slice()),
            ("status", self.status.len(), &[]),
            ("reason", self.reason.len(), self.reason.as_slice()),
            ("id", id.len(), id),
        ] {
            if count > VALUES {
                return Err(format!("filter.{name}: must have at most {VALUES} values"));
            }
            if values.iter().any(|it| it.chars().nth(CHARACTERS).is_some()) {
                return Err(format!("filter.{name}: a value must have at most {CHARACTERS} characters"));
            }
        }
        Ok(())
    }

    /// Returns the filter of the store.
    #[must_use]
    pub fn events(&self) -> EventFilter {
        EventFilter {
            integration: self.integration.clone(),
            status: self.status.clone(),
            reason: self.reason.clone(),
            since: self.since,
            until: self.until,
            task_id: None,
            id: self.id.as_ref().map(|it| it.to_ascii_lowercase()),
            repeats: None,
        }
    }

    /// Returns the filter in a few words, for the audit log.
    #[must_use]
    pub fn words(&self) -> String {
        let text = serde_json::to_string(self).unwrap_or_default();
        text.chars().take(SHOWN).collect()
    }
}

/// What a job does with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plan {
    Replay,
    /// It has tasks, which are left unchanged.
    Leave,
    /// It cannot be replayed.
    Skip,
}

impl Plan {
    pub(super) fn of(event: &Event, leaves_tasks: bool) -> Self {
        match event {
            it if !is_replayable(it) => Self::Skip,
            it if leaves_tasks && !it.task_ids.is_empty() => Self::Leave,
            _ => Self::Replay,
        }
    }
}

/// Returns the largest id that an event received until now may have.
#[must_use]
pub fn newest_now(now: DateTime<Utc>) -> EventId {
    let millis = u128::try_from(now.timestamp_millis()).unwrap_or(0);
    EventId(Uuid::from_u128((millis << 80) | ((1 << 80) - 1)))
}

/// Returns the id after this one, before which a list begins.
pub(super) fn after(newest: EventId) -> EventId {
    EventId(Uuid::from_u128(newest.0.as_u128().saturating_add(1)))
}
