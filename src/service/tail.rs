//! The live tail: events as they are stored, for pages that show them. Without a page, it costs nothing; with one, a writer
//! puts each event into a ring and never waits.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus, Reason};
use crate::model::ids::{EventId, IntegrationName, TaskId};
use crate::store::EventOutline;

/// Events that a slow reader may be behind; older ones are lost to it.
const RING: usize = 4096;
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

impl<'a> From<&'a TailEvent> for EventOutline<'a> {
    fn from(event: &'a TailEvent) -> Self {
        let TailEvent { id, integration, status, reason, received_at, task_ids, .. } = event;
        Self {
            id: *id,
            integration: &integration.0,
            status: *status,
            reason: reason.as_ref(),
            received_at: *received_at,
            task_ids,
        }
    }
}

/// All tails of this server.
pub struct LiveTail {
    /// `None` once the server ends.
    ring: Mutex<Option<Sender<Arc<TailEvent>>>>,
    open: AtomicUsize,
    companies: Mutex<HashMap<CompanyId, usize>>,
}

/// A tail of a company's events. It ends when it is dropped.
pub struct Tail {
    /// The events of all companies.
    pub events: Receiver<Arc<TailEvent>>,
    company: CompanyId,
    tails: Arc<LiveTail>,
}

impl Default for LiveTail {
    fn default() -> Self {
        Self {
            ring: Mutex::new(Some(broadcast::channel(RING).0)),
            open: AtomicUsize::new(0),
            companies: Mutex::default(),
        }
    }
}

impl LiveTail {
    /// Begins a tail; `None` if there are too many, or the server ends.
    pub fn open(self: &Arc<Self>, company: &CompanyId) -> Option<Tail> {
        let mut companies = self.companies.lock().unwrap_or_else(PoisonError::into_inner);
        let own = companies.get(company).copied().unwrap_or(0);
        if own >= MOST_OF_COMPANY || self.open.load(Ordering::Relaxed) >= MOST {
            return None;
        }
        let events = self.ring.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.subscribe();
        companies.insert(company.clone(), own + 1);
        self.open.fetch_add(1, Ordering::Relaxed);
        Some(Tail { events, company: company.clone(), tails: Arc::clone(self) })
    }

    /// Takes what tails show of an event, before it is stored; `None` if none may show it.
    pub(super) fn note(&self, event: &Event) -> Option<Arc<TailEvent>> {
        let is_wanted = self.open.load(Ordering::Relaxed) > 0
            && self.companies.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&event.company_id);
        is_wanted.then(|| Arc::new(event.into()))
    }

    /// Shows an event that is stored now.
    pub(super) fn send(&self, event: Arc<TailEvent>) {
        if let Some(ring) = &*self.ring.lock().unwrap_or_else(PoisonError::into_inner) {
            let _nobody_follows = ring.send(event);
        }
    }

    /// Ends all tails.
    pub fn close(&self) {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut companies = self.tails.companies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = companies.get_mut(&self.company) {
            *own -= 1;
            if *own == 0 {
                companies.remove(&self.company);
            }
        }
        self.tails.open.fetch_sub(1, Ordering::Relaxed);
    }
}
