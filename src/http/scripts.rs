//! `/v1/admin/plugins/{name}/script`: the script of a plugin, its versions, and changes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Failed;
use super::body::{Json, JsonBody};
use super::call::Call;
use super::openapi::examples::Example;
use super::path::{Path, SentDigest, SentName};
use super::problem::Problem;
use super::reply::{List, Success};
use super::trial::{managed, trial_share, unreadable};
use crate::config::watch::PluginSource;
use crate::integration::Integration;
use crate::integration::script::{FolderScript, own_folder};
use crate::model::audit::Action;
use crate::service::app::{Admin, App};
use crate::service::scripts::{
    NotSaved, SavedScript, ScriptEdit, ScriptVersion, VersionText, save_script, script_version, script_versions,
};

/// The script of a plugin as it is in the plugin's folder.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ScriptAnswer {
    /// The plugin.
    name: String,
    /// `version` in plugin.toml.
    version: String,
    /// Name of the file that plugin.toml names; `plugin.toml#task` for expressions, whose text is the table `[task]` of plugin.toml.
    file: String,
    /// Texts of this file and of those that it imports, by name.
    files: BTreeMap<String, String>,
    /// SHA-256 of these files, hexadecimal: `base_digest` of a change.
    digest: String,
    /// The same of the script that is live; another one if the text in the folder is refused, or is being loaded.
    live_digest: Option<String>,
    /// Where changes go.
    source: ScriptSource,
}

/// Where a script is kept.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ScriptSource {
    /// In the plugins folder of this server.
    Folder,
    /// In the database, for all servers.
    Database,
}

/// A change of a script.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptChange {
    /// Texts that replace files of the script, or are new, by name.
    files: BTreeMap<String, String>,
    /// `digest` of the script that you have edited.
    base_digest: String,
}

impl JsonBody for ScriptChange {
    const ABOUT: &'static str = "The new texts, and what they were made from.";
    const EXAMPLES: &'static [Example] = &[];
}

/// `GET /v1/admin/plugins/{name}/script`
pub(super) async fn show(
    call: Call,
    admin: Admin,
    Path(SentName(name)): Path<SentName>,
) -> Result<Success<ScriptAnswer>, Failed> {
    let integration = managed(&call, &admin, &name)?;
    let app = Arc::clone(&call.app);
    let script = off_reactor(move || {
        let script = in_folder(&app, &integration)?;
        Ok(ScriptAnswer {
            name: integration.name.to_string(),
            version: script.version,
            file: script.file,
            files: script.files,
            digest: script.digest,
            live_digest: integration.provenance.script_sha256.clone(),
            source: match app.config.plugin_source {
                PluginSource::Folder => ScriptSource::Folder,
                PluginSource::Database => ScriptSource::Database,
            },
        })
    });
    Ok(Success(script.await?))
}

/// `PUT /v1/admin/plugins/{name}/script`: live when it answers, or nothing has changed.
pub(super) async fn change(
    call: Call,
    admin: Admin,
    (Path(SentName(name)), Json { value: asked, .. }): (Path<SentName>, Json<ScriptChange>),
) -> Result<Success<SavedScript>, Failed> {
    let integration = managed(&call, &admin, &name)?;
    let edit = ScriptEdit { files: asked.files, base: Some(asked.base_digest), action: Action::ScriptSaved };
    Ok(Success(saved(&call, &admin, integration, edit).await?))
}

/// `GET /v1/admin/plugins/{name}/script/versions`: newest first.
pub(super) async fn versions(
    call: Call,
    admin: Admin,
    Path(SentName(name)): Path<SentName>,
) -> Result<List<ScriptVersion>, Failed> {
    let integration = managed(&call, &admin, &name)?;
    let app = Arc::clone(&call.app);
    let list = off_reactor(move || {
        let script = in_folder(&app, &integration)?;
        script_versions(&app, &integration, &script).map_err(|it| NotSaved::from(it).into())
    });
    Ok(List { data: list.await? })
}

/// `GET /v1/admin/plugins/{name}/script/versions/{digest}`
pub(super) async fn version(
    call: Call,
    admin: Admin,
    (Path(SentName(name)), Path(SentDigest(digest))): (Path<SentName>, Path<SentDigest>),
) -> Result<Success<VersionText>, Failed> {
    let integration = managed(&call, &admin, &name)?;
    Ok(Success(found(&call, &integration, digest).await?))
}

/// `POST /v1/admin/plugins/{name}/script/versions/{digest}/restore`: through the same gate as a change.
pub(super) async fn restore(
    call: Call,
    admin: Admin,
    (Path(SentName(name)), Path(SentDigest(digest))): (Path<SentName>, Path<SentDigest>),
) -> Result<Success<SavedScript>, Failed> {
    let integration = managed(&call, &admin, &name)?;
    let version = found(&call, &integration, digest).await?;
    let edit = ScriptEdit { files: version.files, base: None, action: Action::ScriptRestored };
    Ok(Success(saved(&call, &admin, integration, edit).await?))
}

/// Saves a script. The audit log has who did it, and never its text.
async fn saved(
    call: &Call,
    admin: &Admin,
    integration: Arc<Integration>,
    edit: ScriptEdit,
) -> Result<SavedScript, Problem> {
    let _one_of_few = trial_share(call, &integration)?;
    let _alone = call.app.edits.begin(&integration.name.0).ok_or(Problem::BeingEdited)?;
    Ok(save_script(&call.app, &integration, edit, admin).await?)
}

async fn found(call: &Call, integration: &Arc<Integration>, digest: String) -> Result<VersionText, Problem> {
    let (app, integration) = (Arc::clone(&call.app), Arc::clone(integration));
    let version = off_reactor(move || {
        let script = in_folder(&app, &integration)?;
        script_version(&app, &integration, &script, &digest).map_err(|it| NotSaved::from(it).into())
    });
    version.await?.ok_or(Problem::NotFound("no such version of this script is kept"))
}

fn in_folder(app: &App, integration: &Integration) -> Result<FolderScript, Problem> {
    let folder = own_folder(&app.config.live_plugins_dir(), integration).map_err(unreadable)?;
    let script = FolderScript::of(&folder).map_err(unreadable)?;
    script.ok_or(Problem::NotFound(
        "this plugin has no text to show: it is a module, or [task] is not a table of its own in plugin.toml",
    ))
}

/// Reads files off the async threads.
async fn off_reactor<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::Internal)?
}
