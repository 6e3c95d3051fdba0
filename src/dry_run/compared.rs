//! Events that a candidate was run over, counted: how they differ, and what its calls took.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{Tally, Verdict};
use crate::event::EventId;
use crate::ingest::Rehearsed;
use crate::integration::Integration;
use crate::integration::check::Share;
use crate::plugin::Usage;

/// Longest call that is told apart from longer ones, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

/// What is counted while it runs.
#[derive(Debug)]
pub struct Runs {
    /// How the events differ.
    pub tally: Tally,
    events: u64,
    most: Usage,
    times: Option<Histogram<u64>>,
}

/// What it has come to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Compared {
    /// Events that were run.
    pub events: u64,
    /// How they differ from what came of them otherwise.
    #[serde(flatten)]
    pub tally: Tally,
    /// What the calls have used at most, of each limit.
    pub limits: Vec<Share>,
    /// Half of the calls took at most so many microseconds.
    pub p50_us: f64,
    /// 99 in a hundred took at most so many.
    pub p99_us: f64,
}

impl Runs {
    /// With a tally that keeps what it is to keep.
    #[must_use]
    pub fn new(tally: Tally) -> Self {
        let times = Histogram::new_with_bounds(1, LONGEST, 3).ok();
        Self { tally, events: 0, most: Usage::default(), times }
    }

    /// Counts an event in: what it came to, and what the candidate makes of it.
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

    /// Adds what another has counted.
    pub fn merge(&mut self, other: Self) {
        self.tally.merge(other.tally);
        self.events += other.events;
        self.most = self.most.max(other.most);
        if let (Some(times), Some(more)) = (&mut self.times, other.times) {
            *times += more;
        }
    }

    /// What it has come to so far.
    #[must_use]
    pub fn compared(&self, candidate: &Integration) -> Compared {
        let nanos = |part: f64| self.times.as_ref().map_or(0, |it| it.value_at_quantile(part));
        let micros = |nanos: u64| (nanos as f64 / 100.0).round() / 10.0;
        let longest = self.times.as_ref().map_or(0, Histogram::max);
        Compared {
            events: self.events,
            tally: self.tally.clone(),
            limits: Share::of_usage(candidate, &self.most, Duration::from_nanos(longest)),
            p50_us: micros(nanos(0.5)),
            p99_us: micros(nanos(0.99)),
        }
    }
}
