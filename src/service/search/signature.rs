//! Signatures: a Bloom filter of a payload's words, sized by their number.

/// Bits for each word, and how many of them a word sets: of a million events without a word, about 70 have a signature that
/// allows it.
const BITS_PER_WORD: usize = 20;
const PROBES: usize = 12;
/// Largest signature, in units of 64 bits: 6,500 words. A payload with more is read more often than necessary.
const MOST_UNITS: usize = 2048;

const FACTOR: u64 = 0xd1_34_25_43_de_82_ef_95;
const ADDEND: u64 = 0x9e_37_79_b9_7f_4a_7c_15;

/// The places of a word in signatures of any size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probes([u32; PROBES]);

impl Probes {
    pub(super) fn of(hash: u64) -> Self {
        let mut state = hash ^ (hash >> 29);
        Self(std::array::from_fn(|_| {
            state = state.wrapping_mul(FACTOR).wrapping_add(ADDEND);
            u32::try_from(state >> 32).unwrap_or(0)
        }))
    }

    /// Returns whether a signature allows this word.
    pub(super) fn are_in(&self, signature: &[u64]) -> bool {
        self.0.iter().all(|probe| {
            let (unit, bit) = place(*probe, signature.len());
            signature.get(unit).is_some_and(|it| it & bit != 0)
        })
    }
}

/// Scales a probe to a signature of this many units.
fn place(probe: u32, units: usize) -> (usize, u64) {
    let at = (u64::from(probe) * (units as u64 * 64)) >> 32;
    (usize::try_from(at / 64).unwrap_or(0), 1 << (at % 64))
}

/// Returns the signature of the words with these hashes; without words, it is empty.
pub(super) fn signature(hashes: &mut Vec<u64>) -> Vec<u64> {
    hashes.sort_unstable();
    hashes.dedup();
    let units = (hashes.len() * BITS_PER_WORD).div_ceil(64).min(MOST_UNITS);
    let mut bits = vec![0; units];
    for hash in hashes.iter() {
        for probe in Probes::of(*hash).0 {
            let (unit, bit) = place(probe, units);
            if let Some(it) = bits.get_mut(unit) {
                *it |= bit;
            }
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a search misses events, or reads most of them.
    #[test]
    fn a_signature_allows_its_words_and_hardly_any_other() {
        let mut wrong = 0;
        for event in 0_u64..200 {
            let word = |n: u64| (event * 1000 + n).wrapping_mul(FACTOR);
            let mut hashes: Vec<u64> = (0..40).map(word).collect();
            let bits = signature(&mut hashes);
            assert_eq!(bits.len(), 13);
            assert!((0..40).all(|it| Probes::of(word(it)).are_in(&bits)));
            wrong += (40..1000).filter(|it| Probes::of(word(*it)).are_in(&bits)).count();
        }
        assert!(wrong <= 192, "{wrong} of 192,000 is more than 0.1 %");
        assert!(!Probes::of(1).are_in(&signature(&mut Vec::new())));
    }
}
