//! Replays the journal's records. Missing records are always reported.

use super::scan::{self, Lost, Record, Scanned};
use super::segments::Segments;
use super::survey::Accepted;
use crate::store::error::Damage;

/// Visits every record from `from` to `until`, in order. Returns the places where records are missing or damaged,
/// except accepted losses: a view without them must not be considered complete.
///
/// # Errors
/// Fails if a segment cannot be read.
pub(in super::super) fn replay(
    segments: &Segments,
    salt: u32,
    (from, until): (u64, u64),
    accepted: &Accepted,
    visit: &mut dyn FnMut(Record<'_>),
) -> std::io::Result<Vec<Damage>> {
    let list = segments.list();
    let mut lost = Vec::new();
    for (index, segment) in list.iter().enumerate() {
        // This segment must reach up to the beginning of the next one.
        let end = list.get(index + 1).map_or(u64::MAX, |it| it.first).min(until.saturating_add(1));
        if end <= from || segment.first > until {
            continue;
        }
        let scanned = scan::scan(&segment.path, salt, segment.first, u64::MAX, &mut |record| {
            if (from..=until).contains(&record.sequence) {
                visit(record);
            }
        })?;
        lost.extend(missing(scanned, end, &segment.path.file_name().unwrap_or_default().to_string_lossy()));
    }
    // A group that is being written now comes after `until` and is not a loss.
    lost.retain(|it| it.until > from && it.from <= until && !accepted.covers(it));
    Ok(lost.into_iter().map(|it| it.damage).collect())
}

/// Returns what a segment has lost, including its end.
fn missing(scanned: Scanned, end: u64, segment: &str) -> Vec<Lost> {
    let Scanned { next, end: at, mut lost, tail } = scanned;
    if next < end && end != u64::MAX {
        let cause = "the segment ends before its last record".to_owned();
        let damage = tail.unwrap_or_else(|| Damage { segment: segment.to_owned(), offset: at, cause });
        lost.push(Lost { damage, from: next, until: end });
    }
    lost
}
