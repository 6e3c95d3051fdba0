//! Another attempt of a sender to deliver a quarantined event.

use chrono::{DateTime, Utc};

use super::captured::captured;
use super::counted;
use super::hook::mapped_line;
use super::outcome;
use super::outcome::Receipt;
use super::parts::Pipeline;
use super::stages::{Stages, timed};
use crate::integration::stop::Stop;
use crate::integration::{Integration, Received};
use crate::metrics::integrations::DeliveryEnd;
use crate::store::{EventVersion, FirstAnswer, Idempotency, Replace, Replaced, Versioned};

/// An attempt whose stages are complete.
#[derive(Debug)]
pub enum PreparedAttempt<'a> {
    /// Tasks, or a skipped event, to be stored.
    Ready(ReadyAttempt<'a>),
    /// Nothing is left to store.
    Superseded(SupersededAttempt),
}

/// Why an attempt stored nothing.
#[derive(Debug)]
pub enum SupersededAttempt {
    /// An equal delivery was processed first; this is the response to it.
    Before(FirstAnswer),
    /// What was sent has been erased.
    Erased,
    /// The event was changed by another attempt or a replay in the meantime.
    Changed,
}

/// An attempt that succeeded, and is not stored yet.
#[derive(Debug)]
pub struct ReadyAttempt<'a> {
    integration: &'a Integration,
    replace: Box<Replace>,
    read: Box<Versioned>,
    receipt: Receipt,
    now: DateTime<Utc>,
}

/// How often an attempt is counted again because of concurrent attempts.
const TRIES: usize = 1000;

/// Runs a quarantined event again, with its own id and time, when its sender delivers it again at `now`. The
/// pipeline runs once: if other attempts are counted in the meantime, only the count is updated.
///
/// # Errors
/// The stage that failed; the event is then still quarantined.
pub async fn attempt<'a>(
    pipeline: &Pipeline,
    integration: &'a Integration,
    read: Versioned,
    now: DateTime<Utc>,
) -> Result<PreparedAttempt<'a>, Stop> {
    let mut received = Received::new(read.event.raw());
    let delivery = integration.delivery(&received);
    let mut stages = Stages::start();
    if integration.captures {
        let failed = |_: &Stop| integration.series().delivered(DeliveryEnd::Failed);
        let ingested = captured(integration, received, stages).await.inspect_err(failed)?;
        let (replace, read) = (Box::new(Replace::of(ingested, read.version)), Box::new(read));
        return Ok(PreparedAttempt::Ready(ReadyAttempt {
            integration,
            replace,
            read,
            receipt: Receipt::Captured,
            now,
        }));
    }
    let result = mapped_line(integration, &mut received, &mut stages).await;
    let raw = received.into_raw();
    pipeline.observers.see(integration, &raw, &result);
    match result {
        Err(stop) if !stop.is_kept() => {
            integration.series().delivered(DeliveryEnd::Failed);
            Err(stop)
        }
        Err(stop) => {
            let ingested = outcome::quarantined(Some(integration), raw, &stop, stages.done());
            let replace = Replace::of(ingested, read.version);
            store(pipeline, integration, replace, read, now)
                .await?
                .map_or(Err(stop), |it| Ok(PreparedAttempt::Superseded(it)))
        }
        Ok(ready) => {
            let (ingested, receipt) = outcome::stored(Some(integration), raw, ready, stages.done(), now);
            let forget = delivery.filter(|_| matches!(receipt, Receipt::Skipped { .. }));
            let replace = Box::new(Replace { forget, ..Replace::of(ingested, read.version) });
            Ok(PreparedAttempt::Ready(ReadyAttempt { integration, replace, read: Box::new(read), receipt, now }))
        }
    }
}

impl ReadyAttempt<'_> {
    /// Returns what the response says.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Makes the event's new state durable, together with `remembered`, the response to a repetition. Returns why nothing was
    /// stored, if so.
    ///
    /// # Errors
    /// Fails if it cannot be stored.
    pub async fn commit(
        self,
        pipeline: &Pipeline,
        remembered: Option<Idempotency>,
    ) -> Result<Option<SupersededAttempt>, Stop> {
        let replace = Replace { idempotency: remembered, ..*self.replace };
        store(pipeline, self.integration, replace, *self.read, self.now).await
    }
}

/// Stores the event's new state, and counts the delivery.
async fn store(
    pipeline: &Pipeline,
    integration: &Integration,
    replace: Replace,
    read: Versioned,
    now: DateTime<Utc>,
) -> Result<Option<SupersededAttempt>, Stop> {
    let how = counted::as_stored(&replace.ingested.event);
    let count = |how| integration.series().delivered(how);
    let replaced = stored(pipeline, replace, read, now).await.inspect_err(|_| count(DeliveryEnd::Failed))?;
    Ok(match replaced {
        Replaced::Stored => {
            count(how);
            None
        }
        Replaced::Repeated(first) => Some(SupersededAttempt::Before(first)),
        Replaced::Erased => {
            count(DeliveryEnd::Erased);
            Some(SupersededAttempt::Erased)
        }
        Replaced::Changed => Some(SupersededAttempt::Changed),
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
