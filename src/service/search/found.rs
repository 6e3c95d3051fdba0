//! A search: the index names candidates, and the store has the events.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::blocking::blocking;
use super::index::Candidates;
use super::payload_search::{PayloadSearch, first_id};
use super::query::PayloadQuery;
use super::signature::Probes;
use crate::limits::memory::Memory;
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::ids::EventId;
use crate::store::{EventFilter, Store, StoreError, WholeEvents};

/// How long a search goes on before it returns what it has found so far.
const BUDGET: Duration = Duration::from_secs(2);
/// Most events that are read at a time; the store limits the bytes of their bodies.
const READ: usize = 64;

/// A page of what was found.
#[derive(Debug)]
pub struct PayloadMatches {
    /// Events that match, newest first, without their bodies.
    pub events: Vec<Event>,
    /// Event after which the search goes on; `None` at the end.
    pub next: Option<EventId>,
    /// Older events are not in the index, or not yet; `None` if all stored events are.
    pub complete_since: Option<DateTime<Utc>>,
}

impl PayloadSearch {
    fn scan(&self, company: &CompanyId, words: &[Probes], range: (u128, u128)) -> Candidates {
        self.index.read().unwrap_or_else(PoisonError::into_inner).scan(company, words, range, READ)
    }

    /// Returns events with what is searched for that match the filter too, newest first.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub(crate) async fn search(
        self: &Arc<Self>,
        store: &dyn Store,
        memory: &Memory,
        company: &CompanyId,
        (query, filter): (PayloadQuery, EventFilter),
        after: Option<EventId>,
        limit: usize,
    ) -> Result<PayloadMatches, StoreError> {
        let started = Instant::now();
        let words: Arc<[Probes]> = query.words().into();
        let asked = Arc::new((query, filter));
        let since = asked.1.since.map_or(0, first_id);
        let mut before = asked.1.until.map_or(u128::MAX, first_id).min(after.map_or(u128::MAX, |it| it.0.as_u128()));
        let complete_since = self.complete_since();
        let mut found = PayloadMatches { events: Vec::new(), next: None, complete_since };
        loop {
            let (own, of, asked_words) = (Arc::clone(self), company.clone(), Arc::clone(&words));
            let scanned = blocking(move || {
                own.settle();
                own.scan(&of, &asked_words, (since, before))
            });
            let Candidates { ids, more } = scanned.await?;
            let Some(last) = ids.last().copied() else { return Ok(found) };
            let mut left = &ids[..];
            while !left.is_empty() {
                let (events, read) = self.read(store, memory, company, &asked, left).await?;
                for event in events {
                    found.next = Some(event.id);
                    found.events.push(event);
                    if found.events.len() == limit {
                        return Ok(found);
                    }
                }
                found.next = left[..read].last().copied();
                left = &left[read..];
                let is_last = found.next == Some(last) && !more;
                if !is_last && started.elapsed() >= BUDGET {
                    return Ok(found);
                }
            }
            found.next = None;
            if !more {
                return Ok(found);
            }
            before = last.0.as_u128();
        }
    }

    /// Reads candidates, and returns those that match, and how many were read: large ones are left for the next time. Others
    /// read in between: bodies are in memory only here.
    async fn read(
        self: &Arc<Self>,
        store: &dyn Store,
        memory: &Memory,
        company: &CompanyId,
        asked: &Arc<(PayloadQuery, EventFilter)>,
        ids: &[EventId],
    ) -> Result<(Vec<Event>, usize), StoreError> {
        let _one_of_few = memory.page().await;
        let WholeEvents { events, unread } = store.events_of(company, ids.to_vec()).await?;
        // Candidates are in the same order, newest first. Those that are not read yet are not gone.
        let read = unread.first().and_then(|next| ids.iter().position(|it| it == next)).unwrap_or(ids.len());
        let (own, of, asked, ids) = (Arc::clone(self), company.clone(), Arc::clone(asked), ids[..read].to_vec());
        Ok((blocking(move || own.matching(&of, &asked, &ids, events)).await?, read))
    }

    /// Returns the candidates that match, newest first, without their bodies. Those whose content is gone leave the index.
    fn matching(
        &self,
        company: &CompanyId,
        (query, filter): &(PayloadQuery, EventFilter),
        ids: &[EventId],
        mut events: Vec<Event>,
    ) -> Vec<Event> {
        events.retain(|it| it.erased_at.is_none());
        let gone: Vec<EventId> = ids.iter().copied().filter(|id| events.iter().all(|it| it.id != *id)).collect();
        if !gone.is_empty() {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            gone.iter().for_each(|id| index.remove_one(company, *id));
        }
        events.retain(|it| filter.fits(it) && query.is_in(it, &self.reader));
        events.iter_mut().for_each(|it| it.body = Bytes::new());
        events.sort_unstable_by_key(|it| std::cmp::Reverse(it.id));
        events
    }
}
