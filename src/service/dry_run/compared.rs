//! Compares the events that a candidate was run over: differences, and resource usage of its calls.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::tally::Tally;
use crate::integration::Integration;
use crate::integration::check::LimitUsage;
use crate::model::ids::EventId;
use crate::pipeline::Rehearsed;
use crate::pipeline::verdict::Verdict;
use crate::plugin::Usage;

/// Maximum duration of a call that is counted exactly, in nanoseconds (one minute).
const LONGEST: u64 = 60_000_000_000;

/// The counts of a running comparison.
#[derive(Debug)]
pub struct Runs {
    /// The differences.
    pub tally: Tally,
    events: u64,
    most: Usage,
    times: Option<Histogram<u64>>,
}

/// The result of a comparison.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Compared {
    /// Number of events that were run.
    pub events: u64,
    /// How they differ from their other results.
    #[serde(flatten)]
    pub tally: Tally,
    /// The maximum usage of each limit.
    pub limits: Vec<LimitUsage>,
    /// Median duration of a call, in microseconds.
    pub p50_us: f64,
    /// 99th percentile of the duration, in microseconds.
    pub p99_us: f64,
}

impl Runs {
    /// Creates counts with this tally.
    #[must_use]
    pub fn new(tally: Tally) -> Self {
        let times = Histogram::new_with_bounds(1, LONGEST, 3).ok();
        Self { tally, events: 0, most: Usage::default(), times }
    }

    /// Counts an event: its other result, and the candidate's.
    pub fn add(&mut self, id: EventId, before: &Verdict, Rehearsed { verdict, call }: &Rehearsed) {
        if let Some((usage, took)) = call {
            self.most = self.most.max(*usage);
            if let Some(times) = &mut self.times {
                times.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(LONGEST));
            }
        }
        self.events += 1;
        self.tally.add(id, before, verdict);
    }

    /// Adds the counts of another thread.
    pub fn merge(&mut self, other: Self) {
        self.tally.merge(other.tally);
        self.events += other.events;
        self.most = self.most.max(other.most);
        if let (Some(times), Some(more)) = (&mut self.times, other.times) {
            *times += more;
        }
    }

    /// Returns the result so far.
    #[must_use]
    pub fn compared(&self, candidate: &Integration) -> Compared {
        let nanos = |part: f64| self.times.as_ref().map_or(0, |it| it.value_at_quantile(part));
        let micros = |nanos: u64| (nanos as f64 / 100.0).round() / 10.0;
        let longest = self.times.as_ref().map_or(0, Histogram::max);
        Compared {
            events: self.events,
            tally: self.tally.clone(),
            limits: LimitUsage::of_usage(candidate, &self.most, Duration::from_nanos(longest)),
            p50_us: micros(nanos(0.5)),
            p99_us: micros(nanos(0.99)),
        }
    }
}
