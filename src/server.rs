//! Bind, serve, drain.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::app::App;
use crate::http::{self, edge};

/// What hyper keeps of a connection's unread input; headers beyond it are refused before `header_bytes` is looked at.
const CONNECTION_BUFFER: usize = 64 * 1024;

/// Serves until `shutdown` resolves, then answers what is under way and returns.
///
/// warp's own server has no limits on slow headers or on connections, so its routes run under hyper here.
///
/// # Errors
/// None today; accepting goes on through errors, which pass (out of file descriptors, say).
pub async fn run(listener: TcpListener, app: Arc<App>, shutdown: impl Future<Output = ()>) -> std::io::Result<()> {
    let routes = warp::service(http::routes(Arc::clone(&app)));
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(app.config.limits.header_timeout)
        .max_buf_size(CONNECTION_BUFFER);
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(app.config.limits.connections));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, permit) = tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &connections) => accepted,
        };
        let (app, routes) = (Arc::clone(&app), routes.clone());
        let service = service_fn(move |request| edge::handle(Arc::clone(&app), routes.clone(), request));
        let connection = graceful.watch(protocol.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            // A sender that hangs up or is too slow is no news.
            let _ended = connection.await;
            drop(permit);
        });
    }
    drop(listener);
    drain(graceful, app.config.limits.drain_timeout).await;
    Ok(())
}

async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    let permit = Arc::clone(connections).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Answers are small: waiting to fill a packet only delays them.
                let _as_it_is = stream.set_nodelay(true);
                return (stream, permit);
            }
            Err(error) => {
                tracing::warn!(cause = %error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn drain(graceful: GracefulShutdown, timeout: Duration) {
    let open = graceful.count();
    if tokio::time::timeout(timeout, graceful.shutdown()).await.is_err() {
        tracing::warn!(open, "some requests had not ended when the time to drain was over");
    }
}
