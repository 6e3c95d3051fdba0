//! Erasures of the last day, for what was received before one and is stored after it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Patient;
use crate::store::embedded::events::first_id_of;
use crate::store::embedded::journal::Op;

/// How many are known at most: the oldest go first.
const MOST: usize = 10_000;
/// How long each is known, whatever the clock is set to meanwhile.
const KNOWN: Duration = Duration::from_hours(24);

/// Patients that were erased. An event that was received earlier may still be in its plugin when its patient is erased: when
/// it is stored, that must be known. No plugin call, with its time in the queue, takes a day.
#[derive(Debug, Default)]
pub(in crate::store::embedded) struct Erasures {
    recent: RwLock<Vec<Erasure>>,
    /// The newest of them, in milliseconds since 1970: what was received later need not be looked at.
    newest: AtomicI64,
    /// When the newest of the events that were stored was received, in milliseconds since 1970: the clock may be behind.
    received: AtomicI64,
    /// Events that were stored as erased, and whose earlier records still have what was sent.
    late: Mutex<BTreeSet<Uuid>>,
}

#[derive(Debug)]
struct Erasure {
    patient: Arc<Patient>,
    /// What was received up to then is erased.
    at: DateTime<Utc>,
    begun: Instant,
}

impl Erasures {
    pub(super) fn begin(&self, patient: Arc<Patient>, at: DateTime<Utc>) {
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|it| it.begun.elapsed() < KNOWN);
        let received = DateTime::from_timestamp_millis(self.received.load(Ordering::Acquire)).unwrap_or_default();
        let earlier = recent.extract_if(.., |it| it.patient.is_same(&patient));
        let at = earlier.map(|it| it.at).fold(at.max(received), DateTime::max);
        if recent.len() >= MOST {
            recent.remove(0);
        }
        recent.push(Erasure { patient, at, begun: Instant::now() });
        self.newest.fetch_max(at.timestamp_millis(), Ordering::Release);
    }

    /// What was sent of this event is to be erased from the records that it has already.
    pub(in crate::store::embedded) fn is_late(&self, event: Uuid) {
        self.late.lock().unwrap_or_else(PoisonError::into_inner).insert(event);
    }

    /// The events of which that is still to be done.
    pub(super) fn take_late(&self) -> BTreeSet<Uuid> {
        std::mem::take(&mut *self.late.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When the patient of one of these operations was erased, if that was after the event with this id was received.
    pub(in crate::store::embedded) fn since<'a, I: Iterator<Item = Op<'a>>>(
        &self,
        event: Uuid,
        ops: impl Fn() -> I,
    ) -> Option<DateTime<Utc>> {
        self.received.fetch_max(received_ms(event), Ordering::AcqRel);
        let received_before = |millis: i64| event < first_id_of(millis.saturating_add(1));
        if !received_before(self.newest.load(Ordering::Acquire)) {
            return None;
        }
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let later = recent.iter().filter(|it| received_before(it.at.timestamp_millis()));
        later.filter(|it| ops().any(|op| it.patient.owns(&op).is_some())).map(|it| it.at).next()
    }
}

/// The time in an id of version 7 (RFC 9562, section 5.7), in milliseconds since 1970.
fn received_ms(id: Uuid) -> i64 {
    i64::try_from(id.as_u128() >> 80).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::CompanyId;
    use crate::store::embedded::events::first_id;
    use crate::store::embedded::journal::Kind;
    use crate::store::embedded::keys;

    /// The clock is set back, or a day ahead, while a delivery is in its plugin: otherwise it is stored whole.
    #[test]
    fn an_erasure_is_known_whatever_the_clock_is_set_to() {
        let at = |seconds: i64| DateTime::UNIX_EPOCH + chrono::Duration::seconds(2_000_000_000 + seconds);
        let company = CompanyId::parse("a").unwrap();
        let erasures = Erasures::default();
        let since = |seconds, patient: &str| {
            let id = first_id(at(seconds));
            let key = keys::event(&company, crate::event::EventId(id));
            let value = body(&company, id, patient);
            erasures.since(id, || std::iter::once(Op { kind: Kind::Event, key: &key, value: &value }))
        };
        let begin = |seconds, patient: &str| {
            erasures.begin(Arc::new(Patient::new(company.clone(), patient).unwrap()), at(seconds));
        };
        assert_eq!(since(6, "other-1"), None);
        begin(0, "patient-1");
        assert_eq!(since(5, "patient-1"), Some(at(6)));
        assert_eq!(since(7, "patient-1"), None);
        // Another day, another patient, and the same one once more.
        begin(100_000, "patient-2");
        begin(-5, "patient-1");
        assert_eq!(since(5, "patient-1"), Some(at(7)));
        assert_eq!(since(7, "patient-2"), Some(at(100_000)));
    }

    fn body(company: &CompanyId, id: Uuid, patient: &str) -> Vec<u8> {
        let integration = crate::event::IntegrationName("tasks".into());
        let reason = crate::event::Reason { stage: String::new(), code: String::new(), message: String::new() };
        let id = crate::event::EventId(id);
        let event = crate::store::embedded::events::unreadable(company, id, &integration, reason);
        let body = format!("{{\"patient_id\":\"{patient}\"}}").into();
        crate::store::embedded::event_record::encode(&crate::event::Event { body, ..event }).unwrap()
    }
}
