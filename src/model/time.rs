//! Times as they are stored and written.

use chrono::{DateTime, SecondsFormat, SubsecRound as _, Utc};
use serde::Serializer;

/// Returns the current time in whole milliseconds, so that stored times equal those in responses.
#[must_use]
pub fn now() -> DateTime<Utc> {
    crate::system::clock::now().trunc_subsecs(3)
}

/// Returns whether a time can be stored, and written as RFC 3339: in the years 1970 to 9999.
#[must_use]
pub fn is_storable(time: DateTime<Utc>) -> bool {
    (0..253_402_300_800).contains(&time.timestamp())
}

/// Formats a time as RFC 3339 in UTC with `Z`, with as many digits of a second as needed.
#[must_use]
pub fn format_utc(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Serializes a time as RFC 3339 in UTC with `Z`.
pub(crate) fn utc<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_utc(*time))
}

pub(crate) fn utc_or_null<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => utc(time, serializer),
        None => serializer.serialize_none(),
    }
}
