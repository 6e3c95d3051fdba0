//! Escapes of JSON strings (RFC 8259, section 7), removed from a whole text at once: its words are those of its strings.

/// Returns a text of JSON without its escapes. `None` if one of them is not of JSON and `lenient` is false; otherwise such
/// an escape stays as it is, without its backslash.
pub(super) fn unescaped(text: &str, lenient: bool) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escaped)) = rest.split_once('\\') {
        plain.push_str(before);
        let (it, after) = match escape(escaped) {
            Some(found) => found,
            None if lenient => (None, escaped),
            None => return None,
        };
        plain.extend(it);
        rest = after;
    }
    plain.push_str(rest);
    Some(plain)
}

/// Reads what follows a backslash: the character, and the text after it. Half of a surrogate pair is not a character.
fn escape(text: &str) -> Option<(Option<char>, &str)> {
    let mut letters = text.chars();
    let it = match letters.next()? {
        it @ ('"' | '\\' | '/') => it,
        // No letter is a part of these.
        'b' | 'f' | 'n' | 'r' | 't' => '\n',
        'u' => {
            let (unit, rest) = unit(letters.as_str())?;
            let second = rest.strip_prefix("\\u").and_then(unit_of_pair);
            return Some(match (char::from_u32(unit), second) {
                (Some(it), _) => (Some(it), rest),
                (None, Some((low, rest))) => (char::decode_utf16([narrow(unit), narrow(low)]).next()?.ok(), rest),
                (None, None) => (None, rest),
            });
        }
        _ => return None,
    };
    Some((Some(it), letters.as_str()))
}

/// Reads four hexadecimal digits.
fn unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let is_hex = digits.bytes().all(|it| it.is_ascii_hexdigit());
    let unit = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    Some((unit, rest))
}

fn unit_of_pair(text: &str) -> Option<(u32, &str)> {
    unit(text).filter(|(unit, _)| (0xdc00..0xe000).contains(unit))
}

fn narrow(unit: u32) -> u16 {
    u16::try_from(unit).unwrap_or(u16::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Otherwise a search misses words that a sender has escaped.
    #[test]
    fn strings_are_as_a_parser_reads_them() {
        for json in [
            r#""stra\u00dfe \"a\\b\/c\" \ud842\uDFB7x""#,
            r#""M\u00FCller\u0020stra\u00dfe""#,
            r#""no escapes: é""#,
            r#""\u65e5\u672c""#,
        ] {
            let parsed: String = serde_json::from_str(json).unwrap();
            assert_eq!(unescaped(json, false).unwrap(), format!("\"{parsed}\""), "{json}");
        }
        // White space, whichever it is.
        assert_eq!(unescaped(r"a\nb\tc", false).unwrap(), "a\nb\nc");
        // Half a pair.
        assert_eq!(unescaped(r"a\ud842b\ud842\u0041\udfb7", false).unwrap(), "abA");
    }

    #[test]
    fn what_is_no_escape_of_json_is_not_guessed() {
        for text in [r"\x41", r"\u00g1", r"\u+123", r"\u12", "\\", r"\é"] {
            assert_eq!(unescaped(text, false), None, "{text}");
            assert_eq!(unescaped(text, true).unwrap(), text.trim_start_matches('\\'), "{text}");
        }
    }
}
