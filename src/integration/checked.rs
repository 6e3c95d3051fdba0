//! From a payload that matches its schema to tasks that can be stored.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::checks::NotChecked;
use super::live::Integration;
use super::mapped::Ready;
use super::redact::Redact;
use super::stop::{FailedCall, Stop};
use crate::format::payload::{Loosened, Payload};
use crate::format::schema::{Ignored, Unfit, Violation, Violations};
use crate::model::event::RawEvent;
use crate::plugin::{Outcome, PluginError};

/// A payload that has passed its integration's schema.
#[derive(Debug)]
pub(crate) struct CheckedPayload {
    text: Arc<str>,
    loosened: Loosened,
}

impl CheckedPayload {
    /// Checks a delivery's payload. Redacted values are never violations, because the original value is unknown. A
    /// check that takes long runs on another thread, in its integration's turn.
    ///
    /// # Errors
    /// The violations, up to a limit, or why they are not known.
    pub(crate) async fn of(integration: &Integration, raw: &RawEvent, payload: Payload) -> Result<Self, Stop> {
        let replaced = RedactedPlaces::of(integration, raw);
        if let Some(result) = replaced.judge(|ignored| integration.schema.judge_quickly(&payload.value, ignored)) {
            return Self::new(payload, integration, result.map_err(Unfit::Violations));
        }
        let schema = Arc::clone(&integration.schema);
        let check = move || {
            let result = replaced.judge(|ignored| schema.judge(&payload.value, ignored));
            (payload, result)
        };
        match integration.checks.make(&integration.name, check).await {
            Ok((payload, result)) => Self::new(payload, integration, result),
            Err(NotChecked::Busy) => Err(FailedCall::unchecked(PluginError::Busy, integration, raw.id)),
            Err(NotChecked::Failed) => Err(FailedCall::unchecked(PluginError::Host, integration, raw.id)),
        }
    }

    /// Checks a payload on this thread, without a limit for quick checks.
    ///
    /// # Errors
    /// The violations, up to a limit, or that the check takes too long.
    pub(crate) fn rehearsed(integration: &Integration, raw: &RawEvent, payload: Payload) -> Result<Self, Stop> {
        let result =
            RedactedPlaces::of(integration, raw).judge(|ignored| integration.schema.judge(&payload.value, ignored));
        Self::new(payload, integration, result)
    }

    /// Checks a payload that is not a delivery, on this thread.
    ///
    /// # Errors
    /// The violations, up to a limit, or that the check takes too long.
    pub(crate) fn example(integration: &Integration, mut value: Value) -> Result<Self, Stop> {
        integration.redact.apply(&mut value);
        let result = RedactedPlaces { by: vec![integration.redact.clone()] };
        let result = result.judge(|ignored| integration.schema.judge(&value, ignored));
        let payload = Payload::of(value);
        Self::new(payload, integration, result)
    }

    fn new(payload: Payload, integration: &Integration, result: Result<(), Unfit>) -> Result<Self, Stop> {
        match result {
            Ok(()) => Ok(Self { text: payload.value.to_string().into(), loosened: payload.loosened }),
            Err(Unfit::Violations(violations)) => Err(Stop::Schema(violations)),
            Err(Unfit::Time(limit)) => Err(Stop::SchemaTime { plugin: integration.name.clone(), limit }),
        }
    }

    /// Returns the JSON for the plugin.
    #[must_use]
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Returns the names of values that were read loosely.
    pub(super) fn into_loosened(self) -> Loosened {
        self.loosened
    }

    /// Parses the plugin's output. `log` is the plugin's.
    pub(crate) fn ready(
        self,
        outcome: Outcome,
        log: String,
        integration: &Integration,
        received_at: DateTime<Utc>,
    ) -> Result<Ready, Stop> {
        let mut ready = Ready { tasks: Vec::new(), skip: None, loosened: self.loosened, plugin_log: log };
        match outcome {
            Outcome::Skip(reason) => ready.skip = Some(reason),
            Outcome::Tasks(values, _) if values.is_empty() => return Err(Stop::Output(Violations::default())),
            Outcome::Tasks(values, loosened) => {
                loosened.iter().for_each(|name| ready.loosened.add(name));
                for (index, value) in values.into_iter().enumerate() {
                    let task = integration.task(value, received_at);
                    let (task, names) = task.map_err(|it| Stop::Output(in_output(index, it)))?;
                    names.iter().for_each(|name| ready.loosened.add(name));
                    ready.tasks.push(task);
                }
            }
        }
        Ok(ready)
    }
}

/// Converts pointers into one task to pointers into the plugin's output.
fn in_output(index: usize, violations: Violations) -> Violations {
    violations.map(|it| Violation {
        pointer: format!("/{index}{}", it.pointer),
        message: format!("task {index}: {}", it.message),
        ..it
    })
}

/// The redacted places of a payload: by the current settings, and by those at the time of receipt.
struct RedactedPlaces {
    by: Vec<Redact>,
}

impl RedactedPlaces {
    fn of(integration: &Integration, raw: &RawEvent) -> Self {
        let by = [integration.redact.clone(), integration.redact.without_parents(&raw.redacted)];
        Self { by: by.into_iter().filter(|it| !it.is_empty()).collect() }
    }

    fn judge<T>(&self, judge: impl FnOnce(Ignored<'_>) -> T) -> T {
        let covers = |pointer: &str| self.by.iter().any(|it| it.covers(pointer));
        judge(if self.by.is_empty() { None } else { Some(&covers) })
    }
}
