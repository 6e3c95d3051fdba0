//! Counters and gauges: one atomic each.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A number that only grows while the process runs.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds one.
    pub(crate) fn count(&self) {
        self.add(1);
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(i64::try_from(value).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Adds one until the guard is dropped.
    #[must_use]
    pub(crate) fn hold(&'static self) -> GaugeGuard {
        self.move_by(1);
        GaugeGuard(self)
    }

    pub(super) fn move_by(&self, difference: i64) {
        self.0.fetch_add(difference, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Guard that counts in a gauge until it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard(&'static Gauge);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.move_by(-1);
    }
}
