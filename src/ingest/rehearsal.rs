//! The line without its end: what would come out, and nothing is stored.

use std::time::{Duration, Instant};

use super::outcome::Ready;
use super::{CheckedPayload, Failed, Stop};
use crate::dry_run::Verdict;
use crate::event::RawEvent;
use crate::integration::Integration;
use crate::plugin::Usage;

/// A line that was run for its result only.
#[derive(Debug)]
pub struct Rehearsed {
    /// What it has come to.
    pub verdict: Verdict,
    /// What the plugin's call cost and how long it took; none where it was not called.
    pub call: Option<(Usage, Duration)>,
}

/// Runs an event through an integration's line on this thread.
#[must_use]
pub fn rehearse(integration: &Integration, raw: &RawEvent) -> Rehearsed {
    let mut call = None;
    let result = line(integration, raw, &mut call);
    Rehearsed { verdict: verdict(&result), call }
}

fn line(integration: &Integration, raw: &RawEvent, call: &mut Option<(Usage, Duration)>) -> Result<Ready, Stop> {
    let checked = CheckedPayload::rehearsed(integration, raw, integration.payload(raw)?)?;
    let context = integration.context(raw.id, raw.received_at);
    let started = Instant::now();
    let called = integration.plugin.map_blocking(checked.text(), &context);
    *call = Some((called.usage, started.elapsed()));
    match called.result {
        Ok(outcome) => checked.ready(outcome, called.log, &integration.rules),
        Err(error) => Err(Failed::stop(error, called.log, integration, raw.id, &checked)),
    }
}

/// Shows the integration's shadow, where it has one, what the live plugin made of an event.
pub(super) fn beside(integration: &Integration, raw: &RawEvent, result: &Result<Ready, Stop>) {
    let Some(shadow) = integration.shadow() else { return };
    // What was not begun says nothing of the plugin.
    if result.as_ref().err().is_none_or(Stop::is_kept) {
        shadow.see(raw.clone(), verdict(result));
    }
}

/// What a line has come to, before it is stored.
fn verdict(result: &Result<Ready, Stop>) -> Verdict {
    match result {
        Ok(Ready { skip: Some(reason), .. }) => Verdict::Skip(reason.clone()),
        Ok(ready) => Verdict::tasks(ready.tasks.iter().cloned()),
        Err(stop) => Verdict::stopped(stop),
    }
}
