//! A candidate beside the live plugin: it gets what that gets, stores nothing, and is only compared.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use crossbeam_channel::{Receiver, Sender, bounded};
use serde::{Deserialize, Serialize};

use super::{Compared, Runs, Tally, Verdict};
use crate::event::RawEvent;
use crate::ingest::rehearse;
use crate::integration::Integration;
use crate::plugin::stand_back;

/// Events that wait for the shadow. It runs when nothing else wants to, so it may fall behind; what comes then is
/// counted and not run.
const AHEAD: usize = 64;
/// Events that differ are kept, the newest so many.
const SAMPLES: usize = 20;

/// A candidate that is running.
#[derive(Debug)]
pub struct Shadow {
    candidate: Arc<Integration>,
    events: Sender<(RawEvent, Verdict)>,
    dropped: AtomicU64,
    runs: Arc<Mutex<Runs>>,
}

/// How it compares so far.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShadowReport {
    /// Its version.
    pub version: String,
    /// SHA-256 of its module, hexadecimal.
    pub sha256: String,
    /// Since when it runs beside this live version.
    #[serde(serialize_with = "crate::task::utc")]
    pub since: DateTime<Utc>,
    /// Events that it has not seen, as it was behind.
    pub dropped: u64,
    /// The events that it has seen, beside what the live plugin made of them.
    #[serde(flatten)]
    pub compared: Compared,
}

impl Shadow {
    /// Starts its thread, which ends with it.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub fn start(candidate: Integration) -> std::io::Result<Self> {
        let (events, waiting) = bounded(AHEAD);
        let (candidate, runs) = (Arc::new(candidate), Arc::new(Mutex::new(Runs::new(Tally::new(SAMPLES, true)))));
        let (its, counted) = (Arc::clone(&candidate), Arc::clone(&runs));
        let thread = std::thread::Builder::new().name(format!("shadow-{}", candidate.name));
        thread.spawn(move || run(&its, &waiting, &counted))?;
        Ok(Self { candidate, events, dropped: AtomicU64::new(0), runs })
    }

    /// Has it run an event that the live plugin has run. This never waits.
    pub fn see(&self, raw: RawEvent, live: Verdict) {
        if self.events.try_send((raw, live)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How it compares so far; with values, which are the senders' data.
    #[must_use]
    pub fn report(&self) -> ShadowReport {
        ShadowReport {
            version: self.candidate.version.clone(),
            sha256: self.candidate.provenance.module_sha256.clone(),
            since: self.candidate.loaded_at,
            dropped: self.dropped.load(Ordering::Relaxed),
            compared: lock(&self.runs).compared(&self.candidate),
        }
    }

    /// Forgets what it has seen of any event; the counts stay.
    pub fn forget(&self) {
        lock(&self.runs).tally.forget_samples();
    }
}

fn run(candidate: &Integration, waiting: &Receiver<(RawEvent, Verdict)>, runs: &Mutex<Runs>) {
    stand_back();
    for (raw, live) in waiting {
        match catch_unwind(AssertUnwindSafe(|| rehearse(candidate, &raw))) {
            Ok(rehearsed) => lock(runs).add(raw.id, &live, &rehearsed),
            Err(_) => tracing::error!(event.id = %raw.id, "a shadow's call panicked in the host"),
        }
    }
}

fn lock(runs: &Mutex<Runs>) -> MutexGuard<'_, Runs> {
    runs.lock().unwrap_or_else(PoisonError::into_inner)
}
