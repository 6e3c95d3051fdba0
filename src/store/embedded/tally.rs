//! Counts of events over time, in memory: by company, bucket, integration and status, for every window.
//!
//! The writer thread counts each group when it is durable. Events that were stored before are read from the journal by a
//! thread that the first question starts, newest first. So that none is counted twice, the writer registers its events
//! before it writes them, and the thread counts a registered event as it was before. A question then costs the same however
//! many events there are. What an event was before its change is known to the decision that replaces it.

mod counts;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::event_record;
use crate::model::company::CompanyId;
use crate::model::event::EventStatus;
use crate::store::id_time::received_ms;
use crate::store::timeline::{TimelineCount, TimelineWindow};
use counts::SlotCounts;

/// The counts, and how far they go back.
#[derive(Debug, Default)]
pub(super) struct EventTally {
    /// Whether anybody has asked: until then, nothing is counted. The writer thread holds it during a group.
    is_asked: Mutex<bool>,
    state: Mutex<TallyState>,
    loader: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct TallyState {
    counts: SlotCounts,
    /// While older events are read: those that the writer has written since, with the status that each had before; `None` for
    /// a new one.
    registered: HashMap<Uuid, Option<EventStatus>>,
    /// The lowest id that has been read.
    reached: Option<Uuid>,
    is_complete: bool,
}

/// An event that a group writes.
#[derive(Debug)]
pub(super) struct TalliedEvent {
    company: Box<str>,
    id: Uuid,
    integration: Box<str>,
    was: Option<EventStatus>,
    status: EventStatus,
}

impl TalliedEvent {
    /// Reads the fields from an operation; `None` if it is damaged.
    pub(super) fn of(key: &[u8], value: &[u8], was: Option<EventStatus>) -> Option<Self> {
        let (company, id) = parse(key)?;
        let (integration, status) = event_record::kind_of(value)?;
        Some(Self { company: company.into(), id, integration: integration.into(), was, status })
    }
}

/// Returns the company and the id in an event's key.
fn parse(key: &[u8]) -> Option<(&str, Uuid)> {
    let (rest, id) = key.split_last_chunk::<16>()?;
    let company = rest.get(1..)?.strip_suffix(&[0])?;
    Some((std::str::from_utf8(company).ok()?, Uuid::from_bytes(*id)))
}

impl EventTally {
    /// Begins a group; its events are counted if the guard holds true.
    pub(super) fn begin_group(&self) -> MutexGuard<'_, bool> {
        self.is_asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes events before they are written.
    pub(super) fn register(&self, events: &[TalliedEvent]) {
        let mut state = self.state();
        if !state.is_complete {
            for it in events {
                state.registered.entry(it.id).or_insert(it.was);
            }
        }
    }

    /// Counts registered events that are durable now.
    pub(super) fn count(&self, events: &[TalliedEvent]) {
        let mut state = self.state();
        for it in events {
            let at = received_ms(it.id);
            if let Some(was) = it.was {
                state.counts.add(&it.company, at, &it.integration, was, -1);
            }
            state.counts.add(&it.company, at, &it.integration, it.status, 1);
        }
    }

    /// Waits for the thread that reads older events.
    pub(super) fn join(&self) {
        let loader = self.loader().take();
        if loader.is_some_and(|it| it.join().is_err()) {
            tracing::error!("the thread that counts stored events panicked");
        }
    }

    /// Locks the thread that reads older events, if it has been started.
    pub(super) fn loader(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.loader.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether everything that was stored before is counted.
    pub(super) fn is_complete(&self) -> bool {
        self.state().is_complete
    }

    /// Counts an event that was stored before anybody asked.
    pub(super) fn found(&self, key: &[u8], id: Uuid, value: &[u8]) {
        if let (Some((company, _)), Some((integration, status))) = (parse(key), event_record::kind_of(value)) {
            self.state().found(company, id, integration, status);
        }
    }

    /// Notes that everything is counted.
    pub(super) fn complete(&self) {
        let mut state = self.state();
        (state.is_complete, state.registered) = (true, HashMap::new());
    }

    /// Returns the counts of a company, or of all; and from when they are complete, if they are not.
    pub(super) fn of(
        &self,
        company: Option<&CompanyId>,
        window: TimelineWindow,
        now: DateTime<Utc>,
    ) -> (Vec<TimelineCount>, Option<DateTime<Utc>>) {
        let mut state = self.state();
        state.counts.forget_before(now);
        let reached = state.reached.and_then(|it| DateTime::from_timestamp_millis(received_ms(it)));
        (state.counts.of(company, window, now), (!state.is_complete).then(|| reached.unwrap_or(now)))
    }

    fn state(&self) -> MutexGuard<'_, TallyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TallyState {
    /// Counts a stored event as it was before the writer registered it.
    fn found(&mut self, company: &str, id: Uuid, integration: &str, status: EventStatus) {
        self.reached = Some(id);
        let status = match self.registered.get(&id) {
            None => status,
            Some(Some(was)) => *was,
            Some(None) => return,
        };
        self.counts.add(company, received_ms(id), integration, status, 1);
    }
}
