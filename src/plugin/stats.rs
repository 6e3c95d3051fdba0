//! Counts and times of a plugin's calls since this version of it went live. They contain no payload, and no text of
//! the plugin.
//!
//! Without locks, so that a thread that is preempted while counting does not block others.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::call::CallContext;
use super::error::PluginError;
use crate::metrics::integrations::{self, IntegrationSeries};

/// Maximum time that is counted exactly, in microseconds (one minute). Longer times count as this.
const LONGEST: u64 = 60_000_000;
/// Significant bits of a time: it is precise to 1 in 128.
const BITS: u32 = 7;
const HALF: usize = 1 << (BITS - 1);
const BUCKETS: usize = bucket(LONGEST) + 1;

/// Counts of one plugin.
#[derive(Debug)]
pub(super) struct CallStats {
    refused: AtomicU64,
    failures: AtomicU64,
    busy: AtomicU64,
    /// Number of calls in each time bucket.
    times: Box<[AtomicU32; BUCKETS]>,
    last_error: ArcSwapOption<LastError>,
    /// For metrics, which go on over versions.
    series: OnceLock<Arc<IntegrationSeries>>,
}

impl Default for CallStats {
    fn default() -> Self {
        Self {
            refused: AtomicU64::default(),
            failures: AtomicU64::default(),
            busy: AtomicU64::default(),
            times: Box::new([const { AtomicU32::new(0) }; BUCKETS]),
            last_error: ArcSwapOption::empty(),
            series: OnceLock::new(),
        }
    }
}

/// Returns the bucket of a time. Buckets are 1 µs wide at first, and twice as wide each time the time doubles
/// (log-linear).
const fn bucket(micros: u64) -> usize {
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(BITS);
    shift as usize * HALF + (micros >> shift) as usize
}

/// Returns the middle of a bucket, in microseconds.
const fn middle(bucket: usize) -> u64 {
    if bucket < 2 * HALF {
        return bucket as u64;
    }
    let shift = bucket / HALF - 1;
    (((bucket % HALF + HALF) << shift) + ((1 << shift) >> 1)) as u64
}

/// The newest failure.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[schemars(rename = "PluginLastError")]
pub struct LastError {
    /// Error code, as in the response to the sender.
    pub code: &'static str,
    /// Id of the event.
    pub event_id: String,
    /// Time of receipt of the event.
    pub at: DateTime<Utc>,
}

/// Counts and times, for lists.
#[derive(Debug, Clone, Default, Serialize, schemars::JsonSchema)]
#[schemars(rename = "PluginCalls")]
pub struct CallSummary {
    /// Number of calls.
    pub calls: u64,
    /// Number of calls in which the plugin refused the payload.
    pub refused: u64,
    /// Number of calls that exceeded a limit, crashed, or gave invalid output.
    pub failures: u64,
    /// Number of deliveries that were not processed because the queue was full.
    pub busy: u64,
    /// Median duration of a call, in microseconds.
    pub p50_us: u64,
    /// 99th percentile of the duration, in microseconds.
    pub p99_us: u64,
    /// The newest failure, not counting refusals.
    pub last_error: Option<LastError>,
}

impl CallStats {
    /// Counts a call. A call that was not run for lack of capacity counts as busy only.
    pub(super) fn count<T>(&self, context: &CallContext, took: Duration, result: &Result<T, PluginError>) {
        if let Err(PluginError::Busy) = result {
            return self.count_busy(context);
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST);
        self.times[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.series(context).called(took, result.as_ref().err().map(PluginError::code));
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

    pub(super) fn count_busy(&self, context: &CallContext) {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.series(context).not_called(PluginError::Busy.code());
    }

    fn series(&self, context: &CallContext) -> &IntegrationSeries {
        self.series.get_or_init(|| integrations::of(&context.integration))
    }

    pub(super) fn summary(&self) -> CallSummary {
        let times: Vec<u64> = self.times.iter().map(|it| it.load(Ordering::Relaxed).into()).collect();
        CallSummary {
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

/// Returns a percentile of the times, in microseconds; 0 if there are none.
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
