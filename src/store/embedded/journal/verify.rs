//! Verifies closed segments in the background, so that damage is found early and a start need not wait.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::files::write_json;
use super::scan::{self, Lost};
use super::segments::{Segments, expired_is_none};
use super::survey::{Accepted, FoundEvents, Survey};
use crate::store::error::Damage;

/// File with the damage that was found. The next start then reads everything, and refuses to serve damaged data.
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
        let skipped = self.segments.iter().filter(|it| matches!(it.events, FoundEvents::Indexed(_)));
        skipped.map(|it| Unverified { path: it.path.clone(), first: it.first, next: it.next }).collect()
    }
}

/// Returns whether an earlier verification found damage in this journal.
pub(in super::super) fn known_damaged(dir: &Path) -> bool {
    dir.join(DAMAGED).exists()
}

/// Verifies these segments, newest first. After each one, calls `next` with its damage (except accepted losses) and
/// the time that reading took; false stops the verification. A segment that cannot be read counts as damaged.
pub(in super::super) fn verify(
    dir: &Path,
    unverified: &[Unverified],
    (segments, salt): (&Segments, u32),
    next: &mut dyn FnMut(Vec<Damage>, Duration) -> bool,
) {
    let accepted = Accepted::read(dir);
    let mut places: Vec<String> = Vec::new();
    for segment in unverified.iter().rev() {
        let started = Instant::now();
        let damages = segment.damages(salt, &accepted);
        let found = damages.iter().map(ToString::to_string).collect::<Vec<_>>();
        if let Some(it) = segments.list().iter().find(|it| it.first == segment.first)
            && let Err(error) = expired_is_none(it.index())
        {
            tracing::error!(segment = %segment.name(), cause = %error, "an event index cannot be verified");
        }
        // Reported first, so that it counts even if the file cannot be written.
        let go_on = next(damages, started.elapsed());
        if !found.is_empty() {
            places.extend(found);
            if let Err(error) = write_json(dir, DAMAGED, &places) {
                tracing::error!(cause = %error, "the list of damage cannot be written");
            }
        }
        if !go_on {
            break;
        }
    }
}

impl Unverified {
    fn damages(&self, salt: u32, accepted: &Accepted) -> Vec<Damage> {
        let scanned = match expired_is_none(scan::scan(&self.path, salt, self.first, u64::MAX, &mut |_| {})) {
            Ok(Some(scanned)) => scanned,
            Ok(None) => return Vec::new(),
            Err(error) => {
                let cause = format!("it cannot be read: {error}");
                return vec![Damage { segment: self.name(), offset: 0, cause }];
            }
        };
        let mut lost = scanned.lost;
        if scanned.next < self.next {
            let cause = "the segment ends before its last record".to_owned();
            let damage = scanned.tail.unwrap_or(Damage { segment: self.name(), offset: scanned.end, cause });
            lost.push(Lost { damage, from: scanned.next, until: self.next });
        }
        lost.retain(|it| !accepted.covers(it));
        lost.into_iter().map(|it| it.damage).collect()
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that fails for one segment may have lost it. The others must be verified too, and all damage
    /// reported.
    #[test]
    fn a_segment_that_cannot_be_read_is_damaged_and_the_others_are_read() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        // The list of damage cannot be written either.
        std::fs::create_dir(dir.path().join(format!("{DAMAGED}.tmp"))).unwrap();
        let unverified = [("gone", dir.path()), ("older", &file), ("newer", &file)].map(|(name, of)| Unverified {
            path: of.join(name),
            first: 1,
            next: 2,
        });
        let mut found = Vec::new();
        verify(dir.path(), &unverified, (&Segments::default(), 0), &mut |damages, _| {
            found.push(damages.into_iter().map(|it| it.segment).collect::<Vec<_>>());
            true
        });
        assert_eq!(found, [vec!["newer".to_owned()], vec!["older".to_owned()], vec![]]);
    }
}
