//! Maps an analysed call to a task with its summary, a failed call to a task to try again, and skips anything else.

use serde::Serialize;
use serde_json::Value;

use crate::event::{Call, Config, Event};

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
    /// Unix time in milliseconds, or the date of receipt.
    deadline: Value,
    priority: &'static str,
    r#type: &'static str,
    call_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    assistant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient_id: Option<Value>,
    tags: [&'static str; 1],
}

pub fn map(event: &Event, config: &Config, received_at: &str) -> Mapped {
    let Some(call) = &event.call else { return Mapped::Skip(nothing_to_do(&event.event)) };
    match (event.event.as_str(), failure(call)) {
        // Retell may analyse a call that failed; its task was created when it ended.
        ("call_analyzed", Some(_)) => Mapped::Skip("this call failed: its task comes from call_ended".into()),
        ("call_analyzed", None) => Mapped::Task(analyzed(call, config, received_at)),
        ("call_ended", Some(reason)) => Mapped::Task(failed(call, reason, config, received_at)),
        ("call_ended", None) => Mapped::Skip("the summary of this call comes as call_analyzed".into()),
        (other, _) => Mapped::Skip(nothing_to_do(other)),
    }
}

fn nothing_to_do(event: &str) -> String {
    format!("{event} asks for nothing to be done")
}

/// Why the call failed: there was no conversation.
fn failure(call: &Call) -> Option<&str> {
    let reason = call.disconnection_reason.as_deref()?;
    (reason.starts_with("dial_") || reason.starts_with("error_")).then_some(reason)
}

fn analyzed(call: &Call, config: &Config, received_at: &str) -> Task {
    let analysis = call.call_analysis.as_ref();
    let callback = analysis.and_then(|it| it.custom_analysis_data.as_ref()?.get(&config.callback_field)).and_then(wish);
    let summary = analysis.and_then(|it| it.call_summary.as_deref()).map(str::trim).filter(|it| !it.is_empty());
    let mut description = summary.unwrap_or("Retell has no summary of this call: listen to the recording.").to_owned();
    if let Some(wish) = callback.as_ref().filter(|it| !it.is_empty()) {
        description.push_str(&format!("\nCallback: {wish}"));
    }
    if let Some(sentiment) = analysis.and_then(|it| it.user_sentiment.as_deref()) {
        description.push_str(&format!("\nSentiment: {sentiment}"));
    }
    if analysis.and_then(|it| it.in_voicemail) == Some(true) {
        description.push_str("\nThe agent reached a voicemail.");
    }
    let who = other_party(call);
    let (title, hours, priority) = match callback {
        Some(_) => (format!("Call back {who}"), config.callback_hours, "high"),
        None => (format!("Read the summary of the call with {who}"), config.deadline_hours, "medium"),
    };
    task(call, config, title, description, deadline(call, hours, received_at), priority)
}

fn failed(call: &Call, reason: &str, config: &Config, received_at: &str) -> Task {
    let who = other_party(call);
    let description = format!("The agent's call with {who} failed: {reason}.");
    let deadline = deadline(call, config.callback_hours, received_at);
    task(call, config, format!("Call {who} again"), description, deadline, "high")
}

/// What the caller said about a callback: empty if only that there should be one.
fn wish(value: &Value) -> Option<String> {
    match value {
        Value::Bool(true) => Some(String::new()),
        Value::String(text) => {
            let text = text.trim();
            let says_no = ["", "false", "no", "none", "n/a", "null"].iter().any(|no| text.eq_ignore_ascii_case(no));
            let says_yes = ["true", "yes"].iter().any(|yes| text.eq_ignore_ascii_case(yes));
            if says_no { None } else { Some(if says_yes { String::new() } else { text.to_owned() }) }
        }
        _ => None,
    }
}

fn task(call: &Call, config: &Config, title: String, description: String, deadline: Value, priority: &'static str) -> Task {
    let patient = call.metadata.as_ref().and_then(|it| it.get("patient_id"));
    Task {
        title,
        description,
        assigned_user_ids: [config.default_assignee.clone()],
        created_by_id: config.created_by_id.clone(),
        deadline,
        priority,
        r#type: "call",
        call_id: call.call_id.clone(),
        assistant_id: call.agent_id.clone(),
        patient_id: patient.filter(|it| it.is_string() || it.is_number()).cloned(),
        tags: ["retell"],
    }
}

/// hookmill reads Unix time in milliseconds. Without the time of the call, the day of receipt is used.
fn deadline(call: &Call, hours: u64, received_at: &str) -> Value {
    match call.end_timestamp {
        Some(ended) => ended.saturating_add(hours.saturating_mul(3_600_000)).into(),
        None => received_at.get(..10).unwrap_or_default().into(),
    }
}

/// The number that is not ours; a call in a browser has none.
fn other_party(call: &Call) -> &str {
    let outbound = call.direction.as_deref() == Some("outbound");
    let number = if outbound { &call.to_number } else { &call.from_number };
    number.as_deref().filter(|it| !it.trim().is_empty()).unwrap_or("a web caller")
}
