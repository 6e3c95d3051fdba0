//! Replaces escaped halves of surrogate pairs in JSON text, which have no character of their own.

/// Returns the text with U+FFFD in place of each lone surrogate; `None` if there is none. Both are six bytes long as
/// escapes, so places in the text stay the same.
#[must_use]
pub(crate) fn without_lone_surrogates(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut repaired: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', bytes.get(at..)?) {
        at += found;
        at += match unit(bytes, at) {
            // Any other escape, such as `\\`.
            None => 2,
            Some(0xd800..=0xdbff) if matches!(unit(bytes, at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                let repaired = repaired.get_or_insert_with(|| bytes.to_vec());
                if let Some(place) = repaired.get_mut(at..at + 6) {
                    place.copy_from_slice(b"\\ufffd");
                }
                6
            }
            Some(_) => 6,
        };
        if at >= bytes.len() {
            break;
        }
    }
    repaired.and_then(|it| String::from_utf8(it).ok())
}

/// Returns the code unit of the escape `\uXXXX` at this place.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = bytes.get(at..at + 6)? else { return None };
    let digits = std::str::from_utf8(digits).ok().filter(|it| it.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a text that a sender cut in the middle of an emoji loses the whole delivery, or a backslash is taken
    /// for an escape.
    #[test]
    fn only_lone_halves_are_replaced() {
        for (sent, expected) in [
            (r#"{"a":"\ud83d"}"#, Some(r#"{"a":"\ufffd"}"#)),
            (r#"{"\uDE00":"\ud83d\ud83d\ude00"}"#, Some(r#"{"\ufffd":"\ufffd\ud83d\ude00"}"#)),
            (r#"{"a":"\ud83dx\ude00"}"#, Some(r#"{"a":"\ufffdx\ufffd"}"#)),
            (r#"{"a":"\ud83d\u0041"}"#, Some(r#"{"a":"\ufffd\u0041"}"#)),
            (r#"{"a":"\ud83d\ude00 \\ud83d \n"}"#, None),
            (r#"{"a":"\\\ud83d"}"#, Some(r#"{"a":"\\\ufffd"}"#)),
            (r#"{"a":"x\"#, None),
            ("", None),
        ] {
            assert_eq!(without_lone_surrogates(sent).as_deref(), expected, "{sent}");
        }
    }
}
