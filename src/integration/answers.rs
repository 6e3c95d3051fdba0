//! What senders are answered, by outcome: from plugin.toml, or else the sender's file, or else hookmill's own answers.

use serde_json::{Map, Value};

use crate::auth::sender::{AnswerBodyName, AnswerBodyTable, AnswerTable, AnswerTemplate, OutcomeTable, Sender};
use crate::model::ids::{EventId, TaskId};

/// What a sender is answered, by outcome.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers {
    /// One or more tasks were created.
    pub created: OutcomeAnswer,
    /// The plugin skipped it.
    pub skipped: OutcomeAnswer,
    /// A repetition.
    pub duplicate: OutcomeAnswer,
    /// It is durable, and will be processed, or is captured.
    pub queued: OutcomeAnswer,
    /// It is in quarantine; `None` for the error.
    pub quarantined: Option<OutcomeAnswer>,
}

/// What a sender is answered for one outcome.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OutcomeAnswer {
    /// Status; hookmill's own if there is none.
    pub status: Option<u16>,
    /// The body.
    pub body: AnswerBody,
}

/// The body of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum AnswerBody {
    /// The documented task, or what else hookmill answers.
    #[default]
    Task,
    /// `{"event_id": "…"}`.
    EventId,
    /// Nothing.
    Nothing,
    /// Plain text.
    Text(String),
    /// XML.
    Xml(String),
    /// JSON.
    Json(Map<String, Value>),
}

impl Answers {
    /// Combines the sender's answers with those of plugin.toml, which take precedence.
    ///
    /// # Errors
    /// Which template is not valid.
    pub(super) fn of(sender: Option<&Sender>, own: &AnswerTable) -> Result<Self, String> {
        let default = AnswerTable::default();
        let from = sender.map_or(&default, |it| &it.answer);
        let merged = |of: fn(&AnswerTable) -> &Option<OutcomeTable>| -> Result<OutcomeAnswer, String> {
            let single = [of(own).as_ref(), of(from).as_ref()];
            let (own_one, from_one) = (single[0], single[1]);
            let status =
                own_one.and_then(|it| it.status).or(own.status).or(from_one.and_then(|it| it.status)).or(from.status);
            let body = own_one
                .and_then(|it| it.body.as_ref())
                .or(own.body.as_ref())
                .or(from_one.and_then(|it| it.body.as_ref()))
                .or(from.body.as_ref());
            let body = body.map(AnswerBody::of).transpose()?.unwrap_or_default();
            if status == Some(204) && body != AnswerBody::Nothing {
                return Err("answer: status 204 has no body; set body = \"none\"".into());
            }
            Ok(OutcomeAnswer { status, body })
        };
        let quarantined = if own.quarantined.is_some() || from.quarantined.is_some() {
            Some(merged(|it| &it.quarantined)?)
        } else {
            None
        };
        Ok(Self {
            created: merged(|it| &it.created)?,
            skipped: merged(|it| &it.skipped)?,
            duplicate: merged(|it| &it.duplicate)?,
            queued: merged(|it| &it.queued)?,
            quarantined,
        })
    }

    /// Returns whether tasks, which may contain a patient's data, are sent back.
    #[must_use]
    pub fn returns_tasks(&self) -> bool {
        self.created.body == AnswerBody::Task || self.duplicate.body == AnswerBody::Task
    }
}

impl AnswerBody {
    fn of(table: &AnswerBodyTable) -> Result<Self, String> {
        Ok(match table {
            AnswerBodyTable::Name(AnswerBodyName::Task) => Self::Task,
            AnswerBodyTable::Name(AnswerBodyName::EventId) => Self::EventId,
            AnswerBodyTable::Name(AnswerBodyName::None) => Self::Nothing,
            AnswerBodyTable::Template(AnswerTemplate { text: Some(text), .. }) => Self::Text(checked(text)?),
            AnswerBodyTable::Template(AnswerTemplate { xml: Some(xml), .. }) => Self::Xml(checked(xml)?),
            AnswerBodyTable::Template(AnswerTemplate { json: Some(json), .. }) => {
                check_all(&Value::Object(json.clone()))?;
                Self::Json(json.clone())
            }
            AnswerBodyTable::Template(_) => Self::Nothing,
        })
    }

    /// Returns content type and body; `None` if hookmill's own answer is sent.
    #[must_use]
    pub fn written(&self, event: EventId, tasks: &[TaskId]) -> Option<(Option<&'static str>, String)> {
        let ids = AnswerIds { event, tasks };
        Some(match self {
            Self::Task => return None,
            Self::EventId => (Some("application/json"), serde_json::json!({ "event_id": event }).to_string()),
            Self::Nothing => (None, String::new()),
            Self::Text(text) => (Some("text/plain; charset=utf-8"), ids.filled(text)),
            Self::Xml(xml) => (Some("text/xml; charset=utf-8"), ids.filled(xml)),
            Self::Json(json) => (Some("application/json"), ids.json(&Value::Object(json.clone())).to_string()),
        })
    }

    /// Returns whether it contains the ids of tasks.
    #[must_use]
    pub fn needs_tasks(&self) -> bool {
        let has = |it: &str| it.contains("{task_id");
        match self {
            Self::Text(text) | Self::Xml(text) => has(text),
            Self::Json(json) => has(&Value::Object(json.clone()).to_string()),
            Self::Task | Self::EventId | Self::Nothing => false,
        }
    }
}

/// The ids that templates contain.
struct AnswerIds<'a> {
    event: EventId,
    tasks: &'a [TaskId],
}

impl AnswerIds<'_> {
    fn filled(&self, template: &str) -> String {
        let all: Vec<_> = self.tasks.iter().map(ToString::to_string).collect();
        template
            .replace("{event_id}", &self.event.to_string())
            .replace("{task_ids}", &all.join(","))
            .replace("{task_id}", all.first().map_or("", String::as_str))
    }

    fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.filled(text)),
            Value::Array(all) => all.iter().map(|it| self.json(it)).collect(),
            Value::Object(map) => Value::Object(map.iter().map(|(name, it)| (name.clone(), self.json(it))).collect()),
            other => other.clone(),
        }
    }
}

/// A template may contain braces; only these names are replaced.
fn checked(template: &str) -> Result<String, String> {
    let mut rest = template;
    while let Some((_, after)) = rest.split_once('{') {
        let name = after.split_once('}').map(|(name, _)| name);
        let is_name = |it: &&str| !it.is_empty() && it.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if let Some(name) = name.filter(is_name)
            && !["event_id", "task_id", "task_ids"].contains(&name)
        {
            return Err(format!("answer: {{{name}}} is not known; use {{event_id}}, {{task_id}} and {{task_ids}}"));
        }
        rest = after;
    }
    Ok(template.to_owned())
}

fn check_all(value: &Value) -> Result<(), String> {
    match value {
        Value::String(text) => checked(text).map(drop),
        Value::Array(all) => all.iter().try_for_each(check_all),
        Value::Object(map) => map.values().try_for_each(check_all),
        _ => Ok(()),
    }
}
