//! Loads what maps a folder's payloads.

use std::path::Path;

use super::files::LoadFailure;
use super::manifest::Manifest;
use crate::model::company::CompanyId;
use crate::plugin::{Host, LoadError, Plugin};
use crate::system::folder::Folder;

/// Loads the mapping of a folder as a plugin; `None` if it has none.
///
/// # Errors
/// The file and what is wrong with it.
pub(super) fn load(
    host: &Host,
    company: &CompanyId,
    folder: &Folder,
    manifest: &Manifest,
    timezone: chrono_tz::Tz,
) -> Result<Option<Plugin>, LoadFailure> {
    let Some(mapping) = manifest.mapping() else { return Ok(None) };
    let limits = manifest.limits();
    let plugin = match mapping.source(folder, timezone)? {
        Some(source) => {
            let script = host.load_script(company, &manifest.name, source, limits);
            script.map_err(|cause| in_file(&folder.join(mapping.file()), mapping.file(), &cause))?
        }
        None => host.load(company, &manifest.name, folder, mapping.file(), limits)?,
    };
    Ok(Some(plugin))
}

/// Names the file once: an error in a script begins with its place.
fn in_file(path: &Path, file: &str, cause: &str) -> LoadFailure {
    let path = path.display();
    let (file, cause) = match cause.strip_prefix(file).and_then(|it| it.split_once(": ")) {
        Some((place, cause)) => (format!("{path}{place}"), cause),
        None => (path.to_string(), cause),
    };
    LoadFailure::Module(LoadError { file, cause: cause.to_owned() })
}
