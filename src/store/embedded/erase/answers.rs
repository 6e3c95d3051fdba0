//! Erases stored responses: the response to a request with an `Idempotency-Key`, or to a delivery, contains its
//! task.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::store::embedded::backend::Embedded;
use crate::store::embedded::change::{Change, KeyValue};
use crate::store::embedded::journal::{Op, OpKind};
use crate::store::embedded::{answer_record, failure, keys};
use crate::store::erasure::patient::{FoundBy, Patient};
use crate::store::error::StoreError;
use crate::store::idempotency::FirstAnswer;

/// Number of entries that are changed at once.
const CHUNK: usize = 100;

/// Returns whether a response concerns the patient: it belongs to one of these events, or names the patient.
pub(super) fn is_about(patient: &Patient, events: &BTreeMap<Uuid, FoundBy>, answer: &FirstAnswer) -> bool {
    answer.event_id.is_some_and(|id| events.contains_key(&id.0)) || patient.is_answered(&answer.body)
}

/// Returns an operation's value without the responses that concern the patient; `None` if there are none.
pub(super) fn erased(
    op: &Op<'_>,
    patient: &Patient,
    events: &BTreeMap<Uuid, FoundBy>,
    count: &mut u64,
) -> Option<Vec<u8>> {
    let written = matches!(op.kind, OpKind::Insert | OpKind::Replace) && keys::answers_in(op.key).is_some();
    written.then(|| erased_value(op.key, op.value, patient, events, count)).flatten()
}

fn erased_value(
    key: &[u8],
    value: &[u8],
    patient: &Patient,
    events: &BTreeMap<Uuid, FoundBy>,
    count: &mut u64,
) -> Option<Vec<u8>> {
    let mut is_erased = |answer: &FirstAnswer| {
        let about = is_about(patient, events, answer);
        *count += u64::from(about);
        about
    };
    answer_record::erase_answers(value, keys::parse_block(key).is_some(), &mut is_erased)
}

impl Embedded {
    /// Returns the view's entries without the responses that concern the patient, and the number of those
    /// responses.
    pub(super) fn answers_about(
        &self,
        patient: &Patient,
        events: &BTreeMap<Uuid, FoundBy>,
    ) -> Result<(Vec<KeyValue>, u64), StoreError> {
        self.shared.settle()?;
        self.shared.view(|tree| {
            let (mut changed, mut count) = (Vec::new(), 0);
            for prefix in keys::ANSWERS {
                for entry in tree.scan_prefix([prefix]) {
                    let (key, value) = entry.map_err(failure::read)?;
                    if let Some(erased) = erased_value(&key, &value, patient, events, &mut count) {
                        changed.push((key.to_vec(), erased));
                    }
                }
            }
            Ok((changed, count))
        })
    }

    /// Overwrites these entries in the view and the journal, so that a rebuilt view does not have them either.
    pub(super) fn overwrite_answers(&self, changed: Vec<KeyValue>) -> Result<(), StoreError> {
        for chunk in changed.chunks(CHUNK) {
            self.writer.write_blocking(Change::Overwrite(chunk.to_vec()))?;
        }
        Ok(())
    }
}
