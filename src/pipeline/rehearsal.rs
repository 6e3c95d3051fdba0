//! Runs the pipeline without storing anything.

use std::time::{Duration, Instant};

use super::verdict::Verdict;
use crate::integration::Integration;
use crate::integration::checked::CheckedPayload;
use crate::integration::mapped::Ready;
use crate::integration::stop::{FailedCall, Stop};
use crate::model::event::RawEvent;
use crate::plugin::Usage;

/// The result of such a run.
#[derive(Debug)]
pub struct Rehearsed {
    /// The result.
    pub verdict: Verdict,
    /// Usage and duration of the plugin's call; `None` if it was not called.
    pub call: Option<(Usage, Duration)>,
}

/// Runs an event through an integration's pipeline on this thread.
#[must_use]
pub fn rehearse(integration: &Integration, raw: &RawEvent) -> Rehearsed {
    let mut call = None;
    let result = line(integration, raw, &mut call);
    Rehearsed { verdict: Verdict::of_run(&result), call }
}

fn line(integration: &Integration, raw: &RawEvent, call: &mut Option<(Usage, Duration)>) -> Result<Ready, Stop> {
    let checked = CheckedPayload::rehearsed(integration, raw, integration.payload(raw)?)?;
    let context = integration.context(raw);
    let started = Instant::now();
    let called = integration.map_blocking(checked.text(), &context);
    *call = Some((called.usage, started.elapsed()));
    match called.result {
        Ok(outcome) => checked.ready(outcome, called.log, integration, raw.received_at),
        Err(error) => Err(FailedCall::stop(error, called.log, integration, raw.id, checked.text().len())),
    }
}
