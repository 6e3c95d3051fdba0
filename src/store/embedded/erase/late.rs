//! Erasures of the last day, for events that were received before an erasure and are stored after it.
//!
//! They are also stored in a file, because queued events are processed after a restart.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::company::CompanyId;
use crate::store::embedded::journal::{Op, write_json};
use crate::store::erasure::patient::Patient;
use crate::store::id_time::{first_id_of, received_ms};
use crate::store::item::StoredErasure;

/// Name of the file, next to the journal's segments.
const FILE: &str = "erasures.json";
/// Maximum number of erasures kept; the oldest are dropped first.
const MOST: usize = 10_000;
/// How long each erasure is kept, independent of the system clock.
const KNOWN: Duration = Duration::from_hours(24);

/// Recently erased patients. An event that was received earlier may still be in its plugin when its patient is
/// erased, and must then be stored as erased. No plugin call takes a day, including its time in the queue.
#[derive(Debug, Default)]
pub(in crate::store::embedded) struct Erasures {
    /// Directory of the journal.
    dir: PathBuf,
    recent: RwLock<Vec<Erasure>>,
    /// Time of the newest erasure, in milliseconds since 1970. Events received later need no check.
    newest: AtomicI64,
    /// Highest time of receipt of a stored event, in milliseconds since 1970; the clock may be behind it.
    received: AtomicI64,
    /// Events that were stored as erased, but whose earlier records still have what was sent.
    late: Mutex<BTreeSet<Uuid>>,
    /// Held while the file is written; taken first. Commits that only read do not wait for the disk.
    saving: Mutex<()>,
}

#[derive(Debug)]
struct Erasure {
    patient: Arc<Patient>,
    /// Events received up to this time are erased.
    at: DateTime<Utc>,
    begun: Instant,
}

/// Content of the file.
#[derive(Default, Serialize, Deserialize)]
struct Saved {
    /// The patients, each with the time up to which received events are erased.
    patients: Vec<(DateTime<Utc>, CompanyId, String)>,
    late: BTreeSet<Uuid>,
    /// Indexes into `patients` of those whose leading zeros are ignored.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    any_leading_zeros: BTreeSet<usize>,
}

impl Erasures {
    /// Reads the erasures from before a restart. Each is kept for another day.
    ///
    /// # Errors
    /// Fails if the file exists but cannot be read, because erased data could reappear.
    pub(in crate::store::embedded) fn read(dir: &Path) -> std::io::Result<Self> {
        let damaged = |e| {
            let so = "remove it, and erase the patients of the last day once more (`hookmill events erase`)";
            std::io::Error::other(format!("{FILE} in the journal's folder is damaged ({e}): {so}"))
        };
        let saved: Saved = match std::fs::read(dir.join(FILE)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Saved::default(),
            read => serde_json::from_slice(&read?).map_err(damaged)?,
        };
        let newest = saved.patients.iter().map(|(at, ..)| at.timestamp_millis()).max().unwrap_or(0);
        let erasure = |(place, (at, company, id)): (usize, (_, _, String))| {
            let patient = Patient::new(company, &id)?.any_leading_zeros(saved.any_leading_zeros.contains(&place));
            Some(Erasure { patient: Arc::new(patient), at, begun: Instant::now() })
        };
        Ok(Self {
            dir: dir.to_owned(),
            recent: RwLock::new(saved.patients.into_iter().enumerate().filter_map(erasure).collect()),
            newest: AtomicI64::new(newest),
            received: AtomicI64::default(),
            late: Mutex::new(saved.late),
            saving: Mutex::default(),
        })
    }

    /// Registers an erasure. It survives a restart once this returns.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(in crate::store::embedded) fn begin(&self, patient: Arc<Patient>, at: DateTime<Utc>) -> std::io::Result<()> {
        let _saving = self.saving();
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
        drop(recent);
        self.save()
    }

    /// Returns the erasures of the last day.
    pub(in crate::store::embedded) fn recent(&self) -> Vec<StoredErasure> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let known = recent.iter().filter(|it| it.begun.elapsed() < KNOWN);
        known.map(|it| StoredErasure { patient: Patient::clone(&it.patient), at: it.at }).collect()
    }

    /// Registers events whose earlier records must be erased.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(in crate::store::embedded) fn are_late(&self, events: &[Uuid]) -> std::io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let _saving = self.saving();
        self.late().extend(events);
        self.save()
    }

    /// Returns the events whose earlier records must still be erased.
    pub(super) fn late(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes these events, whose earlier records have been erased, and erasures older than a day, also from the
    /// file.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(super) fn settle(&self, done: &BTreeSet<Uuid>) -> std::io::Result<()> {
        let _saving = self.saving();
        let mut recent = self.recent.write().unwrap_or_else(PoisonError::into_inner);
        let before = recent.len();
        recent.retain(|it| it.begun.elapsed() < KNOWN);
        let unchanged = done.is_empty() && recent.len() == before;
        drop(recent);
        self.late().retain(|it| !done.contains(it));
        if unchanged { Ok(()) } else { self.save() }
    }

    fn saving(&self) -> MutexGuard<'_, ()> {
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the file without holding the locks that commits need.
    fn save(&self) -> std::io::Result<()> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let patients = recent.iter().map(|it| (it.at, it.patient.company.clone(), it.patient.id.clone())).collect();
        let any = recent.iter().enumerate().filter(|(_, it)| it.patient.leading_zeros);
        let any_leading_zeros = any.map(|(place, _)| place).collect();
        drop(recent);
        let late = self.late().clone();
        write_json(&self.dir, FILE, &Saved { patients, late, any_leading_zeros })
    }

    /// Returns when the patient of one of these operations was erased, if that was after the event with this id was
    /// received.
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
        later.filter(|it| ops().any(|op| it.patient.owns(&op))).map(|it| it.at).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::company::CompanyId;
    use crate::store::embedded::journal::OpKind;
    use crate::store::embedded::keys;
    use crate::store::id_time::first_id;

    /// If the clock is set back or a day ahead while a delivery is in its plugin, it must still be stored as
    /// erased.
    #[test]
    fn an_erasure_is_known_whatever_the_clock_is_set_to() {
        let at = |seconds: i64| DateTime::UNIX_EPOCH + chrono::Duration::seconds(2_000_000_000 + seconds);
        let company = CompanyId::parse("a").unwrap();
        let dir = tempfile::TempDir::new().unwrap();
        let erasures = Erasures::read(dir.path()).unwrap();
        let since = |seconds, patient: &str| {
            let id = first_id(at(seconds));
            let key = keys::event(&company, crate::model::ids::EventId(id));
            let value = body(&company, id, patient);
            erasures.since(id, || std::iter::once(Op { kind: OpKind::Event, key: &key, value: &value }))
        };
        let begin = |seconds, patient: &str| {
            erasures.begin(Arc::new(Patient::new(company.clone(), patient).unwrap()), at(seconds)).unwrap();
        };
        assert_eq!(since(6, "other-1"), None);
        begin(0, "patient-1");
        assert_eq!(since(5, "patient-1"), Some(at(6)));
        assert_eq!(since(7, "patient-1"), None);
        // A day later: another patient, and the first one again.
        begin(100_000, "patient-2");
        begin(-5, "patient-1");
        assert_eq!(since(5, "patient-1"), Some(at(7)));
        assert_eq!(since(7, "patient-2"), Some(at(100_000)));
    }

    /// Without the error, erased data would reappear unnoticed.
    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::TempDir::new().unwrap();
        std::fs::write(dir.path().join(FILE), "{\"patients\":[").unwrap();
        let error = Erasures::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("remove it"), "{error}");
    }

    fn body(company: &CompanyId, id: Uuid, patient: &str) -> Vec<u8> {
        let integration = crate::model::ids::IntegrationName("tasks".into());
        let reason = crate::model::event::Reason { stage: String::new(), code: String::new(), message: String::new() };
        let id = crate::model::ids::EventId(id);
        let event = crate::model::event::Event::unreadable(company, id, &integration, reason);
        let body = format!("{{\"patient_id\":\"{patient}\"}}").into();
        crate::store::embedded::event_record::encode(crate::model::event::Event { body, ..event }).unwrap()
    }
}
