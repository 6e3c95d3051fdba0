//! Parses deadlines in every notation that is unambiguous.

use chrono::{DateTime, NaiveDateTime, NaiveTime, TimeZone as _, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::date_text;
use super::date_text::DateText;

/// Numbers from here on are milliseconds: as seconds they would be after the year 5138.
const MILLIS_FROM: f64 = 1e11;
/// Smaller numbers are refused: 20261201 is more likely a date than a time in 1970.
const SECONDS_FROM: f64 = 1e8;

/// Why a value is not a valid time. The message follows the value in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The format is not known.
    #[error("is not a date-time")]
    Unknown,
    /// Day and month could be swapped.
    #[error("is ambiguous: it is not clear which is the day and which the month")]
    Ambiguous,
    /// A number that is not a plausible time.
    #[error("is not a plausible time in seconds or milliseconds since 1970")]
    Number,
    /// A local time that is skipped when summer time begins.
    #[error("does not exist in the time zone: the clocks skip it")]
    Skipped,
}

impl TimeError {
    /// Returns what the sender can do about it.
    #[must_use]
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Ambiguous => Some(
                "write the year first, as in 2026-12-01, or the month as a word; in n8n, {{ $json.date.toISO() }} does",
            ),
            Self::Number => Some("send RFC 3339 text, or seconds since 1970"),
            Self::Skipped => Some("send the offset, as in 2026-12-01T17:00:00+01:00"),
        }
    }
}

/// Parses a deadline. Also returns whether it was read loosely, that is, was not RFC 3339.
///
/// Without an offset, the time is in `zone`; a date alone means the end of that day (23:59:59).
///
/// # Errors
/// Why the value is not a valid time.
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

/// Parses RFC 3339 with `T` (section 5.6); chrono alone would accept a space too.
fn rfc3339(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    text.as_bytes().get(10).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'T')).then(|| time.to_utc())
}

fn loose(text: &str, zone: Tz) -> Result<DateTime<Utc>, TimeError> {
    if let Some(time) = rfc3339(text).or_else(|| with_offset(text)) {
        return Ok(time);
    }
    if let Some(time) = date_text::parse(text) {
        return match time {
            DateText::Date(date) => local(date.and_time(NaiveTime::from_hms_opt(23, 59, 59).unwrap_or_default()), zone),
            DateText::Local(time) => local(time, zone),
            DateText::Time(time) => Ok(time),
        };
    }
    if let Ok(number) = text.parse::<f64>() {
        return unix(number);
    }
    Err(if is_ambiguous(text) { TimeError::Ambiguous } else { TimeError::Unknown })
}

/// Parses `2026-11-24 02:21:05+01:00`, RFC 2822 section 3.3, HTTP dates (RFC 9110 section 5.6.7), and the text of a
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

/// Checks that the year has four digits; chrono would accept fewer.
fn four_digits<T>(text: &str, value: T) -> Result<T, ()> {
    let year = text.as_bytes().get(..5).ok_or(())?;
    if year[..4].iter().all(u8::is_ascii_digit) && year[4] == b'-' { Ok(value) } else { Err(()) }
}

/// Converts a local time. In the hour that is repeated when summer time ends, the earlier time is used.
fn local(time: NaiveDateTime, zone: Tz) -> Result<DateTime<Utc>, TimeError> {
    zone.from_local_datetime(&time).earliest().map(|time| time.to_utc()).ok_or(TimeError::Skipped)
}

fn unix(number: f64) -> Result<DateTime<Utc>, TimeError> {
    if !number.is_finite() || number < SECONDS_FROM {
        return Err(TimeError::Number);
    }
    let millis = if number < MILLIS_FROM { number * 1000.0 } else { number };
    // A float is exact for milliseconds up to the year 287396.
    #[expect(clippy::cast_possible_truncation, reason = "rounded, and checked against the year 9999 below")]
    let time = DateTime::from_timestamp_millis(millis.round() as i64).ok_or(TimeError::Number)?;
    if chrono::Datelike::year(&time) > 9999 { Err(TimeError::Number) } else { Ok(time) }
}

/// Returns whether a date has two short numbers and a longer one, or three short ones: `11/24/2026`, `24.11.2026
/// 02:21`, `1-2-26`.
fn is_ambiguous(text: &str) -> bool {
    let date = text.split([' ', 'T', ',']).next().unwrap_or_default();
    let parts: Vec<_> = date.split(['/', '.', '-']).collect();
    parts.len() == 3
        && parts.iter().all(|it| (1..=4).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_digit()))
        && parts[0].len() <= 2
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::time::format_utc;

    fn parsed(value: impl Into<Value>, zone: Tz) -> Result<(String, bool), TimeError> {
        parse_deadline(&value.into(), zone).map(|(time, loose)| (format_utc(time), loose))
    }

    #[track_caller]
    fn assert_utc(value: impl Into<Value>, expected: &str, loose: bool) {
        let value = value.into();
        assert_eq!(parsed(value.clone(), Tz::UTC), Ok((expected.to_owned(), loose)), "{value}");
    }

    /// Only RFC 3339 counts as written precisely; everything else is reported in `X-Loosened`.
    #[test]
    fn rfc_3339_is_precise_and_other_notations_with_an_offset_are_loose() {
        let expected = "2026-12-01T08:00:00Z";
        assert_utc("2026-12-01T09:00:00+01:00", expected, false);
        assert_utc("2026-12-01t08:00:00z", expected, false);
        assert_utc("2026-12-01T08:00:00.125Z", "2026-12-01T08:00:00.125Z", false);
        for text in [
            " 2026-12-01T08:00:00Z ",
            "2026-12-01 09:00:00+01:00",
            "2026-12-01T09:00:00+0100",
            "2026-12-01T09:00+01:00",
            "Tue, 01 Dec 2026 08:00:00 GMT",
            "Tue Dec 01 2026 09:00:00 GMT+0100 (Central European Standard Time)",
        ] {
            assert_utc(text, expected, true);
        }
    }

    /// Otherwise a deadline is hours early or late, or silently moved by a change of the clocks.
    #[test]
    fn a_local_time_is_in_the_zone_and_a_date_means_the_end_of_that_day() {
        let zone = Tz::Europe__Berlin;
        let of = |text: &str| parsed(text, zone).map(|(text, _)| text);
        assert_eq!(of("2026-12-01T09:00"), Ok("2026-12-01T08:00:00Z".into()));
        assert_eq!(of("2026-07-01 09:00:00"), Ok("2026-07-01T07:00:00Z".into()));
        assert_eq!(of("2026-12-01"), Ok("2026-12-01T22:59:59Z".into()));
        // The clocks go from 02:00 to 03:00 on 29 March 2026, and back from 03:00 to 02:00 on 25 October.
        assert_eq!(of("2026-03-29T02:30"), Err(TimeError::Skipped));
        assert_eq!(of("2026-03-29T03:00"), Ok("2026-03-29T01:00:00Z".into()));
        assert_eq!(of("2026-10-25T02:30"), Ok("2026-10-25T00:30:00Z".into()), "the earlier of the two");
    }

    /// Otherwise a deadline that people and databases write is refused, although it has one meaning only.
    #[test]
    fn a_text_with_one_meaning_is_read() {
        for text in [
            "2026-12-01T17:00Z",
            "2026-12-01 17:00 UTC",
            "2026-12-01 17:00:00+00",
            "2026-12-01 17:00:00.000000+00",
            "2026-12-01 18:00:00 +01",
            "2026-12-01T12:00-05",
            "20261201T170000Z",
            "20261201T1700Z",
            "20261201T180000+0100",
            "2026/12/01 17:00Z",
            "2026-12-01 5:00 PM",
            "December 1, 2026 5:00 PM",
            "december 1 2026, 5:00pm",
            "Dec 1 2026 17:00",
            "Dec. 1st, 2026 at 5 PM GMT",
            "Tuesday, December 1, 2026 17:00:00",
            "1 December 2026 17:00",
            "01-Dec-2026 17:00",
            "1 Dec 2026 17:00 UTC",
            "December 1st, 2026 at 5:00 p.m.",
            "2026-12-01T18:00:00+01:00[Europe/Berlin]",
            "2026.12.01 17:00Z",
        ] {
            assert_utc(text, "2026-12-01T17:00:00Z", true);
        }
        for text in ["2026/12/01", "December 1, 2026", "1 December 2026", "Tue 1 Dec 2026", "01-Dec-2026"] {
            assert_utc(text, "2026-12-01T23:59:59Z", true);
        }
        assert_eq!(parsed("Dec 1 2026 17:00", Tz::Europe__Berlin).unwrap().0, "2026-12-01T16:00:00Z");
        for text in [
            "Dec 2026",
            "1 December",
            "December 1, 26",
            "Foo 1, 2026",
            "2026-12-01 17:00 EST",
            "2026-12-01T17:00+",
            "17:00",
            "2026-12-01 25:00",
            "2026-13-01",
            "Dec 32 2026",
            "2026-12-01 13:00 PM",
            "2026-12-01 17:00 +99",
            "+2026-12-01",
            "2026-12-01Z",
            "Monday, December 1, 2026",
        ] {
            assert!(parsed(text, Tz::UTC).is_err(), "{text}");
        }
    }

    /// Otherwise a date without separators, or a number of days, becomes a time in 1970.
    #[test]
    fn numbers_are_seconds_or_milliseconds_within_a_plausible_range() {
        assert_utc(100_000_000, "1973-03-03T09:46:40Z", true);
        assert_utc(99_999_999_999_u64, "5138-11-16T09:46:39Z", true);
        assert_utc(100_000_000_000_u64, "1973-03-03T09:46:40Z", true);
        assert_utc("1796118400.5", "2026-12-01T09:46:40.500Z", true);
        assert_utc(253_402_300_799_999_u64, "9999-12-31T23:59:59.999Z", true);
        for refused in [json!(99_999_999), json!(20_261_201), json!(-1), json!(253_402_300_800_000_u64), json!(1e300)] {
            assert_eq!(parsed(refused.clone(), Tz::UTC), Err(TimeError::Number), "{refused}");
        }
    }

    /// A deadline on the wrong day is worse than a refused one.
    #[test]
    fn ambiguous_and_unknown_notations_are_refused() {
        for text in ["11/12/2026", "01.12.2026 09:00", "1-2-26", "26-12-01"] {
            assert_eq!(parsed(text, Tz::UTC), Err(TimeError::Ambiguous), "{text}");
        }
        for text in ["01/02/2026", "13/02/2026 17:00", "01/02/2026 5:00 PM", "1.2.2026"] {
            assert_eq!(parsed(text, Tz::UTC), Err(TimeError::Ambiguous), "{text}");
        }
        for value in [json!("tomorrow"), json!(""), json!("226-12-01T09:00"), json!(true), json!(null)] {
            assert_eq!(parsed(value.clone(), Tz::UTC), Err(TimeError::Unknown), "{value}");
        }
    }
}
