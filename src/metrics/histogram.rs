//! Histograms without locks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const MICRO: u64 = 1000;
const MILLI: u64 = 1000 * MICRO;
const SECOND: u64 = 1000 * MILLI;

/// Bounds of buckets for requests, in nanoseconds.
pub(super) const REQUEST: [u64; 14] = [
    250 * MICRO,
    500 * MICRO,
    MILLI,
    2500 * MICRO,
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    50 * MILLI,
    100 * MILLI,
    250 * MILLI,
    500 * MILLI,
    SECOND,
    5 * SECOND,
    30 * SECOND,
];
/// Bounds for work on a processor, such as a stage of the pipeline or a plugin call, in nanoseconds.
pub(super) const WORK: [u64; 13] = [
    10 * MICRO,
    25 * MICRO,
    50 * MICRO,
    100 * MICRO,
    250 * MICRO,
    500 * MICRO,
    MILLI,
    2500 * MICRO,
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    100 * MILLI,
    SECOND,
];
/// Bounds for writes to the disk, in nanoseconds.
pub(super) const DISK: [u64; 13] = [
    50 * MICRO,
    100 * MICRO,
    250 * MICRO,
    500 * MICRO,
    MILLI,
    2500 * MICRO,
    5 * MILLI,
    10 * MILLI,
    25 * MILLI,
    50 * MILLI,
    100 * MILLI,
    250 * MILLI,
    SECOND,
];
/// Bounds for compilations, in nanoseconds.
pub(super) const COMPILATION: [u64; 9] =
    [100 * MILLI, 250 * MILLI, 500 * MILLI, SECOND, 2500 * MILLI, 5 * SECOND, 15 * SECOND, 60 * SECOND, 240 * SECOND];
/// Bounds for the number of changes in a group.
pub(super) const CHANGES: [u64; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/// Counts of values in buckets, and their sum.
#[derive(Debug)]
pub(crate) struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    /// The value that is shown as 1: a second, for times in nanoseconds.
    one: u64,
    buckets: [AtomicU64; N],
    beyond: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// Creates a histogram of times, with bounds in nanoseconds.
    pub(super) const fn of_times(bounds: &'static [u64; N]) -> Self {
        Self::new(bounds, SECOND)
    }

    /// Creates a histogram of plain numbers.
    pub(super) const fn of_numbers(bounds: &'static [u64; N]) -> Self {
        Self::new(bounds, 1)
    }

    const fn new(bounds: &'static [u64; N], one: u64) -> Self {
        let buckets = [const { AtomicU64::new(0) }; N];
        Self { bounds, one, buckets, beyond: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    /// Adds a time.
    pub(crate) fn took(&self, time: Duration) {
        self.see(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds a value.
    pub(crate) fn see(&self, value: u64) {
        let bucket = self.bounds.iter().position(|it| value <= *it);
        bucket.and_then(|it| self.buckets.get(it)).unwrap_or(&self.beyond).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Returns the sum, the number of values, and each bucket with its bound and its own count.
    #[expect(clippy::cast_precision_loss, reason = "a float is what Prometheus reads")]
    pub(super) fn read(&self) -> (f64, u64, [(f64, u64); N]) {
        let one = self.one as f64;
        let mut read = [(0.0, 0); N];
        for (read, (bound, count)) in read.iter_mut().zip(self.bounds.iter().zip(&self.buckets)) {
            *read = (*bound as f64 / one, count.load(Ordering::Relaxed));
        }
        let within: u64 = read.iter().map(|(_, count)| count).sum();
        (self.sum.load(Ordering::Relaxed) as f64 / one, within + self.beyond.load(Ordering::Relaxed), read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_in_the_first_bucket_that_it_fits() {
        let sizes = Histogram::of_numbers(&CHANGES);
        [1, 2, 3, 1024, 1025].into_iter().for_each(|it| sizes.see(it));
        let (sum, count, buckets) = sizes.read();
        assert_eq!((sum, count), (2055.0, 5));
        let filled: Vec<_> = buckets.into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(1.0, 1), (2.0, 1), (4.0, 1), (1024.0, 1)]);
        let times = Histogram::of_times(&DISK);
        times.took(Duration::from_micros(250));
        let (sum, _, buckets) = times.read();
        assert_eq!((sum, buckets[2]), (0.000_25, (0.000_25, 1)));
    }

    #[test]
    fn bounds_grow() {
        for bounds in [&REQUEST[..], &WORK, &DISK, &COMPILATION, &CHANGES] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }
}
