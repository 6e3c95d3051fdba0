//! What a line has come to, as far as two of them can be compared.

use serde_json::{Value, json};

use crate::diff::{Differences, differences};
use crate::event::{Event, EventStatus};
use crate::ingest::Stop;
use crate::schema::Violation;
use crate::store::embedded::Past;
use crate::task::NewTask;

/// What a line has come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// These tasks, in the plugin's order.
    Tasks(Vec<NewTask>),
    /// Nothing to do, for this reason.
    Skip(String),
    /// It was stopped.
    Failed(Box<Failure>),
    /// Tasks that were made and changed since, by a re-drive: only whether the other one passes can be compared.
    Lost,
}

/// Why a line was stopped.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The stage that ended it.
    pub stage: String,
    /// The error's code.
    pub code: String,
    /// The sentence that the sender was told.
    pub message: String,
    /// Where the payload or the output is not as it should be.
    pub violations: Vec<Violation>,
}

/// How the second of two lines went, beside the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The same tasks, the same skip, or the same kind of failure.
    Same,
    /// Both passed, with another result; or both failed, for another reason.
    Changed,
    /// The first passed.
    NewlyFailing,
    /// The first failed.
    NewlyPassing,
    /// Both passed, and what the first made is not known any more.
    Uncompared,
}

impl Verdict {
    /// What was stored of an event; none where its line has not been run.
    #[must_use]
    pub fn of(past: Past) -> Option<Self> {
        let Past { event, tasks } = past;
        match event.status {
            EventStatus::Stored if tasks.len() < event.task_ids.len() => Some(Self::Lost),
            EventStatus::Stored => Some(Self::tasks(tasks.into_iter().map(NewTask::from))),
            EventStatus::Skipped => Some(Self::Skip(reason(event).message)),
            EventStatus::Quarantined => Some(Self::Failed(Box::new(reason(event)))),
            EventStatus::Rejected | EventStatus::Duplicate | EventStatus::Queued => None,
        }
    }

    /// Left out tags are none.
    pub fn tasks(tasks: impl Iterator<Item = NewTask>) -> Self {
        Self::Tasks(tasks.map(|it| NewTask { tags: Some(it.tags.unwrap_or_default()), ..it }).collect())
    }

    /// Why a line was stopped.
    #[must_use]
    pub fn stopped(stop: &Stop) -> Self {
        let violations = if let Stop::Schema(found) | Stop::Output(found) = stop { found.to_vec() } else { Vec::new() };
        let (stage, code) = (stop.stage().to_owned(), stop.code().to_owned());
        Self::Failed(Box::new(Failure { stage, code, message: stop.to_string(), violations }))
    }

    /// How another verdict on the same event differs from this one, and where.
    #[must_use]
    pub fn compare(&self, other: &Self) -> (Class, Differences) {
        let class = match (self, other) {
            (Self::Failed(before), Self::Failed(after)) if before.is_like(after) => Class::Same,
            (Self::Failed(_), Self::Failed(_)) => Class::Changed,
            (Self::Failed(_), _) => Class::NewlyPassing,
            (_, Self::Failed(_)) => Class::NewlyFailing,
            (Self::Lost, _) | (_, Self::Lost) => Class::Uncompared,
            (before, after) if before == after => Class::Same,
            _ => Class::Changed,
        };
        let differences =
            if class == Class::Changed { differences(&self.json(), &other.json()) } else { Differences::default() };
        (class, differences)
    }

    /// For people and scripts.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Tasks(tasks) => json!({ "tasks": tasks }),
            Self::Skip(reason) => json!({ "skip": reason }),
            Self::Failed(it) => json!({ "failed": { "stage": it.stage, "code": it.code } }),
            Self::Lost => Value::Null,
        }
    }
}

impl Failure {
    /// Sentences name sizes and ids, and so are not compared.
    fn is_like(&self, other: &Self) -> bool {
        (&self.stage, &self.code) == (&other.stage, &other.code)
    }
}

fn reason(event: Event) -> Failure {
    let (stage, code, message) = event.reason.map(|it| (it.stage, it.code, it.message)).unwrap_or_default();
    Failure { stage, code, message, violations: Vec::new() }
}
