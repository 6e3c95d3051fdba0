//! Loads a folder as an [`Integration`]: manifest, schema, module, fixtures, in this order.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Duration, Utc};

use super::answers::Answers;
use super::auth_table::ChosenSender;
use super::bundle::{self, Bundle, hex, sender_file};
use super::checks::Checks;
use super::dedupe::{Dedupe, Later};
use super::files::{LoadFailure, read};
use super::fixtures;
use super::live::Integration;
use super::manifest::{Manifest, Mode};
use super::mapping::Mapping;
use super::mapping_load;
use super::redact::Redact;
use super::rejections::Rejections;
use super::sender::Auth;
use super::sender_use::SenderUse;
use super::sent_url::asks_with;
use super::sources::newer_source;
use crate::auth::sender::SENDER_BYTES;
use crate::auth::sender::{Chosen, IdPlace, Sender, Trust};
use crate::auth::signature::ValueSource;
use crate::auth::{Fingerprint, Senders};
use crate::format::payload::{DeclaredFormat, Rules};
use crate::format::schema::Schema;
use crate::model::company::CompanyId;
use crate::model::headers::SECRET_HEADERS;
use crate::model::ids::IntegrationName;
use crate::model::provenance::Provenance;
use crate::plugin::{Host, Plugin};
use crate::system::folder::{Folder, SCHEMA_BYTES};
use crate::system::rate::TokenBucket;

/// Loads a folder and runs its fixtures.
///
/// # Errors
/// The first problem, with its file.
pub fn load(host: &Host, folder: &Folder, senders: &Senders, now: DateTime<Utc>) -> Result<Integration, LoadFailure> {
    // Changes in a folder that cannot be listed would remain unnoticed.
    folder.list(".").map_err(|cause| LoadFailure::Read { file: folder.path().to_owned(), cause })?;
    let manifest = Manifest::of(folder)?;
    let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
    check_name(folder, &manifest).map_err(wrong)?;
    tested(host, folder, manifest, senders, now)
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
    let plugin = mapping_load::load(host, &company, folder, &manifest, timezone(&manifest).map_err(wrong)?)?;
    let own = own_sender(folder, &manifest).map_err(wrong)?;
    let body_bytes = manifest.body_bytes().unwrap_or(host.limits().body_bytes);
    let digest = digest_of(folder, &manifest, host)?;
    let mut integration = assemble(manifest, own, schema, plugin, senders, now).map_err(wrong)?;
    integration.rules.body_bytes = body_bytes;
    integration.digest = digest;
    // With a permit, so that the fixtures' time is not spent waiting for the processor.
    let _turn = host.turn(integration.company_id.as_str());
    // Without a mapping, there is nothing to test.
    if integration.plugin.is_some() {
        fixtures::run_all(&integration, folder, host.limits().fixtures)?;
    }
    Ok(integration)
}

/// Returns the digest of a folder's files.
pub(super) fn digest_of(folder: &Folder, manifest: &Manifest, host: &Host) -> Result<String, LoadFailure> {
    let bundle = Bundle::read(folder, manifest, host.limits().module_bytes)?;
    Ok(bundle::digest(&bundle.encode()))
}

/// Returns the folder of the shadow that a folder's plugin.toml names, if there is one.
pub(crate) fn shadow_of(folder: &Folder) -> Option<Folder> {
    let named = Manifest::of(folder).ok()?.shadow?;
    folder.sibling(shadow_name(&named)).ok()
}

/// Returns the shadow that a folder's plugin.toml names.
pub(crate) fn named_shadow(folder: &Folder) -> Option<String> {
    Manifest::of(folder).ok()?.shadow
}

/// Returns the name of the schema that a folder's plugin.toml names, if it can be read.
pub(crate) fn schema_name(folder: &Folder) -> Option<String> {
    Manifest::of(folder).ok()?.schema
}

/// Returns a warning if a folder's module is older than its sources.
pub(crate) fn outdated_module(folder: &Folder) -> Option<String> {
    outdated(folder, &Manifest::of(folder).ok()?).map(|(_, reason)| reason)
}

/// Returns the name of a module that is older than its sources, and a warning.
pub(super) fn outdated(folder: &Folder, manifest: &Manifest) -> Option<(String, String)> {
    let Some(Mapping::Module(module)) = manifest.mapping() else { return None };
    let source = newer_source(folder, &module)?;
    Some((module, format!("is older than {}, so it may not be built from it", source.display())))
}

/// Returns a fingerprint of what a folder's integration uses outside the folder: its secrets, and the file of its sender.
pub(crate) fn fingerprint(folder: &Folder, senders: &Senders) -> u64 {
    let mut fingerprint = Fingerprint::default();
    if let Ok(manifest) = Manifest::of(folder) {
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
    company(&Manifest::of(folder).ok()?).ok()
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
    let named = Manifest::of(folder).ok()?.shadow?;
    let load = || {
        let failed = |cause| LoadFailure::Read { file: PathBuf::from(&named), cause };
        let folder = folder.sibling(shadow_name(&named)).map_err(failed)?;
        let manifest = Manifest::of(&folder)?;
        // Its report is shown to the live plugin's company, so it must not contain another company's `[config]`.
        if manifest.company_id != live.company_id.as_str() {
            let cause = "company_id: a shadow must belong to the same company as the live plugin".to_owned();
            return Err(LoadFailure::Manifest { file: folder.join("plugin.toml"), cause });
        }
        let mut candidate = tested(host.aside(), &folder, manifest, senders, now)?;
        if candidate.plugin.is_none() {
            return Err(LoadFailure::Manifest { file: folder.join("plugin.toml"), cause: NO_MAPPING.to_owned() });
        }
        // Its calls get the same context as those of the live plugin.
        candidate.name = live.name.clone();
        Ok(candidate)
    };
    let loaded = load();
    Some(Candidate { folder: named, loaded })
}

/// What a folder without a mapping cannot be used for.
pub(crate) const NO_MAPPING: &str =
    "has no mapping yet, so it can only capture deliveries; name a module, which maps their payloads to tasks";

pub(super) fn check_name(folder: &Folder, manifest: &Manifest) -> Result<(), String> {
    // A folder that is named "." has a name too.
    let whole = std::path::absolute(folder.path()).unwrap_or_else(|_| folder.path().to_owned());
    if whole.file_name().is_some_and(|name| name == manifest.name.as_str()) {
        return Ok(());
    }
    Err("name: differs from the folder's name; make them equal".into())
}

/// Schema of a folder that has none.
const ANYTHING: &str = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema"}"#;

pub(super) fn read_schema(folder: &Folder, manifest: &Manifest) -> Result<Schema, LoadFailure> {
    // A folder that only captures may have none: then every payload fits.
    let Some(file) = &manifest.schema else {
        let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
        return Schema::compile(ANYTHING).map_err(|e| wrong(format!("schema: {e}")));
    };
    let text = read(folder, file, SCHEMA_BYTES)?;
    Schema::compile(&text).map_err(|e| LoadFailure::Schema { file: folder.join(file), cause: e.to_string() })
}

/// Combines the parts. An error is about a field of plugin.toml.
pub(super) fn assemble(
    manifest: Manifest,
    own: Option<Arc<Sender>>,
    schema: Schema,
    plugin: Option<Plugin>,
    senders: &Senders,
    now: DateTime<Utc>,
) -> Result<Integration, String> {
    let provenance = Provenance {
        plugin_version: manifest.version.clone(),
        module_sha256: plugin.as_ref().map(|it| hex(it.sha256())).unwrap_or_default(),
        script_sha256: plugin.as_ref().and_then(|it| it.source()).map(|it| hex(&it.sha256())),
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
    let query = passed_query(&manifest, &auth, sender.as_deref())?;
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
        query,
        path: manifest.path,
        dedupe,
        redact,
        keep: manifest.keep_days.map(|it| Duration::days(it.into())),
        captures: manifest.mode == Mode::Capture,
        limits: manifest.limits(),
        later: Later { always: manifest.mode == Mode::Async, order_by: manifest.order_by.clone() },
        rejections: Rejections::default(),
        rate: manifest.rate().map(|rate| (rate, TokenBucket::of(rate))),
        defaults: manifest.defaults,
        config: serde_json::Value::Object(manifest.config).to_string().into(),
        name: IntegrationName(manifest.name.into()),
        digest: String::new(),
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

/// Returns how bodies are read.
fn rules(manifest: &Manifest, chosen: &Chosen, sender: Option<&Sender>) -> Result<Rules, String> {
    let rules = Rules { strict: manifest.strict, timezone: timezone(manifest)?, ..Rules::default() };
    Ok(of_sender(rules, chosen, sender))
}

/// Returns how bodies of a new integration are read, before it has a plugin.toml.
#[must_use]
pub(crate) fn first_rules(sender: Option<&Sender>) -> Rules {
    let chosen = sender.and_then(|it| it.choose(None, false).ok()).unwrap_or(Chosen::ApiKey);
    of_sender(Rules::default(), &chosen, sender)
}

fn of_sender(rules: Rules, chosen: &Chosen, sender: Option<&Sender>) -> Rules {
    // A sender that signs its bodies sends no wrappers of workflow tools.
    let mut rules = Rules { unwrap: !chosen.signs(), ..rules };
    if let Some(sender) = sender {
        rules.format = sender.body.format.map(DeclaredFormat::from);
        rules.empty.clone_from(&sender.empty);
        rules.json_in.clone_from(&sender.body.json_in);
        rules.base64_json_in.clone_from(&sender.body.base64_json_in);
        rules.unwrap_at.clone_from(&sender.body.unwrap);
        rules.only = sender.signed_members(chosen);
    }
    rules
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

/// Returns the parameters of the query that the plugin gets.
fn passed_query(manifest: &Manifest, auth: &Auth, sender: Option<&Sender>) -> Result<Vec<String>, String> {
    let is_secret = |it: &&String| auth.proves_by_parameter(it) || sender.is_some_and(|sender| asks_with(sender, it));
    match manifest.query.iter().find(is_secret) {
        Some(secret) => Err(format!("query: {secret} contains the sender's credentials and is never passed on")),
        None => Ok(manifest.query.clone()),
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
    let Some(file) = sender_file(folder, manifest) else { return Ok(None) };
    let text = read(folder, &file, SENDER_BYTES).map_err(|it| format!("auth: sender: {it}"))?;
    let name = manifest.auth.sender.as_deref();
    let sender = Sender::parse(&text, name).map_err(|cause| format!("auth: sender: {file}: {cause}"))?;
    Ok(Some(Arc::new(sender)))
}

pub(super) fn timezone(manifest: &Manifest) -> Result<chrono_tz::Tz, String> {
    let zone = manifest.timezone.as_deref().unwrap_or("UTC");
    zone.parse().map_err(|_| "timezone: is not an IANA zone such as Europe/Berlin".into())
}

/// Returns the name of the built-in integration of `POST /v1/tasks`.
#[must_use]
pub fn direct() -> IntegrationName {
    IntegrationName(Arc::from("tasks"))
}
