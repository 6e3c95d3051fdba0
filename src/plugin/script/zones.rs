//! Offsets of time zones, for scripts: the sandbox has no time zone database.

use chrono::{DateTime, Duration, Offset as _, TimeZone as _, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use serde_json::{Map, Value, json};

/// Years whose offsets are known. Before and after them, the nearest known offset applies.
const YEARS: std::ops::Range<i32> = 1970..2051;

/// Returns the offsets of a plugin's zone and of each zone that a text names, by name: the times from which on they
/// apply, in seconds, each with its offset in seconds.
pub(super) fn named<'a>(own: Tz, texts: impl IntoIterator<Item = &'a str>) -> Map<String, Value> {
    let mut zones = vec![own];
    for text in texts {
        // A name such as "GB" is in many texts; only those with a slash are looked for.
        zones.extend(TZ_VARIANTS.iter().filter(|it| it.name().contains('/') && text.contains(it.name())));
    }
    zones.into_iter().map(|it| (it.name().to_owned(), json!(offsets(it)))).collect()
}

/// Finds the changes of a zone's offset: month by month, then to the second.
fn offsets(zone: Tz) -> Vec<[i64; 2]> {
    let at = |time: DateTime<Utc>| i64::from(zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc());
    let months =
        YEARS.flat_map(|year| (1..=12).filter_map(move |month| Utc.with_ymd_and_hms(year, month, 1, 0, 0, 0).single()));
    let mut found: Vec<[i64; 2]> = Vec::new();
    let mut before: Option<DateTime<Utc>> = None;
    for month in months {
        match (before, found.last()) {
            (Some(earlier), Some([_, last])) if at(month) != *last => {
                let (mut low, mut high) = (earlier, month);
                while high - low > Duration::seconds(1) {
                    let middle = low + Duration::seconds((high - low).num_seconds() / 2);
                    if at(middle) == *last { low = middle } else { high = middle }
                }
                found.push([high.timestamp(), at(high)]);
            }
            (None, _) => found.push([month.timestamp(), at(month)]),
            _ => {}
        }
        before = Some(month);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_those_of_the_time_zone_database() {
        let zones = named(Tz::Europe__Berlin, ["const zone = 'America/New_York';"]);
        assert_eq!(zones.keys().collect::<Vec<_>>(), ["Europe/Berlin", "America/New_York"]);
        let berlin = offsets(Tz::Europe__Berlin);
        // 2026-03-29T01:00:00Z and 2026-10-25T01:00:00Z.
        assert!(berlin.contains(&[1_774_746_000, 7200]) && berlin.contains(&[1_792_890_000, 3600]));
        assert_eq!(offsets(Tz::UTC), [[0, 0]]);
    }
}
