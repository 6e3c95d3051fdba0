//! The end of a server.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::task::TaskTracker;

use super::super::failure::Failure;
use crate::service::app::App;

/// Time for a claim on queued events that is under way.
const LAST_CLAIM: Duration = Duration::from_secs(3);
/// How often releasing claims is tried again, and the time in between.
const LEAVING: u32 = 5;
const LEAVE_AGAIN: Duration = Duration::from_millis(500);
/// Time for background work and its audit entries at the end.
const LAST_ENTRIES: Duration = Duration::from_secs(10);

/// Returns a future that resolves at SIGTERM or SIGINT.
pub(super) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::new)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::new)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: finishing running requests"),
            _ = interrupt.recv() => tracing::info!("SIGINT: finishing running requests"),
        }
    })
}

/// Gives queued events back to the other servers on the store, while the last requests are answered: after the time of the drain
/// the process may be killed, and each event that it had then counts as interrupted.
pub(super) async fn leave(app: Arc<App>, claims: TaskTracker) {
    let Some(cluster) = app.store.cluster() else { return };
    claims.close();
    // A claim that takes longer ends with the lease.
    let _in_time = tokio::time::timeout(LAST_CLAIM, claims.wait()).await;
    app.queue.stop();
    let mut tries = 1..=LEAVING;
    while let Err(error) = cluster.leave().await {
        if tries.next().is_none() {
            tracing::warn!(cause = %error, "claims on queued events cannot be released; they end with this node's lease");
            return;
        }
        tokio::time::sleep(LEAVE_AGAIN).await;
    }
}

/// Waits for background work and its audit entries.
pub(super) async fn finish(background: &TaskTracker) {
    background.close();
    if tokio::time::timeout(LAST_ENTRIES, background.wait()).await.is_err() {
        tracing::warn!(tasks = background.len(), "background work did not end in time and was stopped");
    }
}
