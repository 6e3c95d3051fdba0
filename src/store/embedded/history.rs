//! Iterates over stored events and the tasks that they created.

use std::path::Path;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::events::{first_id, first_id_of};
use super::journal::{Kind, Op, ops};
use super::shared::{journal_dir, read_horizon};
use super::{event_record, journal, keys, record, task_record};
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::ids::EventId;
use crate::model::task::Task;
use crate::store::error::StoreError;

/// The events of a data directory, with or without a running server. Reading changes nothing.
#[derive(Debug)]
pub struct History {
    journal: journal::History,
    /// Lowest id that has not expired.
    lowest: Uuid,
}

/// Selection of events.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Company of the events.
    pub company: CompanyId,
    /// Integration of the events.
    pub integration: String,
    /// Earliest time of receipt, inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Latest time of receipt, exclusive.
    pub until: Option<DateTime<Utc>>,
}

/// The events of one record, not decoded yet, so that other threads can decode them.
#[derive(Debug)]
pub struct Packed {
    record: Vec<u8>,
    events: Vec<PackedEvent>,
}

/// An operation of the record, and what was sent if another record has it; `None` in it means that the other record
/// has expired.
#[derive(Debug)]
struct PackedEvent {
    op: usize,
    base: Result<Option<Vec<u8>>, String>,
}

/// An event, and the tasks that it created.
#[derive(Debug)]
pub struct Past {
    /// The current state of the event.
    pub event: Event,
    /// The tasks as they were created. Fewer than the event names if a replay has changed them since.
    pub tasks: Vec<Task>,
}

impl History {
    /// Opens the journal of a data directory.
    ///
    /// # Errors
    /// Fails if the directory has no readable journal.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let dir = journal_dir(data_dir);
        let failed = |e: std::io::Error| StoreError::Read(format!("{}: {e}", dir.display()));
        let journal = journal::History::open(&dir).map_err(failed)?;
        Ok(Self { journal, lowest: first_id_of(read_horizon(&dir)) })
    }

    /// Returns the approximate number of events that [`Self::read`] visits.
    #[must_use]
    pub fn events(&self, wanted: &Wanted) -> u64 {
        self.journal.events(&wanted.ids(self.lowest))
    }

    /// Visits the selected events until `visit` returns false. Its first argument is the number of events examined
    /// so far, including these.
    ///
    /// # Errors
    /// Fails if a file cannot be read. Damaged records are skipped.
    pub fn read(&self, wanted: &Wanted, visit: &mut dyn FnMut(u64, Packed) -> bool) -> Result<(), StoreError> {
        let scope = keys::events_of(&wanted.company);
        let fits = |op: &Op<'_>| {
            op.key.starts_with(&scope) && event_record::integration(op.value) == Some(wanted.integration.as_str())
        };
        let mut met = 0;
        let read = self.journal.visit(&wanted.ids(self.lowest), &mut |record, events| {
            met += events.len() as u64;
            let all = ops(record).unwrap_or_default();
            let fitting = events.iter().filter_map(|it| all.get(*it).filter(|op| fits(op)).map(|op| (*it, op)));
            let events: Vec<_> = fitting.map(|(op, it)| PackedEvent { op, base: self.base(it) }).collect();
            events.is_empty() || visit(std::mem::take(&mut met), Packed { record: record.to_vec(), events })
        });
        read.map_err(|e| StoreError::Read(format!("the journal: {e}")))
    }
}

impl History {
    /// Reads what was sent, if another record has it.
    fn base(&self, op: &Op<'_>) -> Result<Option<Vec<u8>>, String> {
        let Some((company, id)) = keys::parse_event(op.key) else { return Ok(None) };
        let decoded = event_record::decode(op.value, EventId(id), company).map_err(|e| e.to_string())?;
        let Some(base) = decoded.base else { return Ok(None) };
        self.journal.at(base.segment, base.place(), id).map_err(|e| e.to_string())
    }
}

impl Wanted {
    fn ids(&self, lowest: Uuid) -> std::ops::Range<Uuid> {
        self.since.map_or(lowest, |it| first_id(it).max(lowest))..self.until.map_or(Uuid::max(), first_id)
    }
}

impl Packed {
    /// Returns the number of events.
    #[must_use]
    pub fn count(&self) -> usize {
        self.events.len()
    }

    /// Decodes the events.
    ///
    /// # Errors
    /// Fails if this version cannot decode one of them.
    pub fn unpack(&self) -> Result<Vec<Past>, StoreError> {
        let ops = ops(&self.record).unwrap_or_default();
        let found = self.events.iter().filter_map(|it| Some((ops.get(it.op)?, &it.base)));
        found.filter_map(|(op, base)| past(op, base, &ops).transpose()).collect()
    }
}

/// Returns the event with its tasks; `None` if what was sent has expired, and the event with it.
fn past(op: &Op<'_>, base: &Result<Option<Vec<u8>>, String>, all: &[Op<'_>]) -> Result<Option<Past>, StoreError> {
    let (company, id) =
        keys::parse_event(op.key).ok_or_else(|| record::damaged("event", &"its key is not an event's"))?;
    let decoded = event_record::decode(op.value, EventId(id), company)?;
    let Some(event) = decoded.whole(|_| base.clone().map_err(std::io::Error::other))? else { return Ok(None) };
    let mut tasks = Vec::with_capacity(event.task_ids.len());
    for id in &event.task_ids {
        let key = keys::task(&event.company_id, *id);
        if let Some(op) = all.iter().find(|it| it.kind == Kind::Insert && it.key == key) {
            tasks.push(task_record::decode(op.value, *id, event.company_id.clone())?.0);
        }
    }
    Ok(Some(Past { event, tasks }))
}
