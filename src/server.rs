//! Bind, serve, drain.
//!
//! `server/socket.rs` has the limits of one connection, `server/wire.rs` what the socket and its requests tell each other.

mod socket;
mod wire;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::app::{App, now};
use crate::http;
use crate::http::edge::Edge;
use crate::log::{self, Line};
use socket::{Socket, Timeouts};
pub(crate) use wire::Wire;

/// Most unread input that hyper keeps of a connection; larger headers are refused before `header_bytes` is checked.
const CONNECTION_BUFFER: usize = 64 * 1024;
/// Most bytes of responses that the kernel keeps for a client that does not read; Linux doubles it (socket(7)). hyper
/// reads no request before the response to the one before is in there, so this also bounds pipelining.
const SEND_BUFFER: usize = 256 * 1024;

/// Serves until `shutdown` resolves, then answers the requests under way and returns.
///
/// warp's own server has no limits on slow headers or on connections, so its routes run under hyper here.
///
/// # Errors
/// Where the socket's buffer cannot be set. Errors of `accept` pass (out of file descriptors, say), and are retried.
pub async fn run(listener: TcpListener, app: Arc<App>, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
    // Accepted connections inherit it.
    socket2::SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER)?;
    let limits = app.config.limits.clone();
    let edge = Arc::new(Edge::new(Arc::clone(&app), warp::service(http::routes(app))));
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        // A client may shut down its side after its request, and still gets its response.
        .half_close(true)
        .max_buf_size(CONNECTION_BUFFER);
    let timeouts = Timeouts { write: limits.write_timeout, head: limits.header_timeout };
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(limits.connections));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, address, permit) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let wire = Arc::new(Wire::new(address));
        let socket = Socket::new(stream, Arc::clone(&wire), timeouts);
        let edge = Arc::clone(&edge);
        let service = service_fn(move |request| Edge::handle(Arc::clone(&edge), Arc::clone(&wire), request));
        let connection = graceful.watch(protocol.serve_connection(TokioIo::new(socket), service));
        tokio::spawn(async move {
            // A client that hangs up or is too slow is not worth a log line.
            let _ended = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    drain(graceful, &edge, limits.drain_timeout).await;
    Ok(())
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> (TcpStream, IpAddr, Option<OwnedSemaphorePermit>) {
    let permit = Arc::clone(connections).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                // Answers are small: waiting to fill a packet only delays them.
                let _as_it_is = stream.set_nodelay(true);
                return (stream, from.ip(), permit);
            }
            Err(error) => {
                if let Some(turn) = log::sample(Line::Accept, "", now()) {
                    tracing::warn!(cause = %error, omitted = turn.omitted, "accepting a connection failed");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// First the connections, which may still be sending a request; then the requests whose clients have hung up.
async fn drain<S>(graceful: GracefulShutdown, edge: &Edge<S>, timeout: Duration) {
    let until = Instant::now() + timeout;
    let open = graceful.count();
    if tokio::time::timeout_at(until, graceful.shutdown()).await.is_err() {
        tracing::warn!(open, "some connections were still open at the end of the drain timeout");
    }
    let left = edge.drain(until).await;
    if left > 0 {
        tracing::warn!(requests = left, "requests were cut off at the end of the drain timeout");
    }
}
