//! Writes a payload and its result as a fixture.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::integration::PassedRequest;
use crate::integration::fixtures::Came;
use crate::model::time::format_utc;
use crate::plugin::{Outcome, PluginError};
use crate::system::folder::FIXTURE_BYTES;

/// Names of members that say what happened, for the names of files.
const EVENT: [&str; 6] = ["event", "type", "action", "event_type", "eventType", "topic"];
/// Maximum length of a generated name.
const NAME: usize = 40;

/// A fixture to be written.
pub(super) struct NewFixture<'a> {
    /// What it is an example of.
    pub(super) name: &'a str,
    pub(super) received_at: DateTime<Utc>,
    pub(super) request: &'a PassedRequest,
    pub(super) payload: &'a Value,
    pub(super) came: &'a Came,
}

/// Returns `expect` of a fixture for this result.
///
/// # Errors
/// The plugin failed: a fixture never expects that.
pub(super) fn expected(came: &Came) -> Result<Value, String> {
    match came {
        Came::Out(Outcome::Tasks(tasks, _)) => Ok(json!({ "tasks": tasks })),
        Came::Out(Outcome::Skip(reason)) => Ok(json!({ "skip": reason })),
        Came::Failed(PluginError::Refused { message, .. }) => Ok(json!({ "refused": message })),
        Came::Violations(found) => Ok(json!({ "violations": found.iter().map(|it| &it.pointer).collect::<Vec<_>>() })),
        Came::Failed(error) => Err(error.to_string()),
    }
}

impl NewFixture<'_> {
    /// Returns the text of the file.
    ///
    /// # Errors
    /// Fails if the plugin failed, or if the file would be too large.
    pub(super) fn text(&self) -> Result<String, Failure> {
        let expect = expected(self.came)
            .map_err(|cause| Failure::new(format!("no fixture was written, because the plugin failed: {cause}")))?;
        let mut fixture = json!({ "name": self.name, "received_at": format_utc(self.received_at) });
        let PassedRequest { headers, query, path } = self.request;
        if !headers.is_empty() {
            fixture["headers"] = headers.iter().map(|(name, it)| (name.clone(), json!(it))).collect();
        }
        if !query.is_empty() {
            // Pairs, because a parameter can be repeated.
            fixture["query"] = json!(query);
        }
        if !path.is_empty() {
            fixture["path"] = json!(path);
        }
        fixture["payload"] = self.payload.clone();
        fixture["expect"] = expect;
        let mut text = format!("{fixture:#}\n");
        if text.len() as u64 > FIXTURE_BYTES {
            // Without line breaks, a payload of many small values is much shorter.
            text = format!("{fixture}\n");
        }
        if text.len() as u64 > FIXTURE_BYTES {
            return Err(Failure::new(format!(
                "no fixture was written: it would have {} bytes, and the maximum is {FIXTURE_BYTES}; use a shorter example",
                text.len()
            )));
        }
        Ok(text)
    }

    /// Writes it into a plugin's folder, under this name or a free one, and returns its path in the folder.
    ///
    /// # Errors
    /// Fails if the file exists and must not be replaced, or if it cannot be written.
    pub(super) fn write(&self, folder: &Path, file: Option<&str>, replace: bool) -> Result<PathBuf, Failure> {
        let text = self.text()?;
        let fixtures = folder.join("fixtures");
        std::fs::create_dir_all(&fixtures).map_err(|e| Failure::new(format!("{}: {e}", fixtures.display())))?;
        let given = file.map(|it| it.strip_suffix(".json").unwrap_or(it).to_owned());
        let first = given.clone().or_else(|| slug(self.payload)).unwrap_or_else(|| "example".to_owned());
        let numbered = (2..).map(|number| format!("{first}-{number}"));
        for name in std::iter::once(first.clone()).chain(numbered) {
            let file = Path::new("fixtures").join(format!("{name}.json"));
            match create(&folder.join(&file), &text, replace && given.is_some()) {
                Ok(()) => return Ok(file),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists && given.is_none() => {}
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                    let file = folder.join(file);
                    let message = format!("{} is there already; choose another name, or add --force", file.display());
                    return Err(Failure::usage(message));
                }
                Err(e) => return Err(Failure::new(format!("{}: {e}", folder.join(file).display()))),
            }
        }
        Ok(PathBuf::new())
    }
}

fn create(path: &Path, text: &str, replace: bool) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true);
    // Never through a link that another user has put there.
    if replace && path.symlink_metadata().is_ok_and(|it| it.is_file()) {
        options.truncate(true);
    } else {
        options.create_new(true);
    }
    options.open(path)?.write_all(text.as_bytes())
}

/// Checks the name of a fixture's file.
pub(super) fn fixture_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix(".json").unwrap_or(text);
    let good = |it: char| it.is_alphanumeric() || "-_.".contains(it);
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(good) {
        return Err("use letters, digits, hyphens, dots and underscores, such as cancelled".into());
    }
    Ok(name.to_owned())
}

/// Returns a file's name for what happened in a payload.
fn slug(payload: &Value) -> Option<String> {
    let said = EVENT.iter().find_map(|name| payload.get(name)?.as_str())?;
    let is_part = |it: char| it.is_ascii_alphanumeric();
    let words: Vec<_> = said.split(|it| !is_part(it)).filter(|it| !it.is_empty()).collect();
    let name = words.join("-").to_ascii_lowercase();
    (!name.is_empty() && name.len() <= NAME).then_some(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{fixture_name, slug};

    /// A sender chooses the event's type: it must not choose where a file is written.
    #[test]
    fn a_file_is_named_by_its_event_and_stays_in_its_folder() {
        for (payload, expected) in [
            (json!({ "event": "invitee.created" }), Some("invitee-created")),
            (json!({ "type": "../../etc/passwd\0" }), Some("etc-passwd")),
            (json!({ "event": { "a": 1 }, "action": "Opened" }), Some("opened")),
            (json!({ "event": "x".repeat(500) }), None),
            (json!({ "event": "../" }), None),
            (json!([1]), None),
        ] {
            assert_eq!(slug(&payload).as_deref(), expected, "{payload}");
        }
        for bad in ["", ".json", "..", "a/b", ".hidden", "a b"] {
            assert!(fixture_name(bad).is_err(), "{bad}");
        }
        assert_eq!(fixture_name("no-show.json").as_deref(), Ok("no-show"));
    }
}
