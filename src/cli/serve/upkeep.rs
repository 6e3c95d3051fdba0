//! What a server removes by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::follow::note;
use crate::integration::Integration;
use crate::metrics::store::STORE;
use crate::model::audit::{Action, Entry, SERVER};
use crate::model::time::now;
use crate::service::app::App;
use crate::store::Expired;
use crate::store::erasure::Keep;
use crate::system::log;

/// Interval of sweeps that remove expired data.
const SWEEP: Duration = Duration::from_secs(60);

/// Removes expired data once a minute.
pub(super) async fn sweep(app: Arc<App>, ended: CancellationToken) {
    let mut every = tokio::time::interval(SWEEP);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = every.tick() => {}
            () = ended.cancelled() => return,
        }
        log::flush();
        match app.store.expire(now()).await {
            Ok(expired) if expired == Expired::default() => {}
            Ok(expired) => tracing::info!(?expired, "expired data was removed"),
            Err(error) => tracing::warn!(cause = %error, "expired data cannot be removed"),
        }
        if ended.is_cancelled() {
            return;
        }
        erase_late(&app).await;
        forget(&app).await;
    }
}

/// Erases content that was stored before it was known to belong to an erased patient.
async fn erase_late(app: &App) {
    let store = Arc::clone(&app.store);
    match tokio::task::spawn_blocking(move || store.erase_late(now())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(cause = %error, "erased content cannot be overwritten yet"),
        Err(_) => tracing::error!("overwriting erased content panicked"),
    }
}

/// Erases what integrations were sent longer ago than their `keep_days`.
async fn forget(app: &App) {
    let store = Arc::clone(&app.store);
    let live = app.registry.list();
    let keep = |it: &Arc<Integration>| it.keep.map(|age| Keep { integration: it.name.to_string(), age });
    let keeps: Vec<Keep> = live.iter().filter_map(keep).collect();
    match tokio::task::spawn_blocking(move || store.forget(&keeps, now())).await {
        Ok(Ok(erased)) => {
            for (integration, events) in erased {
                STORE.erased_events.add(events);
                tracing::info!(integration, events, "events past keep_days were erased");
                let entry = Entry::new(SERVER, Action::EventsForgotten, &integration, now());
                let company = live.iter().find(|it| *it.name.0 == *integration).map(|it| &it.company_id);
                let entry = company.map_or(entry.clone(), |it| entry.of(it));
                note(app, entry.with(format!("{events} events"))).await;
            }
        }
        Ok(Err(error)) => tracing::warn!(cause = %error, "events past keep_days cannot be erased"),
        Err(_) => tracing::error!("erasing events past keep_days panicked"),
    }
}
