//! A plugin's own examples: it goes live only if it passes all of them.
//!
//! A fixture is a file `fixtures/*.json`: `{"name", "received_at", "payload", "expect"}`, where `expect` has one of
//! `tasks`, `skip`, `refused` (a part of the message) and `violations` (JSON Pointers).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::checked::CheckedPayload;
use super::files::{LoadFailure, read};
use super::live::Integration;
use super::stop::Stop;
use crate::format::diff::differences;
use crate::format::parse;
use crate::format::payload::Payload;
use crate::format::schema::Violations;
use crate::model::ids::EventId;
use crate::model::task::NewTask;
use crate::plugin::{Outcome, PluginError, Usage};
use crate::system::folder::{FIXTURE_BYTES, FIXTURES, FIXTURES_BYTES, Folder};

/// Event id under which every fixture runs.
pub(crate) const EVENT_ID: EventId = EventId(Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000));

/// Maximum number of differing places that an error names.
const PLACES: usize = 10;

/// An example: an input and the expected output.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fixture {
    /// Description of the example.
    pub name: String,
    /// Time of receipt of the event.
    pub received_at: DateTime<Utc>,
    /// Headers that the plugin gets.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The payload, decoded.
    pub payload: Value,
    /// The expected result.
    pub expect: Expect,
}

/// The expected result of a fixture.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Expect {
    /// These tasks; defaults may be omitted.
    Tasks(Vec<Value>),
    /// A skip with this reason.
    Skip(String),
    /// A refusal by the plugin whose message contains this text.
    Refused(String),
    /// Violations of the schema at these JSON Pointers.
    Violations(Vec<String>),
}

/// The actual result of a run.
#[derive(Debug)]
pub enum Came {
    /// Tasks as the plugin wrote them, or a skip.
    Out(Outcome),
    /// The payload violates the schema.
    Violations(Violations),
    /// The plugin refused the payload, or failed.
    Failed(PluginError),
}

/// One run of a payload through schema and plugin.
#[derive(Debug)]
pub struct FixtureRun {
    /// The result.
    pub came: Came,
    /// The plugin's log.
    pub log: String,
    /// Resources used by the call; zero if the payload violates the schema.
    pub usage: Usage,
    /// Duration of the call.
    pub took: Duration,
    /// Duration of the schema check.
    pub checked: Duration,
}

/// Runs all fixtures of a folder and returns their number. A plugin without fixtures goes live with a warning in
/// the log.
///
/// # Errors
/// The first fixture that fails, with its file.
pub(crate) fn run_all(integration: &Integration, folder: &Folder, limit: Duration) -> Result<usize, LoadFailure> {
    let files = list(folder)?;
    if files.is_empty() {
        tracing::warn!(integration = %integration.name, "the plugin has no fixtures, so it is not tested before it goes live");
    }
    let started = Instant::now();
    for file in &files {
        let failed = |cause: String| LoadFailure::Fixture { file: folder.join(file), cause };
        if started.elapsed() > limit {
            let limit = limit.as_millis();
            return Err(failed(format!(
                "the earlier fixtures took more than {limit} ms (plugins.fixtures_ms in hookmill.toml)"
            )));
        }
        let fixture = Fixture::read(folder, file)?;
        let run = run(integration, &fixture.payload, fixture.received_at, &fixture.headers)
            .map_err(|it| failed(it.to_string()))?;
        if let Some(where_it_differs) = fixture.differs(&run, integration) {
            return Err(failed(format!(
                "the fixture failed: {where_it_differs}; `hookmill plugin test` shows the values"
            )));
        }
    }
    Ok(files.len())
}

/// Returns the fixtures' files, sorted by name.
///
/// # Errors
/// Fails if they cannot be listed, or are too many or too large. A folder without `fixtures/` has none.
pub(crate) fn list(folder: &Folder) -> Result<Vec<PathBuf>, LoadFailure> {
    let within = Path::new("fixtures");
    let failed = |cause| LoadFailure::Read { file: folder.join(within), cause };
    let names = match folder.list(within) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.map_err(failed)?,
    };
    let files = names.iter().map(|name| within.join(name)).filter(|it| it.extension().is_some_and(|e| e == "json"));
    let files: Vec<_> = files.collect();
    if files.len() > FIXTURES {
        return Err(failed(std::io::Error::other(format!("has {} fixtures; the maximum is {FIXTURES}", files.len()))));
    }
    let bytes: u64 = files.iter().filter_map(|it| folder.metadata(it).ok()).map(|it| it.len()).sum();
    if bytes > FIXTURES_BYTES {
        let said = format!("its files have {bytes} bytes in total; the maximum is {FIXTURES_BYTES}");
        return Err(failed(std::io::Error::other(said)));
    }
    Ok(files)
}

/// Sends a payload through schema and plugin, on this thread, with the fixtures' event id.
///
/// # Errors
/// Fails if the payload is invalid in itself.
pub(crate) fn run(
    integration: &Integration,
    payload: &Value,
    received_at: DateTime<Utc>,
    headers: &BTreeMap<String, String>,
) -> Result<FixtureRun, Stop> {
    let started = Instant::now();
    let result = CheckedPayload::example(integration, payload.clone());
    let check_took = started.elapsed();
    let checked = match result {
        Ok(checked) => checked,
        Err(Stop::Schema(found)) => {
            let (came, usage) = (Came::Violations(found), Usage::default());
            return Ok(FixtureRun { came, log: String::new(), usage, took: Duration::ZERO, checked: check_took });
        }
        Err(other) => return Err(other),
    };
    let headers = headers.iter().map(|(name, it)| (name.to_ascii_lowercase(), it.clone())).collect();
    let context = integration.context_with(EVENT_ID, received_at, headers);
    let started = Instant::now();
    let called = integration.plugin.map_blocking(checked.text(), &context);
    let took = started.elapsed();
    let came = called.result.map_or_else(Came::Failed, Came::Out);
    Ok(FixtureRun { came, log: called.log, usage: called.usage, took, checked: check_took })
}

impl Fixture {
    /// Reads a fixture's file.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is not a fixture.
    pub(crate) fn read(folder: &Folder, file: &Path) -> Result<Self, LoadFailure> {
        let failed = |cause| LoadFailure::Fixture { file: folder.join(file), cause: format!("not a fixture: {cause}") };
        parse::json(&read(folder, file, FIXTURE_BYTES)?).map_err(failed)
    }

    /// Returns how a run differs from the expectation, without values: these are shown to the plugin's author only.
    fn differs(&self, run: &FixtureRun, integration: &Integration) -> Option<String> {
        let read = |values: &[Value]| tasks(values, integration).ok();
        let places = match (&run.came, &self.expect) {
            (Came::Out(Outcome::Tasks(found, _)), Expect::Tasks(expected)) => {
                read(expected).zip(read(found)).map(|(expected, found)| differences(&expected, &found))
            }
            _ => None,
        };
        match places {
            _ if self.wrong(run, integration).is_empty() => None,
            Some(places) => {
                let shown =
                    places.shown.iter().take(PLACES).map(|it| it.pointer.clone()).collect::<Vec<_>>().join(", ");
                let more = (places.shown.len() + places.omitted).saturating_sub(PLACES);
                Some(if more > 0 {
                    format!("differs at {shown} and {more} more")
                } else {
                    format!("differs at {shown}")
                })
            }
            None => Some(format!("expected {}, got {}", self.expect.kind(), run.came.kind())),
        }
    }

    /// Returns all differences between a run and the expectation, as sentences; empty if the fixture passes.
    #[must_use]
    pub(crate) fn wrong(&self, run: &FixtureRun, integration: &Integration) -> Vec<String> {
        match (&run.came, &self.expect) {
            (Came::Out(Outcome::Tasks(found, _)), Expect::Tasks(expected)) => {
                match (tasks(expected, integration), tasks(found, integration)) {
                    (Ok(expected), Ok(found)) => told(&expected, &found),
                    (Err(cause), _) => vec![format!("the expected task is invalid: {cause}")],
                    (_, Err(cause)) => vec![format!("the plugin's task is invalid: {cause}")],
                }
            }
            (Came::Out(Outcome::Skip(found)), Expect::Skip(expected)) if found == expected => Vec::new(),
            (Came::Failed(PluginError::Refused { message, .. }), Expect::Refused(part)) if message.contains(part) => {
                Vec::new()
            }
            (Came::Violations(found), Expect::Violations(expected)) => {
                let found: Vec<_> = found.iter().map(|it| &it.pointer).collect();
                told(&json!(expected), &json!(found))
            }
            (came, expect) => vec![format!("expected {expect}, got {came}")],
        }
    }
}

fn told(expected: &Value, found: &Value) -> Vec<String> {
    let found = differences(expected, found);
    let more = (found.omitted > 0).then(|| format!("and {} more places", found.omitted));
    found.shown.iter().map(ToString::to_string).chain(more).collect()
}

/// Parses the tasks as the pipeline does, so that a fixture need not repeat defaults.
fn tasks(values: &[Value], integration: &Integration) -> Result<Value, String> {
    let read = |(index, value): (usize, &Value)| {
        let payload = Payload::of(value.clone());
        let task = NewTask::parse(payload, &integration.rules)
            .map_err(|found| format!("task {index}: {}", found.sentences()))?;
        serde_json::to_value(task.0).map_err(|e| e.to_string())
    };
    values.iter().enumerate().map(read).collect()
}

impl Expect {
    fn kind(&self) -> &'static str {
        match self {
            Self::Tasks(_) => "other tasks",
            Self::Skip(_) => "another skip",
            Self::Refused(_) => "another refusal",
            Self::Violations(_) => "other violations of the schema",
        }
    }
}

impl Came {
    fn kind(&self) -> &'static str {
        match self {
            Self::Out(Outcome::Tasks(_, _)) => "tasks",
            Self::Out(Outcome::Skip(_)) => "a skip",
            Self::Violations(_) => "violations of the schema",
            Self::Failed(PluginError::Refused { .. }) => "a refusal",
            Self::Failed(error) => error.code(),
        }
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tasks(tasks) => write!(f, "{} tasks", tasks.len()),
            Self::Skip(reason) => write!(f, "the skip \"{reason}\""),
            Self::Refused(part) => write!(f, "a refusal with \"{part}\""),
            Self::Violations(at) => write!(f, "violations at {}", at.join(", ")),
        }
    }
}

impl std::fmt::Display for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Out(Outcome::Tasks(tasks, _)) => write!(f, "{} tasks", tasks.len()),
            Self::Out(Outcome::Skip(reason)) => write!(f, "the skip \"{reason}\""),
            Self::Violations(found) => write!(f, "violations of the schema: {}", found.sentences()),
            Self::Failed(PluginError::Refused { message, .. }) => write!(f, "the refusal \"{message}\""),
            Self::Failed(error) => write!(f, "an error: {error}"),
        }
    }
}
