//! The journal as it is in `src/`, and one to be damaged.

#[path = "../../../../src/store/embedded/journal/mod.rs"]
mod journal;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use journal::{Accepted, Op, OpKind, Survey, read_only, replay};

const SEGMENT_BYTES: u64 = 2048;

/// A whole journal: its files, and what is in it.
struct Whole {
    files: Vec<(String, Vec<u8>)>,
    payloads: HashMap<u64, Vec<u8>>,
    last: u64,
}

fn written() -> Whole {
    let dir = tempfile::tempdir_in(shm()).expect("a directory");
    let opened = Survey::of(dir.path(), 0).expect("an empty one").open(dir.path(), SEGMENT_BYTES, false);
    let mut journal = opened.expect("a journal").journal;
    for group in 0..14_u8 {
        let mut bytes = journal.group();
        for n in 0..=group % 3 {
            let (key, value) = (vec![n; 1 + usize::from(n)], vec![group; usize::from(group) * 19 % 211]);
            let kind = [OpKind::Insert, OpKind::Replace, OpKind::Delete, OpKind::Event][usize::from(group + n) % 4];
            let op = Op { kind, key: &[key.as_slice(), &[7; 16]].concat(), value: &value };
            bytes.push([op], |_, _| {}).expect("a short group");
        }
        journal.append(bytes, Vec::new()).expect("a durable group");
    }
    let last = journal.last();
    let mut payloads = HashMap::new();
    let (segments, salt) = read_only(dir.path()).expect("segments");
    let lost = replay(&segments, salt, (0, last), &Accepted::default(), &mut |it| {
        payloads.insert(it.sequence, it.payload.to_vec());
    });
    assert!(lost.expect("records").is_empty());
    assert_eq!(payloads.len() as u64, last);
    Whole { files: files(dir.path()), payloads, last }
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(dir).expect("a directory").map(|it| it.expect("an entry").path());
    let wanted = entries.filter(|it| it.ends_with("mark") || it.extension().is_some_and(|it| it == "journal"));
    let mut files: Vec<_> = wanted
        .map(|it| (it.file_name().expect("a name").to_string_lossy().into_owned(), std::fs::read(&it).expect("bytes")))
        .collect();
    files.sort();
    files
}

fn shm() -> PathBuf {
    Some(PathBuf::from("/dev/shm")).filter(|it| it.is_dir()).unwrap_or_else(std::env::temp_dir)
}

/// One edit takes five bytes: which file, where (two), what, and with what.
fn edit(files: &mut [(String, Vec<u8>)], edit: &[u8]) {
    let [file, high, low, what, with] = *edit else { return };
    let count = files.len();
    let bytes = &mut files[usize::from(file) % count].1;
    if bytes.is_empty() {
        return;
    }
    let at = (usize::from(high) << 8 | usize::from(low)) % bytes.len();
    match what % 6 {
        0 => bytes[at] ^= with.max(1),
        1 => bytes.truncate(at),
        2 => bytes[at..].iter_mut().take(usize::from(with)).for_each(|it| *it = 0),
        3 => drop(bytes.drain(at..(at + usize::from(with)).min(bytes.len()))),
        4 => bytes.splice(at..at, std::iter::repeat_n(with, usize::from(with))).for_each(drop),
        // A piece of the journal in another place: whole groups where they do not belong.
        _ => {
            let piece: Vec<u8> = bytes.iter().skip(usize::from(with) * 8).take(256).copied().collect();
            bytes.splice(at..(at + piece.len()).min(bytes.len()), piece).for_each(drop);
        }
    }
}

pub fn run(input: &[u8]) {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    let whole = WHOLE.get_or_init(written);
    let mut files = whole.files.clone();
    for it in input.chunks_exact(5).take(8) {
        edit(&mut files, it);
    }
    let dir = tempfile::tempdir_in(shm()).expect("a directory");
    for (name, bytes) in &files {
        std::fs::write(dir.path().join(name), bytes).expect("a file");
    }
    // The view had seen everything: all of it was acknowledged, whatever the mark says.
    let survey = Survey::of(dir.path(), whole.last).expect("a directory that can be read");
    let (segments, salt) = read_only(dir.path()).expect("a directory that can be read");
    let mut found = 0;
    let lost = replay(&segments, salt, (0, whole.last), &Accepted::default(), &mut |it| {
        found += 1;
        assert_eq!(whole.payloads.get(&it.sequence).map(Vec::as_slice), Some(it.payload), "record {}", it.sequence);
    });
    // A view that is rebuilt from this must not pass for whole.
    let lost = lost.expect("a directory that can be read");
    assert!(found >= whole.last || !lost.is_empty(), "{found} of {}, and nothing was lost", whole.last);
    assert!(found >= whole.last || !survey.damages().is_empty(), "{found} of {}, and no damage", whole.last);
}
