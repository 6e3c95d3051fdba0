//! Where events are found: in the newest segment that has them, by indexes in memory and in files.

use super::super::format::{GroupWriter, Op, SEGMENT_HEADER, SegmentHeader};
use super::*;

const SALT: u32 = 9;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn key(company: &str, n: u128) -> Vec<u8> {
    [company.as_bytes(), id(n).as_bytes()].concat()
}

/// Writes a segment with one group of events: company, number, value.
fn segment(dir: &Path, first: u64, events: &[(&str, u128, &str)]) -> Segment {
    let mut writer = GroupWriter::new(SALT, first);
    let mut open = BTreeMap::new();
    for (company, n, value) in events {
        let key = key(company, *n);
        let op = Op { kind: OpKind::Event, key: &key, value: value.as_bytes() };
        let mut at = 0;
        writer.push([op], |place, _| at = place).unwrap();
        let offset = u32::try_from(SEGMENT_HEADER + at).unwrap();
        open.insert(id(*n), EventPlace { offset, length: u32::try_from(op.encoded_len()).unwrap() });
    }
    let (group, next) = writer.finish().unwrap();
    let header = SegmentHeader { first, created_ms: 0, salt: SALT }.encode();
    let path = dir.join(format!("{first:020}.journal"));
    std::fs::write(&path, [&header[..], &group].concat()).unwrap();
    let end = (header.len() + group.len()) as u64;
    Segment::new(path, (first, 0, SALT), Extent { end, next, events: Events::Open(open) })
}

/// Three segments. Event 1 is stored in the first and again in the third.
fn segments(dir: &Path) -> Segments {
    Segments::new(vec![
        segment(dir, 1, &[("a", 1, "one"), ("a", 3, "three")]),
        segment(dir, 3, &[("b", 5, "five"), ("a", 2, "two")]),
        segment(dir, 5, &[("a", 1, "one again")]),
    ])
}

fn found(segments: &Segments, company: &str, n: u128) -> Option<StoredEvent> {
    segments.any_event(id(n)).unwrap().filter(|(found, _)| *found == key(company, n)).map(|(_, stored)| stored)
}

fn value(segments: &Segments, company: &str, n: u128) -> Option<String> {
    found(segments, company, n).map(|it| String::from_utf8(it.value).unwrap())
}

#[track_caller]
fn assert_found(segments: &Segments) {
    for (n, expected) in [(1, "one again"), (2, "two"), (3, "three")] {
        assert_eq!(value(segments, "a", n).as_deref(), Some(expected));
    }
    assert_eq!(value(segments, "b", 5).as_deref(), Some("five"));
    assert_eq!(value(segments, "a", 5), None, "another company's event");
    assert_eq!(value(segments, "a", 4), None, "no such event");
    assert_eq!(segments.event_count(), 5);
}

/// Otherwise an event shows an old state after a replay, or is not found once its segment is full.
#[test]
fn the_newest_state_of_an_event_is_found_whether_its_segment_is_open_or_sealed() {
    let dir = tempfile::TempDir::new().unwrap();
    let segments = segments(dir.path());
    assert_found(&segments);
    for first in [1, 3] {
        segments.seal(first).unwrap();
        assert_found(&segments);
    }
    let closed = segments.closed();
    let ranges: Vec<_> = closed.iter().map(|it| (it.first, it.range)).collect();
    assert_eq!(ranges, [(1, Some((id(1), id(3)))), (3, Some((id(2), id(5))))]);
    let with = |ids: &[u128]| {
        let found = segments.closed_with(&ids.iter().map(|it| id(*it)).collect()).unwrap();
        found.into_iter().map(|(first, _)| first).collect::<Vec<_>>()
    };
    assert_eq!((with(&[1, 4]), with(&[2, 3]), with(&[4])), (vec![1], vec![1, 3], vec![]));
}

/// Otherwise a file that a disk has damaged hides events that the journal still has.
#[test]
fn an_index_that_is_missing_damaged_or_of_another_segment_is_written_again() {
    let dir = tempfile::TempDir::new().unwrap();
    for spoil in [
        &(|path: &Path| std::fs::remove_file(path).unwrap()) as &dyn Fn(&Path),
        &|path| std::fs::write(path, b"HMEVIX02").unwrap(),
        &|path| {
            let mut bytes = std::fs::read(path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
        &|path| {
            std::fs::copy(path.with_file_name(format!("{:020}.events", 3)), path).unwrap();
        },
    ] {
        let segments = segments(dir.path());
        [1, 3].into_iter().for_each(|first| segments.seal(first).unwrap());
        let list = segments.list();
        spoil(&index_path(&list[0].path));
        // As after a start: nothing of it was verified yet.
        *list[0].verified.lock().unwrap() = false;
        assert_found(&segments);
        assert_eq!(verify(&index_path(&list[0].path)).unwrap().unwrap().range, Some((id(1), id(3))));
    }
}

/// Expiry removes files while readers still have the list: that is an event that has expired, and not an error.
#[test]
fn events_of_a_segment_whose_file_is_gone_have_expired() {
    let dir = tempfile::TempDir::new().unwrap();
    let segments = segments(dir.path());
    segments.seal(1).unwrap();
    let oldest = segments.list()[0].path.clone();
    std::fs::remove_file(index_path(&oldest)).unwrap();
    std::fs::remove_file(&oldest).unwrap();
    assert_eq!(value(&segments, "a", 3), None);
    std::fs::remove_file(&segments.list()[2].path).unwrap();
    assert_eq!(value(&segments, "a", 1), None, "its index is in memory");
    let place = EventPlace { offset: 60, length: 20 };
    assert_eq!(segments.at(1, place, id(3)).unwrap(), None);
    assert_eq!(segments.at(2, place, id(3)).unwrap(), None, "no segment begins there");
    assert_eq!(segments.take_oldest(1).len(), 1);
    assert_eq!(segments.oldest().unwrap().1, 3);
    assert_eq!(value(&segments, "a", 2).as_deref(), Some("two"));
}

/// A record's place may be wrong, after a damage: another event's value must not be given for it.
#[test]
fn a_place_at_which_another_event_is_stored_is_an_error() {
    let dir = tempfile::TempDir::new().unwrap();
    let segments = segments(dir.path());
    let of_three = found(&segments, "a", 3).unwrap();
    assert_eq!(segments.at(of_three.segment, of_three.place, id(3)).unwrap().unwrap(), b"three");
    assert!(segments.at(of_three.segment, of_three.place, id(1)).is_err());
}

/// A snapshot is taken, and a segment is removed, by these numbers.
#[test]
fn sequences_lead_to_their_segments_and_to_the_bytes_after_them() {
    let dir = tempfile::TempDir::new().unwrap();
    let segments = segments(dir.path());
    let containing: Vec<_> = (0..7).map(|it| segments.containing(it)).collect();
    assert_eq!(containing, [None, Some(1), Some(1), Some(3), Some(3), Some(5), Some(5)]);
    let (files, next) = segments.files();
    let ends: Vec<u64> = files.iter().map(|(_, _, end)| *end).collect();
    assert_eq!((files.len(), next), (3, 6));
    assert_eq!(segments.bytes_after(0), ends.iter().sum::<u64>());
    assert_eq!(segments.bytes_after(2), ends[1] + ends[2], "sequence 2 is the first segment's last");
    assert_eq!((segments.bytes_after(4), segments.bytes_after(5)), (ends[2], 0));
}

/// A backup that has the end of one moment and the next sequence of another says that a record is missing.
#[test]
fn ends_and_the_next_sequence_are_of_one_moment() {
    let dir = tempfile::TempDir::new().unwrap();
    let segments = segments(dir.path());
    let (files, first) = segments.files();
    let end = files[2].2;
    let written = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..200_000 {
                segments.list()[2].change(|it| (it.end, it.next) = (it.end + 1, it.next + 1));
            }
            written.store(true, std::sync::atomic::Ordering::Release);
        });
        while !written.load(std::sync::atomic::Ordering::Acquire) {
            let (files, next) = segments.files();
            assert_eq!(files[2].2 - end, next - first);
        }
    });
}
