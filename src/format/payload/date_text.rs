//! Parses dates and times as people and databases write them, if they have only one meaning.

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveDateTime, TimeZone as _, Utc, Weekday};

/// Longest text that may be a date, in bytes.
const LONGEST: usize = 80;
/// Notations of a date. The month is a word, or the year comes first.
const DATES: [&str; 7] = ["%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%B %d %Y", "%d %B %Y", "%d-%B-%Y"];
/// Notations of a time.
const TIMES: [&str; 6] = ["%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%H%M%S", "%H%M"];

/// A date, with a time or an offset as far as they are given.
pub(super) enum DateText {
    Date(NaiveDate),
    Local(NaiveDateTime),
    Time(DateTime<Utc>),
}

pub(super) fn parse(text: &str) -> Option<DateText> {
    // A number alone is seconds or milliseconds.
    if text.len() > LONGEST || text.starts_with('+') || text.parse::<f64>().is_ok() {
        return None;
    }
    let (text, weekday) = without_weekday(&plain(text));
    let fits = |date: NaiveDate| (1000..=9999).contains(&date.year()) && weekday.is_none_or(|it| it == date.weekday());
    if let Some(date) = DATES.iter().find_map(|it| NaiveDate::parse_from_str(&text, it).ok()) {
        return fits(date).then_some(DateText::Date(date));
    }
    let (text, offset) = split_offset(&text);
    let time = DATES.iter().find_map(|date| {
        TIMES.iter().find_map(|time| NaiveDateTime::parse_from_str(text, &format!("{date} {time}")).ok())
    });
    let time = time.filter(|it| fits(it.date()))?;
    match offset {
        None => Some(DateText::Local(time)),
        Some(offset) => offset.from_local_datetime(&time).single().map(|it| DateText::Time(it.to_utc())),
    }
}

/// Returns the text with single spaces, and without commas, `at`, `T`, and the ends of `1st` and `Dec.`.
fn plain(text: &str) -> String {
    // Java writes the name of the zone after the offset.
    let text = text.strip_suffix(']').and_then(|it| it.split_once('[')).map_or(text, |(time, _)| time);
    let text = text.replace(',', " ").replace(".m.", "m");
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let lower = word.to_ascii_lowercase();
        let ordinal = ["st", "nd", "rd", "th"].into_iter().find_map(|end| lower.strip_suffix(end));
        let half = ["am", "pm"].into_iter().find_map(|end| lower.strip_suffix(end).map(|hour| (hour, end)));
        match (ordinal.filter(|it| is_number(it)), half) {
            _ if lower == "at" => {}
            (Some(day), _) => words.push(day.to_owned()),
            (None, Some(("", half))) => push_half(&mut words, half),
            (None, Some((hour, half))) if hour.starts_with(|it: char| it.is_ascii_digit()) => {
                words.push(hour.to_owned());
                push_half(&mut words, half);
            }
            _ => match lower.strip_suffix('.').filter(|it| it.bytes().all(|b| b.is_ascii_alphabetic())) {
                Some(month) => words.push(month.to_owned()),
                None => words.extend(split_t(&lower)),
            },
        }
    }
    words.join(" ")
}

/// Adds `am` or `pm`, and the minutes of an hour without them.
fn push_half(words: &mut Vec<String>, half: &str) {
    if let Some(hour) = words.last_mut().filter(|it| is_number(it)) {
        hour.push_str(":00");
    }
    words.push(half.to_owned());
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() <= 2 && text.bytes().all(|it| it.is_ascii_digit())
}

/// Splits the date from the time at the `t` between two digits.
fn split_t(word: &str) -> Vec<String> {
    let digit = |it: Option<char>| it.is_some_and(|it| it.is_ascii_digit());
    match word.split_once('t') {
        Some((date, time)) if digit(date.chars().last()) && digit(time.chars().next()) => {
            vec![date.to_owned(), time.to_owned()]
        }
        _ => vec![word.to_owned()],
    }
}

/// Removes a leading weekday, which must then be the date's.
fn without_weekday(text: &str) -> (String, Option<Weekday>) {
    match text.split_once(' ') {
        Some((first, rest)) if !first.starts_with(|it: char| it.is_ascii_digit()) => match first.parse() {
            Ok(weekday) => (rest.to_owned(), Some(weekday)),
            Err(_) => (text.to_owned(), None),
        },
        _ => (text.to_owned(), None),
    }
}

/// Splits `z`, `utc`, `gmt`, `+01`, `+0100` or `+01:00` from a time. What is not an offset stays, and fits no notation.
fn split_offset(text: &str) -> (&str, Option<FixedOffset>) {
    for name in ["utc", "gmt", "z"] {
        if let Some(time) = text.strip_suffix(name) {
            return (time.trim_end(), FixedOffset::east_opt(0));
        }
    }
    // The signs of a date come before its time.
    let time = text.find(' ').unwrap_or(text.len());
    let sign = text.get(time..).and_then(|it| it.rfind(['+', '-'])).map(|at| time + at);
    let offset = sign.and_then(|at| {
        let digits: String = text.get(at + 1..)?.split(':').collect();
        let (hours, minutes) = match digits.len() {
            2 => (digits.as_str(), "0"),
            4 => digits.split_at(2),
            _ => return None,
        };
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        let seconds = (hours * 60 + minutes) * 60;
        let seconds = if text.get(at..)?.starts_with('-') { -seconds } else { seconds };
        let is_offset = hours < 24 && minutes < 60;
        Some((text.get(..at)?.trim_end(), FixedOffset::east_opt(seconds).filter(|_| is_offset)?))
    });
    offset.map_or((text, None), |(text, offset)| (text, Some(offset)))
}
