//! For senders who cannot sign: HTTP Basic authentication (RFC 7617), or a secret in the URL. Either is as safe as TLS
//! keeps it, and says nothing about the body.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::AuthError;
use crate::config::Secret;

/// Nothing, where the `Authorization` header has this name and one of these passwords.
///
/// # Errors
/// [`AuthError::NotConfigured`] without a password, else [`AuthError::Credentials`].
pub fn basic(header: Option<&str>, username: &str, passwords: &[Secret]) -> Result<(), AuthError> {
    if passwords.is_empty() {
        return Err(AuthError::NotConfigured);
    }
    let header = header.ok_or(AuthError::Credentials("the Authorization header is missing"))?;
    let (scheme, sent) = header.trim().split_once(' ').unwrap_or_default();
    let sent = BASE64_STANDARD.decode(sent.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"));
    let sent = sent.ok_or(AuthError::Credentials("the Authorization header is not Basic authentication"))?;
    let right = passwords.iter().any(|it| same(&sent, format!("{username}:{}", it.expose()).as_bytes()));
    if right { Ok(()) } else { Err(AuthError::Credentials("the user name or the password is wrong")) }
}

/// Nothing, where the URL ends in one of these secrets.
///
/// # Errors
/// [`AuthError::NotConfigured`] without a secret, else [`AuthError::Credentials`].
pub fn in_url(sent: Option<&str>, secrets: &[Secret]) -> Result<(), AuthError> {
    if secrets.is_empty() {
        return Err(AuthError::NotConfigured);
    }
    let sent = sent.ok_or(AuthError::Credentials("the URL has no secret behind the integration's name"))?;
    let right = secrets.iter().any(|it| same(sent.as_bytes(), it.expose().as_bytes()));
    if right { Ok(()) } else { Err(AuthError::Credentials("the secret in the URL is wrong")) }
}

/// Compared by their hashes, so that the time it takes tells neither length nor content.
fn same(sent: &[u8], right: &[u8]) -> bool {
    Sha256::digest(sent).ct_eq(&Sha256::digest(right)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7617_is_let_in_and_no_other() {
        let passwords = ["old".to_owned(), "open sesame".into()].map(Secret::new);
        let check = |header: Option<&str>| basic(header, "Aladdin", &passwords);
        assert_eq!(check(Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")), Ok(()));
        assert_eq!(check(Some("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")), Ok(()));
        for wrong in [None, Some(""), Some("Basic"), Some("Basic !"), Some("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ==")] {
            assert!(matches!(check(wrong), Err(AuthError::Credentials(_))), "{wrong:?}");
        }
        let wrong = format!("Basic {}", BASE64_STANDARD.encode("Aladdin:open sesame "));
        assert!(matches!(check(Some(&wrong)), Err(AuthError::Credentials(_))));
        assert_eq!(basic(Some("Basic QWxhZGRpbjo="), "Aladdin", &[]), Err(AuthError::NotConfigured));
    }

    #[test]
    fn a_url_needs_one_of_the_secrets() {
        let secrets = ["new".to_owned(), "old".into()].map(Secret::new);
        assert_eq!(in_url(Some("old"), &secrets), Ok(()));
        assert!(matches!(in_url(Some("other"), &secrets), Err(AuthError::Credentials(_))));
        assert!(matches!(in_url(None, &secrets), Err(AuthError::Credentials(_))));
        assert_eq!(in_url(Some(""), &[]), Err(AuthError::NotConfigured));
    }
}
