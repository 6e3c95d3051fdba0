//! What a power cut leaves of a directory: names and bytes that were synced, and any part of the rest.
//!
//! Of a file, what was written since its last sync may be lost, in any order and in pieces. Of a directory's names,
//! the last changes since its last sync may be lost; earlier ones are not lost before later ones, as file systems
//! with a journal promise.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Pieces of a write that can be lost without the rest of it.
const PIECE: u64 = 4096;

/// What the library logged: one call.
enum Call {
    Write { offset: u64, length: u64, size: u64, old: Vec<u8> },
    Truncate { length: u64, size: u64, old: Vec<u8> },
    Sync { upto: u64 },
    Create { path: PathBuf },
    MakeDir { path: PathBuf },
    Unlink { path: PathBuf, kept: PathBuf },
    RemoveDir { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
}

struct Record {
    /// Where it begins in the log.
    at: u64,
    /// Of the file; of the directories, where it is about names.
    inodes: [u64; 3],
    call: Call,
}

fn parse(log: &[u8]) -> Vec<Record> {
    let (mut records, mut at) = (Vec::new(), 0);
    let number = |at: usize| u64::from_ne_bytes(log[at..at + 8].try_into().unwrap());
    while at + 56 <= log.len() {
        let n: Vec<u64> = (0..7).map(|index| number(at + index * 8)).collect();
        let first = &log[at + 56..at + 56 + n[5] as usize];
        let second = &log[at + 56 + n[5] as usize..at + 56 + (n[5] + n[6]) as usize];
        let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
        let (inodes, call) = match n[0] {
            1 => ([n[1], 0, 0], Call::Write { offset: n[2], size: n[3], length: n[4], old: first.to_vec() }),
            2 => ([n[1], 0, 0], Call::Truncate { length: n[2], size: n[3], old: first.to_vec() }),
            3 => ([n[1], 0, 0], Call::Sync { upto: n[2] }),
            4 => ([0, n[2], 0], Call::Create { path: path(first) }),
            5 => ([0, n[2], 0], Call::MakeDir { path: path(first) }),
            6 => ([n[1], n[2], 0], Call::Unlink { path: path(first), kept: path(second) }),
            7 => ([n[1], n[2], 0], Call::RemoveDir { path: path(first) }),
            8 => ([n[1], n[2], n[3]], Call::Rename { from: path(first), to: path(second) }),
            other => panic!("the shim logged a call of kind {other}"),
        };
        records.push(Record { at: at as u64, inodes, call });
        at += 56 + (n[5] + n[6]) as usize;
    }
    records
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// Changes the files below `dir` into what a power cut may leave of them; says how much was lost. The log's first
/// `all_synced` bytes are about what is durable in any case.
pub(super) fn cut(dir: &Path, undo: &Path, log: &[u8], all_synced: u64, seed: Option<u64>) -> String {
    let mut random = Random(seed.unwrap_or(0));
    let everything = seed.is_none();
    let records = parse(log);
    let mut synced: HashMap<u64, u64> = HashMap::new();
    for record in &records {
        if let Call::Sync { upto } = record.call {
            synced.insert(record.inodes[0], upto);
        }
    }
    let durable = |record: &Record, inode: u64| {
        record.at < all_synced || synced.get(&inode).is_some_and(|upto| record.at < *upto)
    };
    let (writes, names): (Vec<&Record>, Vec<&Record>) = records
        .iter()
        .filter(|it| !matches!(it.call, Call::Sync { .. }))
        .partition(|it| matches!(it.call, Call::Write { .. } | Call::Truncate { .. }));
    let lost = writes.into_iter().filter(|it| !durable(it, it.inodes[0])).collect::<Vec<_>>();
    // Nothing, some or most of it comes through.
    let chance = if everything { 0 } else { [0, 0, 50, 95][random.below(4) as usize] };
    let kept = lose_writes(dir, undo, &lost, chance, &mut random);
    let unsynced: Vec<&Record> = names
        .into_iter()
        .filter(|it| !it.inodes[1..].iter().filter(|inode| **inode != 0).all(|inode| durable(it, *inode)))
        .collect();
    let mut keep = if everything { 0 } else { random.below(unsynced.len() as u64 + 1) as usize };
    // A rename that replaces a file is logged as two changes, and happens whole or not at all.
    if let (Some(Call::Unlink { path, .. }), Some(Call::Rename { to, .. })) =
        (keep.checked_sub(1).map(|it| &unsynced[it].call), unsynced.get(keep).map(|it| &it.call))
        && path == to
    {
        keep -= 1;
    }
    unsynced[keep..].iter().rev().for_each(|it| undo_name(&it.call));
    format!(
        "of {} unsynced writes {kept} were kept, and of {} unsynced changes of names the first {keep}",
        lost.len(),
        unsynced.len()
    )
}

/// Takes all of them back, and does so many in a hundred again, in whole or in part; gives how many.
fn lose_writes(dir: &Path, undo: &Path, lost: &[&Record], chance: u64, random: &mut Random) -> usize {
    let mut paths = HashMap::new();
    find(dir, &mut paths);
    find(undo, &mut paths);
    let open = |record: &Record| -> Option<File> {
        let path = paths.get(&record.inodes[0])?;
        Some(OpenOptions::new().read(true).write(true).open(path).unwrap())
    };
    let mut new = Vec::new();
    for record in lost.iter().rev() {
        let Some(file) = open(record) else { continue };
        match &record.call {
            Call::Write { offset, length, size, old } => {
                let now = file.metadata().unwrap().len();
                let mut bytes = vec![0; now.saturating_sub(*offset).min(*length) as usize];
                file.read_exact_at(&mut bytes, *offset).unwrap();
                new.push((*record, bytes));
                file.write_all_at(old, *offset).unwrap();
                file.set_len(*size).unwrap();
            }
            Call::Truncate { length, size, old } => {
                new.push((*record, Vec::new()));
                file.set_len(*size).unwrap();
                file.write_all_at(old, *length).unwrap();
            }
            _ => {}
        }
    }
    let torn = random.below(2) == 0;
    let mut kept = 0;
    for (record, bytes) in new.into_iter().rev() {
        if random.below(100) >= chance {
            continue;
        }
        let Some(file) = open(record) else { continue };
        kept += 1;
        match &record.call {
            Call::Write { offset, .. } => write_pieces(&file, &bytes, *offset, torn.then_some(&mut *random)),
            Call::Truncate { length, .. } => file.set_len(*length).unwrap(),
            _ => {}
        }
    }
    kept
}

fn write_pieces(file: &File, bytes: &[u8], offset: u64, torn: Option<&mut Random>) {
    let Some(random) = torn else { return file.write_all_at(bytes, offset).unwrap() };
    let (mut at, end) = (offset, offset + bytes.len() as u64);
    while at < end {
        let until = ((at / PIECE + 1) * PIECE).min(end);
        if random.below(3) > 0 {
            file.write_all_at(&bytes[(at - offset) as usize..(until - offset) as usize], at).unwrap();
        }
        at = until;
    }
}

/// Every file by its inode.
fn find(dir: &Path, paths: &mut HashMap<u64, PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_dir() {
            find(&path, paths);
        } else {
            paths.insert(metadata.ino(), path);
        }
    }
}

/// What was never done, as the process ended before it, need not be undone.
fn undo_name(call: &Call) {
    let _may_not_be_there = match call {
        Call::Create { path } => std::fs::remove_file(path),
        // With something in it that was synced, it is there.
        Call::MakeDir { path } => std::fs::remove_dir(path),
        Call::Unlink { path, kept } if !path.exists() => std::fs::hard_link(kept, path),
        Call::RemoveDir { path } => std::fs::create_dir(path),
        Call::Rename { from, to } if !from.exists() => std::fs::rename(to, from),
        _ => Ok(()),
    };
}
