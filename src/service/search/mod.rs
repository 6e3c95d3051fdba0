//! Search in payloads: an index of signatures in memory, the same for every store.
//!
//! For each of the newest events, `index.rs` has a signature (`signature.rs`) of its words (`words.rs`), which are read from the
//! body (`reading.rs`). A search scans the signatures from the newest event on, and reads the events that they allow from the
//! store to see whether they have what is searched for (`query.rs`). `follow.rs` reads what is stored at the start, and what
//! other servers store.

mod escapes;
mod follow;
mod index;
mod query;
mod reading;
mod signature;
mod signed_batch;
mod spare_memory;
mod words;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};

use self::index::{Candidates, SignatureIndex};
use self::reading::BodyReader;
use self::signature::{Probes, sign};
use self::signed_batch::{SignedBatch, SignedEvent};
use self::spare_memory::SpareMemory;
use self::words::word_hashes;
use crate::integration::Registry;
use crate::limits::memory::Memory;
use crate::model::company::CompanyId;
use crate::model::event::{Event, RawEvent};
use crate::model::ids::{EventId, IntegrationName, new_id};
use crate::model::time::now;
use crate::store::{EventFilter, Store, StoreError, WholeEvents};

pub(crate) use self::follow::follow;
pub use self::query::{MOST_TERMS, PayloadQuery};

/// Memory for each event that may be in the index, in bytes, on average.
const BYTES_PER_EVENT: usize = 160;
/// How long a search goes on before it returns what it has found so far.
const BUDGET: Duration = Duration::from_secs(2);
/// Most events that are read at a time; the store limits the bytes of their bodies.
const READ: usize = 64;
/// Most events, and bytes of their bodies, that wait to be added. A request that would exceed it adds its event itself.
const WAITING: usize = 4096;
const WAITING_BYTES: usize = 16 << 20;

/// An event that is stored, and not in the index yet.
enum WaitingEvent {
    /// Its words were read while its request was: its body is not kept, whose buffer the connection uses again.
    Signed(SignedEvent),
    /// Its body takes longer to read.
    Unread(Box<UnreadEvent>),
}

struct UnreadEvent {
    integration: IntegrationName,
    /// Hashes of the words in stored headers.
    words: Vec<u64>,
    raw: RawEvent,
}

#[derive(Default)]
struct WaitingEvents {
    signed: SignedBatch,
    unread: Vec<UnreadEvent>,
    /// Number of bytes of the bodies of `unread`.
    bytes: usize,
}

impl WaitingEvents {
    fn len(&self) -> usize {
        self.signed.len() + self.unread.len()
    }
}

/// The index of payloads.
pub struct PayloadSearch {
    reader: BodyReader,
    /// Maximum number of events; 0 turns the search off.
    most: usize,
    spare: SpareMemory,
    waiting: Mutex<WaitingEvents>,
    /// Held while waiting events are added: a search that comes after them waits for it. It is empty otherwise.
    adding: Mutex<WaitingEvents>,
    index: RwLock<SignatureIndex>,
    /// Numbers of integrations.
    integrations: Mutex<HashMap<IntegrationName, u32>>,
    /// Stored events from this id on have been read, at first those since the start; 0 once all have.
    read_from: Mutex<u128>,
}

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

    /// Takes what an event needs to be added, before it is stored.
    pub(super) fn note(&self, event: &Event) -> Option<NotedEvent> {
        let has_body = !event.body.is_empty() && event.no_body().is_none();
        let has_headers = event.headers.iter().any(|(_, value)| !value.is_empty());
        if self.most == 0 || !(has_headers || has_body) {
            return None;
        }
        let mut words = self.spare.take();
        event.headers.iter().for_each(|(_, value)| word_hashes(value, |it| words.push(it)));
        let is_read = !has_body || self.reader.words_at_once(event, &mut words);
        Some(NotedEvent(if is_read {
            WaitingEvent::Signed(self.signed(event.company_id.clone(), event.id, &event.integration, words))
        } else {
            let integration = event.integration.clone();
            WaitingEvent::Unread(Box::new(UnreadEvent { integration, words, raw: event.raw() }))
        }))
    }

    /// Adds events that are stored now.
    pub(super) fn add(&self, noted: Vec<NotedEvent>) {
        let is_full = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            noted.into_iter().for_each(|NotedEvent(it)| self.wait(&mut waiting, it));
            waiting.len() > WAITING || waiting.bytes + waiting.signed.bytes() > WAITING_BYTES
        };
        if is_full {
            self.settle();
        }
    }

    fn wait(&self, waiting: &mut WaitingEvents, event: WaitingEvent) {
        match event {
            WaitingEvent::Signed(it) => self.spare.give(waiting.signed.push(it)),
            WaitingEvent::Unread(it) => {
                waiting.bytes += it.raw.body.len();
                waiting.unread.push(*it);
            }
        }
    }

    /// Adds the events that wait. Blocking.
    fn settle(&self) {
        let mut spare = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut *spare, &mut *waiting);
        }
        let WaitingEvents { signed, unread, bytes } = &mut *spare;
        unread.drain(..).for_each(|it| self.spare.give(signed.push(self.read_now(it))));
        self.insert(signed);
        signed.clear();
        *bytes = 0;
    }

    /// Notes from which id on stored events have been read.
    fn read_from(&self, id: u128) {
        *self.read_from.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    fn has_waiting(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len() > 0
    }

    /// Adds events, and remembers those without a body, so that they are not read again.
    fn insert_all(&self, events: &[Event]) {
        let mut batch = SignedBatch::default();
        for event in events {
            self.spare.give(batch.push(match self.note(event) {
                Some(NotedEvent(WaitingEvent::Signed(it))) => it,
                Some(NotedEvent(WaitingEvent::Unread(it))) => self.read_now(*it),
                None => self.signed(event.company_id.clone(), event.id, &event.integration, Vec::new()),
            }));
        }
        self.insert(&batch);
    }

    /// Remembers events that have no words.
    fn insert_empty(&self, company: &CompanyId, ids: &[EventId]) {
        let mut batch = SignedBatch::default();
        let nobody = IntegrationName("".into());
        for id in ids {
            self.spare.give(batch.push(self.signed(company.clone(), *id, &nobody, Vec::new())));
        }
        self.insert(&batch);
    }

    /// Searches wait for this lock: what takes long is done before.
    fn insert(&self, batch: &SignedBatch) {
        if batch.len() > 0 {
            let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
            index.add_all(batch);
            index.shrink_to(self.most, self.most.saturating_mul(BYTES_PER_EVENT));
        }
    }

    fn read_now(&self, event: UnreadEvent) -> SignedEvent {
        let UnreadEvent { integration, mut words, raw } = event;
        self.reader.all_words(&integration, &raw, &mut words);
        self.signed(raw.company_id, raw.id, &integration, words)
    }

    fn signed(
        &self,
        company: CompanyId,
        id: EventId,
        integration: &IntegrationName,
        mut words: Vec<u64>,
    ) -> SignedEvent {
        let mut signature = self.spare.take();
        sign(&mut words, &mut signature);
        self.spare.give(words);
        SignedEvent { company, id, integration: self.number(integration), signature }
    }

    fn number(&self, integration: &IntegrationName) -> u32 {
        let mut all = self.integrations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = all.get(integration) {
            return *number;
        }
        let next = u32::try_from(all.len()).unwrap_or(u32::MAX);
        *all.entry(integration.clone()).or_insert(next)
    }

    /// Removes events whose content is gone: those of these ids.
    pub(super) fn remove(&self, ids: &[EventId]) {
        self.settle();
        let ids: std::collections::HashSet<u128> = ids.iter().map(|it| it.0.as_u128()).collect();
        self.index.write().unwrap_or_else(PoisonError::into_inner).remove(|_, id, _| ids.contains(&id));
    }

    /// Removes events that were received before this time: all, or those of an integration.
    pub(super) fn remove_before(&self, integration: Option<&str>, time: DateTime<Utc>) {
        let number = integration.map(|it| self.number(&IntegrationName(it.into())));
        let before = u128::from(u64::try_from(time.timestamp_millis()).unwrap_or(0)) << 80;
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.remove(|_, id, of| id < before && number.is_none_or(|it| it == of));
    }

    /// Events from this id on have not left the index for newer ones.
    fn first_kept(&self) -> EventId {
        EventId(uuid::Uuid::from_u128(self.index.read().unwrap_or_else(PoisonError::into_inner).dropped_below()))
    }

    /// Number of a company's events with ids in this range, with those that wait. Blocking.
    fn count(&self, company: &CompanyId, range: &Range<EventId>) -> usize {
        self.settle();
        self.index.read().unwrap_or_else(PoisonError::into_inner).count(company, range)
    }

    /// Returns which of these are not in the index, except those that have left it. Blocking.
    fn missing(&self, company: &CompanyId, mut ids: Vec<EventId>) -> Vec<EventId> {
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

    fn scan(&self, company: &CompanyId, words: &[Probes], range: (u128, u128)) -> Candidates {
        self.index.read().unwrap_or_else(PoisonError::into_inner).scan(company, words, range, READ)
    }

    fn complete_since(&self) -> Option<DateTime<Utc>> {
        let dropped = self.index.read().unwrap_or_else(PoisonError::into_inner).dropped_below();
        let from = dropped.max(*self.read_from.lock().unwrap_or_else(PoisonError::into_inner));
        let millis = i64::try_from(from >> 80).ok()?;
        (from > 0).then(|| DateTime::from_timestamp_millis(millis).unwrap_or_else(now))
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

/// Returns the values of an event's stored headers.
fn header_values(event: &Event) -> String {
    event.headers.iter().map(|(_, value)| value.as_str()).filter(|it| !it.is_empty()).collect::<Vec<_>>().join("\n")
}

/// What was noted of an event before it was stored.
pub(super) struct NotedEvent(WaitingEvent);

fn first_id(time: DateTime<Utc>) -> u128 {
    u128::from(u64::try_from(time.timestamp_millis()).unwrap_or(0)) << 80
}

/// Runs what may take the processor for long.
async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(run).await.map_err(|_| StoreError::Read("the search panicked".into()))
}
