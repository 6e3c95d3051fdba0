//! What maps an integration's payloads: a module, a script or expressions.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::files::LoadFailure;
use crate::plugin::{MappingSource, MappingText};
use crate::system::folder::Folder;

/// Maximum size of a script, and of each file that it imports, in bytes.
pub(super) const SCRIPT_BYTES: u64 = 256 << 10;
/// Maximum number of files of a script.
pub(super) const SCRIPT_FILES: usize = 32;
/// Maximum size of all files of a script together, in bytes.
pub(super) const SCRIPTS_BYTES: u64 = 1 << 20;

/// The mapping that plugin.toml names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mapping {
    /// `module`: the name of the WebAssembly file.
    Module(String),
    /// `script`: the name of the JavaScript file.
    Script(String),
    /// `[task]`: an expression for each field.
    Expressions {
        /// The table.
        task: Value,
        /// Its text, if it is a table of its own.
        text: Option<String>,
    },
}

impl Mapping {
    /// Returns the file that an error about the mapping is about.
    pub(super) fn file(&self) -> &str {
        match self {
            Self::Module(file) | Self::Script(file) => file,
            Self::Expressions { .. } => "plugin.toml",
        }
    }

    /// Reads what the interpreter runs; `None` for a module.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub(super) fn source(
        &self,
        folder: &Folder,
        timezone: chrono_tz::Tz,
    ) -> Result<Option<MappingSource>, LoadFailure> {
        let written = match self {
            Self::Module(_) => return Ok(None),
            Self::Script(file) => MappingText::Script { file: file.clone(), files: script_files(folder, file)? },
            Self::Expressions { task, text } => MappingText::Expressions { task: task.clone(), text: text.clone() },
        };
        Ok(Some(MappingSource { written, timezone }))
    }
}

/// Returns the texts of a script and of the files next to it that it imports, by name.
///
/// # Errors
/// Fails if the script cannot be read, or if its files are too many or too large.
pub(super) fn script_files(folder: &Folder, script: &str) -> Result<BTreeMap<String, String>, LoadFailure> {
    script_files_with(folder, script, &BTreeMap::new())
}

/// Like [`script_files`], with these texts in place of files of the same names.
pub(super) fn script_files_with(
    folder: &Folder,
    script: &str,
    instead: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, LoadFailure> {
    let failed = |file: &str, cause: std::io::Error| LoadFailure::Read { file: folder.join(file), cause };
    let mut files = BTreeMap::new();
    let mut wanted = vec![script.to_owned()];
    let mut bytes = 0;
    while let Some(name) = wanted.pop() {
        if files.contains_key(&name) {
            continue;
        }
        let text = match instead.get(&name).map_or_else(|| folder.text(&name, SCRIPT_BYTES), |it| Ok(it.clone())) {
            // The interpreter names the statement that imports it.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && name != script => continue,
            text => text.map_err(|it| failed(&name, it))?,
        };
        bytes += text.len() as u64;
        wanted.extend(imported(&text));
        files.insert(name, text);
        if files.len() > SCRIPT_FILES || bytes > SCRIPTS_BYTES {
            let said = format!("imports more than {SCRIPT_FILES} files, or {} KiB in total", SCRIPTS_BYTES >> 10);
            return Err(failed(script, std::io::Error::other(said)));
        }
    }
    Ok(files)
}

/// Returns the names of files next to a script that its texts in quotation marks name, such as `./names.js`. These
/// are at least those that it imports.
fn imported(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for quote in ['"', '\'', '`'] {
        let pieces = text.split(quote).filter_map(|it| it.strip_prefix("./"));
        found.extend(pieces.filter(|it| is_script_file(it)).map(str::to_owned));
    }
    found
}

/// Returns whether a name is one of a file that a script can import.
pub(super) fn is_script_file(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|it| it.to_str()).unwrap_or_default();
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '.' | '_' | '-');
    matches!(extension, "js" | "mjs" | "json") && name.len() <= 100 && !name.starts_with('.') && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imported_files_are_found() {
        let text = "import a from './a.js';\nimport b from \"./b.json\";\nexport * from './c.mjs'; const no = './../d.js' + \"./e/f.js\" + './g.txt' + 'h.js';";
        assert_eq!(imported(text), ["b.json", "a.js", "c.mjs"]);
    }
}
