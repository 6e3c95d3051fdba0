//! Opens a journal for writing, after it was read (`survey.rs`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use super::allocate::fresh;
use super::append::Journal;
use super::files::{ACCEPTED, file_name, sync_dir, write_json};
use super::format::{SEGMENT_HEADER, SegmentHeader};
use super::index_file::{index_is, index_path, range, write_index};
use super::mark::Mark;
use super::prepare::Preparer;
use super::rewrite::UNFINISHED;
use super::segments::{Events, Extent, Segment, Segments};
use super::survey::{FoundEvents, ReadSegment, Survey};
use super::verify::{DAMAGED, Unverified};
use crate::store::error::{Damage, StoreError};

/// Result of opening a journal.
#[derive(Debug)]
pub(in super::super) struct Opened {
    pub(in super::super) journal: Journal,
    /// A last group that was cut off by a crash. It was never acknowledged.
    pub(in super::super) torn: Option<Damage>,
    /// Damage that an admin has just accepted as lost.
    pub(in super::super) lost: Vec<Damage>,
    /// Closed segments that were not read.
    pub(in super::super) unverified: Vec<Unverified>,
}

impl Survey {
    /// Opens the journal for writing.
    pub(in super::super) fn open(
        mut self,
        dir: &Path,
        segment_bytes: u64,
        accept_loss: bool,
    ) -> Result<Opened, StoreError> {
        let failed = |e: std::io::Error| StoreError::Open { dir: dir.display().to_string(), cause: e.to_string() };
        let lost = self.damages();
        if !lost.is_empty() {
            if !accept_loss {
                return Err(StoreError::Journal(lost));
            }
            self.accepted.0.extend(self.lost.iter().map(|it| (it.from, it.until)));
            write_json(dir, ACCEPTED, &self.accepted).map_err(failed)?;
        }
        // Everything was read, and is intact or accepted, so damage found in the background is settled.
        let unverified = self.unverified();
        if unverified.is_empty() {
            remove(&dir.join(DAMAGED)).map_err(failed)?;
        }
        let journal = self.take_over(dir, segment_bytes).map_err(failed)?;
        Ok(Opened { journal, torn: self.torn, lost, unverified })
    }

    fn take_over(&mut self, dir: &Path, segment_bytes: u64) -> std::io::Result<Journal> {
        let salt = match self.salt {
            Some(salt) => salt,
            None => getrandom::u32().map_err(|e| std::io::Error::other(e.to_string()))?,
        };
        if self.segments.is_empty() {
            self.segments.push(begin(dir, self.next, salt, segment_bytes)?);
        }
        remove(&dir.join(UNFINISHED))?;
        let mut mark = Mark::open(dir)?;
        if mark.oldest == 0 {
            mark.set_oldest(self.segments[0].first)?;
        }
        let last = self.segments.len() - 1;
        let (path, end) = (self.segments[last].path.clone(), self.segments[last].end);
        let (first, created_ms) = (self.segments[last].first, self.segments[last].created_ms);
        let file = File::options().read(true).write(true).open(&path)?;
        let mut capacity = file.metadata()?.len();
        if self.torn.is_some() {
            file.set_len(end)?;
            capacity = end;
        }
        if self.next > mark.acked + 1 {
            write_again(&file, end)?;
        }
        file.sync_all()?;
        let segments = self.segments.drain(..).enumerate().map(|(index, it)| opened(it, salt, index == last));
        let segments = Arc::new(Segments::new(segments.collect::<std::io::Result<_>>()?));
        let preparer = Preparer::start(dir.to_owned(), segment_bytes, Arc::clone(&segments))?;
        Ok(Journal {
            dir: dir.to_owned(),
            salt,
            segment_bytes,
            file,
            first,
            offset: end,
            capacity,
            created_ms,
            next: self.next,
            mark,
            segments,
            preparer,
        })
    }
}

/// Writes the bytes of the last segment again. It may contain records that were never acknowledged and are served
/// from now on, but it is unknown whether they are on disk: after a failed fdatasync, the kernel may consider pages
/// written that are not, so another fdatasync would not write them.
fn write_again(file: &File, end: u64) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt as _;
    let mut bytes = vec![0; 1 << 20];
    let mut at = 0;
    while at < end {
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(bytes.len());
        file.read_exact_at(&mut bytes[..length], at)?;
        file.write_all_at(&bytes[..length], at)?;
        at += length as u64;
    }
    Ok(())
}

fn opened(read: ReadSegment, salt: u32, last: bool) -> std::io::Result<Segment> {
    let path = index_path(&read.path);
    let events = match read.events {
        FoundEvents::Indexed(range) => Events::Sealed(range),
        FoundEvents::ReadSegment(events) if last => Events::Open(events.into_iter().collect::<BTreeMap<_, _>>()),
        FoundEvents::ReadSegment(mut events) => {
            if index_is(&path, &mut events, read.next, read.end) {
                Events::Sealed(range(&events))
            } else {
                match write_index(&path, events.clone(), read.next, read.end) {
                    Ok(range) => Events::Sealed(range),
                    // The index stays in memory until there is free space.
                    Err(e) if e.kind() == ErrorKind::StorageFull => Events::Open(events.into_iter().collect()),
                    Err(e) => return Err(e),
                }
            }
        }
    };
    let extent = Extent { end: read.end, next: read.next, events };
    Ok(Segment::new(read.path, (read.first, read.created_ms, salt), extent))
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Creates the first segment of a new journal.
fn begin(dir: &Path, first: u64, salt: u32, segment_bytes: u64) -> std::io::Result<ReadSegment> {
    use std::os::unix::fs::FileExt as _;
    let header = SegmentHeader { first, created_ms: crate::system::clock::now().timestamp_millis(), salt };
    let (file, made) = fresh(dir, segment_bytes)?;
    file.write_all_at(&header.encode(), 0)?;
    file.sync_all()?;
    let path = dir.join(file_name(first));
    std::fs::rename(made, &path)?;
    sync_dir(dir)?;
    let events = FoundEvents::ReadSegment(Vec::new());
    Ok(ReadSegment { path, first, created_ms: header.created_ms, end: SEGMENT_HEADER as u64, next: first, events })
}
