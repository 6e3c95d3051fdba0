//! A plugin folder, as `GET /v1/admin/plugins` shows it.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::plugin_node::NodeAnswer;
use crate::auth::SecretPlace;
use crate::auth::sender::Trust;
use crate::integration::{Integration, Refused};
use crate::model::company::CompanyId;
use crate::plugin::{Abi, CallSummary, Plugin};
use crate::service::app::Admin;
use crate::service::dry_run::AttachedShadow;

/// A plugin folder.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Plugin")]
pub(super) struct PluginAnswer {
    /// The folder's name, which is the integration's as well.
    name: String,
    state: PluginState,
    /// Why the folder is refused.
    message: Option<String>,
    /// The version that is live, if there is one.
    #[serde(flatten)]
    live: Option<LivePlugin>,
    /// Where several servers share a database, and this plugin is not the same on all of them: each server that has tried it.
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<NodeAnswer>>,
}

/// The state of a plugin folder.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum PluginState {
    /// It serves.
    Live,
    /// The folder has a newer version that is refused; the older one serves.
    Outdated,
    /// It is refused, and nothing serves.
    Refused,
    /// It is being loaded for the first time.
    Loading,
    /// Only other servers on the database have it.
    Elsewhere,
}

/// A plugin that serves.
#[derive(Debug, Serialize, JsonSchema)]
struct LivePlugin {
    /// `version` in plugin.toml.
    version: String,
    /// `description` in plugin.toml.
    description: String,
    /// The company that its tasks belong to.
    company_id: CompanyId,
    /// SHA-256 of the module, hexadecimal; of the interpreter's module, for a script.
    sha256: String,
    /// SHA-256 of the script with the files that it imports, or of the expressions, hexadecimal.
    script_sha256: Option<String>,
    /// SHA-256 of input.schema.json, hexadecimal.
    schema_sha256: String,
    /// How it is called.
    abi: ShownAbi,
    /// What the module imports.
    imports: Vec<String>,
    /// Whether deliveries are only captured (`mode = "capture"`): stored, and not mapped.
    captures: bool,
    limits: LimitsAnswer,
    /// The sender, if plugin.toml names one.
    sender: Option<String>,
    /// How far the content of its deliveries can be trusted.
    trust: Trust,
    /// Its secrets, the main ones first.
    secrets: Vec<SecretAnswer>,
    /// Names of secrets that are too short.
    weak_secrets: Vec<String>,
    rejected: RejectedDeliveries,
    /// When this version went live.
    loaded_at: DateTime<Utc>,
    calls: CallSummary,
    /// The candidate that runs next to it, if there is one.
    shadow: Option<ShadowSummary>,
}

/// A secret of an integration, without the secret.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginSecret")]
struct SecretAnswer {
    /// Its name in plugin.toml.
    name: String,
    /// Whether it is set.
    is_set: bool,
    /// Where it is set.
    place: Option<SecretPlace>,
    /// When it last authenticated a delivery, since this version went live; null if never, or if it does not authenticate
    /// deliveries.
    #[serde(serialize_with = "crate::model::time::utc_or_null")]
    last_used_at: Option<DateTime<Utc>>,
}

/// How a plugin is called.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "PluginAbi")]
#[serde(rename_all = "snake_case")]
enum ShownAbi {
    /// A component of the world in `wit/mapper.wit`.
    Component,
    /// A WASI preview 1 program: payload on stdin, tasks on stdout.
    Command,
    /// A script, or expressions, in hookmill's interpreter.
    Script,
    /// Not at all: there is no mapping yet, and deliveries are only captured.
    None,
}

impl ShownAbi {
    fn of(plugin: Option<&Plugin>) -> Self {
        match plugin.map(Plugin::abi) {
            Some(Abi::Component) => Self::Component,
            Some(Abi::Command) => Self::Command,
            Some(Abi::Script) => Self::Script,
            None => Self::None,
        }
    }
}

/// The limits of a plugin's calls, as in plugin.toml.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PluginLimits")]
struct LimitsAnswer {
    /// Milliseconds.
    time_ms: u128,
    /// Mebibytes.
    memory_mib: usize,
    /// Kibibytes.
    output_kib: usize,
    /// Kibibytes of log that are kept.
    log_kib: usize,
    /// Calls at once.
    concurrency: usize,
    /// Calls that wait.
    queue: usize,
}

/// Deliveries whose senders were not authenticated, since this version went live.
#[derive(Debug, Serialize, JsonSchema)]
struct RejectedDeliveries {
    /// They are events of the status `rejected`.
    stored: u64,
    /// They were only counted.
    not_stored: u64,
}

/// How a shadow compares, in short. Counts are null where it is refused.
#[derive(Debug, Serialize, JsonSchema)]
struct ShadowSummary {
    /// `shadow` in plugin.toml.
    folder: String,
    state: ShadowState,
    /// Why it is refused.
    message: Option<String>,
    version: Option<String>,
    sha256: Option<String>,
    /// Events that it has seen.
    events: Option<u64>,
    /// Events that it has not seen.
    dropped: Option<u64>,
    same: Option<u64>,
    changed: Option<u64>,
    newly_failing: Option<u64>,
    newly_passing: Option<u64>,
}

/// Whether a shadow runs.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ShadowState {
    /// It runs.
    Running,
    /// It does not; the message says why.
    Refused,
}

/// What the overview says of a plugin folder.
pub(super) struct PluginBrief<'a> {
    pub(super) name: &'a str,
    pub(super) state: PluginState,
    pub(super) message: Option<&'a str>,
    pub(super) version: Option<&'a str>,
    pub(super) company: Option<&'a CompanyId>,
    pub(super) captures: bool,
    pub(super) calls: Option<&'a CallSummary>,
}

impl PluginAnswer {
    /// Returns the fields that the overview shows.
    pub(super) fn brief(&self) -> PluginBrief<'_> {
        let live = self.live.as_ref();
        PluginBrief {
            name: &self.name,
            state: self.state,
            message: self.message.as_deref(),
            version: live.map(|it| it.version.as_str()),
            company: live.map(|it| &it.company_id),
            captures: live.is_some_and(|it| it.captures),
            calls: live.map(|it| &it.calls),
        }
    }

    /// A plugin that serves, as this admin may see it.
    pub(super) fn live(
        it: &Integration,
        refused: Option<&Refused>,
        shadow: Option<&AttachedShadow>,
        admin: &Admin,
    ) -> Self {
        // The newer version, and so the reason, may belong to another company.
        let message = refused.map(|refused| match admin {
            Admin::Company(company, _) if !refused.concerns(company) => "refused; the operator sees why".to_owned(),
            _ => refused.message.clone(),
        });
        let state = if refused.is_some() { PluginState::Outdated } else { PluginState::Live };
        Self { name: it.name.to_string(), state, message, live: Some(LivePlugin::of(it, shadow)), nodes: None }
    }

    /// A folder that has never been live.
    pub(super) fn refused(it: &Refused) -> Self {
        let (name, message) = (it.name.clone(), Some(it.message.clone()));
        Self { name, state: PluginState::Refused, message, live: None, nodes: None }
    }

    /// A folder that is being loaded for the first time.
    pub(super) fn loading(name: &str) -> Self {
        Self { name: name.to_owned(), state: PluginState::Loading, message: None, live: None, nodes: None }
    }

    /// A plugin that this server does not have.
    pub(super) fn elsewhere(name: &str, nodes: Vec<NodeAnswer>) -> Self {
        Self { name: name.to_owned(), state: PluginState::Elsewhere, message: None, live: None, nodes: Some(nodes) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Says that servers differ.
    pub(super) fn differs(&mut self, nodes: Vec<NodeAnswer>) {
        self.nodes = Some(nodes);
    }
}

impl LivePlugin {
    fn of(it: &Integration, shadow: Option<&AttachedShadow>) -> Self {
        let (limits, plugin) = (&it.limits, it.plugin.as_ref());
        let (stored, not_stored) = it.rejections.counts();
        Self {
            version: it.version.clone(),
            description: it.description.clone(),
            company_id: it.company_id.clone(),
            sha256: it.provenance.module_sha256.clone(),
            script_sha256: it.provenance.script_sha256.clone(),
            schema_sha256: it.provenance.schema_sha256.clone(),
            abi: ShownAbi::of(plugin),
            imports: plugin.map(|it| it.imports().to_vec()).unwrap_or_default(),
            captures: it.captures,
            limits: LimitsAnswer {
                time_ms: limits.time.as_millis(),
                memory_mib: limits.memory_bytes >> 20,
                output_kib: limits.output_bytes >> 10,
                log_kib: limits.log_bytes >> 10,
                concurrency: limits.concurrency,
                queue: limits.queue,
            },
            sender: it.sender.as_ref().map(|it| it.name.clone()),
            trust: it.trust,
            secrets: SecretAnswer::all(it),
            weak_secrets: it.weak_secrets.clone(),
            rejected: RejectedDeliveries { stored, not_stored },
            loaded_at: it.loaded_at,
            calls: plugin.map(Plugin::summary).unwrap_or_default(),
            shadow: shadow.map(ShadowSummary::of),
        }
    }
}

impl SecretAnswer {
    fn all(it: &Integration) -> Vec<Self> {
        let last = it.uses.last();
        let used =
            |name: &String| it.secrets.main.iter().position(|(main, _)| main == name).and_then(|at| *last.get(at)?);
        let names = it.secrets.names.iter().chain(&it.secrets.other_names);
        let shown = |name: &String| {
            let place = it.secrets.places.get(name).copied();
            Self { name: name.clone(), is_set: place.is_some(), place, last_used_at: used(name) }
        };
        names.map(shown).collect()
    }
}

impl ShadowSummary {
    fn of(it: &AttachedShadow) -> Self {
        let (report, message) = match &it.shadow {
            Ok(shadow) => (Some(shadow.report()), None),
            Err(why) => (None, Some(why.clone())),
        };
        let tally = report.as_ref().map(|it| &it.compared.tally);
        Self {
            folder: it.folder.clone(),
            state: if message.is_some() { ShadowState::Refused } else { ShadowState::Running },
            message,
            version: report.as_ref().map(|it| it.version.clone()),
            sha256: report.as_ref().map(|it| it.sha256.clone()),
            events: report.as_ref().map(|it| it.compared.events),
            dropped: report.as_ref().map(|it| it.dropped),
            same: tally.map(|it| it.same),
            changed: tally.map(|it| it.changed),
            newly_failing: tally.map(|it| it.newly_failing),
            newly_passing: tally.map(|it| it.newly_passing),
        }
    }
}
