//! Erasures of the last day, for what was received before one and is stored after it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use super::Patient;
use crate::store::embedded::events::first_id_of;
use crate::store::embedded::journal::Op;

/// How many are known at most: the oldest go first.
const MOST: usize = 10_000;

/// Patients that were erased. An event that was received earlier may still be in its plugin when its patient is erased: when
/// it is stored, that must be known. No plugin call, with its time in the queue, takes a day.
#[derive(Debug, Default)]
pub(in crate::store::embedded) struct Erasures {
    recent: RwLock<Vec<(DateTime<Utc>, Arc<Patient>)>>,
    /// The newest of them, in milliseconds since 1970: what was received later need not be looked at.
    newest: AtomicI64,
}

impl Erasures {
    pub(super) fn begin(&self, patient: Arc<Patient>, at: DateTime<Utc>) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(then, it)| at - *then < Duration::days(1) && !it.is_same(&patient));
        if recent.len() >= MOST {
            recent.remove(0);
        }
        recent.push((at, patient));
        self.newest.fetch_max(at.timestamp_millis(), Ordering::Release);
    }

    /// When the patient of one of these operations was erased, if that was after the event with this id was received.
    pub(in crate::store::embedded) fn since<'a, I: Iterator<Item = Op<'a>>>(
        &self,
        event: Uuid,
        ops: impl Fn() -> I,
    ) -> Option<DateTime<Utc>> {
        let received_before = |millis: i64| event < first_id_of(millis.saturating_add(1));
        if !received_before(self.newest.load(Ordering::Acquire)) {
            return None;
        }
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let later = recent.iter().filter(|(at, _)| received_before(at.timestamp_millis()));
        later.filter(|(_, patient)| ops().any(|op| patient.owns(&op).is_some())).map(|(at, _)| *at).next()
    }
}
