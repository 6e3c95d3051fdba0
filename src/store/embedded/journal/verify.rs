//! Reading closed segments in the background, so that damage is found before it is needed, and a start need not wait.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::format::ops;
use super::index_file::{index_is, index_path, write_index};
use super::open::write_json;
use super::scan::{self, Lost};
use super::survey::{Accepted, Found, Survey, collect_events, newest};
use crate::store::Damage;

/// What the last verification found: the next start reads everything, and refuses to serve what is damaged.
pub(super) const DAMAGED: &str = "damaged.json";

/// A closed segment that was not read when the journal was opened.
#[derive(Debug, Clone)]
pub(in super::super) struct Unverified {
    path: PathBuf,
    first: u64,
    next: u64,
}

impl Survey {
    pub(super) fn unverified(&self) -> Vec<Unverified> {
        let skipped = self.segments.iter().filter(|it| matches!(it.events, Found::Indexed(_)));
        skipped.map(|it| Unverified { path: it.path.clone(), first: it.first, next: it.next }).collect()
    }
}

/// Whether an earlier verification found damage in this journal.
pub(in super::super) fn known_damaged(dir: &Path) -> bool {
    dir.join(DAMAGED).exists()
}

/// Reads these segments, newest first, and gives what is damaged, other than what an admin has accepted. Rests as long
/// after each segment as reading it took. Ends early, without a result, once `stop` says so.
pub(in super::super) fn verify(
    dir: &Path,
    unverified: &[Unverified],
    salt: u32,
    stop: &dyn Fn(Duration) -> bool,
) -> std::io::Result<Vec<Damage>> {
    let accepted = Accepted::read(dir);
    let mut found: Vec<Damage> = Vec::new();
    for segment in unverified.iter().rev() {
        let started = Instant::now();
        match segment.damages(salt, &accepted) {
            // It has expired meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
            Ok(damages) if damages.is_empty() => {}
            Ok(damages) => {
                found.extend(damages);
                let places: Vec<String> = found.iter().map(ToString::to_string).collect();
                write_json(dir, DAMAGED, &places)?;
            }
        }
        if stop(started.elapsed()) {
            break;
        }
    }
    Ok(found)
}

impl Unverified {
    fn damages(&self, salt: u32, accepted: &Accepted) -> std::io::Result<Vec<Damage>> {
        let mut events = Vec::new();
        let scanned = scan::scan(&self.path, salt, self.first, u64::MAX, &mut |record| {
            collect_events(&record, &ops(record.payload).unwrap_or_default(), &mut events);
        })?;
        let name = || self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut lost = scanned.lost;
        if scanned.next < self.next || scanned.tail.is_some() {
            let cause = "the segment ends before its last record".to_owned();
            let damage = scanned.tail.unwrap_or_else(|| Damage { segment: name(), offset: scanned.end, cause });
            lost.push(Lost { damage, from: scanned.next.min(self.next), until: self.next });
        }
        lost.retain(|it| !accepted.covers(it));
        let mut events = newest(events);
        if lost.is_empty() && !index_is(&index_path(&self.path), &mut events, scanned.next, scanned.end) {
            tracing::warn!(segment = name(), "a damaged event index was written again from its segment");
            write_index(&index_path(&self.path), events, scanned.next, scanned.end)?;
        }
        Ok(lost.into_iter().map(|it| it.damage).collect())
    }
}
