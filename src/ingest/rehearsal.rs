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
    let payload = raw.decode(&integration.schema, &integration.rules)?;
    let checked = CheckedPayload::check(payload, &integration.schema)?;
    let context = integration.context(raw.id, raw.received_at);
    let started = Instant::now();
    let called = integration.plugin.map_blocking(checked.text(), &context);
    *call = Some((called.usage, started.elapsed()));
    match called.result {
        Ok(outcome) => checked.ready(outcome, called.log, &integration.rules),
        Err(error) => Err(Failed::stop(error, called.log, integration, raw.id, &checked)),
    }
}

/// What a line has come to, before it is stored.
pub(super) fn verdict(result: &Result<Ready, Stop>) -> Verdict {
    match result {
        Ok(Ready { skip: Some(reason), .. }) => Verdict::Skip(reason.clone()),
        Ok(ready) => Verdict::tasks(ready.tasks.iter().cloned()),
        Err(stop) => Verdict::stopped(stop),
    }
}
