//! `hookmill serve`

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::fmt::format::DefaultFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::failure::Failure;
use super::flags::{DataDirFlag, PluginsDirFlag};
use super::print::say;
use super::runtime;
use crate::auth::{Scope, key};
use crate::config::{Config, Options};
use crate::http::server;
use crate::integration::Integration;
use crate::metrics::process::PROCESS;
use crate::metrics::store::STORE;
use crate::model::audit::{Action, Entry, OPERATOR, SERVER};
use crate::model::company::CompanyId;
use crate::model::peer::Network;
use crate::model::secret::Secret;
use crate::model::time::now;
use crate::plugin::Host;
use crate::service::app::{App, KeyRequest};
use crate::service::scrape;
use crate::service::watch::{Loader, Watch};
use crate::store::embedded::RunningServer;
use crate::store::erasure::Keep;
use crate::store::{Embedded, Expired};
use crate::system::log;
use crate::system::log::{JsonLine, TextFields, says_no_more_than_it_may};
use crate::system::trace;

/// Time for reads that are running at the end.
const LAST_READS: Duration = Duration::from_secs(5);
/// Time for background work and its audit entries at the end.
const LAST_ENTRIES: Duration = Duration::from_secs(10);
/// Interval of sweeps that remove expired data.
const SWEEP: Duration = Duration::from_secs(60);
/// Number of connections that the kernel queues until they are accepted; Linux uses `net.core.somaxconn` if that is
/// less. Beyond it, a client that connects waits a second until its first packet is sent again.
const BACKLOG: u32 = 4096;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill serve
  HOOKMILL_BOOTSTRAP_KEY=$(openssl rand -hex 32) hookmill serve --listen 0.0.0.0:8080

The first start on an empty database creates one API key and prints it; it is not shown again. To choose the key yourself, set
HOOKMILL_BOOTSTRAP_KEY (at least 24 characters).")]
pub(super) struct Serve {
    /// Address and port to serve on [default: 127.0.0.1:8080]
    #[arg(long, env = "HOOKMILL_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Address and port for GET /metrics alone [default: on the main address, with a token]
    #[arg(long, env = "HOOKMILL_METRICS_LISTEN", value_name = "ADDR:PORT")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    data: DataDirFlag,
    #[command(flatten)]
    plugins: PluginsDirFlag,
    /// Proxies whose X-Forwarded-For counts, such as 10.0.0.0/8,fd00::/8 [default: none]
    #[arg(long, env = "HOOKMILL_TRUSTED_PROXIES", value_name = "ADDR/BITS", value_delimiter = ',')]
    trusted_proxies: Option<Vec<Network>>,
    /// Format of the log, which is written to stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Log level (error, warn, info, debug), or a filter such as hookmill=debug
    #[arg(long, env = "HOOKMILL_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// Serve the undamaged data of a journal in which acknowledged changes are damaged
    #[arg(long)]
    accept_loss: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Serve {
    pub(super) fn options(&self) -> Options {
        Options {
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            plugins_dir: self.plugins.options().plugins_dir,
            trusted_proxies: self.trusted_proxies.clone(),
            ..self.data.options()
        }
    }

    pub(super) fn run(&self, config: Config) -> Result<(), Failure> {
        self.start_log()?;
        let mut config = config;
        config.store.accept_loss = self.accept_loss;
        let runtime = runtime()?;
        let ended = runtime.block_on(serve(config));
        // Requests have already had the time of the drain.
        runtime.shutdown_timeout(LAST_READS);
        ended
    }

    fn start_log(&self) -> Result<(), Failure> {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log)
            .map_err(|e| Failure::usage(format!("--log {}: {e}", self.log)))?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let of_others = FilterFn::new(says_no_more_than_it_may);
        match self.log_format {
            LogFormat::Json => log.json().map_event_format(JsonLine).finish().with(of_others).init(),
            LogFormat::Text => {
                let fields = TextFields(DefaultFields::new());
                let log = log.with_ansi(std::io::stderr().is_terminal()).fmt_fields(fields);
                log.finish().with(of_others).init();
            }
        }
        Ok(())
    }
}

async fn serve(config: Config) -> Result<(), Failure> {
    let started = Instant::now();
    PROCESS.started_ms.set(u64::try_from(now().timestamp_millis()).unwrap_or(0));
    let tracing = config.traces.as_ref().map(trace::start);
    let store = Arc::new(Embedded::open(&config.data_dir, &config.store)?);
    let host = Host::new(Some(config.data_dir.join("artefacts")), config.loading).map_err(Failure::new)?;
    tracing::info!(engine = host.describe(), "plugin engine started");
    let operator_token = key::generate().map_err(Failure::new)?.1;
    let mut app = App::new(config, store.clone(), Some(Secret::new(operator_token.clone()))).await?;
    app.files = Some(Arc::clone(&store));
    app.host = Some(host.clone());
    let (done, changes) = unbounded_channel();
    app.watch = Some(watch_plugins(&app, host, done)?);
    scrape::look(&app);
    let listener = bind(app.config.listen, "--listen")?;
    let address = listener.local_addr().map_err(Failure::new)?;
    let metrics = app.config.metrics_listen.map(|it| bind(it, "--metrics-listen")).transpose()?;
    let url = format!("http://{address}");
    store
        .announce(&RunningServer { pid: std::process::id(), url: url.clone(), operator_token })
        .map_err(|e| Failure::new(format!("hookmill.lock in the data directory cannot be written: {e}")))?;
    bootstrap(&app, &url).await?;
    let stop = stop_signal()?;
    let hangup = signal(SignalKind::hangup()).map_err(Failure::new)?;
    tracing::info!(%address, millis = started.elapsed().as_millis(), "serving");
    if let Some(metrics) = &metrics {
        announce_metrics(metrics, app.config.metrics_token.is_some())?;
    }
    say!("hookmill serves on {url}");
    let app = Arc::new(app);
    app.queue.resume().await?;
    let (background, ended) = (TaskTracker::new(), CancellationToken::new());
    background.spawn(note_changes(changes, Arc::clone(&app), ended.clone()));
    background.spawn(sweep(Arc::clone(&app), ended.clone()));
    background.spawn(reload_at(hangup, Arc::clone(&app), ended.clone()));
    background.spawn(scrape::sample(Arc::clone(&app), ended.clone()));
    if let Some(metrics) = metrics {
        background.spawn(serve_metrics(metrics, Arc::clone(&app), ended.clone()));
    }
    server::run(listener, Arc::clone(&app), stop).await.map_err(Failure::new)?;
    app.queue.stop();
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

/// Logs the address of the metrics, with a warning if strangers may read them.
fn announce_metrics(listener: &TcpListener, token: bool) -> Result<(), Failure> {
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

async fn serve_metrics(listener: TcpListener, app: Arc<App>, ended: CancellationToken) {
    if let Err(error) = server::run_metrics(listener, app, ended.cancelled_owned()).await {
        tracing::error!(cause = %error, "metrics are not served");
    }
}

/// Waits for background work and its audit entries.
async fn finish(background: &TaskTracker) {
    background.close();
    if tokio::time::timeout(LAST_ENTRIES, background.wait()).await.is_err() {
        tracing::warn!(tasks = background.len(), "background work did not end in time and was stopped");
    }
}

/// Writes added, changed and removed plugins to the audit log; at the end also those that are queued by then.
async fn note_changes(mut changes: UnboundedReceiver<Entry>, app: Arc<App>, ended: CancellationToken) {
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

async fn note(app: &App, entry: Entry) {
    let noted = app.store.note(entry).await;
    noted.unwrap_or_else(|error| tracing::warn!(cause = %error, "the audit log cannot be written"));
}

/// Removes expired data once a minute.
async fn sweep(app: Arc<App>, ended: CancellationToken) {
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

fn bind(listen: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    let bound = || {
        let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(listen)?;
        socket.listen(BACKLOG)
    };
    bound().map_err(|e| Failure::new(format!("cannot listen on {listen}: {e}; choose another address with {flag}")))
}

/// Loads all plugins, and then watches their folder.
fn watch_plugins(app: &App, host: Host, done: UnboundedSender<Entry>) -> Result<Watch, Failure> {
    let dir = app.config.plugins_dir.clone();
    let told = |e: std::io::Error| {
        Failure::usage(format!(
            "cannot read the plugins folder {}: {e}; choose another folder with --plugins-dir",
            app.config.plugins_dir.display()
        ))
    };
    let mut loader =
        Loader::new(host, dir, Arc::clone(&app.senders), Arc::clone(&app.registry), Arc::clone(&app.shadows));
    loader.done = Some(done);
    Watch::start(loader, app.config.watch).map_err(told)
}

/// Reloads the plugins folder at SIGHUP.
async fn reload_at(mut hangup: Signal, app: Arc<App>, ended: CancellationToken) {
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

/// Creates and prints the first key of an empty store. It cannot be shown again.
async fn bootstrap(app: &App, url: &str) -> Result<(), Failure> {
    if !app.keys.list().is_empty() {
        return Ok(());
    }
    let company_id = CompanyId::parse("company-1").map_err(Failure::new)?;
    let request = KeyRequest {
        label: "first key".into(),
        company_id,
        scopes: Scope::ALL.to_vec(),
        expires_at: None,
        timezone: None,
        strict: false,
    };
    let (id, drawn) = key::generate().map_err(Failure::new)?;
    let preset = app.config.bootstrap_key.as_ref();
    let secret = preset.map_or(drawn.as_str(), Secret::expose);
    let key = request.into_key(id, secret, now());
    let entry = Entry::new(SERVER, Action::KeyCreated, &key.id, now()).of(&key.company_id).with("the first key");
    app.create_key(key, entry, None).await?;
    let shown = if preset.is_some() { "$HOOKMILL_BOOTSTRAP_KEY" } else { secret };
    for line in ["The first API key (company-1, every scope). It is shown only once, so save it:", ""] {
        say!("{line}");
    }
    say!("  {shown}");
    ["", "Try it:", ""].into_iter().for_each(|it| say!("{it}"));
    say!("  curl -s {url}/v1/tasks -H \"X-API-Key: {shown}\" -H 'Content-Type: application/json' \\");
    say!(
        "    -d '{{\"title\":\"Call back\",\"description\":\"Asks for a refill\",\"assigned_user_ids\":[\"user_1\"],\"created_by_id\":\"user_9\",\"deadline\":\"2026-12-01\"}}'"
    );
    say!();
    Ok(())
}

/// Returns a future that resolves at SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::new)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::new)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: finishing running requests"),
            _ = interrupt.recv() => tracing::info!("SIGINT: finishing running requests"),
        }
    })
}
