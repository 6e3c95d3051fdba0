//! First answers to idempotency keys and deliveries: finding one, and storing those of a group.

use std::collections::HashMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::change::{Guard, Written};
use super::journal::Kind;
use super::keys::{self, AnswerDay};
use super::names::Place;
use super::record;
use super::shared::Shared;
use crate::store::{FirstAnswer, IdempotencyId, StoreError};

/// Most bytes of a block, beyond the answer that passes it: sled's pages hold sixteen entries, whatever their size.
const BLOCK_BYTES: usize = 64 << 10;

/// The first answer that counts at `now`. `get` reads an entry of the view.
pub(super) fn first(
    shared: &Shared,
    id: IdempotencyId,
    now: DateTime<Utc>,
    get: &dyn Fn(&[u8]) -> Result<Option<Bytes>, StoreError>,
) -> Result<Option<FirstAnswer>, StoreError> {
    let (since, days) = keys::answer_days(id, now, shared.options.idempotency);
    for day in days {
        // Not held while the view is read.
        let place = shared.names().find(day, &id.name);
        let value = match place {
            None => None,
            Some(Place::Own) => get(&keys::own_answer(day, &id.name))?,
            Some(Place::Block(number)) => match get(&keys::block(day, number))? {
                Some(block) => {
                    let answers = record::decode_block(&block)?;
                    answers.iter().rev().find(|(name, _)| *name == id.name).map(|(_, it)| block.slice_ref(it))
                }
                None => None,
            },
        };
        if let Some(first) = value.map(|it| record::decode_answer(&it)).transpose()?
            && first.at > since
        {
            return Ok(Some(first));
        }
    }
    Ok(None)
}

/// The answers of a group that is being decided.
#[derive(Debug, Default)]
pub(super) struct GroupAnswers(HashMap<(AnswerDay, [u8; 16]), Bytes>);

/// Where the answers of a group are, for [`Names`](super::names::Names) once it is durable.
pub(super) type Placed = Vec<(AnswerDay, [u8; 16], Place)>;

impl GroupAnswers {
    pub(super) fn add(&mut self, guard: Guard) {
        self.0.insert((keys::answer_day(guard.id, guard.at), guard.id.name), guard.value.into());
    }

    /// What this group says of an idempotency key: an answer, or that there is none any more.
    pub(super) fn first(
        &self,
        shared: &Shared,
        id: IdempotencyId,
        now: DateTime<Utc>,
    ) -> Result<Option<Option<FirstAnswer>>, StoreError> {
        let (since, mut days) = keys::answer_days(id, now, shared.options.idempotency);
        let value = days.find_map(|day| self.0.get(&(day, id.name)));
        let first = value.map(|it| record::decode_answer(it)).transpose()?;
        Ok(first.map(|it| Some(it).filter(|it| it.at > since)))
    }

    /// The blocks, numbered from `number` on.
    pub(super) fn into_blocks(self, number: u64) -> Result<(Vec<Written>, Placed), StoreError> {
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
                placed.extend(answers.iter().map(|(name, _)| (day, *name, Place::Block(place))));
                let value = record::encode_block(&answers)?.into();
                written.push(Written { kind: Kind::Insert, key: keys::block(day, place), value });
                answers = rest;
            }
        }
        Ok((written, placed))
    }
}
