//! The live tail: events as they are stored, for pages that show them.
//!
//! Without a page, it costs nothing. With one, a writer leaves each event with each tail whose filter it passes, and
//! never waits: a tail keeps the newest events until its reader takes them, and counts those that made room.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};

use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus, Reason};
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::store::EventFilter;

/// Most events that a tail keeps for its reader. Few, so that a flood passes through the same memory again and again.
const KEPT: usize = 100;
/// Most tails of a company.
pub const MOST_OF_COMPANY: usize = 16;
/// Most tails of this server.
pub const MOST: usize = 64;

/// What a tail shows of an event. Of a flood, few are shown, so it has no more than that.
#[derive(Debug)]
pub struct TailEvent {
    /// Id of the event.
    pub id: EventId,
    /// Its company.
    pub company_id: CompanyId,
    /// Its integration.
    pub integration: IntegrationName,
    /// Time at which its last byte was received.
    pub received_at: DateTime<Utc>,
    /// Its status.
    pub status: EventStatus,
    /// Why it created no tasks.
    pub reason: Option<Reason>,
    /// The tasks that it created.
    pub task_ids: Vec<TaskId>,
    /// Size of its body.
    pub body_bytes: u64,
}

impl From<&Event> for TailEvent {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id,
            company_id: event.company_id.clone(),
            integration: event.integration.clone(),
            received_at: event.received_at,
            status: event.status,
            reason: event.reason.clone(),
            task_ids: event.task_ids.clone(),
            body_bytes: event.body_bytes,
        }
    }
}

/// The newest events that a reader has not taken yet.
#[derive(Debug, Default)]
pub struct NewestEvents {
    /// Oldest first.
    pub events: VecDeque<Arc<TailEvent>>,
    /// Number of older ones that made room for them.
    pub omitted: u64,
}

/// What a tail's writers and its reader share.
struct TailBuffer {
    filter: EventFilter,
    newest: Mutex<NewestEvents>,
}

/// An event that is to be shown once it is stored, and the tails that show it.
pub(super) struct NotedTail {
    event: Arc<TailEvent>,
    to: Vec<Arc<TailBuffer>>,
}

/// All tails of this server.
#[derive(Default)]
pub struct LiveTail {
    open: AtomicUsize,
    companies: Mutex<HashMap<CompanyId, Vec<Arc<TailBuffer>>>>,
    has_ended: AtomicBool,
}

/// A tail of a company's events. It ends when it is dropped.
pub struct Tail {
    company: CompanyId,
    buffer: Arc<TailBuffer>,
    tails: Arc<LiveTail>,
}

impl TailBuffer {
    fn push(&self, event: Arc<TailEvent>, is_known: bool) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if is_known {
            newest.events.retain(|it| it.id != event.id);
        }
        if newest.events.len() == KEPT {
            newest.events.pop_front();
            newest.omitted += 1;
        }
        newest.events.push_back(event);
    }
}

impl LiveTail {
    /// Begins a tail of the events that pass a filter; `None` if there are too many, or the server ends.
    pub fn open(self: &Arc<Self>, company: &CompanyId, filter: EventFilter) -> Option<Tail> {
        let mut companies = self.companies.lock().unwrap_or_else(PoisonError::into_inner);
        let own = companies.get(company).map_or(0, Vec::len);
        if own >= MOST_OF_COMPANY || self.open.load(Ordering::Relaxed) >= MOST || self.has_ended() {
            return None;
        }
        let buffer = Arc::new(TailBuffer { filter, newest: Mutex::default() });
        companies.entry(company.clone()).or_default().push(Arc::clone(&buffer));
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Tail { company: company.clone(), buffer, tails: Arc::clone(self) })
    }

    /// Takes what tails show of an event, before it is stored; `None` if none shows it.
    pub(super) fn note(&self, event: &Event) -> Option<NotedTail> {
        if self.open.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let companies = self.companies.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = companies.get(&event.company_id)?.iter().filter(|it| it.filter.fits(event));
        let to: Vec<_> = fits.map(Arc::clone).collect();
        (!to.is_empty()).then(|| NotedTail { event: Arc::new(event.into()), to })
    }

    /// Ends all tails.
    pub fn close(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }
}

impl NotedTail {
    /// Shows the event, which is stored now.
    pub(super) fn send(self) {
        self.to.iter().for_each(|it| it.push(Arc::clone(&self.event), false));
    }

    /// Shows the event, which was stored before and is stored again now: only its newer state is kept.
    pub(super) fn send_again(self) {
        self.to.iter().for_each(|it| it.push(Arc::clone(&self.event), true));
    }
}

impl Tail {
    /// Takes the newest events.
    #[must_use]
    pub fn take(&self) -> NewestEvents {
        std::mem::take(&mut self.buffer.newest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The company whose events it has.
    #[must_use]
    pub fn company(&self) -> &CompanyId {
        &self.company
    }

    /// The filter that its events pass.
    #[must_use]
    pub fn filter(&self) -> &EventFilter {
        &self.buffer.filter
    }

    /// Number of tails of this server.
    #[must_use]
    pub fn open_tails(&self) -> usize {
        self.tails.open.load(Ordering::Relaxed)
    }

    /// Whether there will be no more events, because the server ends.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.tails.has_ended()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut companies = self.tails.companies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = companies.get_mut(&self.company) {
            own.retain(|it| !Arc::ptr_eq(it, &self.buffer));
            if own.is_empty() {
                companies.remove(&self.company);
            }
        }
        self.tails.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::new_id;

    fn event(id: EventId, status: EventStatus) -> Arc<TailEvent> {
        Arc::new(TailEvent {
            id,
            company_id: CompanyId::parse("a").unwrap(),
            integration: IntegrationName("guest".into()),
            received_at: DateTime::UNIX_EPOCH,
            status,
            reason: None,
            task_ids: Vec::new(),
            body_bytes: 0,
        })
    }

    /// Otherwise events that are all shown count as left out too, because a queued one is stored twice.
    #[test]
    fn an_event_that_is_stored_again_takes_no_more_room() {
        let tail = Arc::new(LiveTail::default()).open(&CompanyId::parse("a").unwrap(), EventFilter::default()).unwrap();
        for _ in 0..KEPT {
            let id = EventId(new_id(DateTime::UNIX_EPOCH));
            tail.buffer.push(event(id, EventStatus::Queued), false);
            tail.buffer.push(event(id, EventStatus::Stored), true);
        }
        let newest = tail.take();
        assert_eq!((newest.events.len(), newest.omitted), (KEPT, 0));
        assert!(newest.events.iter().all(|it| it.status == EventStatus::Stored));
        assert_eq!(tail.take().events.len(), 0);
        (0..=KEPT)
            .for_each(|_| tail.buffer.push(event(EventId(new_id(DateTime::UNIX_EPOCH)), EventStatus::Stored), false));
        assert_eq!(tail.take().omitted, 1);
    }
}
