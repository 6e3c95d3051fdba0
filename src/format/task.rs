//! Reads a task out of a decoded payload.

use serde_json::Value;

use super::payload;
use super::payload::{Loosened, Payload, Rules};
use super::schema::{Violation, Violations};
use crate::model::task::NewTask;

impl NewTask {
    /// Parses a task from a decoded payload: converts loose values, and checks the result with the schema. Also
    /// returns the names of the fields that were read loosely.
    ///
    /// # Errors
    /// All violations, in document order.
    pub fn parse(payload: Payload, rules: &Rules) -> Result<(Self, Loosened), Violations> {
        let (canonical, loosened) = payload::task_fields(payload, rules)?;
        match serde_json::from_value(Value::Object(canonical)) {
            Ok(task) => Ok((task, loosened)),
            Err(_) => Err(unreadable().into()),
        }
    }
}

/// The violation for a task that the schema accepts but that cannot be parsed. This is a bug, but no reason to lose
/// the event.
pub(super) fn unreadable() -> Violation {
    Violation {
        pointer: String::new(),
        code: "unreadable".into(),
        expected: "a task".into(),
        got: None,
        message: "body: cannot be read as a task".into(),
        hint: None,
    }
}
