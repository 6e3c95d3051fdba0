//! Loads a folder as an [`Integration`]: manifest, schema, module, fixtures, in this order.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Duration, Utc};

use super::checks::Checks;
use super::dedupe::{Dedupe, IdSource, Later};
use super::files::{LoadFailure, read};
use super::fixtures;
use super::live::Integration;
use super::manifest::{Manifest, Mode};
use super::redact::Redact;
use super::rejections::Rejections;
use super::sender::Auth;
use crate::auth::Secrets;
use crate::format::payload::Rules;
use crate::format::schema::Schema;
use crate::model::company::CompanyId;
use crate::model::event::Provenance;
use crate::model::headers::SECRET_HEADERS;
use crate::model::ids::IntegrationName;
use crate::plugin::{Host, Plugin};
use crate::system::folder::{Folder, MANIFEST_BYTES, SCHEMA_BYTES};
use crate::system::rate::TokenBucket;

/// Loads a folder and runs its fixtures.
///
/// # Errors
/// The first problem, with its file.
pub fn load(host: &Host, folder: &Folder, secrets: &Secrets, now: DateTime<Utc>) -> Result<Integration, LoadFailure> {
    // Changes in a folder that cannot be listed would remain unnoticed.
    folder.list(".").map_err(|cause| LoadFailure::Read { file: folder.path().to_owned(), cause })?;
    let manifest = manifest(folder)?;
    let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
    check_name(folder, &manifest).map_err(wrong)?;
    tested(host, folder, manifest, secrets, now)
}

fn manifest(folder: &Folder) -> Result<Manifest, LoadFailure> {
    let text = read_manifest(folder)?;
    Manifest::parse(&text).map_err(|cause| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause })
}

pub(super) fn read_manifest(folder: &Folder) -> Result<String, LoadFailure> {
    read(folder, "plugin.toml", MANIFEST_BYTES)
}

/// Opens a folder in the plugins folder.
///
/// # Errors
/// Fails if it cannot be opened.
pub(crate) fn open_in(plugins: &std::path::Path, name: &std::ffi::OsStr) -> Result<Folder, LoadFailure> {
    Folder::open_in(plugins, name).map_err(|cause| LoadFailure::Read { file: plugins.join(name), cause })
}

/// Returns an integration that has passed its fixtures.
fn tested(
    host: &Host,
    folder: &Folder,
    manifest: Manifest,
    secrets: &Secrets,
    now: DateTime<Utc>,
) -> Result<Integration, LoadFailure> {
    let schema = read_schema(folder, &manifest)?.within(host.limits().schema);
    let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
    let company = company(&manifest).map_err(wrong)?;
    let plugin = host.load(&company, &manifest.name, folder, &manifest.module, manifest.limits())?;
    let body_bytes = manifest.body_bytes().unwrap_or(host.limits().body_bytes);
    let mut integration = assemble(manifest, schema, plugin, secrets, now).map_err(wrong)?;
    integration.rules.body_bytes = body_bytes;
    // With a permit, so that the fixtures' time is not spent waiting for the processor.
    let _turn = host.turn(integration.company_id.as_str());
    fixtures::run_all(&integration, folder, host.limits().fixtures)?;
    Ok(integration)
}

/// Returns the folder of the shadow that a folder's plugin.toml names, if there is one.
pub(crate) fn shadow_of(folder: &Folder) -> Option<Folder> {
    let named = manifest(folder).ok()?.shadow?;
    folder.sibling(shadow_name(&named)).ok()
}

/// The shadow's folder is next to the live one, as the manifest's schema requires.
fn shadow_name(named: &str) -> &str {
    named.trim_start_matches("../")
}

/// Returns the company that a folder's plugin.toml names, if it can be read.
pub(crate) fn company_of(folder: &Folder) -> Option<CompanyId> {
    company(&manifest(folder).ok()?).ok()
}

/// A candidate that plugin.toml names as its shadow.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Its folder, as in plugin.toml.
    pub(crate) folder: String,
    /// The loaded candidate, or why it cannot be loaded. The live plugin does not depend on it.
    pub(crate) loaded: Result<Integration, LoadFailure>,
}

/// Loads the shadow that plugin.toml names, if it names one.
pub(crate) fn candidate(
    host: &Host,
    folder: &Folder,
    live: &Integration,
    secrets: &Secrets,
    now: DateTime<Utc>,
) -> Option<Candidate> {
    let named = manifest(folder).ok()?.shadow?;
    let load = || {
        let failed = |cause| LoadFailure::Read { file: PathBuf::from(&named), cause };
        let folder = folder.sibling(shadow_name(&named)).map_err(failed)?;
        let manifest = manifest(&folder)?;
        // Its report is shown to the live plugin's company, so it must not contain another company's `[config]`.
        if manifest.company_id != live.company_id.as_str() {
            let cause = "company_id: a shadow must belong to the same company as the live plugin".to_owned();
            return Err(LoadFailure::Manifest { file: folder.join("plugin.toml"), cause });
        }
        let mut candidate = tested(host.aside(), &folder, manifest, secrets, now)?;
        // Its calls get the same context as those of the live plugin.
        candidate.name = live.name.clone();
        Ok(candidate)
    };
    let loaded = load();
    Some(Candidate { folder: named, loaded })
}

pub(super) fn check_name(folder: &Folder, manifest: &Manifest) -> Result<(), String> {
    // A folder that is named "." has a name too.
    let whole = std::path::absolute(folder.path()).unwrap_or_else(|_| folder.path().to_owned());
    if whole.file_name().is_some_and(|name| name == manifest.name.as_str()) {
        return Ok(());
    }
    Err("name: differs from the folder's name; make them equal".into())
}

pub(super) fn read_schema(folder: &Folder, manifest: &Manifest) -> Result<Schema, LoadFailure> {
    let text = read(folder, &manifest.schema, SCHEMA_BYTES)?;
    Schema::compile(&text)
        .map_err(|e| LoadFailure::Schema { file: folder.join(&manifest.schema), cause: e.to_string() })
}

/// Combines the parts. An error is about a field of plugin.toml.
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
    let (weak_secrets, auth) = (manifest.auth.weak(secrets)?, manifest.auth.auth(secrets)?);
    let keep_headers = keep_headers(&manifest, &auth, &dedupe)?;
    Ok(Integration {
        company_id: company(&manifest)?,
        rules: rules(&manifest, &auth)?,
        auth,
        weak_secrets,
        keep_headers,
        dedupe,
        redact,
        keep: manifest.keep_days.map(|it| Duration::days(it.into())),
        later: Later { always: manifest.mode == Mode::Async, order_by: manifest.order_by.clone() },
        rejections: Rejections::default(),
        rate: manifest.rate().map(|rate| (rate, TokenBucket::of(rate))),
        config: serde_json::Value::Object(manifest.config).to_string().into(),
        name: IntegrationName(manifest.name.into()),
        version: manifest.version,
        description: manifest.description,
        schema: Arc::new(schema),
        checks: Checks::default(),
        plugin,
        provenance,
        loaded_at: now,
        series: OnceLock::new(),
    })
}

/// Returns how bodies are read. A sender that signs its bodies sends no wrappers of workflow tools.
fn rules(manifest: &Manifest, auth: &Auth) -> Result<Rules, String> {
    let unwrap = !matches!(auth, Auth::Signature(_));
    Ok(Rules { strict: manifest.strict, timezone: timezone(manifest)?, unwrap, ..Rules::default() })
}

pub(super) fn company(manifest: &Manifest) -> Result<CompanyId, String> {
    CompanyId::parse(&manifest.company_id).map_err(|e| format!("company_id: {e}"))
}

/// Checks that values which identify or order deliveries are not redacted.
fn not_redacted(redact: &Redact, dedupe: &Dedupe, order_by: Option<&str>) -> Result<(), String> {
    let by = dedupe.by.iter().filter_map(|it| if let IdSource::Body(pointers) = it { Some(pointers) } else { None });
    let named = by
        .flatten()
        .map(String::as_str)
        .map(|it| ("a delivery is identified by", it))
        .chain(order_by.map(|it| ("order_by names", it)));
    match named.into_iter().find(|(_, pointer)| redact.may_replace(pointer)) {
        None => Ok(()),
        Some((what, _)) => Err(format!(
            "redact: {what} a value that would be replaced, or could be in a payload with a different structure"
        )),
    }
}

/// Returns the headers whose values are stored in addition to the usual ones: those that plugin.toml names, and
/// those that identify the delivery.
fn keep_headers(manifest: &Manifest, auth: &Auth, dedupe: &Dedupe) -> Result<Vec<String>, String> {
    let named: Vec<String> = manifest.keep_headers.iter().map(|it| it.to_ascii_lowercase()).collect();
    if let Some(secret) = named.iter().find(|it| SECRET_HEADERS.contains(&it.as_str()) || auth.proves(it)) {
        return Err(format!("keep_headers: {secret} contains the sender's credentials and is never stored"));
    }
    let ids = dedupe.by.iter().filter_map(|it| if let IdSource::Header(name) = it { Some(name.clone()) } else { None });
    Ok(named.into_iter().chain(ids).chain(manifest.auth.telling_headers()).filter(|it| !auth.proves(it)).collect())
}

/// Returns where the id is: the configured place first, then the provider's own.
fn dedupe(manifest: &Manifest) -> Dedupe {
    let (own, hours) = manifest.auth.deliveries();
    let configured = manifest.dedupe.pointers().map(IdSource::Body);
    let window = Duration::hours(manifest.dedupe.hours.unwrap_or(hours).into());
    Dedupe { by: configured.into_iter().chain(own).collect(), window }
}

pub(super) fn timezone(manifest: &Manifest) -> Result<chrono_tz::Tz, String> {
    let zone = manifest.timezone.as_deref().unwrap_or("UTC");
    zone.parse().map_err(|_| "timezone: is not an IANA zone such as Europe/Berlin".into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the name of the built-in integration of `POST /v1/tasks`.
#[must_use]
pub fn direct() -> IntegrationName {
    IntegrationName(Arc::from("tasks"))
}
