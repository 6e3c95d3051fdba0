//! Settings: every file and environment variable is read here, and checked once at the start.
//!
//! Precedence: flag, environment variable, `hookmill.toml`, default.

mod database;
mod error;
mod file;
mod secret;
mod secrets_file;
mod senders;
mod shown;
mod traces;
pub(super) mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::Senders;
use crate::model::peer::Network;
use crate::model::secret::Secret;
use crate::system::rate::Rate;
use crate::system::trace::TraceSettings;
use crate::{plugin, store};
use file::{LimitsFile, PluginsFile, RetentionFile, StoreFile, read_file};
use secret::preset;
pub use secrets_file::SecretsFile;
pub use senders::SenderPlaces;
pub use shown::ShownSetting;
use traces::traces;

pub use error::{ConfigError, PRESET_KEY_MIN};

/// Variable of the first API key.
const BOOTSTRAP_KEY: &str = "HOOKMILL_BOOTSTRAP_KEY";
/// Variable of the token for `/metrics`.
const METRICS_TOKEN: &str = "HOOKMILL_METRICS_TOKEN";
/// Maximum retention, in days (a hundred years). Higher values are reduced to this.
const RETENTION_DAYS_MAX: u32 = 36_500;

/// Maximum retention of idempotency keys, in hours (four weeks), because a lookup checks each day of it. Higher
/// values are reduced to this.
const IDEMPOTENCY_HOURS_MAX: u32 = 672;

/// Maximum of `store.segment_mib`.
const SEGMENT_MIB_MAX: u32 = 1024;

/// Settings that the command line or the environment can override; `None` leaves the line in `hookmill.toml`, or the default.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Settings file; `hookmill.toml`, if it exists.
    pub config: Option<PathBuf>,
    /// Address and port to serve on.
    pub listen: Option<SocketAddr>,
    /// Address and port for `/metrics` alone.
    pub metrics_listen: Option<SocketAddr>,
    /// Data directory.
    pub data_dir: Option<PathBuf>,
    /// URL of the PostgreSQL database.
    pub database_url: Option<Secret>,
    /// Plugins folder.
    pub plugins_dir: Option<PathBuf>,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Option<Vec<Network>>,
    /// Secrets and sender files need not be readable, for a command that does not use them.
    pub without_senders: bool,
}

/// Limits of requests; `[limits]` in `hookmill.toml`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// `queue`: maximum number of queued deliveries of all integrations; 20,000 by default. A single integration
    /// gets at most 11,250 of them.
    pub queue: usize,
    /// Rate limit per API key; `None` is unlimited.
    pub key_rate: Option<Rate>,
    /// `body_bytes`: maximum size of a body; 1 MiB by default. Otherwise 413.
    pub body_bytes: usize,
    /// `header_bytes`: maximum size of all header names and values together; 16 KiB by default. Otherwise 431.
    pub header_bytes: usize,
    /// `connections`: maximum number of open connections; 4,096 by default. Above it, the connection that has been
    /// idle longest is closed.
    pub connections: usize,
    /// `peer_connections`: maximum number of open connections of one peer; 1,024 by default. Above it, its
    /// connection that has been idle longest is closed.
    pub peer_connections: usize,
    /// `body_memory_mib`: memory for bodies of authenticated requests, in bytes; 256 MiB by default. Otherwise 503.
    pub body_memory: usize,
    /// `unproven_body_memory_mib`: memory for bodies of other requests, in bytes; 64 MiB by default. Above it, the
    /// oldest is dropped.
    pub unproven_body_memory: usize,
    /// `response_memory_mib`: memory for responses that clients have not read, in bytes; 256 MiB by default.
    /// Otherwise 503.
    pub response_memory: usize,
    /// `decode_memory_mib`: memory for large decoded bodies, in bytes; 512 MiB by default. Otherwise the request
    /// waits, then gets 503.
    pub decode_memory: usize,
    /// `page_bytes`: maximum size of a page of a list as JSON, in bytes; 4 MiB by default. Above it, the page ends
    /// early.
    pub page_bytes: usize,
    /// `concurrency`: maximum number of concurrent requests; 1,024 by default. Otherwise 503 with `Retry-After`.
    pub concurrency: usize,
    /// `header_timeout_ms`: time until a request's headers are complete; 10 s by default. Then the connection is
    /// closed.
    pub header_timeout: Duration,
    /// `idle_timeout_ms`: time between the requests of a connection; 75 s by default, more than the 60 s of common
    /// proxies. Then the connection is closed.
    pub idle_timeout: Duration,
    /// `write_timeout_ms`: time until the client reads more of a response; 30 s by default. Then the connection is
    /// closed.
    pub write_timeout: Duration,
    /// `body_timeout_ms`: time until the whole body has arrived; 15 s by default. Then 408.
    pub body_timeout: Duration,
    /// `request_timeout_ms`: time until the response; 30 s by default. Then 503.
    pub request_timeout: Duration,
    /// `drain_timeout_ms`: time for running requests at shutdown; 30 s by default.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue: 20_000,
            key_rate: None,
            body_bytes: 1024 * 1024,
            header_bytes: 16 * 1024,
            connections: 4096,
            peer_connections: 1024,
            body_memory: 256 << 20,
            unproven_body_memory: 64 << 20,
            response_memory: 256 << 20,
            decode_memory: 512 << 20,
            page_bytes: 4 << 20,
            concurrency: 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// The checked settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Address to serve `/metrics` on; `None` serves it on `listen`.
    pub metrics_listen: Option<SocketAddr>,
    /// `HOOKMILL_METRICS_TOKEN`: the token for `/metrics`.
    pub metrics_token: Option<Secret>,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The plugins folder.
    pub plugins_dir: PathBuf,
    /// Proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Vec<Network>,
    /// `HOOKMILL_BOOTSTRAP_KEY`: the first key, if the store has none yet.
    pub bootstrap_key: Option<Secret>,
    /// Sender files, and secrets to authenticate senders with, as they were at the start.
    pub senders: Senders,
    /// Where those are read from.
    pub sender_places: SenderPlaces,
    /// `outbound.hosts`: hosts that keys of senders may be fetched from.
    pub outbound_hosts: Vec<String>,
    /// Limits of the HTTP server.
    pub limits: Limits,
    /// Settings of the store in the data directory.
    pub store: store::embedded::StoreOptions,
    /// Settings of the PostgreSQL database; `None` keeps the data in the data directory.
    pub database: Option<store::postgres::PostgresOptions>,
    /// `plugins.source`: where plugins come from; their folder by default.
    pub plugin_source: watch::PluginSource,
    /// How the plugins folder is watched.
    pub watch: watch::Settings,
    /// Limits for loading a plugin.
    pub loading: plugin::LoadLimits,
    /// Where spans go; traces are off without it.
    pub traces: Option<TraceSettings>,
    /// Settings of the console.
    pub console: ConsoleSettings,
}

/// Settings of the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsoleSettings {
    /// `console.enabled`: whether it is served; it is by default.
    pub enabled: bool,
    /// `console.search_events`: the newest events whose payloads can be searched; 0 turns the search off.
    pub search_events: usize,
}

/// Default of `console.search_events`.
const SEARCH_EVENTS: usize = 1_000_000;

/// Returns the user's cache directory: `XDG_CACHE_HOME`, or else `~/.cache` (XDG Base Directory Specification 0.8).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn user_cache() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|it| it.join("hookmill"))
}

/// Directory of the active plugins of the database, in the data directory.
const ACTIVE_PLUGINS: &str = "plugins-active";

impl Config {
    /// Returns the folder whose plugins are live: that of the operator, or that with the active plugins of the database.
    #[must_use]
    pub fn live_plugins_dir(&self) -> PathBuf {
        match self.plugin_source {
            watch::PluginSource::Folder => self.plugins_dir.clone(),
            watch::PluginSource::Database => self.data_dir.join(ACTIVE_PLUGINS),
        }
    }

    /// Reads and checks all settings.
    ///
    /// # Errors
    /// The first problem, with the file's name.
    pub fn load(options: &Options) -> Result<Self, ConfigError> {
        let (name, file) = read_file(options.config.as_deref())?;
        let (watch, loading) = plugins(&name, &file.plugins)?;
        let limits = limits(&name, &file.limits)?;
        let sender_places = SenderPlaces { secrets_file: file.secrets_file, senders_dir: file.senders_dir };
        let loading = plugin::LoadLimits { body_bytes: limits.body_bytes, ..loading };
        let store = store::embedded::StoreOptions {
            page_bytes: limits.page_bytes,
            ..store_options(&name, &file.store, &file.retention)?
        };
        let database = database::options(&name, options.database_url.as_ref(), &file.store, &store)?;
        Ok(Self {
            listen: options.listen.or(file.listen).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            metrics_listen: options.metrics_listen.or(file.metrics_listen),
            metrics_token: preset(METRICS_TOKEN)?,
            data_dir: options.data_dir.clone().or(file.data_dir).unwrap_or_else(|| "data".into()),
            plugins_dir: options.plugins_dir.clone().or(file.plugins_dir).unwrap_or_else(|| "plugins".into()),
            trusted_proxies: options.trusted_proxies.clone().or(file.trusted_proxies).unwrap_or_default(),
            bootstrap_key: preset(BOOTSTRAP_KEY)?,
            senders: if options.without_senders {
                sender_places.read_again(&Senders::default()).0
            } else {
                sender_places.read()?
            },
            sender_places,
            outbound_hosts: outbound_hosts(&name, file.outbound.hosts)?,
            store,
            database,
            limits,
            plugin_source: file.plugins.source.unwrap_or_default(),
            watch,
            loading,
            traces: traces(&name, &file.traces)?,
            console: ConsoleSettings {
                enabled: file.console.enabled.unwrap_or(true),
                search_events: file.console.search_events.unwrap_or(SEARCH_EVENTS),
            },
        })
    }
}

/// Checks that each entry can be a host: a pattern that is never matched refuses deliveries later, when keys are fetched.
fn outbound_hosts(file: &str, hosts: Vec<String>) -> Result<Vec<String>, ConfigError> {
    let is_label =
        |it: &str| it == "*" || (!it.is_empty() && it.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-'));
    let without_port = |it: &str| match it.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
        _ => it.to_owned(),
    };
    let is_host = |it: &str| it.split('.').all(is_label) && it.split('.').any(|it| it != "*");
    match hosts.iter().find(|it| !is_host(&without_port(it))) {
        Some(wrong) => Err(ConfigError::Parse {
            file: file.to_owned(),
            cause: format!(
                "outbound.hosts: {wrong:?} is not a host's name, such as \"www.googleapis.com\" or \"sns.*.amazonaws.com\"; leave scheme and path out"
            ),
        }),
        None => Ok(hosts),
    }
}

fn limits(file: &str, given: &LimitsFile) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let size = |name, given: Option<usize>, default| match given {
        Some(0) => Err(zero(file, "limits", name)),
        given => Ok(given.unwrap_or(default)),
    };
    let body_bytes = size("body_bytes", given.body_bytes, default.body_bytes)?;
    // Minimums, so that a company's half fits a full batch, and a peer's quarter a body that is being assembled.
    let bodies = |times: usize, default: usize| default.max(body_bytes.saturating_mul(times));
    let mib = |name, given: Option<usize>, default| size(name, given.map(|it| it.saturating_mul(1 << 20)), default);
    let time = |name, given: Option<u64>, default| match given {
        Some(0) => Err(zero(file, "limits", name)),
        given => Ok(given.map_or(default, Duration::from_millis)),
    };
    let key_rate = match (given.key_per_minute, given.key_burst) {
        (Some(0), _) => return Err(zero(file, "limits", "key_per_minute")),
        (_, Some(0)) => return Err(zero(file, "limits", "key_burst")),
        (per_minute, burst) => per_minute.map(|it| Rate { per_minute: it, burst: burst.unwrap_or(it) }),
    };
    Ok(Limits {
        queue: size("queue", given.queue, default.queue)?,
        key_rate,
        body_bytes,
        header_bytes: size("header_bytes", given.header_bytes, default.header_bytes)?,
        peer_connections: size("peer_connections", given.peer_connections, default.peer_connections)?,
        body_memory: mib("body_memory_mib", given.body_memory_mib, bodies(64, default.body_memory))?,
        unproven_body_memory: mib(
            "unproven_body_memory_mib",
            given.unproven_body_memory_mib,
            bodies(8, default.unproven_body_memory),
        )?,
        response_memory: mib("response_memory_mib", given.response_memory_mib, bodies(64, default.response_memory))?,
        decode_memory: mib("decode_memory_mib", given.decode_memory_mib, default.decode_memory)?,
        page_bytes: size("page_bytes", given.page_bytes, default.page_bytes)?,
        connections: size("connections", given.connections, default.connections)?,
        concurrency: size("concurrency", given.concurrency, default.concurrency)?,
        header_timeout: time("header_timeout_ms", given.header_timeout_ms, default.header_timeout)?,
        idle_timeout: time("idle_timeout_ms", given.idle_timeout_ms, default.idle_timeout)?,
        write_timeout: time("write_timeout_ms", given.write_timeout_ms, default.write_timeout)?,
        body_timeout: time("body_timeout_ms", given.body_timeout_ms, default.body_timeout)?,
        request_timeout: time("request_timeout_ms", given.request_timeout_ms, default.request_timeout)?,
        drain_timeout: time("drain_timeout_ms", given.drain_timeout_ms, default.drain_timeout)?,
    })
}

fn zero(file: &str, table: &str, name: &str) -> ConfigError {
    ConfigError::ZeroLimit { file: file.into(), name: format!("{table}.{name}") }
}

fn store_options(
    file: &str,
    given: &StoreFile,
    kept: &RetentionFile,
) -> Result<store::embedded::StoreOptions, ConfigError> {
    let default = store::embedded::StoreOptions::default();
    let mib = |given: Option<u32>, default| given.map_or(default, |it| u64::from(it) << 20);
    let days = |given: Option<u32>, default| match given {
        None => default,
        Some(0) => None,
        Some(days) => Some(chrono::Duration::days(i64::from(days.min(RETENTION_DAYS_MAX)))),
    };
    match (given.segment_mib, given.snapshot_mib, kept.idempotency_hours) {
        (Some(0), ..) => Err(zero(file, "store", "segment_mib")),
        (_, Some(0), _) => Err(zero(file, "store", "snapshot_mib")),
        (.., Some(0)) => Err(zero(file, "retention", "idempotency_hours")),
        (Some(mib), ..) if mib > SEGMENT_MIB_MAX => Err(ConfigError::SegmentTooLarge { file: file.into() }),
        _ => Ok(store::embedded::StoreOptions {
            segment_bytes: mib(given.segment_mib, default.segment_bytes),
            reserve_bytes: mib(given.reserve_mib, default.reserve_bytes),
            snapshot_bytes: mib(given.snapshot_mib, default.snapshot_bytes),
            idempotency: kept
                .idempotency_hours
                .map_or(default.idempotency, |it| chrono::Duration::hours(i64::from(it.min(IDEMPOTENCY_HOURS_MAX)))),
            events: days(kept.events_days, default.events),
            deleted_tasks: days(kept.deleted_tasks_days, default.deleted_tasks),
            audit: days(kept.audit_days, default.audit),
            page_bytes: default.page_bytes,
            group_access: given.group_access.unwrap_or(default.group_access),
            accept_loss: default.accept_loss,
        }),
    }
}

fn plugins(file: &str, given: &PluginsFile) -> Result<(watch::Settings, plugin::LoadLimits), ConfigError> {
    let (watch, loading) = (watch::Settings::default(), plugin::LoadLimits::default());
    for (name, value) in [
        ("module_mib", given.module_mib),
        ("compile_ms", given.compile_ms),
        ("compile_mib", given.compile_mib),
        ("fixtures_ms", given.fixtures_ms),
        ("schema_ms", given.schema_ms),
    ] {
        if value == Some(0) {
            return Err(zero(file, "plugins", name));
        }
    }
    let time = |given: Option<u64>, default| given.map_or(default, Duration::from_millis);
    Ok((
        watch::Settings {
            notifications: given.watch.unwrap_or(watch.notifications),
            settle: time(given.settle_ms, watch.settle),
        },
        plugin::LoadLimits {
            module_bytes: given.module_mib.map_or(loading.module_bytes, |mib| mib.saturating_mul(1 << 20)),
            compile: time(given.compile_ms, loading.compile),
            compile_bytes: given.compile_mib.map_or(loading.compile_bytes, |mib| mib.saturating_mul(1 << 20)),
            fixtures: time(given.fixtures_ms, loading.fixtures),
            schema: time(given.schema_ms, loading.schema),
            ..loading
        },
    ))
}
