//! Lists of events, from the journal.

use uuid::Uuid;

use super::journal::Segments;
use super::{event_record, failure, keys, record};
use crate::auth::CompanyId;
use crate::event::{Event, EventId};
use crate::store::{EventFilter, EventPage, StoreError};

/// Most events, and most of their bytes, that one request looks at: a tenth of a second or so.
const LOOKED_AT: usize = 20_000;
const BYTES_LOOKED_AT: usize = 64 << 20;

pub(super) fn list(
    segments: &Segments,
    company: &CompanyId,
    filter: &EventFilter,
    after: Option<EventId>,
    limit: usize,
) -> Result<EventPage, StoreError> {
    let mut page = EventPage { events: Vec::new(), next: None };
    let (mut events, mut bytes, mut failed) = (0, 0, None);
    let take = |id: Uuid, key: &[u8], value: &[u8]| {
        if filter.since.is_some_and(|it| id < first_id(it)) {
            return false;
        }
        (events, bytes) = (events + 1, bytes + value.len());
        match fitting(company, filter, id, key, value) {
            Ok(found) => page.events.extend(found),
            Err(error) => failed = Some(error),
        }
        let enough = page.events.len() == limit || events == LOOKED_AT || bytes >= BYTES_LOOKED_AT;
        page.next = enough.then_some(EventId(id));
        !enough && failed.is_none()
    };
    let until = filter.until.map_or(Uuid::max(), first_id);
    let before = after.map_or(until, |it| it.0.min(until));
    segments.events_before(before, take).map_err(|e| record::damaged("event", &e))?;
    failed.map_or(Ok(page), Err)
}

fn fitting(
    company: &CompanyId,
    filter: &EventFilter,
    id: Uuid,
    key: &[u8],
    value: &[u8],
) -> Result<Option<Event>, StoreError> {
    if key != keys::event(company, EventId(id)) {
        return Ok(None);
    }
    let event = event_record::decode(value, EventId(id), company.clone())?;
    Ok(filter.fits(&event).then_some(event))
}

/// The events that wait, oldest first.
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

/// The lowest id of this millisecond or a later one (RFC 9562, section 5.7): ids begin with the time of receipt.
pub(super) fn first_id(at: chrono::DateTime<chrono::Utc>) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(millis << 80)
}
