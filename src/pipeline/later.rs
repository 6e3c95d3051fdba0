//! Deliveries that are acknowledged first and processed later.

use super::captured::captured;
use super::counted;
use super::hook::mapped_line;
use super::outcome;
use super::outcome::{Superseded, event};
use super::parts::Pipeline;
use super::stages::{Stages, timed};
use crate::integration::stop::Stop;
use crate::integration::{Found, Integration, Received};
use crate::metrics::integrations::{self, DeliveryEnd};
use crate::metrics::queue::QUEUE;
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus, RawEvent, Reason};
use crate::model::ids::{EventId, IntegrationName};
use crate::store::{Claim, Commit, EventVersion, Idempotency, Ingested, Replace, Replaced, StoreError, Versioned};
use crate::system::trace::{self, Kind};

/// Makes a delivery durable, without looking at its content. `remembered` is the response to a repetition, `lane` the
/// event's lane in the queue. Returns why nothing was stored, if so.
///
/// # Errors
/// Fails if it cannot be stored.
pub async fn accept(
    pipeline: &Pipeline,
    integration: &Integration,
    raw: RawEvent,
    remembered: Option<Idempotency>,
    lane: Option<i64>,
) -> Result<Option<Superseded>, Stop> {
    let event = event(Some(integration), raw, EventStatus::Queued, None);
    let how = counted::as_stored(&event);
    let commit =
        Commit { ingested: vec![Ingested { event, tasks: Vec::new() }], idempotency: remembered, lane, audit: None };
    let ended = timed(pipeline.store.commit(commit)).await.map(Superseded::of);
    counted::ended(Some(integration), how, &ended);
    Ok(ended?)
}

/// A queued event, and this server's claim on it where servers share the store.
#[derive(Debug, Clone)]
pub struct QueuedEvent {
    /// Company of the event.
    pub company: CompanyId,
    /// Id of the event.
    pub id: EventId,
    /// The claim; `None` for a store with one server at a time.
    pub claim: Option<Claim>,
    /// Whether it is quarantined if its integration is not live here: no other server has it.
    pub is_absent: bool,
}

impl QueuedEvent {
    /// Reads the event; `None` if it is no longer queued, or the claim has ended.
    async fn read(&self, pipeline: &Pipeline) -> Result<Option<Versioned>, StoreError> {
        let read = match (&self.claim, pipeline.store.cluster()) {
            (Some(claim), Some(cluster)) => cluster.claimed(claim).await?,
            _ => pipeline.store.versioned(&self.company, self.id).await?,
        };
        Ok(read.filter(|it| it.event.status == EventStatus::Queued))
    }
}

/// Processes a queued event. The result is stored in the same commit that removes the event from the queue, so a
/// process that is killed in between does neither, and the next one does both. The store drops a result if the
/// event was erased or completed in the meantime.
///
/// # Errors
/// Fails if this is not possible now; the event remains queued.
pub async fn work(pipeline: &Pipeline, queued: &QueuedEvent) -> Result<(), Stop> {
    let id = queued.id;
    let is_absent = queued.is_absent;
    let Some(queued) = queued.read(pipeline).await? else { return Ok(()) };
    let Some(operation) = trace::begin(Kind::Consumer, "process queued event", queued.event.trace.as_ref()) else {
        return run(pipeline, queued, is_absent).await;
    };
    operation.set("hookmill.event_id", id.to_string());
    operation.set("hookmill.integration", queued.event.integration.to_string());
    let result = operation.scope(run(pipeline, queued, is_absent)).await;
    if result.is_err() {
        operation.fail();
    }
    operation.end();
    result
}

/// Processes an event. If its integration is not live here, it is given up only if that is so on all servers (`is_absent`).
async fn run(pipeline: &Pipeline, Versioned { event, version }: Versioned, is_absent: bool) -> Result<(), Stop> {
    let id = event.id;
    if let Some(why) = event.no_body() {
        return settle(pipeline, given_up(event, version, "decode", why.word(), why.sentence().into())).await;
    }
    let integration = match pipeline.registry.find(&event.integration.0) {
        Found::Live(integration) if integration.company_id == event.company_id => integration,
        Found::Live(_) if !is_absent => return Err(Stop::Loading(event.integration)),
        Found::Live(_) => {
            let message = moved(&event.integration);
            return settle(pipeline, given_up(event, version, "plugin", "integration_moved", message)).await;
        }
        Found::Loading => return Err(Stop::Loading(event.integration)),
        Found::Unknown if !is_absent => return Err(Stop::Loading(event.integration)),
        Found::Unknown => {
            let message = format!("no integration named \"{}\" is live any more", event.integration);
            return settle(pipeline, given_up(event, version, "plugin", "unknown_integration", message)).await;
        }
    };
    let mut received = Received::new(event.raw());
    // The mode has changed since. The 202 that was sent stays the response to a copy.
    if integration.captures {
        let ingested = captured(&integration, received, Stages::start()).await?;
        return settle(pipeline, Replace::of(ingested, version)).await;
    }
    // A 202 is stored under the delivery's id; it remains only if the event created something.
    let delivery = integration.delivery(&received);
    let mut stages = Stages::start();
    let result = mapped_line(&integration, &mut received, &mut stages).await;
    let raw = received.into_raw();
    pipeline.observers.see(&integration, &raw, &result);
    let replace = match result {
        Ok(ready) => {
            let forget = delivery.filter(|_| ready.tasks.is_empty());
            let now = raw.received_at;
            let ingested = outcome::stored(Some(&integration), raw, ready, stages.done(), now).0;
            Replace { forget, ..Replace::of(ingested, version) }
        }
        Err(stop) if !stop.is_kept() => return Err(stop),
        Err(stop) => {
            let idempotency = delivery.map(|it| outcome::refusal(it, id, &raw.body, raw.received_at));
            let ingested = outcome::quarantined(Some(&integration), raw, &stop, stages.done());
            Replace { idempotency, ..Replace::of(ingested, version) }
        }
    };
    settle(pipeline, replace).await
}

async fn settle(pipeline: &Pipeline, replace: Replace) -> Result<(), Stop> {
    let id = replace.ingested.event.id;
    let (series, how) =
        (integrations::find(&replace.ingested.event.integration.0), counted::as_stored(&replace.ingested.event));
    let without_answer = Replace { idempotency: None, ..replace.clone() };
    let replaced = match timed(pipeline.store.replace(replace)).await? {
        // The stored response belongs to another event, and is kept.
        Replaced::Repeated(_) => pipeline.store.replace(without_answer).await?,
        other => other,
    };
    match replaced {
        Replaced::Stored => {
            QUEUE.settled.count();
            series.delivered(how);
        }
        Replaced::Erased => {
            QUEUE.settled.count();
            series.delivered(DeliveryEnd::Erased);
            tracing::info!(event.id = %id, "a queued event was erased before its result; no task was created");
        }
        Replaced::Changed | Replaced::Repeated(_) => {
            tracing::warn!(event.id = %id, "a queued event was changed before its result; the result is dropped");
        }
    }
    Ok(())
}

/// Quarantines a queued event whose pipeline panics each time.
///
/// # Errors
/// Fails if this is not possible now; the event remains queued.
pub async fn panicked(pipeline: &Pipeline, queued: &QueuedEvent) -> Result<(), Stop> {
    let Some(Versioned { event, version }) = queued.read(pipeline).await? else { return Ok(()) };
    let message =
        "hookmill crashed each time it processed this event; please report this together with the log lines about it";
    settle(pipeline, given_up(event, version, "queue", "panicked", message.into())).await
}

/// Quarantines a queued event whose result the store refuses for good.
///
/// # Errors
/// Fails if this is not possible now; the event remains queued.
pub async fn unstorable(pipeline: &Pipeline, queued: &QueuedEvent, refused: &StoreError) -> Result<(), Stop> {
    let Some(Versioned { event, version }) = queued.read(pipeline).await? else { return Ok(()) };
    let message = format!(
        "the result of this event was refused: {refused}; change what the plugin returns, for example to shorter texts, and replay the event"
    );
    settle(pipeline, given_up(event, version, "queue", "unstorable", message)).await
}

/// Quarantines a queued event whose processing has been interrupted too often: each time, the server that had claimed it crashed,
/// hung or lost the store.
///
/// # Errors
/// Fails if this is not possible now; the event remains queued.
pub async fn interrupted(pipeline: &Pipeline, queued: &QueuedEvent, attempts: u32) -> Result<(), Stop> {
    let Some(Versioned { event, version }) = queued.read(pipeline).await? else { return Ok(()) };
    let message = format!(
        "processing was interrupted {attempts} times: a server that had begun crashed, hung or lost the database; see the servers' logs, and replay the event once the cause is fixed"
    );
    settle(pipeline, given_up(event, version, "queue", "interrupted", message)).await
}

/// Returns why an event cannot be run by the integration that has its name now. The other company is not named.
pub(crate) fn moved(name: &IntegrationName) -> String {
    format!(
        "the integration \"{name}\" belongs to another company now; this event can be replayed once its own company has an integration with this name again"
    )
}

/// Returns the new state of an event that cannot be processed.
fn given_up(event: Event, version: EventVersion, stage: &str, code: &str, message: String) -> Replace {
    let reason = Reason { stage: stage.into(), code: code.into(), message };
    let event = Event { status: EventStatus::Quarantined, reason: Some(reason), ..event };
    Replace::of(Ingested { event, tasks: Vec::new() }, version)
}
