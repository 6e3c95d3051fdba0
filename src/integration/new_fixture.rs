//! A payload and its result, as a new fixture.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::fixtures::Came;
use super::live::PassedRequest;
use crate::model::time::format_utc;
use crate::plugin::{Outcome, PluginError};
use crate::system::folder::FIXTURE_BYTES;

/// Names of members that say what happened, for the names of files.
const EVENT: [&str; 6] = ["event", "type", "action", "event_type", "eventType", "topic"];
/// Maximum length of a generated name.
const NAME: usize = 40;

/// A fixture to be written.
pub(crate) struct NewFixture<'a> {
    /// What it is an example of.
    pub(crate) name: &'a str,
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) request: &'a PassedRequest,
    pub(crate) payload: &'a Value,
    pub(crate) came: &'a Came,
}

/// Returns `expect` of a fixture for this result.
///
/// # Errors
/// The plugin failed: a fixture never expects that.
pub(crate) fn expected(came: &Came) -> Result<Value, String> {
    match came {
        Came::Out(Outcome::Tasks(tasks, _)) => Ok(json!({ "tasks": tasks })),
        Came::Out(Outcome::Skip(reason)) => Ok(json!({ "skip": reason })),
        Came::Failed(PluginError::Refused { message, .. }) => Ok(json!({ "refused": message })),
        Came::Violations(found) => Ok(json!({ "violations": found.iter().map(|it| &it.pointer).collect::<Vec<_>>() })),
        Came::Failed(error) => Err(error.to_string()),
    }
}

impl NewFixture<'_> {
    /// Returns the text of the file, which expects what came.
    ///
    /// # Errors
    /// Fails if the plugin failed, or if the file would be too large.
    pub(crate) fn text(&self) -> Result<String, String> {
        let expect = expected(self.came)
            .map_err(|cause| format!("no fixture was written, because the plugin failed: {cause}"))?;
        self.text_expecting(&expect)
    }

    /// Returns the text of the file with another expectation.
    ///
    /// # Errors
    /// Fails if the file would be too large.
    pub(crate) fn text_expecting(&self, expect: &Value) -> Result<String, String> {
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
        fixture["expect"] = expect.clone();
        let mut text = format!("{fixture:#}\n");
        if text.len() as u64 > FIXTURE_BYTES {
            // Without line breaks, a payload of many small values is much shorter.
            text = format!("{fixture}\n");
        }
        if text.len() as u64 > FIXTURE_BYTES {
            return Err(format!(
                "no fixture was written: it would have {} bytes, and the maximum is {FIXTURE_BYTES}; use a shorter example",
                text.len()
            ));
        }
        Ok(text)
    }
}

/// Checks the name of a fixture's file.
pub(crate) fn fixture_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix(".json").unwrap_or(text);
    let good = |it: char| it.is_alphanumeric() || "-_.".contains(it);
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(good) {
        return Err("use letters, digits, hyphens, dots and underscores, such as cancelled".into());
    }
    Ok(name.to_owned())
}

/// Returns a file's name for what happened in a payload.
pub(crate) fn slug(payload: &Value) -> Option<String> {
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
