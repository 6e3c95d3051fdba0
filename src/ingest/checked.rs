//! From a payload that its schema accepts to tasks that can be stored.

use std::sync::Arc;

use serde_json::Value;

use super::Stop;
use super::outcome::Ready;
use crate::event::RawEvent;
use crate::integration::{Integration, Redact};
use crate::payload::{Encoding, Loosened, Payload, Rules};
use crate::plugin::Outcome;
use crate::schema::{Schema, Violation};
use crate::task::NewTask;

/// A payload that has passed its integration's schema.
#[derive(Debug)]
pub struct CheckedPayload {
    text: Arc<str>,
    loosened: Loosened,
}

impl CheckedPayload {
    /// A delivery's. What was replaced in it fits whatever the schema says: nobody can tell any more.
    ///
    /// # Errors
    /// Every violation at once.
    pub fn of(integration: &Integration, raw: &RawEvent, payload: Payload) -> Result<Self, Stop> {
        let then = Redact::new(&raw.redacted);
        let replaced = |it: &Violation| integration.redact.covers(&it.pointer) || then.covers(&it.pointer);
        Self::check(payload, &integration.schema, replaced)
    }

    /// A payload that is no delivery.
    ///
    /// # Errors
    /// Every violation at once.
    pub fn example(integration: &Integration, mut value: Value) -> Result<Self, Stop> {
        integration.redact.apply(&mut value);
        let payload = Payload { value, encoding: Encoding::Json, loosened: Loosened::default() };
        Self::check(payload, &integration.schema, |it| integration.redact.covers(&it.pointer))
    }

    fn check(payload: Payload, schema: &Schema, replaced: impl Fn(&Violation) -> bool) -> Result<Self, Stop> {
        if let Err(mut violations) = schema.check(&payload.value) {
            violations.retain(|it| !replaced(it));
            if !violations.is_empty() {
                return Err(Stop::Schema(violations));
            }
        }
        Ok(Self { text: payload.value.to_string().into(), loosened: payload.loosened })
    }

    /// The JSON that the plugin gets.
    #[must_use]
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// `log` is the plugin's.
    pub(super) fn ready(self, outcome: Outcome, log: String, rules: &Rules) -> Result<Ready, Stop> {
        let mut ready = Ready { tasks: Vec::new(), skip: None, loosened: self.loosened, plugin_log: log };
        match outcome {
            Outcome::Skip(reason) => ready.skip = Some(reason),
            Outcome::Tasks(values) if values.is_empty() => return Err(Stop::Output(Vec::new())),
            Outcome::Tasks(values) => {
                for (index, value) in values.into_iter().enumerate() {
                    ready.tasks.push(output_task(index, value, rules, &mut ready.loosened)?);
                }
            }
        }
        Ok(ready)
    }
}

fn output_task(index: usize, value: Value, rules: &Rules, loosened: &mut Loosened) -> Result<NewTask, Stop> {
    let payload = Payload { value, encoding: Encoding::Json, loosened: Loosened::default() };
    let (task, names) =
        NewTask::parse(payload, rules).map_err(|violations| Stop::Output(in_output(index, violations)))?;
    names.iter().for_each(|name| loosened.add(name));
    Ok(task)
}

/// Pointers into the plugin's output instead of into one task of it.
fn in_output(index: usize, violations: Vec<Violation>) -> Vec<Violation> {
    let named = |it: Violation| Violation {
        pointer: format!("/{index}{}", it.pointer),
        message: format!("task {index}: {}", it.message),
        ..it
    };
    violations.into_iter().map(named).collect()
}
