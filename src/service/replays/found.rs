//! Finds the events of a job.

use std::time::{Duration, Instant};

use super::filter::{Plan, ReplayFilter, after};
use crate::limits::memory::Memory;
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::ids::EventId;
use crate::store::{EventFilter, Store, StoreError};

/// Maximum number of events that a preview counts, and for how long.
const COUNTED: u64 = 10_000;
const COUNTING: Duration = Duration::from_secs(5);
/// How many events a preview has.
const FIRST: usize = 20;
/// Number of events per page.
const PAGE: usize = 200;

/// The events that match a filter, as far as they were counted.
#[derive(Debug, Default)]
pub struct CountedEvents {
    /// How many match.
    pub matching: u64,
    /// Whether that is all of them.
    pub is_exact: bool,
    /// How many of them would be replayed.
    pub to_replay: u64,
    /// How many of them have tasks that are left unchanged, and are not replayed.
    pub left: u64,
    /// How many of them cannot be replayed.
    pub not_replayable: u64,
    /// How many of those to replay have tasks.
    pub with_tasks: u64,
    /// The newest of them.
    pub first: Vec<Event>,
}

impl CountedEvents {
    fn add(&mut self, event: Event, leaves_tasks: bool) {
        self.matching += 1;
        match Plan::of(&event, leaves_tasks) {
            Plan::Replay => {
                self.to_replay += 1;
                self.with_tasks += u64::from(!event.task_ids.is_empty());
            }
            Plan::Leave => self.left += 1,
            Plan::Skip => self.not_replayable += 1,
        }
        if self.first.len() < FIRST {
            self.first.push(event);
        }
    }
}

/// Counts the events of a company that match, up to a bound. Others read their pages in between.
///
/// # Errors
/// Fails if they cannot be read.
pub(crate) async fn count(
    store: &dyn Store,
    memory: &Memory,
    company: &CompanyId,
    filter: &ReplayFilter,
    newest: EventId,
    leaves_tasks: bool,
) -> Result<CountedEvents, StoreError> {
    let (mut found, mut pages) = (CountedEvents::default(), MatchingPages::new(filter, newest));
    let started = Instant::now();
    loop {
        let _one_of_few = memory.page().await;
        let Some(events) = pages.next(store, company).await? else { break };
        for event in events {
            if found.matching == COUNTED {
                return Ok(found);
            }
            found.add(event, leaves_tasks);
        }
        if started.elapsed() > COUNTING {
            return Ok(found);
        }
    }
    found.is_exact = true;
    Ok(found)
}

/// The list of matching events, newest first, page by page.
pub(super) struct MatchingPages {
    filter: EventFilter,
    next: Option<EventId>,
}

impl MatchingPages {
    pub(super) fn new(filter: &ReplayFilter, newest: EventId) -> Self {
        Self { filter: filter.events(), next: Some(after(newest)) }
    }

    /// Returns the next events; `None` after the last ones.
    pub(super) async fn next(
        &mut self,
        store: &dyn Store,
        company: &CompanyId,
    ) -> Result<Option<Vec<Event>>, StoreError> {
        let Some(after) = self.next else { return Ok(None) };
        let page = store.list_events(company, self.filter.clone(), Some(after), PAGE).await?;
        self.next = page.next;
        Ok(Some(page.events))
    }
}
