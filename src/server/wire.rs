//! What a connection's socket and the requests on it tell each other.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// One connection's state. All of it is written on the connection's own task, except what becomes of content.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The other end of the connection.
    address: IpAddr,
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
    pub(super) fn new(address: IpAddr) -> Self {
        Self {
            address,
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
    }

    /// Its response is ready.
    pub(crate) fn end(&self) {
        self.busy.store(false, Ordering::Relaxed);
        self.watched.store(false, Ordering::Relaxed);
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
