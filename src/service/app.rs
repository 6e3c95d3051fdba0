//! State that request handlers can access.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

use super::cluster::KnownNodes;
use super::counting::CountingPlugins;
use super::current_senders::CurrentSenders;
use super::dry_run::{ComparisonJobs, Shadows};
use super::learned::LearnedSecrets;
use super::observed_store::ObservedStore;
use super::operations::{Operations, Owner};
use super::queue::Queue;
use super::recorder::Recorder;
use super::replays::ReplayJobs;
use super::scripts::Edits;
use super::search::PayloadSearch;
use super::sender_keys::SenderKeys;
use super::sessions::Sessions;
use super::tail::LiveTail;
use super::timelines::Timelines;
use super::watch::Watch;
use crate::auth::{ApiKey, AuthError, KeyId, KeyRing, Scope, key};
use crate::config::{Config, Limits};
use crate::integration::Registry;
use crate::limits::few::FewOfEach;
use crate::limits::memory::{Memory, Sizes};
use crate::limits::shares::{Rule, Shares};
use crate::model::audit::{Action, Entry, OPERATOR};
use crate::model::company::CompanyId;
use crate::model::peer::Proxies;
use crate::model::secret::Secret;
use crate::model::time::{is_storable, now};
use crate::pipeline::Pipeline;
use crate::plugin::Host;
use crate::store::{Committed, Embedded, Idempotency, Store, StoreError};
use crate::system::rate::{Rate, TokenBucket};

/// Maximum number of companies whose operations run at the same time, because an operation keeps a core busy.
const OPERATIONS: usize = 2;

/// Maximum number of trials of plugins that run at the same time; a company has half of what is free.
const TRIALS: usize = 8;

/// Maximum number of searches in payloads and previews of replays of a company that run at the same time.
const SEARCHES: usize = 2;

/// The running application.
pub struct App {
    /// The settings.
    pub config: Config,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Search in payloads.
    pub search: Arc<PayloadSearch>,
    /// The live tail of events.
    pub tail: Arc<LiveTail>,
    /// Memory budgets of requests.
    pub(crate) memory: Memory,
    /// Trusted proxies, to determine the peer.
    pub proxies: Proxies,
    /// Live integrations.
    pub registry: Arc<Registry>,
    /// API keys, in memory.
    pub keys: KeyRing,
    /// Limit of concurrent requests.
    pub in_flight: Arc<Semaphore>,
    /// Limit of concurrent signature checks of large bodies, which run off the async threads: half the cores, at
    /// least one.
    pub proofs: Arc<Semaphore>,
    /// The limit `in_flight`, divided among companies and their integrations.
    pub shares: Arc<Shares>,
    /// Token for the admin API of every company; see [`crate::store::RunningServer`].
    pub operator_token: Option<Secret>,
    /// The same store, if it keeps its data in files: for backups and compaction, which other backends leave to their tools.
    pub files: Option<Arc<Embedded>>,
    /// Whether it only processes queued events, and accepts no requests but those about its health.
    pub only_works: bool,
    /// Queued deliveries.
    pub queue: Arc<Queue>,
    /// The parts of the pipeline.
    pub pipeline: Arc<Pipeline>,
    /// Shadows of the live plugins.
    pub shadows: Arc<Shadows>,
    /// Host of plugins, if there are any.
    pub host: Option<Host>,
    /// Running erasures, backups and so on.
    pub operations: Arc<Operations>,
    /// Replays of many events.
    pub replays: ReplayJobs,
    /// Dry runs of plugins in the background.
    pub comparisons: ComparisonJobs,
    /// Trials of plugins, divided among companies.
    pub(crate) trials: Arc<Shares>,
    /// Plugins that count instructions, for trials.
    pub(crate) counting: CountingPlugins,
    /// Searches in payloads and previews of replays, of each company.
    pub(crate) searches: Arc<FewOfEach>,
    /// Plugins whose files are being changed through the API.
    pub(crate) edits: Edits,
    /// Sender files and secrets that are in use.
    pub senders: Arc<CurrentSenders>,
    /// Secrets of handshakes that wait for an admin.
    pub learned: LearnedSecrets,
    /// Held while a learned secret is confirmed or rejected.
    pub(crate) confirming: tokio::sync::Mutex<()>,
    /// Public keys of senders.
    pub sender_keys: SenderKeys,
    /// Rate limits of the keys, if keys are limited: at most one per key.
    key_buckets: Mutex<HashMap<KeyId, Arc<TokenBucket>>>,
    /// Reloads the plugins folder, if there is one.
    pub watch: Option<Watch>,
    /// What this server knows about the others on its store.
    pub nodes: KnownNodes,
    /// What requests came to since the start.
    pub(crate) recorder: Recorder,
    /// Counts of events over time.
    pub(crate) timelines: Timelines,
    /// Who is logged in to the console.
    pub sessions: Sessions,
    /// Held from reading a key until its revocation is stored.
    revoking: tokio::sync::Mutex<()>,
}

/// An authenticated admin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admin {
    /// The operator, who can read the data directory; for every company.
    Operator,
    /// An admin of one company.
    Company(CompanyId, KeyId),
}

impl App {
    /// Reads the keys; plugins are added to the registry by the caller.
    ///
    /// # Errors
    /// Fails if the store cannot be read.
    pub async fn new(
        config: Config,
        store: Arc<dyn Store>,
        operator_token: Option<Secret>,
    ) -> Result<Self, StoreError> {
        let keys = KeyRing::default();
        keys.merge(store.keys().await?);
        let (registry, in_flight) = (Arc::<Registry>::default(), Arc::new(Semaphore::new(config.limits.concurrency)));
        let search =
            Arc::new(PayloadSearch::new(Arc::clone(&registry), config.console.search_events, config.limits.body_bytes));
        let (tail, kept) = (Arc::<LiveTail>::default(), config.store.events);
        let observed = ObservedStore { inner: store, search: Arc::clone(&search), tail: Arc::clone(&tail), kept };
        let store: Arc<dyn Store> = Arc::new(observed);
        let parts = Pipeline { store: Arc::clone(&store), registry: Arc::clone(&registry), observers: Arc::default() };
        let pipeline = Arc::new(parts);
        let limits = &config.limits;
        let queue = Queue::new(limits.queue, Arc::clone(&pipeline), Arc::clone(&in_flight), limits.concurrency);
        Ok(Self {
            shares: Shares::new(config.limits.concurrency, Rule::PLACES),
            memory: Memory::new(memory_sizes(&config.limits)),
            proxies: Proxies::new(config.trusted_proxies.clone()),
            senders: Arc::new(CurrentSenders::new(config.sender_places.clone(), config.senders.clone())),
            learned: LearnedSecrets::open(&config.data_dir),
            confirming: tokio::sync::Mutex::default(),
            sender_keys: SenderKeys::new(config.outbound_hosts.clone()),
            config,
            store,
            search,
            tail,
            registry,
            in_flight,
            queue: Arc::new(queue),
            shadows: Arc::new(Shadows::new(Arc::clone(&pipeline.observers))),
            pipeline,
            keys,
            proofs: Arc::new(Semaphore::new(
                std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
            )),
            operator_token,
            files: None,
            only_works: false,
            host: None,
            operations: Operations::new(OPERATIONS),
            replays: ReplayJobs::default(),
            comparisons: ComparisonJobs::default(),
            trials: Shares::new(TRIALS, Rule { company: 1, integration: usize::MAX }),
            counting: CountingPlugins::default(),
            searches: FewOfEach::new(SEARCHES),
            edits: Edits::default(),
            watch: None,
            nodes: KnownNodes::default(),
            recorder: Recorder::default(),
            timelines: Timelines::default(),
            key_buckets: Mutex::default(),
            sessions: Sessions::default(),
            revoking: tokio::sync::Mutex::default(),
        })
    }

    /// Returns a known key's rate limit, if keys are limited.
    #[must_use]
    pub fn key_bucket(&self, id: &KeyId) -> Option<(Rate, Arc<TokenBucket>)> {
        let rate = self.config.limits.key_rate?;
        let mut all = self.key_buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = all.entry(id.clone()).or_insert_with(|| Arc::new(TokenBucket::of(rate)));
        Some((rate, Arc::clone(bucket)))
    }

    /// Stores a new key durably with its audit entry, and then accepts it; does nothing if the request is a
    /// repetition.
    ///
    /// # Errors
    /// Fails if it cannot be stored.
    pub async fn create_key(
        &self,
        key: ApiKey,
        entry: Entry,
        idempotency: Option<Idempotency>,
    ) -> Result<Committed, StoreError> {
        self.put_key(key, entry, idempotency).await
    }

    /// Revokes a key durably. Of concurrent requests, only one does it.
    ///
    /// # Errors
    /// Fails if this cannot be stored. The key may be revoked nevertheless.
    pub async fn revoke_key(&self, key: &ApiKey, entry: Entry) -> Result<(), StoreError> {
        let _one_by_one = self.revoking.lock().await;
        // Reads the store and not the ring, where it may be revoked without being stored.
        let stored = self.store.keys().await.unwrap_or_default();
        if stored.iter().any(|it| it.hash == key.hash && it.revoked_at.is_some()) {
            return Ok(());
        }
        let revoked = ApiKey { revoked_at: Some(entry.at), ..key.clone() };
        self.put_key(revoked, entry, None).await.map(drop)
    }

    /// The only place where the key ring follows the store.
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
            // Nothing was written.
            Err(StoreError::Full { .. }) => {}
            // It may be durable nevertheless: a new key is accepted only if it is, and a revoked one never.
            Err(_) => {
                self.keys.merge(self.store.keys().await.unwrap_or_default());
                self.keys.merge(Some(key).filter(|it| it.revoked_at.is_some()).into_iter().collect());
            }
        }
        committed
    }

    /// Authenticates a request to the admin API.
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

fn memory_sizes(limits: &Limits) -> Sizes {
    Sizes {
        bodies: limits.body_memory,
        strangers: limits.unproven_body_memory,
        responses: limits.response_memory,
        decoded: limits.decode_memory,
    }
}

impl Admin {
    /// Returns whether this admin may manage the company's keys.
    #[must_use]
    pub fn manages(&self, company: &CompanyId) -> bool {
        match self {
            Self::Operator => true,
            Self::Company(own, _) => own == company,
        }
    }

    /// Returns the admin's company; `None` for the operator.
    #[must_use]
    pub fn company(&self) -> Option<&CompanyId> {
        match self {
            Self::Operator => None,
            Self::Company(company, _) => Some(company),
        }
    }

    /// Returns the admin's name, for the audit log and to distinguish requests.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Operator => OPERATOR,
            Self::Company(_, key) => &key.0,
        }
    }

    /// Returns the owner of an operation of this kind.
    #[must_use]
    pub fn owner(&self, kind: &'static str) -> Owner {
        match self {
            Self::Operator => Owner::Operator(kind),
            Self::Company(company, _) => Owner::Company(company.clone()),
        }
    }

    /// Creates an audit entry for an action of this admin.
    #[must_use]
    pub fn does(&self, action: Action, target: impl ToString) -> Entry {
        let entry = Entry::new(self.name(), action, target, now());
        match self {
            Self::Operator => entry,
            Self::Company(company, _) => entry.of(company),
        }
    }
}

/// A request for a new key.
#[derive(Debug, Clone)]
pub struct KeyRequest {
    /// The admin's note.
    pub label: String,
    /// Company whose tasks it can access.
    pub company_id: CompanyId,
    /// Permissions of the key.
    pub scopes: Vec<Scope>,
    /// Expiry time, if there is one.
    pub expires_at: Option<DateTime<Utc>>,
    /// Time zone of deadlines without an offset.
    pub timezone: Option<chrono_tz::Tz>,
    /// Whether only the documented form is accepted.
    pub strict: bool,
}

impl KeyRequest {
    /// Checks that such a key can be stored.
    ///
    /// # Errors
    /// The field and its rule.
    pub fn check(&self) -> Result<(), String> {
        key::label(&self.label).map_err(|e| format!("label: {e}"))?;
        if self.scopes.is_empty() {
            return Err("scopes: must contain at least one scope".into());
        }
        if self.scopes.len() > Scope::ALL.len() {
            return Err("scopes: must not contain a scope twice".into());
        }
        if self.expires_at.is_some_and(|it| !is_storable(it)) {
            return Err("expires_at: must be in the years 1970 to 9999".into());
        }
        Ok(())
    }

    /// Creates the stored key for this secret.
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
    use crate::store::verbs::*;
    use crate::store::{Fault, Faulty, embedded};

    #[tokio::test]
    async fn a_key_whose_revocation_may_be_stored_opens_nothing_and_is_revoked_when_asked_again() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Arc::new(Faulty::new(Embedded::open(dir.path(), &embedded::StoreOptions::default()).unwrap()));
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
