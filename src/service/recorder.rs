//! What this server's requests came to, minute by minute, in memory: a week at most, and only since its start.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::app::App;
use crate::metrics::http::{DURATIONS, HTTP, Traffic};
use crate::metrics::queue::QUEUE;
use crate::model::time::now;
use crate::store::TimelineWindow;

/// How often a sample is taken.
const EVERY: Duration = Duration::from_mins(1);
/// Number of samples that are kept: a week of minutes, of 80 bytes each.
const KEPT: usize = 10_080;

/// Samples of requests, oldest first.
#[derive(Debug)]
pub(crate) struct Recorder {
    started: DateTime<Utc>,
    samples: Mutex<Samples>,
}

#[derive(Debug, Default)]
struct Samples {
    minutes: VecDeque<Minute>,
    /// The counts at the last sample.
    last: Traffic,
}

/// What requests came to in one minute.
#[derive(Debug, Clone, Copy, Default)]
struct Minute {
    /// Its end, in milliseconds since 1970.
    at: i64,
    refused: u32,
    failed: u32,
    queued: u32,
    durations: [u32; DURATIONS],
}

/// What requests came to in one bucket of a window.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RecordedBucket {
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    /// The most deliveries that were queued at the end of a minute.
    pub(crate) queued: u64,
    durations: [u64; DURATIONS],
}

impl Default for Recorder {
    fn default() -> Self {
        Self { started: now(), samples: Mutex::default() }
    }
}

impl Recorder {
    /// Returns when the first sample began.
    pub(crate) fn started(&self) -> DateTime<Utc> {
        self.started
    }

    /// Adds a sample.
    fn take(&self, at: DateTime<Utc>, traffic: Traffic, queued: u64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = Minute::between(&samples.last, &traffic, at, queued);
        samples.last = traffic;
        samples.minutes.push_back(minute);
        if samples.minutes.len() > KEPT {
            samples.minutes.pop_front();
        }
    }

    /// Returns the buckets of the window that ends at `now`, with what came in since the last sample.
    pub(crate) fn buckets(&self, window: TimelineWindow, now: DateTime<Utc>) -> Vec<RecordedBucket> {
        self.buckets_with(window, now, &HTTP.traffic(), QUEUE.all())
    }

    fn buckets_with(
        &self,
        window: TimelineWindow,
        now: DateTime<Utc>,
        traffic: &Traffic,
        queued: u64,
    ) -> Vec<RecordedBucket> {
        let mut buckets = vec![RecordedBucket::default(); window.buckets()];
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let last = Minute::between(&samples.last, traffic, now, queued);
        let begins = window.begins(now).timestamp_millis();
        for minute in samples.minutes.iter().chain(std::iter::once(&last)) {
            let at = usize::try_from((minute.at - begins).div_euclid(window.step_ms())).ok();
            if let Some(bucket) = at.and_then(|it| buckets.get_mut(it)) {
                bucket.add(minute);
            }
        }
        buckets
    }
}

impl Minute {
    fn between(before: &Traffic, after: &Traffic, at: DateTime<Utc>, queued: u64) -> Self {
        let small = |it: u64| u32::try_from(it).unwrap_or(u32::MAX);
        let mut durations = [0; DURATIONS];
        for (at, count) in durations.iter_mut().enumerate() {
            *count = small(after.durations[at].saturating_sub(before.durations[at]));
        }
        Self {
            at: at.timestamp_millis(),
            refused: small(after.refused.saturating_sub(before.refused)),
            failed: small(after.failed.saturating_sub(before.failed)),
            queued: small(queued),
            durations,
        }
    }
}

impl RecordedBucket {
    fn add(&mut self, minute: &Minute) {
        self.refused += u64::from(minute.refused);
        self.failed += u64::from(minute.failed);
        self.queued = self.queued.max(u64::from(minute.queued));
        self.durations.iter_mut().zip(minute.durations).for_each(|(sum, count)| *sum += u64::from(count));
    }

    /// Returns the number of requests.
    pub(crate) fn requests(&self) -> u64 {
        self.durations.iter().sum()
    }

    /// Returns a time that this part of the requests stayed within, in milliseconds: linear between the bounds of the
    /// histogram, and its highest bound for longer ones. `None` without requests.
    #[expect(clippy::cast_precision_loss, reason = "counts are far smaller")]
    pub(crate) fn percentile_ms(&self, part: f64) -> Option<f64> {
        let wanted = self.requests() as f64 * part;
        let (mut below, mut lower) = (0.0, 0.0);
        for (bound, count) in Traffic::bounds_ms().zip(&self.durations) {
            let count = *count as f64;
            if count > 0.0 && below + count >= wanted {
                return Some(lower + (bound - lower) * ((wanted - below) / count).clamp(0.0, 1.0));
            }
            (below, lower) = (below + count, bound);
        }
        (self.requests() > 0).then_some(lower)
    }
}

/// Takes samples until `ended`. The first question to the store also makes it count what is stored already.
pub(crate) async fn record(app: Arc<App>, ended: CancellationToken) {
    if let Err(error) = app.store.timeline(None, TimelineWindow::Hour, now()).await {
        tracing::warn!(cause = %error, "stored events cannot be counted yet; the console asks again");
    }
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every.tick().await;
    while ended.run_until_cancelled(every.tick()).await.is_some() {
        app.recorder.take(now(), HTTP.traffic(), app.queue.stored().unwrap_or_else(|| QUEUE.all()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(fast: u64, slow: u64, failed: u64) -> Traffic {
        let mut traffic = Traffic { failed, ..Traffic::default() };
        (traffic.durations[0], traffic.durations[9]) = (fast, slow);
        traffic
    }

    /// The chart must show what came in, in the minute in which it did, and not the sum since the start.
    #[test]
    fn a_minute_has_what_came_in_since_the_one_before() {
        let recorder = Recorder::default();
        let begin = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let minute = |n: i64| begin + chrono::Duration::seconds(60 * n + 30);
        recorder.take(minute(0), traffic(10, 0, 1), 3);
        recorder.take(minute(1), traffic(30, 20, 1), 0);
        let buckets = recorder.buckets_with(TimelineWindow::Hour, minute(2), &traffic(31, 20, 5), 7);
        let last: Vec<_> = buckets[57..].iter().map(|it| (it.requests(), it.failed, it.queued)).collect();
        assert_eq!(last, [(10, 1, 3), (40, 0, 0), (1, 4, 7)]);
        assert_eq!(buckets[..57].iter().map(RecordedBucket::requests).sum::<u64>(), 0);
        assert_eq!(buckets[58].percentile_ms(0.5), Some(0.25));
        assert!(buckets[58].percentile_ms(0.99).is_some_and(|it| it > 200.0 && it <= 250.0));
        assert_eq!(buckets[0].percentile_ms(0.5), None);
    }

    /// A server that runs for years must not keep every minute.
    #[test]
    fn samples_are_kept_for_a_week() {
        let recorder = Recorder::default();
        (0..KEPT + 10).for_each(|_| recorder.take(now(), Traffic::default(), 0));
        assert_eq!(recorder.samples.lock().unwrap().minutes.len(), KEPT);
        assert!(size_of::<Minute>() <= 88);
    }
}
