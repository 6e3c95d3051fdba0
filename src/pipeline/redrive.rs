//! Replays: an event runs through the pipeline again, keeps its identity, and never creates a task twice.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::hook::{direct_line, mapped_line};
use super::outcome;
use super::outcome::{DIFFERS, Receipt, event as event_of};
use super::parts::Pipeline;
use super::stages::{Stages, timed};
use crate::format::payload::Rules;
use crate::integration::mapped::Ready;
use crate::integration::stop::Stop;
use crate::integration::{Integration, Received};
use crate::metrics::pipeline::{PIPELINE, ReplayEnd};
use crate::model::audit::Entry;
use crate::model::event::{Event, EventStatus, NoBody, StageTime};
use crate::model::ids::{TaskId, new_id};
use crate::model::task::{NewTask, Task, TaskPatch};
use crate::store::{
    EventVersion, FirstAnswer, Idempotency, IdempotencyId, Ingested, Replace, Replaced, StoreError, Versioned,
};

/// What a replay does with tasks that the event created earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[schemars(rename = "ExistingTasks")]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// The tasks remain unchanged, and the plugin is not run.
    #[default]
    Leave,
    /// The tasks are updated to the plugin's current output, except their status.
    Update,
}

/// The result of a replay.
#[derive(Debug, Clone, PartialEq, Serialize, schemars::JsonSchema)]
#[schemars(rename = "ReplayedEvent")]
pub struct Redriven {
    /// The current state of the event.
    #[serde(flatten)]
    pub event: Event,
    /// Number of tasks that were created.
    pub created: usize,
    /// Number of existing tasks that were updated.
    pub updated: usize,
    /// Number of existing tasks that were left unchanged: as requested, or because they were deleted.
    pub left: usize,
}

/// Why an event cannot be replayed.
#[derive(Debug)]
pub enum NotRedriven {
    /// The reason, as a sentence.
    Refused(&'static str),
    /// The pipeline could not run; nothing was changed.
    Stop(Stop),
}

impl From<StoreError> for NotRedriven {
    fn from(error: StoreError) -> Self {
        Self::Stop(error.into())
    }
}

/// The request for a replay.
pub struct Asking<'a> {
    /// What to do with tasks that the event created earlier.
    pub existing: Existing,
    /// Time of the replay.
    pub now: DateTime<Utc>,
    /// Creates the audit entry with this detail; it is stored in the same commit as the replay's changes.
    pub audit: &'a (dyn Fn(&str) -> Entry + Send + Sync),
}

impl std::fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking").field("existing", &self.existing).field("now", &self.now).finish_non_exhaustive()
    }
}

const CAPTURES: &str = "its integration only captures deliveries (mode = \"capture\"); set another mode in its plugin.toml, and replay the event then";

const CHANGED: &str = "it was changed by another replay or attempt in the meantime; check its current state";

/// Returns whether an event can be replayed, as far as its state says; `event` may be without its body.
#[must_use]
pub fn is_replayable(event: &Event) -> bool {
    match event.status {
        EventStatus::Rejected | EventStatus::Queued => false,
        EventStatus::Duplicate => event.reason.as_ref().is_some_and(|it| it.code == DIFFERS),
        _ => event.erased_at.is_none() && !event.redacted.iter().any(String::is_empty),
    }
}

/// A replay whose stages are complete.
pub enum PreparedReplay<'a> {
    /// Tasks to be stored.
    Ready(ReadyReplay<'a>),
    /// The replay has ended.
    Done(Redriven),
}

/// Replays an event, up to the commit if it has tasks. `received` is what was sent. `integration` is `None` for events of
/// `POST /v1/tasks`. Of two concurrent replays, the store accepts one.
///
/// # Errors
/// Fails if the event has no body, was changed or erased in the meantime, or cannot be run or stored now.
pub async fn redrive<'a>(
    pipeline: &'a Pipeline,
    integration: Option<&'a Integration>,
    read: Versioned,
    received: Received,
    asking: Asking<'a>,
) -> Result<PreparedReplay<'a>, NotRedriven> {
    let result = replayed(pipeline, integration, read, received, asking).await;
    match &result {
        Ok(PreparedReplay::Ready(_)) => {}
        Ok(PreparedReplay::Done(redriven)) => count(Ok(redriven)),
        Err(error) => count(Err(error)),
    }
    result
}

fn count(result: Result<&Redriven, &NotRedriven>) {
    PIPELINE.replayed(match result {
        Ok(redriven) if redriven.event.status == EventStatus::Quarantined => ReplayEnd::Quarantined,
        Ok(_) => ReplayEnd::Done,
        Err(NotRedriven::Refused(_)) => ReplayEnd::Refused,
        Err(NotRedriven::Stop(_)) => ReplayEnd::Failed,
    });
}

async fn replayed<'a>(
    pipeline: &'a Pipeline,
    integration: Option<&'a Integration>,
    Versioned { event, version }: Versioned,
    mut received: Received,
    asking: Asking<'a>,
) -> Result<PreparedReplay<'a>, NotRedriven> {
    let differs = event.reason.as_ref().is_some_and(|it| it.code == DIFFERS);
    if let Some(why) = event.no_body() {
        return refused(pipeline, &asking, why.sentence()).await;
    }
    match event.status {
        EventStatus::Queued => return refused(pipeline, &asking, "it is still queued").await,
        EventStatus::Duplicate if !differs => {
            return refused(pipeline, &asking, "a duplicate; replay the event that it repeats").await;
        }
        _ => {}
    }
    if integration.is_some_and(|it| it.captures) {
        return refused(pipeline, &asking, CAPTURES).await;
    }
    let had = event.task_ids.len();
    if had > 0 && asking.existing == Existing::Leave {
        pipeline.store.note((asking.audit)(&counts(0, 0, had))).await?;
        return Ok(PreparedReplay::Done(Redriven { event, created: 0, updated: 0, left: had }));
    }
    let delivery = integration.and_then(|it| it.delivery(&received));
    let mut stages = Stages::start();
    let result = match integration {
        Some(integration) => mapped_line(integration, &mut received, &mut stages).await,
        None => direct_line(&Rules::default(), received.raw(), &mut stages),
    };
    let run = Redrive { pipeline, integration, event, version, delivery, asking, stages: stages.done() };
    match result {
        Err(stop) if !stop.is_kept() => {
            pipeline.store.note((run.asking.audit)("not done")).await?;
            Err(NotRedriven::Stop(stop))
        }
        Err(stop) => run.stopped(&stop).await.map(PreparedReplay::Done),
        Ok(ready) if ready.tasks.is_empty() => run.skipped(ready).await.map(PreparedReplay::Done),
        // With `differs`, its delivery id belongs to another event, whose response is stored.
        Ok(ready) => run.made(ready, !differs).await.map(PreparedReplay::Ready),
    }
}

async fn refused<T>(pipeline: &Pipeline, asking: &Asking<'_>, why: &'static str) -> Result<T, NotRedriven> {
    pipeline.store.note((asking.audit)("not done")).await?;
    Err(NotRedriven::Refused(why))
}

fn counts(created: usize, updated: usize, left: usize) -> String {
    format!("{created} created, {updated} updated, {left} left")
}

/// Tasks of a replayed event, to be stored.
pub struct ReadyReplay<'a> {
    run: Redrive<'a>,
    replace: Box<Replace>,
    receipt: Option<Receipt>,
    updated: usize,
    left: usize,
}

struct Redrive<'a> {
    pipeline: &'a Pipeline,
    integration: Option<&'a Integration>,
    event: Event,
    version: EventVersion,
    delivery: Option<IdempotencyId>,
    asking: Asking<'a>,
    stages: Vec<StageTime>,
}

impl<'a> Redrive<'a> {
    /// Stores a failed replay. Earlier tasks remain, and the event's state; only the caller gets the failure.
    async fn stopped(self, stop: &Stop) -> Result<Redriven, NotRedriven> {
        let ingested = outcome::quarantined(self.integration, self.event.raw(), stop, self.stages.clone());
        self.without_tasks(ingested, None).await
    }

    async fn skipped(self, ready: Ready) -> Result<Redriven, NotRedriven> {
        let (raw, now) = (self.event.raw(), self.asking.now);
        let (ingested, _) = outcome::stored(self.integration, raw, ready, self.stages.clone(), now);
        // A skipped event is not remembered, so that the sender's next copy is processed as a new delivery.
        let forget = self.delivery.clone();
        self.without_tasks(ingested, forget).await
    }

    async fn without_tasks(
        self,
        mut ingested: Ingested,
        forget: Option<IdempotencyId>,
    ) -> Result<Redriven, NotRedriven> {
        let had = self.event.task_ids.len();
        self.keep_attempts(&mut ingested.event);
        if had == 0 {
            let replace = Replace { forget, ..Replace::of(ingested.clone(), self.version) };
            self.replace(replace, counts(0, 0, 0)).await?;
        } else {
            self.pipeline.store.note((self.asking.audit)(&counts(0, 0, had))).await?;
            ingested.event.task_ids.clone_from(&self.event.task_ids);
        }
        Ok(Redriven { event: ingested.event, created: 0, updated: 0, left: had })
    }

    /// Prepares the new state of the event. With `remember`, the sender's next copy gets the response to these tasks,
    /// unless the event had tasks before.
    async fn made(self, ready: Ready, remember: bool) -> Result<ReadyReplay<'a>, NotRedriven> {
        let (mut updates, had) = (Vec::new(), self.event.task_ids.clone());
        let mut new = ready.tasks.into_iter();
        for (id, task) in had.iter().zip(&mut new) {
            // A deleted task remains deleted.
            let found = self.pipeline.store.task(&self.event.company_id, *id).await?;
            updates.extend(found.map(|_| (*id, patch(task))));
        }
        let (company, now) = (self.event.company_id.clone(), self.asking.now);
        let into_task = |it: NewTask| it.into_task(TaskId(new_id(now)), self.event.id, company.clone(), now);
        let tasks: Vec<Task> = new.map(into_task).collect();
        let mut event = event_of(self.integration, self.event.raw(), EventStatus::Stored, None);
        event.task_ids = had.iter().copied().chain(tasks.iter().map(|it| it.id)).collect();
        (event.stages, event.plugin_log) = (self.stages.clone(), ready.plugin_log);
        self.keep_attempts(&mut event);
        let (updated, left) = (updates.len(), had.len() - updates.len());
        let remembers = remember && had.is_empty();
        let receipt = remembers.then(|| Receipt::Created { tasks: tasks.clone(), loosened: ready.loosened });
        let replace = Box::new(Replace { updates, ..Replace::of(Ingested { event, tasks }, self.version) });
        Ok(ReadyReplay { run: self, replace, receipt, updated, left })
    }

    /// Stores the event's new state and the audit entry in one commit. Returns the stored response if the sender's
    /// next attempt has created the tasks in the meantime.
    async fn replace(&self, replace: Replace, detail: String) -> Result<Option<FirstAnswer>, NotRedriven> {
        let audit = Some((self.asking.audit)(&detail));
        match timed(self.pipeline.store.replace(Replace { audit, ..replace })).await? {
            Replaced::Stored => Ok(None),
            Replaced::Repeated(first) => Ok(Some(first)),
            Replaced::Changed => refused(self.pipeline, &self.asking, CHANGED).await,
            Replaced::Erased => refused(self.pipeline, &self.asking, NoBody::Erased.sentence()).await,
        }
    }

    async fn came_again(self, first: &FirstAnswer) -> Result<Redriven, NotRedriven> {
        let Some(integration) = self.integration else {
            return refused(self.pipeline, &self.asking, "another request has replayed it in the meantime").await;
        };
        let ingested = outcome::duplicate(integration, self.event.raw(), first);
        let event = ingested.event.clone();
        self.replace(Replace::of(ingested, self.version), counts(0, 0, 0)).await?;
        Ok(Redriven { event, created: 0, updated: 0, left: 0 })
    }

    /// Keeps the attempts unchanged, because a replay is not an attempt of the sender.
    fn keep_attempts(&self, event: &mut Event) {
        (event.attempts, event.last_attempt_at) = (self.event.attempts, self.event.last_attempt_at);
    }
}

impl ReadyReplay<'_> {
    /// Returns what the response to the sender's next copy says; `None` if it gets another one.
    #[must_use]
    pub fn receipt(&self) -> Option<&Receipt> {
        self.receipt.as_ref()
    }

    /// Makes the replay durable, together with `remembered`, the response to the sender's next copy.
    ///
    /// # Errors
    /// Fails if the event was changed or erased in the meantime, or if it cannot be stored.
    pub async fn commit(self, remembered: Option<Idempotency>) -> Result<Redriven, NotRedriven> {
        let result = self.store(remembered).await;
        count(result.as_ref());
        result
    }

    async fn store(self, idempotency: Option<Idempotency>) -> Result<Redriven, NotRedriven> {
        let Self { run, replace, updated, left, .. } = self;
        let (event, created) = (replace.ingested.event.clone(), replace.ingested.tasks.len());
        let replace = Replace { idempotency, ..*replace };
        match run.replace(replace, counts(created, updated, left)).await? {
            None => Ok(Redriven { event, created, updated, left }),
            Some(first) => run.came_again(&first).await,
        }
    }
}

/// All task fields that a plugin sets, except `status`.
fn patch(new: NewTask) -> TaskPatch {
    TaskPatch {
        title: Some(new.title),
        description: Some(new.description),
        assigned_user_ids: Some(new.assigned_user_ids),
        created_by_id: Some(new.created_by_id),
        deadline: Some(new.deadline),
        tags: Some(new.tags.unwrap_or_default()),
        call_id: Some(new.call_id),
        fax_id: Some(new.fax_id),
        assistant_id: Some(new.assistant_id),
        session_id: Some(new.session_id),
        patient_id: Some(new.patient_id),
        priority: Some(new.priority),
        kind: Some(new.kind),
        status: None,
        external_message_ids: None,
    }
}
