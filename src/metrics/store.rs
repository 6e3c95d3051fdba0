//! Series of the store: journal, read view, disk, backups and erasures. The store's own threads and a sample every few
//! seconds set its gauges, so that a scrape never waits for the disk.

use std::fmt;

use super::exposition::Exposition;
use super::histogram::{CHANGES, DISK, Histogram};
use super::observed::Observed;
use super::series;
use super::value::{Counter, Gauge};

/// Names of the causes, in the order of [`Rebuild`].
const CAUSES: [&str; 3] = ["start", "failure", "compact"];

/// Cause of a rebuild of the read view.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rebuild {
    /// It was missing, behind or damaged at the start.
    Start,
    /// It failed while the server ran.
    Failure,
    /// An admin asked for it.
    Compact,
}

/// Series of the whole process, which has one store.
pub(crate) static STORE: StoreSeries = StoreSeries::new();

/// Counts, times and gauges of the store.
#[derive(Debug)]
pub(crate) struct StoreSeries {
    /// Number of changes in each group.
    pub(crate) changes: Histogram<{ CHANGES.len() }>,
    pub(crate) written_bytes: Counter,
    pub(crate) sync: Histogram<{ DISK.len() }>,
    pub(crate) write_errors: Counter,
    /// 1 after a failed fdatasync: nothing more is written.
    pub(crate) journal_failed: Gauge,
    /// Last durable sequence.
    pub(crate) acked: Gauge,
    /// Last sequence in the view.
    pub(crate) applied: Gauge,
    pub(crate) apply: Histogram<{ DISK.len() }>,
    rebuilds: [Counter; CAUSES.len()],
    /// 1 while the view has failed.
    pub(crate) view_failed: Gauge,
    pub(crate) damaged: Gauge,
    pub(crate) sampled: StoreSample,
    pub(crate) snapshots: DoneOrFailed,
    pub(crate) backups: DoneOrFailed,
    /// When the last backup succeeded, in milliseconds since 1970.
    pub(crate) backup_ms: Gauge,
    pub(crate) erasures: Counter,
    pub(crate) erased_events: Counter,
    pub(crate) audit_entries: Counter,
}

impl StoreSample {
    /// Returns the free bytes of the data directory's disk.
    pub(crate) fn free(&self) -> u64 {
        u64::try_from(self.free_bytes.get()).unwrap_or(0)
    }
}

/// Gauges that are looked up every few seconds.
#[derive(Debug)]
pub(crate) struct StoreSample {
    pub(crate) segments: Gauge,
    pub(crate) unverified: Gauge,
    pub(crate) free_bytes: Gauge,
    pub(crate) ready: Gauge,
    pub(crate) journal_bytes: Gauge,
    pub(crate) snapshot_bytes: Gauge,
    pub(crate) view_bytes: Gauge,
    /// Time of the last lookup, in milliseconds since 1970.
    pub(crate) at_ms: Gauge,
}

/// Counts of successes and failures.
#[derive(Debug)]
pub(crate) struct DoneOrFailed {
    done: Counter,
    failed: Counter,
}

impl DoneOrFailed {
    const fn new() -> Self {
        Self { done: Counter::new(), failed: Counter::new() }
    }

    pub(crate) fn ended(&self, well: bool) {
        if well { self.done.count() } else { self.failed.count() }
    }

    fn write(&self, to: &mut Exposition<'_>, series: &'static series::Series) -> fmt::Result {
        to.labelled(series, |samples| {
            samples.counter(&["done"], self.done.get())?;
            samples.counter(&["failed"], self.failed.get())
        })
    }
}

impl StoreSeries {
    const fn new() -> Self {
        Self {
            changes: Histogram::of_numbers(&CHANGES),
            written_bytes: Counter::new(),
            sync: Histogram::of_times(&DISK),
            write_errors: Counter::new(),
            journal_failed: Gauge::new(),
            acked: Gauge::new(),
            applied: Gauge::new(),
            apply: Histogram::of_times(&DISK),
            rebuilds: [const { Counter::new() }; CAUSES.len()],
            view_failed: Gauge::new(),
            damaged: Gauge::new(),
            sampled: StoreSample {
                segments: Gauge::new(),
                unverified: Gauge::new(),
                free_bytes: Gauge::new(),
                ready: Gauge::new(),
                journal_bytes: Gauge::new(),
                snapshot_bytes: Gauge::new(),
                view_bytes: Gauge::new(),
                at_ms: Gauge::new(),
            },
            snapshots: DoneOrFailed::new(),
            backups: DoneOrFailed::new(),
            backup_ms: Gauge::new(),
            erasures: Counter::new(),
            erased_events: Counter::new(),
            audit_entries: Counter::new(),
        }
    }

    /// Counts a rebuild of the view.
    pub(crate) fn rebuilt(&self, cause: Rebuild) {
        if let Some(count) = self.rebuilds.get(cause as usize) {
            count.count();
        }
    }

    pub(super) fn write(&self, to: &mut Exposition<'_>, observed: &Observed) -> fmt::Result {
        to.histogram(&series::GROUP_CHANGES, &self.changes)?;
        to.counter(&series::JOURNAL_ERRORS, self.write_errors.get())?;
        to.gauge(&series::STORE_READY, self.sampled.ready.get())?;
        to.counter(&series::ERASURES, self.erasures.get())?;
        to.counter(&series::ERASED_EVENTS, self.erased_events.get())?;
        to.counter(&series::AUDIT_ENTRIES, self.audit_entries.get())?;
        if observed.has_files { self.write_files(to, observed) } else { Ok(()) }
    }

    /// Writes what only a store in files has: its journal, its read view, sizes and backups.
    fn write_files(&self, to: &mut Exposition<'_>, observed: &Observed) -> fmt::Result {
        to.counter(&series::JOURNAL_BYTES, self.written_bytes.get())?;
        to.histogram(&series::JOURNAL_SYNC, &self.sync)?;
        to.gauge(&series::JOURNAL_FAILED, self.journal_failed.get())?;
        to.gauge(&series::JOURNAL_SEGMENTS, self.sampled.segments.get())?;
        to.gauge(&series::JOURNAL_UNVERIFIED, self.sampled.unverified.get())?;
        to.gauge(&series::JOURNAL_DAMAGED, self.damaged.get())?;
        // In this order: what is applied was durable before.
        let applied = self.applied.get();
        to.gauge(&series::VIEW_LAG, (self.acked.get() - applied).max(0))?;
        to.histogram(&series::VIEW_APPLY, &self.apply)?;
        to.labelled(&series::VIEW_REBUILDS, |samples| {
            CAUSES.iter().zip(&self.rebuilds).try_for_each(|(cause, count)| samples.counter(&[cause], count.get()))
        })?;
        to.gauge(&series::VIEW_FAILED, self.view_failed.get())?;
        self.write_sizes(to, observed)?;
        self.snapshots.write(to, &series::SNAPSHOTS)?;
        self.backups.write(to, &series::BACKUPS)?;
        to.gauge(&series::LAST_BACKUP, seconds(&self.backup_ms))
    }

    fn write_sizes(&self, to: &mut Exposition<'_>, observed: &Observed) -> fmt::Result {
        let sampled = &self.sampled;
        to.labelled(&series::STORE_BYTES, |samples| {
            samples.gauge(&["journal"], sampled.journal_bytes.get())?;
            samples.gauge(&["snapshots"], sampled.snapshot_bytes.get())?;
            samples.gauge(&["view"], sampled.view_bytes.get())
        })?;
        to.gauge(&series::STORE_FREE, sampled.free_bytes.get())?;
        to.gauge(&series::STORE_RESERVE, observed.reserve_bytes)?;
        to.gauge(&series::STORE_SAMPLED, seconds(&sampled.at_ms))
    }
}

/// Returns a time in seconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
fn seconds(millis: &Gauge) -> f64 {
    millis.get() as f64 / 1000.0
}
