//! Another attempt of a sender to deliver a quarantined event.

use chrono::{DateTime, Utc};

use super::counted;
use super::hook::mapped_line;
use super::outcome;
use super::outcome::{Receipt, Told};
use super::parts::Pipeline;
use super::stages::{Stages, timed};
use crate::integration::Integration;
use crate::integration::stop::Stop;
use crate::metrics::integrations::DeliveryEnd;
use crate::store::{EventVersion, FirstAnswer, Replace, Replaced, Versioned};

/// Result of an attempt that did not fail.
#[derive(Debug)]
pub enum Attempted<A> {
    /// A response of its own.
    Now(A),
    /// The response to an equal delivery that was processed first.
    Before(FirstAnswer),
    /// What was sent has been erased; no task was stored.
    Erased,
    /// The event was changed by another attempt or a replay in the meantime; nothing was stored.
    Changed,
}

/// How often an attempt is counted again because of concurrent attempts.
const TRIES: usize = 1000;

/// Runs a quarantined event again, with its own id and time, when its sender delivers it again at `now`. The
/// pipeline runs once: if other attempts are counted in the meantime, only the count is updated.
///
/// # Errors
/// The stage that failed; the event is then still quarantined.
pub async fn attempt<A>(
    pipeline: &Pipeline,
    integration: &Integration,
    read: Versioned,
    now: DateTime<Utc>,
    tell: impl FnOnce(&Receipt) -> Told<A>,
) -> Result<Attempted<A>, Stop> {
    let (raw, mut stages) = (read.event.raw(), Stages::start());
    let result = mapped_line(integration, &raw, &mut stages).await;
    pipeline.observers.see(integration, &raw, &result);
    let (replace, ended) = match result {
        Err(stop) if !stop.is_kept() => {
            integration.series().delivered(DeliveryEnd::Failed);
            return Err(stop);
        }
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
    let how = counted::as_stored(&replace.ingested.event);
    let replaced = stored(pipeline, replace, read, now).await;
    let count = |how| integration.series().delivered(how);
    Ok(match replaced.inspect_err(|_| count(DeliveryEnd::Failed))? {
        Replaced::Stored => {
            count(how);
            Attempted::Now(ended?)
        }
        Replaced::Repeated(first) => Attempted::Before(first),
        Replaced::Erased => {
            count(DeliveryEnd::Erased);
            Attempted::Erased
        }
        Replaced::Changed => Attempted::Changed,
    })
}

async fn stored(
    pipeline: &Pipeline,
    mut replace: Replace,
    mut read: Versioned,
    now: DateTime<Utc>,
) -> Result<Replaced, Stop> {
    let (company, id) = (read.event.company_id.clone(), read.event.id);
    for _ in 0..TRIES {
        replace.read = read.version;
        let event = &mut replace.ingested.event;
        (event.attempts, event.last_attempt_at) = (read.event.attempts.saturating_add(1), Some(now));
        match timed(pipeline.store.replace(replace.clone())).await? {
            Replaced::Changed => {}
            other => return Ok(other),
        }
        let again = pipeline.store.versioned(&company, id).await?;
        match again.filter(|it| it.event.may_come_again()) {
            Some(again) => read = again,
            None => break,
        }
    }
    Ok(Replaced::Changed)
}

impl Replace {
    /// Creates a new state without further changes.
    pub(super) fn of(ingested: crate::store::Ingested, read: EventVersion) -> Self {
        Self { ingested, read, idempotency: None, forget: None, audit: None, updates: Vec::new() }
    }
}
