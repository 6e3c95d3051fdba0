//! Inspects a journal before it is opened for writing.
//!
//! [`Survey::of`] reads every segment from end to end. [`Survey::quick`] reads only the last one and those without
//! a usable index; the others are verified in the background (`verify.rs`).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event_place::{EventPlace, collect_events, newest};
use super::files::{ACCEPTED, segment_paths};
use super::format::{SegmentHeader, ops};
use super::index_file::{Summary, glance, index_is, index_path};
use super::mark::Mark;
use super::scan::{self, Lost, Record, Scanned};
use super::segments::{Events, Extent, Segment, Segments};
use crate::store::error::Damage;

#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(in super::super) struct Accepted(pub(super) Vec<(u64, u64)>);

/// A journal that was read and not changed.
#[derive(Debug)]
pub(in super::super) struct Survey {
    pub(in super::super) salt: Option<u32>,
    /// Losses that were not accepted before.
    pub(super) lost: Vec<Lost>,
    pub(in super::super) torn: Option<Damage>,
    pub(in super::super) records: u64,
    pub(in super::super) events: u64,
    pub(super) next: u64,
    pub(super) segments: Vec<ReadSegment>,
    pub(super) accepted: Accepted,
}

/// A segment that was read.
#[derive(Debug)]
pub(super) struct ReadSegment {
    pub(super) path: PathBuf,
    pub(super) first: u64,
    pub(super) created_ms: i64,
    pub(super) end: u64,
    pub(super) next: u64,
    pub(super) events: FoundEvents,
}

/// A segment's events.
#[derive(Debug)]
pub(super) enum FoundEvents {
    /// ReadSegment from the segment itself.
    ReadSegment(Vec<(Uuid, EventPlace)>),
    /// Only the lowest and the highest id, from the index; the segment was not read.
    Indexed(Option<(Uuid, Uuid)>),
}

impl Survey {
    /// Reads every segment. `applied` is the last sequence in the view, which was certainly acknowledged.
    pub(in super::super) fn of(dir: &Path, applied: u64) -> std::io::Result<Self> {
        Self::look(dir, applied, false)
    }

    /// Reads closed segments only if they have no usable index.
    pub(in super::super) fn quick(dir: &Path, applied: u64) -> std::io::Result<Self> {
        Self::look(dir, applied, true)
    }

    fn look(dir: &Path, applied: u64, quick: bool) -> std::io::Result<Self> {
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
            accepted: Accepted::read(dir),
        };
        if let Some((first, path)) = paths.first()
            && (1..*first).contains(&mark.oldest)
        {
            survey.lose(path, 0, "the segments before this one are missing", mark.oldest, *first);
        }
        for (index, (first, path)) in paths.iter().enumerate() {
            let following = paths.get(index + 1).map(|(first, _)| *first);
            let trusted = headers[index].filter(|it| quick && following.is_some() && it.first == *first);
            match trusted.zip(indexed(path)) {
                Some((header, summary)) => survey.trust(path, header, summary),
                None => survey.read(path, *first, headers[index], acked, following)?,
            }
        }
        if survey.next <= acked {
            let (path, end) = survey.segments.last().map_or((dir.to_owned(), 0), |it| (it.path.clone(), it.end));
            let torn = survey.torn.take().map_or("the journal ends before what was acknowledged".into(), |it| it.cause);
            survey.lose(&path, end, &torn, survey.next, acked + 1);
            survey.next = acked + 1;
        }
        let accepted = survey.accepted.clone();
        survey.lost.retain(|it| !accepted.covers(it));
        Ok(survey)
    }

    /// Adds a closed segment by its index, without reading it.
    fn trust(&mut self, path: &Path, header: SegmentHeader, summary: Summary) {
        let SegmentHeader { first, created_ms, .. } = header;
        if first > self.next {
            self.lose(path, 0, "the records before this segment are missing", self.next, first);
        }
        let Summary { next, end, range } = summary;
        self.next = self.next.max(next);
        let events = FoundEvents::Indexed(range);
        self.segments.push(ReadSegment { path: path.to_owned(), first, created_ms, end, next, events });
    }

    fn read(
        &mut self,
        path: &Path,
        first: u64,
        header: Option<SegmentHeader>,
        acked: u64,
        following: Option<u64>,
    ) -> std::io::Result<()> {
        if first > self.next {
            self.lose(path, 0, "the records before this segment are missing", self.next, first);
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
        let events = newest(events);
        self.records += records;
        self.events += events.len() as u64;
        self.lost.extend(lost);
        self.next = self.next.max(next);
        match (following, tail) {
            (None, tail) => self.torn = tail,
            // A failed write may have left data after the last group, because that space is freed without a sync.
            // Nothing is lost if the next segment continues with the next record.
            (Some(following), Some(tail)) if next < following => {
                self.lost.push(Lost { damage: tail, from: next, until: following });
                self.next = self.next.max(following);
            }
            (Some(_), _) => {}
        }
        let created_ms = header.map_or(0, |it| it.created_ms);
        self.segments.push(ReadSegment {
            path: path.to_owned(),
            first,
            created_ms,
            end,
            next,
            events: FoundEvents::ReadSegment(events),
        });
        Ok(())
    }

    fn lose(&mut self, path: &Path, offset: u64, cause: &str, from: u64, until: u64) {
        let segment = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.lost.push(Lost { damage: Damage { segment, offset, cause: cause.into() }, from, until });
    }

    /// Returns the places where acknowledged changes cannot be read.
    pub(in super::super) fn damages(&self) -> Vec<Damage> {
        self.lost.iter().map(|it| it.damage.clone()).collect()
    }

    /// Returns whether there are such places.
    pub(in super::super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Returns the sequence of the last record.
    pub(in super::super) fn last(&self) -> u64 {
        self.next - 1
    }

    /// Returns the sequence of the first record.
    pub(in super::super) fn first(&self) -> u64 {
        self.segments.first().map_or(1, |it| it.first)
    }

    /// Returns the event indexes that do not match their segments.
    pub(in super::super) fn wrong_indexes(&mut self) -> Vec<PathBuf> {
        let sealed = self.segments.len().saturating_sub(1);
        let wrong = |it: &mut ReadSegment| {
            let path = index_path(&it.path);
            let FoundEvents::ReadSegment(events) = &mut it.events else { return None };
            (!index_is(&path, events, it.next, it.end)).then_some(path)
        };
        self.segments[..sealed].iter_mut().filter_map(wrong).collect()
    }
}

/// Reads the header of a segment's index, if it matches the segment's length.
fn indexed(segment: &Path) -> Option<Summary> {
    let length = std::fs::metadata(segment).ok()?.len();
    glance(&index_path(segment)).filter(|it| it.end == length)
}

impl Accepted {
    /// Returns whether an accepted loss has a record after this sequence.
    pub(in super::super) fn ends_after(&self, sequence: u64) -> bool {
        self.0.iter().any(|(_, until)| *until > sequence + 1)
    }

    /// Reads the losses that were accepted earlier.
    pub(in super::super) fn read(dir: &Path) -> Self {
        let read = std::fs::read(dir.join(ACCEPTED)).ok();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Returns whether this loss was accepted.
    pub(super) fn covers(&self, lost: &Lost) -> bool {
        self.0.iter().any(|(from, until)| *from <= lost.from && lost.until <= *until)
    }
}

/// Returns the segments of a journal that is only read, and its salt.
pub(in super::super) fn read_only(dir: &Path) -> std::io::Result<(Segments, u32)> {
    let (mut segments, mut salt) = (Vec::new(), 0);
    for (first, path) in segment_paths(dir)? {
        let header = scan::header(&path)?;
        salt = header.map_or(salt, |it| it.salt);
        let (end, events) = (path.metadata()?.len(), Events::Sealed(None));
        segments.push(Segment::new(path, (first, 0, salt), Extent { end, next: first, events }));
    }
    Ok((Segments::new(segments), salt))
}
