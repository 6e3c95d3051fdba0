//! Slow calls step back: what is quick goes first, so that a plugin that loops takes no time from the others.
//!
//! A call that has run for some [`LOOK`]s, and was really running, has its thread run only when no other wants to.
//! Nobody may take that back without privileges, so such a thread ends after the next call that is quick, and another
//! takes its place; and since a thread begins as the one that starts it is, a thread of its own does that.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};

/// How often a call is looked at. Mappings take less in any language.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// What a call's thread has been seen doing.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Its CPU time at the last look.
    cpu: Option<Duration>,
    slow: bool,
}

impl Pace {
    pub(super) fn is_slow(&self) -> bool {
        self.slow
    }

    /// One look. A call that waits for the processor is not slow: on a busy machine that is anybody's. One that has
    /// had it for most of the time since the look before steps back.
    pub(super) fn look(&mut self) {
        if self.slow {
            return;
        }
        let now = thread_cpu_time();
        let ran = self.cpu.replace(now).map(|before| now.saturating_sub(before));
        if ran.is_some_and(|it| it >= LOOK / 2) {
            self.slow = true;
            stand_back();
        }
    }
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Has this thread, and those that it starts, run only when no other wants to.
pub fn stand_back() {
    // SCHED_IDLE (sched(7)) and not only a lower priority: a thread that wakes up takes such a one's place at once,
    // and need not wait for its slice to end. Where it fails, the thread goes on as it is.
    #[allow(unsafe_code, reason = "a system call on numbers, and a structure that it only reads")]
    unsafe {
        let parameter = std::mem::zeroed();
        libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameter);
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// Starts threads that begin with the process's own priority.
#[derive(Debug)]
pub(super) struct Starter {
    requests: Sender<(String, Work, Sender<std::io::Result<()>>)>,
}

impl Starter {
    pub(super) fn start() -> std::io::Result<Arc<Self>> {
        let (requests, asked) = unbounded::<(String, Work, Sender<std::io::Result<()>>)>();
        let serve = move || {
            for (name, work, done) in asked {
                let started = std::thread::Builder::new().name(name).spawn(work).map(drop);
                let _gone = done.send(started);
            }
        };
        std::thread::Builder::new().name("plugin-starter".into()).spawn(serve)?;
        Ok(Arc::new(Self { requests }))
    }

    /// Whether the thread has been started.
    pub(super) fn spawn(&self, name: String, work: impl FnOnce() + Send + 'static) -> bool {
        let (done, answer) = bounded(1);
        self.requests.send((name, Box::new(work), done)).is_ok() && matches!(answer.recv(), Ok(Ok(())))
    }
}
