//! Splits a batch into the texts of its items. Each is then read like a request of its own.

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::content_type::{BodyFormat, ContentType};
use super::decode::unsupported;
use super::decode_error::DecodeError;
use super::decoded::Rules;
use super::json;
use crate::format::schema;

/// Maximum number of items in a batch.
pub const BATCH_ITEMS: usize = 1000;
/// Names of a field that may contain the list.
const NAMES: [&str; 2] = ["tasks", "data"];

/// Returns the items of a JSON array, of an object with an array under `tasks` or `data`, or of JSON lines.
///
/// # Errors
/// Fails if the body is of another kind, or has no items or too many. Invalid JSON in an array makes the whole body
/// invalid; an invalid line affects only itself.
pub fn split(content_type: Option<&str>, body: &Bytes, rules: &Rules) -> Result<Vec<Bytes>, DecodeError> {
    let content_type = content_type.unwrap_or_default();
    let format = ContentType::parse(content_type).format;
    let lines = format == BodyFormat::Lines;
    if rules.strict && !lines && format != BodyFormat::Json {
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
        count if count > BATCH_ITEMS => Err(DecodeError::TooManyItems { count, limit: BATCH_ITEMS }),
        _ => Ok(items.into_iter().map(|item| body.slice_ref(item.as_bytes())).collect()),
    }
}

/// Returns whether the first line is complete JSON, and not the last line.
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
        // A single task, as a workflow sends it if it has only one item.
        None if members.iter().any(|(name, _)| schema::task_create().shape().knows(name)) => Ok(vec![text]),
        None => Err(DecodeError::NotAList),
    }
}

/// Returns the texts of an array's elements; `None` if the array is not valid.
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

/// Returns the names and the values' texts of an object; `None` if the object is not valid.
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

/// Splits the first JSON value from a text.
fn value(text: &str) -> Option<(&str, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let end = values.byte_offset();
    Some((&text[..end], text[end..].trim_start()))
}
