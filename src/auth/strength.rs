//! Checks the strength of secrets: their length as a key, and whether they can ever match.

use super::sender::Chosen;
use super::signature::Proof;
use super::signature::keys::ProofKey;
use super::signature::proof::KeyEncoding;
use crate::model::secret::Secret;

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

impl Chosen {
    /// Returns the strength of a secret for these proofs.
    ///
    /// # Errors
    /// Why it can never match, to be shown after the secret's name; never the secret itself.
    pub fn strength(&self, secret: &Secret) -> Result<Strength, String> {
        let text = secret.expose();
        if text.trim().is_empty() {
            return Err("is empty".into());
        }
        // A PEM has lines.
        if text.contains(char::is_control) && !text.trim_start().starts_with("-----BEGIN") {
            return Err("contains a line break or another control character, so it can never match".into());
        }
        match self {
            Self::UrlSecret if !is_segment(text) => {
                Err("contains characters that are not allowed in a URL's path; use letters, digits, - and _".into())
            }
            Self::UrlSecret => of(text.as_bytes()),
            Self::Basic | Self::ApiKey => of(text.as_bytes()),
            Self::Checked(proofs) => of_key(proofs.iter().map(AsRef::as_ref), secret),
        }
    }
}

/// Returns the strength of a secret as the key of the first proof that can use it.
fn of_key<'a>(proofs: impl Iterator<Item = &'a Proof>, secret: &Secret) -> Result<Strength, String> {
    let mut refused = None;
    for proof in proofs {
        match proof.key(secret) {
            // It is sent to the API that has the keys.
            None if proof.keys_from.is_some() => return of(secret.expose().trim().as_bytes()),
            None => {}
            // A prefix says which proof the secret is meant for.
            Some(Err(cause)) if !proof.key.required.is_empty() => refused = Some(cause),
            Some(Err(cause)) => refused = refused.or(Some(cause)),
            // Anybody may know a public key.
            Some(Ok(ProofKey::Public(_))) => return Ok(Strength::Good),
            Some(Ok(_)) if proof.key.encoding == KeyEncoding::Text => {
                // A prefix does not count, because it need not be guessed.
                let plain = proof.key.plain(secret.expose()).unwrap_or_default();
                return of(plain.trim().trim_start_matches("whsec_").as_bytes());
            }
            Some(Ok(_)) => return of(&proof.key.bytes(secret.expose()).unwrap_or_else(|| Ok(Vec::new()))?),
        }
    }
    Err(refused.unwrap_or_else(|| "is not of the kind that this sender uses".into()))
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
    use crate::auth::sender::Catalog;

    #[test]
    fn a_secret_is_as_long_as_its_key() {
        use Strength::{Good, Weak};
        let of = |name: &str| Catalog::default().get(name).unwrap().choose(None, false).unwrap();
        let (text, whsec, in_url) = (of("github"), of("standard-webhooks"), Chosen::UrlSecret);
        for (used, secret, strength) in [
            (&text, "0123456789abcdef", Some(Good)),
            (&text, "0123456789abcde", Some(Weak)),
            (&text, "                x", Some(Weak)),
            (&text, "aaaaaaaaaaaaaaaaaaaaaaaa", Some(Weak)),
            (&text, "whsec_0123456789abcdef", Some(Good)),
            (&text, "whsec_0123456789", Some(Weak)),
            (&text, "whsec_", None),
            (&text, "", None),
            (&text, " \t\n", None),
            (&text, "0123456789abcdef\n", None),
            (&whsec, "whsec_MDEyMzQ1Njc4OWFiY2RlZg==", Some(Good)),
            (&whsec, "MDEyMzQ1Njc4OWFiY2RlZg==", Some(Good)),
            (&whsec, "whsec_MDEyMzQ1Njc4OWFiY2Rl", Some(Weak)),
            (&whsec, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Some(Weak)),
            (&whsec, "whsec_", None),
            (&whsec, "whsec_====", None),
            (&whsec, "whsec_not base64", None),
            (&whsec, "whsec_whsec_MDEyMzQ1Njc4OWFiY2RlZg==", None),
            (&in_url, "0123456789-abc_def", Some(Good)),
            (&in_url, "b2xk", Some(Weak)),
            (&in_url, "0123456789abcdef/x", None),
            (&in_url, "0123456789abcdef?x", None),
            (&in_url, "0123456789abcdef#x", None),
            (&in_url, "0123456789 abcdef", None),
            (&in_url, "0123456789%20abcdef", None),
            (&in_url, "0123456789abcdefé", None),
            (&in_url, "..", None),
        ] {
            assert_eq!(used.strength(&Secret::new(secret.to_owned())).ok(), strength, "{used:?} {secret:?}");
        }
    }
}
