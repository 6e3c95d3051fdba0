//! Where calls run: every plugin has threads of its own, so that a plugin that loops takes nobody else's.
//!
//! A thread that steps back (`priority.rs`) starts its successor first, while it still has the usual priority. When its
//! call has ended, it hands everything over: the call's store, the answer, what it shares with the others. The successor
//! drops and sends those. So a thread that has stepped back takes no lock that others wait for: not the engine's, not the
//! instance pool's, not the async runtime's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use crossbeam_queue::ArrayQueue;
use tokio::sync::oneshot;

use super::stats::{Stats, Summary};
use super::{CallContext, Called, Ended, PluginError, Program};

struct Job {
    payload: Arc<str>,
    context: CallContext,
    done: oneshot::Sender<Called>,
}

/// A plugin's threads. They end when this is dropped and the queue is empty; dropping it does not wait for them.
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
            let worker = Worker::new(number, Arc::clone(program), jobs.clone(), Arc::clone(&stats));
            worker.named_thread().spawn(move || run(worker))?;
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
pub(super) struct Worker {
    number: usize,
    program: Arc<Program>,
    jobs: Receiver<Job>,
    stats: Arc<Stats>,
    succession: Arc<Succession>,
}

/// From a thread that has stepped back to its successor.
struct Succession {
    successor: OnceLock<Thread>,
    /// One at most: the pusher never waits, and the popper is woken when it is there.
    handed: ArrayQueue<Finished>,
}

/// A call that has ended and is not answered yet.
struct Finished {
    worker: Arc<Worker>,
    job: Job,
    ended: Ended,
    took: Duration,
}

impl Worker {
    fn new(number: usize, program: Arc<Program>, jobs: Receiver<Job>, stats: Arc<Stats>) -> Arc<Self> {
        let succession = Arc::new(Succession { successor: OnceLock::new(), handed: ArrayQueue::new(1) });
        Arc::new(Self { number, program, jobs, stats, succession })
    }

    fn named_thread(&self) -> std::thread::Builder {
        std::thread::Builder::new().name(format!("plugin-{}-{}", self.program.name, self.number))
    }

    /// Starts the thread that takes over when this call has ended. False where none can be had: then this one must not
    /// step back.
    pub(super) fn start_successor(&self) -> bool {
        let succession = Arc::clone(&self.succession);
        let spawned = self.named_thread().spawn(move || {
            let finished = succession.received();
            drop(succession);
            run(finished.settle());
        });
        spawned.is_ok_and(|it| self.succession.successor.set(it.thread().clone()).is_ok())
    }

    fn call(self: &Arc<Self>, job: &Job) -> Ended {
        let call = || self.program.call(&job.payload, &job.context, Some(Arc::clone(self)));
        catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| Ended::not_made(PluginError::Host))
    }
}

impl Succession {
    fn received(&self) -> Finished {
        loop {
            if let Some(finished) = self.handed.pop() {
                return finished;
            }
            std::thread::park();
        }
    }
}

impl Finished {
    /// Answers, gives back what the call has used, and gives a worker that has not stepped back.
    fn settle(self) -> Arc<Worker> {
        let Self { worker, job, ended, took } = self;
        let Ended { called, store, seat } = ended;
        if called.result == Err(PluginError::Host) {
            tracing::error!(plugin = worker.program.name, "a plugin call panicked in the host");
        }
        worker.stats.count(&job.context, took, &called.result);
        let _gone = job.done.send(called);
        // The store holds what the seat stands for.
        drop(store);
        drop(seat);
        match worker.succession.successor.get() {
            None => worker,
            Some(_) => {
                let (program, jobs, stats) = (&worker.program, &worker.jobs, &worker.stats);
                Worker::new(worker.number, Arc::clone(program), jobs.clone(), Arc::clone(stats))
            }
        }
    }
}

fn run(mut worker: Arc<Worker>) {
    // The first call on a thread would otherwise pay for this.
    wasmtime::Engine::tls_eager_initialize();
    while let Ok(job) = worker.jobs.recv() {
        // Nobody waits any more: the sender has hung up.
        if job.done.is_closed() {
            continue;
        }
        let started = Instant::now();
        let ended = worker.call(&job);
        let succession = Arc::clone(&worker.succession);
        let finished = Finished { took: started.elapsed(), worker, job, ended };
        let Some(successor) = succession.successor.get() else {
            worker = finished.settle();
            continue;
        };
        let _there_is_room = succession.handed.push(finished);
        successor.unpark();
        return;
    }
}
