//! The used part of Calendly's payloads (API v2, webhook events `invitee.created` and `invitee.canceled`).

use serde::Deserialize;

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
    pub name: String,
    pub rescheduled: bool,
    pub scheduled_event: Option<Scheduled>,
    pub cancellation: Option<Cancellation>,
    pub questions_and_answers: Vec<Answer>,
}

#[derive(Deserialize)]
pub struct Scheduled {
    #[serde(default)]
    pub name: String,
    pub start_time: String,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub struct Cancellation {
    pub canceled_by: String,
    pub reason: Option<String>,
}

#[derive(Deserialize)]
pub struct Answer {
    pub question: String,
    #[serde(default)]
    pub answer: String,
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
