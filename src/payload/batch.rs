//! A body of many items, cut into the items' own texts: each is read later as a request of its own would be.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::decode::{Kind, kind, unsupported};
use super::{DecodeError, Rules, json};
use crate::schema;

/// Most items in one request.
const MOST: usize = 1000;
/// Under which name a list may stand.
const NAMES: [&str; 2] = ["tasks", "data"];

/// The items of a JSON array, of an object with one under `tasks` or `data`, or of JSON lines.
///
/// # Errors
/// Where the body is none of these, or has no items or too many. An item that is no JSON of a list spoils the
/// whole list; a line that is none spoils nothing but itself.
pub fn split(content_type: Option<&str>, body: &Bytes, rules: &Rules) -> Result<Vec<Bytes>, DecodeError> {
    let content_type = content_type.unwrap_or_default();
    let lines = kind(content_type) == Kind::Lines;
    if rules.strict && !lines && kind(content_type) != Kind::Json {
        return Err(unsupported(content_type));
    }
    let text = std::str::from_utf8(body).map_err(|e| DecodeError::NotUtf8 { offset: e.valid_up_to() })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    let items = if text.is_empty() {
        return Err(DecodeError::Empty);
    } else if lines || is_lines(text) {
        text.lines().map(str::trim).filter(|it| !it.is_empty()).collect()
    } else {
        listed(text)?
    };
    match items.len() {
        0 => Err(DecodeError::NoItems),
        count if count > MOST => Err(DecodeError::TooManyItems { count, limit: MOST }),
        _ => Ok(items.into_iter().map(|item| body.slice_ref(item.as_bytes())).collect()),
    }
}

/// Whether the first line is whole JSON, and not the last one.
fn is_lines(text: &str) -> bool {
    text.split_once('\n').is_some_and(|(first, _)| serde_json::from_str::<IgnoredAny>(first).is_ok())
}

fn listed(text: &str) -> Result<Vec<&str>, DecodeError> {
    let broken = || json::parse(text).err().unwrap_or(DecodeError::NotAList);
    if text.starts_with('[') {
        return elements(text).ok_or_else(broken);
    }
    let members = members(text).ok_or_else(broken)?;
    let list = members.iter().find(|(name, value)| NAMES.contains(name) && value.starts_with('['));
    match list {
        Some((_, list)) => elements(list).ok_or_else(broken),
        // One task, as a workflow sends that had one item only.
        None if members.iter().any(|(name, _)| schema::task_create().shape().knows(name)) => Ok(vec![text]),
        None => Err(DecodeError::NotAList),
    }
}

/// The texts of an array's elements, where it is a whole array.
fn elements(text: &str) -> Option<Vec<&str>> {
    let mut rest = text.strip_prefix('[')?.trim_start();
    let mut items = Vec::new();
    if let Some(end) = rest.strip_prefix(']') {
        return end.trim().is_empty().then_some(items);
    }
    loop {
        let (item, after) = value(rest)?;
        items.push(item);
        match after.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None => return (after.strip_prefix(']')?.trim().is_empty()).then_some(items),
        }
    }
}

/// The names and the values' texts of an object, where it is a whole object.
fn members(text: &str) -> Option<Vec<(&str, &str)>> {
    let mut rest = text.strip_prefix('{')?.trim_start();
    let mut members = Vec::new();
    if let Some(end) = rest.strip_prefix('}') {
        return end.trim().is_empty().then_some(members);
    }
    loop {
        let (name, after) = value(rest)?;
        let (item, after) = value(after.strip_prefix(':')?.trim_start())?;
        members.push((name.strip_prefix('"')?.strip_suffix('"')?, item));
        match after.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None => return (after.strip_prefix('}')?.trim().is_empty()).then_some(members),
        }
    }
}

/// The first JSON value of a text, and what follows it.
fn value(text: &str) -> Option<(&str, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let end = values.byte_offset();
    Some((&text[..end], text[end..].trim_start()))
}
