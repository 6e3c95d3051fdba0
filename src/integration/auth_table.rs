//! The table `[auth]` of plugin.toml: how senders are authenticated.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;
use serde::Deserialize;

use super::sender::{Auth, NamedSecrets};
use crate::auth::password::Passwords;
use crate::auth::sender::{Catalog, Chosen, Sender};
use crate::auth::signature::hmac::{Algorithm, SignatureEncoding};
use crate::auth::signature::{Described, Proof, SenderSettings, Signature};
use crate::auth::strength::{BYTES_MIN, Strength};
use crate::auth::{Secrets, Senders};
use crate::format::payload::DeclaredFormat;
use crate::model::secret::Secret;

/// The table, as accepted by the manifest's schema.
#[derive(Debug, Deserialize)]
pub(super) struct AuthTable {
    /// A sender file.
    pub(super) sender: Option<String>,
    /// Which of its proofs.
    proof: Option<String>,
    scheme: Option<Scheme>,
    #[serde(default)]
    secret: SecretNames,
    /// Other secrets of a sender file.
    #[serde(default)]
    secrets: BTreeMap<String, SecretNames>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
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
    pub(super) allow_weak_secret: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Scheme {
    ApiKey,
    Basic,
    UrlSecret,
    #[serde(rename = "hmac-sha1")]
    HmacSha1,
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "hmac-sha512")]
    HmacSha512,
    // Names of sender files, from before there were any.
    StandardWebhooks,
    Stripe,
    Github,
    Slack,
    Shopify,
    Twilio,
    Calendly,
    Typeform,
}

impl Scheme {
    /// Returns the sender file that the scheme names.
    fn sender(self) -> Option<&'static str> {
        match self {
            Self::StandardWebhooks => Some("standard-webhooks"),
            Self::Stripe => Some("stripe"),
            Self::Github => Some("github"),
            Self::Slack => Some("slack"),
            Self::Shopify => Some("shopify"),
            Self::Twilio => Some("twilio"),
            Self::Calendly => Some("calendly"),
            Self::Typeform => Some("typeform"),
            Self::ApiKey | Self::Basic | Self::UrlSecret | Self::HmacSha1 | Self::HmacSha256 | Self::HmacSha512 => None,
        }
    }
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

impl SecretNames {
    fn as_slice(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }

    /// Returns the secrets that are set.
    fn found(&self, secrets: &Secrets) -> Vec<(String, Secret)> {
        self.as_slice().iter().filter_map(|name| Some((name.clone(), secrets.get(name)?))).collect()
    }
}

/// How an integration's senders are authenticated, before its secrets are known.
#[derive(Debug)]
pub(super) struct ChosenSender {
    /// The sender file, if there is one.
    pub(super) sender: Option<Arc<Sender>>,
    pub(super) chosen: Chosen,
}

impl AuthTable {
    /// Returns the names of all secrets.
    pub(super) fn secret_names(&self) -> impl Iterator<Item = &String> {
        self.secret.as_slice().iter().chain(self.secrets.values().flat_map(SecretNames::as_slice))
    }

    /// Returns the names of the main secrets.
    pub(super) fn main_names(&self) -> Vec<String> {
        self.secret.as_slice().to_vec()
    }

    /// Returns the names of the settings that still have the value of `hookmill plugin new`.
    pub(super) fn placeholders(&self) -> Vec<String> {
        let url = self.url.iter().filter(|it| it.contains("://hooks.example.com/")).map(|_| "url".to_owned());
        let settings = self.settings.iter().filter(|(_, it)| *it == "replace-me");
        url.chain(settings.map(|(name, _)| format!("settings.{name}"))).collect()
    }

    /// Returns the names of its secrets that are not set.
    pub(super) fn unset<'a>(&'a self, secrets: &Secrets) -> Vec<&'a String> {
        self.secret_names().filter(|name| secrets.get(name).is_none()).collect()
    }

    /// Returns the name of the sender file.
    pub(super) fn sender_name(&self) -> Option<&str> {
        self.sender.as_deref().or_else(|| self.scheme.and_then(Scheme::sender))
    }

    /// Returns the sender and the proofs that the table names. `own` is a file next to plugin.toml.
    ///
    /// # Errors
    /// What is wrong with the table, or with the sender file.
    pub(super) fn choose(&self, own: Option<Arc<Sender>>, files: &Catalog) -> Result<ChosenSender, String> {
        let wrong = |cause: String| format!("auth: {cause}");
        if let Some(name) = self.sender_name() {
            let sender = match own {
                Some(own) => own,
                None => files.get(name).map_err(|cause| format!("auth: sender: {cause}"))?,
            };
            let chosen = sender.choose(self.proof.as_deref(), self.username.is_some()).map_err(wrong)?;
            self.has_settings(&sender, &chosen).map_err(wrong)?;
            return Ok(ChosenSender { sender: Some(sender), chosen });
        }
        let described =
            |algorithm| self.described(algorithm).map(|it| Chosen::Checked(vec![Arc::new(it)])).map_err(wrong);
        let chosen = match self.scheme {
            Some(Scheme::Basic) => Chosen::Basic,
            Some(Scheme::UrlSecret) => Chosen::UrlSecret,
            Some(Scheme::HmacSha1) => described(Algorithm::Sha1)?,
            Some(Scheme::HmacSha256) => described(Algorithm::Sha256)?,
            Some(Scheme::HmacSha512) => described(Algorithm::Sha512)?,
            _ => Chosen::ApiKey,
        };
        Ok(ChosenSender { sender: None, chosen })
    }

    /// Checks that everything is there that the sender needs, and nothing that it ignores.
    fn has_settings(&self, sender: &Sender, chosen: &Chosen) -> Result<(), String> {
        for (name, what) in &sender.settings {
            let has = match name.as_str() {
                "url" => self.url.is_some() || !chosen.needs_url(),
                "username" => self.username.is_some() || !matches!(chosen, Chosen::Basic),
                _ => self.settings.contains_key(name) || !chosen.needs_setting(name),
            };
            if !has {
                let place = if ["url", "username"].contains(&name.as_str()) {
                    name.clone()
                } else {
                    format!("settings.{name}")
                };
                return Err(format!("{place} is required by the sender {}: {what}", sender.name));
            }
        }
        if let Some(name) = self.settings.keys().find(|it| !sender.settings.contains_key(*it)) {
            return Err(format!("settings.{name} is not a setting of the sender {}", sender.name));
        }
        if let Some(name) = self.secrets.keys().find(|it| !sender.secrets.contains_key(*it)) {
            return Err(format!("secrets.{name} is not a secret of the sender {}", sender.name));
        }
        for (is_set, is_used, name) in [
            (self.url.is_some(), chosen.uses_url(), "url"),
            (self.username.is_some(), matches!(chosen, Chosen::Basic), "username"),
            (self.tolerance_seconds.is_some(), chosen.uses_time(), "tolerance_seconds"),
        ] {
            // Nothing is ignored silently.
            if is_set && !is_used && self.scheme.is_none() {
                return Err(format!("{name} is not used by the sender {}; remove it", sender.name));
            }
        }
        if let Some((name, what)) = sender.secrets.iter().find(|(name, _)| !self.secrets.contains_key(*name)) {
            return Err(format!("secrets.{name} is required by the sender {}: {what}", sender.name));
        }
        if self.secret.as_slice().is_empty() && chosen.needs_secret() {
            return Err(format!("secret is required by the sender {}", sender.name));
        }
        Ok(())
    }

    /// Returns the names of its secrets that are easy to guess, if the table allows them.
    ///
    /// # Errors
    /// Which secret is empty, can never match, or is weak without being allowed; never the secret itself.
    pub(super) fn weak(&self, chosen: &Chosen, secrets: &Secrets) -> Result<Vec<String>, String> {
        let mut weak = Vec::new();
        let main = self.secret.found(secrets).into_iter().map(|(name, secret)| (chosen.strength(&secret), name));
        let others = self.secrets.values().flat_map(|it| it.found(secrets));
        // They are compared with a value of the request, like a password.
        let others = others.map(|(name, secret)| (Chosen::Basic.strength(&secret), name));
        for (strength, name) in main.chain(others) {
            match strength {
                Ok(Strength::Good) => {}
                Ok(Strength::Weak) if self.allow_weak_secret => weak.push(name),
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
    /// What is wrong with a secret; never the secret itself.
    pub(super) fn auth(&self, chosen: &Chosen, senders: &Senders, sender: Option<&Sender>) -> Result<Auth, String> {
        let named = self.secret.found(&senders.secrets);
        let found: Vec<Secret> = named.iter().map(|(_, it)| it.clone()).collect();
        Ok(match chosen {
            Chosen::ApiKey => Auth::ApiKey,
            Chosen::UrlSecret => Auth::UrlSecret { hashes: Passwords::new(&found), secrets: found },
            Chosen::Basic => {
                Auth::Basic { username: self.username.clone().unwrap_or_default(), passwords: Passwords::new(&found) }
            }
            Chosen::Checked(proofs) => {
                for (name, secret) in &named {
                    let alone =
                        Signature::new(proofs.iter().cloned(), SenderSettings::default(), std::slice::from_ref(secret));
                    alone.map_err(|cause| format!("auth: the secret {name} {cause}"))?;
                }
                let url = self.url.as_deref().unwrap_or_default().trim_end_matches('?').to_owned();
                let settings = SenderSettings { url, values: self.settings.clone() };
                let signature = Signature::new(proofs.iter().cloned(), settings, &found)
                    .map_err(|cause| format!("auth: {cause}"))?;
                let format = sender.and_then(|it| it.body.format).map(DeclaredFormat::from);
                let signature = signature.reading(format);
                let tolerance = self.tolerance_seconds.map(|it| TimeDelta::seconds(it.into()));
                Auth::Signature(Box::new(match tolerance {
                    Some(tolerance) => signature.within(tolerance),
                    None => signature,
                }))
            }
        })
    }

    /// Returns the secrets by what they are for: the main ones, and those that a sender file names.
    pub(super) fn named_secrets(&self, secrets: &Secrets) -> NamedSecrets {
        let found: Vec<_> = self.secret_names().filter_map(|it| Some((it.clone(), secrets.find(it)?))).collect();
        NamedSecrets {
            names: self.secret.as_slice().to_vec(),
            main: self.secret.found(secrets),
            others: self.secrets.iter().map(|(name, it)| (name.clone(), it.found(secrets))).collect(),
            other_names: self.secrets.values().flat_map(SecretNames::as_slice).cloned().collect(),
            trimmed: found.iter().filter_map(|(name, it)| Some((name.clone(), it.trimmed?))).collect(),
            places: found.into_iter().map(|(name, it)| (name, it.place)).collect(),
            problems: self.secret_names().filter_map(|it| secrets.problem(it)).collect(),
        }
    }

    /// Returns what a delivery is signed with: the first secret that is set, and the settings.
    pub(super) fn signing(&self, secrets: &Secrets) -> (Option<(String, Secret)>, String, SenderSettings) {
        let url = self.url.as_deref().unwrap_or_default().trim_end_matches('?').to_owned();
        let settings = SenderSettings { url, values: self.settings.clone() };
        (self.secret.found(secrets).into_iter().next(), self.username.clone().unwrap_or_default(), settings)
    }

    /// Returns the header with the delivery's id of an `hmac-…` scheme, in lower case.
    pub(super) fn id_header(&self) -> Option<String> {
        self.id_header.as_ref().map(|it| it.to_ascii_lowercase())
    }

    fn described(&self, algorithm: Algorithm) -> Result<Proof, String> {
        Proof::described(&Described {
            header: self.header.as_deref().unwrap_or_default(),
            prefix: &self.prefix,
            encoding: self.encoding,
            algorithm,
            timestamp_header: self.timestamp_header.as_deref(),
            id_header: self.id_header.as_deref(),
            payload: self.payload.as_deref().unwrap_or("{body}"),
        })
    }
}
