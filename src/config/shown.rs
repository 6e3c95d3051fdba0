//! Settings as the operator sees them. The type of a setting decides what is shown: a secret has no text to show, and a URL
//! only its server. Every field is named once, so that a new setting is a decision.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::watch::{PluginSource, Settings};
use super::{Config, ConsoleSettings, Limits, SEARCH_EVENTS, SenderPlaces};
use crate::auth::Senders;
use crate::model::peer::Network;
use crate::model::secret::Secret;
use crate::plugin::LoadLimits;
use crate::store::embedded::StoreOptions;
use crate::store::postgres::{DatabaseUrl, PostgresOptions};
use crate::system::rate::Rate;
use crate::system::trace::TraceSettings;

/// A setting of this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "Setting")]
pub struct ShownSetting {
    /// Its name in hookmill.toml, or of its environment variable.
    pub name: &'static str,
    /// Its value in words; null if it is not set. A secret is `(set)`.
    pub value: Option<String>,
    /// Whether it is the default.
    pub is_default: bool,
}

/// How a value is shown; `None` if it is not set.
trait ShownText {
    fn shown(&self) -> Option<String>;
}

/// A list of settings that grows.
#[derive(Default)]
struct ShownList(Vec<ShownSetting>);

impl ShownList {
    fn add<T: ShownText>(&mut self, name: &'static str, value: &T, default: &T) {
        let (value, default) = (value.shown(), default.shown());
        self.0.push(ShownSetting { name, is_default: value == default, value });
    }
}

impl<T: ShownText> ShownText for Option<T> {
    fn shown(&self) -> Option<String> {
        self.as_ref().and_then(ShownText::shown)
    }
}

impl<T: Display> ShownText for Vec<T> {
    fn shown(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }
}

impl ShownText for Secret {
    fn shown(&self) -> Option<String> {
        Some("(set)".into())
    }
}

impl ShownText for DatabaseUrl {
    fn shown(&self) -> Option<String> {
        Some(DatabaseUrl::shown(self))
    }
}

impl ShownText for Duration {
    fn shown(&self) -> Option<String> {
        let (seconds, millis) = (self.as_secs(), self.subsec_millis());
        Some(if millis == 0 { format!("{seconds} s") } else { format!("{} ms", self.as_millis()) })
    }
}

impl ShownText for chrono::Duration {
    fn shown(&self) -> Option<String> {
        let (days, hours) = (self.num_days(), self.num_hours());
        Some(if days * 24 == hours && days > 2 { format!("{days} days") } else { format!("{hours} h") })
    }
}

impl ShownText for Rate {
    fn shown(&self) -> Option<String> {
        Some(format!("{} a minute, {} at once", self.per_minute, self.burst))
    }
}

impl ShownText for PluginSource {
    fn shown(&self) -> Option<String> {
        let name = match self {
            Self::Folder => "folder",
            Self::Database => "database",
        };
        Some(name.into())
    }
}

/// A number of bytes.
struct Bytes(u64);

impl ShownText for Bytes {
    fn shown(&self) -> Option<String> {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = units.into_iter().find(|(bits, _)| self.0 > 0 && self.0.is_multiple_of(1 << bits));
        Some(whole.map_or(format!("{} bytes", self.0), |(bits, unit)| format!("{} {unit}", self.0 >> bits)))
    }
}

macro_rules! as_text {
    ($($Type:ty),+) => {$(
        impl ShownText for $Type {
            fn shown(&self) -> Option<String> {
                Some(self.to_string())
            }
        }
    )+};
}

as_text!(SocketAddr, usize, bool, f64);

impl ShownText for PathBuf {
    fn shown(&self) -> Option<String> {
        Some(self.display().to_string())
    }
}

impl Config {
    /// Returns every setting.
    #[must_use]
    pub fn shown(&self) -> Vec<ShownSetting> {
        let Self {
            listen,
            metrics_listen,
            metrics_token,
            data_dir,
            plugins_dir,
            trusted_proxies,
            bootstrap_key,
            // The secrets themselves; the files that they are in are among the places.
            senders: Senders { .. },
            sender_places: SenderPlaces { secrets_file, senders_dir },
            outbound_hosts,
            limits,
            store,
            database,
            plugin_source,
            watch: Settings { notifications, settle },
            loading,
            traces,
            console: ConsoleSettings { enabled, search_events },
        } = self;
        let mut list = ShownList::default();
        list.add("listen", listen, &SocketAddr::from(([127, 0, 0, 1], 8080)));
        list.add("metrics_listen", metrics_listen, &None);
        list.add("HOOKMILL_METRICS_TOKEN", metrics_token, &None);
        list.add("HOOKMILL_BOOTSTRAP_KEY", bootstrap_key, &None);
        list.add("data_dir", data_dir, &"data".into());
        list.add("plugins_dir", plugins_dir, &"plugins".into());
        list.add::<Vec<Network>>("trusted_proxies", trusted_proxies, &Vec::new());
        list.add("secrets_file", secrets_file, &None);
        list.add("senders_dir", senders_dir, &None);
        list.add("outbound.hosts", outbound_hosts, &Vec::new());
        list.add("console.enabled", enabled, &true);
        list.add("console.search_events", search_events, &SEARCH_EVENTS);
        shown_limits(&mut list, limits, &Limits::default());
        shown_store(&mut list, store, &StoreOptions::default());
        shown_database(&mut list, database.as_ref());
        list.add("plugins.source", plugin_source, &PluginSource::default());
        list.add("plugins.watch", notifications, &Settings::default().notifications);
        list.add("plugins.settle_ms", settle, &Settings::default().settle);
        shown_loading(&mut list, loading, &LoadLimits::default());
        shown_traces(&mut list, traces.as_ref());
        list.0
    }
}

fn shown_limits(list: &mut ShownList, it: &Limits, default: &Limits) {
    let Limits {
        queue,
        key_rate,
        body_bytes,
        header_bytes,
        connections,
        peer_connections,
        body_memory,
        unproven_body_memory,
        response_memory,
        decode_memory,
        page_bytes,
        concurrency,
        header_timeout,
        idle_timeout,
        write_timeout,
        body_timeout,
        request_timeout,
        drain_timeout,
    } = it;
    let size = |it: usize| Bytes(it as u64);
    list.add("limits.queue", queue, &default.queue);
    list.add("limits.key_per_minute", key_rate, &default.key_rate);
    list.add("limits.body_bytes", &size(*body_bytes), &size(default.body_bytes));
    list.add("limits.header_bytes", &size(*header_bytes), &size(default.header_bytes));
    list.add("limits.connections", connections, &default.connections);
    list.add("limits.peer_connections", peer_connections, &default.peer_connections);
    list.add("limits.body_memory_mib", &size(*body_memory), &size(default.body_memory));
    list.add("limits.unproven_body_memory_mib", &size(*unproven_body_memory), &size(default.unproven_body_memory));
    list.add("limits.response_memory_mib", &size(*response_memory), &size(default.response_memory));
    list.add("limits.decode_memory_mib", &size(*decode_memory), &size(default.decode_memory));
    list.add("limits.page_bytes", &size(*page_bytes), &size(default.page_bytes));
    list.add("limits.concurrency", concurrency, &default.concurrency);
    list.add("limits.header_timeout_ms", header_timeout, &default.header_timeout);
    list.add("limits.idle_timeout_ms", idle_timeout, &default.idle_timeout);
    list.add("limits.write_timeout_ms", write_timeout, &default.write_timeout);
    list.add("limits.body_timeout_ms", body_timeout, &default.body_timeout);
    list.add("limits.request_timeout_ms", request_timeout, &default.request_timeout);
    list.add("limits.drain_timeout_ms", drain_timeout, &default.drain_timeout);
}

fn shown_store(list: &mut ShownList, it: &StoreOptions, default: &StoreOptions) {
    let StoreOptions {
        segment_bytes,
        reserve_bytes,
        snapshot_bytes,
        idempotency,
        events,
        deleted_tasks,
        audit,
        // limits.page_bytes
        page_bytes: _,
        group_access,
        accept_loss,
    } = it;
    list.add("store.segment_mib", &Bytes(*segment_bytes), &Bytes(default.segment_bytes));
    list.add("store.reserve_mib", &Bytes(*reserve_bytes), &Bytes(default.reserve_bytes));
    list.add("store.snapshot_mib", &Bytes(*snapshot_bytes), &Bytes(default.snapshot_bytes));
    list.add("store.group_access", group_access, &default.group_access);
    list.add("--accept-loss", accept_loss, &default.accept_loss);
    list.add("retention.idempotency_hours", idempotency, &default.idempotency);
    list.add("retention.events_days", events, &default.events);
    list.add("retention.deleted_tasks_days", deleted_tasks, &default.deleted_tasks);
    list.add("retention.audit_days", audit, &default.audit);
}

fn shown_database(list: &mut ShownList, it: Option<&PostgresOptions>) {
    list.add("store.url", &it.map(|it| it.url.clone()), &None);
    let Some(it) = it else { return };
    let default = PostgresOptions::new(it.url.clone());
    list.add("store.pool", &it.pool, &default.pool);
    list.add("store.pool_wait_ms", &it.pool_wait, &default.pool_wait);
    list.add("store.lease_ms", &it.lease, &default.lease);
}

fn shown_loading(list: &mut ShownList, it: &LoadLimits, default: &LoadLimits) {
    // limits.body_bytes
    let LoadLimits { module_bytes, compile, compile_bytes, fixtures, body_bytes: _, schema } = it;
    list.add("plugins.module_mib", &Bytes(*module_bytes), &Bytes(default.module_bytes));
    list.add("plugins.compile_ms", compile, &default.compile);
    list.add("plugins.compile_mib", &Bytes(*compile_bytes), &Bytes(default.compile_bytes));
    list.add("plugins.fixtures_ms", fixtures, &default.fixtures);
    list.add("plugins.schema_ms", schema, &default.schema);
}

fn shown_traces(list: &mut ShownList, it: Option<&TraceSettings>) {
    // A path may contain a token of the collector.
    let server = |it: &TraceSettings| it.url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    list.add("traces.endpoint", &it.map(|it| vec![server(it)]), &None);
    let Some(TraceSettings { url: _, service_name, sample_ratio, timeout }) = it else { return };
    list.add("traces.service_name", &vec![service_name.clone()], &vec!["hookmill".to_owned()]);
    list.add("traces.sample_ratio", sample_ratio, &1.0);
    list.add("traces.timeout_ms", timeout, &Duration::from_secs(5));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Options;

    /// A secret that the console shows is in screenshots and in the history of browsers.
    #[test]
    fn no_setting_shows_a_secret() {
        let dir = tempfile::TempDir::new().unwrap();
        let secrets = dir.path().join("secrets.toml");
        std::fs::write(&secrets, "ACME = \"SECRET-of-a-sender-0123456789\"\n").unwrap();
        let file = dir.path().join("hookmill.toml");
        std::fs::write(&file, format!("secrets_file = {secrets:?}\n[limits]\nqueue = 7\n")).unwrap();
        let url = "postgres://SECRET-user:SECRET-password@127.0.0.1/db?application_name=SECRET-name";
        let options = Options {
            config: Some(file),
            database_url: Some(Secret::new(url.into())),
            data_dir: Some(dir.path().into()),
            ..Options::default()
        };
        let mut config = Config::load(&options).unwrap();
        config.metrics_token = Some(Secret::new("SECRET-of-metrics-0123456789".into()));
        config.bootstrap_key = Some(Secret::new("SECRET-of-the-first-key-0123".into()));
        config.traces = Some(TraceSettings::new("http://127.0.0.1:4318/SECRET-path").unwrap());
        let shown = config.shown();
        assert!(!format!("{shown:?}").contains("SECRET"), "{shown:?}");
        assert!(!serde_json::to_string(&shown).unwrap().contains("SECRET"));
        let value = |name: &str| shown.iter().find(|it| it.name == name).unwrap();
        for secret in ["HOOKMILL_METRICS_TOKEN", "HOOKMILL_BOOTSTRAP_KEY"] {
            assert_eq!((value(secret).value.as_deref(), value(secret).is_default), (Some("(set)"), false));
        }
        assert_eq!(value("traces.endpoint").value.as_deref(), Some("http://127.0.0.1:4318"));
        assert_eq!((value("limits.queue").value.as_deref(), value("limits.queue").is_default), (Some("7"), false));
        assert_eq!(value("limits.body_bytes").value.as_deref(), Some("1 MiB"));
        assert!(value("retention.events_days").is_default);
        assert!(value("store.url").value.is_some());
    }
}
