//! A plugin that is not live yet, over events of before: what would be different. Nothing is stored.
//!
//! `dry_run/verdict.rs` is what a line has come to, `dry_run/tally.rs` counts how two of them differ.

mod tally;
mod verdict;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::event::EventStatus;
use crate::ingest::{Rehearsed, rehearse};
use crate::integration::Integration;
use crate::integration::check::Share;
use crate::plugin::Usage;
use crate::store::StoreError;
use crate::store::embedded::{History, Packed, Past, Wanted};

pub use tally::{Sample, Tally};
pub use verdict::{Class, Verdict};

/// Records that wait for a thread, each: what bounds memory.
const AHEAD: usize = 64;
/// Longest call that is told apart from longer ones, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

/// How a dry run is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Threads that run the plugin; one more reads.
    pub threads: usize,
    /// Most samples.
    pub samples: usize,
}

/// What a dry run has come to.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Events that were run.
    pub events: u64,
    /// How they differ from what came of them before.
    #[serde(flatten)]
    pub tally: Tally,
    /// Events that were not run, by why: `duplicate`, `queued`, `rejected` (no body is kept), `unreadable` (damaged), …
    pub not_run: BTreeMap<&'static str, u64>,
    /// Events by the version of the plugin that they went through before.
    pub versions: BTreeMap<String, u64>,
    /// What the calls have used at most, of each limit.
    pub limits: Vec<Share>,
    /// Half of the calls took at most so many microseconds.
    pub p50_us: f64,
    /// 99 in a hundred took at most so many.
    pub p99_us: f64,
    /// How long it all took, in seconds.
    pub seconds: f64,
    /// It was stopped before its end.
    pub stopped: bool,
}

/// What one thread has counted.
struct Part {
    tally: Tally,
    not_run: BTreeMap<&'static str, u64>,
    versions: BTreeMap<String, u64>,
    events: u64,
    most: Usage,
    times: Option<Histogram<u64>>,
}

/// Runs `candidate` over stored events and compares: with what came of them, or with what `against` makes of them now.
/// `done` is told of every so many events that were read. It ends early when `stop` is set.
///
/// # Errors
/// Where the history cannot be read.
pub fn run(
    history: &History,
    candidate: &Integration,
    against: Option<&Integration>,
    wanted: &Wanted,
    options: Options,
    stop: &AtomicBool,
    mut done: impl FnMut(u64),
) -> Result<Report, StoreError> {
    let started = Instant::now();
    let (send, records) = bounded::<Packed>(AHEAD * options.threads.max(1));
    let (read, parts) = std::thread::scope(|scope| {
        let work = || Part::new(options.samples).run(&records, candidate, against);
        let threads: Vec<_> = (0..options.threads.max(1)).map(|_| scope.spawn(work)).collect();
        let read = history.read(wanted, &mut |met, packed| {
            done(met);
            !stop.load(Ordering::Relaxed) && send.send(packed).is_ok()
        });
        drop(send);
        let parts: Vec<_> = threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        (read, parts)
    });
    read?;
    let mut whole = Part::new(options.samples);
    for part in parts {
        whole.merge(part.map_err(|_| StoreError::Read("a thread of the dry run panicked".into()))?);
    }
    Ok(whole.report(candidate, started, stop.load(Ordering::Relaxed)))
}

impl Part {
    fn new(samples: usize) -> Self {
        Self {
            tally: Tally::new(samples, false),
            not_run: BTreeMap::new(),
            versions: BTreeMap::new(),
            events: 0,
            most: Usage::default(),
            times: Histogram::new_with_bounds(1, LONGEST, 3).ok(),
        }
    }

    fn run(mut self, records: &Receiver<Packed>, candidate: &Integration, against: Option<&Integration>) -> Self {
        for packed in records {
            match packed.unpack() {
                Ok(events) => events.into_iter().for_each(|past| self.one(past, candidate, against)),
                Err(_) => *self.not_run.entry("unreadable").or_default() += packed.count() as u64,
            }
        }
        self
    }

    fn one(&mut self, past: Past, candidate: &Integration, against: Option<&Integration>) {
        if let Some(why) = not_run(&past, candidate) {
            *self.not_run.entry(why).or_default() += 1;
            return;
        }
        let raw = past.event.raw();
        let version = past.event.provenance.as_ref().map_or("", |it| &it.plugin_version);
        match self.versions.get_mut(version) {
            Some(count) => *count += 1,
            None => drop(self.versions.insert(version.to_owned(), 1)),
        }
        let before = against.map_or_else(|| Verdict::of(past), |it| Some(rehearse(it, &raw).verdict));
        let Rehearsed { verdict, call } = rehearse(candidate, &raw);
        if let Some((usage, took)) = call {
            self.most = self.most.max(usage);
            if let Some(times) = &mut self.times {
                times.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(LONGEST));
            }
        }
        self.events += 1;
        self.tally.add(raw.id, &before.unwrap_or(Verdict::Lost), &verdict);
    }

    fn merge(&mut self, other: Self) {
        self.tally.merge(other.tally);
        self.events += other.events;
        self.most = self.most.max(other.most);
        other.not_run.into_iter().for_each(|(why, count)| *self.not_run.entry(why).or_default() += count);
        other.versions.into_iter().for_each(|(version, count)| *self.versions.entry(version).or_default() += count);
        if let (Some(times), Some(more)) = (&mut self.times, other.times) {
            *times += more;
        }
    }

    fn report(self, candidate: &Integration, started: Instant, stopped: bool) -> Report {
        let nanos = |part: f64| self.times.as_ref().map_or(0, |it| it.value_at_quantile(part));
        let micros = |nanos: u64| (nanos as f64 / 100.0).round() / 10.0;
        let longest = self.times.as_ref().map_or(0, Histogram::max);
        Report {
            events: self.events,
            not_run: self.not_run,
            versions: self.versions,
            limits: Share::of_usage(candidate, &self.most, std::time::Duration::from_nanos(longest)),
            p50_us: micros(nanos(0.5)),
            p99_us: micros(nanos(0.99)),
            seconds: started.elapsed().as_secs_f64(),
            tally: self.tally,
            stopped,
        }
    }
}

/// Why an event's line cannot be run again; none where it can.
fn not_run(past: &Past, candidate: &Integration) -> Option<&'static str> {
    match past.event.status {
        EventStatus::Rejected => Some("rejected"),
        EventStatus::Duplicate => Some("duplicate"),
        EventStatus::Queued => Some("queued"),
        _ if candidate.auth.challenge(&past.event.body).is_some() => Some("challenge"),
        _ => None,
    }
}
