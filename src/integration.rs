//! An integration: one way in, with its sender's proof, its schema and its plugin.
//!
//! `integration/manifest.rs` reads plugin.toml, `integration/load.rs` turns a folder into an [`Integration`]
//! or says why not, `integration/checks.rs` makes long checks of payloads, `integration/check.rs` says all of it for a plugin's author, and `integration/registry.rs` holds what is live.
//! `integration/dedupe.rs` is what deliveries are known by, `integration/redact.rs` what of them is never stored.

mod auth_table;
pub mod check;
mod checks;
mod dedupe;
pub mod load;
mod manifest;
mod redact;
mod registry;
mod rejections;

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

use crate::auth::AuthError;
use crate::auth::CompanyId;
use crate::auth::limit::{Rate, TokenBucket};
use crate::auth::password::Passwords;
use crate::auth::signature::{Claim, Delivery, Signature};
use crate::config::Secret;
use crate::dry_run::Shadow;
use crate::event::{EventId, Headers, IntegrationName, Provenance};
use crate::payload::Rules;
use crate::plugin::{CallContext, Plugin};
use crate::schema::Schema;

pub use checks::{Checks, NotChecked};
pub use dedupe::{Dedupe, Later, Named};
pub use load::LoadFailure;
pub use redact::{PLACEHOLDER, Redact};
pub use registry::{Found, Refused, Registry};
pub use rejections::Rejections;

/// How a sender proves who it is.
#[derive(Debug, Clone)]
pub enum Auth {
    /// `X-API-Key` with the scope `hooks:write`, of the integration's company.
    ApiKey,
    /// A signature over the raw body.
    Signature(Box<Signature>),
    /// HTTP Basic authentication.
    Basic {
        /// The user's name.
        username: String,
        /// Each of them is good.
        passwords: Passwords,
    },
    /// A secret behind the name in the URL.
    UrlSecret {
        /// What is compared with.
        hashes: Passwords,
        /// To find copies of them in headers.
        secrets: Vec<Secret>,
    },
}

/// A sender whose headers and URL are good, as far as they go.
#[derive(Debug)]
pub enum Claimed {
    /// That is all of its proof: it says nothing about the body.
    Proved,
    /// A signature, which the body has to fit.
    Signed(Claim),
}

impl Auth {
    /// What is to be answered where the sender only asks whether the URL is ours; of a delivery that has passed.
    #[must_use]
    pub fn challenge(&self, body: &[u8]) -> Option<String> {
        if let Self::Signature(signature) = self { signature.challenge(body) } else { None }
    }

    /// Whether this header, named in lower case, holds the proof.
    #[must_use]
    pub fn proves(&self, header: &str) -> bool {
        if let Self::Signature(signature) = self { header == signature.header() } else { false }
    }

    /// Clears the values of headers that hold the URL's secret: proxies copy URLs into headers. `in_url` is what was sent,
    /// right or wrong.
    pub fn hide(&self, headers: &mut Headers, in_url: Option<&str>) {
        headers.iter_mut().filter(|(_, value)| self.is_in(value, in_url)).for_each(|(_, value)| value.clear());
    }

    /// Whether a text holds the URL's secret, in whichever case and encoding.
    #[must_use]
    pub fn is_in(&self, text: &str, in_url: Option<&str>) -> bool {
        let Self::UrlSecret { secrets, .. } = self else { return false };
        let all = secrets.iter().map(Secret::expose).chain(in_url);
        let text = plain(text);
        all.map(plain).any(|it| !it.is_empty() && text.contains(&it))
    }

    /// What the delivery's headers and URL prove, before its body is read. `in_url` is what stands behind the integration's
    /// name in the URL. A key is none of this module's: it is refused here.
    ///
    /// # Errors
    /// What is wrong with the proof, or that there is nothing to check it with.
    pub fn claim(&self, delivery: &Delivery<'_>, in_url: Option<&str>) -> Result<Claimed, AuthError> {
        match self {
            Self::ApiKey => Err(AuthError::NoKey),
            Self::Signature(signature) if !signature.is_configured() => Err(AuthError::NotConfigured),
            Self::Signature(signature) => signature.claim(delivery).map(Claimed::Signed).map_err(AuthError::Signature),
            Self::UrlSecret { hashes, .. } => hashes.in_url(in_url).map(|()| Claimed::Proved),
            Self::Basic { username, passwords } => {
                let header = delivery.headers.get("authorization").and_then(|it| it.to_str().ok());
                passwords.basic(header, username).map(|()| Claimed::Proved)
            }
        }
    }

    /// Nothing, where the body fits what was claimed.
    ///
    /// # Errors
    /// What is wrong with the proof.
    pub fn check(&self, claimed: &Claimed, body: &[u8]) -> Result<(), AuthError> {
        match (self, claimed) {
            (_, Claimed::Proved) => Ok(()),
            (Self::Signature(signature), Claimed::Signed(claim)) => {
                signature.check(claim, body).map_err(AuthError::Signature)
            }
            _ => Err(AuthError::NoKey),
        }
    }

    /// How many bytes are hashed to check a body of this size; see [`Signature::cost`].
    #[must_use]
    pub fn cost(&self, claimed: &Claimed, body: usize) -> usize {
        match (self, claimed) {
            (Self::Signature(signature), Claimed::Signed(claim)) => signature.cost(claim, body),
            _ => 0,
        }
    }
}

/// Lower case, and without percent-encoding, also where that was encoded again.
fn plain(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..DECODED {
        let decoded = decoded(&bytes);
        if decoded == bytes {
            break;
        }
        bytes = decoded;
    }
    String::from_utf8_lossy(&bytes).to_lowercase()
}

/// How often a text may have been percent-encoded, by one proxy after another.
const DECODED: usize = 8;

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(bytes.len()), bytes);
    while let [first, after @ ..] = rest {
        let byte = match after {
            [high, low, ..] if *first == b'%' => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|it| u8::from_str_radix(it, 16).ok())
            }
            _ => None,
        };
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    plain
}

/// A plugin folder that has loaded and passed its fixtures.
#[derive(Debug)]
pub struct Integration {
    /// The last part of its URL.
    pub name: IntegrationName,
    /// `version` in plugin.toml.
    pub version: String,
    /// One sentence for lists.
    pub description: String,
    /// Whose tasks it makes.
    pub company_id: CompanyId,
    /// Its senders' proof.
    pub auth: Auth,
    /// Names of its secrets that are easy to guess, and allowed.
    pub weak_secrets: Vec<String>,
    /// Headers whose values are kept besides the usual ones, lower case.
    pub keep_headers: Vec<String>,
    /// What a delivery that comes again is known by.
    pub dedupe: Dedupe,
    /// Which deliveries are answered before they go through the line.
    pub later: Later,
    /// Which rejected deliveries are stored.
    pub rejections: Rejections,
    /// How often its senders may deliver, where that is limited.
    pub rate: Option<(Rate, TokenBucket)>,
    /// What is replaced before anything is stored.
    pub redact: Redact,
    /// For how long what its senders sent is kept, where that is not as long as events are.
    pub keep: Option<chrono::Duration>,
    /// How loosely values are read.
    pub rules: Rules,
    /// What a payload has to look like.
    pub schema: Arc<Schema>,
    /// Checks of payloads that take long.
    pub checks: Checks,
    /// The mapping.
    pub plugin: Plugin,
    /// `[config]` as a JSON object's text.
    pub config: Arc<str>,
    /// What its events and tasks are derived from.
    pub provenance: Provenance,
    /// When it went live.
    pub loaded_at: DateTime<Utc>,
    /// The candidate that gets what this one gets, where plugin.toml names one. It may be loaded after this went live.
    pub beside: OnceLock<Beside>,
}

/// A candidate beside a live plugin.
#[derive(Debug)]
pub struct Beside {
    /// As in plugin.toml.
    pub folder: String,
    /// What is running, or why nothing is. The live plugin does not depend on it.
    pub shadow: Result<Shadow, String>,
}

impl Integration {
    /// Its candidate, where one is running.
    #[must_use]
    pub fn shadow(&self) -> Option<&Shadow> {
        self.beside.get().and_then(|it| it.shadow.as_ref().ok())
    }

    /// Runs nothing more: calls under way are stopped, its shadow's as well.
    pub fn retire(&self) {
        self.plugin.retire();
        self.shadow().into_iter().for_each(Shadow::stop);
    }

    /// Its shadow forgets what it has seen of any event.
    pub fn forget_shadow(&self) {
        self.shadow().into_iter().for_each(Shadow::forget);
    }

    /// What the plugin is told of an event.
    #[must_use]
    pub fn context(&self, event_id: EventId, received_at: DateTime<Utc>) -> CallContext {
        CallContext {
            event_id: event_id.to_string(),
            integration: self.name.to_string(),
            received_at,
            company_id: self.company_id.to_string(),
            config: Arc::clone(&self.config),
        }
    }
}
