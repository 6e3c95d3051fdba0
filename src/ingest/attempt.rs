//! A delivery that was quarantined and that its sender tries again: the same event, with one attempt more.

use chrono::{DateTime, Utc};

use super::outcome::{self, Told};
use super::stages::Stages;
use super::{Receipt, Stop, mapped_line, rehearsal};
use crate::app::App;
use crate::integration::Integration;
use crate::store::{EventVersion, FirstAnswer, Replace, Replaced, Versioned};

/// How an attempt that was not stopped ended.
#[derive(Debug)]
pub enum Attempted<A> {
    /// With an answer of its own.
    Now(A),
    /// With that of an equal delivery, which was quicker.
    Before(FirstAnswer),
    /// What was sent has been erased: no task was stored.
    Erased,
    /// The event has been changed meanwhile, by another attempt or a replay: nothing was stored.
    Changed,
}

/// How often an attempt is counted again because another one was quicker.
const TRIES: usize = 1000;

/// Runs a quarantined event's line again, under its own id and time, as its sender delivers it again at `now`. The line runs
/// once: where other attempts are counted meanwhile, only the count is taken again.
///
/// # Errors
/// The stage that ended it; the event is then still quarantined.
pub async fn attempt<A>(
    app: &App,
    integration: &Integration,
    read: Versioned,
    now: DateTime<Utc>,
    tell: impl FnOnce(&Receipt) -> Told<A>,
) -> Result<Attempted<A>, Stop> {
    let (raw, mut stages) = (read.event.raw(), Stages::start());
    let result = mapped_line(integration, &raw, &mut stages).await;
    rehearsal::beside(integration, &raw, &result);
    let (replace, ended) = match result {
        Err(stop) if !stop.is_kept() => return Err(stop),
        Err(stop) => {
            let ingested = outcome::quarantined(Some(integration), raw, &stop, stages.done());
            (Replace::of(ingested, read.version), Err(stop))
        }
        Ok(ready) => {
            let delivery = integration.delivery(&raw);
            let (ingested, receipt) = outcome::stored(Some(integration), raw, ready, stages.done(), now);
            let Told { answer, remembered } = tell(&receipt);
            let forget = delivery.filter(|_| matches!(receipt, Receipt::Skipped { .. }));
            (Replace { idempotency: remembered, forget, ..Replace::of(ingested, read.version) }, Ok(answer))
        }
    };
    Ok(match stored(app, replace, read, now).await? {
        Replaced::Stored => Attempted::Now(ended?),
        Replaced::Repeated(first) => Attempted::Before(first),
        Replaced::Erased => Attempted::Erased,
        Replaced::Changed => Attempted::Changed,
    })
}

async fn stored(app: &App, mut replace: Replace, mut read: Versioned, now: DateTime<Utc>) -> Result<Replaced, Stop> {
    let (company, id) = (read.event.company_id.clone(), read.event.id);
    for _ in 0..TRIES {
        replace.read = read.version;
        let event = &mut replace.ingested.event;
        (event.attempts, event.last_attempt_at) = (read.event.attempts.saturating_add(1), Some(now));
        match app.store.replace(replace.clone()).await? {
            Replaced::Changed => {}
            other => return Ok(other),
        }
        let again = app.store.versioned(&company, id).await?;
        match again.filter(|it| it.event.may_come_again()) {
            Some(again) => read = again,
            None => break,
        }
    }
    Ok(Replaced::Changed)
}

impl Replace {
    /// A new state, and nothing else.
    pub(super) fn of(ingested: crate::store::Ingested, read: EventVersion) -> Self {
        Self { ingested, read, idempotency: None, forget: None, audit: None, updates: Vec::new() }
    }
}
