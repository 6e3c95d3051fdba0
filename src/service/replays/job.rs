//! A job that replays many events.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::filter::ReplayFilter;
use crate::model::company::CompanyId;
use crate::model::ids::EventId;
use crate::model::time::now;
use crate::pipeline::Existing;

/// How many events are named for each reason of a failure.
const NAMED: usize = 5;
/// Maximum number of reasons.
const REASONS: usize = 50;
/// The reason under which further ones are counted.
const OTHER: &str = "other";

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "ReplayState")]
pub enum JobState {
    /// It waits for jobs of other companies.
    Waiting,
    /// It looks for its events.
    Searching,
    /// It replays events.
    Running,
    /// It waits until the server has fewer other requests.
    Paused,
    /// All of its events were replayed.
    Done,
    /// Somebody has stopped it, or the server was stopped.
    Stopped,
    /// It could not go on.
    Failed,
    /// The server that ran it has ended, or was cut off from the database that servers share.
    Interrupted,
}

/// How the replay of one event ended.
#[derive(Debug)]
pub enum OneReplay {
    /// It ran.
    Done {
        /// Number of tasks that were created.
        created: usize,
        /// Number of tasks that were updated.
        updated: usize,
    },
    /// It failed, with this code.
    Failed(String),
    /// The server could not run it now, with this code.
    Busy(String),
}

/// A job.
#[derive(Debug)]
pub struct ReplayJob {
    /// Its id.
    pub id: Uuid,
    /// Whose events it replays.
    pub company: CompanyId,
    /// Which events.
    pub filter: ReplayFilter,
    /// What is done with tasks that they have.
    pub existing: Existing,
    /// No event with a larger id is replayed.
    pub newest: EventId,
    /// Who has begun it.
    pub started_by: String,
    started_at: DateTime<Utc>,
    pub(super) stop: CancellationToken,
    progress: Mutex<JobProgress>,
}

#[derive(Debug)]
struct JobProgress {
    state: JobState,
    total: u64,
    done: u64,
    created: u64,
    updated: u64,
    left: u64,
    not_replayable: u64,
    failed: BTreeMap<String, FailedReplays>,
    running_since: Option<Instant>,
    ran_seconds: f64,
    stopped_by: Option<String>,
    error: Option<String>,
    ended_at: Option<DateTime<Utc>>,
}

/// Events whose replay failed for the same reason.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FailedReplays {
    /// The code of the error, as in an event's `reason` or in `detail.code`.
    reason: String,
    /// How many.
    count: u64,
    /// The first of them.
    events: Vec<EventId>,
}

/// A job, as it is shown.
// Servers that share a store write it there. Two versions may share one, so a field that is added needs a default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ReplayJob")]
pub struct ReplayJobReport {
    id: Uuid,
    /// Whose events it replays.
    company_id: CompanyId,
    /// Its state.
    pub(super) state: JobState,
    /// Which events it replays.
    filter: ReplayFilter,
    /// What is done with tasks that the events have.
    tasks: Existing,
    /// Only events with this id or a smaller one are replayed.
    newest: EventId,
    /// How many events it replays; 0 until they are found.
    total: u64,
    /// How many of them it has replayed, with those that failed.
    done: u64,
    /// How many of them failed.
    failed: u64,
    /// Why.
    failures: Vec<FailedReplays>,
    /// How many tasks were created.
    created: u64,
    /// How many tasks were updated.
    updated: u64,
    /// How many matching events have tasks, which were left unchanged.
    left: u64,
    /// How many matching events cannot be replayed.
    not_replayable: u64,
    /// Events per second, since it began to replay.
    per_second: f64,
    /// Who has begun it: a key's id, or `operator`.
    started_by: String,
    /// When it was begun.
    #[serde(serialize_with = "crate::model::time::utc")]
    started_at: DateTime<Utc>,
    /// When it ended. If it was interrupted: when its server was last heard of.
    #[serde(serialize_with = "crate::model::time::utc_or_null")]
    pub(super) ended_at: Option<DateTime<Utc>>,
    /// Who has stopped it: a key's id, `operator`, or `server` when that ended.
    pub(super) stopped_by: Option<String>,
    /// Why it could not go on.
    pub(super) error: Option<String>,
}

impl ReplayJob {
    /// Creates a job that waits for its turn.
    #[must_use]
    pub fn new(
        id: Uuid,
        company: CompanyId,
        filter: ReplayFilter,
        existing: Existing,
        newest: EventId,
        by: &str,
    ) -> Self {
        let progress = JobProgress {
            state: JobState::Waiting,
            total: 0,
            done: 0,
            created: 0,
            updated: 0,
            left: 0,
            not_replayable: 0,
            failed: BTreeMap::new(),
            running_since: None,
            ran_seconds: 0.0,
            stopped_by: None,
            error: None,
            ended_at: None,
        };
        Self {
            id,
            company,
            filter,
            existing,
            newest,
            started_by: by.to_owned(),
            started_at: now(),
            stop: CancellationToken::new(),
            progress: Mutex::new(progress),
        }
    }

    /// Asks it to stop after the event that it is replaying. Does nothing to a job that has ended.
    pub fn stop(&self, by: &str) {
        let mut progress = self.progress();
        if progress.ended_at.is_none() && progress.stopped_by.is_none() {
            progress.stopped_by = Some(by.to_owned());
        }
        drop(progress);
        self.stop.cancel();
    }

    /// Returns its state and counts.
    #[must_use]
    pub fn report(&self) -> ReplayJobReport {
        let it = self.progress();
        let ran = it.running_since.map_or(it.ran_seconds, |since| since.elapsed().as_secs_f64());
        let failures: Vec<_> = it.failed.values().cloned().collect();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let per_second = if ran > 0.0 { (it.done as f64 / ran * 10.0).round() / 10.0 } else { 0.0 };
        ReplayJobReport {
            id: self.id,
            company_id: self.company.clone(),
            state: it.state,
            filter: self.filter.clone(),
            tasks: self.existing,
            newest: self.newest,
            total: it.total,
            done: it.done,
            failed: failures.iter().map(|it| it.count).sum(),
            failures,
            created: it.created,
            updated: it.updated,
            left: it.left,
            not_replayable: it.not_replayable,
            per_second,
            started_by: self.started_by.clone(),
            started_at: self.started_at,
            ended_at: it.ended_at,
            stopped_by: it.stopped_by.clone(),
            error: it.error.clone(),
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.progress().ended_at.is_some()
    }

    /// Returns the counts in a few words, for the audit log.
    pub(super) fn words(&self) -> String {
        let report = self.report();
        let ReplayJobReport { done, total, failed, created, updated, .. } = &report;
        let counts = format!("{done} of {total} events, {failed} failed, {created} tasks created, {updated} updated");
        match (&report.state, &report.stopped_by, &report.error) {
            (JobState::Stopped, Some(by), _) => format!("stopped by {by}: {counts}"),
            (JobState::Failed | JobState::Interrupted, _, Some(error)) => format!("not finished ({error}): {counts}"),
            _ => counts,
        }
    }

    pub(super) fn set(&self, state: JobState) {
        let mut progress = self.progress();
        if progress.ended_at.is_none() {
            progress.state = state;
        }
        if state == JobState::Running && progress.running_since.is_none() {
            progress.running_since = Some(Instant::now());
        }
    }

    pub(super) fn found(&self, total: usize, left: u64, not_replayable: u64) {
        let mut progress = self.progress();
        (progress.total, progress.left, progress.not_replayable) = (total as u64, left, not_replayable);
    }

    pub(super) fn count(&self, id: EventId, one: &OneReplay) {
        let mut progress = self.progress();
        progress.done += 1;
        match one {
            OneReplay::Done { created, updated } => {
                progress.created += *created as u64;
                progress.updated += *updated as u64;
            }
            OneReplay::Failed(reason) | OneReplay::Busy(reason) => {
                let is_new = !progress.failed.contains_key(reason);
                let reason = if is_new && progress.failed.len() >= REASONS { OTHER } else { reason.as_str() };
                let entry = progress.failed.entry(reason.to_owned());
                let failed =
                    entry.or_insert_with(|| FailedReplays { reason: reason.to_owned(), count: 0, events: Vec::new() });
                failed.count += 1;
                if failed.events.len() < NAMED {
                    failed.events.push(id);
                }
            }
        }
    }

    /// Ends it.
    pub(super) fn end(&self, state: JobState, error: Option<String>) {
        let mut progress = self.progress();
        if progress.ended_at.is_some() {
            return;
        }
        progress.ran_seconds = progress.running_since.take().map_or(0.0, |it| it.elapsed().as_secs_f64());
        (progress.state, progress.error, progress.ended_at) = (state, error, Some(now()));
    }

    fn progress(&self) -> MutexGuard<'_, JobProgress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
