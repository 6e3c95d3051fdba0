//! `keep_days`: erases what an integration was sent after the configured time.
//!
//! The age of an event counts from its receipt, wherever its newest state is stored. A closed segment is read once
//! all of its events are old enough, and earlier if it also contains much older events (replays, late results).
//! Ages are taken from event ids and not from the time when a segment was begun, because the clock may have been
//! set in between. The progress is stored in a file, so that nothing is read again after a restart.

use std::collections::{BTreeMap, HashSet};
use std::sync::TryLockError;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::overwrite::{decode, event_id, rewritten};
use crate::store::embedded::backend::Embedded;
use crate::store::embedded::change::Change;
use crate::store::embedded::data_dir::journal_dir;
use crate::store::embedded::journal::{Closed, Op};
use crate::store::embedded::{event_record, events};
use crate::store::erasure::report::Keep;
use crate::store::error::StoreError;
use crate::store::id_time::first_id;

/// An integration with events to erase in one segment.
struct Due<'a> {
    keep: &'a Keep,
    before: Uuid,
    waiting: HashSet<Uuid>,
    erased: HashSet<Uuid>,
}

impl<'a> Due<'a> {
    fn new(keep: &'a Keep, now: DateTime<Utc>) -> Self {
        Self { keep, before: first_id(now - keep.age), waiting: HashSet::new(), erased: HashSet::new() }
    }
}

impl Embedded {
    /// Erases what integrations were sent longer ago than they keep it. Returns the number of events per
    /// integration. Does nothing while a backup or an erasure uses the files; call it again later. Blocking.
    ///
    /// # Errors
    /// Fails as [`Upkeep::erase`](crate::store::Upkeep::erase) does.
    pub(in crate::store::embedded) fn forget_old(
        &self,
        keeps: &[Keep],
        now: DateTime<Utc>,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let Some(slack) = keeps.iter().map(Keep::slack).min() else { return Ok(Vec::new()) };
        // A segment with few writes must be closed at some point, or nothing in it could be erased.
        self.writer.write_blocking(Change::Roll { before_ms: (now - slack).timestamp_millis() })?;
        let _alone = match self.shared.files.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(Vec::new()),
        };
        let queued: HashSet<Uuid> = self.shared.view(events::queued)?.into_iter().map(|(_, id)| id.0).collect();
        let mut forgotten = self.shared.forgotten.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // An event may be stored several times.
        let mut erased: BTreeMap<String, HashSet<Uuid>> = BTreeMap::new();
        let closed = self.shared.segments.closed();
        for segment in &closed {
            let mut due: Vec<Due<'_>> = keeps
                .iter()
                .filter(|keep| forgotten.progress(keep).needs(segment, keep, now, &queued))
                .map(|keep| Due::new(keep, now))
                .collect();
            if due.is_empty() {
                continue;
            }
            self.forget_in(segment, &mut due, now, &queued)?;
            for it in due {
                let progress = forgotten.progress(it.keep);
                progress.done(segment, it.before, it.waiting);
                progress.advance(&closed);
                erased.entry(it.keep.integration.clone()).or_default().extend(it.erased);
            }
            forgotten.write(&journal_dir(&self.shared.dir))?;
        }
        let counts = erased.into_iter().map(|(integration, ids)| (integration, ids.len() as u64));
        Ok(counts.filter(|(_, count)| *count > 0).collect())
    }

    fn forget_in(
        &self,
        segment: &Closed,
        due: &mut [Due<'_>],
        now: DateTime<Utc>,
        queued: &HashSet<Uuid>,
    ) -> Result<(), StoreError> {
        let mut change = |op: &Op<'_>| {
            let id = event_id(op)?;
            let integration = event_record::integration(op.value)?;
            let due = due.iter_mut().find(|it| it.keep.integration == integration && id < it.before)?;
            // A queued event still needs its content; it is erased afterwards.
            if queued.contains(&id) {
                due.waiting.insert(id);
                return None;
            }
            let event = decode(op, id).filter(|it| it.event.erased_at.is_none())?;
            let value = event_record::encode_erased(event, now, op.value.len()).ok()?;
            due.erased.insert(id);
            Some(value)
        };
        match rewritten(&segment.path, self.shared.salt, segment.first, &mut change)?.copy {
            Some(copy) => self.put_copy(segment.first, copy),
            None => Ok(()),
        }
    }
}
