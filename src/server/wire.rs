//! What a connection's socket and the requests on it tell each other.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::auth::CompanyId;
use crate::memory::Charge;

/// What a connection does, as far as others may be more important. Waiting is the first.
const WAITING: u8 = 0;
const RECEIVING: u8 = 1;
const RUNNING: u8 = 2;

/// What requests have shown.
#[derive(Debug, Default)]
struct Shown {
    /// Whose key or integration it was.
    company: Option<CompanyId>,
    /// Memory for the response.
    reserved: Option<Charge>,
}

/// How much a waiting connection counts, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// Nobody knows whose it is.
    Unknown,
    /// It has shown a key or a signature, and asks for nothing now.
    Known,
    /// It has shown a key, and sends the content of a request.
    Sending,
}

/// One connection's state. All of it is written on the connection's own task, except what becomes of content.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The other end of the connection.
    address: IpAddr,
    /// What `since` counts from: the same for all.
    origin: Instant,
    stage: AtomicU8,
    /// Since when it waits, in milliseconds.
    since: AtomicU64,
    /// The request has shown who sends it.
    proven: AtomicBool,
    /// A request on this connection has.
    known: AtomicBool,
    shown: Mutex<Shown>,
    /// Only health checks are answered.
    restricted: AtomicBool,
    dismissed: AtomicBool,
    dismissal: Notify,
    /// No request has been read yet.
    fresh: AtomicBool,
    /// Bytes have been read that do not make a whole request yet.
    partial: AtomicBool,
    /// A request has been read, and its response is not written yet.
    busy: AtomicBool,
    /// The client sends content that nobody is going to read.
    unread: AtomicBool,
    /// Somebody wants to know when the client hangs up.
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

    /// The other end of the connection: the client, or a proxy.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// A request's headers are complete.
    pub(crate) fn begin(&self) {
        self.fresh.store(false, Ordering::Relaxed);
        self.partial.store(false, Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
        self.proven.store(false, Ordering::Relaxed);
        // Of a request that ended without an answer of its own, as it took too long or panicked.
        drop(self.take_reserved());
        self.stage.store(RUNNING, Ordering::Relaxed);
    }

    /// Its response is ready.
    pub(crate) fn end(&self) {
        self.wait(WAITING);
        self.busy.store(false, Ordering::Relaxed);
        self.watched.store(false, Ordering::Relaxed);
    }

    fn wait(&self, stage: u8) {
        self.since.store(millis(self.origin), Ordering::Relaxed);
        self.stage.store(stage, Ordering::Relaxed);
    }

    /// Its handler waits for content.
    pub(crate) fn receive(&self) {
        self.wait(RECEIVING);
    }

    /// It has what it waited for.
    pub(crate) fn run(&self) {
        self.stage.store(RUNNING, Ordering::Relaxed);
    }

    /// The request has shown a valid key or signature, of this company or of the operator.
    pub(crate) fn prove(&self, company: Option<&CompanyId>) {
        self.proven.store(true, Ordering::Relaxed);
        self.known.store(true, Ordering::Relaxed);
        let mut shown = self.shown();
        if shown.company.as_ref() != company {
            shown.company = company.cloned();
        }
    }

    /// Whether the request has shown who sends it.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// The company of the newest request that has shown who sends it.
    pub(crate) fn company(&self) -> Option<CompanyId> {
        self.shown().company.clone()
    }

    /// Keeps memory for the response.
    pub(crate) fn reserve(&self, charge: Charge) {
        self.shown().reserved = Some(charge);
    }

    /// What is kept for the response.
    pub(crate) fn take_reserved(&self) -> Option<Charge> {
        self.shown().reserved.take()
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much it counts and since when it waits; none while a request runs.
    pub(super) fn standing(&self) -> Option<(Standing, u64)> {
        let standing = match (self.stage.load(Ordering::Relaxed), self.known.load(Ordering::Relaxed)) {
            (RUNNING, _) => return None,
            (_, false) => Standing::Unknown,
            (RECEIVING, true) if self.is_proven() => Standing::Sending,
            (_, true) => Standing::Known,
        };
        Some((standing, self.since.load(Ordering::Relaxed)))
    }

    /// From now on only health checks are answered.
    pub(super) fn restrict(&self) {
        self.restricted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_restricted(&self) -> bool {
        self.restricted.load(Ordering::Relaxed)
    }

    /// Closes the connection, since others need its place.
    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
        self.dismissal.notify_one();
    }

    #[cfg(test)]
    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed.load(Ordering::Relaxed)
    }

    /// Resolves when the connection has to close for others.
    pub(super) async fn dismissal(&self) {
        self.dismissal.notified().await;
    }

    /// Bytes have arrived: a body's, or the start of the next request.
    pub(super) fn received(&self) {
        if !self.busy.load(Ordering::Relaxed) {
            self.partial.store(true, Ordering::Relaxed);
        }
    }

    /// Content has been read to its end: bytes that came after the response were its own.
    pub(crate) fn read_to_end(&self) {
        self.partial.store(false, Ordering::Relaxed);
    }

    /// Whether the client has begun to send a request's headers.
    pub(super) fn is_partial(&self) -> bool {
        self.partial.load(Ordering::Relaxed)
    }

    /// Whether headers are due: they have begun, or the connection is new.
    pub(super) fn owes_headers(&self) -> bool {
        self.is_partial() || self.fresh.load(Ordering::Relaxed)
    }

    /// The rest of the request's content will not be read: the connection must close after the response.
    pub(crate) fn leave_unread(&self) {
        self.unread.store(true, Ordering::Release);
    }

    /// Whether content was left unread.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    /// Has the socket look out for a hang-up while this request runs.
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
