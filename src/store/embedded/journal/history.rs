//! Every event in its current state, with the record that contains it, read from files that another process may be
//! appending to.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::event_place::{EventPlace, collect_events, newest};
use super::files::segment_paths;
use super::format::{OpKind, ops};
use super::index_file::{index_path, read_entries, verify};
use super::scan::{self, Record};
use super::segments::{expired_is_none, read_value};

/// The segments of a journal that is only read.
#[derive(Debug)]
pub(in super::super) struct JournalHistory {
    segments: Vec<Old>,
    salt: u32,
    /// The last segment of each event that is stored in several segments.
    again: HashMap<Uuid, u64>,
}

#[derive(Debug)]
struct Old {
    first: u64,
    path: PathBuf,
    events: u64,
    /// The lowest and the highest id in it.
    range: Option<(Uuid, Uuid)>,
}

impl Old {
    fn has_any(&self, ids: &Range<Uuid>) -> bool {
        self.range.is_some_and(|(low, high)| high >= ids.start && low < ids.end)
    }
}

impl JournalHistory {
    /// Reads the indexes of all segments. Memory grows only with the events that were stored again after their
    /// segment was full (replays), not with all events.
    pub(in super::super) fn open(dir: &Path) -> std::io::Result<Self> {
        let mut history = Self { segments: Vec::new(), salt: 0, again: HashMap::new() };
        let mut highest: Option<Uuid> = None;
        for (first, path) in segment_paths(dir)? {
            let Some(header) = expired_is_none(scan::header(&path))?.flatten() else { continue };
            history.salt = header.salt;
            let Some(entries) = expired_is_none(entries(&path, header.salt, first))? else { continue };
            let again = entries.iter().take_while(|(id, _)| highest.is_some_and(|it| *id <= it));
            history.again.extend(again.map(|(id, _)| (*id, first)));
            let range = entries.first().zip(entries.last()).map(|(low, high)| (low.0, high.0));
            highest = highest.max(range.map(|(_, high)| high));
            history.segments.push(Old { first, path, events: entries.len() as u64, range });
        }
        Ok(history)
    }

    /// Returns the number of events in the segments that [`Self::visit`] would read.
    pub(in super::super) fn events(&self, ids: &Range<Uuid>) -> u64 {
        self.segments.iter().filter(|it| it.has_any(ids)).map(|it| it.events).sum()
    }

    /// Visits every record that contains events with ids in `ids` in their current state: the operations' bytes,
    /// and which of them are these events. Stops when `visit` returns false.
    pub(in super::super) fn visit(
        &self,
        ids: &Range<Uuid>,
        visit: &mut dyn FnMut(&[u8], &[usize]) -> bool,
    ) -> std::io::Result<()> {
        for segment in self.segments.iter().filter(|it| it.has_any(ids)) {
            let Some(entries) = expired_is_none(entries(&segment.path, self.salt, segment.first))? else { continue };
            let mut go_on = true;
            let scanned = scan::scan(&segment.path, self.salt, segment.first, u64::MAX, &mut |record| {
                let found = if go_on { self.current(segment.first, &record, ids, &entries) } else { Vec::new() };
                if !found.is_empty() {
                    go_on = visit(record.payload, &found);
                }
            });
            expired_is_none(scanned)?;
            if !go_on {
                break;
            }
        }
        Ok(())
    }

    /// Returns the value of an event at a position that another of its records refers to; `None` if it has expired.
    pub(in super::super) fn at(&self, segment: u64, place: EventPlace, id: Uuid) -> std::io::Result<Option<Vec<u8>>> {
        let Some(old) = self.segments.iter().find(|it| it.first == segment) else { return Ok(None) };
        expired_is_none(read_value(&old.path, place, id))
    }

    /// Returns which of a record's operations are events that are not stored again later.
    fn current(
        &self,
        segment: u64,
        record: &Record<'_>,
        ids: &Range<Uuid>,
        entries: &[(Uuid, EventPlace)],
    ) -> Vec<usize> {
        let mut found = Vec::new();
        let mut at = record.offset;
        for (index, op) in ops(record.payload).unwrap_or_default().iter().enumerate() {
            if op.kind == OpKind::Event
                && let Some(id) = op.key.last_chunk::<16>().map(|it| Uuid::from_bytes(*it))
                && ids.contains(&id)
                && self.again.get(&id).is_none_or(|last| *last == segment)
                // Records appended after the entries were read are newer than this history.
                && entries.binary_search_by_key(&id, |(it, _)| *it).is_ok_and(|it| u64::from(entries[it].1.offset) == at)
            {
                found.push(index);
            }
            at += op.encoded_len() as u64;
        }
        found
    }
}

/// Returns a segment's events, each once, sorted by id: from its index file, or from the segment itself if it has
/// no valid index.
fn entries(segment: &Path, salt: u32, first: u64) -> std::io::Result<Vec<(Uuid, EventPlace)>> {
    let path = index_path(segment);
    // A damaged index would hide events.
    if expired_is_none(verify(&path))?.flatten().is_some() {
        return read_entries(&File::open(path)?, 0, u64::MAX);
    }
    let mut events = Vec::new();
    scan::scan(segment, salt, first, u64::MAX, &mut |record| {
        collect_events(&record, &ops(record.payload).unwrap_or_default(), &mut events);
    })?;
    Ok(newest(events))
}
