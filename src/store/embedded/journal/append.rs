//! The end of the journal, to which the writer thread appends.

use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use uuid::Uuid;

use super::allocate::{allocate, fresh};
use super::event_place::place;
use super::files::{file_name, sync_dir};
use super::format::{GroupWriter, SEGMENT_HEADER, SegmentHeader, TooLong};
use super::index_file::index_path;
use super::mark::Mark;
use super::prepare::Preparer;
use super::rewrite::put_in_place;
use super::segments::{Events, Extent, Segment, Segments};
use crate::metrics::store::STORE;
use crate::store::id_time;

/// How far in the future a segment's creation time may be, in milliseconds: clocks are corrected in small steps all
/// the time.
const AHEAD_MS: i64 = 3_600_000;

/// The journal as used by its only writer.
#[derive(Debug)]
pub(in super::super) struct Journal {
    pub(super) dir: PathBuf,
    pub(super) salt: u32,
    pub(super) segment_bytes: u64,
    pub(super) file: File,
    pub(super) first: u64,
    pub(super) offset: u64,
    pub(super) capacity: u64,
    pub(super) created_ms: i64,
    pub(super) next: u64,
    pub(super) mark: Mark,
    pub(super) segments: Arc<Segments>,
    pub(super) preparer: Preparer,
}

impl Journal {
    /// Returns an empty group, to be filled and passed to [`Self::append`].
    pub(in super::super) fn group(&self) -> GroupWriter {
        GroupWriter::new(self.salt, self.next)
    }

    /// Returns the sequence of the last durable record; 0 if there is none.
    pub(in super::super) fn last(&self) -> u64 {
        self.next - 1
    }

    pub(in super::super) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    pub(in super::super) fn salt(&self) -> u32 {
        self.salt
    }

    /// Makes a group durable and returns its bytes. Before it returns, the group does not count.
    ///
    /// # Errors
    /// [`AppendError::Full`] leaves the journal unchanged. After [`AppendError::Sync`], the state of the disk is
    /// unknown, and nothing more may be appended (the kernel drops dirty pages after a failed fsync).
    pub(in super::super) fn append(
        &mut self,
        group: GroupWriter,
        events: Vec<(Uuid, usize, usize)>,
    ) -> Result<Vec<u8>, AppendError> {
        let too_long = |e: TooLong| AppendError::Full(std::io::Error::other(e));
        let (bytes, next) = group.finish().map_err(too_long)?;
        // Positions in a segment are 32-bit numbers.
        if self.offset.max(SEGMENT_HEADER as u64) + bytes.len() as u64 > u64::from(u32::MAX) {
            return Err(too_long(TooLong));
        }
        if self.offset + bytes.len() as u64 > self.capacity {
            self.make_room(bytes.len() as u64)?;
        }
        self.file.write_all_at(&bytes, self.offset).map_err(AppendError::Full)?;
        let started = Instant::now();
        self.file.sync_data().map_err(AppendError::Sync)?;
        STORE.sync.took(started.elapsed());
        self.is_in_place().map_err(AppendError::Sync)?;
        self.note(&bytes, next, events);
        self.offset += bytes.len() as u64;
        self.next = next;
        // An outdated mark is allowed; see mark.rs.
        if let Err(error) = self.mark.set_acked(next - 1) {
            tracing::warn!(cause = %error, "the journal's mark cannot be written");
        }
        Ok(bytes)
    }

    /// Checks that the segment's name still refers to the open file. If the directory was removed or replaced, an
    /// open file accepts writes that are lost.
    fn is_in_place(&self) -> std::io::Result<()> {
        let (open, named) = (self.file.metadata()?, std::fs::metadata(self.dir.join(file_name(self.first)))?);
        if (open.dev(), open.ino()) == (named.dev(), named.ino()) {
            return Ok(());
        }
        Err(std::io::Error::other("the journal's last segment was replaced by another file; restart the server"))
    }

    fn note(&self, bytes: &[u8], next: u64, events: Vec<(Uuid, usize, usize)>) {
        let list = self.segments.list();
        let Some(segment) = list.last() else { return };
        segment.change(|it| {
            (it.end, it.next) = (self.offset + bytes.len() as u64, next);
            let Events::Open(index) = &mut it.events else { return };
            for (id, at, length) in events {
                // Cannot fail: checked before the group was written.
                index.extend(place(self.offset + at as u64, length).map(|place| (id, place)));
            }
        });
    }

    /// Makes room for a group that does not fit: starts a new segment, or makes this one larger if it is empty. A
    /// new segment in place of an empty one would begin with the same sequence, and so have the same name.
    fn make_room(&mut self, needed: u64) -> Result<(), AppendError> {
        if self.offset > SEGMENT_HEADER as u64 {
            return self.roll(needed);
        }
        let capacity = self.offset + needed;
        allocate(&self.file, capacity).and_then(|()| self.file.sync_all()).map_err(AppendError::Full)?;
        self.capacity = capacity;
        Ok(())
    }

    /// Starts a new segment.
    pub(super) fn roll(&mut self, needed: u64) -> Result<(), AppendError> {
        let header = SegmentHeader {
            first: self.next,
            created_ms: crate::system::clock::now().timestamp_millis(),
            salt: self.salt,
        };
        let capacity = self.segment_bytes.max(needed + SEGMENT_HEADER as u64);
        // A prepared segment that is too small for this group remains for later.
        let ready = if capacity == self.segment_bytes { self.preparer.take() } else { None };
        let (file, path) = match ready {
            Some(Ok(ready)) => ready,
            _ => fresh(&self.dir, capacity).map_err(AppendError::Full)?,
        };
        file.write_all_at(&header.encode(), 0).map_err(AppendError::Full)?;
        file.sync_all().map_err(AppendError::Full)?;
        let name = self.dir.join(file_name(self.next));
        std::fs::rename(&path, &name).map_err(AppendError::Full)?;
        // The new name may be lost in a power cut until the directory is synced.
        sync_dir(&self.dir).map_err(AppendError::Sync)?;
        // Frees preallocated space that was not used.
        let _gives_back_space = self.file.set_len(self.offset);
        self.preparer.seal(self.first);
        let events = Events::Open(std::collections::BTreeMap::new());
        let extent = Extent { end: SEGMENT_HEADER as u64, next: header.first, events };
        self.segments.push(Segment::new(name, (header.first, header.created_ms, self.salt), extent));
        (self.file, self.first, self.offset) = (file, header.first, SEGMENT_HEADER as u64);
        (self.capacity, self.created_ms) = (capacity, header.created_ms);
        Ok(())
    }

    /// Starts a new segment if the last one is older than this, so that its content can expire; or if it was begun
    /// in the future, by a clock that has been corrected since.
    pub(in super::super) fn roll_if_older(&mut self, before_ms: i64) -> Result<(), AppendError> {
        let ahead = self.created_ms > crate::system::clock::now().timestamp_millis().saturating_add(AHEAD_MS);
        let ends = self.created_ms < before_ms || ahead;
        if ends && self.offset > SEGMENT_HEADER as u64 { self.roll(0) } else { Ok(()) }
    }

    /// Replaces a closed segment with a rewritten copy. Returns false if the segment no longer exists.
    pub(in super::super) fn replace(&mut self, first: u64, copy: &Path) -> std::io::Result<bool> {
        let list = self.segments.list();
        match list.iter().find(|it| it.first == first && first != self.first) {
            Some(segment) => put_in_place(copy, &segment.path).map(|()| true),
            None => std::fs::remove_file(copy).map(|()| false),
        }
    }

    /// Removes whole segments whose records are all at most `covered` and older than `before_ms`. Returns the bytes
    /// freed.
    pub(in super::super) fn remove(&mut self, covered: u64, before_ms: i64, now_ms: i64) -> std::io::Result<u64> {
        let (count, _) = removable(&self.segments, covered, before_ms, now_ms);
        if count == 0 {
            return Ok(0);
        }
        // Synced before the first file is removed: otherwise its absence would look like damage.
        if let Some(oldest) = self.segments.list().get(count).map(|it| it.first) {
            self.mark.set_oldest(oldest)?;
        }
        let mut bytes = 0;
        for segment in self.segments.take_oldest(count) {
            bytes += segment.extent(|it| it.end);
            std::fs::remove_file(&segment.path)?;
            let _may_not_be_there_yet = std::fs::remove_file(index_path(&segment.path));
        }
        Ok(bytes)
    }
}

/// Returns how many of the oldest segments contain nothing newer, and the last sequence in them.
pub(in super::super) fn removable(
    segments: &Segments,
    covered: u64,
    before_ms: i64,
    now_ms: i64,
) -> (usize, Option<u64>) {
    let list = segments.list();
    let begun: Vec<_> = list.iter().map(|it| it.created_ms).collect();
    let is_removable = |at: &usize| {
        let covered = list.get(at + 1).is_some_and(|next| next.first <= covered + 1);
        let ended = ended_ms(&begun, *at, now_ms).map(|it| it.max(received_ms(&list[*at], now_ms)));
        covered && ended.is_some_and(|it| it < before_ms)
    };
    let count = (0..list.len()).take_while(is_removable).count();
    let last = (count > 0).then(|| list[count].first - 1);
    (count, last)
}

/// When the newest event of a segment was received, in milliseconds since 1970; the least number without events. This may be
/// after the next segment was begun, if the clock was set back in between. Events of the future are ignored: the clock was
/// wrong. A segment whose index cannot be read is not removed.
fn received_ms(segment: &Segment, now_ms: i64) -> i64 {
    match segment.before(id_time::first_id_of(now_ms.saturating_add(1)), 1) {
        Ok(newest) => newest.first().map_or(i64::MIN, |(id, _)| id_time::received_ms(*id)),
        Err(_) => i64::MAX,
    }
}

/// Returns when a segment was full: when the next one was begun. `begun` are the creation times of all segments. If
/// the clock was wrong at that time (in the future, or before an earlier segment), a later segment's time is used.
fn ended_ms(begun: &[i64], at: usize, now_ms: i64) -> Option<i64> {
    let is_past = |it: &i64| *it <= now_ms;
    let earliest = begun.get(..=at)?.iter().copied().filter(is_past).max();
    begun.get(at + 1..)?.iter().copied().filter(is_past).find(|it| earliest.is_none_or(|earliest| earliest <= *it))
}

/// Why a group did not become durable.
#[derive(Debug)]
pub(in super::super) enum AppendError {
    /// It was not written; the journal is unchanged.
    Full(std::io::Error),
    /// It is unknown whether it reached the disk.
    Sync(std::io::Error),
}

#[cfg(test)]
mod tests {
    use super::ended_ms;

    /// A clock that was a century ahead for a moment must not keep a segment for a century, and one that was behind
    /// must not cause everything before it to be removed.
    #[test]
    fn a_segment_ends_when_a_later_one_is_begun_at_a_time_that_can_be_right() {
        let ends = |begun: &[i64], now| (0..begun.len()).map(|at| ended_ms(begun, at, now)).collect::<Vec<_>>();
        assert_eq!(ends(&[10, 20, 30], 40), [Some(20), Some(30), None]);
        assert_eq!(ends(&[10, 9000, 30], 40), [Some(30), Some(30), None]);
        assert_eq!(ends(&[10, 9000], 40), [None, None]);
        assert_eq!(ends(&[10, 1, 30], 40), [Some(30), Some(30), None]);
        assert_eq!(ends(&[9000, 20, 30], 40), [Some(20), Some(30), None]);
    }
}
