//! An in-memory map of where the response to each idempotency key is stored. Nearly every key in a request is new,
//! and this map shows that without reading the view.
//!
//! The responses of a journal group are stored together, as one entry of the view (a block): separate entries would
//! be at random places in sled's tree, and cost more than the task itself. This map finds the block of a key. It
//! has one map per day, with 16 bytes per key. It is built from what the view reads at the start, and updated by
//! the writer; the keys of a day expire together.
//!
//! A key is identified by 64 bits of its SHA-256. The probability that two of ten million keys of a day collide is
//! 3 in a million; a repetition of the older one would then be processed as new.

use std::collections::HashMap;

use super::answer_record;
use super::keys::{self, AnswerDay};
use crate::store::error::StoreError;

/// Marks an entry of its own, as imports and development builds before 0.1 wrote it.
const OWN: u64 = 0;

/// Where a response is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerPlace {
    /// In an entry under the key's own name.
    Own,
    /// In the block with this number.
    Block(u64),
}

/// The keys of all days.
#[derive(Debug, Default)]
pub(super) struct AnswerNames(HashMap<AnswerDay, HashMap<u64, u64>>);

impl AnswerNames {
    pub(super) fn find(&self, day: AnswerDay, name: &[u8; 16]) -> Option<AnswerPlace> {
        let place = *self.0.get(&day)?.get(&short(name))?;
        Some(if place == OWN { AnswerPlace::Own } else { AnswerPlace::Block(place) })
    }

    /// Returns whether this is the last place of a request: the last of its last day.
    pub(super) fn is_last(&self, day: AnswerDay, name: &[u8; 16], place: AnswerPlace) -> bool {
        let later = |it: &AnswerDay| it.of == day.of && it.day > day.day;
        self.find(day, name) == Some(place)
            && !self.0.iter().any(|(it, names)| later(it) && names.contains_key(&short(name)))
    }

    /// Adds a key. If it has several places, the newest counts, in whichever order they are added: block numbers
    /// only grow.
    pub(super) fn add(&mut self, day: AnswerDay, name: &[u8; 16], place: AnswerPlace) {
        let place = match place {
            AnswerPlace::Own => OWN,
            AnswerPlace::Block(number) => number,
        };
        let newest = self.0.entry(day).or_default().entry(short(name)).or_insert(place);
        *newest = place.max(*newest);
    }

    /// Removes a day that has expired: its responses are being removed.
    pub(super) fn forget(&mut self, day: AnswerDay) {
        self.0.remove(&day);
    }

    pub(super) fn count(&self) -> u64 {
        self.0.values().map(|day| day.len() as u64).sum()
    }

    /// Adds the keys of an entry of the view, if it contains responses.
    pub(super) fn add_entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if let Some((day, name)) = keys::parse_own_answer(key) {
            self.add(day, &name, AnswerPlace::Own);
        } else if let Some((day, number)) = keys::parse_block(key) {
            for (name, _) in answer_record::decode_block(value)? {
                self.add(day, &name, AnswerPlace::Block(number));
            }
        }
        Ok(())
    }
}

fn short(name: &[u8; 16]) -> u64 {
    name.first_chunk().map_or(0, |it| u64::from_be_bytes(*it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::embedded::keys::AnswerKind;

    /// A directory of the previous version has single entries. They count until they expire.
    #[test]
    fn entries_of_both_kinds_are_found_and_forgotten_with_their_day() {
        let (mut names, value) = (AnswerNames::default(), vec![7]);
        let day = AnswerDay { of: AnswerKind::Keys, day: 9 };
        names.add_entry(&keys::own_answer(day, &[1; 16]), &value).unwrap();
        let block = answer_record::encode_block(&[([2; 16], value.clone().into()), ([3; 16], value.into())]).unwrap();
        names.add_entry(&keys::block(day, 77), &block).unwrap();
        assert_eq!(names.find(day, &[1; 16]), Some(AnswerPlace::Own));
        assert_eq!(names.find(day, &[3; 16]), Some(AnswerPlace::Block(77)));
        assert_eq!(names.find(AnswerDay { of: AnswerKind::Deliveries, ..day }, &[3; 16]), None);
        assert_eq!(names.count(), 3);
        names.forget(day);
        assert_eq!((names.find(day, &[3; 16]), names.count()), (None, 0));
    }

    /// A rebuild reads blocks in any order. The response in an older block may have expired.
    #[test]
    fn the_newest_block_counts_in_whichever_order_they_are_added() {
        let day = AnswerDay { of: AnswerKind::Deliveries, day: 1 };
        for numbers in [[50, 77], [77, 50]] {
            let mut names = AnswerNames::default();
            numbers.iter().for_each(|it| names.add(day, &[1; 16], AnswerPlace::Block(*it)));
            assert_eq!(names.find(day, &[1; 16]), Some(AnswerPlace::Block(77)));
        }
    }
}
