//! Keeps numbers exact that JavaScript would round.

use std::borrow::Cow;

/// Largest whole number up to which every whole number is exact in JavaScript (`Number.MAX_SAFE_INTEGER`).
const SAFE: u64 = (1 << 53) - 1;
/// Number of digits from which on a whole number may be larger.
const DIGITS: usize = 16;

/// Returns a JSON text in which whole numbers beyond ±(2^53 − 1) are texts, because JavaScript would round them
/// without a word. Other decimals are as exact as they were: the payload has them as 64-bit floats already.
pub(super) fn exact(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_text(bytes, at),
            b'-' | b'0'..=b'9' => {
                let end = at + bytes.iter().skip(at).take_while(|it| is_number(**it)).count();
                let number = json.get(at..end).unwrap_or_default();
                if is_unsafe(number) {
                    out.push_str(json.get(copied..at).unwrap_or_default());
                    out.push('"');
                    out.push_str(number);
                    out.push('"');
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(json.get(copied..).unwrap_or_default());
    Cow::Owned(out)
}

/// Returns the end of the text that begins with the quotation mark at `at`.
fn after_text(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(found) = memchr::memchr2(b'"', b'\\', rest) else { return bytes.len() };
        match rest.get(found) {
            Some(b'"') => return at + found + 1,
            _ => at += found + 2,
        }
    }
}

fn is_number(byte: u8) -> bool {
    matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
}

fn is_unsafe(number: &str) -> bool {
    let digits = number.trim_start_matches('-');
    let is_whole = digits.bytes().all(|it| it.is_ascii_digit());
    is_whole && digits.len() >= DIGITS && digits.parse::<u64>().map_or(true, |it| it > SAFE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a patient's id of 19 digits becomes another patient's.
    #[test]
    fn whole_numbers_that_javascript_would_round_are_texts() {
        for (from, to) in [
            ("9007199254740991", "9007199254740991"),
            ("9007199254740992", "\"9007199254740992\""),
            ("-9007199254740993", "\"-9007199254740993\""),
            ("[18446744073709551615,1]", "[\"18446744073709551615\",1]"),
            (
                r#"{"id":"9007199254740993","a\"b":9007199254740993}"#,
                r#"{"id":"9007199254740993","a\"b":"9007199254740993"}"#,
            ),
            (r#"["\\",9007199254740993]"#, r#"["\\","9007199254740993"]"#),
            ("1.2345678901234567", "1.2345678901234567"),
            ("1e300", "1e300"),
            ("0.1", "0.1"),
            (r#"{"a":1,"b":[true,null,-5]}"#, r#"{"a":1,"b":[true,null,-5]}"#),
        ] {
            assert_eq!(exact(from), to);
        }
    }
}
