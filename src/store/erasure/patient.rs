//! Finds what belongs to a patient: events that created tasks for the patient, and events whose content or records name
//! the patient. `words.rs` finds an id in a text.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::readings;
use super::words::{Form, Word};
use crate::format::payload::{self, CODING_HEADER, Loosened};
use crate::model::company::CompanyId;
use crate::model::event::Event;
use crate::model::task::Task;

/// Maximum number of places that are reported per event or task.
const PLACES: usize = 20;

/// Maximum size of a body without its content coding, in bytes: the largest that plugin.toml allows.
const CONTENT: usize = 256 << 20;

/// A patient whose data are to be erased.
#[derive(Debug, Clone)]
pub struct Patient {
    pub(in crate::store) company: CompanyId,
    pub(in crate::store) id: String,
    pub(in crate::store) leading_zeros: bool,
    word: Word,
}

/// How an event was found to belong to a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FoundBy {
    /// It created a task with this `patient_id`.
    Task,
    /// Its body names the patient.
    Body,
    /// One of its headers names the patient.
    Header,
    /// The reason for which it was skipped or quarantined names the patient.
    Reason,
    /// The plugin's log names the patient.
    Log,
    /// The query or the path of its URL names the patient.
    Url,
}

/// A place where an event or a task names a patient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "PatientMatch")]
pub struct Match {
    /// The place: `task`, `body /patient/id` (with a JSON Pointer if the body can be parsed), `header x-patient`,
    /// `query patient`, `path`, `reason` or `log`; for a task, the field's name.
    pub place: String,
    /// How the id is written there.
    pub form: Form,
}

impl Patient {
    /// A company's patient, by the id that its tasks and senders use. `None` if the id is empty.
    #[must_use]
    pub fn new(company: CompanyId, id: &str) -> Option<Self> {
        let id = id.trim().to_owned();
        let word = Word::new(&id, false);
        (!id.is_empty()).then_some(Self { company, id, leading_zeros: false, word })
    }

    /// Sets whether leading zeros are ignored: 004712 is then 4712.
    #[must_use]
    pub fn any_leading_zeros(self, any: bool) -> Self {
        Self { word: Word::new(&self.id, any), leading_zeros: any, ..self }
    }

    /// Returns whether both are the same patient.
    pub(in crate::store) fn is_same(&self, other: &Self) -> bool {
        self.company == other.company && self.id == other.id && self.leading_zeros == other.leading_zeros
    }

    /// Returns the company, the id, and whether zeros before it are ignored.
    pub(crate) fn parts(&self) -> (&CompanyId, &str, bool) {
        (&self.company, &self.id, self.leading_zeros)
    }

    /// Returns how a task that was created from an event shows that the event belongs to the patient.
    pub(in crate::store) fn owns_task(&self, task: &Task) -> Option<Match> {
        let id = task.patient_id.as_deref().filter(|it| self.word.is(it))?;
        let form = self.word.find(id, true).unwrap_or(Form::Text);
        Some(Match { place: "task".into(), form })
    }

    /// Returns whether this is the patient's company.
    pub(in crate::store) fn is_of_company(&self, company: &CompanyId) -> bool {
        *company == self.company
    }

    /// Returns whether an event belongs to the patient's company.
    pub(in crate::store) fn is_of(&self, event: &Event) -> bool {
        event.company_id == self.company
    }

    /// Returns whether a stored response concerns the patient: it has a task of the company, and names the patient.
    pub(in crate::store) fn is_answered(&self, body: &[u8]) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return false };
        let mut found = Vec::new();
        self.in_value(&value, &mut String::new(), false, &mut found);
        !found.is_empty() && mentions(&value, "company_id", self.company.as_str())
    }

    /// Returns where a task names the patient.
    pub(in crate::store) fn in_task(&self, task: &Task) -> Vec<Match> {
        let mut found = Vec::new();
        let Ok(Value::Object(fields)) = serde_json::to_value(task) else { return found };
        for (name, value) in &fields {
            let own = ["id", "company_id", "created_at", "updated_at", "version"].contains(&name.as_str());
            if !own && !found.iter().any(|it: &Match| it.place == *name) {
                let mut places = Vec::new();
                self.in_value(value, &mut String::new(), name == "patient_id", &mut places);
                found.extend(places.into_iter().next().map(|it| Match { place: name.clone(), form: it.form }));
            }
        }
        found
    }

    /// Returns how an event names the patient, and where.
    pub(in crate::store) fn named_in(&self, event: &Event) -> Option<(FoundBy, Vec<Match>)> {
        let mut found: Vec<(FoundBy, Match)> = Vec::new();
        let bodies = self.in_body(event).into_iter().map(|it| (FoundBy::Body, it));
        found.extend(bodies);
        let mut look = |by, place: &dyn Fn() -> String, text: &str, named: bool| {
            if let Some(form) = self.word.find(text, named) {
                found.push((by, Match { place: place(), form }));
            }
        };
        for (name, value) in &event.headers {
            look(FoundBy::Header, &|| format!("header {name}"), value, says_patient(name));
        }
        for it in &event.query {
            let (place, named) = (|| format!("query {}", it.name), says_patient(&it.name));
            look(FoundBy::Url, &place, &it.name, false);
            look(FoundBy::Url, &place, it.value.as_deref().unwrap_or_default(), named);
        }
        look(FoundBy::Url, &|| "path".into(), &event.path, says_patient(&event.path));
        if let Some(content_type) = &event.content_type {
            look(FoundBy::Header, &|| "header content-type".into(), content_type, false);
        }
        if let Some(trace) = &event.trace {
            look(FoundBy::Header, &|| "header tracestate".into(), &trace.tracestate(), false);
        }
        if let Some(reason) = &event.reason {
            look(FoundBy::Reason, &|| "reason".into(), &reason.message, false);
        }
        for pointer in &event.redacted {
            look(FoundBy::Reason, &|| "redacted".into(), pointer, false);
        }
        look(FoundBy::Log, &|| "log".into(), &event.plugin_log, false);
        found.truncate(PLACES);
        let by = found.first()?.0;
        Some((by, found.into_iter().map(|(_, it)| it).collect()))
    }

    /// Returns where a body names the patient: by the position of the value if the body can be parsed, otherwise
    /// anywhere.
    fn in_body(&self, event: &Event) -> Vec<Match> {
        let content = content_of(event);
        let content_type = event.content_type.as_deref();
        let mut found = Vec::new();
        for value in readings::values(content_type, &content) {
            if found.is_empty() {
                self.in_value(&value, &mut String::new(), false, &mut found);
            }
        }
        if found.is_empty() {
            // The body is neither JSON nor a form, or it names the patient outside of values.
            let texts = readings::texts(content_type, &content);
            let form = texts.iter().find_map(|text| self.in_text(text, false));
            return form.map(|form| Match { place: "body".into(), form }).into_iter().collect();
        }
        let named = |pointer: String| if pointer.is_empty() { "body".to_owned() } else { format!("body {pointer}") };
        // The unparsed text, in case it differs from the parsed values.
        let raw = self
            .word
            .find(&readings::text_of(&content), true)
            .filter(|it| matches!(it, Form::PercentEncoded | Form::JsonEscaped | Form::XmlEscaped));
        for it in &mut found {
            let plain = matches!(it.form, Form::Number | Form::Text | Form::Reference);
            it.form = raw.filter(|_| plain).unwrap_or(it.form);
            it.place = named(std::mem::take(&mut it.place));
        }
        found
    }

    /// Returns how a text names the patient, as it is or in base64.
    fn in_text(&self, text: &str, named: bool) -> Option<Form> {
        self.word.find(text, named).or_else(|| {
            let decoded = readings::in_base64(text);
            decoded.iter().any(|it| self.word.find(it, named).is_some()).then_some(Form::Base64)
        })
    }

    /// Collects where a value names the patient. `named`: one of the names above it contains "patient".
    fn in_value(&self, value: &Value, pointer: &mut String, named: bool, found: &mut Vec<Match>) {
        if found.len() >= PLACES {
            return;
        }
        let length = pointer.len();
        match value {
            Value::Object(map) => {
                for (name, it) in map {
                    pointer.push('/');
                    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    if let Some(form) = self.word.find(name, named) {
                        found.push(Match { place: pointer.clone(), form });
                    }
                    self.in_value(it, pointer, named || says_patient(name), found);
                    pointer.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, it) in items.iter().enumerate() {
                    pointer.push_str(&format!("/{index}"));
                    self.in_value(it, pointer, named, found);
                    pointer.truncate(length);
                }
            }
            Value::String(text) => {
                found.extend(self.in_text(text, named).map(|form| Match { place: pointer.clone(), form }));
            }
            Value::Number(number) => {
                if let Some(form) = self.word.find(&number.to_string(), named) {
                    let form = if form == Form::Text { Form::Number } else { form };
                    found.push(Match { place: pointer.clone(), form });
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// Returns an event's body without its content coding; a body that is not in it is searched as it is.
fn content_of(event: &Event) -> Cow<'_, [u8]> {
    let coding = event.headers.iter().find(|(name, _)| name == CODING_HEADER).map(|(_, value)| value.as_str());
    payload::without_coding(coding, &event.body, CONTENT, &mut Loosened::default())
        .unwrap_or(Cow::Borrowed(&event.body))
}

fn says_patient(name: &str) -> bool {
    name.to_ascii_lowercase().contains("patient")
}

/// Returns whether a value, or one inside it, has this field with this text.
fn mentions(value: &Value, name: &str, text: &str) -> bool {
    match value {
        Value::Object(map) => {
            map.get(name).and_then(Value::as_str) == Some(text) || map.values().any(|it| mentions(it, name, text))
        }
        Value::Array(items) => items.iter().any(|it| mentions(it, name, text)),
        _ => false,
    }
}
