//! The script of a plugin folder, for those who edit it: its files, and an integration that runs other files in their place.
//! The text of `[task]` in plugin.toml is such a file too.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::bundle::hex;
use super::files::LoadFailure;
use super::live::Integration;
use super::load::{assemble, company, company_of, open_in, own_sender, read_schema, timezone};
use super::manifest::Manifest;
use super::mapping::{Mapping, SCRIPT_BYTES, is_script_file, script_files, script_files_with};
use super::task_table::with_task_text;
use crate::auth::Senders;
use crate::plugin::{Host, MappingSource, MappingText, PluginLimits, TASK_FILE};
use crate::system::folder::Folder;

/// Opens the folder of a live integration. A newer version in it may belong to another company: then it is not shown.
///
/// # Errors
/// Fails if it cannot be opened, or belongs to another company.
pub(crate) fn own_folder(plugins: &Path, integration: &Integration) -> Result<Folder, LoadFailure> {
    let folder = open_in(plugins, (*integration.name.0).as_ref())?;
    match company_of(&folder) {
        Some(company) if company == integration.company_id => Ok(folder),
        Some(_) => Err(LoadFailure::OtherCompany),
        None => {
            let cause = "company_id: it cannot be read".to_owned();
            Err(LoadFailure::Manifest { file: folder.join("plugin.toml"), cause })
        }
    }
}

/// The script of a folder.
#[derive(Debug, Clone)]
pub(crate) struct FolderScript {
    /// `version` in plugin.toml.
    pub(crate) version: String,
    /// Name of the file that plugin.toml names; [`TASK_FILE`] for expressions.
    pub(crate) file: String,
    /// Texts of this file and of those that it imports, by name.
    pub(crate) files: BTreeMap<String, String>,
    /// SHA-256 of these files, as in the provenance of tasks.
    pub(crate) digest: String,
    /// Text of plugin.toml.
    pub(crate) manifest: String,
}

impl FolderScript {
    /// Reads the script of a folder; `None` if its plugin is not a script and has no table `[task]`.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub(crate) fn of(folder: &Folder) -> Result<Option<Self>, LoadFailure> {
        let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
        let text = Manifest::text(folder)?;
        let manifest = Manifest::parse(&text).map_err(wrong)?;
        let (file, files, written) = match manifest.mapping() {
            Some(Mapping::Script(file)) => {
                let files = script_files(folder, &file)?;
                (file.clone(), files.clone(), MappingText::Script { file, files })
            }
            Some(Mapping::Expressions { task, text: Some(text) }) => {
                let files = BTreeMap::from([(TASK_FILE.to_owned(), text.clone())]);
                (TASK_FILE.to_owned(), files, MappingText::Expressions { task, text: Some(text) })
            }
            _ => return Ok(None),
        };
        let timezone = timezone(&manifest).map_err(wrong)?;
        let digest = hex(&MappingSource { written, timezone }.sha256());
        Ok(Some(Self { version: manifest.version, file, files, digest, manifest: text }))
    }

    /// Returns what to write into the folder, by file, so that its script has these files.
    ///
    /// # Errors
    /// What is wrong with a text of `[task]`.
    pub(crate) fn changes_to(&self, files: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, LoadFailure> {
        let is_new = |(name, text): &(&String, &String)| self.files.get(*name) != Some(*text);
        let mut new: BTreeMap<_, _> =
            files.iter().filter(is_new).map(|(name, it)| (name.clone(), it.clone())).collect();
        if let Some(text) = new.remove(TASK_FILE) {
            let manifest = with_task_text(&self.manifest, &text).map_err(LoadFailure::Script)?;
            new.insert("plugin.toml".to_owned(), manifest);
        }
        Ok(new)
    }
}

/// Returns the files of the script that results if these texts replace files of a folder with the same names. A text that the
/// script does not import is left out.
///
/// # Errors
/// Why they cannot be files of a script.
pub(crate) fn edited(
    folder: &Folder,
    script: &FolderScript,
    texts: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, String> {
    let is_table = script.file == TASK_FILE;
    for (name, text) in texts {
        if is_table && name != TASK_FILE {
            return Err(format!("files: {name:?} is not part of this mapping, which is the text {TASK_FILE:?}"));
        }
        if *name != script.file && !is_script_file(name) {
            return Err(format!("files: {name:?} is not a name that a script can import; use names such as names.js"));
        }
        if text.len() as u64 > SCRIPT_BYTES {
            return Err(format!("files: {name} has {} bytes; the maximum is {SCRIPT_BYTES}", text.len()));
        }
    }
    if is_table {
        let mut files = script.files.clone();
        files.extend(texts.iter().map(|(name, it)| (name.clone(), written(it))));
        return Ok(files);
    }
    script_files_with(folder, &script.file, texts).map_err(|failure| match failure {
        LoadFailure::Read { cause, .. } => format!("files: {cause}"),
        other => other.to_string(),
    })
}

/// Loads the folder of a live integration with other files of its script, without its fixtures. The result has no threads: its
/// calls run on the caller's.
///
/// # Errors
/// What is wrong with the folder, or with the script, with its place; also if the folder belongs to another company by now.
pub(crate) fn with_script(
    host: &Host,
    live: &Integration,
    folder: &Folder,
    files: BTreeMap<String, String>,
    senders: &Senders,
    now: DateTime<Utc>,
) -> Result<Integration, LoadFailure> {
    let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
    let text = Manifest::text(folder)?;
    let mut manifest = Manifest::parse(&text).map_err(wrong)?;
    let written = match (manifest.mapping(), files.get(TASK_FILE)) {
        (Some(Mapping::Script(file)), _) => MappingText::Script { file, files },
        (Some(Mapping::Expressions { .. }), Some(task)) => {
            manifest = with_table(&text, task)?;
            expressions(&manifest).ok_or_else(|| wrong(NO_TEXT.into()))?
        }
        _ => return Err(wrong(NO_TEXT.into())),
    };
    let (company, timezone) = (company(&manifest).map_err(wrong)?, timezone(&manifest).map_err(wrong)?);
    if company != live.company_id {
        return Err(LoadFailure::OtherCompany);
    }
    let schema = read_schema(folder, &manifest)?.within(host.limits().schema);
    let source = MappingSource { written, timezone };
    let table = source.written.clone();
    let limits = PluginLimits { concurrency: 0, ..manifest.limits() };
    let plugin = host.aside().load_script(&company, &manifest.name, source, limits);
    let plugin = plugin.map_err(|cause| LoadFailure::Script(table.placed(cause)))?;
    let own = own_sender(folder, &manifest).map_err(wrong)?;
    let body_bytes = manifest.body_bytes().unwrap_or(host.limits().body_bytes);
    let mut integration = assemble(manifest, own, schema, Some(plugin), senders, now).map_err(wrong)?;
    integration.rules.body_bytes = body_bytes;
    Ok(integration)
}

/// What cannot be loaded with other files.
const NO_TEXT: &str = "its mapping is neither a script nor a table [task]";

/// Reads plugin.toml with another text of `[task]`.
fn with_table(text: &str, task: &str) -> Result<Manifest, LoadFailure> {
    let manifest = with_task_text(text, task).map_err(LoadFailure::Script)?;
    let table = MappingText::Expressions { task: serde_json::Value::Null, text: Some(task.to_owned()) };
    Manifest::parse(&manifest).map_err(|cause| LoadFailure::Script(table.placed(format!("plugin.toml: {cause}"))))
}

fn expressions(manifest: &Manifest) -> Option<MappingText> {
    match manifest.mapping()? {
        Mapping::Expressions { task, text } => Some(MappingText::Expressions { task, text }),
        _ => None,
    }
}

/// A text of `[task]` as it is in plugin.toml: with one line break at its end.
fn written(text: &str) -> String {
    format!("{}\n", text.trim())
}
