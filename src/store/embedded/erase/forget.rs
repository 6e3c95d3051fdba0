//! `keep_days`: what an integration was sent is erased when its time is over.
//!
//! An event's time goes by when it was received, wherever its newest state is stored. A closed segment is read once all of
//! it is past its time; one that holds states of older events (replays, late results) also earlier, when those are. How far
//! that has come is kept in a file, so that a restart reads nothing again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::TryLockError;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{decode, event_id, rewritten};
use crate::store::StoreError;
use crate::store::embedded::change::Change;
use crate::store::embedded::events::{self, first_id, first_id_of};
use crate::store::embedded::journal::{Closed, Op, write_json};
use crate::store::embedded::shared::journal_dir;
use crate::store::embedded::{Embedded, event_record};

/// For each integration, the last segment that needs no more reading, and all before it.
const FILE: &str = "forgotten.json";

/// How far what integrations were sent is erased, by integration.
#[derive(Debug, Default)]
pub(in crate::store::embedded) struct Forgotten(HashMap<String, Progress>);

#[derive(Debug, Default)]
struct Progress {
    /// Segments up to this one (by the sequence of its first record) were read.
    through: u64,
    /// Of those: what was still queued, and has to be erased later.
    left: BTreeMap<u64, HashSet<Uuid>>,
    /// Segments after it from which older events were erased: up to which time, in milliseconds since 1970.
    early: BTreeMap<u64, i64>,
}

/// How long what an integration was sent is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// The integration's name.
    pub integration: String,
    /// For how long.
    pub age: Duration,
}

impl Keep {
    /// How late an event may be erased: rewriting a segment for each event would read all of it each time.
    fn slack(&self) -> Duration {
        (self.age / 8).max(Duration::hours(1))
    }
}

/// An integration whose events in one segment are to be erased.
struct Due<'a> {
    keep: &'a Keep,
    before: Uuid,
    waiting: HashSet<Uuid>,
    erased: HashSet<Uuid>,
}

impl<'a> Due<'a> {
    fn new(keep: &'a Keep, now: DateTime<Utc>) -> Self {
        Self { keep, before: first_id(now - keep.age), waiting: HashSet::new(), erased: HashSet::new() }
    }
}

impl Embedded {
    /// Erases what integrations were sent longer ago than they keep it; gives how many events of each. Blocking. While a
    /// backup or an erasure has the files, it does nothing: it is called again.
    ///
    /// # Errors
    /// As [`Embedded::erase`].
    pub fn forget(&self, keeps: &[Keep], now: DateTime<Utc>) -> Result<Vec<(String, u64)>, StoreError> {
        let Some(slack) = keeps.iter().map(Keep::slack).min() else { return Ok(Vec::new()) };
        // A segment that is hardly written to must be closed some time, or nothing in it could be erased.
        self.writer.write_blocking(Change::Roll { before_ms: (now - slack).timestamp_millis() })?;
        let _alone = match self.shared.files.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(Vec::new()),
        };
        let queued: HashSet<Uuid> = self.shared.view(events::queued)?.into_iter().map(|(_, id)| id.0).collect();
        let mut forgotten = self.shared.forgotten.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // An event may be stored several times.
        let mut erased: BTreeMap<String, HashSet<Uuid>> = BTreeMap::new();
        for segment in self.shared.segments.closed() {
            let mut due: Vec<Due<'_>> = keeps
                .iter()
                .filter(|keep| forgotten.progress(keep).needs(&segment, keep, now, &queued))
                .map(|keep| Due::new(keep, now))
                .collect();
            if due.is_empty() {
                continue;
            }
            self.forget_in(&segment, &mut due, now, &queued)?;
            for it in due {
                forgotten.progress(it.keep).done(&segment, it.keep, now, it.waiting);
                erased.entry(it.keep.integration.clone()).or_default().extend(it.erased);
            }
            self.write_forgotten(&forgotten)?;
        }
        let counts = erased.into_iter().map(|(integration, ids)| (integration, ids.len() as u64));
        Ok(counts.filter(|(_, count)| *count > 0).collect())
    }

    fn forget_in(
        &self,
        segment: &Closed,
        due: &mut [Due<'_>],
        now: DateTime<Utc>,
        queued: &HashSet<Uuid>,
    ) -> Result<(), StoreError> {
        let mut change = |op: &Op<'_>| {
            let id = event_id(op)?;
            let integration = event_record::integration(op.value)?;
            let due = due.iter_mut().find(|it| it.keep.integration == integration && id < it.before)?;
            // What still waits for its turn is not lost: it is erased afterwards.
            if queued.contains(&id) {
                due.waiting.insert(id);
                return None;
            }
            let event = decode(op, id).filter(|it| it.erased_at.is_none())?;
            let value = event_record::encode_erased(event, now, op.value.len()).ok()?;
            due.erased.insert(id);
            Some(value)
        };
        match rewritten(&segment.path, self.shared.salt, segment.first, &mut change)?.copy {
            Some(copy) => self.put_copy(segment.first, copy),
            None => Ok(()),
        }
    }

    fn write_forgotten(&self, forgotten: &Forgotten) -> Result<(), StoreError> {
        let progress = forgotten.0.iter().map(|(name, it)| (name, it.finished())).collect::<BTreeMap<_, _>>();
        let written = write_json(&journal_dir(&self.shared.dir), FILE, &progress);
        written.map_err(|e| StoreError::Write(e.to_string()))
    }
}

impl Forgotten {
    /// What the file says. Without it, segments are read once more, and nothing is erased twice.
    pub(in crate::store::embedded) fn read(journal: &std::path::Path) -> Self {
        let read = std::fs::read(journal.join(FILE)).ok();
        let found: BTreeMap<String, u64> = read.and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default();
        Self(found.into_iter().map(|(name, through)| (name, Progress { through, ..Progress::default() })).collect())
    }

    fn progress(&mut self, keep: &Keep) -> &mut Progress {
        self.0.entry(keep.integration.clone()).or_default()
    }
}

impl Progress {
    /// Whether something in a segment may have to be erased that was not looked at yet.
    fn needs(&self, segment: &Closed, keep: &Keep, now: DateTime<Utc>, queued: &HashSet<Uuid>) -> bool {
        if segment.first <= self.through {
            return self.left.get(&segment.first).is_some_and(|ids| ids.iter().any(|id| !queued.contains(id)));
        }
        let before = now - keep.age;
        if segment.ended_ms < before.timestamp_millis() {
            return true;
        }
        let has_older = segment.lowest.is_some_and(|it| it < first_id_of(segment.created_ms) && it < first_id(before));
        let last = self.early.get(&segment.first).copied().unwrap_or(i64::MIN);
        has_older && last <= (before - keep.slack()).timestamp_millis()
    }

    fn done(&mut self, segment: &Closed, keep: &Keep, now: DateTime<Utc>, waiting: HashSet<Uuid>) {
        let before = (now - keep.age).timestamp_millis();
        if segment.first > self.through && segment.ended_ms >= before {
            self.early.insert(segment.first, before);
            return;
        }
        self.through = self.through.max(segment.first);
        self.early.remove(&segment.first);
        self.left.remove(&segment.first);
        if !waiting.is_empty() {
            self.left.insert(segment.first, waiting);
        }
    }

    /// The last segment that needs no more reading after a restart.
    fn finished(&self) -> u64 {
        let first_left = self.left.keys().next().copied().unwrap_or(u64::MAX);
        self.through.min(first_left.saturating_sub(1))
    }
}
