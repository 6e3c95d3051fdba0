//! The used part of Twilio's status callbacks for calls.

use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    pub call_sid: String,
    pub call_status: String,
    #[serde(default)]
    pub from: String,
    #[serde(default)]
    pub to: String,
    #[serde(default)]
    pub direction: String,
    #[serde(default)]
    pub sip_response_code: String,
}

/// `[config]` in plugin.toml.
#[derive(Deserialize)]
pub struct Config {
    pub default_assignee: String,
    #[serde(default = "twilio")]
    pub created_by_id: String,
    #[serde(default = "four")]
    pub deadline_hours: u32,
}

fn twilio() -> String {
    "twilio".into()
}

fn four() -> u32 {
    4
}
