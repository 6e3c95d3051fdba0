//! What is stored at the line's end, and what the sender is told.

use chrono::{DateTime, Utc};

use super::Stop;
use crate::app::App;
use crate::event::{Event, EventId, EventStatus, Headers, RawEvent, Reason, StageTime, new_id};
use crate::integration::Integration;
use crate::integration::load::direct;
use crate::payload::Loosened;
use crate::store::{Commit, Committed, FirstAnswer, Idempotency, IdempotencyId, Ingested, StoreError};
use crate::task::{NewTask, Task, TaskId};

/// What the sender is told when the line has reached its end.
#[derive(Debug)]
pub enum Receipt {
    /// Tasks were made and are durable.
    Created {
        /// In the plugin's order.
        tasks: Vec<Task>,
        /// What had to be read loosely.
        loosened: Loosened,
    },
    /// The plugin had nothing to do for it.
    Skipped {
        /// Its reason.
        reason: String,
    },
}

/// An answer, made before the commit.
#[derive(Debug)]
pub struct Told<A> {
    /// For the sender.
    pub answer: A,
    /// For whoever sends the same again; stored in the same commit.
    pub remembered: Option<Idempotency>,
}

/// How a line that was not stopped has ended.
#[derive(Debug)]
pub enum Ended<A> {
    /// With an answer of its own.
    Now(A),
    /// With that of an equal request, which came first. Nothing was stored.
    Before(FirstAnswer),
    /// The patient that it is about was erased meanwhile: no task was stored.
    Erased,
}

impl<A> Ended<A> {
    /// The answer that belongs to a commit's end.
    pub fn of(answer: A, committed: Committed) -> Self {
        match committed {
            Committed::Stored => Self::Now(answer),
            Committed::Repeated(first) => Self::Before(first),
            Committed::Erased => Self::Erased,
        }
    }
}

/// Commits, and says how that ended. A commit that carries an [`Idempotency`] decides by itself whether the request is a
/// repetition. One that carries none, or is rejected before it is decided (the disk is nearly full), does not: `earlier`,
/// the first answer to the same request, is looked up then, and only then.
pub(super) async fn committed<A>(
    app: &App,
    commit: Commit,
    answer: A,
    earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
) -> Result<Ended<A>, StoreError> {
    let Some(own) = commit.idempotency.as_ref().map(|it| it.answer.body.clone()) else {
        return match earlier.await? {
            Some(first) => Ok(Ended::Before(first)),
            None => Ok(Ended::of(answer, app.store.commit(commit).await?)),
        };
    };
    match app.store.commit(commit).await {
        Ok(committed) => Ok(Ended::of(answer, committed)),
        Err(error) => match earlier.await {
            // This very request's may have been stored, but whether it is durable is not known.
            Ok(Some(first)) if first.body != own => Ok(Ended::Before(first)),
            _ => Err(error),
        },
    }
}

/// What one run of the line has come to, before it is stored.
pub(super) struct Ready {
    pub(super) tasks: Vec<NewTask>,
    pub(super) skip: Option<String>,
    pub(super) loosened: Loosened,
    pub(super) plugin_log: String,
}

impl Ready {
    /// What needs nothing done.
    pub(super) fn skip(reason: String) -> Self {
        Self { tasks: Vec::new(), skip: Some(reason), loosened: Loosened::default(), plugin_log: String::new() }
    }

    /// What needed no plugin.
    pub(super) fn one(task: NewTask, loosened: Loosened) -> Self {
        Self { tasks: vec![task], skip: None, loosened, plugin_log: String::new() }
    }
}

/// `now` is when its tasks are created.
pub(super) fn stored(
    integration: Option<&Integration>,
    raw: RawEvent,
    ready: Ready,
    stages: Vec<StageTime>,
    now: DateTime<Utc>,
) -> (Ingested, Receipt) {
    let (event_id, company) = (raw.id, raw.company_id.clone());
    let into_task = |task: NewTask| task.into_task(TaskId(new_id(now)), event_id, company.clone(), now);
    let tasks: Vec<Task> = ready.tasks.into_iter().map(into_task).collect();
    let mut event = event(integration, raw, EventStatus::Stored, None);
    event.stages = stages;
    event.task_ids = tasks.iter().map(|task| task.id).collect();
    event.plugin_log = ready.plugin_log;
    let receipt = match ready.skip {
        Some(reason) => {
            event.status = EventStatus::Skipped;
            event.reason = Some(Reason { stage: "plugin".into(), code: "skipped".into(), message: reason.clone() });
            Receipt::Skipped { reason }
        }
        None => Receipt::Created { tasks: tasks.clone(), loosened: ready.loosened },
    };
    (Ingested { event, tasks }, receipt)
}

pub(super) fn quarantined(
    integration: Option<&Integration>,
    raw: RawEvent,
    stop: &Stop,
    stages: Vec<StageTime>,
) -> Ingested {
    let reason = Reason { stage: stop.stage().into(), code: stop.code().into(), message: stop.to_string() };
    let mut event = event(integration, raw, EventStatus::Quarantined, Some(reason));
    event.stages = stages;
    if let Stop::Plugin(failed) = stop {
        event.plugin_log.clone_from(&failed.log);
    }
    Ingested { event, tasks: Vec::new() }
}

/// What is remembered of a delivery that was quarantined: its next copy is an attempt of the same event. `at` is when it was
/// received.
#[must_use]
pub fn refusal(id: IdempotencyId, event: EventId, body: &[u8], at: DateTime<Utc>) -> Idempotency {
    let answer = FirstAnswer {
        fingerprint: FirstAnswer::fingerprint(body),
        at,
        refused: true,
        status: 422,
        headers: vec![("x-event-id".into(), event.to_string())],
        body: bytes::Bytes::new(),
    };
    Idempotency { id, answer }
}

/// The reason's code of a delivery that has the id of an earlier one and another body.
pub(super) const DIFFERS: &str = "duplicate_differs";

/// A delivery that came before. The same body is not stored a second time; another one is, and can be replayed.
pub(super) fn duplicate(integration: &Integration, raw: RawEvent, first: &FirstAnswer) -> Ingested {
    let of = first.event_id().map_or_else(|| "another".to_owned(), |id| id.to_string());
    let same = first.fingerprint == FirstAnswer::fingerprint(&raw.body);
    let (code, message) = if same {
        ("duplicate", format!("the same delivery came before, as event {of}; it got the first answer again"))
    } else {
        let message = format!(
            "its id is that of event {of}, and its body is another one: it made nothing. If it is another message, name \
             more of what tells deliveries apart in [dedupe], and replay it"
        );
        (DIFFERS, message)
    };
    let reason = Reason { stage: "dedupe".into(), code: code.into(), message };
    let mut event = event(Some(integration), raw, EventStatus::Duplicate, Some(reason));
    if same {
        event.body = bytes::Bytes::new();
    }
    Ingested { event, tasks: Vec::new() }
}

/// A delivery that was not let in: noted without its body.
#[must_use]
pub fn rejected(
    integration: &Integration,
    id: EventId,
    now: DateTime<Utc>,
    headers: Headers,
    code: &str,
    message: &str,
    body_bytes: u64,
) -> Ingested {
    const MESSAGE_CHARACTERS: usize = 300;
    let message = message.chars().take(MESSAGE_CHARACTERS).collect();
    let reason = Reason { stage: "auth".into(), code: code.into(), message };
    let raw = RawEvent {
        id,
        received_at: now,
        company_id: integration.company_id.clone(),
        content_type: None,
        headers,
        body: bytes::Bytes::new(),
        redacted: Vec::new(),
    };
    let mut event = event(Some(integration), raw, EventStatus::Rejected, Some(reason));
    event.body_bytes = body_bytes;
    // It went through no plugin.
    event.provenance = None;
    Ingested { event, tasks: Vec::new() }
}

pub(super) fn event(
    integration: Option<&Integration>,
    raw: RawEvent,
    status: EventStatus,
    reason: Option<Reason>,
) -> Event {
    Event {
        id: raw.id,
        integration: integration.map_or_else(direct, |it| it.name.clone()),
        company_id: raw.company_id,
        received_at: raw.received_at,
        status,
        reason,
        task_ids: Vec::new(),
        provenance: integration.map(|it| it.provenance.clone()),
        plugin_log: String::new(),
        content_type: raw.content_type,
        headers: raw.headers,
        stages: Vec::new(),
        redacted: raw.redacted,
        erased_at: None,
        attempts: 1,
        last_attempt_at: None,
        body_bytes: raw.body.len() as u64,
        body: raw.body,
    }
}
