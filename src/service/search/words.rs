//! Words of a text: runs of letters and digits, in lower case.

/// Factor of the hash.
const FACTOR: u64 = 0x9e_37_79_b9_7f_4a_7c_15;

/// Kinds of bytes: in words, in lower case; between words; and of characters that are not ASCII.
const BETWEEN: u8 = 0;
const OTHER: u8 = 1;
const KINDS: [u8; 256] = {
    let (mut kinds, mut byte) = ([OTHER; 256], 0_u8);
    while byte < 128 {
        kinds[byte as usize] = if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { BETWEEN };
        byte += 1;
    }
    kinds
};

/// Hashes one word at a time, eight bytes of its UTF-8 at once.
#[derive(Default)]
struct WordHasher {
    hash: u64,
    packed: u64,
    length: u64,
}

impl WordHasher {
    fn push(&mut self, byte: u8) {
        self.packed = (self.packed << 8) | u64::from(byte);
        self.length += 1;
        if self.length.is_multiple_of(8) {
            self.hash = mix(self.hash ^ self.packed);
            self.packed = 0;
        }
    }

    /// Ends a word, if one has begun.
    fn end(&mut self, visit: &mut impl FnMut(u64)) {
        if self.length > 0 {
            visit(mix(self.hash ^ self.packed).wrapping_add(self.length.wrapping_mul(FACTOR)));
            *self = Self::default();
        }
    }
}

fn mix(it: u64) -> u64 {
    let it = it.wrapping_mul(FACTOR);
    (it ^ (it >> 32)).wrapping_mul(FACTOR)
}

/// Passes the hash of each word to `visit`.
pub(super) fn word_hashes(text: &str, mut visit: impl FnMut(u64)) {
    let mut word = WordHasher::default();
    for (at, byte) in text.bytes().enumerate() {
        match KINDS.get(usize::from(byte)).copied().unwrap_or(OTHER) {
            BETWEEN => word.end(&mut visit),
            OTHER => {
                other_words(text.get(at..).unwrap_or_default(), &mut word, &mut visit);
                break;
            }
            it => word.push(it),
        }
    }
    word.end(&mut visit);
}

/// The same for the rest of a text that is not ASCII; the last word is not ended.
fn other_words(text: &str, word: &mut WordHasher, visit: &mut impl FnMut(u64)) {
    for it in text.chars() {
        if it.is_ascii_alphanumeric() {
            word.push(u8::try_from(it.to_ascii_lowercase()).unwrap_or(OTHER));
        } else if !it.is_ascii() && it.is_alphanumeric() {
            fold(it).for_each(|it| it.encode_utf8(&mut [0; 4]).bytes().for_each(|it| word.push(it)));
        } else {
            word.end(visit);
        }
    }
}

/// Returns a letter or digit in lower case, without marks, so that a word stays one; the final sigma is like any other.
fn fold(letter: char) -> impl Iterator<Item = char> {
    let letter = if letter == 'ς' { 'σ' } else { letter };
    letter.to_lowercase().filter(|it| it.is_alphanumeric())
}

/// Returns a text in lower case, character by character, as [`word_hashes`] reads it.
pub(super) fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    for it in text.chars() {
        if it.is_alphanumeric() { folded.extend(fold(it)) } else { folded.push(it) }
    }
    folded
}

/// Returns whether a folded text contains a folded term that neither begins nor ends within a word.
pub(super) fn has_term(text: &str, term: &str) -> bool {
    let (first, last) = (term.chars().next(), term.chars().next_back());
    let is_inside = |it: Option<char>| it.is_some_and(char::is_alphanumeric);
    let finder = memchr::memmem::Finder::new(term);
    let mut from = 0;
    // The next occurrence may overlap: 1.1 is in 11.1.1 twice.
    while let Some(at) = text.as_bytes().get(from..).and_then(|it| finder.find(it)).map(|it| from + it) {
        let before = text.get(..at).and_then(|it| it.chars().next_back());
        let after = text.get(at + term.len()..).and_then(|it| it.chars().next());
        if !(is_inside(first) && is_inside(before) || is_inside(last) && is_inside(after)) {
            return true;
        }
        from = at + 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(text: &str) -> Vec<u64> {
        let mut found = Vec::new();
        word_hashes(text, |it| found.push(it));
        found
    }

    /// Otherwise a search misses what people read as the same word.
    #[test]
    fn words_are_runs_of_letters_and_digits_in_any_case() {
        assert_eq!(hashes("Jane@Example.com, 12.50"), hashes("jane example COM 12 50"));
        assert_eq!(hashes("MÜLLER straße"), hashes("müller/Straße"));
        assert_eq!(hashes("日本 x"), hashes("\"日本\":X"));
        assert_eq!(hashes("İstanbul ΟΔΟΣ"), hashes("istanbul οδος"));
        assert_ne!(hashes("ab"), hashes("ba"));
        assert!(hashes(" .,-").is_empty());
    }

    /// Otherwise a signature has other words than the query, and the event is not found.
    #[test]
    fn a_folded_text_has_the_words_of_the_text() {
        for it in '\0'..=char::MAX {
            let text = format!("a{it}b");
            assert_eq!(hashes(&folded(&text)), hashes(&text), "{it:?}");
            assert_eq!(folded(&folded(&text)), folded(&text), "{it:?}");
        }
        assert!(has_term(&folded("in İstanbul, οδός ΟΔΟΣ"), &folded("οδος")));
        assert!(has_term(&folded("in İSTANBUL"), &folded("İstanbul")));
    }

    /// Otherwise 12 finds 2012, or 12.5 finds 12.50.
    #[test]
    fn a_term_is_not_a_part_of_a_word() {
        for (text, term, expected) in [
            ("a 12.50 b", "12.50", true),
            ("a 12.50 b", "12.5", false),
            ("in 2012", "12", false),
            ("in 2012 and 12", "12", true),
            ("x:jane@example.com;", "jane@example.com", true),
            ("mary-jane", "jane", true),
            ("…ü1", "1", false),
            ("11.1.1", "1.1", true),
            ("11.11", "1.1", false),
        ] {
            assert_eq!(has_term(text, term), expected, "{term} in {text}");
        }
    }
}
