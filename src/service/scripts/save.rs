//! The way of a change: checked with the fixtures, written, and live.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::history::{KeptVersion, ScriptHistory};
use super::place::{Changes, NotPlaced, Placed, place, take_back};
use crate::config::watch::PluginSource;
use crate::format::schema::Violation;
use crate::integration::gate::run_gate;
use crate::integration::script::{FolderScript, edited, own_folder, with_script};
use crate::integration::{Integration, LoadFailure};
use crate::model::audit::{Action, Entry};
use crate::model::ids::new_id;
use crate::model::time::now;
use crate::plugin::Host;
use crate::service::app::{Admin, App};
use crate::service::watch::Pass;
use crate::store::StoreError;
use crate::system::folder::{FIXTURE_BYTES, Folder, MANIFEST_BYTES};

/// How often the folder is loaded again if it was still changing, and the pause before each time.
const LOADS: usize = 20;
const PAUSE: Duration = Duration::from_millis(200);

/// Texts that are to replace files of a script.
#[derive(Debug)]
pub(crate) struct ScriptEdit {
    /// By name.
    pub(crate) files: BTreeMap<String, String>,
    /// Digest of the script that was edited; `None` to replace any.
    pub(crate) base: Option<String>,
    /// What the audit log calls it.
    pub(crate) action: Action,
}

/// A script that was saved and is live.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ScriptSaved")]
pub(crate) struct SavedScript {
    /// SHA-256 of the script, hexadecimal.
    pub(crate) digest: String,
    /// `version` in plugin.toml.
    pub(crate) version: String,
    /// Number of fixtures that it has passed.
    pub(crate) fixtures: usize,
    /// Whether it differs from the version before.
    pub(crate) is_new: bool,
}

/// Why a change was not saved. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSaved {
    /// Somebody else has changed it.
    #[error("the script was changed since you read it; read it again, and make your change in the current text")]
    Stale,
    /// The files cannot be files of a script.
    #[error("{0}")]
    Invalid(String),
    /// The script cannot be loaded.
    #[error("{0}")]
    Script(String),
    /// Fixtures fail.
    #[error("{}", told(.0))]
    Fixtures(Vec<Violation>),
    /// It was written, and the server refused the folder; it has the files from before again.
    #[error("the server refuses it, so it was taken back: {0}")]
    Refused(String),
    /// It cannot be written.
    #[error(transparent)]
    NotPlaced(#[from] NotPlaced),
    /// It cannot be recorded in the audit log.
    #[error(transparent)]
    NotNoted(#[from] StoreError),
    /// The folder cannot be read.
    #[error("the plugin's folder cannot be read; the server's log says why")]
    Unreadable(LoadFailure),
    /// The folder belongs to another company now.
    #[error("{}", LoadFailure::OtherCompany)]
    OtherCompany,
    /// The plugin is not a script and has no table `[task]`.
    #[error("this plugin has no text that can be changed here")]
    NoScript,
}

impl From<LoadFailure> for NotSaved {
    fn from(failure: LoadFailure) -> Self {
        match failure {
            LoadFailure::OtherCompany => Self::OtherCompany,
            other => Self::Unreadable(other),
        }
    }
}

fn told(failed: &[Violation]) -> String {
    let first = failed.first().map_or("", |it| it.message.as_str());
    let more = failed.len().saturating_sub(1);
    let more = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("fixtures fail, so nothing was saved: {first}{more}")
}

/// A change that was written.
struct WrittenScript {
    placed: Placed,
    fixtures: usize,
    digest: String,
    before: FolderScript,
    files: BTreeMap<String, String>,
    noted: Entry,
}

/// Saves a script as a new version, and waits until it is live.
pub(crate) async fn save_script(
    app: &Arc<App>,
    integration: &Arc<Integration>,
    edit: ScriptEdit,
    admin: &Admin,
) -> Result<SavedScript, NotSaved> {
    let work = {
        let (app, integration, admin) = (Arc::clone(app), Arc::clone(integration), admin.clone());
        move || write_script(&app, &integration, edit, &admin)
    };
    let Some(written) = blocking(work).await? else { return current(app, integration) };
    let WrittenScript { placed, fixtures, digest, before, files, noted } = written;
    let is_live = |it: &Integration| it.provenance.script_sha256.as_ref() == Some(&digest);
    if let Err(failed) = live_or_taken_back(app, integration, placed, admin, is_live).await {
        app.store.note(not_saved(&noted)).await?;
        return Err(failed);
    }
    // The database has its own history.
    if app.config.plugin_source == PluginSource::Folder {
        let written = FolderScript { files, digest: digest.clone(), ..before.clone() };
        let (app, integration, admin) = (Arc::clone(app), Arc::clone(integration), admin.clone());
        blocking(move || {
            keep(&app, &integration, &before, written, &admin);
            Ok(())
        })
        .await?;
    }
    let live = app.registry.get(&integration.name.0);
    let version = live.map_or_else(|| integration.version.clone(), |it| it.version.clone());
    Ok(SavedScript { digest, version, fixtures, is_new: true })
}

/// Saves a fixture, and waits until the folder with it is live. `text` is the file's.
pub(crate) async fn save_fixture(
    app: &Arc<App>,
    integration: &Arc<Integration>,
    file: String,
    text: String,
    replace: bool,
    admin: &Admin,
) -> Result<(), NotSaved> {
    let before = integration.digest.clone();
    let work = {
        let (app, integration, admin) = (Arc::clone(app), Arc::clone(integration), admin.clone());
        move || {
            let folder = own_folder(&app.config.live_plugins_dir(), &integration)?;
            if replace && folder.text(&file, FIXTURE_BYTES).is_ok_and(|it| it == text) {
                return Ok(None);
            }
            let entry = admin.does(Action::FixtureSaved, &integration.name).of(&integration.company_id).with(&file);
            let changes = Changes::from([(file, text)]);
            let placed = noted_and_placed(&app, &integration, &changes, replace, &admin, &entry)?;
            Ok(Some((placed, entry)))
        }
    };
    let Some((placed, noted)) = blocking(work).await? else { return Ok(()) };
    let live = live_or_taken_back(app, integration, placed, admin, |it| it.digest != before).await;
    if live.is_err() {
        app.store.note(not_saved(&noted)).await?;
    }
    live
}

/// Checks and writes a script; `None` if it is the current one. Blocking.
fn write_script(
    app: &App,
    integration: &Integration,
    edit: ScriptEdit,
    admin: &Admin,
) -> Result<Option<WrittenScript>, NotSaved> {
    let folder = own_folder(&app.config.live_plugins_dir(), integration)?;
    let before = FolderScript::of(&folder)?.ok_or(NotSaved::NoScript)?;
    if edit.base.is_some_and(|it| it != before.digest) {
        return Err(NotSaved::Stale);
    }
    let files = edited(&folder, &before, &edit.files).map_err(NotSaved::Invalid)?;
    let changes: Changes = before.changes_to(&files).map_err(|failure| match failure {
        LoadFailure::Script(cause) => NotSaved::Script(cause),
        other => other.into(),
    })?;
    if changes.is_empty() {
        return Ok(None);
    }
    let host = app.host.as_ref().ok_or(NotSaved::NoScript)?;
    let (candidate, fixtures) = gate(app, host, integration, &folder, files.clone())?;
    let digest = candidate.provenance.script_sha256.clone().unwrap_or_default();
    // The rest of plugin.toml may have been changed while the fixtures ran.
    if changes.contains_key("plugin.toml")
        && folder.text("plugin.toml", MANIFEST_BYTES).ok() != Some(before.manifest.clone())
    {
        return Err(NotSaved::Stale);
    }
    // Before it is live: a script that nobody has recorded never runs.
    let entry = admin.does(edit.action, &integration.name).of(&integration.company_id);
    let noted = entry.with(format!("script sha256 {digest}, {fixtures} fixtures"));
    let placed = noted_and_placed(app, integration, &changes, true, admin, &noted)?;
    Ok(Some(WrittenScript { placed, fixtures, digest, before, files, noted }))
}

/// Adds an entry to the audit log, and then writes the files. Blocking.
fn noted_and_placed(
    app: &App,
    integration: &Integration,
    changes: &Changes,
    replace: bool,
    admin: &Admin,
    noted: &Entry,
) -> Result<Placed, NotSaved> {
    let runtime = tokio::runtime::Handle::current();
    runtime.block_on(app.store.note(noted.clone()))?;
    let placed = place(app, integration, changes, replace, admin);
    if placed.is_err() {
        runtime.block_on(app.store.note(not_saved(noted)))?;
    }
    Ok(placed?)
}

/// The entry that says that the change of an earlier one was not made.
fn not_saved(noted: &Entry) -> Entry {
    let now = now();
    Entry { id: new_id(now), at: now, detail: format!("not saved: {}", noted.detail), ..noted.clone() }
}

/// Loads the candidate and runs the fixtures.
fn gate(
    app: &App,
    host: &Host,
    integration: &Integration,
    folder: &Folder,
    files: BTreeMap<String, String>,
) -> Result<(Integration, usize), NotSaved> {
    let candidate = with_script(host, integration, folder, files, &app.senders.get(), now());
    let candidate = candidate.map_err(|failure| match failure {
        LoadFailure::Script(cause) => NotSaved::Script(cause),
        other => other.into(),
    })?;
    let result = run_gate(host, &candidate, folder)?;
    let (fixtures, failed) = (result.fixtures.len(), result.failures());
    if failed.is_empty() { Ok((candidate, fixtures)) } else { Err(NotSaved::Fixtures(failed)) }
}

/// Adds the new version to the history, and the one before it, if it is not there yet.
fn keep(app: &App, integration: &Integration, before: &FolderScript, written: FolderScript, admin: &Admin) {
    let history = ScriptHistory::of(&app.config.data_dir, &integration.name.0, &integration.company_id);
    let version = |it: FolderScript, at, by: &str| KeptVersion {
        digest: it.digest,
        at,
        by: by.to_owned(),
        version: it.version,
        company: integration.company_id.clone(),
        files: it.files,
    };
    let known = history.find(&before.digest).is_some();
    let old = (!known).then(|| version(before.clone(), integration.loaded_at, "plugins folder"));
    let added = old.into_iter().chain([version(written, now(), admin.name())]).try_for_each(|it| history.add(&it));
    if let Err(error) = added {
        tracing::error!(cause = %error, plugin = &*integration.name.0, "the history of its script cannot be written");
    }
}

/// The script as it is.
fn current(app: &App, integration: &Integration) -> Result<SavedScript, NotSaved> {
    let folder = own_folder(&app.config.live_plugins_dir(), integration)?;
    let script = FolderScript::of(&folder)?.ok_or(NotSaved::NoScript)?;
    Ok(SavedScript { digest: script.digest, version: script.version, fixtures: 0, is_new: false })
}

/// Waits until the folder is live as it was written. Else what was written is taken back.
async fn live_or_taken_back(
    app: &Arc<App>,
    integration: &Arc<Integration>,
    placed: Placed,
    admin: &Admin,
    is_live: impl Fn(&Integration) -> bool,
) -> Result<(), NotSaved> {
    let name = &*integration.name.0;
    let mut why = "the server has no plugins folder".to_owned();
    if let Some(watch) = &app.watch {
        for _ in 0..LOADS {
            let pass = watch.look().await.map_err(NotSaved::Refused)?;
            if app.registry.get(name).is_some_and(|it| it.company_id == integration.company_id && is_live(&it)) {
                return Ok(());
            }
            if let Some(cause) = refusal(app, integration, &pass) {
                why = cause;
                break;
            }
            why = "it is still being loaded".to_owned();
            tokio::time::sleep(PAUSE).await;
        }
    }
    let undo = {
        let (app, integration, admin) = (Arc::clone(app), Arc::clone(integration), admin.clone());
        move || {
            take_back(&app, &integration, &placed, &admin);
            Ok(())
        }
    };
    blocking(undo).await?;
    if let Some(watch) = &app.watch {
        let _told_by_its_log = watch.look().await;
    }
    Err(NotSaved::Refused(why))
}

/// Why the folder is refused, if it is. The reason names files, and may quote fixtures, of the company that has the folder now.
fn refusal(app: &App, integration: &Integration, pass: &Pass) -> Option<String> {
    let (name, all) = (&*integration.name.0, app.registry.refused());
    let refused = all.get(name);
    let cause = pass.refused.get(name).or_else(|| refused.map(|it| &it.message))?;
    let told = refused.is_none_or(|it| it.concerns(&integration.company_id));
    Some(if told { cause.clone() } else { "refused; the operator sees why".to_owned() })
}

/// Runs blocking work, and waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NotSaved> + Send + 'static,
) -> Result<T, NotSaved> {
    let ended = tokio::task::spawn_blocking(work).await;
    // The admin of a company does not see the machine's paths and errors.
    match &ended {
        Ok(Err(NotSaved::Unreadable(cause))) => tracing::warn!(%cause, "a plugin folder cannot be read"),
        Ok(Err(NotSaved::NotPlaced(NotPlaced::ReadOnly { file, cause }))) => {
            tracing::warn!(%cause, file, "a plugin folder cannot be written");
        }
        _ => {}
    }
    ended.unwrap_or_else(|_| Err(NotPlaced::Other("saving it failed unexpectedly".into()).into()))
}
