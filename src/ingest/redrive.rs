//! Replays: an event runs through the line again, keeps its identity, and never makes a task twice.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::outcome::{DIFFERS, Ready, event as event_of};
use super::stages::Stages;
use super::{Receipt, Stop, direct_line, mapped_line, outcome};
use crate::app::App;
use crate::audit::Entry;
use crate::event::{Event, EventStatus, NoBody, StageTime, new_id};
use crate::integration::Integration;
use crate::payload::Rules;
use crate::store::{
    EventVersion, FirstAnswer, Idempotency, IdempotencyId, Ingested, Replace, Replaced, StoreError, Versioned,
};
use crate::task::{NewTask, Task, TaskId, TaskPatch};

/// What is done with the tasks that an event has made before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// They stay as they are, and the plugin is not run.
    #[default]
    Leave,
    /// They become what the plugin makes of the event now; their status is theirs.
    Update,
}

/// The result of a replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Redriven {
    /// The event, as it is now.
    #[serde(flatten)]
    pub event: Event,
    /// Tasks that it has made now.
    pub created: usize,
    /// Tasks of before that were changed.
    pub updated: usize,
    /// Tasks of before that stay as they were: as asked, or as they were deleted.
    pub left: usize,
}

/// Why an event cannot be replayed.
#[derive(Debug)]
pub enum NotRedriven {
    /// A sentence.
    Refused(&'static str),
    /// The line could not be run just now; nothing was changed.
    Stop(Stop),
}

impl From<StoreError> for NotRedriven {
    fn from(error: StoreError) -> Self {
        Self::Stop(error.into())
    }
}

/// What a replay is asked to do, and by whom.
pub struct Asking<'a> {
    /// What to do with the tasks that the event has made before.
    pub existing: Existing,
    /// The time of the replay.
    pub now: DateTime<Utc>,
    /// The entry for the audit log, with this detail: stored in one commit with what the replay does.
    pub audit: &'a (dyn Fn(&str) -> Entry + Send + Sync),
}

impl std::fmt::Debug for Asking<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asking").field("existing", &self.existing).field("now", &self.now).finish_non_exhaustive()
    }
}

const CHANGED: &str = "it has been changed by another replay or attempt meanwhile; look at it again";

/// Runs an event's line again. `integration` is none for what came as `POST /v1/tasks`; `remembered` is what the sender is
/// answered, should it send the delivery once more. Of two replays at once the store takes one.
///
/// # Errors
/// Where it has no body, was changed or erased meanwhile, or cannot be run or stored just now.
pub async fn redrive(
    app: &App,
    integration: Option<&Integration>,
    Versioned { event, version }: Versioned,
    asking: Asking<'_>,
    remembered: impl FnOnce(&Receipt) -> Option<Idempotency>,
) -> Result<Redriven, NotRedriven> {
    let differs = event.reason.as_ref().is_some_and(|it| it.code == DIFFERS);
    if let Some(why) = event.no_body() {
        return refused(app, &asking, why.sentence()).await;
    }
    match event.status {
        EventStatus::Queued => return refused(app, &asking, "it is still queued").await,
        EventStatus::Duplicate if !differs => {
            return refused(app, &asking, "a duplicate; replay the event that it repeats").await;
        }
        _ => {}
    }
    let had = event.task_ids.len();
    if had > 0 && asking.existing == Existing::Leave {
        app.store.note((asking.audit)(&counts(0, 0, had))).await?;
        return Ok(Redriven { event, created: 0, updated: 0, left: had });
    }
    let (raw, mut stages) = (event.raw(), Stages::start());
    let result = match integration {
        Some(integration) => mapped_line(integration, &raw, &mut stages).await,
        None => direct_line(&Rules::default(), &raw, &mut stages),
    };
    let run = Run { app, integration, event, version, asking, stages: stages.done() };
    match result {
        Err(stop) if !stop.is_kept() => {
            app.store.note((run.asking.audit)("not done")).await?;
            Err(NotRedriven::Stop(stop))
        }
        Err(stop) => run.stopped(&stop).await,
        Ok(ready) if ready.tasks.is_empty() => run.skipped(ready).await,
        // Its delivery id is that of another event, which is remembered under it.
        Ok(ready) if differs => run.made(ready, |_| None).await,
        Ok(ready) => run.made(ready, remembered).await,
    }
}

async fn refused(app: &App, asking: &Asking<'_>, why: &'static str) -> Result<Redriven, NotRedriven> {
    app.store.note((asking.audit)("not done")).await?;
    Err(NotRedriven::Refused(why))
}

fn counts(created: usize, updated: usize, left: usize) -> String {
    format!("{created} created, {updated} updated, {left} left")
}

struct Run<'a> {
    app: &'a App,
    integration: Option<&'a Integration>,
    event: Event,
    version: EventVersion,
    asking: Asking<'a>,
    stages: Vec<StageTime>,
}

impl Run<'_> {
    /// Earlier tasks stay, and the event with them; only the caller learns of it.
    async fn stopped(self, stop: &Stop) -> Result<Redriven, NotRedriven> {
        let ingested = outcome::quarantined(self.integration, self.event.raw(), stop, self.stages.clone());
        self.without_tasks(ingested, None).await
    }

    async fn skipped(self, ready: Ready) -> Result<Redriven, NotRedriven> {
        let (raw, now) = (self.event.raw(), self.asking.now);
        let (ingested, _) = outcome::stored(self.integration, raw, ready, self.stages.clone(), now);
        // What made nothing is not remembered: its sender's next copy is a delivery of its own.
        let forget = self.integration.and_then(|it| it.delivery(&self.event.raw()));
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
            self.app.store.note((self.asking.audit)(&counts(0, 0, had))).await?;
            ingested.event.task_ids.clone_from(&self.event.task_ids);
        }
        Ok(Redriven { event: ingested.event, created: 0, updated: 0, left: had })
    }

    async fn made(
        self,
        ready: Ready,
        remembered: impl FnOnce(&Receipt) -> Option<Idempotency>,
    ) -> Result<Redriven, NotRedriven> {
        let (mut updates, had) = (Vec::new(), self.event.task_ids.clone());
        let mut new = ready.tasks.into_iter();
        for (id, task) in had.iter().zip(&mut new) {
            // One that was deleted stays so.
            let found = self.app.store.task(&self.event.company_id, *id).await?;
            updates.extend(found.map(|_| (*id, patch(task))));
        }
        let (company, now) = (self.event.company_id.clone(), self.asking.now);
        let into_task = |it: NewTask| it.into_task(TaskId(new_id(now)), self.event.id, company.clone(), now);
        let tasks: Vec<Task> = new.map(into_task).collect();
        let mut event = event_of(self.integration, self.event.raw(), EventStatus::Stored, None);
        event.task_ids = had.iter().copied().chain(tasks.iter().map(|it| it.id)).collect();
        (event.stages, event.plugin_log) = (self.stages.clone(), ready.plugin_log);
        self.keep_attempts(&mut event);
        let (created, updated, left) = (tasks.len(), updates.len(), had.len() - updates.len());
        let receipt = Receipt::Created { tasks: tasks.clone(), loosened: ready.loosened };
        let idempotency = had.is_empty().then(|| remembered(&receipt)).flatten();
        let ingested = Ingested { event: event.clone(), tasks };
        let replace = Replace { idempotency, updates, ..Replace::of(ingested, self.version) };
        match self.replace(replace, counts(created, updated, left)).await? {
            None => Ok(Redriven { event, created, updated, left }),
            Some(first) => self.came_again(&first).await,
        }
    }

    /// The event's new state and the audit log's entry, in one commit. Gives the first answer where its sender has tried
    /// again meanwhile, and that made the tasks.
    async fn replace(&self, replace: Replace, detail: String) -> Result<Option<FirstAnswer>, NotRedriven> {
        let audit = Some((self.asking.audit)(&detail));
        match self.app.store.replace(Replace { audit, ..replace }).await? {
            Replaced::Stored => Ok(None),
            Replaced::Repeated(first) => Ok(Some(first)),
            Replaced::Changed => refused(self.app, &self.asking, CHANGED).await.map(|_| None),
            Replaced::Erased => refused(self.app, &self.asking, NoBody::Erased.sentence()).await.map(|_| None),
        }
    }

    async fn came_again(self, first: &FirstAnswer) -> Result<Redriven, NotRedriven> {
        let Some(integration) = self.integration else {
            return refused(self.app, &self.asking, "another request has done this meanwhile").await;
        };
        let ingested = outcome::duplicate(integration, self.event.raw(), first);
        let event = ingested.event.clone();
        self.replace(Replace::of(ingested, self.version), counts(0, 0, 0)).await?;
        Ok(Redriven { event, created: 0, updated: 0, left: 0 })
    }

    /// A replay is no attempt of the sender's.
    fn keep_attempts(&self, event: &mut Event) {
        (event.attempts, event.last_attempt_at) = (self.event.attempts, self.event.last_attempt_at);
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
