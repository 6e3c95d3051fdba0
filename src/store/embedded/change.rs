//! What callers ask the writer thread for, encoded as far as that can be done before their turn has come.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::journal::{Kind, Op};
use super::{event_record, keys, record, task_record};
use crate::audit::Entry;
use crate::auth::{ApiKey, CompanyId};
use crate::event::{Event, EventStatus};
use crate::store::{
    Commit, Committed, EventVersion, FirstAnswer, Idempotency, IdempotencyId, Ingested, Replace, Replaced, StoreError,
    Updated,
};
use crate::task::{Task, TaskId, TaskPatch};

/// Most bytes of a key, and of all keys and values of one change: what the journal's format has room for, and a quarter of
/// that, so that every place in a segment has a number.
const KEY_BYTES: usize = u16::MAX as usize;
const CHANGE_BYTES: usize = 1 << 30;

/// A key and its value.
pub(super) type KeyValue = (Vec<u8>, Vec<u8>);

/// A change of the store.
#[derive(Debug)]
pub(super) enum Change {
    /// Events and tasks that are new, keys in any state; and the idempotency key that guards them.
    Put {
        events: Vec<KeyValue>,
        tasks: Vec<(CompanyId, Vec<u8>, Vec<u8>)>,
        api_key: Option<KeyValue>,
        audit: Option<KeyValue>,
        guard: Option<Guard>,
        queue: Vec<KeyValue>,
    },
    /// An event that is stored again, if it is still as it was read.
    Replace(Box<Again>),
    /// An event that cannot be read leaves the queue.
    GiveUp(Box<Event>),
    /// What another store had: what is there already is skipped.
    Import {
        /// Each with its place in the queue, where it waits.
        events: Vec<(KeyValue, Option<KeyValue>)>,
        tasks: Vec<(CompanyId, Vec<u8>, Vec<u8>)>,
        /// API keys and entries of the audit log.
        others: Vec<KeyValue>,
    },
    /// A task's patch, or its deletion.
    Update { company: CompanyId, id: TaskId, version: Option<u64>, patch: Option<TaskPatch>, now: DateTime<Utc> },
    /// What has expired.
    Remove(Vec<Vec<u8>>),
    /// New values of entries that are still there: answers of which something was erased.
    Overwrite(Vec<KeyValue>),
    /// Begin a new segment where the last is older than this.
    Roll { before_ms: i64 },
    /// Put a rewritten copy in the place of a closed segment.
    SwapSegment { first: u64, copy: PathBuf },
    /// Remove segments that a snapshot covers.
    Prune { covered: u64, before_ms: i64, now_ms: i64 },
}

/// A new state of an event.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) event: Event,
    pub(super) read: EventVersion,
    pub(super) tasks: Vec<(CompanyId, Vec<u8>, Vec<u8>)>,
    pub(super) audit: Option<KeyValue>,
    pub(super) guard: Option<Guard>,
    pub(super) forget: Option<(IdempotencyId, DateTime<Utc>)>,
    pub(super) updates: Vec<(TaskId, TaskPatch)>,
    /// When this is asked for.
    pub(super) now: DateTime<Utc>,
}

/// An idempotency key and the answer to store under it.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) id: IdempotencyId,
    pub(super) at: DateTime<Utc>,
    pub(super) fingerprint: [u8; 16],
    pub(super) refused: bool,
    pub(super) value: Vec<u8>,
}

/// A queued event's key, and its place in the order: events of the same millisecond keep the order in which they are stored,
/// which ids alone would not say.
pub(super) fn enters_queue(event: &Event) -> Result<KeyValue, StoreError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let millis = u64::try_from(event.received_at.timestamp_millis()).unwrap_or(0);
    let order = (millis, COUNT.fetch_add(1, Ordering::Relaxed));
    Ok((keys::queued(&event.company_id, event.id), record::encode_order(order)?))
}

/// How a change ended.
#[derive(Debug, Clone)]
pub(super) enum Done {
    Committed(Committed),
    Replaced(Replaced),
    Updated(Updated),
    /// Bytes.
    Freed(u64),
    Removed,
    Imported(Imported),
}

/// What an import has found stored already, and left as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// How many items.
    pub skipped: u64,
    /// Those that are stored with another content: kind and id.
    pub differing: Vec<String>,
}

/// An operation that owns its bytes.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) kind: Kind,
    pub(super) key: Vec<u8>,
    pub(super) value: Bytes,
}

impl Written {
    pub(super) fn new(kind: Kind, key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { kind, key, value: value.into() }
    }

    pub(super) fn op(&self) -> Op<'_> {
        Op { kind: self.kind, key: &self.key, value: &self.value }
    }
}

impl Change {
    pub(super) fn commit(commit: &Commit) -> Result<Self, StoreError> {
        let (mut events, mut tasks) = (Vec::with_capacity(commit.ingested.len()), Vec::new());
        for ingested in &commit.ingested {
            let event = &ingested.event;
            events.push((keys::event(&event.company_id, event.id), event_record::encode(event)?));
            for task in &ingested.tasks {
                let key = keys::task(&task.company_id, task.id);
                tasks.push((task.company_id.clone(), key, task_record::encode(task)?));
            }
        }
        let guard = commit.idempotency.as_ref().map(Guard::new).transpose()?;
        let waits = commit.ingested.iter().filter(|it| it.event.status == EventStatus::Queued);
        let queue = waits.map(|it| enters_queue(&it.event)).collect::<Result<_, _>>()?;
        Ok(Self::Put { events, tasks, api_key: None, audit: None, guard, queue })
    }

    pub(super) fn replace(replace: Replace) -> Result<Self, StoreError> {
        let Replace { ingested: Ingested { event, tasks }, read, idempotency, forget, audit, updates } = replace;
        let encode = |task: &Task| {
            let key = keys::task(&task.company_id, task.id);
            Ok((task.company_id.clone(), key, task_record::encode(task)?))
        };
        let audit = audit.map(|it| Ok((keys::audit(it.id), record::encode_audit(&it)?))).transpose()?;
        Ok(Self::Replace(Box::new(Again {
            tasks: tasks.iter().map(encode).collect::<Result<_, _>>()?,
            forget: forget.map(|it| (it, event.received_at)),
            guard: idempotency.as_ref().map(Guard::new).transpose()?,
            event,
            read,
            audit,
            updates,
            now: crate::clock::now(),
        })))
    }

    /// Something that was done, and with a key's change that change.
    pub(super) fn audited(
        entry: &Entry,
        key: Option<&ApiKey>,
        idempotency: Option<&Idempotency>,
    ) -> Result<Self, StoreError> {
        let api_key = key.map(|it| Ok((keys::api_key(&it.id), record::encode_key(it)?))).transpose()?;
        let audit = Some((keys::audit(entry.id), record::encode_audit(entry)?));
        let guard = idempotency.map(Guard::new).transpose()?;
        Ok(Self::Put { events: Vec::new(), tasks: Vec::new(), api_key, audit, guard, queue: Vec::new() })
    }

    /// Allowed while the disk is nearly full: what frees space, and a key's change with its entry in the audit log, since
    /// revoking must always be possible. Other entries are not, or a flood of them could use up the reserve.
    pub(super) fn may_use_reserve(&self) -> bool {
        match self {
            Self::Remove(_)
            | Self::Overwrite(_)
            | Self::Roll { .. }
            | Self::Prune { .. }
            | Self::SwapSegment { .. }
            | Self::Update { patch: None, .. } => true,
            Self::Put { events, tasks, api_key, .. } => api_key.is_some() && events.is_empty() && tasks.is_empty(),
            Self::Update { .. } | Self::Import { .. } | Self::Replace(_) | Self::GiveUp(_) => false,
        }
    }

    /// Nothing, where the formats have room for every key and value.
    ///
    /// # Errors
    /// Nothing is cut to fit: what is too long is not stored.
    pub(super) fn fits(&self) -> Result<(), StoreError> {
        let mut lengths = (0, 0);
        let mut add = |(key, value): (&[u8], &[u8])| {
            lengths = (lengths.0.max(key.len()), lengths.1 + key.len() + value.len());
        };
        match self {
            Self::Put { events, tasks, api_key, audit, guard, queue } => {
                events.iter().chain(queue).chain(api_key).chain(audit).for_each(|(key, value)| add((key, value)));
                tasks.iter().for_each(|(_, key, value)| add((key, value)));
                guard.iter().for_each(|it| add((&[], &it.value)));
            }
            Self::Replace(again) => {
                again.tasks.iter().for_each(|(_, key, value)| add((key, value)));
                again.audit.iter().for_each(|(key, value)| add((key, value)));
                again.guard.iter().for_each(|it| add((&[], &it.value)));
            }
            Self::Import { events, tasks, others } => {
                events.iter().for_each(|((key, value), _)| add((key, value)));
                tasks.iter().for_each(|(_, key, value)| add((key, value)));
                others.iter().for_each(|(key, value)| add((key, value)));
            }
            Self::GiveUp(_)
            | Self::Update { .. }
            | Self::Remove(_)
            | Self::Overwrite(_)
            | Self::Roll { .. }
            | Self::SwapSegment { .. }
            | Self::Prune { .. } => {}
        }
        if lengths.0 > KEY_BYTES || lengths.1 > CHANGE_BYTES {
            return Err(StoreError::Write("it is longer than what can be stored in one piece".into()));
        }
        Ok(())
    }

    /// Whether it is about the journal's files: the changes before it must be in them by then.
    pub(super) fn is_of_files(&self) -> bool {
        matches!(self, Self::Roll { .. } | Self::SwapSegment { .. } | Self::Prune { .. })
    }
}

impl Guard {
    /// Takes back what is remembered of a request of this time: an answer that has expired takes its place.
    pub(super) fn forgotten(id: IdempotencyId, at: DateTime<Utc>) -> Result<Self, StoreError> {
        let nothing = FirstAnswer {
            fingerprint: [0; 16],
            at: DateTime::UNIX_EPOCH,
            refused: false,
            status: 0,
            headers: Vec::new(),
            body: Bytes::new(),
        };
        Ok(Self { at, ..Self::new(&Idempotency { id, answer: nothing })? })
    }

    fn new(idempotency: &Idempotency) -> Result<Self, StoreError> {
        let answer = &idempotency.answer;
        Ok(Self {
            id: idempotency.id,
            at: answer.at,
            fingerprint: answer.fingerprint,
            refused: answer.refused,
            value: record::encode_answer(answer)?,
        })
    }
}
