//! What the author of a script or of expressions writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{numbers, zones};
use crate::plugin::bounded::cut;

/// Name of the text of `[task]` where a script has files.
pub const TASK_FILE: &str = "plugin.toml#task";
/// What a place in `[task]` begins with; its field follows.
pub(super) const IN_TASK: &str = "plugin.toml: [task] ";

/// Maximum length of a statement that an error shows, in characters.
const STATEMENT: usize = 160;

/// A mapping for the interpreter.
#[derive(Debug, Clone, PartialEq)]
pub struct MappingSource {
    /// The mapping itself.
    pub written: MappingText,
    /// The time zone of dates without an offset, and of `DateTime.now()`.
    pub timezone: chrono_tz::Tz,
}

/// A script, or expressions.
#[derive(Debug, Clone, PartialEq)]
pub enum MappingText {
    /// `script` in plugin.toml: the file's name, and the texts of this file and of those that it imports.
    Script {
        /// Name of the script's file.
        file: String,
        /// Texts, by the files' names.
        files: BTreeMap<String, String>,
    },
    /// `[task]` in plugin.toml.
    Expressions {
        /// The table.
        task: Value,
        /// Its text, if it is a table of its own in plugin.toml.
        text: Option<String>,
    },
}

/// A place in a mapping, for an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingPlace {
    /// Where: `mapper.js:5:3`, or `plugin.toml: [task] title`.
    pub at: String,
    /// The statement or the expression there, if it is known.
    pub statement: Option<Arc<str>>,
}

impl MappingSource {
    /// Returns the SHA-256 of everything that the author has written.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        let mut sum = Sha256::new();
        let mut add = |part: &str| {
            sum.update((part.len() as u64).to_le_bytes());
            sum.update(part);
        };
        match &self.written {
            MappingText::Script { file, files } => {
                add(file);
                files.iter().for_each(|(name, text)| [name, text].into_iter().for_each(|it| add(it)));
            }
            MappingText::Expressions { text: Some(text), .. } => [TASK_FILE, text].into_iter().for_each(&mut add),
            MappingText::Expressions { task, text: None } => add(&task.to_string()),
        }
        add(self.timezone.name());
        sum.finalize().into()
    }

    /// Returns whether it is `[task]`.
    #[must_use]
    pub fn is_expressions(&self) -> bool {
        matches!(self.written, MappingText::Expressions { .. })
    }

    /// Returns what the interpreter is given.
    pub(super) fn described(&self) -> Value {
        let zone = self.timezone.name();
        match &self.written {
            MappingText::Script { file, files } => {
                let texts = files.values().map(String::as_str);
                // Tables have large ids as the payload has them: as texts.
                let exact = |(name, text): (&String, &String)| {
                    let is_table = name.ends_with(".json");
                    (name.clone(), if is_table { numbers::exact(text).into_owned() } else { text.clone() })
                };
                let files: BTreeMap<_, _> = files.iter().map(exact).collect();
                json!({ "script": file, "files": files, "zone": zone, "zones": zones::named(self.timezone, texts) })
            }
            MappingText::Expressions { task, .. } => {
                let text = task.to_string();
                json!({ "task": task, "zone": zone, "zones": zones::named(self.timezone, [text.as_str()]) })
            }
        }
    }

    /// Returns a place in a file, with its line.
    pub(super) fn place(&self, file: &str, line: u64, column: u64) -> MappingPlace {
        let text = match &self.written {
            MappingText::Script { files, .. } => files.get(file),
            MappingText::Expressions { .. } => None,
        };
        let number = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
        let statement = text.and_then(|it| it.lines().nth(number)).map(statement).filter(|it| !it.is_empty());
        MappingPlace { at: cut(&format!("{file}:{line}:{column}")), statement }
    }

    /// Returns the name that is written at a place.
    pub(super) fn name_at(&self, file: &str, line: u64, column: u64) -> Option<&str> {
        let MappingText::Script { files, .. } = &self.written else { return None };
        let number = usize::try_from(line.checked_sub(1)?).ok()?;
        name_at(files.get(file)?.lines().nth(number)?, column)
    }

    /// Returns where a text in quotation marks is, such as the name of an imported file.
    pub(super) fn place_of_text(&self, text: &str) -> Option<MappingPlace> {
        let MappingText::Script { files, .. } = &self.written else { return None };
        let quoted = ['"', '\''].map(|mark| format!("{mark}{text}{mark}"));
        files.iter().find_map(|(name, content)| {
            let at = quoted.iter().find_map(|it| content.find(it))?;
            let (line, column) = line_and_column(content, at)?;
            Some(self.place(name, line, column))
        })
    }

    /// Returns where a field of the task is written, as well as the text tells.
    #[must_use]
    pub fn place_of_field(&self, field: &str) -> Option<MappingPlace> {
        match &self.written {
            MappingText::Script { file, files } => {
                let text = files.get(file)?;
                // A field that is missing is missing in what the function returns.
                let (line, column) = find_name(text, field).or_else(|| find_name(text, "default"))?;
                Some(self.place(file, line, column))
            }
            MappingText::Expressions { task, .. } => {
                let at = cut(&format!("{IN_TASK}{field}"));
                let written = task.get(field).map(|it| it.as_str().map_or_else(|| it.to_string(), str::to_owned));
                Some(MappingPlace { at, statement: written.as_deref().map(statement) })
            }
        }
    }
}

impl MappingText {
    /// Returns line and column, in the text of `[task]`, of the field that an error message is about.
    pub(crate) fn place_in_task(&self, message: &str) -> Option<(u64, u64)> {
        let Self::Expressions { text: Some(text), .. } = self else { return None };
        let is_name = |it: char| it.is_ascii_alphanumeric() || it == '_';
        let rest = message.strip_prefix(IN_TASK.trim_end())?;
        let field = rest.strip_prefix(": unknown key \"").or_else(|| rest.strip_prefix(' '))?;
        let field = field.split(|it| !is_name(it)).next()?;
        let table = toml::de::DeTable::parse(text).ok()?;
        let task = table.get_ref().values().next()?.get_ref().as_table()?;
        let key = task.keys().find(|it| it.get_ref() == field)?;
        line_and_column(text, key.span().start)
    }

    /// Puts the place in the text of `[task]` before a message that names its field.
    pub(crate) fn placed(&self, message: String) -> String {
        match self.place_in_task(&message) {
            Some((line, column)) => {
                let rest = message.strip_prefix("plugin.toml: ").unwrap_or(&message);
                format!("{TASK_FILE}:{line}:{column}: {rest}")
            }
            None => message,
        }
    }
}

/// Returns the name at a column of a line, counted in characters from one; with the dot before it, if there is one.
fn name_at(line: &str, column: u64) -> Option<&str> {
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let (at, _) = line.char_indices().nth(column)?;
    let rest = line.get(at..)?.trim_start_matches(['.', '?']);
    let end = rest.find(|it: char| !is_part(it)).unwrap_or(rest.len());
    rest.get(..end).filter(|it| !it.is_empty())
}

fn is_part(it: char) -> bool {
    it.is_alphanumeric() || it == '_' || it == '$'
}

/// Shortens a line for an error.
fn statement(line: &str) -> Arc<str> {
    let line = line.trim();
    match line.char_indices().nth(STATEMENT) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()).into(),
        None => line.into(),
    }
}

/// Returns line and column of the first name in a text that is written like a member: `name:`, `name,` or `.name =`.
fn find_name(text: &str, name: &str) -> Option<(u64, u64)> {
    let places = text.match_indices(name).filter(|(at, _)| {
        let before = text.get(..*at).and_then(|it| it.chars().next_back());
        let after = text.get(at + name.len()..).unwrap_or_default();
        !before.is_some_and(is_part) && !after.chars().next().is_some_and(is_part)
    });
    let as_member = |at: usize| {
        let after = text.get(at + name.len()..).unwrap_or_default().trim_start_matches(['"', '\'']).trim_start();
        after.starts_with(':') || (after.starts_with('=') && !after.starts_with("=="))
    };
    let found: Vec<usize> = places.map(|(at, _)| at).collect();
    let at = found.iter().copied().find(|it| as_member(*it)).or_else(|| found.first().copied())?;
    line_and_column(text, at)
}

/// Returns line and column of a place in a text, from one; the column in characters.
pub(crate) fn line_and_column(text: &str, at: usize) -> Option<(u64, u64)> {
    let before = text.get(..at)?;
    let line = before.matches('\n').count() as u64 + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1;
    Some((line, column))
}

impl std::fmt::Display for MappingPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_where_it_is_written() {
        let text =
            "// deadline\nexport default (event) => ({\n  title: event.deadline,\n  \"deadline\": event.at,\n});\n";
        assert_eq!(find_name(text, "deadline"), Some((4, 4)));
        assert_eq!(find_name(text, "title"), Some((3, 3)));
        assert_eq!(find_name(text, "dead"), None);
        assert_eq!(find_name("task.title = 1; é = 2", "title"), Some((1, 6)));
    }
}
