//! The threads that run calls. Every plugin has threads of its own, so that a plugin that loops does not block
//! others.
//!
//! A thread that lowers its priority (`priority.rs`) first starts its successor, which gets the usual priority.
//! When its call has ended, it hands everything to the successor: the call's store, the result, and the shared
//! resources. The successor drops the store and sends the result. So a low-priority thread takes no lock that
//! others wait for: not the engine's, not the instance pool's, not the async runtime's. If it does not end in time
//! because the machine is busy, the successor responds that the limit was exceeded.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use crossbeam_queue::ArrayQueue;
use tokio::sync::oneshot;

use super::call::{CallContext, Called};
use super::error::PluginError;
use super::priority::StartSuccessor;
use super::program::{EndedCall, Program};
use super::stats::{CallStats, CallSummary};
use crate::metrics::plugins::PLUGINS;
use crate::system::memory;

/// How long after its time limit a call that has not ended gets a response.
const GRACE: Duration = Duration::from_millis(500);

/// After this time without a call, a thread gives back what it has freed.
const IDLE: Duration = Duration::from_secs(1);

struct QueuedCall {
    asked: Arc<CallRequest>,
    done: oneshot::Sender<Called>,
    since: Instant,
}

struct CallRequest {
    payload: Arc<str>,
    context: CallContext,
}

/// The pending response of a running call. The thread that takes it sends it, so it is sent once.
struct Reply {
    asked: Arc<CallRequest>,
    done: oneshot::Sender<Called>,
    started: Instant,
}

impl Reply {
    fn send(self, stats: &CallStats, took: Duration, called: Called) {
        stats.count(&self.asked.context, took, &called.result);
        let _gone = self.done.send(called);
    }
}

/// A plugin's threads. They end when this is dropped and the queue is empty; dropping it does not wait for them.
#[derive(Debug)]
pub(super) struct Workers {
    queue: Sender<QueuedCall>,
    stats: Arc<CallStats>,
}

impl Workers {
    pub(super) fn start(program: &Arc<Program>) -> std::io::Result<Self> {
        let (queue, jobs) = bounded(program.limits.queue);
        let stats = Arc::new(CallStats::default());
        for number in 0..program.limits.concurrency {
            let worker = Worker::new(number, Arc::clone(program), jobs.clone(), Arc::clone(&stats));
            worker.named_thread().spawn(move || run(worker))?;
        }
        Ok(Self { queue, stats })
    }

    /// Calls that wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn summary(&self) -> CallSummary {
        self.stats.summary()
    }

    pub(super) async fn call(&self, payload: Arc<str>, context: CallContext) -> Called {
        let (done, answer) = oneshot::channel();
        let asked = Arc::new(CallRequest { payload, context });
        match self.queue.try_send(QueuedCall { asked, done, since: Instant::now() }) {
            Ok(()) => answer.await.unwrap_or_else(|_| Called::not_made(PluginError::Host)),
            Err(TrySendError::Full(job)) => {
                self.stats.count_busy(&job.asked.context);
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
    jobs: Receiver<QueuedCall>,
    stats: Arc<CallStats>,
    succession: Arc<Succession>,
}

/// Hand-over from a low-priority thread to its successor.
struct Succession {
    successor: OnceLock<Thread>,
    /// The pending response, which is sent by the call's own thread or by its successor.
    reply: ArrayQueue<Reply>,
    /// At most one element, so that pushing never waits.
    handed: ArrayQueue<Finished>,
}

/// A call that has ended.
struct Finished {
    worker: Arc<Worker>,
    ended: EndedCall,
    took: Duration,
}

impl Worker {
    fn new(number: usize, program: Arc<Program>, jobs: Receiver<QueuedCall>, stats: Arc<CallStats>) -> Arc<Self> {
        let (reply, handed) = (ArrayQueue::new(1), ArrayQueue::new(1));
        let succession = Arc::new(Succession { successor: OnceLock::new(), reply, handed });
        Arc::new(Self { number, program, jobs, stats, succession })
    }

    fn named_thread(&self) -> std::thread::Builder {
        std::thread::Builder::new().name(format!("plugin-{}-{}", self.program.name, self.number))
    }

    /// Starts the thread that takes over when this call has ended. Returns false if it cannot be started: then this
    /// thread must keep its priority.
    pub(super) fn start_successor(&self) -> bool {
        let (succession, stats, limit) =
            (Arc::clone(&self.succession), Arc::clone(&self.stats), self.program.limits.time);
        let spawned = self.named_thread().spawn(move || {
            let finished = succession.received(&stats, limit);
            drop(succession);
            run(finished.settle());
        });
        spawned.is_ok_and(|it| self.succession.successor.set(it.thread().clone()).is_ok())
    }

    fn call(self: &Arc<Self>, asked: &CallRequest) -> EndedCall {
        let worker = Arc::clone(self);
        // The call's thread has a reference of its own, so the successor never drops the last one.
        let successor: StartSuccessor = Box::new(move || worker.start_successor());
        let call = || self.program.call(&asked.payload, &asked.context, Some(successor));
        catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| EndedCall::not_made(PluginError::Host))
    }
}

impl Succession {
    /// Waits for the end of the call, and responds if it does not end in time.
    fn received(&self, stats: &CallStats, limit: Duration) -> Finished {
        let mut reply = self.reply.pop();
        loop {
            if let Some(finished) = self.handed.pop() {
                // No response was sent yet. It is put back, to be sent with the call's result.
                reply.and_then(|it| self.reply.push(it).err());
                return finished;
            }
            let took = reply.as_ref().map(|it| it.started.elapsed());
            match took.map(|it| (limit + GRACE).saturating_sub(it)) {
                None => std::thread::park(),
                Some(Duration::ZERO) => {
                    let error = PluginError::Deadline { limit };
                    reply
                        .take()
                        .into_iter()
                        .for_each(|it| it.send(stats, took.unwrap_or_default(), Called::not_made(error.clone())));
                }
                Some(left) => std::thread::park_timeout(left),
            }
        }
    }
}

impl Finished {
    /// Sends the response, releases what the call has used, and returns a worker with normal priority.
    fn settle(self) -> Arc<Worker> {
        let Self { worker, ended, took } = self;
        let EndedCall { called, store, seat, instance } = ended;
        if called.result == Err(PluginError::Host) {
            tracing::error!(plugin = worker.program.name, "a plugin call panicked in the host");
        }
        if let Some(reply) = worker.succession.reply.pop() {
            reply.send(&worker.stats, took, called);
        }
        // The store first, because it occupies the capacity that the seat reserves.
        drop(store);
        drop((seat, instance));
        match worker.succession.successor.get() {
            None => worker,
            Some(_) => {
                let (program, jobs, stats) = (&worker.program, &worker.jobs, &worker.stats);
                Worker::new(worker.number, Arc::clone(program), jobs.clone(), Arc::clone(stats))
            }
        }
    }
}

/// Waits for a call; `None` when the plugin is dropped.
fn next_job(jobs: &Receiver<QueuedCall>) -> Option<QueuedCall> {
    match jobs.recv_timeout(IDLE) {
        Err(RecvTimeoutError::Timeout) => {
            memory::give_back();
            jobs.recv().ok()
        }
        job => job.ok(),
    }
}

fn run(mut worker: Arc<Worker>) {
    // Otherwise the first call on a thread would take longer.
    wasmtime::Engine::tls_eager_initialize();
    while let Some(job) = next_job(&worker.jobs) {
        // The caller has gone, for example at shutdown.
        if job.done.is_closed() {
            continue;
        }
        let (started, succession) = (Instant::now(), Arc::clone(&worker.succession));
        PLUGINS.wait.took(started - job.since);
        let reply = Reply { asked: Arc::clone(&job.asked), done: job.done, started };
        let _there_is_room = succession.reply.push(reply);
        let ended = worker.call(&job.asked);
        drop(job.asked);
        let finished = Finished { took: started.elapsed(), worker, ended };
        let Some(successor) = succession.successor.get() else {
            worker = finished.settle();
            continue;
        };
        let _there_is_room = succession.handed.push(finished);
        successor.unpark();
        return;
    }
}
