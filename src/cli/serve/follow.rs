//! What a server takes over from its operator and from other servers, and what it tells them.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::watch::PluginSource;
use crate::model::audit::{Action, Entry, OPERATOR};
use crate::model::time::now;
use crate::service::app::App;
use crate::service::nodes::reported_plugins;
use crate::store::SharedVersions;

/// Pauses between attempts to take plugins from the database.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Writes added, changed and removed plugins to the audit log; at the end also those that are still queued.
pub(super) async fn note_changes(mut changes: UnboundedReceiver<Entry>, app: Arc<App>, ended: CancellationToken) {
    loop {
        let entry = tokio::select! {
            entry = changes.recv() => entry,
            () = ended.cancelled(), if !changes.is_closed() => {
                changes.close();
                continue;
            }
        };
        let Some(entry) = entry else { return };
        note(&app, entry).await;
    }
}

/// Reports to the other servers which plugins this one runs.
pub(super) async fn report_plugins(app: Arc<App>, mut activation: watch::Receiver<i64>, ended: CancellationToken) {
    let Some(cluster) = app.store.cluster() else { return };
    let mut changes = app.registry.changes();
    loop {
        changes.mark_unchanged();
        let tried = *activation.borrow_and_update();
        cluster.report(reported_plugins(&app, tried).text());
        tokio::select! {
            Ok(()) = changes.changed() => {}
            Ok(()) = activation.changed() => {}
            () = ended.cancelled() => return,
            else => return,
        }
    }
}

/// Loads plugins that were activated in the database, if they come from there. `tried` gets the number of the last activation.
pub(super) async fn follow_plugins(app: Arc<App>, tried: watch::Sender<i64>, ended: CancellationToken) {
    let from_database = app.config.plugin_source == PluginSource::Database;
    let (Some(cluster), Some(watch)) = (app.store.cluster().filter(|_| from_database), &app.watch) else { return };
    let (mut changed, mut pause) = (cluster.changed(), FIRST_PAUSE);
    loop {
        changed.mark_unchanged();
        let next = async {
            // What cannot be read now is logged by the pass.
            match watch.look().await {
                Ok(pass) if pass.unread.is_empty() => {
                    tried.send_replace(pass.activation);
                    pause = FIRST_PAUSE;
                    changed.changed().await.is_ok()
                }
                Ok(_) | Err(_) => {
                    // Unless something else is activated meanwhile.
                    let waited = tokio::time::timeout(pause, changed.changed()).await;
                    pause = if waited.is_ok() { FIRST_PAUSE } else { (pause * 2).min(LAST_PAUSE) };
                    waited.is_err() || waited.is_ok_and(|it| it.is_ok())
                }
            }
        };
        if ended.run_until_cancelled(next).await != Some(true) {
            return;
        }
    }
}

/// Takes over keys that other servers on the same store create or revoke.
pub(super) async fn follow_keys(app: Arc<App>, ended: CancellationToken) {
    let Some(mut changed) = app.store.cluster().map(|it| it.changed()) else { return };
    let mut known = None;
    loop {
        let SharedVersions { keys, lineage, .. } = *changed.borrow_and_update();
        let keys = (keys, lineage);
        if known != Some(keys) {
            match app.store.keys().await {
                Ok(all) => {
                    app.keys.merge(all);
                    known = Some(keys);
                }
                Err(error) => tracing::warn!(cause = %error, "keys cannot be read; they are read again"),
            }
        }
        let next = async {
            if known == Some(keys) {
                changed.changed().await.is_ok()
            } else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                true
            }
        };
        match ended.run_until_cancelled(next).await {
            Some(true) => {}
            Some(false) | None => return,
        }
    }
}

/// Reloads the plugins folder at SIGHUP.
pub(super) async fn reload_at(mut hangup: Signal, app: Arc<App>, ended: CancellationToken) {
    while let Some(Some(())) = ended.run_until_cancelled(hangup.recv()).await {
        if let Some(watch) = &app.watch {
            match watch.reload().await {
                Ok(pass) => {
                    tracing::info!(?pass, "SIGHUP: the plugins folder was reloaded");
                    note(&app, Entry::new(OPERATOR, Action::PluginsReloaded, "plugins", now()).with("SIGHUP")).await;
                }
                Err(error) => tracing::error!(cause = error, "SIGHUP: the plugins folder cannot be reloaded"),
            }
        }
    }
}

pub(super) async fn note(app: &App, entry: Entry) {
    let noted = app.store.note(entry).await;
    noted.unwrap_or_else(|error| tracing::warn!(cause = %error, "the audit log cannot be written"));
}
