//! Counts of events and tasks over time.

use chrono::{DateTime, Utc};

use crate::model::event::EventStatus;

/// A window of time that ends now, divided into buckets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub enum TimelineWindow {
    /// An hour, by the minute.
    #[serde(rename = "1h")]
    Hour,
    /// A day, by the quarter of an hour.
    #[default]
    #[serde(rename = "24h")]
    Day,
    /// A week, by two hours.
    #[serde(rename = "7d")]
    Week,
}

impl TimelineWindow {
    /// All windows, shortest first.
    pub const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Week];

    /// Returns its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Week => "7d",
        }
    }

    /// Returns the length of a bucket, in milliseconds.
    #[must_use]
    pub fn step_ms(self) -> i64 {
        match self {
            Self::Hour => 60_000,
            Self::Day => 15 * 60_000,
            Self::Week => 120 * 60_000,
        }
    }

    /// Returns the number of buckets.
    #[must_use]
    pub fn buckets(self) -> usize {
        match self {
            Self::Hour => 60,
            Self::Day => 96,
            Self::Week => 84,
        }
    }

    /// Returns the number of the bucket of a time, counted from 1970. Buckets begin at whole minutes, quarters and hours.
    pub(in crate::store) fn slot(self, millis: i64) -> i64 {
        millis.div_euclid(self.step_ms())
    }

    /// Returns the number of the first bucket of the window that ends at `now`: the last one contains `now`.
    pub(in crate::store) fn first_slot(self, now: DateTime<Utc>) -> i64 {
        self.slot(now.timestamp_millis()) + 1 - i64::try_from(self.buckets()).unwrap_or(0)
    }

    /// Returns when the window that ends at `now` begins.
    #[must_use]
    pub fn begins(self, now: DateTime<Utc>) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.first_slot(now) * self.step_ms()).unwrap_or_default()
    }
}

/// The events of one bucket that have the same integration and status.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimelineCount {
    /// Number of the bucket, from 0.
    pub bucket: usize,
    /// Name of the integration.
    pub integration: String,
    /// Position of the status in [`EventStatus::ALL`].
    pub status: usize,
    /// How many there are.
    pub events: u64,
}

impl TimelineCount {
    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> EventStatus {
        EventStatus::ALL.get(self.status).copied().unwrap_or(EventStatus::Stored)
    }
}

/// Counts of a window. An event is in the bucket of its receipt, with its present status; a task in that of its creation, even
/// if it was deleted since, until it is purged. A bucket that has expired in part may still be counted in whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Events, in the order of buckets, integrations and statuses; without those that are 0.
    pub events: Vec<TimelineCount>,
    /// Created tasks, by bucket.
    pub tasks: Vec<u64>,
    /// Time from which events are counted, while the store still reads older ones after its start; `None` if the counts are
    /// complete.
    pub complete_since: Option<DateTime<Utc>>,
}
