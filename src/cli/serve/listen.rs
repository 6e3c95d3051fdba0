//! The addresses that a server listens on.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::super::failure::Failure;
use super::super::print::say;
use crate::http::server;
use crate::service::app::App;

/// Number of connections that the kernel queues until they are accepted; Linux uses `net.core.somaxconn` if that is
/// less. Beyond it, a client that connects waits a second until its first packet is sent again.
const BACKLOG: u32 = 4096;

pub(super) fn bind(listen: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    let bound = || {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|e| Failure::new(format!("cannot listen on {listen}: {e}; choose another address with {flag}")))
}

/// Logs the address of the metrics, with a warning if strangers may read them.
pub(super) fn announce_metrics(listener: &TcpListener, token: bool) -> Result<(), Failure> {
    let address = listener.local_addr().map_err(Failure::new)?;
    tracing::info!(%address, token, "serving metrics");
    if !token && !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "anyone who reaches this address can read the metrics of every company: set HOOKMILL_METRICS_TOKEN, or listen on 127.0.0.1"
        );
    }
    say!("hookmill serves metrics on http://{address}/metrics");
    Ok(())
}

pub(super) async fn serve_metrics(listener: TcpListener, app: Arc<App>, ended: CancellationToken) {
    if let Err(error) = server::run_metrics(listener, app, ended.cancelled_owned()).await {
        tracing::error!(cause = %error, "metrics are not served");
    }
}
