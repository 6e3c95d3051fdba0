//! What the visitor has entered on the bench.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::respaced::{JsonSpacing, respaced};
use crate::http::console::client::target;
use crate::http::console::page::PageCall;
use crate::http::console::page_failure::PageFailure;
use crate::http::console::parts::{JsonNode, text};

/// Names of fields with a file of the script begin with this.
pub(super) const FILE: &str = "file:";

/// The form of the bench.
#[derive(Debug, Default)]
pub(super) struct BenchForm {
    /// The event that the payload is from.
    pub(super) event: Option<String>,
    /// JSON as it was entered; empty for the event's own body.
    pub(super) payload: String,
    /// SHA-256 of the event's payload as the form showed it first: while the text is this one, the event's own body is run.
    pub(super) unchanged: String,
    /// Headers, one per line.
    pub(super) headers: String,
    /// RFC 3339.
    pub(super) received_at: String,
    /// Files of the script, by name; none if the plugin is not a script.
    pub(super) files: BTreeMap<String, String>,
    /// Digest of the script that was edited.
    pub(super) base: String,
    /// Whether instructions are counted.
    pub(super) counts_fuel: bool,
    /// The fixture to save.
    pub(super) fixture: NamedFixture,
}

/// The fixture that the payload is to be saved as.
#[derive(Debug, Default)]
pub(super) struct NamedFixture {
    pub(super) name: String,
    /// It may exist already.
    pub(super) replaces: bool,
}

impl BenchForm {
    /// The first form of a page: with the event and the script, as they are stored.
    pub(super) async fn stored(page: &PageCall, script: Option<&Value>) -> Result<Self, PageFailure> {
        let mut form = Self::default();
        if let Some(script) = script {
            form.take_script(script);
        }
        if let Some(id) = page.query("event") {
            let event = page.client.get(&target(&format!("/v1/events/{id}"), [])).await?;
            form.event = Some(id.to_owned());
            form.payload = shown(&event);
            form.unchanged = sha256(&form.payload);
            let headers = event["headers"].as_object().into_iter().flatten();
            let line = |(name, it): (&String, &Value)| format!("{name}: {}\n", it.as_str().unwrap_or_default());
            form.headers = headers.map(line).collect();
            form.received_at = text(&event, "received_at").to_owned();
        }
        Ok(form)
    }

    /// The form as it was sent.
    pub(super) fn sent(page: &PageCall) -> Self {
        let field = |name: &str| unix(page.form(name).unwrap_or_default());
        let files = page.form_all().iter();
        Self {
            event: page.form("event").map(str::to_owned),
            payload: field("payload"),
            unchanged: field("unchanged"),
            headers: field("headers"),
            received_at: field("received_at").trim().to_owned(),
            files: files.filter_map(|(name, it)| Some((name.strip_prefix(FILE)?.to_owned(), unix(it)))).collect(),
            base: field("base"),
            counts_fuel: page.form("count_fuel").is_some(),
            fixture: NamedFixture { name: field("fixture"), replaces: page.form("replace").is_some() },
        }
    }

    /// Takes over the script as it is stored.
    pub(super) fn take_script(&mut self, script: &Value) {
        let files = script["files"].as_object().into_iter().flatten();
        self.files = files.map(|(name, it)| (name.clone(), it.as_str().unwrap_or_default().to_owned())).collect();
        self.base = text(script, "digest").to_owned();
    }

    /// The body of `POST /v1/admin/plugins/{name}/try`. The payload is put in as it was entered, so that the API reads its
    /// numbers and not the console.
    pub(super) fn trial(&self) -> Result<String, PageFailure> {
        let mut asked = json!({});
        if !self.files.is_empty() {
            asked["files"] = json!(self.files);
        }
        if self.counts_fuel {
            asked["count_fuel"] = json!(true);
        }
        self.described(asked)
    }

    /// The body of `POST /v1/admin/plugins/{name}/fixtures`.
    pub(super) fn saved_fixture(&self) -> Result<String, PageFailure> {
        self.described(json!({ "name": self.fixture.name.trim(), "replace": self.fixture.replaces }))
    }

    /// Whether the payload is still the event's.
    pub(super) fn is_unchanged(&self) -> bool {
        self.event.is_some() && !self.unchanged.is_empty() && sha256(&self.payload) == self.unchanged
    }

    fn described(&self, mut asked: Value) -> Result<String, PageFailure> {
        if let Some(event) = &self.event {
            asked["event_id"] = json!(event);
        } else if !self.headers.trim().is_empty() {
            // Those of an event are its own.
            let lines = self.headers.lines().filter_map(|line| line.split_once(':'));
            asked["headers"] = lines.map(|(name, it)| (name.trim().to_owned(), json!(it.trim()))).collect();
        }
        if !self.received_at.is_empty() {
            asked["received_at"] = json!(self.received_at);
        }
        let asked = asked.to_string();
        if self.payload.trim().is_empty() || self.is_unchanged() {
            return Ok(asked);
        }
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&self.payload);
        is_json.map_err(|e| {
            let message = format!("The payload is not JSON: {e}");
            PageFailure::own(warp::http::StatusCode::BAD_REQUEST, "malformed_json", message)
        })?;
        let members = asked.trim_start_matches('{').trim_end_matches('}');
        let comma = if members.is_empty() { "" } else { "," };
        // A large payload must not be too large only because of its white space.
        let payload = respaced(&self.payload, JsonSpacing::Compact);
        Ok(format!("{{\"payload\":{payload}{comma}{}", asked.trim_start_matches('{')))
    }
}

/// The payload of an event. Its numbers are as they were sent, if it is the body or in a wrapper.
fn shown(event: &Value) -> String {
    let payload = &event["payload"];
    if payload.is_null() {
        return String::new();
    }
    let sent = JsonNode::parse(text(event, "body"));
    let mut json = String::new();
    match sent.as_ref().and_then(|it| it.like(payload)) {
        Some(exact) => exact.json(&mut json),
        None => JsonNode::of(payload).json(&mut json),
    }
    respaced(&json, JsonSpacing::Lines)
}

fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|it| format!("{it:02x}")).collect()
}

/// Forms send lines with two characters at their ends.
fn unix(text: &str) -> String {
    text.replace("\r\n", "\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Otherwise the bench shows, and runs, another number than was sent.
    #[test]
    fn a_payload_in_a_wrapper_keeps_the_digits_of_its_numbers() {
        let body = r#"[{"body":{"n":1234567890.123456789,"m":1.10}}]"#;
        let event = json!({ "body": body, "payload": { "m": 1.1, "n": "1234567890.123456789" } });
        assert_eq!(shown(&event), "{\n  \"n\": 1234567890.123456789,\n  \"m\": 1.10\n}");
        assert_eq!(shown(&json!({ "body": "n=1", "payload": { "n": 1 } })), "{\n  \"n\": 1\n}");
    }

    /// Otherwise a number is another one on the bench, or a payload changes what is asked.
    #[test]
    fn the_payload_is_sent_as_it_was_entered() {
        let form = |payload: &str| BenchForm { payload: payload.into(), ..BenchForm::default() };
        assert_eq!(form(r#"{"a":1234567890.123456789}"#).trial().unwrap(), r#"{"payload":{"a":1234567890.123456789}}"#);
        let event = BenchForm { event: Some("e".into()), ..form("[1]") };
        assert_eq!(event.trial().unwrap(), r#"{"payload":[1],"event_id":"e"}"#);
        assert_eq!(BenchForm { payload: " ".into(), ..event }.trial().unwrap(), r#"{"event_id":"e"}"#);
        let unchanged = BenchForm { unchanged: sha256("[1]"), event: Some("e".into()), ..form("[1]") };
        assert_eq!(unchanged.trial().unwrap(), r#"{"event_id":"e"}"#);
        let changed = BenchForm { payload: "[2]".into(), ..unchanged };
        assert_eq!(changed.trial().unwrap(), r#"{"payload":[2],"event_id":"e"}"#);
        for bad in [r#"1,"script":"x""#, "{", "1}{"] {
            assert!(form(bad).trial().unwrap_err().message.contains("not JSON"), "{bad}");
        }
    }
}
