//! Texts as columns.

use std::borrow::Cow;
use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Maximum length of a text in an index, in bytes. An entry of an index has at most 2,704
/// (<https://www.postgresql.org/docs/current/btree-implementation.html>, 67.4: about a third of a page).
const INDEXED: usize = 400;

/// Returns a text as PostgreSQL can store it. It stores no NUL, which a JSON string may contain; two different texts stay
/// different.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', '\\']) {
        return text.into();
    }
    text.replace('\\', "\\\\").replace('\0', "\\0").into()
}

/// Returns a text as indexes have it: a long one as its SHA-256. No stored text looks like that.
pub(super) fn indexed(text: &str) -> Cow<'_, str> {
    let stored = stored(text);
    if stored.len() <= INDEXED {
        return stored;
    }
    let mut name = "\\#".to_owned();
    for byte in Sha256::digest(text.as_bytes()) {
        let _infallible = write!(name, "{byte:02x}");
    }
    name.into()
}

/// Returns the text that was stored.
pub(super) fn shown(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text.chars());
    while let Some(it) = rest.next() {
        match it {
            '\\' => shown.extend(rest.next().map(|it| if it == '0' { '\0' } else { it })),
            other => shown.push(other),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{INDEXED, indexed, shown, stored};

    /// A NUL in a patient's id must not make the task impossible to store, nor equal to another patient's.
    #[test]
    fn texts_with_nul_can_be_stored_and_stay_different() {
        let all = ["a", "a\0", "a\\0", "a\\", "a\\\0", "\\\\0", "\0"];
        assert!(all.iter().all(|it| shown(&stored(it)) == *it));
        let stored: std::collections::BTreeSet<_> = all.iter().map(|it| stored(it)).collect();
        assert_eq!(stored.len(), all.len());
        assert!(stored.iter().all(|it| !it.contains('\0')));
    }

    /// PostgreSQL refuses a row whose index entry is too long, and with it all others of its transaction.
    #[test]
    fn texts_in_indexes_are_short_and_stay_different() {
        let long = ["a".repeat(INDEXED), "a".repeat(INDEXED + 1), "a".repeat(100_000), "\\".repeat(INDEXED)];
        let names: std::collections::BTreeSet<_> = long.iter().map(|it| indexed(it)).collect();
        assert_eq!(names.len(), long.len());
        assert!(names.iter().all(|it| it.len() <= INDEXED));
        // The text of a name has another name.
        assert_ne!(indexed(&indexed(&long[2])), indexed(&long[2]));
    }
}
