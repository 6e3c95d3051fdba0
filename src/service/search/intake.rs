//! Events on their way into the index: noted before they are stored, added a while after.

use std::sync::PoisonError;

use super::index::SignatureIndex;
use super::payload_search::PayloadSearch;
use super::signature::sign;
use super::signed_batch::{SignedBatch, SignedEvent};
use super::waiting::{NotedEvent, UnreadEvent, WaitingEvent, WaitingEvents};
use super::word_set::WordSet;
use super::words::word_hashes;
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::headers::Headers;
use crate::model::ids::{EventId, IntegrationName};

/// Number of events that are added by the request that comes to it, unless the index is in use then: few, so that they pass
/// through the same memory again and again.
const EAGER: usize = 128;
/// Most events, and bytes of their bodies, that wait to be added. A request that would exceed it adds them itself.
const WAITING: usize = 4096;
const WAITING_BYTES: usize = 16 << 20;
/// Memory for each event that may be in the index, in bytes, on average.
const BYTES_PER_EVENT: usize = 160;

impl PayloadSearch {
    /// Takes what an event needs to be added, before it is stored.
    pub(in super::super) fn note(&self, event: &Event) -> Option<NotedEvent> {
        let has_body = !event.body.is_empty() && event.no_body().is_none();
        let has_headers = event.headers.iter().any(|(_, value)| !value.is_empty());
        if self.most == 0 || !(has_headers || has_body) {
            return None;
        }
        let integration = &event.integration;
        let signed = WordSet::with_empty(|words| {
            add_words(&event.headers, words);
            let is_read = !has_body || self.reader.words_at_once(event, words);
            is_read.then(|| self.signed(event.company_id.clone(), event.id, integration, words))
        });
        Some(NotedEvent(match signed {
            Some(it) => WaitingEvent::Signed(it),
            None => WaitingEvent::Unread(Box::new(UnreadEvent { integration: integration.clone(), raw: event.raw() })),
        }))
    }

    /// Adds events that are stored now.
    pub(in super::super) fn add(&self, noted: Vec<NotedEvent>) {
        let (is_full, signed) = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            noted.into_iter().for_each(|NotedEvent(it)| self.wait(&mut waiting, it));
            let is_full = waiting.len() > WAITING || waiting.bytes + waiting.signed.bytes() > WAITING_BYTES;
            (is_full, waiting.signed.len())
        };
        if is_full {
            self.settle();
        } else if signed >= EAGER {
            self.settle_signed();
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

    /// Adds the events whose words are read, unless others have the index, such as a search.
    fn settle_signed(&self) {
        let Ok(mut spare) = self.adding.try_lock() else { return };
        let Ok(mut index) = self.index.try_write() else { return };
        {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut spare.signed, &mut waiting.signed);
        }
        self.insert_into(&mut index, &spare.signed);
        spare.signed.clear();
    }

    /// Adds the events that wait. Blocking.
    pub(super) fn settle(&self) {
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
    pub(super) fn read_from(&self, id: u128) {
        *self.read_from.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).len() > 0
    }

    /// Adds events, and remembers those without a body, so that they are not read again.
    pub(super) fn insert_all(&self, events: &[Event]) {
        let mut batch = SignedBatch::default();
        for event in events {
            self.spare.give(batch.push(match self.note(event) {
                Some(NotedEvent(WaitingEvent::Signed(it))) => it,
                Some(NotedEvent(WaitingEvent::Unread(it))) => self.read_now(*it),
                None => self.without_words(event.company_id.clone(), event.id, &event.integration),
            }));
        }
        self.insert(&batch);
    }

    /// Remembers events that have no words.
    pub(super) fn insert_empty(&self, company: &CompanyId, ids: &[EventId]) {
        let mut batch = SignedBatch::default();
        let nobody = IntegrationName("".into());
        for id in ids {
            self.spare.give(batch.push(self.without_words(company.clone(), *id, &nobody)));
        }
        self.insert(&batch);
    }

    /// Searches wait for this lock: what takes long is done before.
    fn insert(&self, batch: &SignedBatch) {
        if batch.len() > 0 {
            self.insert_into(&mut self.index.write().unwrap_or_else(PoisonError::into_inner), batch);
        }
    }

    fn insert_into(&self, index: &mut SignatureIndex, batch: &SignedBatch) {
        index.add_all(batch);
        index.shrink_to(self.most, self.most.saturating_mul(BYTES_PER_EVENT));
    }

    fn read_now(&self, event: UnreadEvent) -> SignedEvent {
        let UnreadEvent { integration, raw } = event;
        WordSet::with_empty(|words| {
            add_words(&raw.headers, words);
            self.reader.all_words(&integration, &raw, words);
            self.signed(raw.company_id.clone(), raw.id, &integration, words)
        })
    }

    fn signed(
        &self,
        company: CompanyId,
        id: EventId,
        integration: &IntegrationName,
        words: &mut WordSet,
    ) -> SignedEvent {
        let mut signature = self.spare.take();
        sign(words.distinct(), &mut signature);
        SignedEvent { company, id, integration: self.number(integration), signature }
    }

    fn without_words(&self, company: CompanyId, id: EventId, integration: &IntegrationName) -> SignedEvent {
        SignedEvent { company, id, integration: self.number(integration), signature: Vec::new() }
    }

    pub(super) fn number(&self, integration: &IntegrationName) -> u32 {
        let mut all = self.integrations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = all.get(integration) {
            return *number;
        }
        let next = u32::try_from(all.len()).unwrap_or(u32::MAX);
        *all.entry(integration.clone()).or_insert(next)
    }
}

fn add_words(headers: &Headers, words: &mut WordSet) {
    headers.iter().for_each(|(_, value)| word_hashes(value, |it| words.push(it)));
}
