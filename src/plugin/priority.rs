//! Slow calls step back: what is quick goes first, so that a plugin that loops takes no time from the others.
//!
//! A call that has run for longer than [`PATIENCE`] lowers its thread's priority. Nobody may raise it again without
//! privileges, so such a thread ends after the next call that is quick, and another takes its place; and since a
//! thread begins with the priority of the one that starts it, a thread of its own does that.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Sender, bounded, unbounded};

/// How long a call may take before it steps back: a fifth of the usual limit, and more than mappings take in any
/// language. On a machine that is busy, what steps back may miss its deadline; that has to be the loop alone.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);
/// By how much: to a tenth of the weight of the others (sched(7), nice values).
const STEPS: libc::c_int = 10;

/// Lowers the priority of this thread.
pub(super) fn step_back() {
    // On Linux that is the thread's own (setpriority(2), C library/kernel differences). Where it fails, the thread
    // goes on as it is.
    #[allow(unsafe_code, reason = "a system call on numbers, without memory")]
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, STEPS);
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
