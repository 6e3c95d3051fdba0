//! From a folder to an [`Integration`]: manifest, schema, module, fixtures, in this order.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Duration, Utc};

use super::manifest::{Manifest, Mode};
use super::{Beside, Dedupe, Integration, Later, Named, Redact};
use crate::auth::CompanyId;
use crate::auth::limit::TokenBucket;
use crate::config::Secrets;
use crate::dry_run::Shadow;
use crate::event::{IntegrationName, Provenance};
use crate::payload::Rules;
use crate::plugin::{Host, LoadError, Plugin, fixtures};
use crate::schema::Schema;

/// Why a folder does not go live. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum LoadFailure {
    /// A file cannot be read.
    #[error("{file}: cannot be read: {cause}", file = file.display())]
    Read {
        /// Its path.
        file: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// plugin.toml is wrong.
    #[error("{file}: {cause}", file = file.display())]
    Manifest {
        /// Its path.
        file: PathBuf,
        /// What, as sentences.
        cause: String,
    },
    /// The payload's schema is not a JSON Schema that can be used.
    #[error("{file}: {cause}", file = file.display())]
    Schema {
        /// Its path.
        file: PathBuf,
        /// Where and what.
        cause: String,
    },
    /// The module is not a plugin.
    #[error(transparent)]
    Module(#[from] LoadError),
    /// The plugin does not do what its own fixtures say.
    #[error("{file}: {cause}", file = file.display())]
    Fixture {
        /// The fixture's path.
        file: PathBuf,
        /// What came instead.
        cause: String,
    },
}

impl LoadFailure {
    /// SHA-256 of the module, where it is only not compiled yet.
    #[must_use]
    pub fn late(&self) -> Option<[u8; 32]> {
        if let Self::Module(error) = self { error.late } else { None }
    }
}

/// Loads one folder and runs its fixtures.
///
/// # Errors
/// The first thing that is wrong, with its file.
pub fn load(host: &Host, folder: &Path, secrets: &Secrets, now: DateTime<Utc>) -> Result<Integration, LoadFailure> {
    let manifest = manifest(folder)?;
    let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
    check_name(folder, &manifest).map_err(wrong)?;
    tested(host, folder, manifest, secrets, now)
}

fn manifest(folder: &Path) -> Result<Manifest, LoadFailure> {
    let file = folder.join("plugin.toml");
    Manifest::parse(&read(&file)?).map_err(|cause| LoadFailure::Manifest { file, cause })
}

/// An integration that does what its fixtures say.
fn tested(
    host: &Host,
    folder: &Path,
    manifest: Manifest,
    secrets: &Secrets,
    now: DateTime<Utc>,
) -> Result<Integration, LoadFailure> {
    let schema = read_schema(folder, &manifest)?;
    let plugin = host.load(&manifest.name, &folder.join(&manifest.module), manifest.limits())?;
    let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
    let integration = assemble(manifest, schema, plugin, secrets, now).map_err(wrong)?;
    // Neither the fixtures' time nor that of their calls is to be spent waiting for the processor.
    let _turn = host.turn();
    fixtures::run_all(&integration, &folder.join("fixtures"), host.limits().fixtures)?;
    Ok(integration)
}

/// The folder of the shadow that a folder's plugin.toml names, even if it does not exist.
pub(crate) fn shadow_of(folder: &Path) -> Option<PathBuf> {
    let manifest = manifest(folder).ok()?;
    manifest.shadow.map(|named| shadow_folder(folder, &named))
}

fn shadow_folder(folder: &Path, named: &str) -> PathBuf {
    // Beside the live one, as the manifest's schema requires. Symbolic links are not resolved.
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    whole.parent().unwrap_or(&whole).join(named.trim_start_matches("../"))
}

/// The candidate that plugin.toml names, started. One that cannot be started is none: the live plugin does without.
pub(crate) fn shadow(
    host: &Host,
    folder: &Path,
    live: &Integration,
    secrets: &Secrets,
    now: DateTime<Utc>,
) -> Option<Beside> {
    let named = manifest(folder).ok()?.shadow?;
    let start = || {
        let folder = shadow_folder(folder, &named);
        let mut candidate = tested(host.aside(), &folder, manifest(&folder)?, secrets, now)?;
        // Its calls get the same context as those of the live one.
        candidate.name = live.name.clone();
        candidate.company_id = live.company_id.clone();
        Shadow::start(candidate).map_err(|cause| LoadFailure::Read { file: folder, cause })
    };
    let started = start();
    let late = started.as_ref().err().and_then(LoadFailure::late);
    Some(Beside { folder: named, shadow: started.map_err(|e| e.to_string()), late })
}

pub(super) fn check_name(folder: &Path, manifest: &Manifest) -> Result<(), String> {
    // A folder named "." has a name all the same.
    let whole = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    if whole.file_name().is_some_and(|name| name == manifest.name.as_str()) {
        return Ok(());
    }
    Err(format!("name: is \"{}\", and the folder has another name; make them the same", manifest.name))
}

pub(super) fn read_schema(folder: &Path, manifest: &Manifest) -> Result<Schema, LoadFailure> {
    let file = folder.join(&manifest.schema);
    Schema::compile(&read(&file)?).map_err(|e| LoadFailure::Schema { file, cause: e.to_string() })
}

/// The parts put together; the error is about a field of plugin.toml.
pub(super) fn assemble(
    manifest: Manifest,
    schema: Schema,
    plugin: Plugin,
    secrets: &Secrets,
    now: DateTime<Utc>,
) -> Result<Integration, String> {
    let provenance = Provenance {
        plugin_version: manifest.version.clone(),
        module_sha256: hex(plugin.sha256()),
        schema_sha256: hex(schema.sha256()),
    };
    let (dedupe, redact) = (dedupe(&manifest), Redact::new(&manifest.redact));
    not_redacted(&redact, &dedupe, manifest.order_by.as_deref())?;
    Ok(Integration {
        company_id: CompanyId::parse(&manifest.company_id).map_err(|e| format!("company_id: {e}"))?,
        rules: Rules { strict: manifest.strict, timezone: timezone(&manifest)? },
        auth: manifest.auth.auth(secrets)?,
        dedupe,
        redact,
        keep: manifest.keep_days.map(|it| Duration::days(it.into())),
        later: Later { always: manifest.mode == Mode::Async, order_by: manifest.order_by.clone() },
        rate: manifest.rate().map(|rate| (rate, TokenBucket::of(rate))),
        config: serde_json::Value::Object(manifest.config).to_string().into(),
        name: IntegrationName(manifest.name.into()),
        version: manifest.version,
        description: manifest.description,
        schema,
        plugin,
        provenance,
        loaded_at: now,
        beside: OnceLock::new(),
    })
}

/// Values that identify or order deliveries must not be redacted.
fn not_redacted(redact: &Redact, dedupe: &Dedupe, order_by: Option<&str>) -> Result<(), String> {
    let by = dedupe.by.iter().filter_map(|it| if let Named::Body(pointers) = it { Some(pointers) } else { None });
    let named = by
        .flatten()
        .map(String::as_str)
        .map(|it| ("a delivery is known by", it))
        .chain(order_by.map(|it| ("order_by names", it)));
    match named.into_iter().find(|(_, pointer)| redact.covers(pointer)) {
        None => Ok(()),
        Some((what, pointer)) => Err(format!("redact: {what} {pointer}, which would be replaced")),
    }
}

/// The configured place first, then the provider's own.
fn dedupe(manifest: &Manifest) -> Dedupe {
    let (own, hours) = manifest.auth.deliveries();
    let configured = manifest.dedupe.pointers().map(Named::Body);
    let window = Duration::hours(manifest.dedupe.hours.unwrap_or(hours).into());
    Dedupe { by: configured.into_iter().chain(own).collect(), window }
}

pub(super) fn timezone(manifest: &Manifest) -> Result<chrono_tz::Tz, String> {
    let zone = manifest.timezone.as_deref().unwrap_or("UTC");
    zone.parse().map_err(|_| format!("timezone: \"{zone}\" is no IANA zone such as Europe/Berlin"))
}

/// Largest manifest, schema or fixture, in bytes.
const TEXT_BYTES: u64 = 16 << 20;

/// A folder's text file. Only a regular file is opened: opening a pipe would block.
pub(crate) fn read(file: &Path) -> Result<String, LoadFailure> {
    let failed = |cause| LoadFailure::Read { file: file.to_owned(), cause };
    let metadata = std::fs::metadata(file).map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(std::io::Error::other("it is no file")));
    }
    if metadata.len() > TEXT_BYTES {
        return Err(failed(std::io::Error::other(format!("it has more than {TEXT_BYTES} bytes"))));
    }
    std::fs::read_to_string(file).map_err(failed)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The built-in way in of `POST /v1/tasks`.
#[must_use]
pub fn direct() -> IntegrationName {
    IntegrationName(Arc::from("tasks"))
}
