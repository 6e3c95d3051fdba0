//! What time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

/// The last second of the year 9999, the last one that RFC 3339 can write.
const LAST: i64 = 253_402_300_799;

/// Whether the clock is at 1970 or later: sled ends in a panic when it is opened earlier than that.
pub(crate) fn is_set() -> bool {
    SystemTime::now() >= UNIX_EPOCH
}

/// Now. chrono's own `now` panics where the clock is before 1970: such a clock counts as 1970 here, and one beyond the year
/// 9999 as its end, as every stored time is in between.
#[must_use]
pub(crate) fn now() -> DateTime<Utc> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(LAST).min(LAST);
    DateTime::from_timestamp(seconds, since.subsec_nanos()).unwrap_or_default()
}
