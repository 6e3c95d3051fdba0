//! A connection's socket. It times out on clients that do not read and on incomplete headers, and closes in stages.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::wire::Wire;

/// Most bytes that are read and discarded from a client that still sends after its response.
const LINGER_BYTES: usize = 16 << 20;
/// Longest time for that in total.
const LINGER_TIME: Duration = Duration::from_secs(30);
/// Longest silence of such a client.
const LINGER_SILENCE: Duration = Duration::from_secs(5);
/// Read at a time while lingering.
const SCRATCH: usize = 16 * 1024;

/// A `TcpStream` with limits.
pub(super) struct Socket {
    stream: TcpStream,
    wire: Arc<Wire>,
    limits: Timeouts,
    /// Runs while no waiting byte can be written.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Runs while a request's headers are incomplete.
    heading: Option<Pin<Box<Sleep>>>,
    lingering: Option<Lingering>,
}

/// How long a socket waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    /// For the client to read the response.
    pub(super) write: Duration,
    /// For the end of a request's headers.
    pub(super) head: Duration,
}

struct Lingering {
    left: usize,
    until: Instant,
    silence: Pin<Box<Sleep>>,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, wire: Arc<Wire>, limits: Timeouts) -> Self {
        Self { stream, wire, limits, stalled: None, heading: None, lingering: None }
    }

    /// Returns the result of a write. A write that waits too long fails, which closes the connection.
    fn wrote(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let limit = self.limits.write;
        ready!(self.stalled.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Detects that the client closed the connection: while a request runs, nothing reads from it.
    fn look_out(&self, cx: &mut Context<'_>) {
        let mut byte = [0; 1];
        match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(0) | Err(_)) => self.wire.hung_up(),
            // The next request has already arrived and hides a close.
            Poll::Ready(Ok(_)) | Poll::Pending => {}
        }
    }

    /// Reads and discards what the client still sends, up to the limits (RFC 9112, section 9.6). Closing a socket with unread
    /// bytes resets the connection, and the client may lose the response.
    fn linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            left: LINGER_BYTES,
            until: Instant::now() + LINGER_TIME,
            silence: Box::pin(sleep(LINGER_SILENCE)),
        });
        let mut scratch = [0; SCRATCH];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    let now = Instant::now();
                    lingering.left = lingering.left.saturating_sub(buffer.filled().len());
                    if lingering.left == 0 || now >= lingering.until {
                        return Poll::Ready(());
                    }
                    lingering.silence.as_mut().reset((now + LINGER_SILENCE).min(lingering.until));
                    self.wire.leave_unread();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if self.wire.is_unread() || self.wire.is_partial() => {
                    return lingering.silence.as_mut().poll(cx);
                }
                // Every request was read to its end, so nothing can be lost.
                Poll::Pending => return Poll::Ready(()),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // Before reading: the bytes may belong to the next request, which has its own timeout.
        if !this.wire.owes_headers() {
            this.heading = None;
        }
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if result.is_ready() {
            if buffer.filled().len() > before {
                this.wire.received();
            }
            return result;
        }
        if !this.wire.owes_headers() {
            return Poll::Pending;
        }
        let limit = this.limits.head;
        ready!(this.heading.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.wrote(cx, result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, pieces);
        this.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls this on every poll of a connection, so a watched request detects a hang-up here.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.wire.is_watched() {
            this.look_out(cx);
        }
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        this.linger(cx).map(Ok)
    }
}
