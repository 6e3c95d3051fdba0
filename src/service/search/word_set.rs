//! The distinct words of an event, on their way into a signature.

use std::cell::RefCell;

/// Number of words that are recognized at once when they come again: as many as fit into 4 KiB.
const RECENT: usize = 512;

/// Hashes of words, most of them once: deliveries repeat their words, and sorting takes longer than reading them.
#[derive(Debug)]
pub(super) struct WordSet {
    /// The last hash with these lowest bits.
    recent: Box<[u64; RECENT]>,
    hashes: Vec<u64>,
}

impl Default for WordSet {
    fn default() -> Self {
        let mut set = Self { recent: Box::new([0; RECENT]), hashes: Vec::new() };
        set.clear();
        set
    }
}

impl WordSet {
    /// Runs `run` with an empty set, whose memory is used again on this thread.
    pub(super) fn with_empty<T>(run: impl FnOnce(&mut Self) -> T) -> T {
        thread_local! { static SPARE: RefCell<Option<WordSet>> = const { RefCell::new(None) } }
        let mut set = SPARE.take().unwrap_or_default();
        let result = run(&mut set);
        if set.hashes.capacity() <= RECENT * 8 {
            set.clear();
            SPARE.set(Some(set));
        }
        result
    }

    pub(super) fn push(&mut self, hash: u64) {
        let at = usize::try_from(hash % RECENT as u64).unwrap_or(0);
        if let Some(recent) = self.recent.get_mut(at)
            && *recent != hash
        {
            *recent = hash;
            self.hashes.push(hash);
        }
    }

    /// Returns the hashes; a few may be there twice.
    pub(super) fn distinct(&mut self) -> &[u64] {
        if self.hashes.len() > RECENT / 4 {
            self.hashes.sort_unstable();
            self.hashes.dedup();
        }
        &self.hashes
    }

    fn clear(&mut self) {
        // No hash with the lowest bits of its place is there: 0 belongs to the first place.
        self.recent.fill(0);
        self.recent[0] = 1;
        self.hashes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise an event is not found by one of its words, or its signature has room for each repetition.
    #[test]
    fn every_word_is_kept_and_repetitions_hardly_ever() {
        for count in [0, 1, 2, 100, 129, 5000] {
            // 0 is a hash like any other, also on a thread whose set was in use before.
            let hashes: Vec<u64> = (0..count).map(|it: u64| it.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
            for _ in 0..2 {
                WordSet::with_empty(|set| {
                    (0..5).for_each(|_| hashes.iter().for_each(|it| set.push(*it)));
                    let found = set.distinct();
                    assert!(hashes.iter().all(|it| found.contains(it)), "{count}");
                    assert!(found.len() <= hashes.len() * 3 / 2, "{} of {count}", found.len());
                });
            }
        }
    }
}
