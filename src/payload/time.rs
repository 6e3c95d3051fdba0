//! Deadlines, in every spelling that says exactly one moment.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde_json::Value;

/// Numbers from here on are milliseconds: as seconds they would be past the year 5138.
const MILLIS_FROM: f64 = 1e11;
/// Numbers below are refused: 20261201 is more likely a date than a moment of 1970.
const SECONDS_FROM: f64 = 1e8;

/// Why a value says no moment. Follows the value in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// Nothing known.
    #[error("is not a date-time")]
    Unknown,
    /// Day and month could be either way round.
    #[error("is not clear: day and month could be either way round")]
    Ambiguous,
    /// A number that is no plausible time.
    #[error("is no plausible time in seconds or milliseconds since 1970")]
    Number,
    /// A local time that the change to summer time leaves out.
    #[error("does not exist in the time zone: the clocks skip it")]
    Skipped,
}

impl TimeError {
    /// What to do about it.
    #[must_use]
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Ambiguous => Some("write the year first: 2026-12-01; in n8n, {{ $json.date.toISO() }} does"),
            Self::Number => Some("send RFC 3339 text, or seconds since 1970"),
            Self::Skipped => Some("send the offset, as in 2026-12-01T17:00:00+01:00"),
        }
    }
}

/// RFC 3339 in UTC with `Z`, with as many digits of a second as needed.
#[must_use]
pub fn format_utc(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// The moment, and whether the value had to be read loosely, that is, was not RFC 3339.
///
/// Without an offset, the time is one of `zone`; a date alone is the end of that day (23:59:59).
///
/// # Errors
/// Why it says no moment.
pub fn parse_deadline(value: &Value, zone: Tz) -> Result<(DateTime<Utc>, bool), TimeError> {
    match value {
        Value::String(text) => {
            if let Some(time) = rfc3339(text) {
                return Ok((time, false));
            }
            loose(text.trim(), zone).map(|time| (time, true))
        }
        Value::Number(number) => number.as_f64().map_or(Err(TimeError::Number), unix).map(|time| (time, true)),
        _ => Err(TimeError::Unknown),
    }
}

/// As RFC 3339 section 5.6 has it, with `T`: chrono alone would take a space as well.
fn rfc3339(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    text.as_bytes().get(10).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'T')).then(|| time.to_utc())
}

fn loose(text: &str, zone: Tz) -> Result<DateTime<Utc>, TimeError> {
    if let Some(time) = rfc3339(text).or_else(|| with_offset(text)) {
        return Ok(time);
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(drop).and_then(|date| four_digits(text, date))
    {
        return local(date.and_time(NaiveTime::from_hms_opt(23, 59, 59).unwrap_or_default()), zone);
    }
    const LOCAL: [&str; 4] = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"];
    if let Some(time) = LOCAL.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok()) {
        return if four_digits(text, ()).is_ok() { local(time, zone) } else { Err(TimeError::Unknown) };
    }
    if let Ok(number) = text.parse::<f64>() {
        return unix(number);
    }
    Err(if is_ambiguous(text) { TimeError::Ambiguous } else { TimeError::Unknown })
}

/// `2026-11-24 02:21:05+01:00`, RFC 2822 section 3.3 and HTTP dates (RFC 9110 section 5.6.7), and the text of a
/// JavaScript Date (ECMA-262, Date.prototype.toString).
fn with_offset(text: &str) -> Option<DateTime<Utc>> {
    let parsed = |format| DateTime::parse_from_str(text, format).ok().filter(|_| four_digits(text, ()).is_ok());
    let spaced = ["%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%.f %:z", "%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%dT%H:%M%:z"];
    let script = text.split('(').next().unwrap_or_default().trim();
    spaced
        .into_iter()
        .find_map(parsed)
        .or_else(|| DateTime::parse_from_rfc3339(text).ok())
        .or_else(|| DateTime::parse_from_rfc2822(text).ok())
        .or_else(|| DateTime::parse_from_str(script, "%a %b %d %Y %H:%M:%S GMT%z").ok())
        .map(|time| time.to_utc())
}

/// A year of four digits, and nothing shorter that chrono would also take.
fn four_digits<T>(text: &str, value: T) -> Result<T, ()> {
    let year = text.as_bytes().get(..5).ok_or(())?;
    if year[..4].iter().all(u8::is_ascii_digit) && year[4] == b'-' { Ok(value) } else { Err(()) }
}

/// In the hour that the clocks repeat, the earlier one.
fn local(time: NaiveDateTime, zone: Tz) -> Result<DateTime<Utc>, TimeError> {
    zone.from_local_datetime(&time).earliest().map(|time| time.to_utc()).ok_or(TimeError::Skipped)
}

fn unix(number: f64) -> Result<DateTime<Utc>, TimeError> {
    if !number.is_finite() || number < SECONDS_FROM {
        return Err(TimeError::Number);
    }
    let millis = if number < MILLIS_FROM { number * 1000.0 } else { number };
    // A float holds milliseconds exactly up to the year 287396.
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and checked against the year 9999 below")]
    let time = DateTime::from_timestamp_millis(millis.round() as i64).ok_or(TimeError::Number)?;
    if chrono::Datelike::year(&time) > 9999 { Err(TimeError::Number) } else { Ok(time) }
}

/// Two short numbers and a longer one, or three short ones: `11/24/2026`, `24.11.2026 02:21`, `1-2-26`.
fn is_ambiguous(text: &str) -> bool {
    let date = text.split([' ', 'T', ',']).next().unwrap_or_default();
    let parts: Vec<_> = date.split(['/', '.', '-']).collect();
    parts.len() == 3
        && parts.iter().all(|it| (1..=4).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_digit()))
        && parts[0].len() <= 2
}
