//! The versions of a script: those of the history, or those that are published in the database.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::history::ScriptHistory;
use super::place::{NotPlaced, Staged};
use crate::config::watch::PluginSource;
use crate::integration::script::FolderScript;
use crate::integration::{Bundle, Integration};
use crate::service::app::App;
use crate::system::folder::Folder;

/// An earlier or the current version of a script.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ScriptVersion {
    /// Names it in URLs: SHA-256 of the script; of the whole folder, for a version that is published in the database.
    pub(crate) digest: String,
    /// `version` in plugin.toml.
    pub(crate) version: String,
    /// When it was saved or published.
    #[serde(serialize_with = "crate::model::time::utc")]
    pub(crate) at: DateTime<Utc>,
    /// Who did it: a key's id, the operator, or `plugins folder` for a text that was found there.
    pub(crate) by: String,
    /// Whether it is the current one.
    pub(crate) is_current: bool,
}

/// A version of a script with its text.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct VersionText {
    /// The version.
    #[serde(flatten)]
    pub(crate) version: ScriptVersion,
    /// Texts of its files, by name.
    pub(crate) files: BTreeMap<String, String>,
}

/// Returns the versions, newest first. Blocking.
pub(crate) fn script_versions(
    app: &App,
    integration: &Integration,
    current: &FolderScript,
) -> Result<Vec<ScriptVersion>, NotPlaced> {
    if app.config.plugin_source == PluginSource::Database {
        return published(app, integration);
    }
    let history = ScriptHistory::of(&app.config.data_dir, &integration.name.0, &integration.company_id).list();
    let shown = history.into_iter().map(|it| ScriptVersion {
        is_current: it.digest == current.digest,
        digest: it.digest,
        version: it.version,
        at: it.at,
        by: it.by,
    });
    let mut all: Vec<_> = shown.collect();
    // A version that was made current again is in the history more than once.
    let mut found = false;
    all.iter_mut().for_each(|it| {
        it.is_current &= !found;
        found |= it.is_current;
    });
    Ok(all)
}

/// Returns a version with its text; `None` if there is none with this digest. Blocking.
pub(crate) fn script_version(
    app: &App,
    integration: &Integration,
    current: &FolderScript,
    digest: &str,
) -> Result<Option<VersionText>, NotPlaced> {
    let Some(version) = script_versions(app, integration, current)?.into_iter().find(|it| it.digest == digest) else {
        return Ok(None);
    };
    let files = if app.config.plugin_source == PluginSource::Database {
        published_text(app, integration, &version.version, &current.file)?
    } else {
        let history = ScriptHistory::of(&app.config.data_dir, &integration.name.0, &integration.company_id);
        history.find(digest).map(|it| it.files)
    };
    Ok(files.map(|files| VersionText { version, files }))
}

fn published(app: &App, integration: &Integration) -> Result<Vec<ScriptVersion>, NotPlaced> {
    let Some(cluster) = app.store.cluster() else { return Ok(Vec::new()) };
    let all = cluster.bundles().versions(Some(&integration.name.0))?;
    let own = all.into_iter().filter(|it| it.company_id == integration.company_id.as_str());
    let shown = own.map(|it| ScriptVersion {
        digest: it.digest,
        version: it.version,
        at: it.published_at,
        by: it.publisher,
        is_current: it.is_active,
    });
    Ok(shown.collect())
}

/// The script's files in a published version; `None` if that has another mapping.
fn published_text(
    app: &App,
    integration: &Integration,
    version: &str,
    main: &str,
) -> Result<Option<BTreeMap<String, String>>, NotPlaced> {
    let (Some(cluster), Some(host)) = (app.store.cluster(), app.host.as_ref()) else { return Ok(None) };
    let most = Bundle::most_bytes(host.limits().module_bytes);
    let Some(bytes) = cluster.bundles().bundle(&integration.name.0, version, most)? else { return Ok(None) };
    let bundle = Bundle::decode(&bytes).map_err(NotPlaced::Other)?;
    // Only the folder as a whole says which files the script has.
    let staged = Staged::new(&app.config.data_dir, &integration.name.0).map_err(NotPlaced::files)?;
    bundle.write(&staged.folder).map_err(NotPlaced::files)?;
    let folder = Folder::open(&staged.folder).map_err(NotPlaced::files)?;
    let files = FolderScript::of(&folder).map_err(NotPlaced::files)?.map(|it| it.files).unwrap_or_default();
    Ok(files.contains_key(main).then_some(files))
}
