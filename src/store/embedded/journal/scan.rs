//! Reads a segment from its first byte to its last and reports what it contains.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::format::{self, GROUP_HEADER, GroupHeader, SEGMENT_HEADER, SegmentHeader};
use crate::store::error::Damage;

/// Number of bytes that are read at a time.
const CHUNK: usize = 1 << 20;

/// An intact record.
#[derive(Debug)]
pub(in super::super) struct Record<'a> {
    pub(in super::super) sequence: u64,
    /// Offset of the payload in its segment.
    pub(in super::super) offset: u64,
    pub(in super::super) payload: &'a [u8],
}

/// Acknowledged changes that cannot be read: their place, and their sequences from the first up to the next
/// readable one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) damage: Damage,
    pub(super) from: u64,
    pub(super) until: u64,
}

/// Content of a segment.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The sequence after the last intact record.
    pub(super) next: u64,
    /// The offset after the last intact group.
    pub(super) end: u64,
    /// Losses in the segment.
    pub(super) lost: Vec<Lost>,
    /// Damage after `end`; `None` if there is nothing, or only zeros.
    pub(super) tail: Option<Damage>,
}

/// Returns a segment's header, if it is intact.
pub(super) fn header(path: &Path) -> std::io::Result<Option<SegmentHeader>> {
    let mut bytes = [0; SEGMENT_HEADER];
    let read = read_up_to(&File::open(path)?, &mut bytes, 0)?;
    Ok(SegmentHeader::decode(&bytes[..read]))
}

/// Visits every intact record of a segment, in order. A damaged group is a torn tail if nothing follows it and none
/// of it was acknowledged (a crash cut it off); otherwise it is a loss.
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
                    // The group was durable, according to a later group or the mark, so its intact records count.
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

/// Returns whether a later group begins after this one. If so, this one was durable before that was written.
fn follows(window: &mut Window, at: u64, salt: u32, group: &GroupHeader) -> std::io::Result<bool> {
    let rest = window.rest(at)?;
    Ok(GroupHeader::find(&rest, 1, salt, group.first + u64::from(group.count).max(1)).is_some())
}

/// Returns the group that begins here and its length; or why it is invalid (`None` if no group begins here).
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
    /// Returns these bytes of the file, or fewer at its end.
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

    /// Returns everything from this offset on.
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

#[cfg(test)]
mod tests {
    use super::format::{GroupWriter, Op, OpKind, RECORD_HEADER, split_op};
    use super::*;

    const SALT: u32 = 77;
    /// Bytes of a record with one value of ten bytes.
    const RECORD: usize = RECORD_HEADER + 7 + 1 + 10;

    fn group(salt: u32, first: u64, values: &[[u8; 10]]) -> Vec<u8> {
        let mut writer = GroupWriter::new(salt, first);
        for value in values {
            writer.push([Op { kind: OpKind::Insert, key: b"k", value }], |_, _| {}).unwrap();
        }
        writer.finish().unwrap().0
    }

    /// A segment with three groups, of records 5; 6, 7, 8; and 9. Gives where each begins.
    fn segment() -> (Vec<u8>, [usize; 3]) {
        let header = SegmentHeader { first: 5, created_ms: 0, salt: SALT };
        let groups =
            [group(SALT, 5, &[[5; 10]]), group(SALT, 6, &[[6; 10], [7; 10], [8; 10]]), group(SALT, 9, &[[9; 10]])];
        let mut bytes = header.encode().to_vec();
        let starts = groups.map(|group| {
            bytes.extend_from_slice(&group);
            bytes.len() - group.len()
        });
        (bytes, starts)
    }

    /// What a scan of these bytes visits and reports. `acked`: the last sequence that the mark says was acknowledged.
    fn scanned(bytes: &[u8], acked: u64) -> (Vec<u64>, Scanned) {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("5.journal");
        std::fs::write(&path, bytes).unwrap();
        let mut seen = Vec::new();
        let result = scan(&path, SALT, 5, acked, &mut |record| {
            let at = usize::try_from(record.offset).unwrap();
            assert_eq!(&bytes[at..at + record.payload.len()], record.payload, "the offset is the payload's");
            let value = split_op(record.payload).unwrap().0.value;
            assert_eq!(value, [u8::try_from(record.sequence).unwrap(); 10]);
            seen.push(record.sequence);
        });
        (seen, result.unwrap())
    }

    fn lost(scanned: &Scanned) -> Vec<(u64, u64, u64)> {
        scanned.lost.iter().map(|it| (it.damage.offset, it.from, it.until)).collect()
    }

    /// Zeros are the preallocated rest of a segment; a start that took them for damage would refuse a healthy journal.
    #[test]
    fn an_intact_segment_is_read_to_its_zeros() {
        let (mut bytes, _) = segment();
        let end = bytes.len() as u64;
        bytes.resize(bytes.len() + (2 << 20), 0);
        let (seen, result) = scanned(&bytes, 0);
        assert_eq!(seen, [5, 6, 7, 8, 9]);
        assert_eq!((result.next, result.end, result.lost.len(), result.tail), (10, end, 0, None));
    }

    /// A crash cuts off the last group. Taking that for a loss would keep the server from starting after every crash; and
    /// taking an acknowledged group for cut off would lose it silently.
    #[test]
    fn a_damaged_last_group_is_a_tail_unless_it_was_acknowledged() {
        let (bytes, starts) = segment();
        let start = starts[2] as u64;
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        for cut in [damaged.clone(), bytes[..bytes.len() - 1].to_vec(), bytes[..starts[2] + 3].to_vec()] {
            let (seen, result) = scanned(&cut, 8);
            assert_eq!(seen, [5, 6, 7, 8]);
            assert_eq!((result.next, result.end, lost(&result).len()), (9, start, 0));
            assert_eq!(result.tail.unwrap().offset, start);
        }
        let (seen, result) = scanned(&damaged, 9);
        assert_eq!((seen, result.next, &result.tail), (vec![5, 6, 7, 8], 10, &None));
        assert_eq!(lost(&result), [(start + GROUP_HEADER as u64, 9, 10)]);
    }

    /// A later group proves that this one was durable: what of it cannot be read is lost, and must be reported.
    #[test]
    fn in_a_damaged_group_before_another_the_intact_records_count_and_the_others_are_lost() {
        let (bytes, starts) = segment();
        let second_record = starts[1] + GROUP_HEADER + RECORD;
        // A flipped bit in its value: the records around it are found by their lengths.
        let mut flipped = bytes.clone();
        flipped[second_record + RECORD - 1] ^= 1;
        let (seen, result) = scanned(&flipped, 0);
        assert_eq!((seen, result.next), (vec![5, 6, 8, 9], 10));
        assert_eq!(lost(&result), [(second_record as u64, 7, 8)]);
        // A length that is wrong: nothing shows where the next record begins.
        let mut longer = bytes;
        longer[second_record + 2] = 1;
        let (seen, result) = scanned(&longer, 0);
        assert_eq!((seen, result.next), (vec![5, 6, 9], 10));
        assert_eq!(lost(&result), [(second_record as u64, 7, 9)]);
    }

    /// Without this, one damaged sector hides everything that was stored after it.
    #[test]
    fn after_a_damaged_header_the_next_group_is_found() {
        let (mut bytes, starts) = segment();
        bytes[starts[1] + 5] ^= 1;
        let (seen, result) = scanned(&bytes, 0);
        assert_eq!((seen, result.next, &result.tail), (vec![5, 9], 10, &None));
        assert_eq!(lost(&result), [(starts[1] as u64, 6, 9)]);
    }

    /// A body may contain bytes that look like a group. Only this journal's salt makes them one.
    #[test]
    fn a_group_with_another_salt_or_an_older_sequence_is_not_taken_for_one() {
        let (mut bytes, starts) = segment();
        bytes.truncate(starts[1]);
        for imitation in [group(SALT + 1, 6, &[[6; 10]]), group(SALT, 4, &[[4; 10]])] {
            let (seen, result) = scanned(&[&bytes[..], &[1], &imitation].concat(), 0);
            assert_eq!((seen, result.next), (vec![5], 6));
            assert_eq!(result.tail.unwrap().offset, starts[1] as u64);
        }
    }
}
