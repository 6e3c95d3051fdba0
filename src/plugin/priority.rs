//! Lowers the priority of slow calls, so that a plugin that loops takes no time from quick ones.
//!
//! If a call has used the processor for several [`LOOK`]s, its thread gets idle priority: it runs only when no
//! other thread wants to. This cannot be undone without privileges, and a new thread inherits the priority of its
//! creator. So the call's thread first starts its successor (`threads.rs`), and ends with the call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a call is checked. Mappings take less time in any language.
const LOOK: Duration = Duration::from_millis(10);

/// How often a call is checked if the plugin's last call was slow: the next one probably is too.
const WARY_LOOK: Duration = Duration::from_millis(2);

/// Whether a plugin's last call was slow.
#[derive(Debug, Default)]
pub(super) struct Habit(AtomicBool);

impl Habit {
    pub(super) fn is_slow(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn learn(&self, slow: bool) {
        // Most calls change nothing, so they avoid writing to memory that other threads read.
        if self.is_slow() != slow {
            self.0.store(slow, Ordering::Relaxed);
        }
    }
}

/// Observed behaviour of a call's thread.
pub(super) struct Pace {
    look: Duration,
    /// CPU time of the thread at the last check.
    cpu: Option<Duration>,
    /// CPU time of the thread when the call began, if the plugin's last call was slow.
    began: Option<Duration>,
    stepped_back: bool,
    /// Starts the thread's successor; `None` once it has lower priority, or if the thread is not the plugin's own.
    successor: Option<StartSuccessor>,
}

/// Starts the thread that takes over when the call has ended. Returns false if it cannot be started.
pub(super) type StartSuccessor = Box<dyn FnOnce() -> bool + Send>;

impl Pace {
    pub(super) fn of(successor: Option<StartSuccessor>, wary: bool) -> Self {
        let began = (wary && successor.is_some()).then(thread_cpu_time);
        let look = if began.is_some() { WARY_LOOK } else { LOOK };
        Self { look, cpu: began, began, stepped_back: false, successor }
    }

    /// Returns the interval between checks.
    pub(super) fn every(&self) -> Duration {
        self.look
    }

    /// Returns whether the call was slow. A call whose priority was lowered early may still have been quick.
    pub(super) fn was_slow(&self) -> bool {
        let quick = |began: Duration| thread_cpu_time().saturating_sub(began) < 2 * LOOK;
        self.stepped_back && !self.began.is_some_and(quick)
    }

    /// Checks the call. A call that waits for the processor is not slow, because on a busy machine any call may
    /// wait for it. A call that has used the processor for most of the time since the last check gets idle
    /// priority.
    pub(super) fn look(&mut self) {
        if self.successor.is_none() {
            return;
        }
        let now = thread_cpu_time();
        let ran = self.cpu.replace(now).map(|before| now.saturating_sub(before));
        if ran.is_some_and(|it| it >= self.look / 2)
            && let Some(start) = self.successor.take()
            && start()
        {
            stand_back();
            self.stepped_back = true;
        }
    }
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Gives this thread, and the threads that it starts, idle priority: they run only when no other thread wants to.
pub fn stand_back() {
    // SCHED_IDLE (sched(7)) and not only a lower priority: a thread that wakes up preempts an idle one at once. If
    // this fails, the thread keeps its priority.
    #[allow(unsafe_code, reason = "a system call on numbers, and a structure that it only reads")]
    unsafe {
        let parameter = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter);
    }
}
