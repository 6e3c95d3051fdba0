//! Maps messages to tasks.

use hookmill_plugin::{Context, Mapped, Refusal, Task, plugin};
use serde::Deserialize;

/// A payload that fits input.schema.json.
#[derive(Deserialize)]
struct Message {
    message: String,
    from: Option<String>,
    due: Option<String>,
    #[serde(default)]
    spam: Option<bool>,
}

/// `[config]` in plugin.toml.
#[derive(Deserialize)]
struct Config {
    default_assignee: String,
}

fn map(message: Message, context: &Context<Config>) -> Result<Mapped, Refusal> {
    if message.spam == Some(true) {
        return Ok(Mapped::skip("spam"));
    }
    let from = message.from.as_deref().unwrap_or("somebody");
    Mapped::task(&Task {
        title: format!("Message from {from}"),
        description: message.message,
        assigned_user_ids: vec![context.config.default_assignee.clone()],
        created_by_id: context.integration.clone(),
        // A date without a time is enough.
        deadline: message.due.unwrap_or_else(|| context.received_at.clone()),
        ..Task::default()
    })
}

plugin!(map);
