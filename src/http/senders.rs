//! `/v1/admin/senders`: the senders that the server knows, and how to connect them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Failed;
use super::call::Call;
use super::path::{Path, SentName};
use super::problem::Problem;
use super::reply::{List, Success};
use crate::auth::sender::{Catalog, Sender, Trust, auth_lines, described};
use crate::format::parse;
use crate::integration::Integration;
use crate::model::ids::IntegrationName;
use crate::service::app::{Admin, App};

/// A sender.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SenderSummary")]
pub(super) struct SenderAnswer {
    /// The name of its file, for `[auth] sender`.
    name: String,
    /// Its name for people.
    title: String,
    /// Its kind, such as `fax`.
    group: String,
    /// How far the content of its deliveries can be trusted.
    trust: Trust,
    /// Whether its file is one of this server's own.
    is_own: bool,
    /// The live integrations that use it.
    integrations: Vec<IntegrationName>,
}

/// A sender, and how to connect it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SenderDetails")]
pub(super) struct SenderDetailsAnswer {
    #[serde(flatten)]
    summary: SenderAnswer,
    /// The page of its documentation that the file follows.
    docs: String,
    /// When that page was read.
    checked: String,
    /// Where to paste the URL; empty if that is not known.
    paste_url: String,
    /// Where to find, or to enter, the secret; empty if that is not known.
    paste_secret: String,
    /// What else to know.
    note: String,
    /// How it proves its deliveries, a sentence for each way.
    proofs: Vec<String>,
    /// Other secrets that plugin.toml names, with what they are.
    other_secrets: BTreeMap<String, String>,
    /// Settings that plugin.toml has, with what they are.
    settings: BTreeMap<String, String>,
    /// Lines for plugin.toml; replace NAME by the integration's name.
    plugin_toml: String,
    /// The names of the secrets in these lines.
    secret_names: Vec<String>,
    /// Whether the secret belongs into the URL: `/v1/hooks/NAME/SECRET`.
    secret_in_url: bool,
    /// Hosts for `[outbound]` in hookmill.toml, with what for.
    outbound_hosts: BTreeMap<String, String>,
    /// The body of an example, if the file has one.
    example: Option<String>,
    /// Its integrations.
    used_by: Vec<SenderIntegration>,
}

/// An integration that uses a sender.
#[derive(Debug, Serialize, JsonSchema)]
struct SenderIntegration {
    name: IntegrationName,
    /// The path of its URL. A sender that has the secret in the URL adds `/` and the secret.
    path: String,
    /// The address that the sender signs, if plugin.toml names one.
    signed_url: Option<String>,
    /// Its secrets, without the secrets themselves.
    secrets: Vec<SenderSecret>,
    /// Why the server cannot send a test delivery; null if it can.
    no_test: Option<String>,
}

/// Whether a secret is set.
#[derive(Debug, Serialize, JsonSchema)]
struct SenderSecret {
    /// Its name in plugin.toml.
    name: String,
    /// Whether it is set on the server.
    is_set: bool,
}

/// `GET /v1/admin/senders`
pub(super) async fn list(call: Call, admin: Admin, (): ()) -> Result<List<SenderAnswer>, Failed> {
    let files = call.app.senders.get().files.clone();
    let read = move || -> Vec<_> {
        let all = files.names();
        let read = all.iter().filter_map(|name| Some((files.is_own(name), files.get(name).ok()?)));
        read.collect()
    };
    // Files are parsed, and their vectors run, at the first use.
    let senders = tokio::task::spawn_blocking(read).await.map_err(|_| Problem::Internal)?;
    let all = senders.iter().map(|(is_own, it)| SenderAnswer::of(it, *is_own, &using(&call.app, &admin, &it.name)));
    Ok(List { data: all.collect() })
}

/// `GET /v1/admin/senders/{name}`
pub(super) async fn show(
    call: Call,
    admin: Admin,
    Path(SentName(name)): Path<SentName>,
) -> Result<Success<SenderDetailsAnswer>, Failed> {
    let files = call.app.senders.get().files.clone();
    let using = using(&call.app, &admin, &name);
    let read = move || SenderDetailsAnswer::read(&files, &name, &using);
    let found = tokio::task::spawn_blocking(read).await.map_err(|_| Problem::Internal)?;
    Ok(Success(found.ok_or(Problem::NotFound("no such sender; GET /v1/admin/senders lists them"))?))
}

type Live = std::sync::Arc<Integration>;

/// The live integrations of a sender that the admin may see.
fn using(app: &App, admin: &Admin, sender: &str) -> Vec<Live> {
    let is_it = |it: &Live| admin.manages(&it.company_id) && it.sender.as_ref().is_some_and(|it| it.name == sender);
    app.registry.list().into_iter().filter(is_it).collect()
}

impl SenderAnswer {
    fn of(sender: &Sender, is_own: bool, using: &[Live]) -> Self {
        Self {
            name: sender.name.clone(),
            title: sender.title.clone(),
            group: sender.group.clone(),
            trust: sender.usual_trust(),
            is_own,
            integrations: using.iter().map(|it| it.name.clone()).collect(),
        }
    }
}

impl SenderDetailsAnswer {
    fn read(files: &Catalog, name: &str, using: &[Live]) -> Option<Self> {
        let sender = files.get(name).ok()?;
        let text = files.text(name).unwrap_or_default();
        let file: serde_json::Value = parse::toml(text.strip_prefix('\u{feff}').unwrap_or(text)).unwrap_or_default();
        let proofs = file["proof"].as_array().into_iter().flatten().map(described::proof).collect();
        let lines = auth_lines(&sender, "NAME");
        let setup = sender.setup.clone();
        Some(Self {
            summary: SenderAnswer::of(&sender, files.is_own(name), using),
            docs: sender.docs.clone(),
            checked: sender.checked.clone(),
            paste_url: setup.url,
            paste_secret: setup.secret,
            note: setup.note,
            proofs,
            other_secrets: sender.secrets.clone(),
            settings: sender.settings.clone(),
            secret_names: secret_names(&lines),
            secret_in_url: matches!(sender.choose(None, false), Ok(crate::auth::sender::Chosen::UrlSecret)),
            plugin_toml: lines,
            outbound_hosts: sender.outbound_hosts().into_iter().collect(),
            example: sender.example_delivery().map(|it| it.body),
            used_by: using.iter().map(|it| SenderIntegration::of(it)).collect(),
        })
    }
}

/// The names of secrets in lines of plugin.toml.
fn secret_names(lines: &str) -> Vec<String> {
    let table: serde_json::Value = parse::toml(lines).unwrap_or_default();
    let others = table["auth"]["secrets"].as_object().into_iter().flat_map(|it| it.values());
    let main = std::iter::once(&table["auth"]["secret"]);
    main.chain(others).filter_map(|it| it.as_str().map(str::to_owned)).collect()
}

impl SenderIntegration {
    fn of(it: &Integration) -> Self {
        let main: Vec<&String> = it.secrets.main.iter().map(|(name, _)| name).collect();
        let others: Vec<&String> = it.secrets.others.values().flatten().map(|(name, _)| name).collect();
        let secret = |set: &[&String], name: &String| SenderSecret { name: name.clone(), is_set: set.contains(&name) };
        let named = it.secrets.names.iter().map(|name| secret(&main, name));
        Self {
            name: it.name.clone(),
            path: format!("/v1/hooks/{}", it.name),
            signed_url: it.auth.signed_url().map(str::to_owned),
            secrets: named.chain(it.secrets.other_names.iter().map(|name| secret(&others, name))).collect(),
            no_test: it.cannot_sign(),
        }
    }
}
