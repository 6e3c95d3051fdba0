//! `keep_days`: erases what an integration was sent after the configured time.
//!
//! The age of an event counts from its receipt, wherever its newest state is stored. A closed segment is read once
//! all of its events are old enough, and earlier if it also contains much older events (replays, late results).
//! Ages are taken from event ids and not from the time when a segment was begun, because the clock may have been
//! set in between. The progress is stored in a file, so that nothing is read again after a restart.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::TryLockError;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::{decode, event_id, rewritten};
use crate::store::embedded::backend::Embedded;
use crate::store::embedded::change::Change;
use crate::store::embedded::events::first_id;
use crate::store::embedded::journal::{Closed, Op, write_json};
use crate::store::embedded::shared::journal_dir;
use crate::store::embedded::{event_record, events};
use crate::store::error::StoreError;

/// File with the last segment, for each integration, up to which all segments are finished.
const FILE: &str = "forgotten.json";

/// The progress of `keep_days`, by integration.
#[derive(Debug, Default)]
pub(in crate::store::embedded) struct Forgotten(HashMap<String, Progress>);

#[derive(Debug, Default)]
struct Progress {
    /// Segments up to this one (by first sequence) were read when all of their events were old enough.
    through: u64,
    /// Later segments that were read. Events with lower ids than this were old enough at the time.
    read: BTreeMap<u64, Uuid>,
    /// Events in the segments read that were still queued and must be erased later.
    left: BTreeMap<u64, HashSet<Uuid>>,
}

/// How long an integration's events keep what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keep {
    /// Name of the integration.
    pub integration: String,
    /// The age at which content is erased.
    pub age: Duration,
}

impl Keep {
    /// Returns how late an event may be erased. Rewriting a segment for each single event would read it too often.
    fn slack(&self) -> Duration {
        (self.age / 8).max(Duration::hours(1))
    }
}

/// An integration with events to erase in one segment.
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
    /// Erases what integrations were sent longer ago than they keep it. Returns the number of events per
    /// integration. Does nothing while a backup or an erasure uses the files; call it again later. Blocking.
    ///
    /// # Errors
    /// Fails as [`Embedded::erase`] does.
    pub fn forget(&self, keeps: &[Keep], now: DateTime<Utc>) -> Result<Vec<(String, u64)>, StoreError> {
        let Some(slack) = keeps.iter().map(Keep::slack).min() else { return Ok(Vec::new()) };
        // A segment with few writes must be closed at some point, or nothing in it could be erased.
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
        let closed = self.shared.segments.closed();
        for segment in &closed {
            let mut due: Vec<Due<'_>> = keeps
                .iter()
                .filter(|keep| forgotten.progress(keep).needs(segment, keep, now, &queued))
                .map(|keep| Due::new(keep, now))
                .collect();
            if due.is_empty() {
                continue;
            }
            self.forget_in(segment, &mut due, now, &queued)?;
            for it in due {
                let progress = forgotten.progress(it.keep);
                progress.done(segment, it.before, it.waiting);
                progress.advance(&closed);
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
            // A queued event still needs its content; it is erased afterwards.
            if queued.contains(&id) {
                due.waiting.insert(id);
                return None;
            }
            let event = decode(op, id).filter(|it| it.event.erased_at.is_none())?;
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
    /// Reads the progress from its file. If the file is missing, segments are read once more, which does no harm.
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
    /// Returns whether a segment may contain something to erase that was not examined yet.
    fn needs(&self, segment: &Closed, keep: &Keep, now: DateTime<Utc>, queued: &HashSet<Uuid>) -> bool {
        if self.has_read(segment) {
            return self.left.get(&segment.first).is_some_and(|ids| ids.iter().any(|id| !queued.contains(id)));
        }
        let Some((lowest, highest)) = segment.range else { return false };
        let late = first_id(now - keep.age - keep.slack());
        let read = self.read.get(&segment.first);
        highest < first_id(now - keep.age) || (lowest < late && read.is_none_or(|it| *it <= late))
    }

    /// Returns whether a segment was read when all of its events were old enough.
    fn has_read(&self, segment: &Closed) -> bool {
        let read = self.read.get(&segment.first);
        let all = |(_, highest)| read.is_some_and(|before| highest < *before);
        segment.first <= self.through || segment.range.is_none_or(all)
    }

    /// Records that a segment was read: events with lower ids than `before` were old enough, and `waiting` are
    /// still queued.
    fn done(&mut self, segment: &Closed, before: Uuid, waiting: HashSet<Uuid>) {
        if segment.first > self.through {
            self.read.insert(segment.first, before);
        }
        self.left.remove(&segment.first);
        if !waiting.is_empty() {
            self.left.insert(segment.first, waiting);
        }
    }

    /// Advances past the segments that need not be read again.
    fn advance(&mut self, closed: &[Closed]) {
        let read = closed.iter().filter(|it| it.first > self.through).take_while(|it| self.has_read(it));
        self.through = read.last().map_or(self.through, |it| it.first);
        self.read.retain(|first, _| *first > self.through);
    }

    /// Returns the last segment up to which nothing needs to be read after a restart.
    fn finished(&self) -> u64 {
        let first_left = self.left.keys().next().copied().unwrap_or(u64::MAX);
        self.through.min(first_left.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(first: u64, lowest: DateTime<Utc>, highest: DateTime<Utc>) -> Closed {
        Closed { first, path: "segment".into(), range: Some((first_id(lowest), first_id(highest))) }
    }

    /// Reads the segments that need it, and returns them.
    fn read(progress: &mut Progress, segments: &[Closed], now: DateTime<Utc>) -> Vec<u64> {
        let keep = Keep { integration: "tasks".into(), age: Duration::days(8) };
        let needed = segments.iter().filter(|it| progress.needs(it, &keep, now, &HashSet::new())).collect::<Vec<_>>();
        for segment in &needed {
            progress.done(segment, first_id(now - keep.age), HashSet::new());
            progress.advance(segments);
        }
        needed.iter().map(|it| it.first).collect()
    }

    /// The clock was ten days ahead for a moment. The segment of that moment must be read again, but not every
    /// time.
    #[test]
    fn a_segment_with_events_of_a_wrong_clock_is_read_until_all_of_it_is_past_its_time() {
        let start = DateTime::UNIX_EPOCH + Duration::days(20_000);
        let at = |hours| start + Duration::hours(hours);
        let segments = [closed(1, at(0), at(240)), closed(10, at(1), at(2)), closed(20, at(2), at(3))];
        let mut progress = Progress::default();
        let age = 8 * 24;
        assert_eq!(read(&mut progress, &segments, at(age)), [0; 0]);
        assert_eq!(read(&mut progress, &segments, at(age + 4)), [10, 20]);
        assert_eq!(progress.finished(), 0);
        // The event that is a day late.
        assert_eq!(read(&mut progress, &segments, at(age + 25)), [1]);
        assert_eq!(read(&mut progress, &segments, at(age + 26)), [0; 0]);
        assert_eq!(read(&mut progress, &segments, at(age + 241)), [1]);
        assert_eq!(progress.finished(), 20);
        assert_eq!(read(&mut progress, &segments, at(age + 300)), [0; 0]);
    }
}
