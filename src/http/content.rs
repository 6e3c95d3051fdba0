//! A request's content on its way from the connection to the handler.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::poll_fn;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{EXPECT, HeaderMap};

use super::server::wire::Wire;
use crate::metrics::http::HTTP;

/// Content up to this size is read and discarded if no handler reads it, so that the connection can be reused.
const SMALL: u64 = 64 * 1024;
/// How long discarding may take.
const SOON: Duration = Duration::from_secs(5);

/// Content that notifies its connection if it is dropped before its end.
pub(crate) struct Content {
    incoming: Option<Incoming>,
    wire: Arc<Wire>,
    /// It is small, and the client sends all of it in any case.
    cheap: bool,
}

impl Content {
    pub(super) fn new(incoming: Incoming, headers: &HeaderMap, wire: &Arc<Wire>) -> Self {
        let small = incoming.size_hint().exact().is_some_and(|size| size <= SMALL);
        // A client that waits for "100 Continue" may never send the content.
        let cheap = small && !headers.contains_key(EXPECT);
        let incoming = Some(incoming).filter(|it| !it.is_end_stream());
        Self { incoming, wire: Arc::clone(wire), cheap }
    }

    /// Whether the client sends content.
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
        // A handler reads it. If the handler stops early, it has a reason, such as a limit.
        this.cheap = false;
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            HTTP.request_bytes.add(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        let ended = match &polled {
            // After the response, hyper reports the end only here until the next request arrives.
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
                // No longer cheap: if discarding is abandoned, the content is left unread.
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
