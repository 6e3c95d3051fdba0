//! Retention: removes what has expired.

use std::sync::PoisonError;

use chrono::{DateTime, Duration, Utc};

use super::backend::Embedded;
use super::change::{Change, Done, KeyValue, Purged};
use super::journal::removable;
use super::shared::SharedStore;
use super::{answer_record, events, failure, keys};
use crate::store::error::StoreError;
use crate::store::id_time::{first_id, received_ms};
use crate::store::stats::Expired;

/// Number of keys removed in one change.
const CHUNK: usize = 1000;

/// Removes everything that has expired.
pub(super) async fn expire(store: &Embedded, now: DateTime<Utc>) -> Result<Expired, StoreError> {
    let mut expired = Expired::default();
    for ended in keys::ended_answers(now, store.shared.options.idempotency) {
        loop {
            let ended = ended.clone();
            let (found, answers) = store.read(move |shared| answers_in(shared, ended)).await?;
            let count = found.len();
            expired.idempotency_keys += answers;
            remove(store, found).await?;
            if count < CHUNK {
                break;
            }
        }
    }
    expired.idempotency_keys += empty_blocks(store, now).await?;
    if let Some(age) = store.shared.options.deleted_tasks {
        let before = (now - age).timestamp_millis();
        loop {
            let found = store.read(move |shared| Ok(deleted_tasks(shared, before))).await?;
            let count = found.len();
            expired.tasks += count as u64;
            if count > 0 {
                store.writer.write(Change::Purge(found)).await?;
            }
            if count < CHUNK {
                break;
            }
        }
    }
    if let Some(age) = store.shared.options.audit {
        let ended = vec![keys::AUDIT]..keys::audit(first_id(now - age));
        loop {
            let ended = ended.clone();
            let found = store.read(move |shared| keys_in(shared, ended)).await?;
            let count = found.len();
            expired.audit_entries += count as u64;
            remove(store, found).await?;
            if count < CHUNK {
                break;
            }
        }
    }
    if let Some(age) = store.shared.options.events {
        expired.event_bytes = expire_events(store, now, age).await?;
    }
    Ok(expired)
}

/// Empties blocks of expired responses. Responses to idempotency keys are removed by whole days; those of the day
/// that is ending are removed earlier, by replacing each block with an empty one.
async fn empty_blocks(store: &Embedded, now: DateTime<Utc>) -> Result<u64, StoreError> {
    let mut count = 0;
    loop {
        let (found, answers) = store.read(move |shared| ended_blocks(shared, now)).await?;
        count += answers;
        let (more, last) = (found.len() == CHUNK, found.last().map(|(key, _)| key.clone()));
        if found.iter().any(|(_, value)| !value.is_empty()) {
            let found = found.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            store.writer.write(Change::Overwrite(found)).await?;
        }
        if let Some(last) = last {
            *store.shared.emptied.lock().unwrap_or_else(PoisonError::into_inner) = last;
        }
        if !more {
            return Ok(count);
        }
    }
}

/// Returns some of those blocks in the order in which they were stored, and the number of responses in them. A
/// block that is empty already has no value.
fn ended_blocks(shared: &SharedStore, now: DateTime<Utc>) -> Result<(Vec<KeyValue>, u64), StoreError> {
    let since = now - shared.options.idempotency;
    let day = keys::AnswerDay { of: keys::AnswerKind::Keys, day: keys::day(since) };
    let emptied = shared.emptied.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let from = keys::block(day, 0).max([emptied, vec![0]].concat());
    let until = keys::block(day, u64::MAX);
    // The clock may have been set back.
    if from > until {
        return Ok((Vec::new(), 0));
    }
    shared.view(|tree| {
        let (mut found, mut count) = (Vec::new(), 0);
        for entry in tree.range(from..=until).take(CHUNK) {
            let (key, value) = entry.map_err(failure::read)?;
            let answers = answer_record::decode_block(&value)?;
            for (_, answer) in &answers {
                if answer_record::decode_answer(answer)?.at > since {
                    return Ok((found, count));
                }
            }
            count += answers.len() as u64;
            let empty = if answers.is_empty() { Vec::new() } else { answer_record::encode_block(&[])? };
            found.push((key.to_vec(), empty));
        }
        Ok((found, count))
    })
}

async fn remove(store: &Embedded, keys: Vec<Vec<u8>>) -> Result<(), StoreError> {
    if keys.is_empty() { Ok(()) } else { store.writer.write(Change::Remove(keys)).await.map(drop) }
}

/// Returns some of the entries whose responses have expired, and the number of responses in them.
fn answers_in(shared: &SharedStore, ended: std::ops::Range<Vec<u8>>) -> Result<(Vec<Vec<u8>>, u64), StoreError> {
    shared.view(|tree| {
        let (mut found, mut answers) = (Vec::new(), 0);
        for entry in tree.range(ended).take(CHUNK) {
            let (key, value) = entry.map_err(failure::read)?;
            let block = keys::parse_block(&key).is_some();
            answers += if block { answer_record::decode_block(&value)?.len() as u64 } else { 1 };
            found.push(key.to_vec());
        }
        Ok((found, answers))
    })
}

/// Returns some of the expired keys.
fn keys_in(shared: &SharedStore, ended: std::ops::Range<Vec<u8>>) -> Result<Vec<Vec<u8>>, StoreError> {
    shared.view(|tree| {
        let entries = tree.range(ended).keys().take(CHUNK);
        entries.map(|key| key.map(|it| it.to_vec()).map_err(failure::read)).collect()
    })
}

fn deleted_tasks(shared: &SharedStore, before_ms: i64) -> Vec<Purged> {
    let index = shared.index.read().unwrap_or_else(PoisonError::into_inner);
    index.deleted_before(before_ms, CHUNK)
}

/// Removes whole expired segments once a snapshot covers their other content. An event expires by its time of
/// receipt: it is no longer shown even if a newer event keeps its segment.
async fn expire_events(store: &Embedded, now: DateTime<Utc>, age: Duration) -> Result<u64, StoreError> {
    // A segment with few writes must be closed at some point, or nothing in it could expire.
    let roll = (now - (age / 8).max(Duration::hours(1))).timestamp_millis();
    store.writer.write(Change::Roll { before_ms: roll }).await?;
    let now_ms = now.timestamp_millis();
    let (before_ms, last) = store
        .read(move |shared| {
            let before_ms = expire_before(shared, (now - age).timestamp_millis())?;
            Ok((before_ms, removable(&shared.segments, unqueued(shared)?, before_ms, now_ms).1))
        })
        .await?;
    let Some(last) = last else { return Ok(0) };
    store.read(move |shared| shared.take_snapshot(last)).await?;
    // What was written since is in later segments.
    let covered = last;
    match store.writer.write(Change::Prune { covered, before_ms, now_ms }).await? {
        Done::Freed(bytes) => Ok(bytes),
        _ => Ok(0),
    }
}

/// Returns the last sequence before the segments with queued events. Their times alone do not protect them: a clock that was
/// ahead gives an event a time in the future.
fn unqueued(shared: &SharedStore) -> Result<u64, StoreError> {
    let queued: Vec<_> = shared.view(events::queued)?.into_iter().map(|(_, id)| id.0).collect();
    let oldest = shared.segments.oldest_with(&queued).map_err(|e| failure::stored("event", &e))?;
    Ok(oldest.map_or(u64::MAX - 1, |first| first.saturating_sub(1)))
}

/// Returns the time before which events expire: queued events, and all events received after them, are kept until
/// they are processed.
fn expire_before(shared: &SharedStore, before_ms: i64) -> Result<i64, StoreError> {
    let queued = shared.view(events::queued)?;
    let oldest = queued.iter().map(|(_, id)| received_ms(id.0)).min();
    let before_ms = oldest.map_or(before_ms, |it| it.min(before_ms));
    shared.set_horizon(before_ms);
    Ok(before_ms)
}
