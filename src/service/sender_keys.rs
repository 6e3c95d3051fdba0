//! Public keys that senders publish: fetched from hosts that both the sender's file and hookmill.toml name, and cached.
//! Without its key, a delivery is refused, and its sender retries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::auth::signature::{FetchedKeys, KeysFrom, Mismatch, NamedKey, ValueSource, WantedKey};
use crate::integration::Integration;
use crate::model::company::CompanyId;
use crate::model::ids::IntegrationName;
use crate::model::secret::Secret;
use crate::model::time::now;
use crate::system::log;
use crate::system::log::SampledLine;

/// How long a request for a key may take; a delivery waits for it.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a response, in bytes.
const RESPONSE_MAX: u64 = 256 * 1024;
/// After this time, keys are fetched again.
const FRESH: TimeDelta = TimeDelta::hours(1);
/// After this time, keys that could not be fetched again are no longer used.
const STALE: TimeDelta = TimeDelta::hours(24);
/// After this time, a failed request, or one that did not have a token's key, is made again.
const RETRY: TimeDelta = TimeDelta::seconds(60);
/// Maximum number of cached responses per integration: a stranger can name any key.
const CACHED: usize = 16;

/// What a request is for. The secret of an integration may be part of it, so each integration has its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct KeyPlace {
    company_id: CompanyId,
    integration: IntegrationName,
    url: String,
    /// The id of the key, if each one has its own response.
    id: Option<String>,
}

/// Why no key is available.
#[derive(Debug)]
pub enum KeyFailure {
    /// The delivery names a key that its sender cannot have.
    Refused(Mismatch),
    /// It cannot be fetched right now.
    Unavailable,
}

/// The keys of all senders.
pub struct SenderKeys {
    hosts: Vec<String>,
    agent: ureq::Agent,
    cached: Mutex<HashMap<KeyPlace, Arc<KeyEntry>>>,
}

/// One response. Its keys are read without waiting for a request.
#[derive(Debug, Default)]
struct KeyEntry {
    cached: Mutex<Cached>,
    /// Held during a request.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Default)]
struct Cached {
    keys: Option<Arc<[NamedKey]>>,
    fetched_at: Option<DateTime<Utc>>,
    tried_at: Option<DateTime<Utc>>,
}

/// A request for keys.
struct KeyFetch {
    url: String,
    /// What is posted; it may contain a secret.
    body: Option<Value>,
    /// JSON Pointer to the key in the response.
    pointer: String,
    is_certificate: bool,
}

impl SenderKeys {
    /// Creates a cache. Keys are fetched from these hosts only.
    #[must_use]
    pub fn new(hosts: Vec<String>) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .user_agent(concat!("hookmill/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self { hosts, agent, cached: Mutex::default() }
    }

    /// Returns the keys for a claim. A key that cannot be fetched is a failure only if no other one is left.
    ///
    /// # Errors
    /// Why there are no keys.
    pub async fn get(&self, wanted: Vec<WantedKey>, integration: &Integration) -> Result<FetchedKeys, KeyFailure> {
        let (mut fetched, mut failed) = (FetchedKeys::default(), None);
        for it in wanted {
            match self.one(&it, integration).await {
                Ok(keys) => fetched.0.push((it.from, keys)),
                Err(failure) => failed = Some(failure),
            }
        }
        match failed {
            Some(failure) if fetched.0.is_empty() => Err(failure),
            _ => Ok(fetched),
        }
    }

    async fn one(&self, wanted: &WantedKey, integration: &Integration) -> Result<Arc<[NamedKey]>, KeyFailure> {
        let request = KeyFetch::of(wanted, integration).map_err(KeyFailure::Refused)?;
        let unavailable = |cause: String| {
            if let Some(turn) = log::sample(SampledLine::SenderKeys, &integration.name.0, now()) {
                let omitted = turn.omitted;
                tracing::warn!(integration = %integration.name, cause, omitted, "the keys of a sender are not available");
            }
            KeyFailure::Unavailable
        };
        self.allows(&request.url, &wanted.from).map_err(|refused| match refused {
            HostRefused::Delivery(cause) => {
                KeyFailure::Refused(Mismatch::Unreadable { place: "the URL of the sender's keys".into(), cause })
            }
            HostRefused::Setting(cause) => unavailable(cause),
        })?;
        let entry = self.entry(KeyPlace {
            company_id: integration.company_id.clone(),
            integration: integration.name.clone(),
            url: request.url.clone(),
            id: wanted.id.clone().filter(|_| request.body.is_some()),
        });
        if let Some(keys) = entry.usable(wanted, now(), entry.turn.try_lock().is_err()) {
            return Ok(keys);
        }
        // One request at a time; others wait for its response.
        let _turn = entry.turn.lock().await;
        let at = now();
        let before = entry.get();
        if let Some(keys) = entry.usable(wanted, at, before.tried_within(RETRY, at)) {
            return Ok(keys);
        }
        let stale = before.keys.clone().filter(|_| before.fetched_within(STALE, at));
        if before.tried_within(RETRY, at) {
            return stale.ok_or_else(|| unavailable("the last request for them failed".into()));
        }
        if !integration.uses.may_fetch(at) {
            return stale.ok_or_else(|| unavailable("too many different keys were asked for".into()));
        }
        entry.change(|it| it.tried_at = Some(at));
        let agent = self.agent.clone();
        let result = tokio::task::spawn_blocking(move || request.fetch(&agent, at)).await;
        match result.unwrap_or_else(|_| Err("the request for them was abandoned".into())) {
            Ok(keys) => {
                let keys: Arc<[NamedKey]> = keys.into();
                entry.change(|it| (it.keys, it.fetched_at) = (Some(Arc::clone(&keys)), Some(at)));
                Ok(keys)
            }
            Err(cause) => {
                let failure = unavailable(cause);
                stale.ok_or(failure)
            }
        }
    }

    /// Requests a URL once, such as one that confirms a subscription. Its response does not matter.
    ///
    /// # Errors
    /// Why it was not requested.
    pub async fn open(&self, url: &str, hosts: &[String]) -> Result<(), String> {
        let source = ValueSource::Body(String::new());
        let from = KeysFrom::Certificate { source, hosts: hosts.to_vec() };
        self.allows(url, &from).map_err(|it| it.to_string())?;
        let (agent, url) = (self.agent.clone(), url.to_owned());
        let opened = tokio::task::spawn_blocking(move || agent.get(&url).call().map(drop).map_err(refused)).await;
        opened.unwrap_or_else(|_| Err("the request was abandoned".into()))
    }

    fn entry(&self, place: KeyPlace) -> Arc<KeyEntry> {
        let mut all = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(&place) {
            let is_own = |it: &KeyPlace| it.company_id == place.company_id && it.integration == place.integration;
            let own = all.iter().filter(|(it, _)| is_own(it));
            // Entries without keys go first; those in use are kept alive by their users.
            let age = |it: &KeyEntry| {
                let cached = it.get();
                (cached.keys.is_some(), cached.fetched_at.or(cached.tried_at))
            };
            let aged: Vec<_> = own.map(|(place, it)| (age(it), place.clone())).collect();
            if aged.len() >= CACHED
                && let Some((_, oldest)) = aged.into_iter().min_by_key(|(age, _)| *age)
            {
                all.remove(&oldest);
            }
        }
        Arc::clone(all.entry(place).or_default())
    }

    /// Checks that a URL is on a host that both the file and hookmill.toml allow.
    fn allows(&self, url: &str, from: &KeysFrom) -> Result<(), HostRefused> {
        let uri: hyper::Uri = url.parse().map_err(|_| HostRefused::Delivery("it is not a URL"))?;
        let authority = uri.authority().map(|it| it.as_str().to_ascii_lowercase()).unwrap_or_default();
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let is_local = ["127.0.0.1", "localhost", "[::1]"].contains(&host.as_str());
        if authority.contains('@')
            || !(uri.scheme_str() == Some("https") || (is_local && uri.scheme_str() == Some("http")))
        {
            return Err(HostRefused::Delivery("it must begin with https:// and have no user name"));
        }
        if let KeysFrom::Certificate { hosts, .. } = from
            && !hosts.iter().any(|it| is_host(it, &host))
        {
            return Err(HostRefused::Delivery("it is on a host that the sender's file does not name"));
        }
        if self.hosts.iter().any(|it| is_host(it, &host) || *it == authority) {
            Ok(())
        } else {
            Err(HostRefused::Setting(format!("add \"{host}\" to hosts in [outbound] of hookmill.toml")))
        }
    }
}

/// Why nothing is requested from a host.
#[derive(Debug, thiserror::Error)]
enum HostRefused {
    /// The delivery names the wrong place.
    #[error("{0}")]
    Delivery(&'static str),
    /// hookmill.toml does not allow it.
    #[error("{0}")]
    Setting(String),
}

impl KeyEntry {
    fn get(&self) -> Cached {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Cached)) {
        change(&mut self.cached.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns keys that need no request: they have the one that is wanted, and are fresh, or another request is not due.
    fn usable(&self, wanted: &WantedKey, at: DateTime<Utc>, is_not_due: bool) -> Option<Arc<[NamedKey]>> {
        let cached = self.get();
        let has =
            |keys: &Arc<[NamedKey]>| wanted.id.is_none() || keys.iter().any(|it| it.id.is_none() || it.id == wanted.id);
        let is_good = cached.fetched_within(FRESH, at) || (is_not_due && cached.fetched_within(STALE, at));
        cached.keys.filter(|keys| is_good && has(keys))
    }
}

impl Cached {
    fn fetched_within(&self, limit: TimeDelta, at: DateTime<Utc>) -> bool {
        self.fetched_at.is_some_and(|it| at - it < limit)
    }

    fn tried_within(&self, limit: TimeDelta, at: DateTime<Utc>) -> bool {
        self.tried_at.is_some_and(|it| at - it < limit)
    }
}

fn refused(error: ureq::Error) -> String {
    match error {
        ureq::Error::StatusCode(status) => format!("their server answered {status}"),
        ureq::Error::Timeout(_) => "their server did not answer in time".to_owned(),
        _ => "their server cannot be reached".to_owned(),
    }
}

/// Returns whether a host matches a pattern, in which `*` is one label.
pub(crate) fn is_host(pattern: &str, host: &str) -> bool {
    let (mut pattern, mut host) = (pattern.split('.'), host.split('.'));
    loop {
        match (pattern.next(), host.next()) {
            (None, None) => return true,
            (Some(wanted), Some(label))
                if (wanted == "*" && !label.is_empty()) || wanted.eq_ignore_ascii_case(label) => {}
            _ => return false,
        }
    }
}

impl KeyFetch {
    fn of(wanted: &WantedKey, integration: &Integration) -> Result<Self, Mismatch> {
        let missing = |place: &str| Mismatch::Absent { place: place.to_owned() };
        let get = |url: &str, is_certificate| Self {
            url: url.to_owned(),
            body: None,
            pointer: String::new(),
            is_certificate,
        };
        match &*wanted.from {
            KeysFrom::Jwks(url) => Ok(get(url, false)),
            KeysFrom::Certificate { .. } => {
                let url = wanted.url.as_deref().ok_or_else(|| missing("the URL of the certificate"))?;
                Ok(get(url, true))
            }
            KeysFrom::Post { url, send, pointer } => {
                let id = wanted.id.as_deref().ok_or_else(|| missing("the id of the token's key"))?;
                let filled = |(name, template): &(String, String)| {
                    (name.clone(), Value::String(integration.filled(template).replace("{kid}", id)))
                };
                let body = Value::Object(send.iter().map(filled).collect());
                Ok(Self { url: url.clone(), body: Some(body), pointer: pointer.clone(), is_certificate: false })
            }
        }
    }

    fn fetch(&self, agent: &ureq::Agent, at: DateTime<Utc>) -> Result<Vec<NamedKey>, String> {
        let response = match &self.body {
            None => agent.get(&self.url).call(),
            Some(body) => agent.post(&self.url).send_json(body),
        };
        let mut response = response.map_err(refused)?;
        let text = response.body_mut().with_config().limit(RESPONSE_MAX).read_to_string();
        let text = text.map_err(|_| "their server's response cannot be read".to_owned())?;
        if self.is_certificate {
            return NamedKey::certificate(&text, at);
        }
        let json: Value = serde_json::from_str(&text).map_err(|_| "their server's response is not JSON".to_owned())?;
        NamedKey::set(json.pointer(&self.pointer).ok_or("their server's response has no key")?)
            .map_err(|cause| format!("their server's response {cause}"))
    }
}

impl Integration {
    /// Fills secret and settings into a text that is sent to the sender's own API.
    fn filled(&self, template: &str) -> String {
        let secret = self.secrets.main.first().map_or("", |(_, it)| Secret::expose(it));
        let mut text = template.replace("{secret}", secret);
        for (name, value) in self.auth.settings() {
            text = text.replace(&format!("{{setting:{name}}}"), value);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a delivery decides which server on the internal network is asked for its key.
    #[test]
    fn keys_are_fetched_from_hosts_that_the_file_and_the_settings_name() {
        let keys = SenderKeys::new(vec!["sns.*.amazonaws.com".into(), "127.0.0.1:8099".into(), "keys.example".into()]);
        let source = ValueSource::Body("/SigningCertURL".into());
        let certificate = KeysFrom::Certificate { source, hosts: vec!["sns.*.amazonaws.com".into()] };
        let jwks = KeysFrom::Jwks(String::new());
        for (url, from, is_allowed) in [
            ("https://sns.eu-west-1.amazonaws.com/a.pem", &certificate, true),
            ("https://SNS.eu-west-1.amazonaws.com/a.pem", &certificate, true),
            ("http://sns.eu-west-1.amazonaws.com/a.pem", &certificate, false),
            ("https://sns.eu.west.amazonaws.com/a.pem", &certificate, false),
            ("https://sns.eu-west-1.amazonaws.com.evil.example/a.pem", &certificate, false),
            ("https://keys.example/a.pem", &certificate, false),
            ("https://keys.example@evil.example/a", &jwks, false),
            ("https://keys.example/a", &jwks, true),
            ("https://keys.example:8443/a", &jwks, true),
            ("http://127.0.0.1:8099/a", &jwks, true),
            ("http://127.0.0.1:8098/a", &jwks, false),
            ("file:///etc/passwd", &jwks, false),
            ("not a URL", &jwks, false),
        ] {
            assert_eq!(keys.allows(url, from).is_ok(), is_allowed, "{url}");
        }
    }
}
