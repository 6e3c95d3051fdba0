//! What is stored at the end of the pipeline, and the response to the sender.

use chrono::{DateTime, Utc};

use super::parts::Pipeline;
use super::stages::timed;
use crate::format::payload::Loosened;
use crate::integration::Integration;
use crate::integration::load::direct;
use crate::integration::mapped::Ready;
use crate::integration::stop::Stop;
use crate::model::event::{Event, EventStatus, RawEvent, Reason, StageTime};
use crate::model::headers::Headers;
use crate::model::ids::{EventId, TaskId, new_id};
use crate::model::task::{NewTask, Task};
use crate::store::{Commit, Committed, FirstAnswer, Idempotency, IdempotencyId, Ingested, StoreError};

/// The successful result for the sender.
#[derive(Debug)]
pub enum Receipt {
    /// Tasks were created and are durable.
    Created {
        /// Tasks in the plugin's order.
        tasks: Vec<Task>,
        /// What was read loosely.
        loosened: Loosened,
    },
    /// The plugin skipped the event.
    Skipped {
        /// Reason of the skip.
        reason: String,
    },
    /// The integration only captures: the event is durable, and not mapped.
    Captured,
}

/// Why a run stored nothing.
#[derive(Debug)]
pub enum Superseded {
    /// An equal request was processed first; this is the response to it.
    Before(FirstAnswer),
    /// The event's patient was erased in the meantime.
    Erased,
}

impl Superseded {
    /// Returns why a commit stored nothing; `None` if it did.
    #[must_use]
    pub fn of(committed: Committed) -> Option<Self> {
        match committed {
            Committed::Stored => None,
            Committed::Repeated(first) => Some(Self::Before(first)),
            Committed::Erased => Some(Self::Erased),
        }
    }
}

/// Commits, and returns why nothing was stored, if so. A commit with an [`Idempotency`] decides by itself whether the
/// request is a repetition. If it has none, or is rejected before it is decided (the disk is nearly full), `earlier`, the
/// stored response to the same request, is looked up, and only then.
pub(super) async fn committed(
    pipeline: &Pipeline,
    commit: Commit,
    earlier: impl Future<Output = Result<Option<FirstAnswer>, StoreError>>,
) -> Result<Option<Superseded>, StoreError> {
    let Some(own) = commit.idempotency.as_ref().map(|it| it.answer.body.clone()) else {
        return match earlier.await? {
            Some(first) => Ok(Some(Superseded::Before(first))),
            None => Ok(Superseded::of(timed(pipeline.store.commit(commit)).await?)),
        };
    };
    match timed(pipeline.store.commit(commit)).await {
        Ok(committed) => Ok(Superseded::of(committed)),
        Err(error) => match earlier.await {
            // This request's own response may have been stored, but it is unknown whether it is durable.
            Ok(Some(first)) if first.body != own => Ok(Some(Superseded::Before(first))),
            _ => Err(error),
        },
    }
}

/// Creates the event and its tasks. `now` is the creation time of the tasks.
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

/// Creates the event of a captured delivery. `why` is what its body or the schema would have failed with.
pub(super) fn captured(
    integration: &Integration,
    raw: RawEvent,
    why: Option<&Stop>,
    stages: Vec<StageTime>,
) -> Ingested {
    let reason = why.map(|it| Reason { stage: it.stage().into(), code: it.code().into(), message: it.to_string() });
    let mut event = event(Some(integration), raw, EventStatus::Captured, reason);
    // No plugin has processed it.
    (event.provenance, event.stages) = (None, stages);
    Ingested { event, tasks: Vec::new() }
}

/// Creates the stored response of a quarantined delivery: its next copy is an attempt of the same event. `at` is
/// the time of receipt.
#[must_use]
pub fn refusal(id: IdempotencyId, event: EventId, body: &[u8], at: DateTime<Utc>) -> Idempotency {
    let answer = FirstAnswer {
        fingerprint: FirstAnswer::fingerprint(body),
        at,
        refused: true,
        event_id: Some(event),
        // It is never answered again.
        head: bytes::Bytes::new(),
        body: bytes::Bytes::new(),
    };
    Idempotency { id, answer }
}

/// Reason code of a delivery with the id of an earlier one, but another body.
pub(super) const DIFFERS: &str = "duplicate_differs";

/// Creates the event of a repeated delivery. The same body is not stored again; a different one is, and can be
/// replayed.
pub(super) fn duplicate(integration: &Integration, raw: RawEvent, first: &FirstAnswer) -> Ingested {
    let of = first.event_id.map_or_else(|| "another event".to_owned(), |id| format!("event {id}"));
    let same = first.fingerprint == FirstAnswer::fingerprint(&raw.body);
    let (code, message) = if same {
        ("duplicate", format!("repetition of {of}; it got the same response"))
    } else {
        let message = format!(
            "it has the id of {of}, but another body, so it created no task. If it is a different message, add \
             more distinguishing fields to [dedupe] and replay it"
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

/// Reason code of a question that the server has answered itself.
pub const HANDSHAKE: &str = "handshake";

/// Creates the event of a question that the server has answered itself.
pub(super) fn question(integration: &Integration, raw: RawEvent, message: String) -> Ingested {
    let reason = Reason { stage: "auth".into(), code: HANDSHAKE.into(), message };
    let mut event = event(Some(integration), raw, EventStatus::Skipped, Some(reason));
    // No plugin has processed it.
    event.provenance = None;
    Ingested { event, tasks: Vec::new() }
}

/// Creates the event of a rejected delivery, without its body.
#[must_use]
pub fn rejected(
    integration: &Integration,
    id: EventId,
    now: DateTime<Utc>,
    headers: Headers,
    reason: Reason,
    body_bytes: u64,
) -> Ingested {
    const MESSAGE_CHARACTERS: usize = 300;
    let reason = Reason { message: reason.message.chars().take(MESSAGE_CHARACTERS).collect(), ..reason };
    let raw = RawEvent {
        id,
        received_at: now,
        company_id: integration.company_id.clone(),
        content_type: None,
        headers,
        query: Vec::new(),
        path: String::new(),
        body: bytes::Bytes::new(),
        redacted: Vec::new(),
        trace: None,
        origin: None,
    };
    let mut event = event(Some(integration), raw, EventStatus::Rejected, Some(reason));
    event.body_bytes = body_bytes;
    // No plugin has processed it.
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
        query: raw.query,
        path: raw.path,
        stages: Vec::new(),
        redacted: raw.redacted,
        erased_at: None,
        attempts: 1,
        last_attempt_at: None,
        trace: raw.trace,
        origin: raw.origin,
        body_bytes: raw.body.len() as u64,
        body: raw.body,
    }
}
