//! The structure of `hookmill.toml`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::ConfigError;
use super::watch::PluginSource;
use crate::model::peer::Network;

/// The content of `hookmill.toml`.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) listen: Option<SocketAddr>,
    pub(super) metrics_listen: Option<SocketAddr>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) plugins_dir: Option<PathBuf>,
    pub(super) trusted_proxies: Option<Vec<Network>>,
    pub(super) secrets_file: Option<PathBuf>,
    pub(super) senders_dir: Option<PathBuf>,
    pub(super) outbound: OutboundFile,
    pub(super) limits: LimitsFile,
    pub(super) store: StoreFile,
    pub(super) retention: RetentionFile,
    pub(super) plugins: PluginsFile,
    pub(super) traces: TracesFile,
    pub(super) console: ConsoleFile,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConsoleFile {
    pub(super) enabled: Option<bool>,
    pub(super) search_events: Option<usize>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OutboundFile {
    pub(super) hosts: Vec<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StoreFile {
    pub(super) url: Option<String>,
    pub(super) pool: Option<usize>,
    pub(super) pool_wait_ms: Option<u64>,
    pub(super) lease_ms: Option<u64>,
    pub(super) segment_mib: Option<u32>,
    pub(super) reserve_mib: Option<u32>,
    pub(super) snapshot_mib: Option<u32>,
    pub(super) group_access: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RetentionFile {
    pub(super) events_days: Option<u32>,
    pub(super) deleted_tasks_days: Option<u32>,
    pub(super) idempotency_hours: Option<u32>,
    pub(super) audit_days: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LimitsFile {
    pub(super) body_bytes: Option<usize>,
    pub(super) header_bytes: Option<usize>,
    pub(super) connections: Option<usize>,
    pub(super) peer_connections: Option<usize>,
    pub(super) body_memory_mib: Option<usize>,
    pub(super) unproven_body_memory_mib: Option<usize>,
    pub(super) response_memory_mib: Option<usize>,
    pub(super) decode_memory_mib: Option<usize>,
    pub(super) page_bytes: Option<usize>,
    pub(super) concurrency: Option<usize>,
    pub(super) header_timeout_ms: Option<u64>,
    pub(super) idle_timeout_ms: Option<u64>,
    pub(super) write_timeout_ms: Option<u64>,
    pub(super) body_timeout_ms: Option<u64>,
    pub(super) request_timeout_ms: Option<u64>,
    pub(super) drain_timeout_ms: Option<u64>,
    pub(super) queue: Option<usize>,
    pub(super) key_per_minute: Option<u32>,
    pub(super) key_burst: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PluginsFile {
    pub(super) source: Option<PluginSource>,
    pub(super) watch: Option<bool>,
    pub(super) settle_ms: Option<u64>,
    pub(super) module_mib: Option<u64>,
    pub(super) compile_ms: Option<u64>,
    pub(super) compile_mib: Option<u64>,
    pub(super) fixtures_ms: Option<u64>,
    pub(super) schema_ms: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TracesFile {
    pub(super) endpoint: Option<String>,
    pub(super) service_name: Option<String>,
    pub(super) sample_ratio: Option<f64>,
    pub(super) timeout_ms: Option<u64>,
}

pub(super) fn read_file(path: Option<&Path>) -> Result<(String, File), ConfigError> {
    let name = path.unwrap_or(Path::new("hookmill.toml"));
    match std::fs::read_to_string(name) {
        Ok(text) => parse(name, &text).map(|file| (name.display().to_string(), file)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && path.is_none() => {
            Ok((name.display().to_string(), File::default()))
        }
        Err(cause) => Err(ConfigError::Read { file: name.display().to_string(), cause }),
    }
}

fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    crate::format::parse::toml(text.trim_start_matches('\u{feff}'))
        .map_err(|cause| ConfigError::Parse { file: path.display().to_string(), cause })
}

#[cfg(test)]
mod tests;
