//! Taking a journal over for writing, after it was read from end to end (`survey.rs`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, RwLock};

use super::append::{Journal, fresh};
use super::format::{SEGMENT_HEADER, SegmentHeader};
use super::mark::Mark;
use super::prepare::Preparer;
use super::rewrite::UNFINISHED;
use super::segments::{Events, Segment, Segments, index_is, index_path, write_index};
use super::survey::{ACCEPTED, Accepted, Read, Survey};
use super::{file_name, sync_dir};
use crate::store::{Damage, StoreError};

/// What was found when a journal was opened.
#[derive(Debug)]
pub(in super::super) struct Opened {
    pub(in super::super) journal: Journal,
    /// A last group that a crash had cut off. It was never acknowledged.
    pub(in super::super) torn: Option<Damage>,
    /// What an admin has just accepted as lost.
    pub(in super::super) lost: Vec<Damage>,
}

impl Survey {
    /// Takes the journal over for writing.
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
            write_accepted(dir, &self.accepted).map_err(failed)?;
        }
        let journal = self.take_over(dir, segment_bytes).map_err(failed)?;
        Ok(Opened { journal, torn: self.torn, lost })
    }

    fn take_over(&mut self, dir: &Path, segment_bytes: u64) -> std::io::Result<Journal> {
        let salt = match self.salt {
            Some(salt) => salt,
            None => getrandom::u32().map_err(|e| std::io::Error::other(e.to_string()))?,
        };
        if self.segments.is_empty() {
            self.segments.push(begin(dir, self.next, salt, segment_bytes)?);
        }
        match std::fs::remove_file(dir.join(UNFINISHED)) {
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => {}
        }
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
            file.sync_all()?;
            capacity = end;
        }
        let segments = self.segments.drain(..).enumerate().map(|(index, it)| opened(it, index == last));
        let segments = Arc::new(Segments(RwLock::new(segments.collect::<std::io::Result<_>>()?)));
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

fn opened(mut read: Read, last: bool) -> std::io::Result<Segment> {
    let path = index_path(&read.path);
    let events = if last {
        Events::Open(read.events.into_iter().collect::<BTreeMap<_, _>>())
    } else if index_is(&path, &mut read.events) {
        Events::Sealed(read.events.first().zip(read.events.last()).map(|(low, high)| (low.0, high.0)))
    } else {
        match write_index(&path, read.events.clone()) {
            Ok(range) => Events::Sealed(range),
            // In memory it does as well, until there is room.
            Err(e) if e.kind() == ErrorKind::StorageFull => Events::Open(read.events.into_iter().collect()),
            Err(e) => return Err(e),
        }
    };
    Ok(Segment {
        first: read.first,
        created_ms: read.created_ms,
        path: read.path,
        end: read.end,
        next: read.next,
        events,
    })
}

/// The first segment of a new journal.
fn begin(dir: &Path, first: u64, salt: u32, segment_bytes: u64) -> std::io::Result<Read> {
    use std::os::unix::fs::FileExt as _;
    let header = SegmentHeader { first, created_ms: chrono::Utc::now().timestamp_millis(), salt };
    let (file, made) = fresh(dir, segment_bytes)?;
    file.write_all_at(&header.encode(), 0)?;
    file.sync_all()?;
    let path = dir.join(file_name(first));
    std::fs::rename(made, &path)?;
    sync_dir(dir)?;
    Ok(Read { path, first, created_ms: header.created_ms, end: SEGMENT_HEADER as u64, next: first, events: Vec::new() })
}

fn write_accepted(dir: &Path, accepted: &Accepted) -> std::io::Result<()> {
    let temporary = dir.join("accepted-loss.tmp");
    std::fs::write(&temporary, serde_json::to_vec(accepted)?)?;
    File::open(&temporary)?.sync_all()?;
    std::fs::rename(&temporary, dir.join(ACCEPTED))?;
    sync_dir(dir)
}
