//! Slow calls step back: what is quick goes first, so that a plugin that loops takes no time from the others.
//!
//! A call that has run for some [`LOOK`]s, and was really running, has its thread run only when no other wants to.
//! Nobody may undo that without privileges, and a thread begins with the class of the one that starts it: so the call's
//! thread first starts its successor (`threads.rs`), and ends with the call.

use std::sync::Arc;
use std::time::Duration;

use super::threads::Worker;

/// How often a call is looked at. Mappings take less in any language.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// What a call's thread has been seen doing.
#[derive(Default)]
pub(super) struct Pace {
    /// Its CPU time at the last look.
    cpu: Option<Duration>,
    /// Who runs the call; none once it has stepped back, and where its thread is not the plugin's own.
    worker: Option<Arc<Worker>>,
}

impl Pace {
    pub(super) fn of(worker: Option<Arc<Worker>>) -> Self {
        Self { cpu: None, worker }
    }

    /// One look. A call that waits for the processor is not slow: on a busy machine any call may. One that has had it for
    /// most of the time since the look before steps back.
    pub(super) fn look(&mut self) {
        if self.worker.is_none() {
            return;
        }
        let now = thread_cpu_time();
        let ran = self.cpu.replace(now).map(|before| now.saturating_sub(before));
        if ran.is_some_and(|it| it >= LOOK / 2)
            && let Some(worker) = self.worker.take()
            && worker.start_successor()
        {
            // The call's thread has a reference of its own, so this is never the last one.
            drop(worker);
            stand_back();
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
