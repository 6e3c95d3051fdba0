//! The one thread that decides and appends.
//!
//! It takes everything that waits (up to [`GROUP`]), decides each change against what is there, makes all of it
//! durable as one group of the journal, and only then answers every caller. No timer: a lone writer goes at once,
//! and load forms the groups. The view follows on a thread of its own (`applier.rs`).

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::applier::{Applier, Work};
use super::change::{Change, Done, Written};
use super::decide::Decider;
use super::failure;
use super::journal::{AppendError, Journal, Kind, Op};
use super::rebuild::Built;
use super::shared::Shared;
use super::view::View;
use crate::auth::CompanyId;
use crate::store::StoreError;

/// Most changes in one group, and most that may wait.
const GROUP: usize = 1024;
/// Most bytes in one group, beyond the change that passes it.
const GROUP_BYTES: usize = 4 << 20;

/// How long closing may take: a view that is being built anew ends in time, one whose sled hangs never does.
const CLOSE_LIMIT: Duration = Duration::from_secs(60);

/// A change that waits for its group, and who waits for it.
struct Waiting {
    change: Change,
    done: oneshot::Sender<Result<Done, StoreError>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Waiting>>,
    threads: Vec<JoinHandle<()>>,
    applier: Option<Sender<Work>>,
}

impl Writer {
    pub(super) fn start(
        journal: Journal,
        view: View,
        broken: Receiver<()>,
        rows: HashMap<CompanyId, u32>,
        shared: &Arc<Shared>,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::channel(GROUP);
        let applier = Applier::start(view, broken, Arc::clone(shared))?;
        let (work, shared) = (applier.work.clone(), Arc::clone(shared));
        let since_snapshot = shared.journal_after_snapshot();
        let mut state = State { journal, rows, shared, work: applier.work, broken: None, since_snapshot };
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || state.run(waiting))?;
        Ok(Self { queue: Some(queue), threads: vec![thread, applier.thread], applier: Some(work) })
    }

    /// Waits for its place in the queue, then until the change is durable.
    pub(super) async fn write(&self, change: Change) -> Result<Done, StoreError> {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(Waiting { change, done }).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// The same for a thread that may wait.
    pub(super) fn write_blocking(&self, change: Change) -> Result<Done, StoreError> {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.blocking_send(Waiting { change, done }).map_err(|_| StoreError::Closed)?;
        answer.blocking_recv().map_err(|_| StoreError::Closed)?
    }

    /// Nothing, where it takes writes at all.
    pub(super) fn open(&self) -> Result<(), StoreError> {
        let open = self.queue.as_ref().is_some_and(|queue| !queue.is_closed());
        if open { Ok(()) } else { Err(StoreError::Closed) }
    }

    /// Has another view take over between two groups.
    pub(super) fn swap_view(&self, built: Built) -> Result<(), StoreError> {
        let (done, answer) = crossbeam_channel::bounded(1);
        let applier = self.applier.as_ref().ok_or(StoreError::Closed)?;
        applier.send(Work::Swap(Box::new(built), done)).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }

    /// Writes what is still queued, and ends.
    pub(super) fn close(&mut self) {
        (self.queue, self.applier) = (None, None);
        let threads = std::mem::take(&mut self.threads);
        let (done, ended) = crossbeam_channel::bounded(1);
        let join = move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the store panicked");
                }
            }
            let _given_up = done.send(());
        };
        let joining = std::thread::Builder::new().name("store-close".into()).spawn(join);
        if joining.is_ok() && ended.recv_timeout(CLOSE_LIMIT).is_err() {
            // What is acknowledged is in the journal; the next start brings the view up to date.
            tracing::error!("the store does not come to an end, and is left as it is");
        }
    }
}

struct State {
    journal: Journal,
    /// The next row of each company.
    rows: HashMap<CompanyId, u32>,
    shared: Arc<Shared>,
    work: Sender<Work>,
    broken: Option<StoreError>,
    since_snapshot: u64,
}

type Answers = Vec<(oneshot::Sender<Result<Done, StoreError>>, Result<Done, StoreError>)>;

impl State {
    fn run(&mut self, mut waiting: mpsc::Receiver<Waiting>) {
        let mut queued = Vec::with_capacity(GROUP);
        while waiting.blocking_recv_many(&mut queued, GROUP) > 0 {
            let mut queue = queued.drain(..).peekable();
            while queue.peek().is_some() {
                let mut answers = Vec::with_capacity(queue.len());
                let outcome = self.group(&mut queue, &mut answers);
                for (done, answer) in answers {
                    // A caller that has gone away misses its answer only; the change stands.
                    let _gone = done.send(outcome.clone().and(answer));
                }
            }
        }
    }

    /// One group: decided, durable, on its way into the view.
    fn group(
        &mut self,
        queue: &mut std::iter::Peekable<impl Iterator<Item = Waiting>>,
        answers: &mut Answers,
    ) -> Result<(), StoreError> {
        let failed = self.broken.clone().or_else(|| self.shared.view_error());
        let room = self.shared.room();
        let mut group = self.journal.group();
        let mut events: Vec<(Uuid, usize, usize)> = Vec::new();
        let mut decider = Decider::new(&self.shared, &mut self.rows);
        let mut bytes = 0;
        // What was decided before a change of files goes into them first: a group of its own.
        while let Some(Waiting { change, done }) = queue.next_if(|it| group.is_empty() || !it.change.is_of_files()) {
            let refused = failed.as_ref().or_else(|| room.as_ref().err().filter(|_| !change.may_use_reserve()));
            if let Some(error) = refused {
                answers.push((done, Err(error.clone())));
                continue;
            }
            let pruned = match change {
                Change::Roll { before_ms } => Some(
                    (self.journal.roll_if_older(before_ms).map(|()| 0))
                        .map_err(|error| append_failed(error, &self.shared, &mut self.broken)),
                ),
                Change::Prune { covered, before_ms } => Some(match self.shared.files.try_lock() {
                    // A backup or an erasure needs them: they go the next time.
                    Err(std::sync::TryLockError::WouldBlock) => Ok(0),
                    _held => self.journal.remove(covered, before_ms).map_err(|e| StoreError::Write(e.to_string())),
                }),
                Change::SwapSegment { first, ref copy } => {
                    let replaced = self.journal.replace(first, copy).map(u64::from);
                    Some(replaced.map_err(|e| failure::io(&e, StoreError::Write)))
                }
                _ => None,
            };
            if let Some(pruned) = pruned {
                answers.push((done, pruned.map(Done::Freed)));
                continue;
            }
            let answer = decider.decide(change).map(|(written, done)| {
                if !written.is_empty() {
                    bytes += written.iter().map(|it| it.value.len()).sum::<usize>();
                    let place = |at: usize, op: &Op<'_>| {
                        if let (Kind::Event, Some(id)) = (op.kind, op.key.last_chunk::<16>()) {
                            events.push((Uuid::from_bytes(*id), at, op.encoded_len()));
                        }
                    };
                    group.push(written.iter().map(Written::op), place);
                }
                done
            });
            answers.push((done, answer));
            if bytes >= GROUP_BYTES {
                break;
            }
        }
        if group.is_empty() { Ok(()) } else { self.append(group, events) }
    }

    fn append(
        &mut self,
        group: super::journal::GroupWriter,
        events: Vec<(Uuid, usize, usize)>,
    ) -> Result<(), StoreError> {
        // A roll in this very group may have failed.
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let appended = self.journal.append(group, events);
        let bytes = appended.map_err(|error| append_failed(error, &self.shared, &mut self.broken))?;
        self.shared.set_full(false);
        let last = self.journal.last();
        self.since_snapshot += bytes.len() as u64;
        self.shared.set_acked(last);
        if self.work.send(Work::Group(bytes, last)).is_err() {
            tracing::error!("the applier has ended");
        }
        if self.since_snapshot >= self.shared.options.snapshot_bytes {
            self.since_snapshot = 0;
            start_snapshot(&self.shared);
        }
        Ok(())
    }
}

/// What a failed append means for what comes after it.
fn append_failed(error: AppendError, shared: &Shared, broken: &mut Option<StoreError>) -> StoreError {
    match error {
        AppendError::Full(error) if failure::is_full(&error) => {
            shared.set_full(true);
            shared.room().err().unwrap_or(StoreError::NoSpace(error.to_string()))
        }
        // The journal is as it was: the next write may succeed.
        AppendError::Full(error) => {
            tracing::error!(cause = %error, "a group cannot be written");
            StoreError::Write(error.to_string())
        }
        AppendError::Sync(error) => {
            tracing::error!(cause = %error, "the journal cannot be written: nothing is stored until a restart");
            let error = StoreError::Write(error.to_string());
            *broken = Some(error.clone());
            shared.journal_failed(error.clone());
            error
        }
    }
}

/// On a thread of its own: it reads the whole view.
fn start_snapshot(shared: &Arc<Shared>) {
    let (taken_of, last) = (Arc::downgrade(shared), shared.acked());
    let take = move || {
        let Some(shared) = taken_of.upgrade() else { return };
        if let Err(error) = shared.take_snapshot(last) {
            tracing::warn!(cause = %error, "a snapshot cannot be taken");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("store-snapshot".into()).spawn(take) {
        tracing::warn!(cause = %error, "a snapshot cannot be taken");
    }
}
