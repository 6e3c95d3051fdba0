//! An event once more through the line: it keeps its identity, and never makes a task twice.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::outcome::{Ready, event as event_of};
use super::stages::Stages;
use super::{Receipt, Stop, direct_line, mapped_line, outcome};
use crate::app::App;
use crate::event::{Event, EventStatus, StageTime, new_id};
use crate::integration::Integration;
use crate::payload::Rules;
use crate::store::{Commit, Committed, FirstAnswer, Idempotency, Ingested, StoreError, Updated};
use crate::task::{NewTask, Task, TaskId, TaskPatch};

/// How often a task that others change meanwhile is tried.
const TRIES: usize = 5;

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

/// What a re-drive has come to.
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

/// Why an event cannot be driven through again.
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

/// Drives an event through its line again. `integration` is none for what came as `POST /v1/tasks`; `remembered`
/// is what the sender is told, should it send the delivery once more. The caller sees to it that nobody drives the same
/// event meanwhile.
///
/// # Errors
/// Where it has no body, or cannot be run or stored just now.
pub async fn redrive(
    app: &App,
    integration: Option<&Integration>,
    event: Event,
    existing: Existing,
    now: DateTime<Utc>,
    remembered: impl FnOnce(&Receipt) -> Option<Idempotency>,
) -> Result<Redriven, NotRedriven> {
    if let Some(why) = event.no_body() {
        return Err(NotRedriven::Refused(why.sentence()));
    }
    match event.status {
        EventStatus::Queued => return Err(NotRedriven::Refused("it waits for its first time")),
        EventStatus::Duplicate => return Err(NotRedriven::Refused("a duplicate: drive the first one again")),
        _ => {}
    }
    let had = event.task_ids.len();
    if had > 0 && existing == Existing::Leave {
        return Ok(Redriven { event, created: 0, updated: 0, left: had });
    }
    let (raw, mut stages) = (event.raw(), Stages::start());
    let result = match integration {
        Some(integration) => mapped_line(integration, &raw, &mut stages).await,
        None => direct_line(&Rules::default(), &raw, &mut stages),
    };
    let run = Run { app, integration, event, now, stages: stages.done() };
    match result {
        Err(stop) if !stop.is_kept() => Err(NotRedriven::Stop(stop)),
        Err(stop) => run.stopped(&stop).await,
        Ok(ready) if ready.tasks.is_empty() => run.skipped(ready).await,
        Ok(ready) => run.made(ready, remembered).await,
    }
}

struct Run<'a> {
    app: &'a App,
    integration: Option<&'a Integration>,
    event: Event,
    now: DateTime<Utc>,
    stages: Vec<StageTime>,
}

impl Run<'_> {
    /// Tasks of before stay, and the event with them; only its caller is told.
    async fn stopped(self, stop: &Stop) -> Result<Redriven, NotRedriven> {
        let mut ingested = outcome::quarantined(self.integration, self.event.raw(), stop, self.stages);
        if self.event.task_ids.is_empty() {
            self.app.store.commit(ingested.clone().into()).await?;
        } else {
            ingested.event.task_ids.clone_from(&self.event.task_ids);
        }
        Ok(Redriven { created: 0, updated: 0, left: self.event.task_ids.len(), event: ingested.event })
    }

    async fn skipped(self, ready: Ready) -> Result<Redriven, NotRedriven> {
        let had = self.event.task_ids.clone();
        let (mut ingested, _) = outcome::stored(self.integration, self.event.raw(), ready, self.stages);
        if had.is_empty() {
            self.app.store.commit(ingested.clone().into()).await?;
        }
        let left = had.len();
        ingested.event.task_ids = had;
        Ok(Redriven { event: ingested.event, created: 0, updated: 0, left })
    }

    async fn made(
        self,
        ready: Ready,
        remembered: impl FnOnce(&Receipt) -> Option<Idempotency>,
    ) -> Result<Redriven, NotRedriven> {
        let (mut updated, had) = (0, self.event.task_ids.clone());
        let mut new = ready.tasks.into_iter();
        for (id, task) in had.iter().zip(&mut new) {
            updated += usize::from(self.update(*id, task).await?);
        }
        let (company, now) = (self.event.company_id.clone(), self.now);
        let into_task = |it: NewTask| it.into_task(TaskId(new_id(now)), self.event.id, company.clone(), now);
        let tasks: Vec<Task> = new.map(into_task).collect();
        let mut event = event_of(self.integration, self.event.raw(), EventStatus::Stored, None);
        event.task_ids = had.iter().copied().chain(tasks.iter().map(|it| it.id)).collect();
        (event.stages, event.plugin_log) = (self.stages.clone(), ready.plugin_log);
        let created = tasks.len();
        let receipt = Receipt::Created { tasks: tasks.clone(), loosened: ready.loosened };
        let idempotency = had.is_empty().then(|| remembered(&receipt)).flatten();
        let ingested = Ingested { event: event.clone(), tasks };
        let commit = Commit { ingested: vec![ingested.clone()], idempotency };
        match self.app.store.commit(commit).await? {
            Committed::Stored => {}
            // Answered 202 when it came, and remembered since then: that is this event itself.
            Committed::Repeated(first) if first.event_id() == Some(event.id) => {
                self.app.store.commit(ingested.into()).await?;
            }
            Committed::Repeated(first) => return self.came_again(&first).await,
        }
        Ok(Redriven { event, created, updated, left: had.len() - updated })
    }

    /// The sender has tried again meanwhile, and that made the tasks.
    async fn came_again(self, first: &FirstAnswer) -> Result<Redriven, NotRedriven> {
        let Some(integration) = self.integration else {
            return Err(NotRedriven::Refused("another request has done this meanwhile"));
        };
        let ingested = outcome::duplicate(integration, self.event.raw(), first);
        self.app.store.commit(ingested.clone().into()).await?;
        Ok(Redriven { event: ingested.event, created: 0, updated: 0, left: 0 })
    }

    /// Whether the task was there to be changed.
    async fn update(&self, id: TaskId, new: NewTask) -> Result<bool, StoreError> {
        let company = &self.event.company_id;
        let patch = patch(new);
        for _ in 0..TRIES {
            let Some(task) = self.app.store.task(company, id).await? else { return Ok(false) };
            match self.app.store.update_task(company, id, task.version, patch.clone(), self.now).await? {
                Updated::Done(_) => return Ok(true),
                Updated::Missing => return Ok(false),
                Updated::Stale { .. } => {}
            }
        }
        Err(StoreError::Write("a task is being changed all the time".into()))
    }
}

/// Everything that a plugin says of a task, but how far it is done.
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
