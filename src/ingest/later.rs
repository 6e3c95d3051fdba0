//! A delivery that is answered first and goes through the line next.

use super::outcome::{self, event};
use super::stages::Stages;
use super::{Ended, Stop, Told, mapped_line, rehearsal};
use crate::app::App;
use crate::auth::CompanyId;
use crate::event::{Event, EventId, EventStatus, IntegrationName, RawEvent, Reason};
use crate::integration::{Found, Integration};
use crate::store::{Commit, EventVersion, Ingested, Replace, Replaced, Versioned};

/// Makes it durable; nothing has looked into it yet.
///
/// # Errors
/// Where it cannot be stored.
pub async fn accept<A>(app: &App, integration: &Integration, raw: RawEvent, told: Told<A>) -> Result<Ended<A>, Stop> {
    let event = event(Some(integration), raw, EventStatus::Queued, None);
    let commit = Commit { ingested: vec![Ingested { event, tasks: Vec::new() }], idempotency: told.remembered };
    Ok(Ended::of(told.answer, app.store.commit(commit).await?))
}

/// Takes a queued event through the line. What it comes to is stored together with its leaving the queue, so a process that
/// is killed meanwhile does neither, and the next one does both. A result that comes after the event was erased, or was
/// settled by another, is dropped by the store.
///
/// # Errors
/// Where that cannot be done now: it is still queued.
pub async fn work(app: &App, company: &CompanyId, id: EventId) -> Result<(), Stop> {
    let read = app.store.versioned(company, id).await?.filter(|it| it.event.status == EventStatus::Queued);
    let Some(Versioned { event, version }) = read else { return Ok(()) };
    let raw = event.raw();
    if let Some(why) = event.no_body() {
        return settle(app, given_up(event, version, "decode", why.word(), why.sentence().into())).await;
    }
    let integration = match app.registry.find(&event.integration.0) {
        Found::Live(integration) if integration.company_id == event.company_id => integration,
        Found::Live(_) => {
            let message = moved(&event.integration);
            return settle(app, given_up(event, version, "plugin", "integration_moved", message)).await;
        }
        Found::Loading => return Err(Stop::Loading(event.integration)),
        Found::Unknown => {
            let message = format!("no integration named \"{}\" is live any more", event.integration);
            return settle(app, given_up(event, version, "plugin", "unknown_integration", message)).await;
        }
    };
    let mut stages = Stages::start();
    let result = mapped_line(&integration, &raw, &mut stages).await;
    rehearsal::beside(&integration, &raw, &result);
    // What was answered 202 is remembered as a delivery; only one that made something may stay so.
    let delivery = integration.delivery(&raw);
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
    settle(app, replace).await
}

async fn settle(app: &App, replace: Replace) -> Result<(), Stop> {
    let id = replace.ingested.event.id;
    let without_answer = Replace { idempotency: None, ..replace.clone() };
    let replaced = match app.store.replace(replace).await? {
        // What is remembered is another event's answer, and stays so.
        Replaced::Repeated(_) => app.store.replace(without_answer).await?,
        other => other,
    };
    match replaced {
        Replaced::Stored => {}
        Replaced::Erased => {
            tracing::info!(event.id = %id, "a queued event was erased before its result: no task was created")
        }
        Replaced::Changed | Replaced::Repeated(_) => {
            tracing::warn!(event.id = %id, "a queued event was changed before its result: the result is dropped");
        }
    }
    Ok(())
}

/// Quarantines a queued event whose pipeline panics each time.
///
/// # Errors
/// Where that cannot be done now: it is still queued.
pub async fn panicked(app: &App, company: &CompanyId, id: EventId) -> Result<(), Stop> {
    let read = app.store.versioned(company, id).await?.filter(|it| it.event.status == EventStatus::Queued);
    let Some(Versioned { event, version }) = read else { return Ok(()) };
    let message = "hookmill failed on it each time; please report this, with the log's lines about this event";
    settle(app, given_up(event, version, "queue", "panicked", message.into())).await
}

/// Why an event's company cannot have it run by the integration that has its name now. The other company is not named.
pub(crate) fn moved(name: &IntegrationName) -> String {
    format!(
        "the integration \"{name}\" belongs to another company now; the event stays with its own, and can be replayed when that has an integration of this name again"
    )
}

/// An event that cannot even be begun.
fn given_up(event: Event, version: EventVersion, stage: &str, code: &str, message: String) -> Replace {
    let reason = Reason { stage: stage.into(), code: code.into(), message };
    let event = Event { status: EventStatus::Quarantined, reason: Some(reason), ..event };
    Replace::of(Ingested { event, tasks: Vec::new() }, version)
}
