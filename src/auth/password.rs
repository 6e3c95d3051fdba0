//! Authentication for senders that cannot sign: HTTP Basic authentication (RFC 7617), or a secret in the URL. Both
//! rely on TLS, and neither covers the body.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::error::AuthError;
use crate::model::secret::Secret;

/// Passwords or secrets, all of which are valid. Only their hashes are stored: a request costs one hash, however
/// many there are, and the comparison's time reveals neither length nor content.
#[derive(Clone)]
pub struct Passwords(Vec<[u8; 32]>);

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl Passwords {
    /// Creates the hashes of these secrets.
    #[must_use]
    pub fn new(secrets: &[Secret]) -> Self {
        Self(secrets.iter().map(|it| Sha256::digest(it.expose().as_bytes()).into()).collect())
    }

    /// Checks the `Authorization` header for this user name and one of the passwords. Returns which one, counted from 0.
    ///
    /// # Errors
    /// [`AuthError::NotConfigured`] without a password, else [`AuthError::Password`].
    pub fn basic(&self, header: Option<&str>, username: &str) -> Result<usize, AuthError> {
        self.configured()?;
        let header = header.ok_or(AuthError::Password("the Authorization header is missing"))?;
        let (scheme, sent) = header.trim().split_once(' ').unwrap_or_default();
        let sent = BASE64_STANDARD.decode(sent.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
        let sent = sent.ok_or(AuthError::Password("the Authorization header is not Basic authentication"))?;
        let name = sent.len().min(username.len());
        let named = bool::from(sent[..name].ct_eq(username.as_bytes())) && sent.get(name) == Some(&b':');
        let password = sent.get(name + 1..).unwrap_or_default();
        // Both are always checked, so that the time does not reveal which one is wrong.
        let found = self.find(password);
        found.filter(|_| named).ok_or(AuthError::Password("the user name or the password is wrong"))
    }

    /// Checks that the URL ends with one of these secrets. Returns which one, counted from 0.
    ///
    /// # Errors
    /// [`AuthError::NotConfigured`] without a secret, else [`AuthError::Credentials`].
    pub fn in_url(&self, sent: Option<&str>) -> Result<usize, AuthError> {
        self.configured()?;
        let sent = sent.ok_or(AuthError::Credentials("the URL has no secret after the integration's name"))?;
        self.find(sent.as_bytes()).ok_or(AuthError::Credentials("the secret in the URL is wrong"))
    }

    fn configured(&self) -> Result<(), AuthError> {
        if self.0.is_empty() { Err(AuthError::NotConfigured) } else { Ok(()) }
    }

    /// All are compared, whichever matches.
    fn find(&self, sent: &[u8]) -> Option<usize> {
        let sent = Sha256::digest(sent);
        let matching = |(index, it): (usize, &[u8; 32])| bool::from(sent.ct_eq(it)).then_some(index);
        self.0.iter().enumerate().fold(None, |found, it| matching(it).or(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7617_is_let_in_and_no_other() {
        let passwords = Passwords::new(&["old".to_owned(), "open sesame".into()].map(Secret::new));
        let check = |header: Option<&str>| passwords.basic(header, "Aladdin");
        assert_eq!(check(Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")), Ok(1));
        assert_eq!(check(Some("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")), Ok(1));
        for wrong in [None, Some(""), Some("Basic"), Some("Basic !"), Some("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==")] {
            assert!(matches!(check(wrong), Err(AuthError::Password(_))), "{wrong:?}");
        }
        let wrong = format!("Basic {}", BASE64_STANDARD.encode("Aladdin:open sesame "));
        assert!(matches!(check(Some(&wrong)), Err(AuthError::Password(_))));
        for wrong in ["", "Aladdin", "Aladdin:", "Aladdi:open sesame", "Aladdin2:old", ":old", "old"] {
            let wrong = format!("Basic {}", BASE64_STANDARD.encode(wrong));
            assert!(matches!(check(Some(&wrong)), Err(AuthError::Password(_))), "{wrong}");
        }
        let none = Passwords::new(&[]);
        assert_eq!(none.basic(Some("Basic QWxhZGRpbjo="), "Aladdin"), Err(AuthError::NotConfigured));
    }

    #[test]
    fn a_url_needs_one_of_the_secrets() {
        let secrets = Passwords::new(&["new".to_owned(), "old".into()].map(Secret::new));
        assert_eq!(secrets.in_url(Some("old")), Ok(1));
        assert!(matches!(secrets.in_url(Some("other")), Err(AuthError::Credentials(_))));
        assert!(matches!(secrets.in_url(None), Err(AuthError::Credentials(_))));
        assert_eq!(Passwords::new(&[]).in_url(Some("")), Err(AuthError::NotConfigured));
    }
}
