//! A plugin's own examples: it goes live only when it does what they say.
//!
//! A fixture is `fixtures/*.json`: `{"name", "received_at", "payload", "expect"}`, where `expect` holds one of
//! `tasks`, `skip`, `refused` (a part of the message) and `violations` (JSON Pointers).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Mapped, Outcome, PluginError};
use crate::event::EventId;
use crate::ingest::{CheckedPayload, Stop};
use crate::integration::Integration;
use crate::integration::load::{LoadFailure, read};
use crate::payload::{Encoding, Loosened, Payload};
use crate::task::NewTask;

/// The event id that every fixture runs under.
pub const EVENT_ID: EventId = EventId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000));

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    name: String,
    received_at: DateTime<Utc>,
    payload: Value,
    expect: Expect,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Tasks(Vec<Value>),
    Skip(String),
    Refused(String),
    Violations(Vec<String>),
}

/// Runs every fixture of a folder; a plugin without any goes live with a warning in the log.
///
/// # Errors
/// The first fixture that does not hold, with its file.
pub fn run_all(integration: &Integration, folder: &Path, limit: Duration) -> Result<usize, LoadFailure> {
    let files = list(folder)?;
    if files.is_empty() {
        tracing::warn!(integration = %integration.name, "the plugin has no fixtures: nothing shows that it works");
    }
    let started = Instant::now();
    for file in &files {
        let failed = |cause: String| LoadFailure::Fixture { file: file.clone(), cause };
        if started.elapsed() > limit {
            let limit = limit.as_millis();
            return Err(failed(format!(
                "the fixtures before it took more than {limit} ms (plugins.fixtures_ms in hookmill.toml)"
            )));
        }
        let fixture: Fixture = serde_json::from_str(&read(file)?).map_err(|e| failed(format!("not a fixture: {e}")))?;
        let name = fixture.name.clone();
        run(integration, fixture).map_err(|cause| failed(format!("fixture \"{name}\" failed: {cause}")))?;
    }
    Ok(files.len())
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, LoadFailure> {
    let failed = |cause| LoadFailure::Read { file: folder.to_owned(), cause };
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let files: std::io::Result<Vec<_>> = entries.map(|entry| entry.map(|it| it.path())).collect();
    let mut files: Vec<_> =
        files.map_err(failed)?.into_iter().filter(|it| it.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    Ok(files)
}

fn run(integration: &Integration, fixture: Fixture) -> Result<(), String> {
    let payload = Payload { value: fixture.payload, encoding: Encoding::Json, loosened: Loosened::default() };
    let checked = CheckedPayload::check(payload, &integration.schema);
    match (checked, fixture.expect) {
        (Err(Stop::Schema(found)), Expect::Violations(expected)) => {
            let found: Vec<_> = found.into_iter().map(|it| it.pointer).collect();
            same("violations", &expected, &found)
        }
        (Err(Stop::Schema(found)), _) => {
            Err(format!("the schema refuses the payload: {}", sentences(found.iter().map(|it| &it.message))))
        }
        (Err(other), _) => Err(format!("the payload is refused: {other}")),
        (Ok(_), Expect::Violations(expected)) => {
            Err(format!("the schema accepts the payload; violations expected at {expected:?}"))
        }
        (Ok(checked), expect) => {
            let context = integration.context(EVENT_ID, fixture.received_at);
            compare(integration.plugin.map_blocking(checked.text(), &context), expect, integration)
        }
    }
}

fn compare(result: Result<Mapped, PluginError>, expect: Expect, integration: &Integration) -> Result<(), String> {
    match (result.map(|it| it.outcome), expect) {
        (Ok(Outcome::Tasks(found)), Expect::Tasks(expected)) => {
            let (found, expected) = (tasks(found, integration)?, tasks(expected, integration)?);
            same("tasks", &expected, &found)
        }
        (Ok(Outcome::Skip(found)), Expect::Skip(expected)) => same("skip", &expected, &found),
        (Err(PluginError::Refused { message, .. }), Expect::Refused(part)) if message.contains(&part) => Ok(()),
        (Ok(found), expected) => Err(format!("expected {expected:?}, got {found:?}")),
        (Err(found), expected) => Err(format!("expected {expected:?}, got an error: {found}")),
    }
}

/// As the pipeline reads them, so that a fixture need not repeat defaults.
fn tasks(values: Vec<Value>, integration: &Integration) -> Result<Vec<NewTask>, String> {
    values
        .into_iter()
        .enumerate()
        .map(|(index, value)| {
            let payload = Payload { value, encoding: Encoding::Json, loosened: Loosened::default() };
            let parsed = NewTask::parse(payload, &integration.rules);
            parsed
                .map(|(task, _)| task)
                .map_err(|found| format!("task {index} is no task: {}", sentences(found.iter().map(|it| &it.message))))
        })
        .collect()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: &T) -> Result<(), String> {
    if expected == found { Ok(()) } else { Err(format!("{what} differ: expected {expected:#?}, got {found:#?}")) }
}

fn sentences<'a>(messages: impl Iterator<Item = &'a String>) -> String {
    messages.map(String::as_str).collect::<Vec<_>>().join(". ")
}
