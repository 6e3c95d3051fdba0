//! The key layout. The meaning of a tag never changes; new kinds of entries get new tags.
//!
//! | key | value | where |
//! |---|---|---|
//! | `T` company `00` id | a task | view |
//! | `K` key id | an API key | view |
//! | `J` day u16, number u64, big endian | first answers to idempotency keys, those of a group of the journal | view |
//! | `F` day u16, number u64, big endian | first answers to deliveries, under the day on which they expire | view |
//! | `I` day u16, big endian; 16 bytes of the request's name | the same as `J` for one key; imports write it | view |
//! | `D` day u16, big endian; 16 bytes of the delivery's name | the same as `F` for one delivery; imports write it | view |
//! | `Q` company `00` id | a queued event: its position in the queue | view |
//! | `A` id | an entry of the audit log | view |
//! | `R` company | the next row of a company whose tasks were purged | view |
//! | `P` company | the last change of a company's purged tasks | view |
//! | `M` | the view's metadata: the last sequence applied, and the sum of its content | view |
//! | `E` company `00` id | an event | journal only |
//!
//! A company id contains no NUL, so keys sort by company and, within one, by id. Ids are UUIDs of version 7 and so
//! sort by time. The idempotency keys of a day are adjacent, so that a whole day can be removed at once.

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::auth::KeyId;
use crate::model::company::CompanyId;
use crate::model::ids::EventId;
use crate::model::ids::TaskId;
use crate::store::idempotency::IdempotencyId;

/// Name of the only tree. A sled batch is atomic within one tree only.
pub(super) const TREE: &[u8] = b"hookmill";

pub(super) const TASK: u8 = b'T';
const EVENT: u8 = b'E';
pub(super) const API_KEY: u8 = b'K';
const KEYS: [u8; 2] = [b'I', b'J'];
const DELIVERIES: [u8; 2] = [b'D', b'F'];
/// The tags of entries with stored responses.
pub(super) const ANSWERS: [u8; 4] = [KEYS[0], KEYS[1], DELIVERIES[0], DELIVERIES[1]];
pub(super) const QUEUED: u8 = b'Q';
pub(super) const AUDIT: u8 = b'A';
pub(super) const ROWS: u8 = b'R';
pub(super) const PURGED: u8 = b'P';
pub(super) const META: &[u8] = b"M";

pub(super) fn task(company: &CompanyId, id: TaskId) -> Vec<u8> {
    scoped(TASK, company, id.0)
}

/// Parses a task's key into company and id.
pub(super) fn parse_task(key: &[u8]) -> Option<(CompanyId, TaskId)> {
    parse(TASK, key).map(|(company, id)| (company, TaskId(id)))
}

/// Returns whether a key is that of an event of this company.
pub(super) fn is_event_of(company: &CompanyId, key: &[u8]) -> bool {
    is_of(EVENT, company, key)
}

/// Returns whether a key is that of a task of this company.
pub(super) fn is_task_of(company: &CompanyId, key: &[u8]) -> bool {
    is_of(TASK, company, key)
}

fn is_of(tag: u8, company: &CompanyId, key: &[u8]) -> bool {
    let rest = key.strip_prefix(&[tag]).and_then(|it| it.strip_prefix(company.as_str().as_bytes()));
    rest.is_some_and(|it| it.first() == Some(&0))
}

/// Parses an event's key into company and id.
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

/// Returns the common prefix of the keys of a company's tasks.
pub(super) fn tasks_of(company: &CompanyId) -> Vec<u8> {
    [&[TASK], company.as_str().as_bytes(), &[0]].concat()
}

pub(super) fn queued(company: &CompanyId, id: EventId) -> Vec<u8> {
    scoped(QUEUED, company, id.0)
}

/// Parses the key of a queued event into company and id.
pub(super) fn parse_queued(key: &[u8]) -> Option<(CompanyId, EventId)> {
    parse(QUEUED, key).map(|(company, id)| (company, EventId(id)))
}

pub(super) fn api_key(id: &KeyId) -> Vec<u8> {
    [&[API_KEY], id.0.as_bytes()].concat()
}

pub(super) fn audit(id: Uuid) -> Vec<u8> {
    [&[AUDIT], &id.as_bytes()[..]].concat()
}

/// Parses the key of an audit entry into its id.
pub(super) fn parse_audit(key: &[u8]) -> Option<Uuid> {
    let id: &[u8; 16] = key.strip_prefix(&[AUDIT])?.try_into().ok()?;
    Some(Uuid::from_bytes(*id))
}

/// Returns a readable name of an API key's or an audit entry's key, for messages.
pub(super) fn name_of(key: &[u8]) -> String {
    match (parse_audit(key), key.strip_prefix(&[API_KEY])) {
        (Some(id), _) => format!("audit {id}"),
        (None, Some(id)) => format!("api_key {}", id.escape_ascii()),
        (None, None) => String::new(),
    }
}

/// Returns the key of a company's next row.
pub(super) fn rows(company: &CompanyId) -> Vec<u8> {
    [&[ROWS], company.as_str().as_bytes()].concat()
}

/// Parses the key of a company's next row into the company.
pub(super) fn parse_rows(key: &[u8]) -> Option<CompanyId> {
    parse_company(ROWS, key)
}

/// Returns the key of the last change of a company's purged tasks.
pub(super) fn purged(company: &CompanyId) -> Vec<u8> {
    [&[PURGED], company.as_str().as_bytes()].concat()
}

/// Parses the key of a last purged change into the company.
pub(super) fn parse_purged(key: &[u8]) -> Option<CompanyId> {
    parse_company(PURGED, key)
}

fn parse_company(tag: u8, key: &[u8]) -> Option<CompanyId> {
    let company = key.strip_prefix(&[tag])?;
    std::str::from_utf8(company).ok().and_then(|text| CompanyId::parse(text).ok())
}

/// The kind of request that responses are stored for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AnswerKind {
    /// Requests with an `Idempotency-Key`.
    Keys,
    /// Deliveries with an id of their own.
    Deliveries,
}

impl AnswerKind {
    /// Returns the tags of single entries and of blocks.
    fn tags(self) -> [u8; 2] {
        match self {
            Self::Keys => KEYS,
            Self::Deliveries => DELIVERIES,
        }
    }
}

/// The responses of one kind and one day: they are stored together, and expire together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AnswerDay {
    pub(super) of: AnswerKind,
    pub(super) day: u16,
}

/// Returns the end of a day, in whole milliseconds.
pub(super) fn end_of(day: AnswerDay) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Duration::days(i64::from(day.day) + 1) - Duration::milliseconds(1)
}

/// Returns the day under which the response to a request of this time is stored.
pub(super) fn answer_day(id: &IdempotencyId, at: DateTime<Utc>) -> AnswerDay {
    match id.window {
        None => AnswerDay { of: AnswerKind::Keys, day: day(at) },
        Some(window) => AnswerDay { of: AnswerKind::Deliveries, day: day(at + window) },
    }
}

/// Returns the days under which a response that is valid at `now` may be stored, newest first, and the time since
/// which responses are valid.
pub(super) fn answer_days(
    id: &IdempotencyId,
    now: DateTime<Utc>,
    default: Duration,
) -> (DateTime<Utc>, impl Iterator<Item = AnswerDay>) {
    let (since, of, days) = match id.window {
        None => (now - default, AnswerKind::Keys, day(now - default)..=day(now)),
        Some(window) => (now - window, AnswerKind::Deliveries, day(now)..=day(now + window)),
    };
    (since, days.rev().map(move |day| AnswerDay { of, day }))
}

/// Returns the key of a block of responses.
pub(super) fn block(day: AnswerDay, number: u64) -> Vec<u8> {
    [&day.of.tags()[1..], &day.day.to_be_bytes(), &number.to_be_bytes()].concat()
}

/// Parses the key of a block into its day and number.
pub(super) fn parse_block(key: &[u8]) -> Option<(AnswerDay, u64)> {
    let (day, number) = parse_day(key, 1)?;
    Some((day, u64::from_be_bytes(number.try_into().ok()?)))
}

/// Returns the key of a response that is stored as an entry of its own.
pub(super) fn own_answer(day: AnswerDay, name: &[u8; 16]) -> Vec<u8> {
    [&day.of.tags()[..1], &day.day.to_be_bytes(), name].concat()
}

/// Parses such a key into its day and name.
pub(super) fn parse_own_answer(key: &[u8]) -> Option<(AnswerDay, [u8; 16])> {
    let (day, name) = parse_day(key, 0)?;
    Some((day, name.try_into().ok()?))
}

/// Returns the day of an entry that contains responses.
pub(super) fn answers_in(key: &[u8]) -> Option<AnswerDay> {
    parse_block(key).map(|it| it.0).or_else(|| parse_own_answer(key).map(|it| it.0))
}

fn parse_day(key: &[u8], which: usize) -> Option<(AnswerDay, &[u8])> {
    let ([tag, day @ ..], rest) = key.split_first_chunk::<3>()?;
    let of = [AnswerKind::Keys, AnswerKind::Deliveries].into_iter().find(|it| it.tags()[which] == *tag)?;
    Some((AnswerDay { of, day: u16::from_be_bytes(*day) }, rest))
}

/// Returns the key ranges of expired responses: single entries and blocks.
pub(super) fn ended_answers(now: DateTime<Utc>, default: Duration) -> [std::ops::Range<Vec<u8>>; 4] {
    let until = |tag: u8, day: u16| vec![tag]..[&[tag][..], &day.to_be_bytes()].concat();
    let (keys, deliveries) = (day(now - default), day(now));
    [until(KEYS[0], keys), until(KEYS[1], keys), until(DELIVERIES[0], deliveries), until(DELIVERIES[1], deliveries)]
}

/// Returns the days since 1970; sufficient up to the year 2149.
pub(super) fn day(at: DateTime<Utc>) -> u16 {
    u16::try_from(at.timestamp().max(0) / 86_400).unwrap_or(u16::MAX)
}

fn scoped(tag: u8, company: &CompanyId, id: Uuid) -> Vec<u8> {
    [&[tag], company.as_str().as_bytes(), &[0], id.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Existing data directories are read with exactly these bytes.
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
        assert_eq!(parse_rows(b"Rc-1"), Some(company.clone()));
        assert_eq!(purged(&company), b"Pc-1");
        assert_eq!(parse_purged(b"Pc-1"), Some(company));
        let at = DateTime::from_timestamp(86_400 * 258, 5).unwrap();
        let mut id = IdempotencyId { company: None, name: [9; 16], window: None };
        let keys = answer_day(&id, at);
        assert_eq!(own_answer(keys, &id.name), [b"I\x01\x02", &[9; 16][..]].concat());
        assert_eq!(block(keys, 7), b"J\x01\x02\0\0\0\0\0\0\0\x07");
        id.window = Some(Duration::days(3));
        let deliveries = answer_day(&id, at);
        assert_eq!(own_answer(deliveries, &id.name), [b"D\x01\x05", &[9; 16][..]].concat());
        assert_eq!(block(deliveries, 7), b"F\x01\x05\0\0\0\0\0\0\0\x07");
        assert_eq!(parse_block(&block(deliveries, 7)), Some((deliveries, 7)));
        assert_eq!(parse_own_answer(&own_answer(keys, &[9; 16])), Some((keys, [9; 16])));
    }
}
