//! Changes that callers send to the writer thread, encoded as far as possible before they are decided.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::journal::{Op, OpKind};
use super::last_change::LastChange;
use super::{answer_record, event_record, keys, record, task_record};
use crate::auth::ApiKey;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus};
use crate::model::ids::TaskId;
use crate::model::task::{Task, TaskPatch};
use crate::store::error::StoreError;
use crate::store::idempotency::{FirstAnswer, Idempotency, IdempotencyId};
use crate::store::item::{Imported, StoredAnswer};
use crate::store::write::{Commit, Committed, EventVersion, Ingested, Replace, Replaced, Updated};

/// Size limits, in bytes: a key (the journal's format has a 16-bit length), and all keys and values of one change
/// (a quarter of what the format allows, so that every position in a segment fits its number).
const KEY_BYTES: usize = u16::MAX as usize;
const CHANGE_BYTES: usize = 1 << 30;

/// A key and its value.
pub(super) type KeyValue = (Vec<u8>, Vec<u8>);

/// A change of the store.
#[derive(Debug)]
pub(super) enum Change {
    /// New events and tasks, API keys in any state, and the idempotency key that guards them.
    Put {
        events: Vec<KeyValue>,
        tasks: Vec<(CompanyId, Vec<u8>, Vec<u8>)>,
        api_key: Option<KeyValue>,
        audit: Option<KeyValue>,
        guard: Option<Guard>,
        queue: Vec<KeyValue>,
    },
    /// A new state of an event, if the event has not changed since it was read.
    Replace(Box<Again>),
    /// Removes an unreadable event from the queue.
    GiveUp(Box<Event>),
    /// Items of another store. Items that exist already are skipped.
    Import {
        /// Events, each with its queue entry if it is queued.
        events: Vec<(KeyValue, Option<KeyValue>)>,
        tasks: Vec<(CompanyId, Vec<u8>, Vec<u8>)>,
        /// API keys and entries of the audit log.
        others: Vec<KeyValue>,
        answers: Vec<Guard>,
    },
    /// A patch of a task, or its deletion.
    Update { company: CompanyId, id: TaskId, version: Option<u64>, patch: Option<TaskPatch>, now: DateTime<Utc> },
    /// Removes expired entries other than tasks.
    Remove(Vec<Vec<u8>>),
    /// Removes soft-deleted tasks that have expired.
    Purge(Vec<Purged>),
    /// New values of existing entries: stored responses after an erasure.
    Overwrite(Vec<KeyValue>),
    /// Starts a new segment if the last one is older than this.
    Roll { before_ms: i64 },
    /// Replaces a closed segment with a rewritten copy.
    SwapSegment { first: u64, copy: PathBuf },
    /// Removes segments that a snapshot covers.
    Prune { covered: u64, before_ms: i64, now_ms: i64 },
}

/// A soft-deleted task to remove.
#[derive(Debug)]
pub(super) struct Purged {
    pub(super) company: CompanyId,
    pub(super) id: TaskId,
    /// Its deletion, which is always the last change of a task.
    pub(super) last_change: LastChange,
}

/// A new state of a stored event.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) event: Event,
    pub(super) read: EventVersion,
    pub(super) tasks: Vec<(CompanyId, Vec<u8>, Vec<u8>)>,
    pub(super) audit: Option<KeyValue>,
    pub(super) guard: Option<Guard>,
    pub(super) forget: Option<(IdempotencyId, DateTime<Utc>)>,
    pub(super) updates: Vec<(TaskId, TaskPatch)>,
    /// Time of the request.
    pub(super) now: DateTime<Utc>,
}

/// An idempotency key and the response to store for it.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) id: IdempotencyId,
    pub(super) at: DateTime<Utc>,
    pub(super) fingerprint: [u8; 16],
    pub(super) refused: bool,
    pub(super) value: Vec<u8>,
}

/// Returns a queued event's key and its position in the queue. Events of the same millisecond keep the order in
/// which they are stored, which their ids alone do not give.
pub(super) fn enters_queue(event: &Event) -> Result<KeyValue, StoreError> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let millis = u64::try_from(event.received_at.timestamp_millis()).unwrap_or(0);
    let order = (millis, COUNT.fetch_add(1, Ordering::Relaxed));
    Ok((keys::queued(&event.company_id, event.id), record::encode_order(order)?))
}

/// Result of a change.
#[derive(Debug, Clone)]
pub(super) enum Done {
    Committed(Committed),
    Replaced(Replaced),
    Updated(Updated),
    /// Number of bytes freed.
    Freed(u64),
    Removed,
    Imported(Imported),
}

/// A journal operation that owns its bytes.
#[derive(Debug)]
pub(super) struct OwnedOp {
    pub(super) kind: OpKind,
    pub(super) key: Vec<u8>,
    pub(super) value: Bytes,
}

impl OwnedOp {
    pub(super) fn new(kind: OpKind, key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { kind, key, value: value.into() }
    }

    pub(super) fn op(&self) -> Op<'_> {
        Op { kind: self.kind, key: &self.key, value: &self.value }
    }
}

impl Change {
    pub(super) fn commit(commit: Commit) -> Result<Self, StoreError> {
        let waits = commit.ingested.iter().filter(|it| it.event.status == EventStatus::Queued);
        let queue = waits.map(|it| enters_queue(&it.event)).collect::<Result<_, _>>()?;
        let (mut events, mut tasks) = (Vec::with_capacity(commit.ingested.len()), Vec::new());
        for Ingested { event, tasks: its } in commit.ingested {
            events.push((keys::event(&event.company_id, event.id), event_record::encode(event)?));
            for task in &its {
                let key = keys::task(&task.company_id, task.id);
                tasks.push((task.company_id.clone(), key, task_record::encode(task)?));
            }
        }
        let guard = commit.idempotency.as_ref().map(Guard::new).transpose()?;
        let audit = commit.audit.map(|it| Ok((keys::audit(it.id), record::encode_audit(&it)?))).transpose()?;
        Ok(Self::Put { events, tasks, api_key: None, audit, guard, queue })
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
            now: crate::model::time::now(),
        })))
    }

    /// Encodes an entry of the audit log, together with the change of a key that it records.
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

    /// Returns whether this change is allowed while the disk is nearly full: changes that free space, and a key's
    /// change with its audit entry, because revoking must always be possible. Other audit entries are not, because
    /// a flood of them could use up the reserve.
    pub(super) fn may_use_reserve(&self) -> bool {
        match self {
            Self::Remove(_)
            | Self::Purge(_)
            | Self::Overwrite(_)
            | Self::Roll { .. }
            | Self::Prune { .. }
            | Self::SwapSegment { .. }
            | Self::Update { patch: None, .. } => true,
            Self::Put { events, tasks, api_key, .. } => api_key.is_some() && events.is_empty() && tasks.is_empty(),
            Self::Update { .. } | Self::Import { .. } | Self::Replace(_) | Self::GiveUp(_) => false,
        }
    }

    /// Checks that every key and value fits the formats.
    ///
    /// # Errors
    /// [`StoreError::Unstorable`] if something is too long. Nothing is truncated.
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
            Self::Import { events, tasks, others, answers } => {
                events.iter().for_each(|((key, value), _)| add((key, value)));
                tasks.iter().for_each(|(_, key, value)| add((key, value)));
                others.iter().for_each(|(key, value)| add((key, value)));
                answers.iter().for_each(|it| add((&[], &it.value)));
            }
            Self::GiveUp(_)
            | Self::Update { .. }
            | Self::Remove(_)
            | Self::Purge(_)
            | Self::Overwrite(_)
            | Self::Roll { .. }
            | Self::SwapSegment { .. }
            | Self::Prune { .. } => {}
        }
        if lengths.0 > KEY_BYTES || lengths.1 > CHANGE_BYTES {
            return Err(StoreError::Unstorable("it is too long to be stored in one piece".into()));
        }
        Ok(())
    }

    /// Returns whether this change concerns the journal's files. Earlier changes must have been written to them
    /// before.
    pub(super) fn is_of_files(&self) -> bool {
        matches!(self, Self::Roll { .. } | Self::SwapSegment { .. } | Self::Prune { .. })
    }
}

impl Guard {
    /// Forgets a stored response: replaces it with one that has already expired.
    pub(super) fn forgotten(id: IdempotencyId, at: DateTime<Utc>) -> Result<Self, StoreError> {
        let nothing = FirstAnswer {
            fingerprint: [0; 16],
            at: DateTime::UNIX_EPOCH,
            refused: false,
            event_id: None,
            head: Bytes::new(),
            body: Bytes::new(),
        };
        Ok(Self { at, ..Self::new(&Idempotency { id, answer: nothing })? })
    }

    /// A response of another store. It is stored under the day on which it expires there.
    pub(super) fn imported(answer: StoredAnswer) -> Result<Self, StoreError> {
        let StoredAnswer { company, is_delivery, name, expires_at, first } = answer;
        let window = is_delivery.then(|| expires_at - first.at);
        Self::new(&Idempotency { id: IdempotencyId { company, name, window }, answer: first })
    }

    fn new(idempotency: &Idempotency) -> Result<Self, StoreError> {
        let answer = &idempotency.answer;
        Ok(Self {
            id: idempotency.id.clone(),
            at: answer.at,
            fingerprint: answer.fingerprint,
            refused: answer.refused,
            value: answer_record::encode_answer(answer)?,
        })
    }
}
