//! Signatures: a Bloom filter of a payload's words, sized by their number.

/// Bits for each word, and how many of them a word sets: of a million events without a word, about 70 have a signature that
/// allows it.
const BITS_PER_WORD: usize = 20;
const PROBES: usize = 12;
/// What the distance of two places grows by.
const GROWTH: u32 = 0x9e37_79b9;
/// Largest signature, in units of 64 bits: 6,500 words. A payload with more is read more often than necessary.
const MOST_UNITS: usize = 2048;

/// Spreads a hash (MurmurHash3's finalizer, by Austin Appleby).
const FACTORS: [u64; 2] = [0xff51_afd7_ed55_8ccd, 0xc4ce_b9fe_1a85_ec53];

/// The places of a word in signatures of any size: a first one, and the step to the next, which grows (Dillinger and Manolios,
/// Bloom Filters in Probabilistic Verification, 2004: enhanced double hashing).
#[derive(Debug, Clone, Copy)]
pub(super) struct Probes {
    first: u32,
    step: u32,
}

impl Probes {
    pub(super) fn of(hash: u64) -> Self {
        let hash = (hash ^ (hash >> 33)).wrapping_mul(FACTORS[0]);
        let hash = (hash ^ (hash >> 33)).wrapping_mul(FACTORS[1]);
        let narrow = |it: u64| u32::try_from(it & u64::from(u32::MAX)).unwrap_or(0);
        Self { first: narrow(hash), step: narrow(hash >> 32) }
    }

    fn all(self) -> impl Iterator<Item = u32> {
        // A growth that scales with the whole range: the growth of the textbook would vanish where a probe is scaled down.
        (0..PROBES).scan((self.first, self.step), |(place, step), _| {
            let probe = *place;
            *place = place.wrapping_add(*step);
            *step = step.wrapping_add(GROWTH);
            Some(probe)
        })
    }

    /// Returns whether a signature allows this word.
    pub(super) fn are_in(&self, signature: &[u64]) -> bool {
        self.all().all(|probe| {
            let (unit, bit) = place(probe, signature.len());
            signature.get(unit).is_some_and(|it| it & bit != 0)
        })
    }
}

/// Scales a probe to a signature of this many units.
fn place(probe: u32, units: usize) -> (usize, u64) {
    let at = (u64::from(probe) * (units as u64 * 64)) >> 32;
    (usize::try_from(at / 64).unwrap_or(0), 1 << (at % 64))
}

/// Makes `bits` the signature of the words with these hashes; without words, it is empty.
pub(super) fn sign(hashes: &[u64], bits: &mut Vec<u64>) {
    let units = (hashes.len() * BITS_PER_WORD).div_ceil(64).min(MOST_UNITS);
    bits.clear();
    bits.resize(units, 0);
    for hash in hashes {
        for probe in Probes::of(*hash).all() {
            let (unit, bit) = place(probe, units);
            if let Some(it) = bits.get_mut(unit) {
                *it |= bit;
            }
        }
    }
}

/// Returns the signature of the words with these hashes.
#[cfg(test)]
pub(super) fn signature(hashes: &[u64]) -> Vec<u64> {
    let mut bits = Vec::new();
    sign(hashes, &mut bits);
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a search misses events, or reads most of them.
    #[test]
    fn a_signature_allows_its_words_and_hardly_any_other() {
        let mut wrong = 0;
        let word = |n: u64| {
            let mut hash = 0;
            super::super::words::word_hashes(&format!("item{n}"), |it| hash = it);
            hash
        };
        for event in 0_u64..200 {
            let hashes: Vec<u64> = (0..40).map(|it| word(event * 10_000 + it)).collect();
            let bits = signature(&hashes);
            assert_eq!(bits.len(), 13);
            assert!((0..40).all(|it| Probes::of(word(event * 10_000 + it)).are_in(&bits)));
            wrong += (40..5040).filter(|it| Probes::of(word(event * 10_000 + it)).are_in(&bits)).count();
        }
        assert!(wrong <= 140, "{wrong} of 1,000,000");
        assert!(!Probes::of(1).are_in(&signature(&[])));
    }
}
