//! The shadow: a candidate that runs alongside the live plugin. It gets the same events, stores nothing, and is
//! only compared.
//!
//! Its thread has a low priority (`plugin/priority.rs`), and may be preempted anywhere and for long. So it shares
//! no lock with other threads: it receives events through a lock-free queue, owns its counts, and publishes
//! immutable reports.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};
use crossbeam_queue::ArrayQueue;
use serde::{Deserialize, Serialize};

use super::compared::{Compared, Runs};
use super::tally::Tally;
use crate::integration::Integration;
use crate::model::event::RawEvent;
use crate::pipeline::rehearse;
use crate::pipeline::verdict::Verdict;
use crate::plugin::stand_back;

/// Maximum number of events in the shadow's queue. The shadow runs only when nothing else does, so it may fall
/// behind; events that do not fit are counted but not run.
const AHEAD: usize = 64;
/// Maximum number of samples; the newest are kept.
const SAMPLES: usize = 20;

/// A running candidate. Dropping it does not wait for its thread.
#[derive(Debug)]
pub struct Shadow {
    shared: Arc<Shared>,
    /// `None` while it is being dropped.
    thread: Option<JoinHandle<()>>,
    wake: Thread,
}

/// State that is shared by the shadow's thread and others.
#[derive(Debug)]
struct Shared {
    candidate: Arc<Integration>,
    /// Has twice the capacity that is used, so that a push never meets a slot that the thread, preempted in the
    /// middle of a pop, still holds.
    events: ArrayQueue<Seen>,
    dropped: AtomicU64,
    /// Counts the requests to forget everything.
    forgotten: AtomicU64,
    /// Events received up to this time, in milliseconds since 1970, must not be shown.
    forgotten_at: AtomicI64,
    published: ArcSwap<Published>,
    ends: AtomicBool,
}

/// An event that the live plugin has processed.
#[derive(Debug)]
struct Seen {
    raw: RawEvent,
    live: Verdict,
    /// Value of [`Shared::forgotten`] when the event was queued.
    forgotten: u64,
}

#[derive(Debug)]
struct Published {
    /// Value of [`Shared::forgotten`] when it was published.
    forgotten: u64,
    compared: Compared,
}

/// The comparison so far.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ShadowReport {
    /// Version of the candidate.
    pub version: String,
    /// SHA-256 of its module, in hexadecimal.
    pub sha256: String,
    /// When it started to run alongside this live version.
    #[serde(serialize_with = "crate::model::time::utc")]
    pub since: DateTime<Utc>,
    /// Number of events that it has not run because it was behind, or because of an erasure.
    pub dropped: u64,
    /// The events that it has run, compared with the live plugin's results.
    #[serde(flatten)]
    pub compared: Compared,
}

impl Shadow {
    /// Starts its thread, which ends with it.
    ///
    /// # Errors
    /// Fails if the thread cannot be started.
    pub fn start(candidate: Integration) -> std::io::Result<Self> {
        let counted = ShadowCounts { runs: Runs::new(Tally::new(SAMPLES, true)), forgotten: 0 };
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

    /// Queues an event that the live plugin has processed. Never blocks.
    pub fn see(&self, raw: RawEvent, live: Verdict) {
        let forgotten = self.shared.forgotten.load(Ordering::SeqCst);
        let seen = Seen { raw, live, forgotten };
        if self.shared.events.len() < AHEAD && self.shared.events.push(seen).is_ok() {
            self.wake.unpark();
        } else {
            self.shared.drop_one();
        }
    }

    /// Returns the comparison so far, including values, which are the senders' data.
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

    /// Stops it; a running call is stopped.
    pub fn stop(&self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        self.shared.candidate.retire();
        self.wake.unpark();
    }

    /// Forgets all events that it has seen and all queued ones; the counts remain. No later report shows any of
    /// them, whether the thread runs or not.
    pub fn forget(&self) {
        let shared = &self.shared;
        shared.forgotten_at.fetch_max(crate::system::clock::now().timestamp_millis(), Ordering::SeqCst);
        shared.forgotten.fetch_add(1, Ordering::SeqCst);
        while shared.events.pop().is_some() {
            shared.drop_one();
        }
        // The published report has values until the thread, or this, replaces it.
        shared.published.rcu(|it| {
            let mut compared = it.compared.clone();
            compared.tally.forget_samples();
            Published { forgotten: it.forgotten, compared }
        });
        self.wake.unpark();
    }
}

/// Does not wait for the thread, which may be in a call. It must not drop the last reference to the candidate,
/// because unloading code takes locks.
impl Drop for Shadow {
    fn drop(&mut self) {
        self.stop();
        let (shared, thread) = (Arc::clone(&self.shared), self.thread.take());
        let ended = std::thread::Builder::new().name("shadow-end".into()).spawn(move || {
            let _ended = thread.map(JoinHandle::join);
            drop(shared);
        });
        if let Err(error) = ended {
            tracing::warn!(cause = %error, "a shadow's thread cannot be waited for");
        }
    }
}

impl Shared {
    fn drop_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counts of the thread, and how often it has forgotten.
struct ShadowCounts {
    runs: Runs,
    forgotten: u64,
}

impl ShadowCounts {
    /// Forgets everything if this was requested since the last time.
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

fn run(shared: &Shared, mut counted: ShadowCounts) {
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
