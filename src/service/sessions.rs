//! Logging in to the console: sessions, links that begin one, and the rate of attempts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use crate::model::peer::Peer;
use crate::store::{ConsoleSession, MemorySessions, SessionLimits, SessionStore, Store, StoreError};
use crate::system::rate::{Rate, TokenBucket};

/// How long a session lasts without a request, and in all.
pub const LIMITS: SessionLimits = SessionLimits { idle: TimeDelta::minutes(30), absolute: TimeDelta::hours(12) };
/// How long a login link can be used.
pub const LINK: TimeDelta = TimeDelta::minutes(5);
/// Attempts to log in, for each peer and for all together.
const ATTEMPTS: Rate = Rate { per_minute: 10, burst: 10 };
const ALL_ATTEMPTS: Rate = Rate { per_minute: 300, burst: 300 };
/// Most peers whose attempts are counted one by one. Of more, the oldest limits are forgotten: all together still count.
const PEERS: usize = 10_000;

/// Sessions of the console.
#[derive(Debug)]
pub struct Sessions {
    here: MemorySessions,
    attempts: Mutex<HashMap<Peer, Arc<TokenBucket>>>,
    all_attempts: TokenBucket,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            here: MemorySessions::default(),
            attempts: Mutex::default(),
            all_attempts: TokenBucket::of(ALL_ATTEMPTS),
        }
    }
}

impl Sessions {
    fn of<'a>(&'a self, store: &'a dyn Store) -> &'a dyn SessionStore {
        store.cluster().map_or(&self.here, |it| it.sessions())
    }

    /// Counts an attempt to log in.
    ///
    /// # Errors
    /// How long until the next one is allowed.
    pub fn attempt(&self, peer: Peer, now: DateTime<Utc>) -> Result<(), TimeDelta> {
        let bucket = {
            let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            if attempts.len() >= PEERS {
                attempts.retain(|_, it| !it.is_full(now));
            }
            if attempts.len() >= PEERS {
                attempts.clear();
            }
            Arc::clone(attempts.entry(peer).or_insert_with(|| Arc::new(TokenBucket::of(ATTEMPTS))))
        };
        bucket.ask(now)?;
        self.all_attempts.ask(now)
    }

    /// Begins a session, or makes a link that begins one, and returns its token. `holder` is a key's id or the operator.
    ///
    /// # Errors
    /// Fails if it cannot be stored, or if the operating system has no randomness.
    pub async fn begin(
        &self,
        store: &dyn Store,
        holder: &str,
        is_link: bool,
        now: DateTime<Utc>,
    ) -> Result<String, StoreError> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).map_err(|e| StoreError::Unavailable(format!("no randomness: {e}")))?;
        let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let session = ConsoleSession { holder: holder.to_owned(), is_link, began_at: now, seen_at: now };
        self.of(store).begin(hash(&token), session, now - LIMITS.absolute).await?;
        Ok(token)
    }

    /// Returns the session of a token, and notes that it was used.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub async fn seen(
        &self,
        store: &dyn Store,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<ConsoleSession>, StoreError> {
        self.of(store).seen(hash(token), now, LIMITS).await
    }

    /// Returns the session of a token, for what no person has asked for: it does not count as use.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub async fn peek(
        &self,
        store: &dyn Store,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<ConsoleSession>, StoreError> {
        self.of(store).peek(hash(token), now, LIMITS).await
    }

    /// Uses a link: of several requests at once, one gets its holder.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub async fn follow(
        &self,
        store: &dyn Store,
        link: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, StoreError> {
        let link = self.of(store).take(hash(link)).await?;
        Ok(link.filter(|it| it.is_link && now - it.began_at < LINK).map(|it| it.holder))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// Fails if that cannot be stored.
    pub async fn end(&self, store: &dyn Store, token: &str) -> Result<(), StoreError> {
        self.of(store).take(hash(token)).await.map(drop)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The value that each form of a session carries, against requests that other sites make.
#[must_use]
pub fn form_token(token: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::new().chain_update(b"form of ").chain_update(token).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Embedded, embedded};

    /// Otherwise a stolen cookie is good forever, or an admin at work is logged out.
    #[tokio::test]
    async fn a_session_ends_after_a_time_without_requests_and_in_any_case() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Embedded::open(dir.path(), &embedded::StoreOptions::default()).unwrap();
        let (sessions, start) = (Sessions::default(), DateTime::UNIX_EPOCH);
        let seen = async |token: &str, minutes| {
            sessions.seen(&store, token, start + TimeDelta::minutes(minutes)).await.unwrap().is_some()
        };
        let idle = sessions.begin(&store, "key_1", false, start).await.unwrap();
        assert!(seen(&idle, 29).await && seen(&idle, 58).await && !seen(&idle, 88).await && !seen("other", 29).await);
        let busy = sessions.begin(&store, "key_1", false, start).await.unwrap();
        for minutes in (20..12 * 60).step_by(20) {
            assert!(seen(&busy, minutes).await, "{minutes}");
        }
        assert!(!seen(&busy, 12 * 60).await);
        sessions.end(&store, &idle).await.unwrap();
        assert!(!seen(&idle, 1).await);
    }

    /// Otherwise a page that nobody looks at, which loads itself again, keeps its session open for half a day.
    #[tokio::test]
    async fn what_a_page_loads_by_itself_does_not_prolong_its_session() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Embedded::open(dir.path(), &embedded::StoreOptions::default()).unwrap();
        let (sessions, start) = (Sessions::default(), DateTime::UNIX_EPOCH);
        let token = sessions.begin(&store, "key_1", false, start).await.unwrap();
        let peek = async |token: &str, minutes| {
            sessions.peek(&store, token, start + TimeDelta::minutes(minutes)).await.unwrap().is_some()
        };
        assert!(peek(&token, 20).await && peek(&token, 29).await && !peek(&token, 30).await && !peek("other", 1).await);
        assert!(sessions.seen(&store, &token, start + TimeDelta::minutes(29)).await.unwrap().is_some());
        assert!(peek(&token, 58).await && !peek(&token, 59).await);
        let link = sessions.begin(&store, "operator", true, start).await.unwrap();
        assert!(!peek(&link, 0).await);
    }

    /// Otherwise a link in a shell's history, or one that was read over a shoulder, opens the console.
    #[tokio::test]
    async fn a_link_works_once_and_is_no_session() {
        let dir = tempfile::TempDir::new().unwrap();
        let store = Embedded::open(dir.path(), &embedded::StoreOptions::default()).unwrap();
        let (sessions, start) = (Sessions::default(), DateTime::UNIX_EPOCH);
        let link = sessions.begin(&store, "operator", true, start).await.unwrap();
        assert!(sessions.seen(&store, &link, start).await.unwrap().is_none());
        assert_eq!(sessions.follow(&store, &link, start).await.unwrap().as_deref(), Some("operator"));
        assert_eq!(sessions.follow(&store, &link, start).await.unwrap(), None);
        let late = sessions.begin(&store, "operator", true, start).await.unwrap();
        assert_eq!(sessions.follow(&store, &late, start + LINK).await.unwrap(), None);
    }

    #[test]
    fn one_peer_cannot_guess_for_long_and_others_still_log_in() {
        let (sessions, now) = (Sessions::default(), DateTime::UNIX_EPOCH);
        let peer = |n| Peer::V4(std::net::Ipv4Addr::new(192, 0, 2, n));
        assert_eq!((0..50).filter(|_| sessions.attempt(peer(1), now).is_ok()).count(), 10);
        assert!(sessions.attempt(peer(2), now).is_ok());
        assert!(sessions.attempt(peer(1), now + TimeDelta::seconds(7)).is_ok());
    }
}
