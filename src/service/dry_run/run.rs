//! Runs a candidate over stored events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, bounded};
use serde::Serialize;

use super::compared::{Compared, Runs};
use super::tally::Tally;
use crate::integration::Integration;
use crate::model::event::{Event, EventStatus, Reason};
use crate::pipeline::verdict::Verdict;
use crate::pipeline::{HANDSHAKE, rehearse};
use crate::store::StoreError;
use crate::store::{EventHistory, Packed, Past, Wanted};

/// Maximum number of records queued per thread; bounds memory.
const AHEAD: usize = 64;

/// Options of a dry run.
#[derive(Debug, Clone, Copy)]
pub struct DryRunOptions {
    /// Number of threads that run the plugin; one more thread reads.
    pub threads: usize,
    /// Maximum number of samples.
    pub samples: usize,
}

/// The report of a dry run.
#[derive(Debug, Clone, Serialize, schemars::JsonSchema)]
#[schemars(rename = "DryRunReport")]
pub struct Report {
    /// The events that were run, compared with their earlier results.
    #[serde(flatten)]
    pub compared: Compared,
    /// Numbers of events that were not run, by reason: `duplicate`, `queued`, `rejected` (no body is stored),
    /// `unreadable` (damaged), …
    pub not_run: BTreeMap<&'static str, u64>,
    /// Numbers of events by the plugin version that processed them before.
    pub versions: BTreeMap<String, u64>,
    /// Duration of the dry run, in seconds.
    pub seconds: f64,
    /// Whether it was stopped early.
    pub stopped: bool,
}

/// The counts of one thread.
struct Part {
    runs: Runs,
    not_run: BTreeMap<&'static str, u64>,
    versions: BTreeMap<String, u64>,
}

/// Runs `candidate` over stored events and compares the results with the stored ones, or with those of `against`.
/// `done` is called with numbers of events that were examined since. Ends early if `stop` is set.
///
/// # Errors
/// Fails if the history cannot be read.
pub fn run(
    history: &dyn EventHistory,
    candidate: &Integration,
    against: Option<&Integration>,
    wanted: &Wanted,
    options: DryRunOptions,
    stop: &AtomicBool,
    done: &(dyn Fn(u64) + Sync),
) -> Result<Report, StoreError> {
    let started = Instant::now();
    let (send, records) = bounded::<(u64, Packed)>(AHEAD * options.threads.max(1));
    let (read, parts) = std::thread::scope(|scope| {
        let work = || Part::new(options.samples).run(&records, candidate, against, stop, done);
        let threads: Vec<_> = (0..options.threads.max(1)).map(|_| scope.spawn(work)).collect();
        let read =
            history.read(wanted, &mut |met, packed| !stop.load(Ordering::Relaxed) && send.send((met, packed)).is_ok());
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
        Self { runs: Runs::new(Tally::new(samples, false)), not_run: BTreeMap::new(), versions: BTreeMap::new() }
    }

    fn run(
        mut self,
        records: &Receiver<(u64, Packed)>,
        candidate: &Integration,
        against: Option<&Integration>,
        stop: &AtomicBool,
        done: &(dyn Fn(u64) + Sync),
    ) -> Self {
        let goes_on = || !stop.load(Ordering::Relaxed);
        // Always receives all records, because the reader would otherwise wait for room in the queue.
        for (met, packed) in records.iter().filter(|_| goes_on()) {
            let count = packed.count() as u64;
            done(met.saturating_sub(count));
            match packed.unpack() {
                // Checked before each event, because a slow plugin may take seconds for one.
                Ok(events) => {
                    // Some may have expired.
                    done(count.saturating_sub(events.len() as u64));
                    for past in events.into_iter().take_while(|_| goes_on()) {
                        self.one(past, candidate, against);
                        done(1);
                    }
                }
                Err(_) => {
                    *self.not_run.entry("unreadable").or_default() += count;
                    done(count);
                }
            }
        }
        self
    }

    fn one(&mut self, past: Past, candidate: &Integration, against: Option<&Integration>) {
        if let Some(why) = not_run(&past) {
            *self.not_run.entry(why).or_default() += 1;
            return;
        }
        let raw = past.event.raw();
        // No version has processed a captured event.
        if let Some(by) = &past.event.provenance {
            match self.versions.get_mut(&by.plugin_version) {
                Some(count) => *count += 1,
                None => drop(self.versions.insert(by.plugin_version.clone(), 1)),
            }
        }
        let before = against.map_or_else(|| Verdict::of(past), |it| Some(rehearse(it, &raw).verdict));
        self.runs.add(raw.id, &before.unwrap_or(Verdict::Lost), &rehearse(candidate, &raw));
    }

    fn merge(&mut self, other: Self) {
        self.runs.merge(other.runs);
        other.not_run.into_iter().for_each(|(why, count)| *self.not_run.entry(why).or_default() += count);
        other.versions.into_iter().for_each(|(version, count)| *self.versions.entry(version).or_default() += count);
    }

    fn report(self, candidate: &Integration, started: Instant, stopped: bool) -> Report {
        Report {
            compared: self.runs.compared(candidate),
            not_run: self.not_run,
            versions: self.versions,
            seconds: started.elapsed().as_secs_f64(),
            stopped,
        }
    }
}

/// Returns whether the server has answered the event itself.
fn is_question(event: &Event) -> bool {
    // hookmill 0.1 knew only Slack's, and stored it as skipped by the plugin.
    let is_slack_s = |it: &Reason| it.code == "skipped" && it.message.starts_with("url_verification: ");
    event.reason.as_ref().is_some_and(|it| it.code == HANDSHAKE || is_slack_s(it))
}

/// Returns why an event cannot be run again; `None` if it can.
fn not_run(past: &Past) -> Option<&'static str> {
    if let Some(why) = past.event.no_body() {
        return Some(why.word());
    }
    match past.event.status {
        EventStatus::Duplicate => Some("duplicate"),
        EventStatus::Queued => Some("queued"),
        _ if is_question(&past.event) => Some("challenge"),
        _ => None,
    }
}
