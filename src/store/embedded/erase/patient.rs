//! What of a journal is a patient's: the events that made tasks for it, and those whose bodies name it.

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::super::journal::{Kind, Op};
use super::super::{keys, task_record};
use super::{decode, event_id};
use crate::auth::CompanyId;
use crate::event::Event;
use crate::payload::{self, Rules};

/// An id this long is looked for anywhere in a body; a shorter one, which may be any number, only where a name says that
/// it is a patient's.
const LONG: usize = 6;

/// Whose data are to be erased.
#[derive(Debug, Clone)]
pub struct Patient {
    pub(super) company: CompanyId,
    pub(super) id: String,
    finder: Finder<'static>,
    events: Vec<u8>,
    tasks: Vec<u8>,
}

/// How an event was found to be a patient's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// It made a task with this `patient_id`.
    Task,
    /// What was sent names the patient.
    Body,
}

impl Patient {
    /// A company's patient, as its tasks and its senders call it; none where the id says nothing.
    #[must_use]
    pub fn new(company: CompanyId, id: &str) -> Option<Self> {
        let id = id.trim().to_owned();
        let (events, tasks) = (keys::events_of(&company), keys::tasks_of(&company));
        (!id.is_empty()).then(|| Self { finder: Finder::new(&id).into_owned(), company, id, events, tasks })
    }

    /// Whether this names the same patient.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.company == other.company && self.id == other.id
    }

    /// The event that this operation shows to be the patient's.
    pub(in crate::store::embedded) fn owns(&self, op: &Op<'_>) -> Option<(Uuid, FoundBy)> {
        match op.kind {
            Kind::Event if op.key.starts_with(&self.events) => {
                let id = event_id(op)?;
                let event = decode(op, id)?;
                self.is_named_in(&event).then_some((id, FoundBy::Body))
            }
            Kind::Insert | Kind::Replace if op.key.starts_with(&self.tasks) => {
                // Decoded only where it can be.
                self.finder.find(op.value)?;
                let (company, id) = keys::parse_task(op.key)?;
                let (task, _) = task_record::decode(op.value, id, company).ok()?;
                (task.patient_id.as_deref() == Some(&self.id)).then_some((task.event_id.0, FoundBy::Task))
            }
            _ => None,
        }
    }

    /// Whether an event is of the patient's company.
    pub(super) fn is_of(&self, event: &Event) -> bool {
        event.company_id == self.company
    }

    fn is_named_in(&self, event: &Event) -> bool {
        if self.id.len() >= LONG && self.stands_in(&event.body) {
            return true;
        }
        // In a form, or written with escapes, it looks different.
        payload::decode(event.content_type.as_deref(), &event.body, &Rules::default())
            .is_ok_and(|it| self.is_in(&it.value, ""))
    }

    /// As a word of its own: patient-10 is not patient-1.
    fn stands_in(&self, body: &[u8]) -> bool {
        let of_a_word = |it: Option<&u8>| it.is_some_and(|it| it.is_ascii_alphanumeric() || *it == b'_' || *it == b'-');
        let is_word = |at: usize| {
            let before = at.checked_sub(1).and_then(|it| body.get(it));
            !of_a_word(before) && !of_a_word(body.get(at + self.id.len()))
        };
        self.finder.find_iter(body).any(is_word)
    }

    fn is_in(&self, value: &Value, name: &str) -> bool {
        let named = || self.id.len() >= LONG || name.to_ascii_lowercase().contains("patient");
        match value {
            Value::Object(map) => map.iter().any(|(name, it)| self.is_in(it, name)),
            Value::Array(items) => items.iter().any(|it| self.is_in(it, name)),
            Value::String(text) => text.trim() == self.id && named(),
            Value::Number(number) => number.to_string() == self.id && named(),
            Value::Null | Value::Bool(_) => false,
        }
    }
}
