//! Who is logged in to the console.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::error::StoreError;

/// SHA-256 of a session's token, which only the browser has.
pub type TokenHash = [u8; 32];

/// How long a session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without a request.
    pub idle: TimeDelta,
    /// In all.
    pub absolute: TimeDelta,
}

/// A session of the console, or a link that begins one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleSession {
    /// The id of its API key, or [`crate::model::audit::OPERATOR`].
    pub holder: String,
    /// A link, which can be used once.
    pub is_link: bool,
    /// Time of the login.
    pub began_at: DateTime<Utc>,
    /// Time of the last request, to the minute.
    pub seen_at: DateTime<Utc>,
}

/// How old `seen_at` may be before it is written again: a page has many requests.
pub(crate) const SEEN: TimeDelta = TimeDelta::seconds(60);

impl ConsoleSession {
    /// Returns whether it is valid at `now`.
    #[must_use]
    pub fn is_good(&self, now: DateTime<Utc>, limits: SessionLimits) -> bool {
        now - self.seen_at < limits.idle && now - self.began_at < limits.absolute
    }
}

/// Sessions by the hash of their token.
pub trait SessionStore: Send + Sync {
    /// Adds a session, and removes those that began before `ended`.
    fn begin(
        &self,
        token: TokenHash,
        session: ConsoleSession,
        ended: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Returns a session, not a link, that is valid at `now`, and notes that it was used.
    fn seen(
        &self,
        token: TokenHash,
        now: DateTime<Utc>,
        limits: SessionLimits,
    ) -> BoxFuture<'_, Result<Option<ConsoleSession>, StoreError>>;
    /// Returns a session, not a link, that is valid at `now`, and changes nothing.
    fn peek(
        &self,
        token: TokenHash,
        now: DateTime<Utc>,
        limits: SessionLimits,
    ) -> BoxFuture<'_, Result<Option<ConsoleSession>, StoreError>>;
    /// Removes a session or a link, and returns it. Of several callers at once, one gets it.
    fn take(&self, token: TokenHash) -> BoxFuture<'_, Result<Option<ConsoleSession>, StoreError>>;
}

/// Sessions of a store that has one server: they end with it.
#[derive(Debug, Default)]
pub struct MemorySessions(Mutex<HashMap<TokenHash, ConsoleSession>>);

impl MemorySessions {
    fn all(&self) -> MutexGuard<'_, HashMap<TokenHash, ConsoleSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for MemorySessions {
    fn begin(
        &self,
        token: TokenHash,
        session: ConsoleSession,
        ended: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut all = self.all();
        all.retain(|_, it| it.began_at > ended);
        all.insert(token, session);
        std::future::ready(Ok(())).boxed()
    }

    fn seen(
        &self,
        token: TokenHash,
        now: DateTime<Utc>,
        limits: SessionLimits,
    ) -> BoxFuture<'_, Result<Option<ConsoleSession>, StoreError>> {
        let mut all = self.all();
        let found = all.get_mut(&token).filter(|it| !it.is_link && it.is_good(now, limits)).map(|it| {
            it.seen_at = it.seen_at.max(now);
            it.clone()
        });
        std::future::ready(Ok(found)).boxed()
    }

    fn peek(
        &self,
        token: TokenHash,
        now: DateTime<Utc>,
        limits: SessionLimits,
    ) -> BoxFuture<'_, Result<Option<ConsoleSession>, StoreError>> {
        let found = self.all().get(&token).filter(|it| !it.is_link && it.is_good(now, limits)).cloned();
        std::future::ready(Ok(found)).boxed()
    }

    fn take(&self, token: TokenHash) -> BoxFuture<'_, Result<Option<ConsoleSession>, StoreError>> {
        std::future::ready(Ok(self.all().remove(&token))).boxed()
    }
}
