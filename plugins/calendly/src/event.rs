//! The used part of Calendly's payloads (API v2, webhook events `invitee.created` and `invitee.canceled`).

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
pub struct Event {
    pub event: String,
    pub created_at: String,
    pub payload: Invitee,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub struct Invitee {
    pub uri: String,
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub rescheduled: bool,
    pub scheduled_event: Option<Scheduled>,
    pub cancellation: Option<Cancellation>,
    #[serde(deserialize_with = "or_default")]
    pub questions_and_answers: Vec<Answer>,
}

#[derive(Deserialize)]
pub struct Scheduled {
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    pub start_time: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub struct Cancellation {
    #[serde(deserialize_with = "or_default")]
    pub canceled_by: String,
    pub reason: Option<String>,
}

#[derive(Deserialize)]
pub struct Answer {
    pub question: String,
    #[serde(default, deserialize_with = "or_default")]
    pub answer: String,
}

/// Null in an optional field is no value.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `[config]` in plugin.toml.
#[derive(Deserialize)]
pub struct Config {
    pub default_assignee: String,
    #[serde(default = "calendly")]
    pub created_by_id: String,
}

fn calendly() -> String {
    "calendly".into()
}
