//! Stored responses to idempotency keys and deliveries: lookup, and storing those of a group.

use std::collections::HashMap;
use std::ops::Bound;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::answer_record;
use super::change::{Guard, OwnedOp};
use super::failure;
use super::journal::OpKind;
use super::keys::{self, AnswerDay, AnswerKind};
use super::names::AnswerPlace;
use super::shared::SharedStore;
use crate::model::company::CompanyId;
use crate::store::error::StoreError;
use crate::store::idempotency::{FirstAnswer, IdempotencyId};
use crate::store::item::StoredAnswer;

/// Size of a block in bytes, not counting the response that exceeds it. sled's pages hold sixteen entries of any
/// size.
const BLOCK_BYTES: usize = 64 << 10;

/// Reads an entry of the read view.
pub(super) type Get<'a> = &'a dyn Fn(&[u8]) -> Result<Option<Bytes>, StoreError>;

/// Returns the stored response to a request, if it has not expired at `now`.
pub(super) fn first(
    shared: &SharedStore,
    id: &IdempotencyId,
    now: DateTime<Utc>,
    get: Get<'_>,
) -> Result<Option<FirstAnswer>, StoreError> {
    let (since, days) = keys::answer_days(id, now, shared.options.idempotency);
    for day in days {
        // The lock is not held while the read view is read.
        let place = shared.names().find(day, &id.name);
        let value = match place {
            None => None,
            Some(AnswerPlace::Own) => get(&keys::own_answer(day, &id.name))?,
            Some(AnswerPlace::Block(number)) => match block(shared, &keys::block(day, number), get)? {
                Some(block) => {
                    let answers = answer_record::decode_block(&block)?;
                    answers.iter().rev().find(|(name, _)| *name == id.name).map(|(_, it)| block.slice_ref(it))
                }
                None => None,
            },
        };
        if let Some(first) = value.map(|it| answer_record::decode_answer(&it)).transpose()?
            && first.at > since
        {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

/// Reads a block that [`AnswerNames`](super::names::AnswerNames) refers to. A reader's view may be one group behind the names,
/// so it waits and tries again; a block that is still missing then is being removed.
fn block(shared: &SharedStore, key: &[u8], get: Get<'_>) -> Result<Option<Bytes>, StoreError> {
    if let Some(block) = get(key)? {
        return Ok(Some(block));
    }
    shared.settle()?;
    get(key)
}

/// Number of entries that are read at once; most are blocks.
const PAGE: usize = 16;

/// Visits the response to each request, without those that were forgotten. Expired ones may be among them.
pub(super) fn each(
    shared: &SharedStore,
    visit: &mut dyn FnMut(StoredAnswer) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    for tag in keys::ANSWERS {
        let mut from = Bound::Included(vec![tag]);
        loop {
            let entries = shared.view(|tree| {
                let entries = tree.range((from.clone(), Bound::Excluded(vec![tag + 1]))).take(PAGE);
                entries.map(|it| it.map_err(failure::read)).collect::<Result<Vec<_>, _>>()
            })?;
            let Some((last, _)) = entries.last() else { break };
            from = Bound::Excluded(last.to_vec());
            for (key, value) in &entries {
                for (day, name, first) in answers_of(shared, key, value)? {
                    let (is_delivery, expires_at) = match day.of {
                        AnswerKind::Keys => (false, first.at + shared.options.idempotency),
                        AnswerKind::Deliveries => (true, keys::end_of(day)),
                    };
                    for company in companies_of(shared, &first)? {
                        let first = first.clone();
                        visit(StoredAnswer { company, is_delivery, name, expires_at, first })?;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Returns the responses of an entry that no later ones have replaced.
fn answers_of(
    shared: &SharedStore,
    key: &[u8],
    value: &[u8],
) -> Result<Vec<(AnswerDay, [u8; 16], FirstAnswer)>, StoreError> {
    let (day, place, answers) = if let Some((day, number)) = keys::parse_block(key) {
        (
            day,
            AnswerPlace::Block(number),
            if value.is_empty() { Vec::new() } else { answer_record::decode_block(value)? },
        )
    } else if let Some((day, name)) = keys::parse_own_answer(key) {
        (day, AnswerPlace::Own, vec![(name, value)])
    } else {
        return Ok(Vec::new());
    };
    let names = shared.names();
    let mut found = Vec::new();
    for (name, answer) in answers.into_iter().filter(|(name, _)| names.is_last(day, name, place)) {
        let mut first = answer_record::decode_answer(answer)?;
        // Other backends have microseconds.
        first.at = first.at.trunc_subsecs(6);
        // A forgotten one.
        if first.at != DateTime::UNIX_EPOCH {
            found.push((day, name, first));
        }
    }
    Ok(found)
}

/// Returns the company of the request with this response, which entries do not name: that of its event, or of an event in
/// its body. If there is none, it is the response to an admin: of the company in it, or the operator, so both are returned.
fn companies_of(shared: &SharedStore, first: &FirstAnswer) -> Result<Vec<Option<CompanyId>>, StoreError> {
    let body = serde_json::from_slice(&first.body).unwrap_or_default();
    let in_body = || member(&body, "event_id").and_then(|it| Uuid::parse_str(it).ok());
    if let Some(id) = first.event_id.map(|it| it.0).or_else(in_body) {
        let event = shared.segments.any_event(id).map_err(|e| failure::stored("event", &e))?;
        if let Some((company, _)) = event.and_then(|(key, _)| keys::parse_event(&key)) {
            return Ok(vec![Some(company)]);
        }
    }
    let named = member(&body, "company_id").and_then(|it| CompanyId::parse(it).ok());
    Ok(named.map(Some).into_iter().chain([None]).collect())
}

/// Returns the first text with this name in a JSON value.
fn member<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    match value {
        Value::Object(fields) => {
            let own = fields.get(name).and_then(Value::as_str);
            own.or_else(|| fields.values().find_map(|it| member(it, name)))
        }
        Value::Array(items) => items.iter().find_map(|it| member(it, name)),
        _ => None,
    }
}

/// The responses of the group that is being decided.
#[derive(Debug, Default)]
pub(super) struct GroupAnswers(HashMap<(AnswerDay, [u8; 16]), Bytes>);

/// Where the responses of a group are stored; for [`AnswerNames`](super::names::AnswerNames), once the group is durable.
pub(super) type Placed = Vec<(AnswerDay, [u8; 16], AnswerPlace)>;

impl GroupAnswers {
    pub(super) fn add(&mut self, guard: Guard) {
        self.0.insert((keys::answer_day(&guard.id, guard.at), guard.id.name), guard.value.into());
    }

    /// Returns what this group stores for an idempotency key: `Some(None)` if the response has expired, `None` if
    /// the group does not contain the key.
    pub(super) fn first(
        &self,
        shared: &SharedStore,
        id: &IdempotencyId,
        now: DateTime<Utc>,
    ) -> Result<Option<Option<FirstAnswer>>, StoreError> {
        let (since, mut days) = keys::answer_days(id, now, shared.options.idempotency);
        let value = days.find_map(|day| self.0.get(&(day, id.name)));
        let first = value.map(|it| answer_record::decode_answer(it)).transpose()?;
        Ok(first.map(|it| Some(it).filter(|it| it.at > since)))
    }

    /// Encodes the blocks, numbered from `number`.
    pub(super) fn into_blocks(self, number: u64) -> Result<(Vec<OwnedOp>, Placed), StoreError> {
        let mut days: HashMap<AnswerDay, Vec<([u8; 16], Bytes)>> = HashMap::new();
        for ((day, name), value) in self.0 {
            days.entry(day).or_default().push((name, value));
        }
        let (mut written, mut placed) = (Vec::new(), Vec::new());
        for (day, mut answers) in days {
            while !answers.is_empty() {
                let mut bytes = 0;
                let full = answers.iter().position(|(_, value)| {
                    bytes += value.len();
                    bytes >= BLOCK_BYTES
                });
                let rest = answers.split_off(full.map_or(answers.len(), |at| at + 1));
                let place = number + written.len() as u64;
                placed.extend(answers.iter().map(|(name, _)| (day, *name, AnswerPlace::Block(place))));
                let value = answer_record::encode_block(&answers)?.into();
                written.push(OwnedOp { kind: OpKind::Insert, key: keys::block(day, place), value });
                answers = rest;
            }
        }
        Ok((written, placed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::StoreOptions;
    use crate::store::embedded::backend::Embedded;
    use crate::store::embedded::change::Change;
    use crate::store::idempotency::Idempotency;
    use crate::store::write::Commit;

    /// Without the wait, a request that is repeated while its first response is on its way into the read view would
    /// be processed again.
    #[test]
    fn a_reader_waits_for_a_block_that_is_named_and_not_in_the_view_yet() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Embedded::open(&dir.path().join("data"), &StoreOptions::default()).unwrap();
        // The applier cannot continue while this lock is held.
        let behind = store.shared.index.read().unwrap();
        let now = Utc::now();
        let id = IdempotencyId::of(None, "s", "/r", "key");
        let answer = FirstAnswer {
            fingerprint: [1; 16],
            at: now,
            refused: false,
            event_id: None,
            head: Bytes::new(),
            body: Bytes::from_static(b"first"),
        };
        let idempotency = Some(Idempotency { id: id.clone(), answer });
        let commit = Commit { ingested: Vec::new(), idempotency, lane: None, audit: None };
        let mut change = Change::commit(commit).unwrap();
        if let Change::Put { audit, .. } = &mut change {
            *audit = Some((b"A123456789abcdefg".to_vec(), vec![0]));
        }
        store.writer.write_blocking(change).unwrap();
        let shared = std::sync::Arc::clone(&store.shared);
        let reader = std::thread::spawn(move || {
            let get = |key: &[u8]| {
                let value = shared.view(|tree| tree.get(key).map_err(failure::read))?;
                Ok(value.map(|it| Bytes::copy_from_slice(&it)))
            };
            first(&shared, &id, now, &get)
        });
        std::thread::sleep(std::time::Duration::from_millis(100));
        drop(behind);
        assert_eq!(reader.join().unwrap().unwrap().map(|it| it.body), Some(Bytes::from_static(b"first")));
    }
}
