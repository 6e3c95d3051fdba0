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
            let (program, jobs, stats) = (Arc::clone(program), jobs.clone(), Arc::clone(&stats));
            let thread = std::thread::Builder::new().name(format!("plugin-{}-{number}", program.name));
            thread.spawn(move || work(&program, &jobs, &stats))?;
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

fn work(program: &Program, jobs: &Receiver<Job>, stats: &Stats) {
    // The first call on a thread would otherwise pay for this.
    wasmtime::Engine::tls_eager_initialize();
    while let Ok(job) = jobs.recv() {
        // Nobody waits any more: the sender has hung up.
        if job.done.is_closed() {
            continue;
        }
        let started = Instant::now();
        let called = catch_unwind(AssertUnwindSafe(|| program.call(&job.payload, &job.context)));
        let called = called.unwrap_or_else(|_| {
            tracing::error!(plugin = program.name, "a plugin call panicked in the host");
            Called::not_made(PluginError::Host)
        });
        stats.count(&job.context, started.elapsed(), &called.result);
        let _gone = job.done.send(called);
    }
}
