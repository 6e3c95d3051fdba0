//! Public keys that senders publish: fetched from hosts that both the sender's file and hookmill.toml name, and cached.
//! Without its key, a delivery is refused, and its sender retries.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::auth::signature::{FetchedKeys, KeysFrom, NamedKey, WantedKey};
use crate::integration::Integration;
use crate::model::secret::Secret;
use crate::model::time::now;
use crate::system::rate::{Rate, TokenBucket};

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
/// Requests of all senders together: strangers can name any key.
const REQUESTS: Rate = Rate { per_minute: 60, burst: 20 };
/// Maximum number of cached responses; the oldest is dropped.
const CACHED: usize = 256;

/// What a request is for: URL, and the id of a key if each one has its own response.
type Place = (String, Option<String>);

/// The keys of all senders.
pub struct SenderKeys {
    hosts: Vec<String>,
    agent: ureq::Agent,
    requests: TokenBucket,
    cached: Mutex<HashMap<Place, Arc<tokio::sync::Mutex<Cached>>>>,
}

#[derive(Debug, Default)]
struct Cached {
    keys: Option<Arc<[NamedKey]>>,
    fetched_at: Option<DateTime<Utc>>,
    tried_at: Option<DateTime<Utc>>,
}

/// A request for keys.
struct KeyRequest {
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
        Self { hosts, agent, requests: TokenBucket::of(REQUESTS), cached: Mutex::default() }
    }

    /// Returns the keys for a claim. Keys that cannot be fetched are an error only if none is left.
    ///
    /// # Errors
    /// Why there is no key.
    pub async fn get(&self, wanted: Vec<WantedKey>, integration: &Integration) -> Result<FetchedKeys, String> {
        let (mut fetched, mut failed) = (FetchedKeys::default(), None);
        for it in wanted {
            match self.one(&it, integration).await {
                Ok(keys) => fetched.0.push((it.from, keys)),
                Err(cause) => failed = Some(cause),
            }
        }
        match failed {
            Some(cause) if fetched.0.is_empty() => Err(cause),
            _ => Ok(fetched),
        }
    }

    async fn one(&self, wanted: &WantedKey, integration: &Integration) -> Result<Arc<[NamedKey]>, String> {
        let request = KeyRequest::of(wanted, integration)?;
        self.allows(&request.url, &wanted.from)?;
        let id = wanted.id.clone().filter(|_| request.body.is_some());
        let place = (request.url.clone(), id);
        let entry = self.entry(place);
        // One request at a time; others wait for its response.
        let mut cached = entry.lock().await;
        let at = now();
        let within = |since: Option<DateTime<Utc>>, limit| since.is_some_and(|it| at - it < limit);
        let has =
            |keys: &Arc<[NamedKey]>| wanted.id.is_none() || keys.iter().any(|it| it.id.is_none() || it.id == wanted.id);
        let may_try = !within(cached.tried_at, RETRY);
        let current = cached.keys.clone().filter(|_| within(cached.fetched_at, STALE));
        match &current {
            Some(keys) if has(keys) && (within(cached.fetched_at, FRESH) || !may_try) => return Ok(Arc::clone(keys)),
            _ if !may_try => return current.ok_or_else(|| "the last request for them failed".into()),
            _ => {}
        }
        if !self.requests.take(at) {
            return current.ok_or_else(|| "too many requests for keys".into());
        }
        cached.tried_at = Some(at);
        let agent = self.agent.clone();
        let url = request.url.clone();
        let result = tokio::task::spawn_blocking(move || request.fetch(&agent, at)).await;
        match result.map_err(|_| "the request for them was abandoned".to_owned())? {
            Ok(keys) => {
                let keys: Arc<[NamedKey]> = keys.into();
                (cached.keys, cached.fetched_at) = (Some(Arc::clone(&keys)), Some(at));
                Ok(keys)
            }
            Err(cause) => {
                tracing::warn!(integration = %integration.name, url, cause, "the keys of a sender cannot be fetched");
                current.ok_or(cause)
            }
        }
    }

    fn entry(&self, place: Place) -> Arc<tokio::sync::Mutex<Cached>> {
        let mut all = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CACHED && !all.contains_key(&place) {
            // Entries in use are kept alive by their users.
            let fetched =
                |it: &Arc<tokio::sync::Mutex<Cached>>| it.try_lock().ok().map(|it| it.fetched_at.or(it.tried_at));
            let oldest =
                all.iter().filter_map(|(place, it)| Some((fetched(it)?, place))).min().map(|(_, place)| place.clone());
            oldest.map(|it| all.remove(&it));
        }
        Arc::clone(all.entry(place).or_default())
    }

    /// Checks that a URL is on a host that both the file and hookmill.toml allow.
    fn allows(&self, url: &str, from: &KeysFrom) -> Result<(), String> {
        let uri: hyper::Uri = url.parse().map_err(|_| "their URL is not valid".to_owned())?;
        let authority = uri.authority().map(|it| it.as_str().to_ascii_lowercase()).unwrap_or_default();
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let is_local = ["127.0.0.1", "localhost", "[::1]"].contains(&host.as_str());
        if authority.contains('@')
            || !(uri.scheme_str() == Some("https") || (is_local && uri.scheme_str() == Some("http")))
        {
            return Err("their URL must begin with https:// and have no user name".into());
        }
        if let KeysFrom::Certificate { hosts, .. } = from
            && !hosts.iter().any(|it| is_host(it, &host))
        {
            return Err("their URL is on a host that the sender's file does not name".into());
        }
        if self.hosts.iter().any(|it| is_host(it, &host) || *it == authority) {
            Ok(())
        } else {
            Err(format!("add \"{host}\" to hosts in [outbound] of hookmill.toml"))
        }
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

impl KeyRequest {
    fn of(wanted: &WantedKey, integration: &Integration) -> Result<Self, String> {
        let get = |url: &str, is_certificate| Self {
            url: url.to_owned(),
            body: None,
            pointer: String::new(),
            is_certificate,
        };
        match &*wanted.from {
            KeysFrom::Jwks(url) => Ok(get(url, false)),
            KeysFrom::Certificate { .. } => {
                let url = wanted.url.as_deref().ok_or("the delivery does not name its certificate")?;
                Ok(get(url, true))
            }
            KeysFrom::Post { url, send, pointer } => {
                let id = wanted.id.as_deref().ok_or("the token does not name its key")?;
                let filled = |(name, template): &(String, String)| {
                    (name.clone(), Value::String(integration.filled(template).replace("{kid}", id)))
                };
                let body = Value::Object(send.iter().map(filled).collect());
                Ok(Self { url: url.clone(), body: Some(body), pointer: pointer.clone(), is_certificate: false })
            }
        }
    }

    fn fetch(&self, agent: &ureq::Agent, at: DateTime<Utc>) -> Result<Vec<NamedKey>, String> {
        let refused = |error: ureq::Error| match error {
            ureq::Error::StatusCode(status) => format!("their server answered {status}"),
            ureq::Error::Timeout(_) => "their server did not answer in time".to_owned(),
            _ => "their server cannot be reached".to_owned(),
        };
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
        let source = crate::auth::signature::Source::Body("/SigningCertURL".into());
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
