//! Counts of events over time, in memory: by company, bucket, integration and status, for every window.
//!
//! The writer thread counts each group when it is durable. Events that were stored before are read from the journal by a
//! thread that the first question starts, newest first. So that none is counted twice, the writer registers its events
//! before it writes them, and the thread counts a registered event as it was before. A question then costs the same however
//! many events there are. What an event was before its change is known to the decision that replaces it.

mod counts;
mod load;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::event_record;
use super::shared::SharedStore;
use crate::model::company::CompanyId;
use crate::model::event::EventStatus;
use crate::store::error::StoreError;
use crate::store::id_time::{first_id, received_ms};
use crate::store::timeline::{Timeline, TimelineWindow};
use counts::Counts;

/// How long a question waits for a store to be read: one of usual size is complete at once.
const WAIT: Duration = Duration::from_millis(250);

/// The counts, and how far they go back.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Whether anybody has asked: until then, nothing is counted. The writer thread holds it during a group.
    is_asked: Mutex<bool>,
    state: Mutex<TallyState>,
    loader: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct TallyState {
    counts: Counts,
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

impl Tally {
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
        let loader = self.loader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if loader.is_some_and(|it| it.join().is_err()) {
            tracing::error!("the thread that counts stored events panicked");
        }
    }

    fn state(&self) -> MutexGuard<'_, TallyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins to count, if nobody has asked before.
pub(super) fn start(shared: &Arc<SharedStore>) -> std::io::Result<()> {
    let mut loader = shared.tally.loader.lock().unwrap_or_else(PoisonError::into_inner);
    if loader.is_none() && !shared.closing() {
        *loader = Some(load::start(shared)?);
    }
    Ok(())
}

/// Returns the counts of a company, or of all.
pub(super) fn timeline(
    shared: &SharedStore,
    company: Option<&CompanyId>,
    window: TimelineWindow,
    now: DateTime<Utc>,
) -> Result<Timeline, StoreError> {
    let asked = Instant::now();
    while !shared.tally.state().is_complete && asked.elapsed() < WAIT {
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut timeline = Timeline { tasks: tasks(shared, company, window, now), ..Timeline::default() };
    let mut state = shared.tally.state();
    state.counts.forget_before(now);
    timeline.events = state.counts.of(company, window, now);
    if !state.is_complete {
        let reached = state.reached.and_then(|it| DateTime::from_timestamp_millis(received_ms(it)));
        timeline.complete_since = Some(reached.unwrap_or(now));
    }
    Ok(timeline)
}

/// Counts the tasks of each bucket, by the time in their ids.
fn tasks(shared: &SharedStore, company: Option<&CompanyId>, window: TimelineWindow, now: DateTime<Utc>) -> Vec<u64> {
    let begins = window.begins(now);
    let (first, lowest) = (window.first_slot(now), first_id(begins));
    let mut tasks = vec![0_u64; window.buckets()];
    let mut add = |id: Uuid| {
        let bucket = usize::try_from(window.slot(received_ms(id)) - first).ok();
        if let Some(count) = bucket.and_then(|it| tasks.get_mut(it)) {
            *count += 1;
        }
    };
    let (index, _) = shared.pair();
    let companies = company.map_or_else(|| index.companies(), |it| vec![it.clone()]);
    let found = companies.iter().filter_map(|it| index.company(it));
    found.flat_map(|it| it.ids_since(begins)).filter(|id| *id >= lowest).for_each(&mut add);
    tasks
}
