//! The system clock.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

/// The last second of the year 9999, the maximum of RFC 3339.
const LAST: i64 = 253_402_300_799;

/// Returns whether the clock is at 1970 or later: otherwise, opening sled would panic.
pub(crate) fn is_set() -> bool {
    SystemTime::now() >= UNIX_EPOCH
}

/// Returns the current time. chrono's `now` panics if the clock is before 1970; here such a clock counts as 1970,
/// and one after the year 9999 as its end, so that every time can be stored.
#[must_use]
pub(crate) fn now() -> DateTime<Utc> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(LAST).min(LAST);
    DateTime::from_timestamp(seconds, since.subsec_nanos()).unwrap_or_default()
}
