//! Maps a call without a conversation to a task to call again, and skips anything else.

use hookmill_plugin::Refusal;
use serde::Serialize;

use crate::event::{Config, Event};
use crate::time;

pub enum Mapped {
    Task(Task),
    Skip(String),
}

/// A task, as hookmill accepts it.
#[derive(Serialize)]
pub struct Task {
    title: String,
    description: String,
    assigned_user_ids: [String; 1],
    created_by_id: String,
    deadline: String,
    priority: &'static str,
    r#type: &'static str,
    call_id: String,
    tags: [&'static str; 1],
}

pub fn map(event: &Event, config: &Config, received_at: &str) -> Result<Mapped, Refusal> {
    let happened = match event.call_status.as_str() {
        "no-answer" => "nobody answered",
        "busy" => "the line was busy",
        "failed" => "the call could not be connected",
        other => return Ok(Mapped::Skip(format!("{other} asks for nothing to be done"))),
    };
    let inbound = event.direction.starts_with("inbound");
    let who = if inbound { &event.from } else { &event.to };
    let who = if who.trim().is_empty() { "an unknown number" } else { who };
    let title = if inbound { format!("Call back {who}") } else { format!("Call {who} again") };
    let mut description = match inbound {
        true => format!("{who} called {}, and {happened}.", number(&event.to)),
        false => format!("{} called {who}, and {happened}.", number(&event.from)),
    };
    if event.call_status == "failed" && !event.sip_response_code.is_empty() {
        description.push_str(&format!(" SIP response: {}.", event.sip_response_code));
    }
    let deadline = time::later(received_at, config.deadline_hours)
        .ok_or_else(|| Refusal::new("deadline_hours in plugin.toml must be from 0 to 8784"))?;
    Ok(Mapped::Task(Task {
        title,
        description,
        assigned_user_ids: [config.default_assignee.clone()],
        created_by_id: config.created_by_id.clone(),
        deadline,
        priority: "high",
        r#type: "callback",
        call_id: event.call_sid.clone(),
        tags: ["twilio"],
    }))
}

fn number(text: &str) -> &str {
    if text.trim().is_empty() { "an unknown number" } else { text }
}
