//! Export and import, item by item; also for moving to another backend.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use super::audit::audit;
use super::backend::Embedded;
use super::change::{Change, Done, Guard, enters_queue};
use super::journal::{OpKind, ops, replay};
use super::read::{api_keys, read_task};
use super::shared::SharedStore;
use super::{answers, event_record, events, failure, keys, record, task_record};
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus};
use crate::model::ids::EventId;
use crate::model::ids::TaskId;
use crate::model::task::Task;
use crate::store::error::StoreError;
use crate::store::item::{Imported, StoredItem};
use crate::store::verbs::KeyStore as _;

/// Number of entries and tasks that an export reads at once.
const PAGE: usize = 1000;

impl Embedded {
    /// Returns about how many items [`Self::export_all`] visits.
    pub(super) fn count_items(&self) -> u64 {
        let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let tasks: u64 = index.stats().iter().map(|it| it.tasks + it.deleted_tasks).sum();
        tasks + self.shared.segments.event_count() + self.shared.names().count()
    }

    /// Visits recent erasures, API keys, the audit log (newest first), tasks (per company, in the order in which they were
    /// stored), events and first responses. Blocking.
    ///
    /// # Errors
    /// Fails if something cannot be read, or if `visit` returns an error.
    pub(super) fn export_all(
        &self,
        visit: &mut dyn FnMut(StoredItem) -> std::io::Result<()>,
    ) -> Result<(), StoreError> {
        let written = |e: std::io::Error| StoreError::Write(format!("the export cannot be written: {e}"));
        self.shared.settle()?;
        for erasure in self.shared.erasures.recent() {
            visit(StoredItem::Erasure(Box::new(erasure))).map_err(written)?;
        }
        for key in self.shared.view(api_keys)? {
            visit(StoredItem::Key(Box::new(key))).map_err(written)?;
        }
        let mut before = None;
        loop {
            let entries = self.shared.view(|tree| audit(tree, &|_| true, before, PAGE))?;
            let Some(last) = entries.last() else { break };
            before = Some(last.id);
            for entry in entries {
                visit(StoredItem::Audit(Box::new(entry))).map_err(written)?;
            }
        }
        let companies = self.shared.index.read().unwrap_or_else(PoisonError::into_inner).companies();
        for company in companies {
            self.export_tasks(&company, &mut |task| visit(StoredItem::Task(Box::new(task))).map_err(written))?;
        }
        let mut result = Ok(());
        let SharedStore { segments, salt, accepted, .. } = &*self.shared;
        let replayed = replay(segments, *salt, (0, self.shared.acked()), accepted, &mut |found| {
            let (segment, mut at) = (segments.containing(found.sequence), found.offset);
            for op in ops(found.payload).unwrap_or_default() {
                if op.kind == OpKind::Event && result.is_ok() {
                    result = self.newest(op.key, (segment, at)).and_then(|event| match event {
                        Some(event) => visit(StoredItem::Event(Box::new(event))).map_err(written),
                        None => Ok(()),
                    });
                }
                at += op.encoded_len() as u64;
            }
        });
        let lost = replayed.map_err(|e| StoreError::Read(format!("the journal: {e}")))?;
        result?;
        answers::each(&self.shared, &mut |answer| visit(StoredItem::Answer(Box::new(answer))).map_err(written))?;
        if lost.is_empty() { Ok(()) } else { Err(StoreError::Journal(lost)) }
    }

    /// Visits a company's tasks page by page, so that the index's lock is not held and memory is bounded.
    fn export_tasks(
        &self,
        company: &CompanyId,
        visit: &mut dyn FnMut(Task) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut from = Some(0);
        while let Some(row) = from {
            let rows: Vec<_> = {
                let index = self.shared.index.read().unwrap_or_else(PoisonError::into_inner);
                index.company(company).map_or_else(Vec::new, |it| it.ids_from(row).take(PAGE).collect())
            };
            from = rows.last().and_then(|(row, _)| row.checked_add(1));
            for (_, id) in rows {
                // The task may have been purged in the meantime.
                if let Some(task) = self.shared.view(|tree| read_task(tree, company, TaskId(id)))? {
                    visit(task)?;
                }
            }
        }
        Ok(())
    }

    /// Returns an event with what was sent, unless it was stored again after this position: then a later record is
    /// visited. Compares positions and not values, because two erased states may be equal.
    fn newest(&self, key: &[u8], (segment, at): (Option<u64>, u64)) -> Result<Option<Event>, StoreError> {
        let (company, id) =
            keys::parse_event(key).ok_or_else(|| record::damaged("event", &"its key is not an event's"))?;
        let newest = events::newest(&self.shared, key, id)?;
        if newest.is_some_and(|it| Some(it.segment) != segment || u64::from(it.place.offset) != at) {
            return Ok(None);
        }
        Ok(events::one(&self.shared, &company, EventId(id))?.map(|it| it.event))
    }

    /// Stores items that do not exist yet, in one durable group, and returns the others. A key with the hash of
    /// another key is not stored, because it would grant that key's access.
    ///
    /// # Errors
    /// Fails as any write does.
    pub(super) async fn import_items(&self, items: Vec<StoredItem>) -> Result<Imported, StoreError> {
        let (mut events, mut tasks, mut others, mut answers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut erasures = Vec::new();
        let mut owners = if items.iter().any(|it| matches!(it, StoredItem::Key(_))) {
            self.keys().await?.into_iter().map(|it| (it.hash, it.id)).collect()
        } else {
            HashMap::new()
        };
        let mut taken = Imported::default();
        for item in items {
            match item {
                StoredItem::Task(it) => {
                    let key = keys::task(&it.company_id, it.id);
                    tasks.push((it.company_id.clone(), key, task_record::encode(&it)?));
                }
                StoredItem::Event(it) => {
                    let waits = (it.status == EventStatus::Queued).then(|| enters_queue(&it)).transpose()?;
                    events.push(((keys::event(&it.company_id, it.id), event_record::encode(*it)?), waits));
                }
                StoredItem::Key(it) => {
                    if *owners.entry(it.hash).or_insert_with(|| it.id.clone()) == it.id {
                        others.push((keys::api_key(&it.id), record::encode_key(&it)?));
                    } else {
                        taken.skipped += 1;
                        taken.differing.push(format!("api_key {}", it.id));
                    }
                }
                StoredItem::Audit(it) => others.push((keys::audit(it.id), record::encode_audit(&it)?)),
                StoredItem::Answer(it) => answers.push(Guard::imported(*it)?),
                StoredItem::Erasure(it) => erasures.push(*it),
            }
        }
        if !erasures.is_empty() {
            self.read(move |shared| {
                let mut begin = erasures.into_iter().map(|it| shared.erasures.begin(Arc::new(it.patient), it.at));
                begin.try_for_each(|it| it.map_err(|e| failure::io(&e, StoreError::Write)))
            })
            .await?;
        }
        match self.writer.write(Change::Import { events, tasks, others, answers }).await? {
            Done::Imported(mut imported) => {
                imported.skipped += taken.skipped;
                imported.differing.extend(taken.differing);
                Ok(imported)
            }
            _ => Err(StoreError::Write("the writer returned an unexpected result".into())),
        }
    }
}
