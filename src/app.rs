//! What a request handler may reach.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SubsecRound as _, Utc};
use tokio::sync::Semaphore;

use crate::audit::{Action, Entry, OPERATOR};
use crate::auth::key::{self, KeyId};
use crate::auth::limit::{Rate, TokenBucket};
use crate::auth::{ApiKey, AuthError, CompanyId, KeyRing, Scope};
use crate::config::{Config, Secret};
use crate::integration::Registry;
use crate::memory::Memory;
use crate::operations::{Operations, Owner};
use crate::peer::Proxies;
use crate::plugin::Host;
use crate::queue::Queue;
use crate::shares::{Rule, Shares};
use crate::store::{Committed, Embedded, Idempotency, Store, StoreError};
use crate::watch::Watch;

/// Companies whose operations run at the same time: such an operation keeps a core busy.
const OPERATIONS: usize = 2;

/// The running application.
pub struct App {
    /// The settings.
    pub config: Config,
    /// What is kept.
    pub store: Arc<dyn Store>,
    /// How much memory requests may hold.
    pub(crate) memory: Memory,
    /// Says who is at the other end.
    pub proxies: Proxies,
    /// Live plugins.
    pub registry: Arc<Registry>,
    /// API keys, in memory.
    pub keys: KeyRing,
    /// Places for requests that run at once.
    pub in_flight: Arc<Semaphore>,
    /// Places for signatures over large bodies, which are checked off the reactor: half the cores, and one at least.
    pub proofs: Arc<Semaphore>,
    /// The same as `in_flight`, divided among companies and their integrations.
    pub shares: Arc<Shares>,
    /// Opens the admin API for every company; see [`crate::store::embedded::Running`].
    pub operator_token: Option<Secret>,
    /// The embedded store, where that is what `store` is: backups and the like are its own.
    pub embedded: Option<Arc<Embedded>>,
    /// Deliveries that were answered and wait.
    pub queue: Queue,
    /// Runs plugins, where there are any.
    pub host: Option<Host>,
    /// Erasures, backups and the like under way.
    pub operations: Arc<Operations>,
    /// What each key may still do, where keys are limited: as many as there are keys.
    key_buckets: Mutex<HashMap<KeyId, Arc<TokenBucket>>>,
    /// Reloads the plugins folder, where there is one.
    pub watch: Option<Watch>,
    /// Held from looking at a key until its revocation is stored.
    revoking: tokio::sync::Mutex<()>,
}

/// Who may manage keys, and whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admin {
    /// Of every company: it can read the data directory.
    Operator,
    /// Of its own company.
    Company(CompanyId, KeyId),
}

impl App {
    /// Reads the keys; plugins are added to the registry by the caller.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub async fn new(
        config: Config,
        store: Arc<dyn Store>,
        operator_token: Option<Secret>,
    ) -> Result<Self, StoreError> {
        let keys = KeyRing::default();
        keys.merge(store.keys().await?);
        Ok(Self {
            in_flight: Arc::new(Semaphore::new(config.limits.concurrency)),
            shares: Shares::new(config.limits.concurrency, Rule::PLACES),
            queue: Queue::new(config.limits.queue),
            memory: Memory::new(&config.limits),
            proxies: Proxies::new(config.trusted_proxies.clone()),
            config,
            store,
            registry: Arc::default(),
            keys,
            proofs: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
            )),
            operator_token,
            embedded: None,
            host: None,
            operations: Operations::new(OPERATIONS),
            watch: None,
            key_buckets: Mutex::default(),
            revoking: tokio::sync::Mutex::default(),
        })
    }

    /// A known key's bucket, where keys are limited.
    #[must_use]
    pub fn key_bucket(&self, id: &KeyId) -> Option<(Rate, Arc<TokenBucket>)> {
        let rate = self.config.limits.key_rate?;
        let mut all = self.key_buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = all.entry(id.clone()).or_insert_with(|| Arc::new(TokenBucket::of(rate)));
        Some((rate, Arc::clone(bucket)))
    }

    /// Stores a new key and who made it, durably, and then lets it in; unless the request is a repetition.
    ///
    /// # Errors
    /// Where it cannot be stored.
    pub async fn create_key(
        &self,
        key: ApiKey,
        entry: Entry,
        idempotency: Option<Idempotency>,
    ) -> Result<Committed, StoreError> {
        self.put_key(key, entry, idempotency).await
    }

    /// Revokes a key, durably: it opens nothing from then on. Of requests at the same time, one does it.
    ///
    /// # Errors
    /// Where that cannot be stored. The key may be revoked all the same.
    pub async fn revoke_key(&self, key: &ApiKey, entry: Entry) -> Result<(), StoreError> {
        let _one_by_one = self.revoking.lock().await;
        // Not the ring: there it may be revoked without being so durably.
        let stored = self.store.keys().await.unwrap_or_default();
        if stored.iter().any(|it| it.hash == key.hash && it.revoked_at.is_some()) {
            return Ok(());
        }
        let revoked = ApiKey { revoked_at: Some(entry.at), ..key.clone() };
        self.put_key(revoked, entry, None).await.map(drop)
    }

    /// The one place where the ring follows the store.
    async fn put_key(
        &self,
        key: ApiKey,
        entry: Entry,
        idempotency: Option<Idempotency>,
    ) -> Result<Committed, StoreError> {
        let committed = self.store.put_key(key.clone(), entry, idempotency).await;
        match &committed {
            Ok(Committed::Stored) => self.keys.merge(vec![key]),
            Ok(Committed::Repeated(_) | Committed::Erased) => {}
            // Nothing was begun.
            Err(StoreError::Full { .. }) => {}
            // It may be durable all the same: a new key is let in only if it is, and a revoked one in no case.
            Err(_) => {
                self.keys.merge(self.store.keys().await.unwrap_or_default());
                self.keys.merge(Some(key).filter(|it| it.revoked_at.is_some()).into_iter().collect());
            }
        }
        committed
    }

    /// Who asks for the admin API.
    ///
    /// # Errors
    /// As for any key; [`AuthError::Scope`] without the scope `admin`.
    pub fn admin(&self, sent: Option<&str>, now: DateTime<Utc>) -> Result<Admin, AuthError> {
        use subtle::ConstantTimeEq as _;
        if let (Some(token), Some(sent)) = (&self.operator_token, sent)
            && sent.len() <= key::LONGEST
            && bool::from(key::hash(token.expose()).ct_eq(&key::hash(sent.trim())))
        {
            return Ok(Admin::Operator);
        }
        let key = self.keys.check(sent, now)?;
        key.allow(Scope::Admin)?;
        Ok(Admin::Company(key.company_id.clone(), key.id.clone()))
    }
}

impl Admin {
    /// Whether this company's keys are its to manage.
    #[must_use]
    pub fn manages(&self, company: &CompanyId) -> bool {
        match self {
            Self::Operator => true,
            Self::Company(own, _) => own == company,
        }
    }

    /// Whose it is; the operator is every company's.
    #[must_use]
    pub fn company(&self) -> Option<&CompanyId> {
        match self {
            Self::Operator => None,
            Self::Company(company, _) => Some(company),
        }
    }

    /// Who it is: in the audit log, and where requests are told apart.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Operator => OPERATOR,
            Self::Company(_, key) => &key.0,
        }
    }

    /// Whose operation it is, where it asks for one of this kind.
    #[must_use]
    pub fn owner(&self, kind: &'static str) -> Owner {
        match self {
            Self::Operator => Owner::Operator(kind),
            Self::Company(company, _) => Owner::Company(company.clone()),
        }
    }

    /// Something that it does now.
    #[must_use]
    pub fn does(&self, action: Action, target: impl ToString) -> Entry {
        let entry = Entry::new(self.name(), action, target, now());
        match self {
            Self::Operator => entry,
            Self::Company(company, _) => entry.of(company),
        }
    }
}

/// Now, in whole milliseconds: what is stored is what was answered.
#[must_use]
pub fn now() -> DateTime<Utc> {
    crate::clock::now().trunc_subsecs(3)
}

/// What a new key is to be.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    /// A note of the admin's.
    pub label: String,
    /// Whose tasks it reaches.
    pub company_id: CompanyId,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// From when it is no longer good.
    pub expires_at: Option<DateTime<Utc>>,
    /// The zone of deadlines without an offset.
    pub timezone: Option<chrono_tz::Tz>,
    /// Takes the documented shape only.
    pub strict: bool,
}

/// Whether a time can be stored, and written as RFC 3339 says: in the years 1970 to 9999.
#[must_use]
pub fn is_storable(time: DateTime<Utc>) -> bool {
    (0..253_402_300_800).contains(&time.timestamp())
}

impl KeyRequest {
    /// Nothing, where such a key can be stored.
    ///
    /// # Errors
    /// The field and its rule.
    pub fn check(&self) -> Result<(), String> {
        key::label(&self.label).map_err(|e| format!("label: {e}"))?;
        if self.scopes.is_empty() {
            return Err("scopes: at least one is needed".into());
        }
        if self.scopes.len() > Scope::ALL.len() {
            return Err("scopes: name each of them once".into());
        }
        if self.expires_at.is_some_and(|it| !is_storable(it)) {
            return Err("expires_at: must be in the years 1970 to 9999".into());
        }
        Ok(())
    }

    /// The stored key for a given secret text.
    #[must_use]
    pub fn into_key(self, id: KeyId, secret: &str, now: DateTime<Utc>) -> ApiKey {
        ApiKey {
            id,
            label: self.label,
            company_id: self.company_id,
            scopes: self.scopes,
            created_at: now,
            expires_at: self.expires_at,
            revoked_at: None,
            timezone: self.timezone,
            strict: self.strict,
            hash: key::hash(secret),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;
    use crate::store::{Fault, Faulty, embedded};

    #[tokio::test]
    async fn a_key_whose_revocation_may_be_stored_opens_nothing_and_is_revoked_when_asked_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Arc::new(Faulty::new(Embedded::open(dir.path(), &embedded::Options::default()).unwrap()));
        let config = Config::load(&Options { data_dir: Some(dir.path().into()), ..Options::default() }).unwrap();
        let app = App::new(config, store.clone(), None).await.unwrap();
        let company_id = CompanyId::parse("company-1").unwrap();
        let (label, scopes) = (String::new(), vec![Scope::Admin]);
        let request = KeyRequest { label, company_id, scopes, expires_at: None, timezone: None, strict: false };
        let (id, secret) = key::generate().unwrap();
        let key = request.into_key(id, &secret, now());
        let entry = |action| Admin::Operator.does(action, &key.id);
        app.create_key(key.clone(), entry(Action::KeyCreated), None).await.unwrap();
        let is_good = || app.keys.check(Some(&secret), now()).is_ok();
        let revoke = || app.revoke_key(&key, entry(Action::KeyRevoked));
        store.set(Some(Fault::Full));
        assert!(revoke().await.is_err() && is_good(), "certainly nothing was stored");
        store.set(Some(Fault::Write));
        assert!(revoke().await.is_err() && !is_good());
        assert!(revoke().await.is_err(), "it is still not stored");
        store.set(None);
        revoke().await.unwrap();
        assert!(!is_good() && store.keys().await.unwrap().iter().all(|it| it.revoked_at.is_some()));
    }
}
