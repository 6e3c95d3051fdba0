//! Iterates over stored events and the tasks that they created.

use std::path::Path;

use uuid::Uuid;

use super::data_dir::journal_dir;
use super::horizon::read_horizon;
use super::journal::{JournalHistory, Op, OpKind, ops};
use super::{event_record, keys, record, task_record};
use crate::model::ids::EventId;
use crate::store::error::StoreError;
use crate::store::history::{EventHistory, Packed, Past, Wanted};
use crate::store::id_time::{first_id, first_id_of};

/// The events of a data directory, with or without a running server. Reading changes nothing.
#[derive(Debug)]
pub struct DirHistory {
    journal: JournalHistory,
    /// Lowest id that has not expired.
    lowest: Uuid,
}

/// An operation of the record, and what was sent if another record has it; `None` in it means that the other record
/// has expired.
#[derive(Debug)]
struct PackedEvent {
    op: usize,
    base: Result<Option<Vec<u8>>, String>,
}

impl DirHistory {
    /// Opens the journal of a data directory.
    ///
    /// # Errors
    /// Fails if the directory has no readable journal.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let dir = journal_dir(data_dir);
        let failed = |e: std::io::Error| StoreError::Read(format!("{}: {e}", dir.display()));
        let journal = JournalHistory::open(&dir).map_err(failed)?;
        Ok(Self { journal, lowest: first_id_of(read_horizon(&dir)) })
    }
}

impl EventHistory for DirHistory {
    fn events(&self, wanted: &Wanted) -> u64 {
        self.journal.events(&ids(wanted, self.lowest))
    }

    fn read(&self, wanted: &Wanted, visit: &mut dyn FnMut(u64, Packed) -> bool) -> Result<(), StoreError> {
        let fits = |op: &Op<'_>| {
            keys::is_event_of(&wanted.company, op.key)
                && event_record::integration(op.value) == Some(wanted.integration.as_str())
        };
        let mut met = 0;
        let read = self.journal.visit(&ids(wanted, self.lowest), &mut |record, events| {
            met += events.len() as u64;
            let all = ops(record).unwrap_or_default();
            let fitting = events.iter().filter_map(|it| all.get(*it).filter(|op| fits(op)).map(|op| (*it, op)));
            let events: Vec<_> = fitting.map(|(op, it)| PackedEvent { op, base: self.base(it) }).collect();
            if events.is_empty() {
                return true;
            }
            let (record, count) = (record.to_vec(), events.len());
            visit(std::mem::take(&mut met), Packed::new(count, move || unpack(&record, &events)))
        });
        read.map_err(|e| StoreError::Read(format!("the journal: {e}")))
    }
}

impl DirHistory {
    /// Reads what was sent, if another record has it.
    fn base(&self, op: &Op<'_>) -> Result<Option<Vec<u8>>, String> {
        let Some((company, id)) = keys::parse_event(op.key) else { return Ok(None) };
        let decoded = event_record::decode(op.value, EventId(id), company).map_err(|e| e.to_string())?;
        let Some(base) = decoded.base else { return Ok(None) };
        self.journal.at(base.segment, base.place(), id).map_err(|e| e.to_string())
    }
}

/// Ids of the times of receipt that are wanted, from `lowest` on.
fn ids(wanted: &Wanted, lowest: Uuid) -> std::ops::Range<Uuid> {
    wanted.since.map_or(lowest, |it| first_id(it).max(lowest))..wanted.until.map_or(Uuid::max(), first_id)
}

/// Decodes events of a record.
fn unpack(record: &[u8], events: &[PackedEvent]) -> Result<Vec<Past>, StoreError> {
    let ops = ops(record).unwrap_or_default();
    let found = events.iter().filter_map(|it| Some((ops.get(it.op)?, &it.base)));
    found.filter_map(|(op, base)| past(op, base, &ops).transpose()).collect()
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
        if let Some(op) = all.iter().find(|it| it.kind == OpKind::Insert && it.key == key) {
            tasks.push(task_record::decode(op.value, *id, event.company_id.clone())?.0);
        }
    }
    Ok(Some(Past { event, tasks }))
}
