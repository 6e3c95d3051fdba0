//! The file with the time up to which events have expired.

use std::path::Path;

use super::journal::HORIZON;

/// Reads the time up to which events of this journal have expired, in milliseconds since 1970. The file has a
/// number and its CRC-32, little endian. A damaged file hides no event; the next expiry writes it again.
pub(super) fn read_horizon(journal: &Path) -> i64 {
    let bytes = std::fs::read(journal.join(HORIZON)).unwrap_or_default();
    match bytes.split_first_chunk::<8>() {
        Some((millis, crc)) if *crc == crc32fast::hash(millis).to_le_bytes() => i64::from_le_bytes(*millis),
        _ if bytes.is_empty() => i64::MIN,
        _ => {
            tracing::warn!(
                "{HORIZON} in the journal's folder is damaged: expired events may be shown until the next sweep"
            );
            i64::MIN
        }
    }
}

/// Writes that time. A failure is only logged, as the next expiry writes it again.
pub(super) fn write_horizon(journal: &Path, millis: i64) {
    let temporary = journal.join("horizon.tmp");
    let crc = crc32fast::hash(&millis.to_le_bytes()).to_le_bytes();
    let written = std::fs::write(&temporary, [&millis.to_le_bytes()[..], &crc].concat());
    if let Err(error) = written.and_then(|()| std::fs::rename(temporary, journal.join(HORIZON))) {
        tracing::warn!(cause = %error, "the expiry time of events cannot be written");
    }
}
