//! Settings: every file and environment variable is read here, checked once at the start, and nowhere else.
//!
//! A flag wins over its environment variable, that over `hookmill.toml`, that over the default.

mod file;
mod secret;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::key::LONGEST;
use crate::auth::limit::Rate;
use crate::peer::Network;
use crate::{plugin, store, watch};
use file::{LimitsFile, PluginsFile, RetentionFile, StoreFile, read_file};
pub use secret::{BOOTSTRAP_KEY_MIN, Secret, Secrets};
use secret::{bootstrap_key, read_secrets};

/// Longest retention, in days: a hundred years. More counts as this.
const RETENTION_DAYS_MAX: u32 = 36_500;
/// Longest memory for idempotency keys, in hours: four weeks, since each day of it is looked at. More counts as this.
const IDEMPOTENCY_HOURS_MAX: u32 = 672;
/// Largest `store.segment_mib`.
const SEGMENT_MIB_MAX: u32 = 1024;

/// The settings that have a flag, an environment variable and a line in `hookmill.toml`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Options {
    /// Settings file [default: hookmill.toml, where it exists]
    #[arg(long, env = "HOOKMILL_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Address and port to serve on [default: 127.0.0.1:8080]
    #[arg(long, env = "HOOKMILL_LISTEN", value_name = "ADDR:PORT", global = true)]
    pub listen: Option<SocketAddr>,
    /// Folder of the database; one server at a time [default: data]
    #[arg(long, env = "HOOKMILL_DATA_DIR", value_name = "DIR", global = true)]
    pub data_dir: Option<PathBuf>,
    /// Folder with one folder a plugin [default: plugins]
    #[arg(long, env = "HOOKMILL_PLUGINS_DIR", value_name = "DIR", global = true)]
    pub plugins_dir: Option<PathBuf>,
    /// Proxies whose X-Forwarded-For counts, such as 10.0.0.0/8,fd00::/8 [default: none]
    #[arg(long, env = "HOOKMILL_TRUSTED_PROXIES", value_name = "ADDR/BITS", value_delimiter = ',', global = true)]
    pub trusted_proxies: Option<Vec<Network>>,
}

/// What one request, and all of them together, may cost. `[limits]` in `hookmill.toml`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Most deliveries that wait to be worked on, of all integrations: 20,000. Of one integration 11,250.
    pub queue: usize,
    /// What each API key may do; all, where there is none.
    pub key_rate: Option<Rate>,
    /// `body_bytes`: largest body, 1 MiB. Beyond it: 413.
    pub body_bytes: usize,
    /// `header_bytes`: names and values of all headers together, 16 KiB. Beyond it: 431.
    pub header_bytes: usize,
    /// `connections`: open at once, 4,096. Beyond it the one that has waited longest is closed.
    pub connections: usize,
    /// `peer_connections`: of these, so many of one peer, 1,024. Beyond it the one that has waited longest is closed.
    pub peer_connections: usize,
    /// `body_memory_mib`: request bodies of those who have shown a key or a signature, in bytes: 256 MiB. Beyond it: 503.
    pub body_memory: usize,
    /// `unproven_body_memory_mib`: those of everybody else, in bytes: 64 MiB. Beyond it the oldest is given up.
    pub unproven_body_memory: usize,
    /// `response_memory_mib`: responses that their clients have not read, in bytes: 256 MiB. Beyond it: 503.
    pub response_memory: usize,
    /// `decode_memory_mib`: what large bodies become when they are decoded, in bytes: 512 MiB. Beyond it: waits, then 503.
    pub decode_memory: usize,
    /// `page_bytes`: JSON of a page of a list, 4 MiB. Beyond it the page ends early.
    pub page_bytes: usize,
    /// `concurrency`: requests at once, 1,024. Beyond it: 503 with `Retry-After`.
    pub concurrency: usize,
    /// `header_timeout_ms`: until a request's headers are complete, 10 s. Beyond it: closed.
    pub header_timeout: Duration,
    /// `idle_timeout_ms`: between the requests of a connection, 75 s, more than the 60 s of common proxies. Beyond it: closed.
    pub idle_timeout: Duration,
    /// `write_timeout_ms`: until the client reads more of a response, 30 s. Beyond it: closed.
    pub write_timeout: Duration,
    /// `body_timeout_ms`: until the whole body has come, 15 s. Beyond it: 408.
    pub body_timeout: Duration,
    /// `request_timeout_ms`: until the answer, 30 s. Beyond it: 503.
    pub request_timeout: Duration,
    /// `drain_timeout_ms`: for requests under way at shutdown, 30 s.
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
    /// Where to serve.
    pub listen: SocketAddr,
    /// The database's folder.
    pub data_dir: PathBuf,
    /// The plugins' folder.
    pub plugins_dir: PathBuf,
    /// Proxies whose `X-Forwarded-For` says who the peer is.
    pub trusted_proxies: Vec<Network>,
    /// `HOOKMILL_BOOTSTRAP_KEY`: the first key, where the database has none yet.
    pub bootstrap_key: Option<Secret>,
    /// What plugins verify their senders with.
    pub secrets: Secrets,
    /// Limits of the HTTP server.
    pub limits: Limits,
    /// How the database is run.
    pub store: store::embedded::Options,
    /// How the plugins folder is watched.
    pub watch: watch::Settings,
    /// What loading a plugin may cost.
    pub loading: plugin::LoadLimits,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {file}: {cause}")]
    Read {
        /// Its path.
        file: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file is not as it should be.
    #[error("{file}: {cause}")]
    Parse {
        /// Its path.
        file: String,
        /// Where and what.
        cause: String,
    },
    /// The preset key is too easy to guess.
    #[error(
        "HOOKMILL_BOOTSTRAP_KEY must have {BOOTSTRAP_KEY_MIN} to {LONGEST} ASCII characters, none of them blank; `openssl rand -hex 32` makes a good one"
    )]
    BootstrapKey,
    /// A limit of zero would refuse everything.
    #[error("{file}: {name} cannot be 0")]
    ZeroLimit {
        /// Its path.
        file: String,
        /// The limit, with its table.
        name: String,
    },
    /// A segment's places are 32-bit numbers.
    #[error("{file}: store.segment_mib has to be at most {SEGMENT_MIB_MAX}")]
    SegmentTooLarge {
        /// Its path.
        file: String,
    },
}

/// Where a user's tools keep what they can make again: `XDG_CACHE_HOME`, else `~/.cache` (XDG Base Directory
/// Specification 0.8).
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub fn user_cache() -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|it| it.join("hookmill"))
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file's name.
    pub fn load(options: &Options) -> Result<Self, ConfigError> {
        let (name, file) = read_file(options.config.as_deref())?;
        let (watch, loading) = plugins(&name, &file.plugins)?;
        let limits = limits(&name, &file.limits)?;
        let secrets = file.secrets_file.as_deref().map(read_secrets).transpose()?.unwrap_or_default();
        Ok(Self {
            listen: options.listen.or(file.listen).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))),
            data_dir: options.data_dir.clone().or(file.data_dir).unwrap_or_else(|| "data".into()),
            plugins_dir: options.plugins_dir.clone().or(file.plugins_dir).unwrap_or_else(|| "plugins".into()),
            trusted_proxies: options.trusted_proxies.clone().or(file.trusted_proxies).unwrap_or_default(),
            bootstrap_key: bootstrap_key()?,
            secrets,
            store: store::embedded::Options {
                page_bytes: limits.page_bytes,
                ..store_options(&name, &file.store, &file.retention)?
            },
            limits,
            watch,
            loading,
        })
    }
}

fn limits(file: &str, given: &LimitsFile) -> Result<Limits, ConfigError> {
    let default = Limits::default();
    let size = |name, given: Option<usize>, default| match given {
        Some(0) => Err(zero(file, "limits", name)),
        given => Ok(given.unwrap_or(default)),
    };
    let body_bytes = size("body_bytes", given.body_bytes, default.body_bytes)?;
    // A company's half holds a full batch, and a peer's quarter a body that is being put together.
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

fn store_options(file: &str, given: &StoreFile, kept: &RetentionFile) -> Result<store::embedded::Options, ConfigError> {
    let default = store::embedded::Options::default();
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
        _ => Ok(store::embedded::Options {
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
        },
    ))
}
