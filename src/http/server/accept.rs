//! Accepts connections, and drains them at the end.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tower_service::Service;
use warp::http::Request;
use warp::reply::Response;

use super::crowd::{ConnectionSlot, Crowd};
use super::files;
use super::socket::{Socket, Timeouts};
use super::wire::Wire;
use crate::http::content::Content;
use crate::http::dispatch::{metrics_route, routes};
use crate::http::edge::Edge;
use crate::metrics::http::HTTP;
use crate::model::peer::Proxies;
use crate::model::time::now;
use crate::service::app::App;
use crate::system::log;
use crate::system::log::SampledLine;

/// Most unread input that hyper buffers per connection; larger headers are rejected before `header_bytes` is checked.
const CONNECTION_BUFFER: usize = 64 * 1024;

/// Most bytes of responses that the kernel buffers for a client that does not read; Linux doubles it (socket(7)). hyper reads
/// no request until the previous response is in this buffer, so this also bounds pipelining.
const SEND_BUFFER: usize = 256 * 1024;

/// Connections to the address for metrics: a few scrapers.
const METRICS_CONNECTIONS: usize = 64;

/// Serves until `shutdown` resolves, then completes the running requests and returns.
///
/// warp's own server has no limits on slow headers or on the number of connections, so its routes run on hyper here.
///
/// # Errors
/// If the socket's buffer cannot be set. Errors of `accept` are temporary (such as too few file descriptors) and are retried.
pub async fn run(listener: TcpListener, app: Arc<App>, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
    let routes = warp::service(routes(Arc::clone(&app)));
    let most = files::room_for(app.config.limits.connections);
    HTTP.connections_limit.set(most as u64);
    serve(listener, app, most, routes, shutdown).await
}

/// Serves only `/metrics`, on its own address, until `shutdown` resolves.
///
/// # Errors
/// As [`run`].
pub async fn run_metrics(
    listener: TcpListener,
    app: Arc<App>,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let routes = warp::service(metrics_route(Arc::clone(&app)));
    serve(listener, app, METRICS_CONNECTIONS, routes, shutdown).await
}

async fn serve<S>(
    listener: TcpListener,
    app: Arc<App>,
    most: usize,
    routes: S,
    shutdown: impl Future<Output = ()>,
) -> std::io::Result<()>
where
    S: Service<Request<Content>, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    // Accepted connections inherit it.
    socket2::SockRef::from(&listener).set_send_buffer_size(SEND_BUFFER)?;
    let limits = app.config.limits.clone();
    let serving = Arc::clone(&app);
    let edge = Arc::new(Edge::new(app, routes));
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle_timeout)
        // A client may shut down its side after its request, and still gets its response.
        .half_close(true)
        .max_buf_size(CONNECTION_BUFFER);
    let timeouts = Timeouts { write: limits.write_timeout, head: limits.header_timeout };
    let graceful = GracefulShutdown::new();
    let crowd = Arc::new(Crowd::new(most, limits.peer_connections));
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
                // A client that hangs up or is too slow causes no log line.
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

/// Accepts the next connection and its slot.
async fn accept(
    listener: &TcpListener,
    crowd: &Arc<Crowd>,
    proxies: &Proxies,
    origin: Instant,
) -> (TcpStream, Arc<Wire>, ConnectionSlot) {
    loop {
        match listener.accept().await {
            // hyper's Date header panics with such a clock. The clock was right at the start, so it will be set again.
            Ok((stream, _)) if !crate::system::clock::is_set() => {
                tracing::error!(
                    "the system clock is before 1970: connections are closed until it is set; set the clock"
                );
                drop(stream);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Ok((stream, from)) => {
                // Responses are small: waiting to fill a packet only delays them.
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
                HTTP.not_accepted.count();
                if let Some(turn) = log::sample(SampledLine::Accept, "", now()) {
                    tracing::warn!(cause = %error, omitted = turn.omitted, "accepting a connection failed");
                }
                // There may be no file descriptors left.
                crowd.make_room();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Waits for the connections, which may still be sending a request, and then for the requests whose clients hung up.
async fn drain<S>(graceful: GracefulShutdown, edge: &Edge<S>, timeout: Duration) {
    let until = Instant::now() + timeout;
    let open = graceful.count();
    if tokio::time::timeout_at(until, graceful.shutdown()).await.is_err() {
        tracing::warn!(open, "connections were still open at the end of the drain timeout");
    }
    let left = edge.drain(until).await;
    if left > 0 {
        tracing::warn!(requests = left, "requests were aborted at the end of the drain timeout");
    }
}
