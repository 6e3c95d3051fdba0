//! The used part of Retell's payloads (events `call_ended` and `call_analyzed`).

use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
pub struct Event {
    pub event: String,
    pub call: Option<Call>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Call {
    pub call_id: String,
    pub agent_id: Option<String>,
    pub from_number: Option<String>,
    pub to_number: Option<String>,
    pub direction: Option<String>,
    /// Unix time in milliseconds.
    pub end_timestamp: Option<u64>,
    pub disconnection_reason: Option<String>,
    pub metadata: Option<Value>,
    pub call_analysis: Option<Analysis>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Analysis {
    pub call_summary: Option<String>,
    pub user_sentiment: Option<String>,
    pub in_voicemail: Option<bool>,
    /// The fields that the agent's owner has defined.
    pub custom_analysis_data: Option<Map<String, Value>>,
}

/// `[config]` in plugin.toml.
#[derive(Deserialize)]
pub struct Config {
    pub default_assignee: String,
    #[serde(default = "retell")]
    pub created_by_id: String,
    #[serde(default = "a_day")]
    pub deadline_hours: u64,
    #[serde(default = "two_hours")]
    pub callback_hours: u64,
    #[serde(default = "callback")]
    pub callback_field: String,
}

fn retell() -> String {
    "retell".into()
}

fn a_day() -> u64 {
    24
}

fn two_hours() -> u64 {
    2
}

fn callback() -> String {
    "callback".into()
}
