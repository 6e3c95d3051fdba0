//! The state that a connection's socket and its requests share.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::limits::memory::Charge;
use crate::model::company::CompanyId;

/// Stages of a connection; waiting is the first.
const WAITING: u8 = 0;
const RECEIVING: u8 = 1;
const RUNNING: u8 = 2;

/// What requests on a connection have proved.
#[derive(Debug, Default)]
struct Shown {
    /// The company of the key or integration.
    company: Option<CompanyId>,
    /// Memory reserved for the response.
    reserved: Option<Charge>,
}

/// Trust in a waiting connection, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Not authenticated.
    Unknown,
    /// It has sent a valid key or signature, and is idle.
    Known,
    /// It has sent a valid key, and is sending content.
    Sending,
}

/// One connection's state. Only the connection's own task writes it, except for the state of the content.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The peer's address.
    address: IpAddr,
    /// The origin of `since`, the same for all connections.
    origin: Instant,
    stage: AtomicU8,
    /// Start of the wait, in milliseconds.
    since: AtomicU64,
    /// The current request is authenticated.
    proven: AtomicBool,
    /// A request on this connection was authenticated.
    known: AtomicBool,
    shown: Mutex<Shown>,
    /// Only health checks are answered.
    restricted: AtomicBool,
    dismissed: AtomicBool,
    dismissal: Notify,
    /// No request has been read yet.
    fresh: AtomicBool,
    /// The bytes read so far are not a complete request.
    partial: AtomicBool,
    /// A request has been read, and its response is not written.
    busy: AtomicBool,
    /// The client sends content that will not be read.
    unread: AtomicBool,
    /// A request waits for the client to hang up.
    watched: AtomicBool,
    gone: CancellationToken,
}

impl Wire {
    pub(super) fn new(address: IpAddr, origin: Instant) -> Self {
        Self {
            address,
            origin,
            stage: AtomicU8::new(WAITING),
            since: AtomicU64::new(millis(origin)),
            proven: AtomicBool::new(false),
            known: AtomicBool::new(false),
            shown: Mutex::default(),
            restricted: AtomicBool::new(false),
            dismissed: AtomicBool::new(false),
            dismissal: Notify::new(),
            fresh: AtomicBool::new(true),
            partial: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            gone: CancellationToken::new(),
        }
    }

    /// The peer's address: the client, or a proxy.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Called when a request's headers are complete.
    pub(crate) fn begin(&self) {
        self.fresh.store(false, Ordering::Relaxed);
        self.partial.store(false, Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
        self.proven.store(false, Ordering::Relaxed);
        // Left by a request that timed out or panicked.
        drop(self.take_reserved());
        self.stage.store(RUNNING, Ordering::Relaxed);
    }

    /// Called when the response is ready.
    pub(crate) fn end(&self) {
        self.wait(WAITING);
        self.busy.store(false, Ordering::Relaxed);
        self.watched.store(false, Ordering::Relaxed);
    }

    fn wait(&self, stage: u8) {
        self.since.store(millis(self.origin), Ordering::Relaxed);
        self.stage.store(stage, Ordering::Relaxed);
    }

    /// Called when the handler waits for content.
    pub(crate) fn receive(&self) {
        self.wait(RECEIVING);
    }

    /// Called when the content has arrived.
    pub(crate) fn run(&self) {
        self.stage.store(RUNNING, Ordering::Relaxed);
    }

    /// Marks the request as authenticated, for this company or for the operator.
    pub(crate) fn prove(&self, company: Option<&CompanyId>) {
        self.proven.store(true, Ordering::Relaxed);
        self.known.store(true, Ordering::Relaxed);
        let mut shown = self.shown();
        if shown.company.as_ref() != company {
            shown.company = company.cloned();
        }
    }

    /// Whether the request is authenticated.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// The company of the latest authenticated request.
    pub(crate) fn company(&self) -> Option<CompanyId> {
        self.shown().company.clone()
    }

    /// Reserves memory for the response.
    pub(crate) fn reserve(&self, charge: Charge) {
        self.shown().reserved = Some(charge);
    }

    /// Takes the memory reserved for the response.
    pub(crate) fn take_reserved(&self) -> Option<Charge> {
        self.shown().reserved.take()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its trust and the start of its wait; `None` while a request runs.
    pub(super) fn standing(&self) -> Option<(Standing, u64)> {
        let standing = match (self.stage.load(Ordering::Relaxed), self.known.load(Ordering::Relaxed)) {
            (RUNNING, _) => return None,
            (_, false) => Standing::Unknown,
            (RECEIVING, true) if self.is_proven() => Standing::Sending,
            (_, true) => Standing::Known,
        };
        Some((standing, self.since.load(Ordering::Relaxed)))
    }

    /// Lets the connection answer only health checks.
    pub(super) fn restrict(&self) {
        self.restricted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_restricted(&self) -> bool {
        self.restricted.load(Ordering::Relaxed)
    }

    /// Closes the connection because another needs its slot.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
        self.dismissal.notify_one();
    }

    #[cfg(test)]
    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::Relaxed)
    }

    /// Resolves when the connection must close for another.
    pub(super) async fn dismissal(&self) {
        self.dismissal.notified().await;
    }

    /// Called when bytes arrive: content, or the start of the next request.
    pub(super) fn received(&self) {
        if !self.busy.load(Ordering::Relaxed) {
            self.partial.store(true, Ordering::Relaxed);
        }
    }

    /// Called when content was read to its end: bytes after the response belonged to it.
    pub(crate) fn read_to_end(&self) {
        self.partial.store(false, Ordering::Relaxed);
    }

    /// Whether the client has begun to send a request's headers.
    pub(super) fn is_partial(&self) -> bool {
        self.partial.load(Ordering::Relaxed)
    }

    /// Whether headers are expected: they have begun, or the connection is new.
    pub(super) fn owes_headers(&self) -> bool {
        self.is_partial() || self.fresh.load(Ordering::Relaxed)
    }

    /// Called when the rest of the content will not be read: the connection must close after the response.
    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// Whether content was left unread.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    /// Makes the socket watch for a hang-up while this request runs.
    pub(crate) fn watch(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    pub(super) fn hung_up(&self) {
        self.watched.store(false, Ordering::Relaxed);
        self.gone.cancel();
    }

    /// Resolves when the client of a watched request has closed its side of the connection.
    pub(crate) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

fn millis(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX)
}
