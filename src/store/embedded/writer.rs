//! The thread that decides changes and appends them to the journal.
//!
//! It takes all queued changes (up to [`GROUP`]), decides each against the stored state, makes them durable as one
//! group of the journal, and then responds to all callers. There is no timer: a single write is appended at once,
//! and under load groups form by themselves. The view follows on a thread of its own (`applier.rs`).

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::applier::{Applier, ApplierWork};
use super::change::{Change, Done, OwnedOp};
use super::decide::{Decider, Decisions, Stored};
use super::failure;
use super::journal::{AppendError, Journal, Op, OpKind};
use super::rebuild::Built;
use super::shared::SharedStore;
use super::view::View;
use crate::metrics::store::STORE;
use crate::store::error::StoreError;

/// Maximum number of changes in a group, and in the queue.
const GROUP: usize = 1024;
/// Size of a group, in bytes, not counting the change that exceeds it.
const GROUP_BYTES: usize = 4 << 20;

/// How long closing may take. A view that is being rebuilt is done by then; a hanging sled never is.
const CLOSE_LIMIT: Duration = Duration::from_secs(60);

/// A queued change and its caller.
struct QueuedChange {
    change: Change,
    done: oneshot::Sender<Result<Done, StoreError>>,
}

#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<QueuedChange>>,
    threads: Vec<JoinHandle<()>>,
    applier: Option<Sender<ApplierWork>>,
}

impl Writer {
    pub(super) fn start(
        journal: Journal,
        view: View,
        broken: Receiver<()>,
        stored: Stored,
        shared: &Arc<SharedStore>,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::channel(GROUP);
        let applier = Applier::start(view, broken, Arc::clone(shared))?;
        let (work, shared) = (applier.work.clone(), Arc::clone(shared));
        let since_snapshot = shared.journal_after_snapshot();
        let mut state =
            WriterState { journal, stored, shared, work: applier.work, broken: None, since_snapshot, snapshot: None };
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || state.run(waiting))?;
        Ok(Self { queue: Some(queue), threads: vec![thread, applier.thread], applier: Some(work) })
    }

    /// Queues a change, and waits until it is durable.
    pub(super) async fn write(&self, change: Change) -> Result<Done, StoreError> {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(QueuedChange { change, done }).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Queues a change, and blocks the thread until it is durable.
    pub(super) fn write_blocking(&self, change: Change) -> Result<Done, StoreError> {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.blocking_send(QueuedChange { change, done }).map_err(|_| StoreError::Closed)?;
        answer.blocking_recv().map_err(|_| StoreError::Closed)?
    }

    /// Checks that the writer is running.
    pub(super) fn open(&self) -> Result<(), StoreError> {
        let open = self.queue.as_ref().is_some_and(|queue| !queue.is_closed());
        if open { Ok(()) } else { Err(StoreError::Closed) }
    }

    /// Replaces the view between two groups.
    pub(super) fn swap_view(&self, built: Built) -> Result<(), StoreError> {
        let (done, answer) = crossbeam_channel::bounded(1);
        let applier = self.applier.as_ref().ok_or(StoreError::Closed)?;
        applier.send(ApplierWork::Swap(Box::new(built), done)).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }

    /// Writes what is queued and ends all threads. When this returns, no thread of the store uses its files, so
    /// they can be opened again at once.
    pub(super) fn close(&mut self, shared: &Arc<SharedStore>) {
        (self.queue, self.applier) = (None, None);
        let threads = std::mem::take(&mut self.threads);
        let (done, ended) = crossbeam_channel::bounded(1);
        let shared = Arc::clone(shared);
        let join = move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the store panicked");
                }
            }
            // A request may still be taking a snapshot. It stops when it notices that the store is closing.
            drop(shared.snapshot.lock());
            drop(shared);
            let _given_up = done.send(());
        };
        let joining = std::thread::Builder::new().name("store-close".into()).spawn(join);
        if joining.is_ok() && ended.recv_timeout(CLOSE_LIMIT).is_err() {
            // Acknowledged changes are in the journal; the next start updates the view.
            tracing::error!("the store's threads did not end in time; the next start brings the read view up to date");
        }
    }
}

struct WriterState {
    journal: Journal,
    stored: Stored,
    shared: Arc<SharedStore>,
    work: Sender<ApplierWork>,
    broken: Option<StoreError>,
    since_snapshot: u64,
    /// The thread that takes a snapshot.
    snapshot: Option<JoinHandle<()>>,
}

/// Result of one change.
enum ChangeOutcome {
    /// Decided with its group. If the group is not durable, neither is this change nor what it was decided on.
    Grouped(Result<Done, StoreError>),
    /// Not part of a group, so independent of the group's outcome.
    Own(Result<Done, StoreError>),
}

impl ChangeOutcome {
    fn after(self, group: &Result<(), StoreError>) -> Result<Done, StoreError> {
        match self {
            Self::Grouped(result) => group.clone().and(result),
            Self::Own(result) => result,
        }
    }
}

type Unanswered = Vec<(oneshot::Sender<Result<Done, StoreError>>, ChangeOutcome)>;

impl WriterState {
    fn run(&mut self, mut waiting: mpsc::Receiver<QueuedChange>) {
        let mut queued = Vec::with_capacity(GROUP);
        while waiting.blocking_recv_many(&mut queued, GROUP) > 0 {
            let mut queue = queued.drain(..).peekable();
            while queue.peek().is_some() {
                let mut answers = Vec::with_capacity(queue.len());
                let outcome = self.group(&mut queue, &mut answers);
                for (done, answer) in answers {
                    // A caller that has disconnected misses only the response; the change remains.
                    let _gone = done.send(answer.after(&outcome));
                }
            }
        }
        self.join_snapshot();
    }

    /// Processes one group: decides it, makes it durable, and hands it to the applier.
    fn group(
        &mut self,
        queue: &mut std::iter::Peekable<impl Iterator<Item = QueuedChange>>,
        answers: &mut Unanswered,
    ) -> Result<(), StoreError> {
        let failed = self.broken.clone().or_else(|| self.shared.view_error());
        let room = self.shared.room();
        let mut group = self.journal.group();
        let mut events: Vec<(Uuid, usize, usize)> = Vec::new();
        let shared = Arc::clone(&self.shared);
        let counts = shared.tally.begin_group();
        let mut decider = Decider::new(&self.shared, &mut self.stored, group.next(), *counts);
        let mut bytes = 0;
        // A change of files starts a group of its own, because earlier decisions must be written to the old files
        // first.
        while let Some(QueuedChange { change, done }) = queue.next_if(|it| group.is_empty() || !it.change.is_of_files())
        {
            let refused = failed.as_ref().or_else(|| room.as_ref().err().filter(|_| !change.may_use_reserve()));
            if let Some(error) = refused {
                answers.push((done, ChangeOutcome::Own(Err(error.clone()))));
                continue;
            }
            if let Some(freed) = maintain(&change, &mut self.journal, &self.shared, &mut self.broken) {
                answers.push((done, ChangeOutcome::Own(freed.map(Done::Freed))));
                continue;
            }
            let mut too_long = None;
            let answer = decider.decide(change).map(|(written, done)| {
                if !written.is_empty() {
                    bytes += written.iter().map(|it| it.value.len()).sum::<usize>();
                    let place = |at: usize, op: &Op<'_>| {
                        if let (OpKind::Event, Some(id)) = (op.kind, op.key.last_chunk::<16>()) {
                            events.push((Uuid::from_bytes(*id), at, op.encoded_len()));
                        }
                    };
                    too_long = group.push(written.iter().map(OwnedOp::op), place).err();
                }
                done
            });
            answers.push((done, ChangeOutcome::Grouped(answer)));
            // Later changes were decided on this one. `Change::fits` makes this impossible.
            if let Some(error) = too_long {
                return Err(StoreError::Write(error.to_string()));
            }
            if bytes >= GROUP_BYTES {
                break;
            }
        }
        // A sequence is never used twice, and a group has fewer blocks than records.
        let (blocks, decisions) = decider.end(self.journal.last() + 1)?;
        if group.is_empty() {
            return Ok(());
        }
        STORE.changes.see(answers.len() as u64);
        if !blocks.is_empty() {
            let pushed = group.push(blocks.iter().map(OwnedOp::op), |_, _| {});
            pushed.map_err(|e| StoreError::Write(e.to_string()))?;
        }
        self.append(group, events, decisions)
    }

    fn append(
        &mut self,
        group: super::journal::GroupWriter,
        events: Vec<(Uuid, usize, usize)>,
        decisions: Decisions,
    ) -> Result<(), StoreError> {
        // A roll in this group may have failed.
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        // Registered first: otherwise, a record that is not known as late would keep what was sent. Once for the
        // whole group.
        self.shared.erasures.are_late(&decisions.late).map_err(|e| failure::io(&e, StoreError::Write))?;
        self.shared.tally.register(&decisions.tallied);
        let appended = self.journal.append(group, events);
        self.shared.wrote(appended.is_ok());
        if appended.is_err() {
            STORE.write_errors.count();
        }
        let bytes = appended.map_err(|error| append_failed(error, &self.shared, &mut self.broken))?;
        self.shared.set_full(false);
        let last = self.journal.last();
        self.since_snapshot += bytes.len() as u64;
        STORE.written_bytes.add(bytes.len() as u64);
        self.stored.recent.push(last, decisions.changes);
        self.shared.tally.count(&decisions.tallied);
        // Set first, so that a reader who finds a block in the names can wait for it.
        self.shared.set_acked(last);
        {
            let mut names = self.shared.names();
            decisions.expired.iter().for_each(|day| names.forget(*day));
            decisions.placed.iter().for_each(|(day, name, place)| names.add(*day, name, *place));
        }
        if self.work.send(ApplierWork::Group(bytes, last)).is_err() {
            tracing::error!("the applier has ended");
        }
        if self.since_snapshot >= self.shared.options.snapshot_bytes {
            self.since_snapshot = 0;
            self.start_snapshot();
        }
        Ok(())
    }

    /// Takes a snapshot on a thread of its own, because it reads the whole view.
    fn start_snapshot(&mut self) {
        if self.snapshot.as_ref().is_some_and(|it| !it.is_finished()) {
            // The current snapshot is so slow that the next is due; another is taken after more of the journal.
            return;
        }
        self.join_snapshot();
        let (shared, last) = (Arc::clone(&self.shared), self.shared.acked());
        let take = move || match shared.take_snapshot(last) {
            Ok(_) | Err(StoreError::Closed) => {}
            Err(error) => tracing::warn!(cause = %error, "a snapshot cannot be taken"),
        };
        match std::thread::Builder::new().name("store-snapshot".into()).spawn(take) {
            Ok(thread) => self.snapshot = Some(thread),
            Err(error) => tracing::warn!(cause = %error, "a snapshot cannot be taken"),
        }
    }

    fn join_snapshot(&mut self) {
        if self.snapshot.take().is_some_and(|it| it.join().is_err()) {
            tracing::error!("taking a snapshot panicked");
        }
    }
}

/// Carries out a change that concerns only the journal's files, between two groups. Returns the bytes freed; `None`
/// for any other change.
fn maintain(
    change: &Change,
    journal: &mut Journal,
    shared: &SharedStore,
    broken: &mut Option<StoreError>,
) -> Option<Result<u64, StoreError>> {
    match change {
        Change::Roll { before_ms } => {
            let rolled = journal.roll_if_older(*before_ms).map(|()| 0);
            shared.wrote(rolled.is_ok());
            Some(rolled.map_err(|error| append_failed(error, shared, broken)))
        }
        Change::Prune { covered, before_ms, now_ms } => Some(match shared.files.try_lock() {
            // A backup or an erasure uses the files; they are removed the next time.
            Err(std::sync::TryLockError::WouldBlock) => Ok(0),
            _held => journal.remove(*covered, *before_ms, *now_ms).map_err(|e| StoreError::Write(e.to_string())),
        }),
        Change::SwapSegment { first, copy } => {
            let replaced = journal.replace(*first, copy).map(u64::from);
            Some(replaced.map_err(|e| failure::io(&e, StoreError::Write)))
        }
        _ => None,
    }
}

/// Handles a failed append and returns the error for callers.
fn append_failed(error: AppendError, shared: &SharedStore, broken: &mut Option<StoreError>) -> StoreError {
    match error {
        AppendError::Full(error) if failure::is_full(&error) => {
            shared.set_full(true);
            shared.room().err().unwrap_or(StoreError::NoSpace(error.to_string()))
        }
        // The journal is unchanged, so the next write may succeed.
        AppendError::Full(error) => {
            tracing::error!(cause = %error, "a group cannot be written");
            StoreError::Write(error.to_string())
        }
        AppendError::Sync(error) => {
            tracing::error!(cause = %error, "the journal cannot be written; all writes fail until a restart");
            let error = StoreError::Write(error.to_string());
            *broken = Some(error.clone());
            shared.journal_failed(error.clone());
            error
        }
    }
}

#[cfg(test)]
mod tests;
