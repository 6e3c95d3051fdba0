//! Bind, serve, drain.
//!
//! `server/crowd.rs` has all connections, `server/socket.rs` the limits of one, `server/wire.rs` what the socket and its requests tell each other.

mod crowd;
mod files;
mod socket;
mod wire;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::app::{App, now};
use crate::http;
use crate::http::edge::Edge;
use crate::log::{self, Line};
use crate::peer::Proxies;
use crowd::{Crowd, Place};
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
    let serving = Arc::clone(&app);
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
    let crowd = Arc::new(Crowd::new(files::room_for(limits.connections), limits.peer_connections));
    let origin = Instant::now();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, wire, place) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &crowd, &serving.proxies, origin) => accepted,
        };
        let dismissed = Arc::clone(&wire);
        let socket = Socket::new(stream, Arc::clone(&wire), timeouts);
        let edge = Arc::clone(&edge);
        let service = service_fn(move |request| Edge::handle(Arc::clone(&edge), Arc::clone(&wire), request));
        let connection = graceful.watch(protocol.serve_connection(TokioIo::new(socket), service));
        tokio::spawn(async move {
            tokio::select! {
                biased;
                // A client that hangs up or is too slow is not worth a log line.
                _ended = connection => {}
                () = dismissed.dismissal() => {}
            }
            drop(place);
        });
    }
    drop(listener);
    drain(graceful, &edge, limits.drain_timeout).await;
    Ok(())
}

/// The next connection, with its place among the others.
async fn accept(
    listener: &TcpListener,
    crowd: &Arc<Crowd>,
    proxies: &Proxies,
    origin: Instant,
) -> (TcpStream, Arc<Wire>, Place) {
    loop {
        match listener.accept().await {
            // hyper's date panics over such a clock. The start was at another one, so it will be set.
            Ok((stream, _)) if !crate::clock::is_set() => {
                tracing::error!("the system's clock says a time before 1970: connections are closed until it is set");
                drop(stream);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok((stream, from)) => {
                // Answers are small: waiting to fill a packet only delays them.
                let _as_it_is = stream.set_nodelay(true);
                let wire = Arc::new(Wire::new(from.ip(), origin));
                loop {
                    if let Some(place) = crowd.enter(&wire, proxies.trust(from.ip())) {
                        return (stream, wire, place);
                    }
                    crowd.left().await;
                }
            }
            Err(error) => {
                if let Some(turn) = log::sample(Line::Accept, "", now()) {
                    tracing::warn!(cause = %error, omitted = turn.omitted, "accepting a connection failed");
                }
                // Perhaps there are no file descriptors.
                crowd.make_room();
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
