//! Words of a text: runs of letters and digits, in lower case.

/// Start and factor of the hash.
const START: u64 = 0x51_7c_c1_b7_27_22_0a_95;
const FACTOR: u64 = 0x9e_37_79_b9_7f_4a_7c_15;

/// Passes the hash of each word to `visit`. It takes about 1 µs per KB of ASCII.
pub(super) fn word_hashes(text: &str, mut visit: impl FnMut(u64)) {
    let (mut hash, mut inside) = (START, false);
    for it in text.chars() {
        if it.is_ascii_alphanumeric() {
            (hash, inside) = (step(hash, it.to_ascii_lowercase()), true);
        } else if !it.is_ascii() && it.is_alphanumeric() {
            (hash, inside) = (it.to_lowercase().fold(hash, step), true);
        } else if inside {
            visit(hash);
            (hash, inside) = (START, false);
        }
    }
    if inside {
        visit(hash);
    }
}

fn step(hash: u64, letter: char) -> u64 {
    (hash.rotate_left(5) ^ u64::from(u32::from(letter))).wrapping_mul(FACTOR)
}

/// Returns a text in lower case, character by character, as [`word_hashes`] reads it.
pub(super) fn folded(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().flat_map(char::to_lowercase).collect() }
}

/// Returns whether a folded text contains a folded term that neither begins nor ends within a word.
pub(super) fn has_term(text: &str, term: &str) -> bool {
    let (first, last) = (term.chars().next(), term.chars().next_back());
    let is_inside = |it: Option<char>| it.is_some_and(char::is_alphanumeric);
    memchr::memmem::find_iter(text.as_bytes(), term.as_bytes()).any(|at| {
        let before = text.get(..at).and_then(|it| it.chars().next_back());
        let after = text.get(at + term.len()..).and_then(|it| it.chars().next());
        !(is_inside(first) && is_inside(before) || is_inside(last) && is_inside(after))
    })
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
        assert_ne!(hashes("ab"), hashes("ba"));
        assert!(hashes(" .,-").is_empty());
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
        ] {
            assert_eq!(has_term(text, term), expected, "{term} in {text}");
        }
    }
}
