//! Finds a patient in operations of the journal.

use uuid::Uuid;

use super::super::journal::{Op, OpKind};
use super::super::{keys, task_record};
use super::overwrite::{decode, event_id};
use crate::model::task::Task;
use crate::store::erasure::patient::{FoundBy, Match, Patient};

/// The patient's event that an operation belongs to, how it was found, and where.
pub(super) type NamedEvent = (Uuid, FoundBy, Vec<Match>);

impl Patient {
    /// Returns whether this operation shows that an event belongs to the patient.
    pub(in crate::store::embedded) fn owns(&self, op: &Op<'_>) -> bool {
        self.named_by(op).is_some()
    }

    /// Returns the event that this operation shows to belong to the patient, and how.
    pub(super) fn named_by(&self, op: &Op<'_>) -> Option<NamedEvent> {
        match op.kind {
            OpKind::Event => {
                let id = event_id(op).filter(|_| keys::is_event_of(&self.company, op.key))?;
                let (found_by, matches) = self.named_in(&decode(op, id)?.event)?;
                Some((id, found_by, matches))
            }
            OpKind::Insert | OpKind::Replace if keys::is_task_of(&self.company, op.key) => {
                let task = self.task(op)?;
                Some((task.event_id.0, FoundBy::Task, vec![self.owns_task(&task)?]))
            }
            OpKind::Insert | OpKind::Replace | OpKind::Delete => None,
        }
    }

    /// Returns the company's task that this operation writes.
    pub(super) fn task(&self, op: &Op<'_>) -> Option<Task> {
        let (company, id) = keys::parse_task(op.key).filter(|_| keys::is_task_of(&self.company, op.key))?;
        task_record::decode(op.value, id, company).ok().map(|(task, _)| task)
    }
}
