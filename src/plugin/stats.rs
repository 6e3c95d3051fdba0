//! Counts and times of a plugin's calls since this version of it went live. No payload, and nothing that a plugin said,
//! gets in here.
//!
//! No locks: a thread that has been preempted in the middle of counting keeps nobody waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{CallContext, PluginError};

/// Longest time that is counted as itself, in microseconds: a minute. Longer ones count as this.
const LONGEST: u64 = 60_000_000;
/// Bits of a time that count: a time is known to within 1 in 128.
const BITS: u32 = 7;
const HALF: usize = 1 << (BITS - 1);
const BUCKETS: usize = bucket(LONGEST) + 1;

/// Counts of one plugin.
#[derive(Debug)]
pub(super) struct Stats {
    refused: AtomicU64,
    failures: AtomicU64,
    busy: AtomicU64,
    /// Microseconds of every call that has ended: how many in each bucket.
    times: Box<[AtomicU32; BUCKETS]>,
    last_error: ArcSwapOption<LastError>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            refused: AtomicU64::default(),
            failures: AtomicU64::default(),
            busy: AtomicU64::default(),
            times: Box::new([const { AtomicU32::new(0) }; BUCKETS]),
            last_error: ArcSwapOption::empty(),
        }
    }
}

/// Where a time is counted: buckets of 1 µs at first, and twice as wide each time the time doubles (log-linear).
const fn bucket(micros: u64) -> usize {
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(BITS);
    shift as usize * HALF + (micros >> shift) as usize
}

/// The middle of a bucket.
const fn middle(bucket: usize) -> u64 {
    if bucket < 2 * HALF {
        return bucket as u64;
    }
    let shift = bucket / HALF - 1;
    (((bucket % HALF + HALF) << shift) + ((1 << shift) >> 1)) as u64
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
    /// A call that has ended. One that was not begun for lack of room is counted as busy only.
    pub(super) fn count<T>(&self, context: &CallContext, took: Duration, result: &Result<T, PluginError>) {
        if let Err(PluginError::Busy) = result {
            return self.count_busy();
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST);
        self.times[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(_) => {}
            Err(PluginError::Refused { .. }) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                let (code, event_id) = (error.code(), context.event_id.clone());
                self.last_error.store(Some(Arc::new(LastError { code, event_id, at: context.received_at })));
            }
        }
    }

    pub(super) fn count_busy(&self) {
        self.busy.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn summary(&self) -> Summary {
        let times: Vec<u64> = self.times.iter().map(|it| it.load(Ordering::Relaxed).into()).collect();
        Summary {
            calls: times.iter().sum(),
            refused: self.refused.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
            busy: self.busy.load(Ordering::Relaxed),
            p50_us: quantile(&times, 50),
            p99_us: quantile(&times, 99),
            last_error: self.last_error.load().as_deref().cloned(),
        }
    }
}

/// The time that so many in a hundred calls did not exceed; 0 where there were none.
fn quantile(times: &[u64], percent: u64) -> u64 {
    let wanted = (times.iter().sum::<u64>() * percent).div_ceil(100);
    let mut seen = 0;
    let reached = |(bucket, count): (usize, &u64)| {
        seen += count;
        (*count > 0 && seen >= wanted).then(|| middle(bucket))
    };
    times.iter().enumerate().find_map(reached).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_known_to_within_one_in_a_hundred() {
        for micros in (0..2000).chain((0..4000).map(|n| 1_000 + n * 14_999)).chain([LONGEST]) {
            let (bucket, found) = (bucket(micros), middle(bucket(micros)));
            assert!(bucket < BUCKETS && found.abs_diff(micros) * 100 <= micros, "{micros}: {found}");
        }
    }

    #[test]
    fn half_and_ninety_nine_in_a_hundred() {
        let mut times = vec![0; BUCKETS];
        assert_eq!((quantile(&times, 50), quantile(&times, 99)), (0, 0));
        (1..=100).for_each(|micros| times[bucket(micros)] += 1);
        assert_eq!((quantile(&times, 50), quantile(&times, 99)), (50, 99));
    }
}
