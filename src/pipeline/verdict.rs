//! The comparable result of a pipeline run.

use crate::integration::mapped::Ready;
use serde_json::{Map, Value, json};

use crate::format::diff::{Differences, differences};
use crate::format::schema::Violation;
use crate::integration::stop::Stop;
use crate::model::event::{Event, EventStatus};
use crate::model::task::NewTask;
use crate::store::Past;

/// The result of a pipeline run.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// These tasks, in the plugin's order.
    Tasks(Vec<NewTask>),
    /// A skip with this reason.
    Skip(String),
    /// A failure.
    Failed(Box<RunFailure>),
    /// Tasks that were created, but changed by a replay since: only whether the other run passes can be compared.
    Lost,
    /// The event was captured, and has no result yet.
    Captured,
}

/// Why a pipeline run failed.
#[derive(Debug, Clone, PartialEq)]
pub struct RunFailure {
    /// The stage that failed.
    pub stage: String,
    /// Code of the error.
    pub code: String,
    /// Message to the sender.
    pub message: String,
    /// Violations in the payload or the output.
    pub violations: Vec<Violation>,
}

/// How a second result differs from the first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize, schemars::JsonSchema,
)]
#[schemars(rename = "Comparison")]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The same tasks, the same skip, or the same kind of failure.
    Same,
    /// Both passed with different results, or both failed for different reasons.
    Changed,
    /// Only the first passed, or the event was captured and has no first result.
    NewlyFailing,
    /// Only the second passed, or the event was captured and has no first result.
    NewlyPassing,
    /// Both passed, but the first result is no longer known.
    Uncompared,
}

impl Verdict {
    /// Returns the result of a run.
    pub(crate) fn of_run(result: &Result<Ready, Stop>) -> Self {
        match result {
            Ok(Ready { skip: Some(reason), .. }) => Self::Skip(reason.clone()),
            Ok(ready) => Self::tasks(ready.tasks.iter().cloned()),
            Err(stop) => Self::stopped(stop),
        }
    }

    /// Returns the stored result of an event; `None` if it was not processed.
    #[must_use]
    pub fn of(past: Past) -> Option<Self> {
        let Past { event, tasks } = past;
        match event.status {
            EventStatus::Stored if tasks.len() < event.task_ids.len() => Some(Self::Lost),
            EventStatus::Stored => Some(Self::tasks(tasks.into_iter().map(NewTask::from))),
            EventStatus::Skipped => Some(Self::Skip(reason(event).message)),
            EventStatus::Quarantined => Some(Self::Failed(Box::new(reason(event)))),
            EventStatus::Captured => Some(Self::Captured),
            EventStatus::Rejected | EventStatus::Duplicate | EventStatus::Queued => None,
        }
    }

    /// Creates a result from tasks. Omitted tags count as no tags.
    pub fn tasks(tasks: impl Iterator<Item = NewTask>) -> Self {
        Self::Tasks(tasks.map(|it| NewTask { tags: Some(it.tags.unwrap_or_default()), ..it }).collect())
    }

    /// Creates a result from a failed run.
    #[must_use]
    pub fn stopped(stop: &Stop) -> Self {
        let violations = if let Stop::Schema(found) | Stop::Output(found) = stop { found.to_vec() } else { Vec::new() };
        let (stage, code) = (stop.stage().to_owned(), stop.code().to_owned());
        Self::Failed(Box::new(RunFailure { stage, code, message: stop.to_string(), violations }))
    }

    /// Compares another result of the same event with this one.
    #[must_use]
    pub fn compare(&self, other: &Self) -> (Class, Differences) {
        let class = match (self, other) {
            (Self::Failed(before), Self::Failed(after)) if before.is_like(after) => Class::Same,
            (Self::Failed(_), Self::Failed(_)) => Class::Changed,
            (Self::Failed(_), _) => Class::NewlyPassing,
            (Self::Captured, Self::Failed(_)) => Class::NewlyFailing,
            (Self::Captured, _) => Class::NewlyPassing,
            (_, Self::Failed(_)) => Class::NewlyFailing,
            (Self::Lost, _) | (_, Self::Lost) => Class::Uncompared,
            (before, after) if before == after => Class::Same,
            _ => Class::Changed,
        };
        let differences = match (self, class) {
            (_, Class::Changed) => differences(&self.json(), &other.json()),
            // Everything that the mapping makes of it.
            (Self::Captured, Class::NewlyPassing) => differences(&Value::Object(Map::new()), &other.json()),
            _ => Differences::default(),
        };
        (class, differences)
    }

    /// Returns the result as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Tasks(tasks) => json!({ "tasks": tasks }),
            Self::Skip(reason) => json!({ "skip": reason }),
            Self::Failed(it) => json!({ "failed": { "stage": it.stage, "code": it.code } }),
            Self::Lost | Self::Captured => Value::Null,
        }
    }
}

impl RunFailure {
    /// Returns whether both failures have the same stage and code. Messages contain sizes and ids, so they are not
    /// compared.
    fn is_like(&self, other: &Self) -> bool {
        (&self.stage, &self.code) == (&other.stage, &other.code)
    }
}

fn reason(event: Event) -> RunFailure {
    let (stage, code, message) = event.reason.map(|it| (it.stage, it.code, it.message)).unwrap_or_default();
    RunFailure { stage, code, message, violations: Vec::new() }
}
