//! Checks the strength of secrets: their length as a key, and whether they can ever match.

use super::signature::rule::whsec;

/// Minimum size of a decoded secret, in bytes: 128 bits, if it is random.
pub const BYTES_MIN: usize = 16;
/// Minimum number of different bytes: a repeated letter is no better than a short secret.
const DIFFERENT_MIN: usize = 4;

/// Strength of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strength {
    /// Long enough.
    Good,
    /// Easy to guess; accepted only with `allow_weak_secret`.
    Weak,
}

/// The use of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// An HMAC's key as plain text, or a password.
    Text,
    /// An HMAC's key in base64, after `whsec_`; or a public key after `whpk_`.
    StandardWebhooks,
    /// The last segment of a URL's path.
    InUrl,
}

impl Use {
    /// Returns the strength of a secret for this use.
    ///
    /// # Errors
    /// Why it can never match, to be shown after the secret's name; never the secret itself.
    pub fn strength(self, secret: &str) -> Result<Strength, String> {
        if secret.trim().is_empty() {
            return Err("is empty".into());
        }
        if secret.contains(char::is_control) {
            return Err("contains a line break or another control character, so it can never match".into());
        }
        match self {
            // The prefix does not count, because it need not be guessed.
            Self::Text => of(secret.trim().trim_start_matches("whsec_").as_bytes()),
            Self::InUrl if !is_segment(secret) => {
                Err("contains characters that are not allowed in a URL's path; use letters, digits, - and _".into())
            }
            Self::InUrl => of(secret.as_bytes()),
            // The key itself is checked when it is parsed.
            Self::StandardWebhooks if secret.trim().starts_with("whpk_") => Ok(Strength::Good),
            Self::StandardWebhooks => of(&whsec(secret)?),
        }
    }
}

fn of(key: &[u8]) -> Result<Strength, String> {
    let mut different = key.to_vec();
    different.sort_unstable();
    different.dedup();
    match key.len() {
        0 => Err("is empty".into()),
        length if length < BYTES_MIN || different.len() < DIFFERENT_MIN => Ok(Strength::Weak),
        _ => Ok(Strength::Good),
    }
}

/// Returns whether a text can be a complete segment of a URL's path (RFC 3986, section 3.3) that clients do not
/// change.
fn is_segment(text: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&it);
    // Percent-encoded characters could be sent in more than one way.
    text.bytes().all(plain) && text != "." && text != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_as_long_as_its_key() {
        use Strength::{Good, Weak};
        for (used, secret, strength) in [
            (Use::Text, "0123456789abcdef", Some(Good)),
            (Use::Text, "0123456789abcde", Some(Weak)),
            (Use::Text, "                x", Some(Weak)),
            (Use::Text, "aaaaaaaaaaaaaaaaaaaaaaaa", Some(Weak)),
            (Use::Text, "whsec_0123456789abcdef", Some(Good)),
            (Use::Text, "whsec_0123456789", Some(Weak)),
            (Use::Text, "whsec_", None),
            (Use::Text, "", None),
            (Use::Text, " \t\n", None),
            (Use::Text, "0123456789abcdef\n", None),
            (Use::StandardWebhooks, "whsec_MDEyMzQ1Njc4OWFiY2RlZg==", Some(Good)),
            (Use::StandardWebhooks, "MDEyMzQ1Njc4OWFiY2RlZg==", Some(Good)),
            (Use::StandardWebhooks, "whsec_MDEyMzQ1Njc4OWFiY2Rl", Some(Weak)),
            (Use::StandardWebhooks, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Some(Weak)),
            (Use::StandardWebhooks, "whsec_", None),
            (Use::StandardWebhooks, "whsec_====", None),
            (Use::StandardWebhooks, "whsec_not base64", None),
            (Use::StandardWebhooks, "whsec_whsec_MDEyMzQ1Njc4OWFiY2RlZg==", None),
            (Use::InUrl, "0123456789-abc_def", Some(Good)),
            (Use::InUrl, "b2xk", Some(Weak)),
            (Use::InUrl, "0123456789abcdef/x", None),
            (Use::InUrl, "0123456789abcdef?x", None),
            (Use::InUrl, "0123456789abcdef#x", None),
            (Use::InUrl, "0123456789 abcdef", None),
            (Use::InUrl, "0123456789%20abcdef", None),
            (Use::InUrl, "0123456789abcdefé", None),
            (Use::InUrl, "..", None),
        ] {
            assert_eq!(used.strength(secret).ok(), strength, "{used:?} {secret:?}");
        }
    }
}
