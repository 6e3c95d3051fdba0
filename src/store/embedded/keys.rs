//! Key layout. A tag's meaning never changes; new things get new tags.
//!
//! | key | value | where |
//! |---|---|---|
//! | `T` company `00` id | a task | view |
//! | `K` key id | an API key | view |
//! | `I` day u16, big endian; 16 bytes of the request's name | an idempotency key's first answer | view |
//! | `D` day u16, big endian; 16 bytes of the delivery's name | a delivery's first answer, under the day on which it ends | view |
//! | `Q` company `00` id | an event that waits: its place in the order | view |
//! | `A` id | an entry of the audit log | view |
//! | `R` company | the next row of a company whose tasks were purged | view |
//! | `M` | what of the journal the view has seen, and the sum of its content | view |
//! | `E` company `00` id | an event | journal only |
//!
//! A company id holds no NUL, so the layout keeps the order of companies and, within one, of ids, which are
//! UUIDs of version 7 and so sort by time. Idempotency keys of a day stand together, so that a day expires at once.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::auth::{CompanyId, KeyId};
use crate::event::EventId;
use crate::store::IdempotencyId;
use crate::task::TaskId;

/// The one tree: a batch is atomic within a tree only.
pub(super) const TREE: &[u8] = b"hookmill";

pub(super) const TASK: u8 = b'T';
const EVENT: u8 = b'E';
pub(super) const API_KEY: u8 = b'K';
pub(super) const IDEMPOTENCY: u8 = b'I';
pub(super) const DELIVERY: u8 = b'D';
pub(super) const QUEUED: u8 = b'Q';
pub(super) const AUDIT: u8 = b'A';
pub(super) const ROWS: u8 = b'R';
pub(super) const META: &[u8] = b"M";

pub(super) fn task(company: &CompanyId, id: TaskId) -> Vec<u8> {
    scoped(TASK, company, id.0)
}

/// Company and id of a task's key.
pub(super) fn parse_task(key: &[u8]) -> Option<(CompanyId, TaskId)> {
    parse(TASK, key).map(|(company, id)| (company, TaskId(id)))
}

/// Company and id of an event's key.
pub(super) fn parse_event(key: &[u8]) -> Option<(CompanyId, Uuid)> {
    parse(EVENT, key)
}

fn parse(tag: u8, key: &[u8]) -> Option<(CompanyId, Uuid)> {
    let (rest, id) = key.split_last_chunk::<16>()?;
    let company = rest.strip_prefix(&[tag])?.strip_suffix(&[0])?;
    let company = std::str::from_utf8(company).ok().and_then(|text| CompanyId::parse(text).ok())?;
    Some((company, Uuid::from_bytes(*id)))
}

pub(super) fn event(company: &CompanyId, id: EventId) -> Vec<u8> {
    scoped(EVENT, company, id.0)
}

/// What the keys of a company's events begin with.
pub(super) fn events_of(company: &CompanyId) -> Vec<u8> {
    [&[EVENT], company.as_str().as_bytes(), &[0]].concat()
}

/// What the keys of a company's tasks begin with.
pub(super) fn tasks_of(company: &CompanyId) -> Vec<u8> {
    [&[TASK], company.as_str().as_bytes(), &[0]].concat()
}

pub(super) fn queued(company: &CompanyId, id: EventId) -> Vec<u8> {
    scoped(QUEUED, company, id.0)
}

/// Company and id of an event that waits.
pub(super) fn parse_queued(key: &[u8]) -> Option<(CompanyId, EventId)> {
    parse(QUEUED, key).map(|(company, id)| (company, EventId(id)))
}

pub(super) fn api_key(id: &KeyId) -> Vec<u8> {
    [&[API_KEY], id.0.as_bytes()].concat()
}

pub(super) fn audit(id: Uuid) -> Vec<u8> {
    [&[AUDIT], &id.as_bytes()[..]].concat()
}

/// The id of an entry of the audit log.
pub(super) fn parse_audit(key: &[u8]) -> Option<Uuid> {
    let id: &[u8; 16] = key.strip_prefix(&[AUDIT])?.try_into().ok()?;
    Some(Uuid::from_bytes(*id))
}

/// Where a company's next row is stored.
pub(super) fn rows(company: &CompanyId) -> Vec<u8> {
    [&[ROWS], company.as_str().as_bytes()].concat()
}

/// The company of such a key.
pub(super) fn parse_rows(key: &[u8]) -> Option<CompanyId> {
    let company = key.strip_prefix(&[ROWS])?;
    std::str::from_utf8(company).ok().and_then(|text| CompanyId::parse(text).ok())
}

/// Where the answer to a request of this moment is put.
pub(super) fn answer(id: IdempotencyId, at: DateTime<Utc>) -> Vec<u8> {
    match id.window {
        None => on_day(IDEMPOTENCY, day(at), id),
        Some(window) => on_day(DELIVERY, day(at + window), id),
    }
}

/// Where the first answer may be that counts at `now`, newest first; and since when it counts.
pub(super) fn answers(id: IdempotencyId, now: DateTime<Utc>, default: Duration) -> (DateTime<Utc>, Vec<Vec<u8>>) {
    let (since, tag, days) = match id.window {
        None => (now - default, IDEMPOTENCY, day(now - default)..=day(now)),
        Some(window) => (now - window, DELIVERY, day(now)..=day(now + window)),
    };
    (since, days.rev().map(|day| on_day(tag, day, id)).collect())
}

/// Where an answer is stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct AnswerKey {
    /// Tag and day.
    pub(super) day: (u8, u16),
    pub(super) name: u128,
}

/// The parts of an answer's key, if it is one.
pub(super) fn parse_answer(key: &[u8]) -> Option<AnswerKey> {
    let key: &[u8; 19] = key.try_into().ok()?;
    let (head, name) = key.split_first_chunk::<3>()?;
    let tag = Some(head[0]).filter(|it| [IDEMPOTENCY, DELIVERY].contains(it))?;
    let day = (tag, u16::from_be_bytes([head[1], head[2]]));
    Some(AnswerKey { day, name: u128::from_be_bytes(*name.first_chunk()?) })
}

fn on_day(tag: u8, day: u16, id: IdempotencyId) -> Vec<u8> {
    [&[tag][..], &day.to_be_bytes(), &id.name].concat()
}

/// Up to where the answers stand that count no longer, of each kind.
pub(super) fn ended_answers(now: DateTime<Utc>, default: Duration) -> [std::ops::Range<Vec<u8>>; 2] {
    let until = |tag: u8, day: u16| vec![tag]..[&[tag][..], &day.to_be_bytes()].concat();
    [until(IDEMPOTENCY, day(now - default)), until(DELIVERY, day(now))]
}

/// Days since 1970, enough up to the year 2149.
pub(super) fn day(at: DateTime<Utc>) -> u16 {
    u16::try_from(at.timestamp().max(0) / 86_400).unwrap_or(u16::MAX)
}

fn scoped(tag: u8, company: &CompanyId, id: Uuid) -> Vec<u8> {
    [&[tag], company.as_str().as_bytes(), &[0], id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data on users' disks is found by these bytes.
    #[test]
    fn the_layout_is_frozen() {
        let (company, id) = (CompanyId::parse("c-1").unwrap(), Uuid::from_bytes([7; 16]));
        let task_key = task(&company, TaskId(id));
        assert_eq!(task_key, [b"Tc-1\0", &[7; 16][..]].concat());
        assert_eq!(parse_task(&task_key), Some((company.clone(), TaskId(id))));
        assert_eq!(event(&company, EventId(id)), [b"Ec-1\0", &[7; 16][..]].concat());
        assert_eq!(queued(&company, EventId(id)), [b"Qc-1\0", &[7; 16][..]].concat());
        assert_eq!(api_key(&KeyId("key_0a".into())), b"Kkey_0a");
        assert_eq!(audit(id), [b"A", &[7; 16][..]].concat());
        assert_eq!(parse_audit(&audit(id)), Some(id));
        assert_eq!(rows(&company), b"Rc-1");
        assert_eq!(parse_rows(b"Rc-1"), Some(company));
        let at = DateTime::from_timestamp(86_400 * 258, 5).unwrap();
        let mut id = IdempotencyId { name: [9; 16], window: None };
        assert_eq!(answer(id, at), [b"I\x01\x02", &[9; 16][..]].concat());
        id.window = Some(Duration::days(3));
        assert_eq!(answer(id, at), [b"D\x01\x05", &[9; 16][..]].concat());
    }
}
