//! Reading closed segments in the background, so that damage is found before it is needed, and a start need not wait.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::open::write_json;
use super::scan::{self, Lost};
use super::segments::{Segments, expired_is_none};
use super::survey::{Accepted, Found, Survey};
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

/// Reads these segments, newest first. After each of them, `next` gets what is damaged in it, other than what an admin has
/// accepted, and how long reading it took; it says whether to go on.
pub(in super::super) fn verify(
    dir: &Path,
    unverified: &[Unverified],
    (segments, salt): (&Segments, u32),
    next: &mut dyn FnMut(Vec<Damage>, Duration) -> bool,
) -> std::io::Result<()> {
    let accepted = Accepted::read(dir);
    let mut places: Vec<String> = Vec::new();
    for segment in unverified.iter().rev() {
        let started = Instant::now();
        let damages = expired_is_none(segment.damages(salt, &accepted))?.unwrap_or_default();
        if !damages.is_empty() {
            places.extend(damages.iter().map(ToString::to_string));
            write_json(dir, DAMAGED, &places)?;
        }
        if let Some(it) = segments.list().iter().find(|it| it.first == segment.first) {
            expired_is_none(it.index())?;
        }
        if !next(damages, started.elapsed()) {
            break;
        }
    }
    Ok(())
}

impl Unverified {
    fn damages(&self, salt: u32, accepted: &Accepted) -> std::io::Result<Vec<Damage>> {
        let scanned = scan::scan(&self.path, salt, self.first, u64::MAX, &mut |_| {})?;
        let mut lost = scanned.lost;
        if scanned.next < self.next {
            let segment = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let cause = "the segment ends before its last record".to_owned();
            let damage = scanned.tail.unwrap_or(Damage { segment, offset: scanned.end, cause });
            lost.push(Lost { damage, from: scanned.next, until: self.next });
        }
        lost.retain(|it| !accepted.covers(it));
        Ok(lost.into_iter().map(|it| it.damage).collect())
    }
}
