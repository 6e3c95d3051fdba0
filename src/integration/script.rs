//! The script of a plugin folder, for those who edit it: its files, and an integration that runs other files in their place.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};

use super::bundle::hex;
use super::files::LoadFailure;
use super::live::Integration;
use super::load::{assemble, company, company_of, open_in, own_sender, read_schema, timezone};
use super::manifest::Manifest;
use super::mapping::{Mapping, SCRIPT_BYTES, is_script_file, script_files, script_files_with};
use crate::auth::Senders;
use crate::plugin::{Host, MappingSource, MappingText, PluginLimits};
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
    /// Name of the file that plugin.toml names.
    pub(crate) file: String,
    /// Texts of this file and of those that it imports, by name.
    pub(crate) files: BTreeMap<String, String>,
    /// SHA-256 of these files, as in the provenance of tasks.
    pub(crate) digest: String,
}

impl FolderScript {
    /// Reads the script of a folder; `None` if its plugin is not a script.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub(crate) fn of(folder: &Folder) -> Result<Option<Self>, LoadFailure> {
        let manifest = Manifest::of(folder)?;
        let Some(Mapping::Script(file)) = manifest.mapping() else { return Ok(None) };
        let files = script_files(folder, &file)?;
        let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
        let timezone = timezone(&manifest).map_err(wrong)?;
        let written = MappingText::Script { file: file.clone(), files: files.clone() };
        let digest = hex(&MappingSource { written, timezone }.sha256());
        Ok(Some(Self { version: manifest.version, file, files, digest }))
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
    for (name, text) in texts {
        if *name != script.file && !is_script_file(name) {
            return Err(format!("files: {name:?} is not a name that a script can import; use names such as names.js"));
        }
        if text.len() as u64 > SCRIPT_BYTES {
            return Err(format!("files: {name} has {} bytes; the maximum is {SCRIPT_BYTES}", text.len()));
        }
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
    let manifest = Manifest::of(folder)?;
    let wrong = |cause: String| LoadFailure::Manifest { file: folder.join("plugin.toml"), cause };
    let Some(Mapping::Script(file)) = manifest.mapping() else {
        return Err(wrong("its mapping is not a script".into()));
    };
    let (company, timezone) = (company(&manifest).map_err(wrong)?, timezone(&manifest).map_err(wrong)?);
    if company != live.company_id {
        return Err(LoadFailure::OtherCompany);
    }
    let schema = read_schema(folder, &manifest)?.within(host.limits().schema);
    let source = MappingSource { written: MappingText::Script { file, files }, timezone };
    let limits = PluginLimits { concurrency: 0, ..manifest.limits() };
    let plugin = host.aside().load_script(&company, &manifest.name, source, limits).map_err(LoadFailure::Script)?;
    let own = own_sender(folder, &manifest).map_err(wrong)?;
    let body_bytes = manifest.body_bytes().unwrap_or(host.limits().body_bytes);
    let mut integration = assemble(manifest, own, schema, Some(plugin), senders, now).map_err(wrong)?;
    integration.rules.body_bytes = body_bytes;
    Ok(integration)
}
