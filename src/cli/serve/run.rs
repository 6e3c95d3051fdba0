//! Runs the server, from its start to its end.

use std::sync::Arc;
use std::time::Instant;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::failure::Failure;
use super::super::open;
use super::super::print::say;
use super::end::{finish, leave, stop_signal};
use super::first_key::bootstrap;
use super::follow::{follow_keys, follow_plugins, note_changes, reload_at, report_plugins};
use super::listen::{announce_metrics, bind, serve_metrics};
use super::plugins::watch_plugins;
use super::role::Role;
use super::upkeep::sweep;
use crate::auth::key;
use crate::config::Config;
use crate::http::server;
use crate::metrics::process::PROCESS;
use crate::model::secret::Secret;
use crate::model::time::now;
use crate::plugin::Host;
use crate::service::app::App;
use crate::service::nodes::watch_nodes;
use crate::service::{scrape, search};
use crate::store::RunningServer;
use crate::system::{log, trace};

pub(super) async fn serve(config: Config, role: Role) -> Result<(), Failure> {
    let started = Instant::now();
    PROCESS.started_ms.set(u64::try_from(now().timestamp_millis()).unwrap_or(0));
    let tracing = config.traces.as_ref().map(trace::start);
    let opened = open::for_server(&config)?;
    let host = Host::new(Some(config.data_dir.join("artefacts")), config.loading).map_err(Failure::new)?;
    tracing::info!(engine = host.describe(), "plugin engine started");
    let operator_token = key::generate().map_err(Failure::new)?.1;
    let mut app = App::new(config, Arc::clone(&opened.store), Some(Secret::new(operator_token.clone()))).await?;
    app.files = opened.files.clone();
    app.only_works = role == Role::Worker;
    app.host = Some(host.clone());
    let (done, changes) = unbounded_channel();
    app.watch = Some(watch_plugins(&app, host, done)?);
    scrape::look(&app);
    let listener = bind(app.config.listen, "--listen")?;
    let address = listener.local_addr().map_err(Failure::new)?;
    let metrics = app.config.metrics_listen.map(|it| bind(it, "--metrics-listen")).transpose()?;
    let url = format!("http://{address}");
    opened.announce(&RunningServer { pid: std::process::id(), url: url.clone(), operator_token })?;
    bootstrap(&app, &url).await?;
    let stopped = stop_signal()?;
    let hangup = signal(SignalKind::hangup()).map_err(Failure::new)?;
    tracing::info!(%address, millis = started.elapsed().as_millis(), "serving");
    if let Some(metrics) = &metrics {
        announce_metrics(metrics, app.config.metrics_token.is_some())?;
    }
    say!("hookmill serves on {url}");
    let app = Arc::new(app);
    let (background, ended) = (TaskTracker::new(), CancellationToken::new());
    let (leaving, claims) = (CancellationToken::new(), TaskTracker::new());
    if app.store.cluster().is_none() {
        app.queue.resume().await?;
    } else if role.works() {
        claims.spawn(Arc::clone(&app.queue).claim(leaving.clone()));
    }
    background.spawn(note_changes(changes, Arc::clone(&app), ended.clone()));
    background.spawn(follow_keys(Arc::clone(&app), ended.clone()));
    if role.works() {
        background.spawn(sweep(Arc::clone(&app), ended.clone()));
    }
    let (tried, activation) = watch::channel(0);
    background.spawn(follow_plugins(Arc::clone(&app), tried, ended.clone()));
    background.spawn(report_plugins(Arc::clone(&app), activation, ended.clone()));
    background.spawn(watch_nodes(Arc::clone(&app), ended.clone()));
    background.spawn(reload_at(hangup, Arc::clone(&app), ended.clone()));
    background.spawn(scrape::record(Arc::clone(&app), ended.clone()));
    background.spawn(search::follow(
        Arc::clone(&app.search),
        Arc::clone(&app.tail),
        Arc::clone(&app.store),
        ended.clone(),
    ));
    background.spawn(scrape::sample(Arc::clone(&app), ended.clone()));
    if let Some(metrics) = metrics {
        background.spawn(serve_metrics(metrics, Arc::clone(&app), ended.clone()));
    }
    let stop = {
        let (app, background) = (Arc::clone(&app), background.clone());
        async move {
            stopped.await;
            leaving.cancel();
            app.tail.close();
            background.spawn(leave(app, claims));
        }
    };
    server::run(listener, Arc::clone(&app), stop).await.map_err(Failure::new)?;
    app.queue.stop();
    tokio::join!(app.replays.stop(), app.comparisons.stop());
    ended.cancel();
    finish(&background).await;
    if let Some(tracing) = tracing {
        // Blocking, and bounded by itself.
        let _last_spans = tokio::task::spawn_blocking(move || tracing.stop()).await;
    }
    log::flush();
    tracing::info!("stopped");
    Ok(())
}
