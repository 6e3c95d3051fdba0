//! Reads a task out of a decoded payload.

use serde::Serialize;
use serde_json::Value;

use super::payload;
use super::payload::{Loosened, Payload, Rules};
use super::schema::{Violation, Violations, cut};
use crate::model::task::NewTask;
use crate::system::nearest::nearest;

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

/// A field that a plugin's task has and the task schema does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub(crate) struct IgnoredField {
    /// Number of the first task that has it.
    pub(crate) task: usize,
    /// Its name.
    pub(crate) field: String,
    /// The field that was probably meant.
    pub(crate) did_you_mean: Option<&'static str>,
}

/// Returns the fields of these tasks that are ignored when they are stored, each once.
pub(crate) fn ignored_fields(tasks: &[Value]) -> Vec<IgnoredField> {
    let mut found: Vec<IgnoredField> = Vec::new();
    for (task, value) in tasks.iter().enumerate() {
        for field in value.as_object().into_iter().flatten().map(|(name, _)| name) {
            if !payload::is_task_field(field) && !found.iter().any(|it| it.field == *field) {
                let did_you_mean = nearest(field, payload::task_field_names());
                found.push(IgnoredField { task, field: field.clone(), did_you_mean });
            }
        }
    }
    found
}

impl std::fmt::Display for IgnoredField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\" of task {} is not a field of a task", cut(&self.field), self.task)?;
        self.did_you_mean.map_or(Ok(()), |it| write!(f, " (did you mean \"{it}\"?)"))
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
