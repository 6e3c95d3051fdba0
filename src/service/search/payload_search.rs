//! The index of payloads, and what leaves it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chrono::{DateTime, Utc};

use super::index::SignatureIndex;
use super::reading::BodyReader;
use super::spare_memory::SpareMemory;
use super::waiting::WaitingEvents;
use crate::integration::Registry;
use crate::model::company::CompanyId;
use crate::model::ids::{EventId, IntegrationName, new_id};
use crate::model::time::now;

/// The index of payloads.
pub struct PayloadSearch {
    pub(super) reader: BodyReader,
    /// Maximum number of events; 0 turns the search off.
    pub(super) most: usize,
    pub(super) spare: SpareMemory,
    pub(super) waiting: Mutex<WaitingEvents>,
    /// Held while waiting events are added: a search that comes after them waits for it. It is empty otherwise.
    pub(super) adding: Mutex<WaitingEvents>,
    pub(super) index: RwLock<SignatureIndex>,
    /// Numbers of integrations.
    pub(super) integrations: Mutex<HashMap<IntegrationName, u32>>,
    /// Stored events from this id on have been read, at first those since the start; 0 once all have.
    pub(super) read_from: Mutex<u128>,
}

impl PayloadSearch {
    /// An empty index for at most so many events.
    #[must_use]
    pub fn new(registry: Arc<Registry>, most: usize, body_bytes: usize) -> Self {
        Self {
            reader: BodyReader { registry, body_bytes },
            most,
            spare: SpareMemory::default(),
            waiting: Mutex::default(),
            adding: Mutex::default(),
            index: RwLock::default(),
            integrations: Mutex::default(),
            read_from: Mutex::new(new_id(now()).as_u128()),
        }
    }

    /// Whether payloads can be searched.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.most > 0
    }

    /// Removes events whose content is gone: those of these ids.
    pub(in super::super) fn remove(&self, ids: &[EventId]) {
        self.settle();
        let ids: HashSet<u128> = ids.iter().map(|it| it.0.as_u128()).collect();
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(|_, id, _| ids.contains(&id));
    }

    /// Removes events that were received before this time: all, or those of an integration.
    pub(in super::super) fn remove_before(&self, integration: Option<&str>, time: DateTime<Utc>) {
        let number = integration.map(|it| self.number(&IntegrationName(it.into())));
        let before = first_id(time);
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.remove(|_, id, of| id < before && number.is_none_or(|it| it == of));
    }

    /// Events from this id on have not left the index for newer ones.
    pub(super) fn first_kept(&self) -> EventId {
        EventId(uuid::Uuid::from_u128(self.index.read().unwrap_or_else(PoisonError::into_inner).dropped_below()))
    }

    /// Number of a company's events with ids in this range, with those that wait. Blocking.
    pub(super) fn count(&self, company: &CompanyId, range: &Range<EventId>) -> usize {
        self.settle();
        self.index.read().unwrap_or_else(PoisonError::into_inner).count(company, range)
    }

    /// Returns which of these are not in the index, except those that have left it. Blocking.
    pub(super) fn missing(&self, company: &CompanyId, mut ids: Vec<EventId>) -> Vec<EventId> {
        self.settle();
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        ids.retain(|id| id.0.as_u128() >= index.dropped_below() && !index.contains(company, *id));
        ids
    }

    /// Number of events in the index, and their memory in bytes.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        (index.events(), index.bytes())
    }

    pub(super) fn complete_since(&self) -> Option<DateTime<Utc>> {
        let dropped = self.index.read().unwrap_or_else(PoisonError::into_inner).dropped_below();
        let from = dropped.max(*self.read_from.lock().unwrap_or_else(PoisonError::into_inner));
        let millis = i64::try_from(from >> 80).ok()?;
        (from > 0).then(|| DateTime::from_timestamp_millis(millis).unwrap_or_else(now))
    }
}

/// Returns the lowest id of events that were received at this time.
pub(super) fn first_id(time: DateTime<Utc>) -> u128 {
    u128::from(u64::try_from(time.timestamp_millis()).unwrap_or(0)) << 80
}
