//! Loads a folder as an [`Integration`]: manifest, schema, module, fixtures, in this order.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Duration, Utc};

use super::answers::Answers;
use super::auth_table::ChosenSender;
use super::checks::Checks;
use super::dedupe::{Dedupe, Later};
use super::files::{LoadFailure, read};
use super::fixtures;
use super::live::Integration;
use super::manifest::{Manifest, Mode};
use super::redact::Redact;
use super::rejections::Rejections;
use super::sender::Auth;
use super::sender_use::SenderUse;
use crate::auth::sender::SENDER_BYTES;
use crate::auth::sender::{Chosen, IdPlace, Sender, Trust};
use crate::auth::signature::ValueSource;
use crate::auth::{Fingerprint, Senders};
use crate::format::payload::{DeclaredFormat, Rules};
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
pub fn load(host: &Host, folder: &Folder, senders: &Senders, now: DateTime<Utc>) -> Result<Integration, LoadFailure> {
    // Changes in a folder that cannot be listed would remain unnoticed.
    folder.list(".").map_err(|cause| LoadFailure::Read { file: folder.path().to_owned(), cause })?;
    let manifest = manifest(folder)?;
    let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
    check_name(folder, &manifest).map_err(wrong)?;
    tested(host, folder, manifest, senders, now)
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
    senders: &Senders,
    now: DateTime<Utc>,
) -> Result<Integration, LoadFailure> {
    let schema = read_schema(folder, &manifest)?.within(host.limits().schema);
    let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
    let company = company(&manifest).map_err(wrong)?;
    let plugin = host.load(&company, &manifest.name, folder, &manifest.module, manifest.limits())?;
    let own = own_sender(folder, &manifest).map_err(wrong)?;
    let body_bytes = manifest.body_bytes().unwrap_or(host.limits().body_bytes);
    let mut integration = assemble(manifest, own, schema, plugin, senders, now).map_err(wrong)?;
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

/// Returns a fingerprint of what a folder's integration uses outside the folder: its secrets, and the file of its sender.
pub(crate) fn fingerprint(folder: &Folder, senders: &Senders) -> u64 {
    let mut fingerprint = Fingerprint::default();
    if let Ok(manifest) = manifest(folder) {
        manifest.auth.secret_names().for_each(|it| senders.secrets.add_to(it, &mut fingerprint));
        let text = manifest.auth.sender_name().and_then(|it| senders.files.text(it));
        fingerprint.add(text.unwrap_or_default());
    }
    fingerprint.value()
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
    senders: &Senders,
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
        let mut candidate = tested(host.aside(), &folder, manifest, senders, now)?;
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
    own: Option<Arc<Sender>>,
    schema: Schema,
    plugin: Plugin,
    senders: &Senders,
    now: DateTime<Utc>,
) -> Result<Integration, String> {
    let provenance = Provenance {
        plugin_version: manifest.version.clone(),
        module_sha256: hex(plugin.sha256()),
        schema_sha256: hex(schema.sha256()),
    };
    let ChosenSender { sender, chosen } = manifest.auth.choose(own, &senders.files)?;
    // A token in the body is a secret: it reaches neither the disk nor the plugin.
    let redacted: Vec<String> = manifest.redact.iter().cloned().chain(chosen.tokens_in_body()).collect();
    let (dedupe, redact) = (dedupe(&manifest, sender.as_deref()), Redact::new(&redacted));
    not_redacted(&redact, &dedupe, manifest.order_by.as_deref())?;
    let (weak_secrets, auth) =
        (manifest.auth.weak(&chosen, &senders.secrets)?, manifest.auth.auth(&chosen, senders, sender.as_deref())?);
    let headers = passed_headers(&manifest, &auth, sender.as_deref())?;
    let telling = chosen.telling_headers().chain(headers.iter().cloned());
    let keep_headers = keep_headers(&manifest, &auth, &dedupe, telling)?;
    let trust = match &sender {
        Some(sender) => sender.trust(&chosen),
        None => Trust::of(&chosen),
    };
    let secrets = manifest.auth.named_secrets(&senders.secrets);
    Ok(Integration {
        company_id: company(&manifest)?,
        rules: rules(&manifest, &chosen, sender.as_deref())?,
        auth,
        trust,
        uses: SenderUse::new(secrets.main.len()),
        secrets,
        answers: Answers::of(sender.as_deref(), &manifest.answer)?,
        sender,
        weak_secrets,
        keep_headers,
        headers,
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
fn rules(manifest: &Manifest, chosen: &Chosen, sender: Option<&Sender>) -> Result<Rules, String> {
    // A sender that signs its bodies sends no wrappers.
    let unwrap = !chosen.signs();
    let mut rules = Rules { strict: manifest.strict, timezone: timezone(manifest)?, unwrap, ..Rules::default() };
    if let Some(sender) = sender {
        rules.format = sender.body.format.map(DeclaredFormat::from);
        rules.empty.clone_from(&sender.empty);
        rules.json_in.clone_from(&sender.body.json_in);
        rules.base64_json_in.clone_from(&sender.body.base64_json_in);
        rules.unwrap_at.clone_from(&sender.body.unwrap);
        rules.only = sender.signed_members(chosen);
    }
    Ok(rules)
}

pub(super) fn company(manifest: &Manifest) -> Result<CompanyId, String> {
    CompanyId::parse(&manifest.company_id).map_err(|e| format!("company_id: {e}"))
}

/// Checks that values which identify or order deliveries are not redacted.
fn not_redacted(redact: &Redact, dedupe: &Dedupe, order_by: Option<&str>) -> Result<(), String> {
    let named = dedupe
        .pointers()
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
fn keep_headers(
    manifest: &Manifest,
    auth: &Auth,
    dedupe: &Dedupe,
    telling: impl Iterator<Item = String>,
) -> Result<Vec<String>, String> {
    let named: Vec<String> = manifest.keep_headers.iter().map(|it| it.to_ascii_lowercase()).collect();
    if let Some(secret) = named.iter().find(|it| SECRET_HEADERS.contains(&it.as_str()) || auth.proves(it)) {
        return Err(format!("keep_headers: {secret} contains the sender's credentials and is never stored"));
    }
    let ids = dedupe.headers().map(str::to_owned);
    Ok(named.into_iter().chain(ids).chain(telling).filter(|it| !auth.proves(it)).collect())
}

/// Returns the headers that the plugin gets: those of the sender's file, and those that plugin.toml names.
fn passed_headers(manifest: &Manifest, auth: &Auth, sender: Option<&Sender>) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = sender.map(|it| it.headers.clone()).unwrap_or_default();
    names.extend(
        manifest.headers.iter().map(|it| it.to_ascii_lowercase()).filter(|it| !names.contains(it)).collect::<Vec<_>>(),
    );
    match names.iter().find(|it| SECRET_HEADERS.contains(&it.as_str()) || auth.proves(it)) {
        Some(secret) => Err(format!("headers: {secret} contains the sender's credentials and is never passed on")),
        None => Ok(names),
    }
}

/// Returns where the id is: the configured place first, then the sender's own.
fn dedupe(manifest: &Manifest, sender: Option<&Sender>) -> Dedupe {
    let configured = manifest.dedupe.pointers().map(|it| IdPlace(it.into_iter().map(ValueSource::Body).collect()));
    let header = manifest.auth.id_header().map(|it| IdPlace(vec![ValueSource::Header(it)]));
    let own = sender.map(|it| it.ids.clone()).unwrap_or_default();
    let hours = manifest.dedupe.hours.unwrap_or_else(|| sender.map_or(HOURS, |it| it.hours));
    Dedupe { by: configured.into_iter().chain(header).chain(own).collect(), window: Duration::hours(hours.into()) }
}

/// For how many hours deliveries are remembered if their sender has no file.
const HOURS: u32 = 72;

/// Reads the sender file next to plugin.toml, if there is one.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn own_sender(folder: &Folder, manifest: &Manifest) -> Result<Option<Arc<Sender>>, String> {
    let Some(name) = manifest.auth.sender.as_deref() else { return Ok(None) };
    let files = folder.list(".").unwrap_or_default();
    let candidates = [format!("{name}.toml"), "sender.toml".to_owned()];
    let Some(file) =
        candidates.into_iter().find(|it| it != "plugin.toml" && files.iter().any(|file| file == it.as_str()))
    else {
        return Ok(None);
    };
    let text = read(folder, &file, SENDER_BYTES).map_err(|it| format!("auth: sender: {it}"))?;
    let sender = Sender::parse(&text, Some(name)).map_err(|cause| format!("auth: sender: {file}: {cause}"))?;
    Ok(Some(Arc::new(sender)))
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
