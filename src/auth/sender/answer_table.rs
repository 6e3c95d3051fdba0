//! `[answer]` of a sender file and of plugin.toml.

use serde::Deserialize;
use serde_json::{Map, Value};

/// What a sender is answered, for every outcome and for single ones.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerTable {
    /// Status for every outcome.
    pub status: Option<u16>,
    /// Body for every outcome.
    pub body: Option<AnswerBodyTable>,
    /// One or more tasks were created.
    pub created: Option<OutcomeTable>,
    /// The plugin skipped it.
    pub skipped: Option<OutcomeTable>,
    /// A repetition.
    pub duplicate: Option<OutcomeTable>,
    /// It is durable, and will be processed.
    pub queued: Option<OutcomeTable>,
    /// It is in quarantine.
    pub quarantined: Option<OutcomeTable>,
}

/// What a sender is answered for one outcome.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutcomeTable {
    /// Status.
    pub status: Option<u16>,
    /// Body.
    pub body: Option<AnswerBodyTable>,
}

/// The body of an answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum AnswerBodyTable {
    /// `task`, `event_id` or `none`.
    Name(AnswerBodyName),
    /// A template.
    Template(AnswerTemplate),
}

/// A body with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerBodyName {
    /// The documented task, or what else hookmill answers.
    Task,
    /// `{"event_id": "…"}`.
    EventId,
    /// Nothing.
    None,
}

/// A body that consists of text and ids.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerTemplate {
    /// Plain text.
    pub text: Option<String>,
    /// XML.
    pub xml: Option<String>,
    /// A JSON object.
    pub json: Option<Map<String, Value>>,
}
