//! Finds numbers in JSON text that a 64-bit float does not hold.

/// Significant digits that a 64-bit float distinguishes: more are not a float's own notation.
const DIGITS: usize = 17;

/// Returns the inexact numbers of valid JSON text, each with its place among the numbers that become floats.
pub(super) fn inexact(text: &str) -> Vec<(usize, &str)> {
    let bytes = text.as_bytes();
    let (mut at, mut floats, mut found) = (0, 0, Vec::new());
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_text(bytes, at + 1),
            b'-' | b'0'..=b'9' => {
                let rest = bytes.get(at..).unwrap_or_default();
                let is_part = |it: &u8| matches!(it, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let end = at + rest.iter().position(|it| !is_part(it)).unwrap_or(rest.len());
                let token = text.get(at..end).unwrap_or_default();
                if is_float(token) {
                    if is_inexact(token) {
                        found.push((floats, token));
                    }
                    floats += 1;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    found
}

fn end_of_text(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

/// Returns whether the parser reads this number as a float.
fn is_float(token: &str) -> bool {
    token == "-0" || (token.parse::<u64>().is_err() && token.parse::<i64>().is_err())
}

fn is_inexact(token: &str) -> bool {
    if token.bytes().all(|it| it == b'-' || it.is_ascii_digit()) {
        return token != "-0";
    }
    let digits = token.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len() > DIGITS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise an id with many digits becomes that of another patient, or a coordinate becomes text.
    #[test]
    fn only_numbers_that_a_float_does_not_hold_are_found() {
        let text = r#"{"9.9999999999999999999":[1,-0,1.5,1234567890.123456789,18446744073709551615,18446744073709551616],
            "a\"1e5":"1234567890.123456789","b":-9223372036854775809,"c":0.30000000000000004,"d":1e-7,"e":0.10000000000000000000}"#;
        let expected = [(2, "1234567890.123456789"), (3, "18446744073709551616"), (4, "-9223372036854775809")];
        assert_eq!(inexact(text), expected);
    }
}
