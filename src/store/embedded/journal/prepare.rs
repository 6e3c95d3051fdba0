//! Prepares segments in advance: a segment is filled with zeros, so that a write into it changes no metadata and
//! its fdatasync writes only the data, and so that unused space can be distinguished from a torn group
//! (docs/decisions/0015).

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::allocate::allocate;
use super::segments::Segments;

/// File extension of a prepared segment.
const READY: &str = "ready";
const MAKING: &str = "next.tmp";
const CHUNK: usize = 1 << 20;

/// A thread that prepares the next segment, and one that writes the event indexes of full segments. Dropping this
/// ends both: an unfinished segment is discarded, and due indexes are written.
#[derive(Debug)]
pub(super) struct Preparer {
    ready: Option<Receiver<std::io::Result<(File, PathBuf)>>>,
    seal: Option<Sender<u64>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        (self.ready, self.seal) = (None, None);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the journal panicked");
            }
        }
    }
}

impl Preparer {
    pub(super) fn start(dir: PathBuf, bytes: u64, segments: Arc<Segments>) -> std::io::Result<Self> {
        let (made, ready) = bounded(0);
        let (seal, to_seal) = unbounded();
        let sealer = move |to_seal: Receiver<u64>| {
            let mut waiting = Vec::new();
            while let Ok(first) = to_seal.recv() {
                waiting.push(first);
                // An index that cannot be written stays in memory. It is tried again with the next one, or created
                // at the next start.
                waiting.retain(|first| {
                    let log = |e: &std::io::Error| tracing::warn!(cause = %e, "an event index cannot be written");
                    segments.seal(*first).inspect_err(log).is_err()
                });
            }
        };
        let sealing = std::thread::Builder::new().name("journal-seal".into()).spawn(move || sealer(to_seal))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let make = move || {
            // Each segment has a name of its own, because the previous one may not be renamed yet.
            let (mut waiting, mut number) = left_over(&dir, bytes);
            loop {
                let path = dir.join(format!("{number:06}.{READY}"));
                let file = waiting.take().map_or_else(|| ready_file(&dir, &path, bytes, &stopped), Ok);
                if made.send(file).is_err() {
                    break;
                }
                number += 1;
            }
        };
        let making = std::thread::Builder::new().name("journal-prepare".into()).spawn(make)?;
        Ok(Self { ready: Some(ready), seal: Some(seal), stop, threads: vec![sealing, making] })
    }

    /// Returns the next segment's file and its temporary name, if it is ready.
    pub(super) fn take(&self) -> Option<std::io::Result<(File, PathBuf)>> {
        self.ready.as_ref()?.try_recv().ok()
    }

    pub(super) fn seal(&self, first: u64) {
        let _ended = self.seal.as_ref().map(|it| it.send(first));
    }
}

/// Returns a prepared segment of an earlier run, and a number that no prepared segment has.
fn left_over(dir: &Path, bytes: u64) -> (Option<(File, PathBuf)>, u64) {
    let (mut found, mut number) = (None, 0);
    for path in std::fs::read_dir(dir).into_iter().flatten().flatten().map(|it| it.path()) {
        if path.extension().is_none_or(|it| it != READY) {
            continue;
        }
        let own: u64 = path.file_stem().and_then(|it| it.to_str()).and_then(|it| it.parse().ok()).unwrap_or(0);
        number = number.max(own + 1);
        let file = File::options().read(true).write(true).open(&path);
        match file {
            Ok(file) if found.is_none() && file.metadata().is_ok_and(|it| it.len() == bytes) => {
                found = Some((file, path))
            }
            _ => drop(std::fs::remove_file(&path)),
        }
    }
    (found, number)
}

fn ready_file(dir: &Path, path: &Path, bytes: u64, stop: &AtomicBool) -> std::io::Result<(File, PathBuf)> {
    let making = dir.join(MAKING);
    let made = (|| {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&making)?;
        allocate(&file, bytes)?;
        let zeros = vec![0; CHUNK];
        let mut at = 0;
        while at < bytes {
            if stop.load(Ordering::Acquire) {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            let length = usize::try_from(bytes - at).unwrap_or(CHUNK).min(CHUNK);
            file.write_all_at(&zeros[..length], at)?;
            at += length as u64;
            // In small pieces, because a large sync would delay the journal's own.
            file.sync_data()?;
        }
        file.sync_all()?;
        std::fs::rename(&making, path)?;
        Ok((file, path.to_owned()))
    })();
    if made.is_err() {
        let _frees_the_space = std::fs::remove_file(&making);
    }
    made
}
