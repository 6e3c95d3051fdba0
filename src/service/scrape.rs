//! States that `/metrics` shows next to its counts. They are looked up at each scrape; those that may wait for the disk are
//! looked up every few seconds in the background.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::integration::Integration;
use crate::metrics::http::HTTP;
use crate::metrics::observed::{LiveIntegration, Observed};
use crate::metrics::process::PROCESS;
use crate::metrics::queue::QUEUE;
use crate::metrics::store::STORE;
use crate::model::time::now;
use crate::plugin::Plugin;
use crate::service::app::App;
use crate::store::TimelineWindow;

/// Interval of looking up sizes; the shortest usual scrape interval is 15 seconds.
const SAMPLE: Duration = Duration::from_secs(10);

/// Returns the text of `/metrics`. It reads memory and `/proc` only, and never waits for the disk.
pub(crate) fn text(app: &App) -> Result<String, std::fmt::Error> {
    let (loading, live, refused) = (app.registry.loading(), app.registry.list(), app.registry.refused());
    let limits = &app.config.limits;
    crate::metrics::text(Observed {
        version: env!("CARGO_PKG_VERSION"),
        now_ms: now().timestamp_millis(),
        integrations: live.iter().map(|it| described(it)).collect(),
        refused: refused.len() as u64,
        loading: loading.len() as u64,
        concurrency: limits.concurrency.saturating_sub(app.in_flight.available_permits()) as u64,
        concurrency_limit: limits.concurrency as u64,
        queue_stored: app.queue.stored(),
        queue_limit: limits.queue as u64,
        has_files: app.files.is_some(),
        reserve_bytes: app.config.store.reserve_bytes,
    })
}

fn described(integration: &Integration) -> LiveIntegration {
    LiveIntegration {
        name: integration.name.to_string(),
        company: integration.company_id.to_string(),
        version: integration.version.clone(),
        waiting: integration.plugin.as_ref().map_or(0, Plugin::waiting) as u64,
    }
}

/// How often requests are recorded.
const RECORD: Duration = Duration::from_mins(1);

/// Looks up sizes until `ended`. If the disk hangs, so does this, and scrapes go on with the values that they have.
pub(crate) async fn sample(app: Arc<App>, ended: CancellationToken) {
    let mut every = tokio::time::interval(SAMPLE);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = ended.cancelled() => return,
        }
        let app = Arc::clone(&app);
        if tokio::task::spawn_blocking(move || look(&app)).await.is_err() {
            tracing::error!("reading sizes for /metrics panicked");
        }
    }
}

/// Looks up sizes. Blocking.
pub(crate) fn look(app: &App) {
    PROCESS.sample();
    STORE.sampled.ready.set(u64::from(app.store.ready().is_ok()));
    if let Some(Err(error)) = app.files.as_ref().map(|it| it.sample()) {
        tracing::warn!(cause = %error, "sizes for /metrics cannot be read");
    }
}

/// Records what requests came to until `ended`. The first question to the store also makes it count what is stored already.
pub(crate) async fn record(app: Arc<App>, ended: CancellationToken) {
    if let Err(error) = app.store.timeline(None, TimelineWindow::Hour, now()).await {
        tracing::warn!(cause = %error, "stored events cannot be counted yet; the console asks again");
    }
    let mut every = tokio::time::interval(RECORD);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    every.tick().await;
    while ended.run_until_cancelled(every.tick()).await.is_some() {
        app.recorder.take(now(), HTTP.traffic(), app.queue.stored().unwrap_or_else(|| QUEUE.all()));
    }
}
