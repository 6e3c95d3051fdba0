//! Reads events from the journal: one by its id, and lists.

use uuid::Uuid;

use super::event_record::{self, Base};
use super::journal::StoredEvent;
use super::shared::SharedStore;
use super::{failure, keys, record};
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus};
use crate::model::ids::EventId;
use crate::store::error::StoreError;
use crate::store::id_time::first_id;
use crate::store::json_size::json_bytes;
use crate::store::query::{EventFilter, EventPage, WHOLE_BYTES, WholeEvents};
use crate::store::write::Versioned;

/// Maximum number of events, and of their bytes, that one request examines; this takes about 0.1 s.
const LOOKED_AT: usize = 20_000;
const BYTES_LOOKED_AT: usize = 64 << 20;

/// Returns the current state of an event, with what was sent. `None` if it has expired; queued events do not
/// expire.
pub(super) fn one(shared: &SharedStore, company: &CompanyId, id: EventId) -> Result<Option<Versioned>, StoreError> {
    let Some(stored) = newest(shared, &keys::event(company, id), id.0)? else { return Ok(None) };
    let decoded = event_record::decode(&stored.value, id, company.clone())?;
    if shared.is_expired(id.0) && decoded.event.status != EventStatus::Queued {
        return Ok(None);
    }
    let event = decoded.whole(|base| sent(shared, base, id))?;
    Ok(event.map(|event| Versioned { event, version: stored.version() }))
}

/// Returns an event's newest record; `None` if there is none, or it is another company's.
///
/// # Errors
/// Fails if a file cannot be read, or if the record is damaged.
pub(super) fn newest(shared: &SharedStore, key: &[u8], id: Uuid) -> Result<Option<StoredEvent>, StoreError> {
    match shared.segments.any_event(id).map_err(|e| failure::stored("event", &e))? {
        Some((found, stored)) if found == key => Ok(Some(stored)),
        Some((_, stored)) => event_record::check_other(key, &stored.value).map(|()| None),
        None => Ok(None),
    }
}

/// Reads the record with what was sent.
fn sent(shared: &SharedStore, base: Base, id: EventId) -> std::io::Result<Option<Vec<u8>>> {
    shared.segments.at(base.segment, base.place(), id.0)
}

pub(super) fn list(
    shared: &SharedStore,
    company: &CompanyId,
    filter: &EventFilter,
    after: Option<EventId>,
    limit: usize,
) -> Result<EventPage, StoreError> {
    let mut page = EventPage { events: Vec::new(), next: None };
    let (mut events, mut bytes, mut shown, mut failed) = (0, 0, 0, None);
    let since = filter.since.map(first_id).max(filter.repeats.map(|it| it.0));
    let take = |id: Uuid, key: &[u8], value: &[u8]| {
        if shared.is_expired(id) || since.is_some_and(|it| id < it) {
            return false;
        }
        (events, bytes) = (events + 1, bytes + value.len());
        match fitting(shared, company, filter, id, key, value) {
            Ok(None) => {}
            Ok(Some((event, sent))) => {
                bytes += sent;
                shown += json_bytes(&event);
                page.events.push(event);
            }
            Err(error) => failed = Some(error),
        }
        let enough = page.events.len() == limit
            || events == LOOKED_AT
            || bytes >= BYTES_LOOKED_AT
            || shown >= shared.options.page_bytes;
        page.next = enough.then_some(EventId(id));
        !enough && failed.is_none()
    };
    let until = filter.until.map_or(Uuid::max(), first_id);
    let before = after.map_or(until, |it| it.0.min(until));
    shared.segments.events_before(before, take).map_err(|e| record::damaged("event", &e))?;
    failed.map_or(Ok(page), Err)
}

/// Returns the event if it matches, and the number of bytes read from another record with what was sent.
fn fitting(
    shared: &SharedStore,
    company: &CompanyId,
    filter: &EventFilter,
    id: Uuid,
    key: &[u8],
    value: &[u8],
) -> Result<Option<(Event, usize)>, StoreError> {
    let own = keys::event(company, EventId(id));
    if key != own {
        return event_record::check_other(&own, value).map(|()| None);
    }
    let decoded = event_record::decode_head(value, EventId(id), company.clone())?;
    if !filter.fits(&decoded.event) {
        return Ok(None);
    }
    let bytes = decoded.base.map_or(0, |base| base.place().length as usize);
    Ok(decoded.whole_head(|base| sent(shared, base, EventId(id)))?.map(|event| (event, bytes)))
}

/// Returns these events with what was sent, as far as they exist and are not too large together.
pub(super) fn of_ids(
    shared: &SharedStore,
    company: &CompanyId,
    mut ids: Vec<EventId>,
) -> Result<WholeEvents, StoreError> {
    ids.sort_unstable_by_key(|it| std::cmp::Reverse(*it));
    let (mut read, mut bytes) = (WholeEvents::default(), 0);
    for (n, id) in ids.iter().enumerate() {
        if bytes >= WHOLE_BYTES {
            read.unread = ids.split_off(n);
            break;
        }
        if let Some(found) = one(shared, company, *id)? {
            bytes += found.event.body.len();
            read.events.push(found.event);
        }
    }
    Ok(read)
}

/// Returns events of all companies with what was sent, newest first. Damaged ones are left out.
pub(super) fn before(shared: &SharedStore, before: EventId, limit: usize) -> Result<EventPage, StoreError> {
    let mut page = EventPage { events: Vec::new(), next: None };
    let (mut events, mut bytes) = (0, 0);
    let take = |id: Uuid, key: &[u8], value: &[u8]| {
        if shared.is_expired(id) {
            return false;
        }
        (events, bytes) = (events + 1, bytes + value.len());
        if let Some((company, id)) = keys::parse_event(key) {
            let decoded = event_record::decode(value, EventId(id), company);
            if let Ok(Some(event)) = decoded.and_then(|it| it.whole(|base| sent(shared, base, EventId(id)))) {
                bytes += event.body.len();
                page.events.push(event);
            }
        }
        let enough = events == limit || bytes >= WHOLE_BYTES;
        page.next = enough.then_some(EventId(id));
        !enough
    };
    shared.segments.events_before(before.0, take).map_err(|e| record::damaged("event", &e))?;
    Ok(page)
}

/// Returns the queued events, oldest first.
pub(super) fn queued(tree: &sled::Tree) -> Result<Vec<(CompanyId, EventId)>, StoreError> {
    let mut waiting = Vec::new();
    for entry in tree.scan_prefix([keys::QUEUED]) {
        let (key, value) = entry.map_err(failure::read)?;
        let named = keys::parse_queued(&key).ok_or_else(|| record::damaged("queued event", &"its key"))?;
        waiting.push((record::decode_order(&value)?, named));
    }
    waiting.sort_unstable_by_key(|(order, _)| *order);
    Ok(waiting.into_iter().map(|(_, named)| named).collect())
}
