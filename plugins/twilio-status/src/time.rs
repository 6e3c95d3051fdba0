//! Adds hours to a time.

/// Longest time, in hours: a leap year.
const MOST: u32 = 366 * 24;

/// The time this many hours later, in RFC 3339; `None` if it is no time in UTC, or too many hours.
pub fn later(time: &str, hours: u32) -> Option<String> {
    let number = |at: std::ops::Range<usize>| time.get(at)?.parse::<u32>().ok();
    let (mut year, mut month, mut day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let hour = number(11..13)? + hours;
    if hours > MOST || !(1..=12).contains(&month) || !(1..=length(year, month)).contains(&day) {
        return None;
    }
    for _ in 0..hour / 24 {
        day += 1;
        if day > length(year, month) {
            (day, month) = (1, month + 1);
        }
        if month > 12 {
            (month, year) = (1, year + 1);
        }
    }
    Some(format!("{year:04}-{month:02}-{day:02}T{:02}{}Z", hour % 24, time.get(13..19)?))
}

/// The days of a month.
fn length(year: u32, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
