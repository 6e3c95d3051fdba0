//! Stored events with what they made, one after another, for whoever looks at all of them.

use std::path::Path;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::events::{first_id, first_id_of};
use super::journal::{self, Kind, Op, ops};
use super::shared::{journal_dir, read_horizon};
use super::{event_record, keys, record, task_record};
use crate::auth::CompanyId;
use crate::event::{Event, EventId};
use crate::store::StoreError;
use crate::task::Task;

/// The events of a data directory, whether a server runs on it or not. Reading changes nothing.
#[derive(Debug)]
pub struct History {
    journal: journal::History,
    /// What is lower than this is past its retention.
    lowest: Uuid,
}

/// Which of them.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose.
    pub company: CompanyId,
    /// Of this integration.
    pub integration: String,
    /// Received at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Received before this time.
    pub until: Option<DateTime<Utc>>,
}

/// Events that were stored together, not yet decoded: that is for other threads to do.
#[derive(Debug)]
pub struct Packed {
    record: Vec<u8>,
    events: Vec<PackedEvent>,
}

/// An operation of the record, and what was sent where that is stored in another record: none where it has expired.
#[derive(Debug)]
struct PackedEvent {
    op: usize,
    base: Result<Option<Vec<u8>>, String>,
}

/// An event, and what it made.
#[derive(Debug)]
pub struct Past {
    /// As it is now.
    pub event: Event,
    /// Its tasks as they were made, whatever became of them. Fewer than it names where a re-drive has changed them
    /// since.
    pub tasks: Vec<Task>,
}

impl History {
    /// Finds what there is.
    ///
    /// # Errors
    /// Where the directory holds no journal that can be read.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let dir = journal_dir(data_dir);
        let failed = |e: std::io::Error| StoreError::Read(format!("{}: {e}", dir.display()));
        let journal = journal::History::open(&dir).map_err(failed)?;
        Ok(Self { journal, lowest: first_id_of(read_horizon(&dir)) })
    }

    /// How many events [`Self::read`] meets, about.
    #[must_use]
    pub fn events(&self, wanted: &Wanted) -> u64 {
        self.journal.events(&wanted.ids(self.lowest))
    }

    /// Visits those that are wanted, until `visit` gives false. Also says how many events were met on the way to them,
    /// these included.
    ///
    /// # Errors
    /// Where a file cannot be read. What of it is damaged is left out.
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
    /// What was sent, where another record has it.
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
    /// How many events it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.events.len()
    }

    /// The events.
    ///
    /// # Errors
    /// Where this version cannot read one.
    pub fn unpack(&self) -> Result<Vec<Past>, StoreError> {
        let ops = ops(&self.record).unwrap_or_default();
        let found = self.events.iter().filter_map(|it| Some((ops.get(it.op)?, &it.base)));
        found.filter_map(|(op, base)| past(op, base, &ops).transpose()).collect()
    }
}

/// None where what was sent has expired, and the event with it.
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
