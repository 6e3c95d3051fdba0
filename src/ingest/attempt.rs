//! A delivery that was quarantined and that its sender tries again: the same event, with one attempt more.

use chrono::{DateTime, Utc};

use super::outcome::{self, Told};
use super::stages::Stages;
use super::{Receipt, Stop, mapped_line, rehearsal};
use crate::app::App;
use crate::event::Event;
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

/// Runs a quarantined event's line again, under its own id and time, as its sender delivers it again at `now`.
///
/// # Errors
/// The stage that ended it; the event is then still quarantined.
pub async fn attempt<A>(
    app: &App,
    integration: &Integration,
    Versioned { event, version }: Versioned,
    now: DateTime<Utc>,
    tell: impl FnOnce(&Receipt) -> Told<A>,
) -> Result<Attempted<A>, Stop> {
    let (raw, mut stages) = (event.raw(), Stages::start());
    let result = mapped_line(integration, &raw, &mut stages).await;
    rehearsal::beside(integration, &raw, &result);
    let counted = |it: Event| Event { attempts: event.attempts.saturating_add(1), last_attempt_at: Some(now), ..it };
    match result {
        Err(stop) if !stop.is_kept() => Err(stop),
        Err(stop) => {
            let mut ingested = outcome::quarantined(Some(integration), raw, &stop, stages.done());
            ingested.event = counted(ingested.event);
            match app.store.replace(Replace::of(ingested, version)).await? {
                Replaced::Stored => Err(stop),
                Replaced::Repeated(first) => Ok(Attempted::Before(first)),
                Replaced::Erased => Ok(Attempted::Erased),
                Replaced::Changed => Ok(Attempted::Changed),
            }
        }
        Ok(ready) => {
            let delivery = integration.delivery(&raw);
            let (mut ingested, receipt) = outcome::stored(Some(integration), raw, ready, stages.done(), now);
            ingested.event = counted(ingested.event);
            let Told { answer, remembered } = tell(&receipt);
            let forget = delivery.filter(|_| matches!(receipt, Receipt::Skipped { .. }));
            let replace = Replace { idempotency: remembered, forget, ..Replace::of(ingested, version) };
            Ok(match app.store.replace(replace).await? {
                Replaced::Stored => Attempted::Now(answer),
                Replaced::Repeated(first) => Attempted::Before(first),
                Replaced::Erased => Attempted::Erased,
                Replaced::Changed => Attempted::Changed,
            })
        }
    }
}

impl Replace {
    /// A new state, and nothing else.
    pub(super) fn of(ingested: crate::store::Ingested, read: EventVersion) -> Self {
        Self { ingested, read, idempotency: None, forget: None, audit: None }
    }
}
