//! Reads a segment from its first byte to its last, and tells what it finds there.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::format::{self, GROUP_HEADER, GroupHeader, SEGMENT_HEADER, SegmentHeader};
use crate::store::Damage;

/// How much is read at a time.
const CHUNK: usize = 1 << 20;

/// A record that is whole.
#[derive(Debug)]
pub(in super::super) struct Record<'a> {
    pub(in super::super) sequence: u64,
    /// Where the payload stands in its segment.
    pub(in super::super) offset: u64,
    pub(in super::super) payload: &'a [u8],
}

/// Changes that were acknowledged and cannot be read: their place, and the sequences from the first up to the next
/// that is there again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) damage: Damage,
    pub(super) from: u64,
    pub(super) until: u64,
}

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The sequence after the last whole record.
    pub(super) next: u64,
    /// The byte after the last whole group.
    pub(super) end: u64,
    /// What was lost on the way.
    pub(super) lost: Vec<Lost>,
    /// What stands after `end`, where that is neither nothing nor zeros.
    pub(super) tail: Option<Damage>,
}

/// A segment's header, if it is whole.
pub(super) fn header(path: &Path) -> std::io::Result<Option<SegmentHeader>> {
    let mut bytes = [0; SEGMENT_HEADER];
    let read = read_up_to(&File::open(path)?, &mut bytes, 0)?;
    Ok(SegmentHeader::decode(&bytes[..read]))
}

/// Visits every whole record of a segment, in order. A group that is not whole is a tail where nothing follows it
/// and none of it was acknowledged (a crash cut it off), and else a loss.
pub(super) fn scan(
    path: &Path,
    salt: u32,
    first: u64,
    acked: u64,
    visit: &mut dyn FnMut(Record<'_>),
) -> std::io::Result<Scanned> {
    let file = File::open(path)?;
    let mut window = Window { length: file.metadata()?.len(), file, start: 0, bytes: Vec::new() };
    let segment = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let damage = |offset, cause: &str| Damage { segment: segment.clone(), offset, cause: cause.into() };
    let mut out = Scanned { next: first, end: SEGMENT_HEADER as u64, lost: Vec::new(), tail: None };
    let mut at = SEGMENT_HEADER as u64;
    while at < window.length {
        let problem = match read_group(&mut window, at, salt, out.next)? {
            Ok((group, length)) => {
                let payload = window.get(at + GROUP_HEADER as u64, length - GROUP_HEADER)?;
                match whole(payload, salt, &group) {
                    Ok(()) => {
                        records(payload, salt, &group, at, visit, &mut |_, _| {});
                        out.next = group.first + u64::from(group.count);
                        at += length as u64;
                        out.end = at;
                        continue;
                    }
                    // It was durable, as its successor or the mark says: what of it is whole still counts.
                    Err(cause) if acked >= group.first || follows(&mut window, at, salt, &group)? => {
                        let payload = window.get(at + GROUP_HEADER as u64, length - GROUP_HEADER)?;
                        let lost = &mut out.lost;
                        records(payload, salt, &group, at, visit, &mut |offset, sequences: std::ops::Range<u64>| {
                            let damage = damage(offset, cause);
                            lost.push(Lost { damage, from: sequences.start, until: sequences.end });
                        });
                        out.next = group.first + u64::from(group.count);
                        at += length as u64;
                        out.end = at;
                        continue;
                    }
                    Err(cause) => cause,
                }
            }
            Err(None) if only_zeros(&mut window, at)? => break,
            Err(None) => "no group begins here",
            Err(Some(cause)) => cause,
        };
        let rest = window.rest(at)?;
        match GroupHeader::find(&rest, 1, salt, out.next) {
            Some((distance, group)) => {
                out.lost.push(Lost { damage: damage(at, problem), from: out.next, until: group.first });
                out.next = group.first;
                at += distance as u64;
                out.end = at;
            }
            None => {
                out.tail = Some(damage(at, problem));
                break;
            }
        }
    }
    Ok(out)
}

/// Whether a later group begins behind this one: then this one was durable before that was written.
fn follows(window: &mut Window, at: u64, salt: u32, group: &GroupHeader) -> std::io::Result<bool> {
    let rest = window.rest(at)?;
    Ok(GroupHeader::find(&rest, 1, salt, group.first + u64::from(group.count).max(1)).is_some())
}

/// The group that begins here and its whole length; or why there is none, or nothing where nothing begins here.
fn read_group(
    window: &mut Window,
    at: u64,
    salt: u32,
    expected: u64,
) -> std::io::Result<Result<(GroupHeader, usize), Option<&'static str>>> {
    let Some(group) = GroupHeader::decode(window.get(at, GROUP_HEADER)?, salt) else { return Ok(Err(None)) };
    if group.first != expected {
        return Ok(Err(Some("the sequence does not follow the one before")));
    }
    let length = GROUP_HEADER + group.bytes as usize;
    if at + length as u64 > window.length {
        return Ok(Err(Some("a group is cut off")));
    }
    Ok(Ok((group, length)))
}

fn whole(payload: &[u8], salt: u32, group: &GroupHeader) -> Result<(), &'static str> {
    let mut rest = payload;
    for index in 0..u64::from(group.count) {
        let record = format::record(rest, salt, group.first + index).map_err(|(cause, _)| cause)?;
        rest = &rest[format::RECORD_HEADER + record.len()..];
    }
    if rest.is_empty() { Ok(()) } else { Err("a group is longer than its records") }
}

fn records(
    payload: &[u8],
    salt: u32,
    group: &GroupHeader,
    at: u64,
    visit: &mut dyn FnMut(Record<'_>),
    lost: &mut dyn FnMut(u64, std::ops::Range<u64>),
) {
    let end = group.first + u64::from(group.count);
    let base = at + GROUP_HEADER as u64;
    let (mut place, mut sequence) = (0, group.first);
    while sequence < end {
        match format::record(&payload[place..], salt, sequence) {
            Ok(record) => {
                let offset = base + (place + format::RECORD_HEADER) as u64;
                visit(Record { sequence, offset, payload: record });
                place += format::RECORD_HEADER + record.len();
            }
            Err((_, Some(length))) => {
                lost(base + place as u64, sequence..sequence + 1);
                place += length;
            }
            Err((_, None)) => {
                lost(base + place as u64, sequence..end);
                return;
            }
        }
        sequence += 1;
    }
}

fn only_zeros(window: &mut Window, from: u64) -> std::io::Result<bool> {
    let mut at = from;
    while at < window.length {
        let length = usize::try_from(window.length - at).unwrap_or(CHUNK).min(CHUNK);
        if window.get(at, length)?.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
}

/// A part of a file that is read ahead.
struct Window {
    file: File,
    length: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// These bytes of the file, or as many of them as there are.
    fn get(&mut self, at: u64, length: usize) -> std::io::Result<&[u8]> {
        let inside = at >= self.start && at + length as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            let rest = usize::try_from(self.length.saturating_sub(at)).unwrap_or(CHUNK);
            self.bytes.resize(length.max(CHUNK.min(rest)), 0);
            let read = read_up_to(&self.file, &mut self.bytes, at)?;
            self.bytes.truncate(read);
            self.start = at;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        let until = from.saturating_add(length).min(self.bytes.len());
        Ok(self.bytes.get(from..until).unwrap_or_default())
    }

    /// Everything from here on.
    fn rest(&self, at: u64) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length.saturating_sub(at)).unwrap_or(0)];
        let read = read_up_to(&self.file, &mut bytes, at)?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

fn read_up_to(file: &File, into: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}
