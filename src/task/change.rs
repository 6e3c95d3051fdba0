//! A request to change a task, checked.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{TaskPatch, unreadable};
use crate::payload::{self, Loosened, Payload, Rules};
use crate::schema::{Violation, Violations};

/// A change, and the version of the task that it is meant for.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskChange {
    /// What the sender has read.
    pub version: u64,
    /// What is to be different.
    pub patch: TaskPatch,
}

impl TaskChange {
    /// Reads a change out of a decoded payload, as [`NewTask::parse`](super::NewTask::parse) reads a task.
    /// `if_match` is the version in the header of this name. Also gives the names of the fields that were loosened.
    ///
    /// # Errors
    /// Every violation at once, in document order.
    pub fn parse(payload: Payload, if_match: Option<u64>, rules: &Rules) -> Result<(Self, Loosened), Violations> {
        let in_body = payload.value.get("version").is_some_and(|it| !payload::is_blank(it));
        let fields = payload::task_changes(payload, rules);
        let no_version = (!in_body && if_match.is_none()).then(version_missing);
        let (mut canonical, loosened) = match (fields, no_version) {
            (Ok(fields), None) => fields,
            (Ok(_), Some(missing)) => return Err(missing.into()),
            (Err(violations), missing) => {
                return Err(missing.map_or(violations.clone(), |it| violations.and(it.into())));
            }
        };
        let in_body = canonical.shift_remove("version").and_then(|it| it.as_u64());
        let version = match (in_body, if_match) {
            (Some(body), Some(header)) if body != header => return Err(versions_differ(body, header).into()),
            (body, header) => body.or(header).ok_or_else(|| Violations::from(version_missing()))?,
        };
        let patch = serde_json::from_value(Value::Object(canonical)).map_err(|_| Violations::from(unreadable()))?;
        Ok((Self { version, patch }, loosened))
    }
}

fn version_missing() -> Violation {
    Violation {
        pointer: "/version".into(),
        code: "required".into(),
        expected: "the task's version".into(),
        got: None,
        message: "version: required; send the version that the task was read with, as \"version\": 3 in the body or as If-Match: \"3\""
            .into(),
        hint: None,
    }
}

fn versions_differ(body: u64, header: u64) -> Violation {
    Violation {
        pointer: "/version".into(),
        code: "version_differs".into(),
        expected: format!("{header}, as in If-Match"),
        got: Some(body.to_string()),
        message: format!("version: the body says {body} and If-Match says {header}; send one of them"),
        hint: None,
    }
}

/// For fields that null clears: null is a value, and only what is left out is none.
pub(super) fn cleared<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Null is no tags.
pub(super) fn tags<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Option::deserialize(deserializer).map(|tags| Some(tags.unwrap_or_default()))
}
