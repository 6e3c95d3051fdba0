//! From what a mapping returned to tasks.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::live::Integration;
use crate::format::payload::{Loosened, Payload, is_task_field, task_field_names};
use crate::format::schema::{Violation, Violations};
use crate::model::task::NewTask;
use crate::plugin::{MappingSource, located};
use crate::system::nearest::nearest;

impl Integration {
    /// Reads a task of its mapping's output, with the defaults of plugin.toml. In the output of a script or of
    /// expressions, a field that no task has is a violation, and each violation names its place in what is written.
    ///
    /// # Errors
    /// All violations.
    pub(crate) fn task(&self, value: Value, received_at: DateTime<Utc>) -> Result<(NewTask, Loosened), Violations> {
        let mut value = value;
        let mut unknown = Violations::default();
        if let Value::Object(task) = &mut value {
            self.defaults.fill(task, received_at);
            if self.source().is_some() {
                let names = task.keys().filter(|it| !is_task_field(it));
                unknown = names.map(|it| unknown_field(it)).collect::<Vec<_>>().into();
            }
        }
        match NewTask::parse(Payload::of(value), &self.rules) {
            Ok(read) if unknown.is_empty() => Ok(read),
            Ok(_) => Err(self.located(unknown)),
            Err(found) => Err(self.located(unknown.and(found))),
        }
    }

    fn source(&self) -> Option<&MappingSource> {
        self.plugin.as_ref().and_then(|it| it.source())
    }

    /// Adds the places in a script to violations of its output.
    fn located(&self, violations: Violations) -> Violations {
        let Some(source) = self.source() else { return violations };
        violations.map(|it| {
            let message = it.message.clone();
            let field = it.pointer.split('/').nth(1).filter(|it| !it.is_empty());
            let place = field.and_then(|field| source.place_of_field(field));
            // The place of an expression is its field.
            let begins = field.map(|field| format!("{field}: ")).filter(|_| source.is_expressions());
            let message = begins.and_then(|it| message.strip_prefix(&it)).unwrap_or(&message);
            let has_default = matches!(field, Some("assigned_user_ids" | "created_by_id" | "deadline"));
            let hint = it.hint.clone().or_else(|| {
                (it.code == "required" && has_default).then(|| "plugin.toml can have one in [defaults]".to_owned())
            });
            Violation { message: located(message, place.as_ref()), hint, ..it }
        })
    }
}

fn unknown_field(name: &str) -> Violation {
    let near = nearest(name, task_field_names());
    let meant = near.map_or_else(|| "docs/TASK.md lists the fields".to_owned(), |it| format!("did you mean `{it}`?"));
    Violation {
        pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        code: "unknown_field".into(),
        expected: "a field of a task".into(),
        got: None,
        message: format!("no task has the field `{name}`; {meant}"),
        hint: None,
    }
}
