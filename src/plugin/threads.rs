//! Where calls run: every plugin has threads of its own, so that a plugin that loops takes nobody else's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use super::stats::{Stats, Summary};
use super::{CallContext, Called, PluginError, Program};

struct Job {
    payload: Arc<str>,
    context: CallContext,
    done: oneshot::Sender<Called>,
}

/// A plugin's threads. They end when this is dropped and the queue is empty.
#[derive(Debug)]
pub(super) struct Workers {
    queue: Sender<Job>,
    stats: Arc<Stats>,
}

impl Workers {
    pub(super) fn start(program: &Arc<Program>) -> std::io::Result<Self> {
        let (queue, jobs) = bounded(program.limits.queue);
        let stats = Arc::new(Stats::default());
        for number in 0..program.limits.concurrency {
            let worker = Worker { number, program: Arc::clone(program), jobs: jobs.clone(), stats: Arc::clone(&stats) };
            std::thread::Builder::new().name(worker.name()).spawn(move || worker.run())?;
        }
        Ok(Self { queue, stats })
    }

    pub(super) fn summary(&self) -> Summary {
        self.stats.summary()
    }

    pub(super) async fn call(&self, payload: Arc<str>, context: CallContext) -> Called {
        let (done, answer) = oneshot::channel();
        match self.queue.try_send(Job { payload, context, done }) {
            Ok(()) => answer.await.unwrap_or_else(|_| Called::not_made(PluginError::Host)),
            Err(TrySendError::Full(_)) => {
                self.stats.count_busy();
                Called::not_made(PluginError::Busy)
            }
            Err(TrySendError::Disconnected(_)) => Called::not_made(PluginError::Host),
        }
    }
}

/// What one of a plugin's threads needs.
struct Worker {
    number: usize,
    program: Arc<Program>,
    jobs: Receiver<Job>,
    stats: Arc<Stats>,
}

impl Worker {
    fn name(&self) -> String {
        format!("plugin-{}-{}", self.program.name, self.number)
    }

    fn run(self) {
        // The first call on a thread would otherwise pay for this.
        wasmtime::Engine::tls_eager_initialize();
        let mut stepped_back = false;
        while let Ok(job) = self.jobs.recv() {
            // Nobody waits any more: the sender has hung up.
            if job.done.is_closed() {
                continue;
            }
            let called = self.call(&job);
            let slow = called.slow;
            let _gone = job.done.send(called);
            stepped_back |= slow;
            // As long as its calls are slow they may as well stand back from the start.
            if stepped_back && !slow && self.replaced() {
                return;
            }
        }
    }

    fn call(&self, job: &Job) -> Called {
        let started = Instant::now();
        let called = catch_unwind(AssertUnwindSafe(|| self.program.call(&job.payload, &job.context)));
        let called = called.unwrap_or_else(|_| {
            tracing::error!(plugin = self.program.name, "a plugin call panicked in the host");
            Called::not_made(PluginError::Host)
        });
        self.stats.count(&job.context, started.elapsed(), &called.result);
        called
    }

    /// Whether a thread that has not stepped back does this one's work from now on.
    fn replaced(&self) -> bool {
        let worker = Self {
            number: self.number,
            program: Arc::clone(&self.program),
            jobs: self.jobs.clone(),
            stats: Arc::clone(&self.stats),
        };
        self.program.engine.starter().spawn(worker.name(), move || worker.run())
    }
}
