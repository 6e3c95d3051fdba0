//! Finds numbers in JSON text that a 64-bit float does not hold.

/// Significant digits that a 64-bit float distinguishes: more are not a float's own notation.
const DIGITS: usize = 17;
/// Significant digits that every 64-bit float keeps, and the exponents for which it does.
const KEPT_DIGITS: usize = 15;
const KEPT_EXPONENTS: std::ops::Range<i64> = -280..280;

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
    let Some((digits, exponent)) = significant(token) else {
        let mantissa = token.split(['e', 'E']).next().unwrap_or_default();
        return mantissa.bytes().any(|it| matches!(it, b'1'..=b'9'));
    };
    match digits.len() {
        0 => false,
        ..=KEPT_DIGITS if KEPT_EXPONENTS.contains(&exponent) => false,
        count @ ..=DIGITS => {
            // The float in its shortest notation, or with as many digits: 0.10000000000000001 is how some languages
            // write 0.1. The two differ next to powers of two.
            let float = token.parse::<f64>().unwrap_or_default();
            let is_written = |text: &str| significant(text).is_some_and(|it| it == (digits.clone(), exponent));
            !is_written(&format!("{float:e}")) && !is_written(&format!("{float:.*e}", count - 1))
        }
        _ => true,
    }
}

/// Returns the digits of a decimal number without zeros around them, and the exponent of the first one. `None` if the
/// exponent has more digits than any float's.
fn significant(token: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = token.split_once(['e', 'E']).unwrap_or((token, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let mantissa = mantissa.trim_start_matches('-');
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let zeros = digits.bytes().take_while(|it| *it == b'0').count();
    let first = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()? - 1;
    Some((digits.trim_matches('0').to_owned(), exponent.checked_add(first)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise an amount or an id is stored as another one, without a word.
    #[test]
    fn a_number_is_exact_to_its_last_digit() {
        for token in ["9007199254740993.0", "1234567890123456.7", "1e-400", "-4e-324", "1e-99999999999999999999"] {
            let text = format!("[{token}]");
            assert_eq!(inexact(&text), [(0, token)]);
        }
        for token in [
            "9007199254740992.0",
            "1234567890123456.8",
            "0.1",
            "0.10000000000000001",
            "5e-324",
            "2.2250738585072014e-308",
            "1.7976931348623157e308",
            "1E23",
            "1e+2",
            "0e-999",
            "0.0",
            "-0.0",
            "0e99999999999999999999",
            "100000000000000000000.0",
            "52.520008",
            // The powers of two whose shortest notation is not the nearest one with as many digits.
            "5.684341886080802e-14",
            "9.007199254740992e15",
            "4.35",
            "123456789.12345679",
            "0.000000000000000000000000000000000000012",
        ] {
            assert_eq!(inexact(&format!("[{token}]")), [], "{token}");
        }
    }

    /// Otherwise an id with many digits becomes that of another patient, or a coordinate becomes text.
    #[test]
    fn only_numbers_that_a_float_does_not_hold_are_found() {
        let text = r#"{"9.9999999999999999999":[1,-0,1.5,1234567890.123456789,18446744073709551615,18446744073709551616],
            "a\"1e5":"1234567890.123456789","b":-9223372036854775809,"c":0.30000000000000004,"d":1e-7,"e":0.10000000000000000000}"#;
        let expected = [(2, "1234567890.123456789"), (3, "18446744073709551616"), (4, "-9223372036854775809")];
        assert_eq!(inexact(text), expected);
    }
}
