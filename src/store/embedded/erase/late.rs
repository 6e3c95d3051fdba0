//! Erasures of the last day, for what was received before one and is stored after it.
//!
//! They are kept in a file as well: what waits in the queue is worked on after a restart.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Patient;
use crate::auth::CompanyId;
use crate::store::embedded::events::{first_id_of, received_ms};
use crate::store::embedded::journal::{Op, write_json};

/// Beside the journal's segments.
const FILE: &str = "erasures.json";
/// How many are known at most: the oldest go first.
const MOST: usize = 10_000;
/// How long each is known, whatever the clock is set to meanwhile.
const KNOWN: Duration = Duration::from_hours(24);

/// Patients that were erased. An event that was received earlier may still be in its plugin when its patient is erased: when
/// it is stored, that must be known. No plugin call, with its time in the queue, takes a day.
#[derive(Debug, Default)]
pub(in crate::store::embedded) struct Erasures {
    /// The journal's directory.
    dir: PathBuf,
    recent: RwLock<Vec<Erasure>>,
    /// The newest of them, in milliseconds since 1970: what was received later need not be looked at.
    newest: AtomicI64,
    /// When the newest of the events that were stored was received, in milliseconds since 1970: the clock may be behind.
    received: AtomicI64,
    /// Events that were stored as erased, and whose earlier records still have what was sent.
    late: Mutex<BTreeSet<Uuid>>,
    /// Held while the file is written, and taken first: commits that only look wait for no disk.
    saving: Mutex<()>,
}

#[derive(Debug)]
struct Erasure {
    patient: Arc<Patient>,
    /// What was received up to then is erased.
    at: DateTime<Utc>,
    begun: Instant,
}

/// What the file has.
#[derive(Default, Serialize, Deserialize)]
struct Saved {
    /// Each with the time up to which what was received is erased.
    patients: Vec<(DateTime<Utc>, CompanyId, String)>,
    late: BTreeSet<Uuid>,
    /// Those of `patients`, by their places, whose leading zeros do not count.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    any_leading_zeros: BTreeSet<usize>,
}

impl Erasures {
    /// Those of before a restart. Each counts for another day.
    ///
    /// # Errors
    /// Where the file is there and cannot be read: what was erased could come back.
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

    /// Keeps this patient's erasure. When it answers, it is known after a restart, too.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(super) fn begin(&self, patient: Arc<Patient>, at: DateTime<Utc>) -> std::io::Result<()> {
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

    /// What was sent of these events is to be erased from the records that they have already.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub(in crate::store::embedded) fn are_late(&self, events: &[Uuid]) -> std::io::Result<()> {
        if events.is_empty() {
            return Ok(());
        }
        let _saving = self.saving();
        self.late().extend(events);
        self.save()
    }

    /// The events of which that is still to be done.
    pub(super) fn late(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// That was done for these. Erasures older than a day are forgotten, and nothing of them stays in the file.
    ///
    /// # Errors
    /// Where that cannot be written.
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

    /// Writes what is known, without the locks that commits need.
    fn save(&self) -> std::io::Result<()> {
        let recent = self.recent.read().unwrap_or_else(PoisonError::into_inner);
        let patients = recent.iter().map(|it| (it.at, it.patient.company.clone(), it.patient.id.clone())).collect();
        let any = recent.iter().enumerate().filter(|(_, it)| it.patient.leading_zeros);
        let any_leading_zeros = any.map(|(place, _)| place).collect();
        drop(recent);
        let late = self.late().clone();
        write_json(&self.dir, FILE, &Saved { patients, late, any_leading_zeros })
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
        later.filter(|it| ops().any(|op| it.patient.owns(&op))).map(|it| it.at).next()
    }
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
        let dir = tempfile::TempDir::new().unwrap();
        let erasures = Erasures::read(dir.path()).unwrap();
        let since = |seconds, patient: &str| {
            let id = first_id(at(seconds));
            let key = keys::event(&company, crate::event::EventId(id));
            let value = body(&company, id, patient);
            erasures.since(id, || std::iter::once(Op { kind: Kind::Event, key: &key, value: &value }))
        };
        let begin = |seconds, patient: &str| {
            erasures.begin(Arc::new(Patient::new(company.clone(), patient).unwrap()), at(seconds)).unwrap();
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

    /// Otherwise what was erased comes back, and nobody learns why.
    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::TempDir::new().unwrap();
        std::fs::write(dir.path().join(FILE), "{\"patients\":[").unwrap();
        let error = Erasures::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("remove it"), "{error}");
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
