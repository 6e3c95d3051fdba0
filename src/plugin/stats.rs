//! What a plugin's calls have come to since this version of it went live. No payload, and nothing that a plugin said,
//! gets in here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{CallContext, PluginError};

/// Longest time that is told apart from longer ones, in microseconds: a minute.
const LONGEST: u64 = 60_000_000;

/// Counts of one plugin.
#[derive(Debug, Default)]
pub(super) struct Stats(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    refused: u64,
    failures: u64,
    busy: u64,
    /// Microseconds of every call, with two significant digits. None before the first.
    times: Option<Histogram<u32>>,
    last_error: Option<LastError>,
}

/// The newest failure.
#[derive(Debug, Clone, Serialize)]
pub struct LastError {
    /// As in the answer to the sender.
    pub code: &'static str,
    /// The event that it happened to.
    pub event_id: String,
    /// When that event came.
    pub at: DateTime<Utc>,
}

/// Counts and times, for lists.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Calls that have ended.
    pub calls: u64,
    /// Those of them in which the plugin refused the payload.
    pub refused: u64,
    /// Those of them that ran into a limit, crashed, or gave what is no output.
    pub failures: u64,
    /// Deliveries that found its queue full, and were not called for.
    pub busy: u64,
    /// Half of the calls took at most so many microseconds.
    pub p50_us: u64,
    /// 99 in a hundred took at most so many.
    pub p99_us: u64,
    /// The newest failure; a refusal is none.
    pub last_error: Option<LastError>,
}

impl Stats {
    pub(super) fn count<T>(&self, context: &CallContext, took: Duration, result: &Result<T, PluginError>) {
        let mut counts = self.counts();
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST);
        if counts.times.is_none() {
            counts.times = Histogram::new_with_bounds(1, LONGEST, 2).ok();
        }
        if let Some(times) = &mut counts.times {
            times.saturating_record(micros);
        }
        match result {
            Ok(_) => {}
            Err(PluginError::Refused { .. }) => counts.refused += 1,
            Err(error) => {
                counts.failures += 1;
                let (code, event_id) = (error.code(), context.event_id.clone());
                counts.last_error = Some(LastError { code, event_id, at: context.received_at });
            }
        }
    }

    pub(super) fn count_busy(&self) {
        self.counts().busy += 1;
    }

    pub(super) fn summary(&self) -> Summary {
        let counts = self.counts();
        let at = |part| counts.times.as_ref().map_or(0, |it| it.value_at_quantile(part));
        Summary {
            calls: counts.times.as_ref().map_or(0, Histogram::len),
            refused: counts.refused,
            failures: counts.failures,
            busy: counts.busy,
            p50_us: at(0.5),
            p99_us: at(0.99),
            last_error: counts.last_error.clone(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
