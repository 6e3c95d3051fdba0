//! The progress of `keep_days`, which a file keeps across restarts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::embedded::journal::{Closed, write_json};
use crate::store::erasure::report::Keep;
use crate::store::error::StoreError;
use crate::store::id_time::first_id;

/// File with the last segment, for each integration, up to which all segments are finished.
const FILE: &str = "forgotten.json";

/// The progress of `keep_days`, by integration.
#[derive(Debug, Default)]
pub(in crate::store::embedded) struct Forgotten(HashMap<String, ForgetProgress>);

#[derive(Debug, Default)]
pub(super) struct ForgetProgress {
    /// Segments up to this one (by first sequence) were read when all of their events were old enough.
    through: u64,
    /// Later segments that were read. Events with lower ids than this were old enough at the time.
    read: BTreeMap<u64, Uuid>,
    /// Events in the segments read that were still queued and must be erased later.
    left: BTreeMap<u64, HashSet<Uuid>>,
}

impl Forgotten {
    /// Reads the progress from its file. If the file is missing, segments are read once more, which does no harm.
    pub(in crate::store::embedded) fn read(journal: &Path) -> Self {
        let read = std::fs::read(journal.join(FILE)).ok();
        let found: BTreeMap<String, u64> = read.and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default();
        Self(
            found
                .into_iter()
                .map(|(name, through)| (name, ForgetProgress { through, ..ForgetProgress::default() }))
                .collect(),
        )
    }

    /// Writes the progress to its file.
    pub(super) fn write(&self, journal: &Path) -> Result<(), StoreError> {
        let progress = self.0.iter().map(|(name, it)| (name, it.finished())).collect::<BTreeMap<_, _>>();
        write_json(journal, FILE, &progress).map_err(|e| StoreError::Write(e.to_string()))
    }

    /// Returns the progress of an integration.
    pub(super) fn progress(&mut self, keep: &Keep) -> &mut ForgetProgress {
        self.0.entry(keep.integration.clone()).or_default()
    }
}

impl ForgetProgress {
    /// Returns whether a segment may contain something to erase that was not examined yet.
    pub(super) fn needs(&self, segment: &Closed, keep: &Keep, now: DateTime<Utc>, queued: &HashSet<Uuid>) -> bool {
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
    pub(super) fn done(&mut self, segment: &Closed, before: Uuid, waiting: HashSet<Uuid>) {
        if segment.first > self.through {
            self.read.insert(segment.first, before);
        }
        self.left.remove(&segment.first);
        if !waiting.is_empty() {
            self.left.insert(segment.first, waiting);
        }
    }

    /// Advances past the segments that need not be read again.
    pub(super) fn advance(&mut self, closed: &[Closed]) {
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
    use chrono::Duration;

    use super::*;

    fn closed(first: u64, lowest: DateTime<Utc>, highest: DateTime<Utc>) -> Closed {
        Closed { first, path: "segment".into(), range: Some((first_id(lowest), first_id(highest))) }
    }

    /// Reads the segments that need it, and returns them.
    fn read(progress: &mut ForgetProgress, segments: &[Closed], now: DateTime<Utc>) -> Vec<u64> {
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
        let mut progress = ForgetProgress::default();
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
