//! A checked request to change a task.

use serde_json::Value;

use super::payload;
use super::payload::{Loosened, Payload, Rules};
use super::schema::{Violation, Violations};
use super::task::unreadable;
use crate::model::task::TaskPatch;

/// A change, and the version of the task that it applies to.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskChange {
    /// Version that the sender has read.
    pub version: u64,
    /// The changed fields.
    pub patch: TaskPatch,
}

impl TaskChange {
    /// Parses a change from a decoded payload, as [`NewTask::parse`](crate::model::task::NewTask::parse) parses a task.
    /// `if_match` is the version in the header of this name. Also returns the names of the fields that were read
    /// loosely.
    ///
    /// # Errors
    /// All violations, in document order.
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
        let in_body = canonical.shift_remove("version").and_then(|it| payload::whole(&it));
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
