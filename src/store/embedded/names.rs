//! Which idempotency keys may be stored. Nearly every key that a request carries is new, and this says so without a
//! read of the view, which would be a random one on a page that is rarely in memory.
//!
//! A Bloom filter for each day (Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970): 12 bits a
//! key with 8 probes let 0.3 % of the new ones pass, which costs a read each. It grows by layers of twice the size. A
//! day's keys expire together, and its filter goes with the last of them. Only the writer has it; it is built from what
//! the view reads at the start.

use std::collections::HashMap;

use super::keys::AnswerKey;

const BITS_PER_KEY: usize = 12;
const PROBES: u64 = 8;
/// Keys in a day's first layer: 6 KiB.
const FIRST_LAYER: usize = 4096;

/// The keys of every day.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<(u8, u16), Day>);

#[derive(Debug, Default)]
struct Day {
    layers: Vec<Layer>,
    added: u64,
    removed: u64,
}

#[derive(Debug)]
struct Layer {
    words: Vec<u64>,
    keys: usize,
    room: usize,
}

impl Names {
    /// False only where the key is surely not stored.
    pub(super) fn may_have(&self, key: AnswerKey) -> bool {
        self.0.get(&key.day).is_some_and(|day| day.layers.iter().any(|it| it.may_have(key.name)))
    }

    /// A key that was not stored before.
    pub(super) fn add(&mut self, key: AnswerKey) {
        let day = self.0.entry(key.day).or_default();
        day.added += 1;
        if day.layers.last().is_none_or(|it| it.keys == it.room) {
            let room = day.layers.last().map_or(FIRST_LAYER, |it| it.room * 2);
            day.layers.push(Layer { words: vec![0; room * BITS_PER_KEY / 64], keys: 0, room });
        }
        if let Some(layer) = day.layers.last_mut() {
            layer.add(key.name);
        }
    }

    /// A key that was stored, and no longer is.
    pub(super) fn remove(&mut self, key: AnswerKey) {
        let Some(day) = self.0.get_mut(&key.day) else { return };
        day.removed += 1;
        if day.removed >= day.added {
            self.0.remove(&key.day);
        }
    }
}

impl Layer {
    fn add(&mut self, name: u128) {
        self.keys += 1;
        for bit in bits(name, self.words.len()) {
            self.words[bit / 64] |= 1 << (bit % 64);
        }
    }

    fn may_have(&self, name: u128) -> bool {
        bits(name, self.words.len()).all(|bit| self.words[bit / 64] & (1 << (bit % 64)) != 0)
    }
}

/// A key's bits in a layer. The name is a hash already, so its halves serve as two independent ones.
fn bits(name: u128, words: usize) -> impl Iterator<Item = usize> {
    let (first, step) = ((name >> 64) as u64, name as u64 | 1);
    (0..PROBES).map(move |probe| (first.wrapping_add(probe.wrapping_mul(step)) % (words as u64 * 64)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(day: u16, n: u64) -> AnswerKey {
        let hash = crate::store::IdempotencyId::of("sender", "/route", &n.to_string()).name;
        AnswerKey { day: (b'I', day), name: u128::from_be_bytes(hash) }
    }

    /// A key that is stored and said to be new would store a task twice.
    #[test]
    fn a_stored_key_is_never_said_to_be_new_and_few_new_ones_are_said_to_be_stored() {
        let mut names = Names::default();
        (0..50_000).for_each(|n| names.add(key(1, n)));
        assert!((0..50_000).all(|n| names.may_have(key(1, n))));
        let wrong = (50_000..100_000).filter(|n| names.may_have(key(1, *n))).count();
        assert!(wrong < 1000, "{wrong} of 50,000");
        assert!(!names.may_have(key(2, 0)), "another day's");
    }

    #[test]
    fn a_day_s_memory_comes_back_with_its_last_key() {
        let mut names = Names::default();
        (0..10_000).for_each(|n| names.add(key(1, n)));
        (0..9_999).for_each(|n| names.remove(key(1, n)));
        assert!(names.may_have(key(1, 9_999)));
        names.remove(key(1, 9_999));
        assert!(names.0.is_empty());
    }
}
