//! Signs a test delivery for a live integration, with its own secrets and settings.

use chrono::{DateTime, Utc};

use super::live::Integration;
use super::sender::Auth;
use crate::auth::sender::{Chosen, Signable, SignedRequest};
use crate::auth::signature::SenderSettings;
use crate::model::secret::Secret;

const KEYS: &str = "its senders have an API key with the scope hooks:write, and the server stores only hashes of keys: send a test with that key in X-API-Key";

/// A test delivery before it is signed.
#[derive(Debug)]
pub struct TestParts<'a> {
    /// The body.
    pub body: &'a [u8],
    /// Its content type.
    pub content_type: &'a str,
    /// The id of the delivery.
    pub id: &'a str,
    /// The time of signing.
    pub at: DateTime<Utc>,
}

impl Integration {
    /// Returns why the server cannot sign a delivery to this integration; `None` if it can.
    #[must_use]
    pub fn cannot_sign(&self) -> Option<String> {
        match &self.auth {
            Auth::ApiKey => Some(KEYS.to_owned()),
            Auth::Signature(it) if !Chosen::Checked(it.proofs()).is_signable() => {
                Some("only the sender has the private key that signs its deliveries; send a test from there".to_owned())
            }
            _ if self.secrets.main.is_empty() => {
                let names = self.secrets.names.join(", ");
                Some(format!("none of its secrets is set on the server ({names}); set one first"))
            }
            _ => None,
        }
    }

    /// Signs a delivery, as its sender would. The result may contain a secret: it is only for this server's own routes.
    ///
    /// # Errors
    /// Why no valid request can be made.
    pub fn sign(&self, it: &TestParts<'_>) -> Result<SignedRequest, String> {
        if let Some(why) = self.cannot_sign() {
            return Err(why);
        }
        let (chosen, username, mut settings) = match &self.auth {
            Auth::ApiKey => return Err(KEYS.to_owned()),
            Auth::Signature(it) => (Chosen::Checked(it.proofs()), "", it.signed_settings().clone()),
            Auth::Basic { username, .. } => (Chosen::Basic, username.as_str(), SenderSettings::default()),
            Auth::UrlSecret { .. } => (Chosen::UrlSecret, "", SenderSettings::default()),
        };
        if settings.url.is_empty() {
            settings.url = format!("http://localhost/v1/hooks/{}", self.name);
        }
        let signed = |secret: &Secret| {
            let TestParts { body, content_type, id, at } = *it;
            chosen.sign(&Signable { body, content_type, secret, username, settings: &settings, at, id })
        };
        let mut cause = String::new();
        for (_, secret) in &self.secrets.main {
            match signed(secret) {
                Ok(request) => return Ok(request),
                Err(why) => cause = why,
            }
        }
        Err(cause)
    }
}
