//! A delivery that is answered first and goes through the line next.

use super::outcome::{self, event};
use super::stages::Stages;
use super::{Ended, Stop, Told, mapped_line, rehearsal};
use crate::app::App;
use crate::auth::CompanyId;
use crate::event::{Event, EventId, EventStatus, RawEvent, Reason};
use crate::integration::{Found, Integration};
use crate::store::{Commit, Ingested};

/// Makes it durable; nothing has looked into it yet.
///
/// # Errors
/// Where it cannot be stored.
pub async fn accept<A>(app: &App, integration: &Integration, raw: RawEvent, told: Told<A>) -> Result<Ended<A>, Stop> {
    let event = event(Some(integration), raw, EventStatus::Queued, None);
    let commit = Commit { ingested: vec![Ingested { event, tasks: Vec::new() }], idempotency: told.remembered };
    Ok(Ended::of(told.answer, app.store.commit(commit).await?))
}

/// Takes an event that waits through the line. What it comes to is stored together with its leaving the queue, so a
/// process that is killed meanwhile does neither, and the next one does both.
///
/// # Errors
/// Where that cannot be done now: it waits still.
pub async fn work(app: &App, company: &CompanyId, id: EventId) -> Result<(), Stop> {
    let Some(event) = app.store.event(company, id).await?.filter(|it| it.status == EventStatus::Queued) else {
        return Ok(());
    };
    let raw = event.raw();
    if let Some(why) = event.no_body() {
        return given_up(app, event, "decode", why.word(), why.sentence().into()).await;
    }
    let integration = match app.registry.find(&event.integration.0) {
        Found::Live(integration) => integration,
        Found::Loading => return Err(Stop::Loading(event.integration)),
        Found::Unknown => {
            let message = format!("no integration named \"{}\" is live any more", event.integration);
            return given_up(app, event, "plugin", "unknown_integration", message).await;
        }
    };
    let mut stages = Stages::start();
    let result = mapped_line(&integration, &raw, &mut stages).await;
    rehearsal::beside(&integration, &raw, &result);
    let ingested = match result {
        Ok(ready) => outcome::stored(Some(&integration), raw, ready, stages.done()).0,
        Err(stop) if !stop.is_kept() => return Err(stop),
        Err(stop) => outcome::quarantined(Some(&integration), raw, &stop, stages.done()),
    };
    Ok(app.store.settle(ingested).await?)
}

/// An event that cannot even be begun.
async fn given_up(app: &App, event: Event, stage: &str, code: &str, message: String) -> Result<(), Stop> {
    let reason = Reason { stage: stage.into(), code: code.into(), message };
    let event = Event { status: EventStatus::Quarantined, reason: Some(reason), ..event };
    Ok(app.store.settle(Ingested { event, tasks: Vec::new() }).await?)
}
