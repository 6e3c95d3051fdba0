//! A request's content on its way to the handler.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{EXPECT, HeaderMap};

use crate::server::Wire;

/// Content of this size is read and discarded where no handler wants it, so that the connection can be used again.
const SMALL: u64 = 64 * 1024;
/// How long that may take.
const SOON: Duration = Duration::from_secs(5);

/// Content that tells its connection when it is dropped before its end.
pub(crate) struct Content {
    incoming: Option<Incoming>,
    wire: Arc<Wire>,
    /// The client is about to send all of it anyway, and it is small.
    cheap: bool,
}

impl Content {
    pub(super) fn new(incoming: Incoming, headers: &HeaderMap, wire: &Arc<Wire>) -> Self {
        let small = incoming.size_hint().exact().is_some_and(|size| size <= SMALL);
        // A client that waits for "100 Continue" may never send it.
        let cheap = small && !headers.contains_key(EXPECT);
        let incoming = Some(incoming).filter(|it| !it.is_end_stream());
        Self { incoming, wire: Arc::clone(wire), cheap }
    }

    /// Whether the client sends any.
    pub(super) fn is_expected(&self) -> bool {
        self.incoming.is_some()
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        // Somebody reads it: if they stop before its end, that has a reason (its size, or its time).
        this.cheap = false;
        let ended = match &polled {
            // After the response, hyper says no more than this until the next request has come.
            Poll::Ready(Some(Ok(_))) => incoming.is_end_stream(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        if ended {
            this.incoming = None;
            this.wire.read_to_end();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take().filter(|it| !it.is_end_stream()) else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if self.cheap => {
                // It is not cheap any more: given up before its end, it is left unread.
                let rest = Self { incoming: Some(incoming), wire: Arc::clone(&self.wire), cheap: false };
                drop(runtime.spawn(tokio::time::timeout(SOON, discard(rest))));
            }
            _ => self.wire.leave_unread(),
        }
    }
}

async fn discard(mut rest: Content) {
    while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await {}
}
