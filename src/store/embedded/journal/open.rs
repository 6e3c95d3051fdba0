//! Opening: every segment is read from end to end, so that damage is found now and not when it is needed.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::append::{Journal, fresh, place};
use super::format::{Kind, Op, SEGMENT_HEADER, SegmentHeader, ops};
use super::mark::Mark;
use super::prepare::Preparer;
use super::scan::{self, Lost, Record, Scanned};
use super::segments::{Events, Place, Segment, Segments, index_is, index_path, write_index};
use super::{file_name, sequence_of, sync_dir};
use crate::store::{Damage, StoreError};

/// Sequences whose loss an admin has accepted, so that they are not reported again.
pub(super) const ACCEPTED: &str = "accepted-loss.json";

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Accepted(Vec<(u64, u64)>);

/// What was found when a journal was opened.
#[derive(Debug)]
pub(in super::super) struct Opened {
    pub(in super::super) journal: Journal,
    /// A last group that a crash had cut off. It was never acknowledged.
    pub(in super::super) torn: Option<Damage>,
    /// What an admin has just accepted as lost.
    pub(in super::super) lost: Vec<Damage>,
}

/// A journal that was read and not changed.
#[derive(Debug)]
pub(in super::super) struct Survey {
    pub(in super::super) salt: Option<u32>,
    /// Lost, and not accepted before.
    lost: Vec<Lost>,
    pub(in super::super) torn: Option<Damage>,
    pub(in super::super) records: u64,
    pub(in super::super) events: u64,
    next: u64,
    segments: Vec<Read>,
    accepted: Accepted,
}

#[derive(Debug)]
struct Read {
    path: PathBuf,
    first: u64,
    created_ms: i64,
    end: u64,
    next: u64,
    events: Vec<(Uuid, Place)>,
}

impl Survey {
    /// Reads every segment. `applied` is the last sequence that the view has seen: it was acknowledged for sure.
    pub(in super::super) fn of(dir: &Path, applied: u64) -> std::io::Result<Self> {
        let paths = segment_paths(dir)?;
        let mark = Mark::open(dir)?;
        let acked = mark.acked.max(applied);
        let headers: Vec<_> = paths.iter().map(|(_, path)| scan::header(path)).collect::<std::io::Result<_>>()?;
        let salt = headers.iter().flatten().map(|it| it.salt).next();
        let first = paths.first().map_or(1, |(first, _)| *first);
        let mut survey = Self {
            salt,
            lost: Vec::new(),
            torn: None,
            records: 0,
            events: 0,
            next: first,
            segments: Vec::new(),
            accepted: read_accepted(dir),
        };
        if let Some((first, path)) = paths.first()
            && (1..*first).contains(&mark.oldest)
        {
            survey.lose(path, 0, "the segments before this one are missing", mark.oldest, *first);
        }
        for (index, (first, path)) in paths.iter().enumerate() {
            survey.read(path, *first, headers[index], acked, index + 1 == paths.len())?;
        }
        if survey.next <= acked {
            let (path, end) = survey.segments.last().map_or((dir.to_owned(), 0), |it| (it.path.clone(), it.end));
            let torn = survey.torn.take().map_or("the journal ends before what was acknowledged".into(), |it| it.cause);
            survey.lose(&path, end, &torn, survey.next, acked + 1);
            survey.next = acked + 1;
        }
        let accepted = &survey.accepted.0;
        survey.lost.retain(|it| !accepted.iter().any(|(from, until)| *from <= it.from && it.until <= *until));
        Ok(survey)
    }

    fn read(
        &mut self,
        path: &Path,
        first: u64,
        header: Option<SegmentHeader>,
        acked: u64,
        last: bool,
    ) -> std::io::Result<()> {
        if first > self.next {
            self.lose(path, 0, "what stood before this segment is missing", self.next, first);
        }
        if header.is_none_or(|it| it.first != first) {
            self.lose(path, 0, "the segment's header is damaged", first, first);
        }
        let Some(salt) = self.salt else {
            self.lose(path, 0, "no segment's header can be read", first, acked + 1);
            return Ok(());
        };
        let (mut records, mut events, mut unknown) = (0, Vec::new(), Vec::new());
        let Scanned { next, end, lost, tail } = scan::scan(path, salt, first, acked, &mut |record: Record<'_>| {
            records += 1;
            match ops(record.payload) {
                Some(ops) => collect_events(&record, &ops, &mut events),
                None => unknown.push((record.offset, record.sequence)),
            }
        })?;
        for (offset, sequence) in unknown {
            self.lose(path, offset, "a record that this version cannot read", sequence, sequence + 1);
        }
        self.records += records;
        self.events += events.len() as u64;
        self.lost.extend(lost);
        self.next = self.next.max(next);
        if last {
            self.torn = tail;
        } else if let Some(tail) = tail {
            // Sealed segments end with their last group.
            self.lost.push(Lost { damage: tail, from: next, until: next });
        }
        let created_ms = header.map_or(0, |it| it.created_ms);
        self.segments.push(Read { path: path.to_owned(), first, created_ms, end, next, events });
        Ok(())
    }

    fn lose(&mut self, path: &Path, offset: u64, cause: &str, from: u64, until: u64) {
        let segment = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.lost.push(Lost { damage: Damage { segment, offset, cause: cause.into() }, from, until });
    }

    /// Where acknowledged changes cannot be read.
    pub(in super::super) fn damages(&self) -> Vec<Damage> {
        self.lost.iter().map(|it| it.damage.clone()).collect()
    }

    /// The sequence of the last record.
    pub(in super::super) fn last(&self) -> u64 {
        self.next - 1
    }

    /// The sequence of the first record.
    pub(in super::super) fn first(&self) -> u64 {
        self.segments.first().map_or(1, |it| it.first)
    }

    /// Event indexes that do not say what their segments hold.
    pub(in super::super) fn wrong_indexes(&mut self) -> Vec<PathBuf> {
        let sealed = self.segments.len().saturating_sub(1);
        let wrong = |it: &mut Read| {
            let path = index_path(&it.path);
            (!index_is(&path, &mut it.events)).then_some(path)
        };
        self.segments[..sealed].iter_mut().filter_map(wrong).collect()
    }

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

/// The segments of a journal that is only read, and its salt.
pub(in super::super) fn read_only(dir: &Path) -> std::io::Result<(Segments, u32)> {
    let (mut segments, mut salt) = (Vec::new(), 0);
    for (first, path) in segment_paths(dir)? {
        let header = scan::header(&path)?;
        salt = header.map_or(salt, |it| it.salt);
        let (end, events) = (path.metadata()?.len(), Events::Sealed(None));
        segments.push(Segment { first, created_ms: 0, path, end, next: first, events });
    }
    Ok((Segments(RwLock::new(segments)), salt))
}

/// Visits every record from this sequence on.
///
/// # Errors
/// Where a segment cannot be read. What is lost is not an error here: opening has told it.
pub(in super::super) fn replay(
    segments: &Segments,
    salt: u32,
    from: u64,
    visit: &mut dyn FnMut(Record<'_>),
) -> std::io::Result<()> {
    let files: Vec<(u64, PathBuf)> = {
        let segments = segments.0.read().unwrap_or_else(PoisonError::into_inner);
        segments.iter().map(|it| (it.first, it.path.clone())).collect()
    };
    for (index, (first, path)) in files.iter().enumerate() {
        if files.get(index + 1).is_some_and(|(next, _)| *next <= from) {
            continue;
        }
        scan::scan(path, salt, *first, u64::MAX, &mut |record| {
            if record.sequence >= from {
                visit(record);
            }
        })?;
    }
    Ok(())
}

fn collect_events(record: &Record<'_>, ops: &[Op<'_>], events: &mut Vec<(Uuid, Place)>) {
    let mut at = record.offset;
    for op in ops {
        if op.kind == Kind::Event
            && let Some(id) = op.key.last_chunk::<16>()
        {
            events.push((Uuid::from_bytes(*id), place(at, op.encoded_len())));
        }
        at += op.encoded_len() as u64;
    }
}

fn opened(mut read: Read, last: bool) -> std::io::Result<Segment> {
    let events = if last {
        Events::Open(read.events.into_iter().collect::<HashMap<_, _>>())
    } else {
        let path = index_path(&read.path);
        let range = if index_is(&path, &mut read.events) {
            read.events.first().zip(read.events.last()).map(|(low, high)| (low.0, high.0))
        } else {
            write_index(&path, read.events)?
        };
        Events::Sealed(range)
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

fn segment_paths(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(first) = sequence_of(&path) {
            paths.push((first, path));
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

fn read_accepted(dir: &Path) -> Accepted {
    std::fs::read(dir.join(ACCEPTED)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn write_accepted(dir: &Path, accepted: &Accepted) -> std::io::Result<()> {
    let temporary = dir.join("accepted-loss.tmp");
    std::fs::write(&temporary, serde_json::to_vec(accepted)?)?;
    File::open(&temporary)?.sync_all()?;
    std::fs::rename(&temporary, dir.join(ACCEPTED))?;
    sync_dir(dir)
}
