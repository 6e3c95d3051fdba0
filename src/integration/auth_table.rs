//! The table `[auth]` of plugin.toml: how senders are authenticated.

use chrono::TimeDelta;
use serde::Deserialize;

use super::dedupe::IdSource;
use super::sender::Auth;
use crate::auth::Secrets;
use crate::auth::password::Passwords;
use crate::auth::signature::hmac::{Algorithm, SignatureEncoding};
use crate::auth::signature::rule::{Described, SignatureRule};
use crate::auth::signature::{Preset, Signature, TOLERANCE};
use crate::auth::strength::{BYTES_MIN, Strength, Use};
use crate::model::secret::Secret;

/// The table, as accepted by the manifest's schema.
#[derive(Debug, Deserialize)]
pub(super) struct AuthTable {
    scheme: Scheme,
    #[serde(default)]
    secret: SecretNames,
    header: Option<String>,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    encoding: SignatureEncoding,
    timestamp_header: Option<String>,
    id_header: Option<String>,
    payload: Option<String>,
    tolerance_seconds: Option<u32>,
    url: Option<String>,
    username: Option<String>,
    #[serde(default)]
    allow_weak_secret: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Scheme {
    Preset(Preset),
    Other(Other),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Other {
    ApiKey,
    Basic,
    UrlSecret,
    Twilio,
    #[serde(rename = "hmac-sha1")]
    HmacSha1,
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
}

/// The name of one secret, or of several, all of which are valid.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum SecretNames {
    One(String),
    Several(Vec<String>),
}

impl Default for SecretNames {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

impl AuthTable {
    pub(super) fn secret_names(&self) -> &[String] {
        match &self.secret {
            SecretNames::One(name) => std::slice::from_ref(name),
            SecretNames::Several(names) => names,
        }
    }

    /// Returns the names of its secrets that are not set.
    pub(super) fn unset<'a>(&'a self, secrets: &Secrets) -> Vec<&'a String> {
        self.secret_names().iter().filter(|name| secrets.get(name).is_none()).collect()
    }

    /// Returns the names of its secrets that are easy to guess, if the table allows them.
    ///
    /// # Errors
    /// Which secret is empty, can never match, or is weak without being allowed; never the secret itself.
    pub(super) fn weak(&self, secrets: &Secrets) -> Result<Vec<String>, String> {
        let used = match self.scheme {
            Scheme::Preset(Preset::StandardWebhooks) => Use::StandardWebhooks,
            Scheme::Other(Other::UrlSecret) => Use::InUrl,
            Scheme::Preset(_) | Scheme::Other(_) => Use::Text,
        };
        let mut weak = Vec::new();
        for (name, secret) in self.secret_names().iter().filter_map(|name| Some((name, secrets.get(name)?))) {
            match used.strength(secret.expose()) {
                Ok(Strength::Good) => {}
                Ok(Strength::Weak) if self.allow_weak_secret => weak.push(name.clone()),
                Ok(Strength::Weak) => {
                    return Err(format!(
                        "auth: the secret {name} is weak: it needs {BYTES_MIN} bytes or more, at least four of them different. Set a longer \
                         one at the sender and here, or allow this one with allow_weak_secret = true in [auth]"
                    ));
                }
                Err(cause) => return Err(format!("auth: the secret {name} {cause}")),
            }
        }
        Ok(weak)
    }

    /// Creates the authentication. If no secret is set, no delivery passes.
    ///
    /// # Errors
    /// What is wrong with the table, or with a secret; never the secret itself.
    pub(super) fn auth(&self, secrets: &Secrets) -> Result<Auth, String> {
        let mut found: Vec<Secret> = Vec::new();
        for (name, secret) in self.secret_names().iter().filter_map(|name| Some((name, secrets.get(name)?))) {
            if let Scheme::Preset(preset) = self.scheme {
                let alone = Signature::preset(preset, std::slice::from_ref(&secret));
                alone.map_err(|cause| format!("auth: the secret {name} {cause}"))?;
            }
            found.push(secret);
        }
        let tolerance = self.tolerance_seconds.map_or(TOLERANCE, |it| TimeDelta::seconds(it.into()));
        let wrong = |cause: String| format!("auth: {cause}");
        let signed = |signature: Result<Signature, String>| {
            signature.map(|it| Auth::Signature(Box::new(it.within(tolerance)))).map_err(wrong)
        };
        match self.scheme {
            Scheme::Preset(preset) => signed(Signature::preset(preset, &found)),
            Scheme::Other(Other::ApiKey) => Ok(Auth::ApiKey),
            Scheme::Other(Other::UrlSecret) => Ok(Auth::UrlSecret { hashes: Passwords::new(&found), secrets: found }),
            Scheme::Other(Other::Basic) => Ok(Auth::Basic {
                username: self.username.clone().unwrap_or_default(),
                passwords: Passwords::new(&found),
            }),
            Scheme::Other(Other::Twilio) => {
                let url = self.url.as_deref().unwrap_or_default().trim_end_matches('?');
                signed(Signature::twilio(url.to_owned(), &found))
            }
            Scheme::Other(Other::HmacSha1) => signed(self.described(Algorithm::Sha1, &found)),
            Scheme::Other(Other::HmacSha256) => signed(self.described(Algorithm::Sha256, &found)),
            Scheme::Other(Other::HmacSha512) => signed(self.described(Algorithm::Sha512, &found)),
        }
    }

    /// Returns the headers with the delivery's id and the time of signing, in lower case; they are stored with the
    /// event.
    pub(super) fn telling_headers(&self) -> impl Iterator<Item = String> {
        let named = [&self.id_header, &self.timestamp_header];
        named.into_iter().flatten().map(|it| it.to_ascii_lowercase())
    }

    /// Returns where this sender puts the delivery's id, and for how many hours a delivery may be repeated.
    pub(super) fn deliveries(&self) -> (Option<IdSource>, u32) {
        match self.scheme {
            Scheme::Preset(preset) => deliveries(preset),
            // Retries end within seconds: https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides
            Scheme::Other(Other::Twilio) => (Some(IdSource::Header("i-twilio-idempotency-token".into())), 24),
            Scheme::Other(_) => (self.id_header.as_ref().map(|it| IdSource::Header(it.to_ascii_lowercase())), 72),
        }
    }

    fn described(&self, algorithm: Algorithm, secrets: &[Secret]) -> Result<Signature, String> {
        let rule = SignatureRule::described(&Described {
            header: self.header.as_deref().unwrap_or_default(),
            prefix: &self.prefix,
            encoding: self.encoding,
            algorithm,
            timestamp_header: self.timestamp_header.as_deref(),
            id_header: self.id_header.as_deref(),
            payload: self.payload.as_deref().unwrap_or("{body}"),
        })?;
        Signature::hmac(rule, secrets)
    }
}

/// Returns where each provider puts the id of a delivery, and how long it retries, rounded up to a day.
fn deliveries(preset: Preset) -> (Option<IdSource>, u32) {
    let header = |name: &str| Some(IdSource::Header(name.into()));
    let body = |pointer: &str| Some(IdSource::Body(vec![pointer.into()]));
    match preset {
        // "over several days", according to the specification.
        Preset::StandardWebhooks => (header("webhook-id"), 120),
        // Three days: https://docs.stripe.com/webhooks#behaviors
        Preset::Stripe => (body("/id"), 72),
        // Manually only, within three days:
        // https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks
        Preset::Github => (header("x-github-delivery"), 72),
        // Three times within six minutes, or for a day: https://docs.slack.dev/apis/events-api
        Preset::Slack => (body("/event_id"), 24),
        // Eight times within four hours: https://shopify.dev/docs/apps/build/webhooks/subscribe/https
        Preset::Shopify => (header("x-shopify-webhook-id"), 24),
        // For a day; it sends no id: https://developer.calendly.com
        Preset::Calendly => (None, 24),
        // Within a day: https://www.typeform.com/developers/webhooks/
        Preset::Typeform => (body("/event_id"), 24),
    }
}
