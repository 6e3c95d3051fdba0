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

use super::applier::{Applier, Work};
use super::change::{Change, Done, Written};
use super::decide::{Decider, Decisions, Stored};
use super::failure;
use super::journal::{AppendError, Journal, Kind, Op};
use super::rebuild::Built;
use super::shared::Shared;
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
        stored: Stored,
        shared: &Arc<Shared>,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::channel(GROUP);
        let applier = Applier::start(view, broken, Arc::clone(shared))?;
        let (work, shared) = (applier.work.clone(), Arc::clone(shared));
        let since_snapshot = shared.journal_after_snapshot();
        let mut state =
            State { journal, stored, shared, work: applier.work, broken: None, since_snapshot, snapshot: None };
        let thread = std::thread::Builder::new().name("store-writer".into()).spawn(move || state.run(waiting))?;
        Ok(Self { queue: Some(queue), threads: vec![thread, applier.thread], applier: Some(work) })
    }

    /// Queues a change, and waits until it is durable.
    pub(super) async fn write(&self, change: Change) -> Result<Done, StoreError> {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.send(Waiting { change, done }).await.map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Queues a change, and blocks the thread until it is durable.
    pub(super) fn write_blocking(&self, change: Change) -> Result<Done, StoreError> {
        let (done, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(StoreError::Closed)?;
        queue.blocking_send(Waiting { change, done }).map_err(|_| StoreError::Closed)?;
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
        applier.send(Work::Swap(Box::new(built), done)).map_err(|_| StoreError::Closed)?;
        answer.recv().map_err(|_| StoreError::Closed)?
    }

    /// Writes what is queued and ends all threads. When this returns, no thread of the store uses its files, so
    /// they can be opened again at once.
    pub(super) fn close(&mut self, shared: &Arc<Shared>) {
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

struct State {
    journal: Journal,
    stored: Stored,
    shared: Arc<Shared>,
    work: Sender<Work>,
    broken: Option<StoreError>,
    since_snapshot: u64,
    /// The thread that takes a snapshot.
    snapshot: Option<JoinHandle<()>>,
}

/// Result of one change.
enum Answer {
    /// Decided with its group. If the group is not durable, neither is this change nor what it was decided on.
    Grouped(Result<Done, StoreError>),
    /// Not part of a group, so independent of the group's outcome.
    Own(Result<Done, StoreError>),
}

impl Answer {
    fn after(self, group: &Result<(), StoreError>) -> Result<Done, StoreError> {
        match self {
            Self::Grouped(result) => group.clone().and(result),
            Self::Own(result) => result,
        }
    }
}

type Answers = Vec<(oneshot::Sender<Result<Done, StoreError>>, Answer)>;

impl State {
    fn run(&mut self, mut waiting: mpsc::Receiver<Waiting>) {
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
        queue: &mut std::iter::Peekable<impl Iterator<Item = Waiting>>,
        answers: &mut Answers,
    ) -> Result<(), StoreError> {
        let failed = self.broken.clone().or_else(|| self.shared.view_error());
        let room = self.shared.room();
        let mut group = self.journal.group();
        let mut events: Vec<(Uuid, usize, usize)> = Vec::new();
        let mut decider = Decider::new(&self.shared, &mut self.stored);
        let mut bytes = 0;
        // A change of files starts a group of its own, because earlier decisions must be written to the old files
        // first.
        while let Some(Waiting { change, done }) = queue.next_if(|it| group.is_empty() || !it.change.is_of_files()) {
            let refused = failed.as_ref().or_else(|| room.as_ref().err().filter(|_| !change.may_use_reserve()));
            if let Some(error) = refused {
                answers.push((done, Answer::Own(Err(error.clone()))));
                continue;
            }
            if let Some(freed) = maintain(&change, &mut self.journal, &self.shared, &mut self.broken) {
                answers.push((done, Answer::Own(freed.map(Done::Freed))));
                continue;
            }
            let mut too_long = None;
            let answer = decider.decide(change).map(|(written, done)| {
                if !written.is_empty() {
                    bytes += written.iter().map(|it| it.value.len()).sum::<usize>();
                    let place = |at: usize, op: &Op<'_>| {
                        if let (Kind::Event, Some(id)) = (op.kind, op.key.last_chunk::<16>()) {
                            events.push((Uuid::from_bytes(*id), at, op.encoded_len()));
                        }
                    };
                    too_long = group.push(written.iter().map(Written::op), place).err();
                }
                done
            });
            answers.push((done, Answer::Grouped(answer)));
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
            let pushed = group.push(blocks.iter().map(Written::op), |_, _| {});
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
        // Set first, so that a reader who finds a block in the names can wait for it.
        self.shared.set_acked(last);
        {
            let mut names = self.shared.names();
            decisions.expired.iter().for_each(|day| names.forget(*day));
            decisions.placed.iter().for_each(|(day, name, place)| names.add(*day, name, *place));
        }
        if self.work.send(Work::Group(bytes, last)).is_err() {
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
    shared: &Shared,
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
fn append_failed(error: AppendError, shared: &Shared, broken: &mut Option<StoreError>) -> StoreError {
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
mod tests {
    use super::*;
    use crate::store::embedded::backend::Embedded;
    use crate::store::embedded::change::Guard;
    use crate::store::embedded::keys;
    use crate::store::embedded::names::Place;
    use crate::store::embedded::options::Options;
    use crate::store::idempotency::IdempotencyId;
    use crate::store::verbs::Store as _;

    fn put(bytes: usize) -> Change {
        let audit = Some((b"A123456789abcdefg".to_vec(), vec![0; bytes]));
        let none = (Vec::new(), Vec::new());
        Change::Put { events: none.0, tasks: none.1, api_key: None, audit, guard: None, queue: Vec::new() }
    }

    /// If the disk is full when responses are removed, they still exist and still count.
    #[test]
    fn answers_are_forgotten_once_their_removal_is_durable() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Embedded::open(&dir.path().join("data"), &Options::default()).unwrap();
        let (id, at) = (IdempotencyId::of("s", "/r", "key"), chrono::Utc::now());
        let mut answered = put(1);
        if let Change::Put { guard, .. } = &mut answered {
            *guard = Some(Guard::forgotten(id, at).unwrap());
        }
        store.writer.write_blocking(answered).unwrap();
        let day = keys::answer_day(id, at);
        let Some(Place::Block(number)) = store.shared.names().find(day, &id.name) else { panic!("no block") };
        let removed = || Change::Remove(vec![keys::block(day, number)]);
        let mut stored = Stored::default();
        let mut decider = Decider::new(&store.shared, &mut stored);
        decider.decide(removed()).unwrap();
        decider.end(number + 1).unwrap();
        assert_eq!(store.shared.names().count(), 1);
        store.writer.write_blocking(removed()).unwrap();
        assert_eq!(store.shared.names().count(), 0);
    }

    /// A record with a valid checksum but unreadable content, as an import of an earlier version could leave it,
    /// must not prevent the rest from being served.
    #[test]
    fn a_record_that_cannot_be_read_keeps_no_other_from_being_read() {
        let dir = tempfile::TempDir::new().unwrap();
        let data = dir.path().join("data");
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = Embedded::open(&data, &Options::default()).unwrap();
        let company = crate::model::company::CompanyId::parse("a").unwrap();
        let unreadable = |format| crate::store::embedded::record::encode_as(format, &"x").unwrap();
        let now = crate::system::clock::now();
        let entry = crate::model::audit::Entry::new("test", crate::model::audit::Action::KeyCreated, "t", now);
        runtime.block_on(store.note(entry)).unwrap();
        let task = keys::task(&company, crate::model::ids::TaskId(crate::model::ids::new_id(now)));
        let others = vec![
            (b"Kkey_1".to_vec(), unreadable(1)),
            (keys::audit(crate::model::ids::new_id(now)), unreadable(1)),
            (b"Tno-task".to_vec(), unreadable(2)),
            (task, unreadable(2)),
        ];
        let import = Change::Import { events: Vec::new(), tasks: Vec::new(), others };
        store.writer.write_blocking(import).unwrap();
        drop(store);
        for view_is_gone in [false, true] {
            if view_is_gone {
                std::fs::remove_dir_all(data.join("sled-1")).unwrap();
            }
            let store = Embedded::open(&data, &Options::default()).unwrap();
            assert_eq!(runtime.block_on(store.keys()).unwrap(), []);
            assert_eq!(runtime.block_on(store.audit(None, None, 10)).unwrap().len(), 1);
            store.ready().unwrap();
        }
    }

    /// The sweep's `Roll` may share a group with a request that cannot be written; this must not fail the sweep.
    #[test]
    fn what_concerns_only_the_journals_files_is_answered_for_itself() {
        let dir = tempfile::TempDir::new().unwrap();
        let data = dir.path().join("data");
        let options = Options { segment_bytes: 64 << 10, ..Options::default() };
        let store = Embedded::open(&data, &options).unwrap();
        // Not the first group, because an empty segment would be made larger.
        store.writer.write_blocking(put(1)).unwrap();
        // A segment for a group of this size cannot be created, because a directory has its name.
        std::fs::create_dir(data.join("journal/fresh.tmp")).unwrap();
        let too_large = || put(200 << 10);
        let queue = store.writer.queue.as_ref().unwrap();
        let send = |change| {
            let (done, answer) = oneshot::channel();
            queue.blocking_send(Waiting { change, done }).unwrap();
            answer
        };
        // While the first one fails, the others gather in one group.
        for _ in 0..20 {
            let answers: Vec<_> = (0..20)
                .map(|_| {
                    (
                        send(too_large()),
                        send(Change::Roll { before_ms: 0 }),
                        send(Change::Prune { covered: 0, before_ms: 0, now_ms: 0 }),
                    )
                })
                .collect();
            for (put, roll, prune) in answers {
                assert!(matches!(put.blocking_recv().unwrap(), Err(StoreError::Write(_))));
                assert!(matches!(roll.blocking_recv().unwrap(), Ok(Done::Freed(0))));
                assert!(matches!(prune.blocking_recv().unwrap(), Ok(Done::Freed(0))));
            }
        }
    }
}
