//! Slow calls step back: what is quick goes first, so that a plugin that loops takes no time from the others.
//!
//! A call that has run for some [`LOOK`]s, and was really running, has its thread run only when no other wants to.
//! Nobody may undo that without privileges, and a thread begins with the class of the one that starts it: so the call's
//! thread first starts its successor (`threads.rs`), and ends with the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::threads::Worker;

/// How often a call is checked. Mappings take less in any language.
const LOOK: Duration = Duration::from_millis(10);

/// The same while the plugin's last call was slow: the next one probably is, and steps back sooner.
const WARY_LOOK: Duration = Duration::from_millis(2);

/// Whether a plugin's last call was slow.
#[derive(Debug, Default)]
pub(super) struct Habit(AtomicBool);

impl Habit {
    pub(super) fn is_slow(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn learn(&self, slow: bool) {
        // Most calls change nothing, and need not write to what other threads read.
        if self.is_slow() != slow {
            self.0.store(slow, Ordering::Relaxed);
        }
    }
}

/// What a call's thread has been seen doing.
pub(super) struct Pace {
    look: Duration,
    /// Its CPU time at the last look.
    cpu: Option<Duration>,
    /// Its CPU time when the call began, where the plugin's last call was slow.
    began: Option<Duration>,
    stepped_back: bool,
    /// Who runs the call; none once it has stepped back, and where its thread is not the plugin's own.
    worker: Option<Arc<Worker>>,
}

impl Pace {
    pub(super) fn of(worker: Option<Arc<Worker>>, wary: bool) -> Self {
        let began = (wary && worker.is_some()).then(thread_cpu_time);
        let look = if began.is_some() { WARY_LOOK } else { LOOK };
        Self { look, cpu: began, began, stepped_back: false, worker }
    }

    /// How often to look.
    pub(super) fn every(&self) -> Duration {
        self.look
    }

    /// Whether the call took more than a quick one may. One that stepped back early may still have been quick.
    pub(super) fn was_slow(&self) -> bool {
        let quick = |began: Duration| thread_cpu_time().saturating_sub(began) < 2 * LOOK;
        self.stepped_back && !self.began.is_some_and(quick)
    }

    /// One look. A call that waits for the processor is not slow: on a busy machine any call may. One that has had it for
    /// most of the time since the look before steps back.
    pub(super) fn look(&mut self) {
        if self.worker.is_none() {
            return;
        }
        let now = thread_cpu_time();
        let ran = self.cpu.replace(now).map(|before| now.saturating_sub(before));
        if ran.is_some_and(|it| it >= self.look / 2)
            && let Some(worker) = self.worker.take()
            && worker.start_successor()
        {
            // The call's thread has a reference of its own, so this is never the last one.
            drop(worker);
            stand_back();
            self.stepped_back = true;
        }
    }
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Makes this thread, and those that it starts, run only when no other thread wants to.
pub fn stand_back() {
    // SCHED_IDLE (sched(7)) and not only a lower priority: a thread that wakes up preempts such a
    // one at once, and need not wait for its slice to end. Where it fails, the thread goes on as it is.
    #[allow(unsafe_code, reason = "a system call on numbers, and a structure that it only reads")]
    unsafe {
        let parameter = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter);
    }
}
