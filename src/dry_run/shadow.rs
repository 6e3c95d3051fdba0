//! A candidate beside the live plugin: it gets what that gets, stores nothing, and is only compared.
//!
//! Its thread has a low priority (`plugin/priority.rs`), and may be preempted anywhere and for long. So it shares no lock with
//! anybody: events come to it through a lock-free queue, it owns what it counts, and it publishes immutable reports.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use crossbeam_queue::ArrayQueue;
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

/// A candidate that is running. Dropping it does not wait for its thread.
#[derive(Debug)]
pub struct Shadow {
    shared: Arc<Shared>,
    /// None once it is being dropped.
    thread: Option<JoinHandle<()>>,
    wake: Thread,
}

/// What the shadow's thread and the others share.
#[derive(Debug)]
struct Shared {
    candidate: Arc<Integration>,
    /// Twice as large as it may become full: a push then never meets a slot that the thread, preempted in the middle of
    /// a pop, still holds.
    events: ArrayQueue<Seen>,
    dropped: AtomicU64,
    /// How often everything was to be forgotten.
    forgotten: AtomicU64,
    /// Events that came until then, in milliseconds since 1970, are not to be shown.
    forgotten_at: AtomicI64,
    published: ArcSwap<Published>,
    ends: AtomicBool,
}

/// An event that the live plugin has run.
#[derive(Debug)]
struct Seen {
    raw: RawEvent,
    live: Verdict,
    /// [`Shared::forgotten`] when it was put into the queue.
    forgotten: u64,
}

#[derive(Debug)]
struct Published {
    /// [`Shared::forgotten`] when it was made.
    forgotten: u64,
    compared: Compared,
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
    /// Events that it has not seen: it was behind, or was to forget them first.
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
        let counted = Counted { runs: Runs::new(Tally::new(SAMPLES, true)), forgotten: 0 };
        let nothing = Published { forgotten: 0, compared: counted.runs.compared(&candidate) };
        let thread = std::thread::Builder::new().name(format!("shadow-{}", candidate.name));
        let shared = Arc::new(Shared {
            candidate: Arc::new(candidate),
            events: ArrayQueue::new(2 * AHEAD),
            dropped: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
            forgotten_at: AtomicI64::new(i64::MIN),
            published: ArcSwap::from_pointee(nothing),
            ends: AtomicBool::new(false),
        });
        let its = Arc::clone(&shared);
        let thread = thread.spawn(move || run(&its, counted))?;
        let wake = thread.thread().clone();
        Ok(Self { shared, thread: Some(thread), wake })
    }

    /// Has it run an event that the live plugin has run. This never waits.
    pub fn see(&self, raw: RawEvent, live: Verdict) {
        let forgotten = self.shared.forgotten.load(Ordering::SeqCst);
        let seen = Seen { raw, live, forgotten };
        if self.shared.events.len() < AHEAD && self.shared.events.push(seen).is_ok() {
            self.wake.unpark();
        } else {
            self.shared.drop_one();
        }
    }

    /// How it compares so far; with values, which are the senders' data.
    #[must_use]
    pub fn report(&self) -> ShadowReport {
        let Shared { candidate, dropped, published, .. } = &*self.shared;
        let published = published.load();
        let mut compared = published.compared.clone();
        // The thread may not have run since.
        if published.forgotten != self.shared.forgotten.load(Ordering::SeqCst) {
            compared.tally.forget_samples();
        }
        ShadowReport {
            version: candidate.version.clone(),
            sha256: candidate.provenance.module_sha256.clone(),
            since: candidate.loaded_at,
            dropped: dropped.load(Ordering::Relaxed),
            compared,
        }
    }

    /// Runs nothing more; a call under way is stopped.
    pub fn stop(&self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        self.shared.candidate.plugin.retire();
        self.wake.unpark();
    }

    /// Forgets what it has seen of any event, and those that wait for it; the counts stay. No report shows any of it from
    /// now on, whether the thread runs or not.
    pub fn forget(&self) {
        let shared = &self.shared;
        shared.forgotten_at.fetch_max(crate::clock::now().timestamp_millis(), Ordering::SeqCst);
        shared.forgotten.fetch_add(1, Ordering::SeqCst);
        while shared.events.pop().is_some() {
            shared.drop_one();
        }
        // What was published holds values until the thread, or this, replaces it.
        shared.published.rcu(|it| {
            let mut compared = it.compared.clone();
            compared.tally.forget_samples();
            Published { forgotten: it.forgotten, compared }
        });
        self.wake.unpark();
    }
}

/// The thread may be in a call, and must not be the last to hold the candidate: unloading code takes locks.
impl Drop for Shadow {
    fn drop(&mut self) {
        self.stop();
        let (shared, thread) = (Arc::clone(&self.shared), self.thread.take());
        let ended = std::thread::Builder::new().name("shadow-end".into()).spawn(move || {
            let _ended = thread.map(JoinHandle::join);
            drop(shared);
        });
        if let Err(error) = ended {
            tracing::warn!(cause = %error, "a shadow's thread is not waited for");
        }
    }
}

impl Shared {
    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the thread has counted, and how often it has forgotten.
struct Counted {
    runs: Runs,
    forgotten: u64,
}

impl Counted {
    /// Forgets, where that was asked for since the last time.
    fn keep_up(&mut self, shared: &Shared) {
        let asked = shared.forgotten.load(Ordering::SeqCst);
        if self.forgotten != asked {
            self.runs.tally.forget_samples();
            self.forgotten = asked;
        }
    }

    fn publish(&self, shared: &Shared) {
        let compared = self.runs.compared(&shared.candidate);
        shared.published.store(Arc::new(Published { forgotten: self.forgotten, compared }));
    }

    fn run(&mut self, shared: &Shared, Seen { raw, live, forgotten }: Seen) {
        let stale = |it: &Self| {
            forgotten != it.forgotten
                || raw.received_at.timestamp_millis() <= shared.forgotten_at.load(Ordering::SeqCst)
        };
        self.keep_up(shared);
        if stale(self) {
            return shared.drop_one();
        }
        let Ok(rehearsed) = catch_unwind(AssertUnwindSafe(|| rehearse(&shared.candidate, &raw))) else {
            tracing::error!(event.id = %raw.id, "a shadow's call panicked in the host");
            return;
        };
        self.keep_up(shared);
        if stale(self) {
            return shared.drop_one();
        }
        self.runs.add(raw.id, &live, &rehearsed);
    }
}

fn run(shared: &Shared, mut counted: Counted) {
    stand_back();
    while !shared.ends.load(Ordering::SeqCst) {
        match shared.events.pop() {
            Some(seen) => counted.run(shared, seen),
            None => std::thread::park(),
        }
        counted.keep_up(shared);
        counted.publish(shared);
    }
}
