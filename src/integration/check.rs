//! Reports all problems of a plugin folder at once, for its author.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::files::{LoadFailure, read};
use super::fixtures;
use super::fixtures::{Fixture, FixtureRun};
use super::live::Integration;
use super::load::{Candidate, assemble, candidate, check_name, company, outdated, own_sender, read_schema, timezone};
use super::manifest::Manifest;
use super::mapping::Mapping;
use super::mapping_load;
use crate::auth::Senders;
use crate::format::schema::ignored_keywords;
use crate::plugin::{Host, Usage};
use crate::system::folder::{Folder, SCHEMA_BYTES};

/// Severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The folder cannot go live.
    Error,
    /// The folder can go live, but may cause problems.
    Warning,
}

/// A problem.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Severity of the problem.
    pub severity: Severity,
    /// File with the problem.
    pub file: PathBuf,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub fix: Option<String>,
}

/// Result of checking a folder.
#[derive(Debug, Default)]
pub struct Checked {
    /// Problems, in the order in which a folder is loaded.
    pub findings: Vec<Finding>,
    /// The integration, if it can run.
    pub integration: Option<Integration>,
}

impl Checked {
    /// Returns whether the server would load it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.iter().all(|it| it.severity == Severity::Warning)
    }

    fn error(&mut self, file: &Path, reason: impl ToString, fix: &str) {
        let fix = Some(fix).filter(|it| !it.is_empty()).map(str::to_owned);
        let (file, reason) = (file.to_owned(), reason.to_string());
        self.findings.push(Finding { severity: Severity::Error, file, reason, fix });
    }

    fn warn(&mut self, file: &Path, reason: impl ToString, fix: &str) {
        self.error(file, reason, fix);
        if let Some(last) = self.findings.last_mut() {
            last.severity = Severity::Warning;
        }
    }

    fn failure(&mut self, failure: &LoadFailure, fix: &str) {
        let (LoadFailure::Read { file, .. }
        | LoadFailure::Manifest { file, .. }
        | LoadFailure::Schema { file, .. }
        | LoadFailure::Fixture { file, .. }) = failure
        else {
            return;
        };
        // The file is shown separately.
        let sentence = failure.to_string();
        let reason = sentence.strip_prefix(&format!("{}: ", file.display())).unwrap_or(&sentence);
        self.error(file, reason, fix);
    }
}

/// Checks a folder and runs its fixtures as the server does, but continues after each error.
#[must_use]
pub fn check(host: &Host, folder: &Folder, senders: &Senders, now: DateTime<Utc>) -> Checked {
    let mut checked = open(host, folder, senders, now);
    if let Some(integration) = checked.integration.take() {
        run_fixtures(&integration, folder, &mut checked);
        if let Some(Candidate { loaded: Err(cause), .. }) = candidate(host, folder, &integration, senders, now) {
            let fix = "Fix it, or remove `shadow`; the plugin goes live without it";
            checked.warn(&folder.join("plugin.toml"), format!("shadow: {cause}"), fix);
        }
        checked.integration = Some(integration);
    }
    checked
}

/// Checks a folder without its fixtures, for callers that run them themselves.
#[must_use]
pub fn open(host: &Host, folder: &Folder, senders: &Senders, now: DateTime<Utc>) -> Checked {
    let mut checked = Checked::default();
    let Some(manifest) = manifest(folder, senders, &mut checked) else { return checked };
    let schema = read_schema(folder, &manifest).map(|it| it.within(host.limits().schema));
    let schema = schema.map_err(|it| checked.failure(&it, "Write a JSON Schema (draft 2020-12) for the payload"));
    let company = match company(&manifest) {
        Ok(company) => company,
        Err(reason) => {
            checked.error(&folder.join("plugin.toml"), reason, "");
            return checked;
        }
    };
    let zone = timezone(&manifest).unwrap_or_default();
    let plugin = mapping_load::load(host, &company, folder, &manifest, zone).map_err(|it| match it {
        LoadFailure::Module(it) => checked.error(Path::new(&it.file), &it.cause, how_to_fix(&manifest)),
        other => checked.failure(&other, "docs/PLUGINS.md describes the files of a folder"),
    });
    if let Some((module, reason)) = outdated(folder, &manifest) {
        checked.warn(&folder.join(module), reason, "Build it again, such as with ./build.sh");
    }
    if schema.is_ok() {
        keywords(folder, &manifest, &mut checked);
    }
    let (Ok(schema), Ok(plugin)) = (schema, plugin) else { return checked };
    // A schema that accepts an empty object accepts nearly everything.
    if let Some(file) = manifest.schema.as_ref().filter(|_| schema.check(&serde_json::json!({})).is_ok()) {
        checked.warn(
            &folder.join(file),
            "the schema accepts an empty object",
            "List what the plugin needs under \"required\"",
        );
    }
    let own = match own_sender(folder, &manifest) {
        Ok(own) => own,
        Err(reason) => {
            checked.error(&folder.join("plugin.toml"), reason, "docs/SENDER-FILES.md describes the format");
            return checked;
        }
    };
    match assemble(manifest, own, schema, plugin, senders, now) {
        Ok(integration) => {
            for name in &integration.weak_secrets {
                let reason = format!("the secret {name} is weak, but allowed by allow_weak_secret");
                let fix = "Set a secret of at least 16 bytes at the sender and here";
                checked.warn(&folder.join("plugin.toml"), reason, fix);
            }
            checked.integration = Some(integration);
        }
        // The problem may have been reported already.
        Err(reason) if checked.is_good() => checked.error(&folder.join("plugin.toml"), reason, ""),
        Err(_) => {}
    }
    checked
}

fn how_to_fix(manifest: &Manifest) -> &'static str {
    match manifest.mapping() {
        Some(Mapping::Module(_)) => {
            "Build it as a component of wit/mapper.wit, or as a WASI preview 1 program; see docs/PLUGINS.md"
        }
        Some(Mapping::Expressions { .. }) => "docs/PLUGINS.md says what expressions can use",
        Some(Mapping::Script(_)) | None => "",
    }
}

fn manifest(folder: &Folder, senders: &Senders, checked: &mut Checked) -> Option<Manifest> {
    let file = folder.join("plugin.toml");
    let text = match Manifest::text(folder) {
        Ok(text) => text,
        Err(failure) => {
            checked.failure(&failure, "Name a plugin's folder; create one with `hookmill plugin new`");
            return None;
        }
    };
    let manifest = match Manifest::check(&text) {
        Ok(manifest) => manifest,
        Err(all) => {
            for (reason, hint) in all {
                checked.error(&file, reason, hint.as_deref().unwrap_or("docs/PLUGINS.md lists every field"));
            }
            return None;
        }
    };
    if let Err(reason) = check_name(folder, &manifest) {
        checked.error(&file, reason, "Rename the folder, or change `name`");
    }
    if let Err(reason) = timezone(&manifest) {
        checked.error(&file, reason, "Name a zone of the IANA time zone database");
    }
    for name in manifest.auth.placeholders() {
        let reason = format!("{name} in [auth] is a placeholder, so every delivery would be refused");
        checked.warn(&file, reason, "Enter the value that is configured at the sender");
    }
    let (names, unset) = (manifest.auth.secret_names().count(), manifest.auth.unset(&senders.secrets));
    for name in &unset {
        let all = unset.len() == names;
        let so = if all { "so every sender would be refused" } else { "so senders that use it would be refused" };
        let reason = format!("the secret {name} is not set here, {so}");
        let fix = format!("Set it with `hookmill secret set {name}`, or in the server's environment");
        checked.warn(&file, reason, &fix);
    }
    Some(manifest)
}

/// Warns about keywords of the schema that are ignored.
fn keywords(folder: &Folder, manifest: &Manifest, checked: &mut Checked) {
    let Some(file) = &manifest.schema else { return };
    let text = read(folder, file, SCHEMA_BYTES).unwrap_or_default();
    let schema = serde_json::from_str(&text).unwrap_or_default();
    for it in ignored_keywords(&schema) {
        let place = if it.place.is_empty() { String::new() } else { format!("at {}: ", it.place) };
        let reason =
            format!("{place}\"{}\" is not a keyword of JSON Schema, so it is ignored ({})", it.keyword, it.instead);
        checked.warn(&folder.join(file), reason, "Correct it, or begin the names of your own keywords with x-");
    }
}

fn run_fixtures(integration: &Integration, folder: &Folder, checked: &mut Checked) {
    // Without a mapping, there is nothing to test.
    if integration.plugin.is_none() {
        return;
    }
    let files = match fixtures::list(folder) {
        Ok(files) => files,
        Err(failure) => return checked.failure(&failure, ""),
    };
    if files.is_empty() {
        let fix = "Write one for each kind of delivery; `hookmill plugin test --update` fills in the plugin's output";
        checked.warn(
            &folder.join("fixtures"),
            "there are no fixtures, so the plugin is not tested before it goes live",
            fix,
        );
    }
    for name in files {
        let file = folder.join(&name);
        let run = Fixture::read(folder, &name).and_then(|fixture| {
            let failed = |it: super::stop::Stop| LoadFailure::Fixture { file: file.clone(), cause: it.to_string() };
            let run =
                fixtures::run(integration, &fixture.payload, fixture.received_at, fixture.request()).map_err(failed)?;
            Ok((fixture, run))
        });
        match run {
            Err(failure) => checked.failure(&failure, "See docs/PLUGINS.md for the format of fixtures"),
            Ok((fixture, run)) => {
                let wrong = fixture.wrong(&run, integration);
                if !wrong.is_empty() {
                    let reason = format!("\"{}\" failed: {}", fixture.name, wrong.join("; "));
                    checked.error(
                        &file,
                        reason,
                        "Fix the plugin, or update the fixture with `hookmill plugin test --update`",
                    );
                }
                near_limits(integration, &run, &file, checked);
            }
        }
    }
}

/// Warns about usage close to a limit, which a larger delivery or a busy machine could exceed.
pub(crate) fn near_limits(integration: &Integration, run: &FixtureRun, file: &Path, checked: &mut Checked) {
    let limit = integration.schema.limit().unwrap_or(Duration::MAX);
    if run.checked > limit / 2 {
        let (took, limit) = (run.checked.as_millis(), limit.as_millis());
        let reason = format!("its schema check takes {took} of {limit} ms (plugins.schema_ms)");
        checked.warn(file, reason, "Use fewer branches in the schema, or bound lists with maxItems");
    }
    for it in LimitUsage::of(integration, run).into_iter().filter(|it| it.percent() > 50.0) {
        let reason = format!("takes {:.0} % of {} ({} of {} {})", it.percent(), it.name, it.used, it.limit, it.unit);
        checked.warn(file, reason, &format!("Raise {} in plugin.toml, or use less", it.name));
    }
}

/// How much of a limit a run has used.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "LimitUse")]
pub struct LimitUsage {
    /// Name of the limit, as in plugin.toml.
    pub name: Cow<'static, str>,
    /// Used amount.
    pub used: u64,
    /// Maximum amount.
    pub limit: u64,
    /// Unit of both.
    pub unit: Cow<'static, str>,
}

impl LimitUsage {
    /// Returns the usage of every limit of a call.
    #[must_use]
    pub fn of(integration: &Integration, run: &FixtureRun) -> Vec<Self> {
        Self::of_usage(integration, &run.usage, run.took)
    }

    /// Returns the usage of every limit, from a call's usage and duration.
    #[must_use]
    pub fn of_usage(integration: &Integration, usage: &Usage, took: Duration) -> Vec<Self> {
        let limits = &integration.limits;
        let micros = |it: Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
        let share = |name: &'static str, used, limit, unit: &'static str| Self {
            name: name.into(),
            used,
            limit,
            unit: unit.into(),
        };
        vec![
            share("time_ms", micros(took), micros(limits.time), "µs"),
            share("memory_mib", usage.memory_bytes as u64, limits.memory_bytes as u64, "bytes"),
            share("output_kib", usage.output_bytes as u64, limits.output_bytes as u64, "bytes"),
            share("log_kib", usage.log_bytes as u64, limits.log_bytes as u64, "bytes"),
            share("table elements", usage.table_elements as u64, limits.table_elements as u64, "elements"),
        ]
    }

    /// Returns the used percentage.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.limit == 0 { 0.0 } else { self.used as f64 * 100.0 / self.limit as f64 }
    }
}
