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
use super::live::{Integration, PassedRequest};
use super::stop::Stop;
use crate::format::diff::{Differences, differences};
use crate::format::parse;
use crate::format::payload::Loosened;
use crate::format::schema::Violations;
use crate::model::event::RawEvent;
use crate::model::ids::EventId;
use crate::plugin::{CallContext, Called, Outcome, Plugin, PluginError, Usage};
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
    /// Parameters of the query that the plugin gets.
    #[serde(default)]
    pub query: FixtureQuery,
    /// The rest of the path that the plugin gets.
    #[serde(default)]
    pub path: String,
    /// The payload, decoded.
    pub payload: Value,
    /// The expected result.
    pub expect: Expect,
}

/// Parameters of a query: names with their values, or a list of pairs where their order matters.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum FixtureQuery {
    /// By name.
    Named(BTreeMap<String, ParameterValues>),
    /// In order.
    Pairs(Vec<(String, String)>),
}

/// One value, or those of a parameter that is repeated.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
pub(crate) enum ParameterValues {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

impl Default for FixtureQuery {
    fn default() -> Self {
        Self::Pairs(Vec::new())
    }
}

impl FixtureQuery {
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        match self {
            Self::Pairs(pairs) => pairs.clone(),
            Self::Named(named) => {
                let each = |(name, values): (&String, &ParameterValues)| {
                    let values = match values {
                        ParameterValues::One(value) => vec![value.clone()],
                        ParameterValues::Several(values) => values.clone(),
                    };
                    values.into_iter().map(|it| (name.clone(), it)).collect::<Vec<_>>()
                };
                named.iter().flat_map(each).collect()
            }
        }
    }
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
    /// The first bytes of invalid output, for the plugin's author only.
    pub excerpt: Option<String>,
    /// Resources used by the call; zero if the payload violates the schema.
    pub usage: Usage,
    /// Duration of the call.
    pub took: Duration,
    /// Duration of the schema check, and of decoding before it.
    pub checked: Duration,
    /// Names of values in the body that were read loosely.
    pub loosened: Loosened,
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
        let run = run(integration, &fixture.payload, fixture.received_at, fixture.request())
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
    request: PassedRequest,
) -> Result<FixtureRun, Stop> {
    run_in(integration, payload, integration.context_with(EVENT_ID, received_at, request), None)
}

/// Sends a payload through schema and plugin, on this thread, in this context. `counting`: the same plugin, to be called once more
/// so that instructions are counted.
///
/// # Errors
/// Fails if the payload is invalid in itself.
pub(crate) fn run_in(
    integration: &Integration,
    payload: &Value,
    context: CallContext,
    counting: Option<&Plugin>,
) -> Result<FixtureRun, Stop> {
    let started = Instant::now();
    let result = CheckedPayload::example(integration, payload.clone());
    called(integration, result, started.elapsed(), context, counting)
}

/// Sends a delivery through an integration up to its plugin's output, on this thread. `counting` is as for [`run_in`].
///
/// # Errors
/// Fails if its body cannot be decoded, or cannot be checked.
pub(crate) fn run_event(
    integration: &Integration,
    raw: &RawEvent,
    context: CallContext,
    counting: Option<&Plugin>,
) -> Result<FixtureRun, Stop> {
    let started = Instant::now();
    let payload = integration.payload(raw)?;
    let result = CheckedPayload::rehearsed(integration, raw, payload);
    called(integration, result, started.elapsed(), context, counting)
}

/// Calls the plugin with a payload, if that fits the schema.
fn called(
    integration: &Integration,
    result: Result<CheckedPayload, Stop>,
    checked: Duration,
    context: CallContext,
    counting: Option<&Plugin>,
) -> Result<FixtureRun, Stop> {
    let payload = match result {
        Ok(payload) => payload,
        Err(Stop::Schema(found)) => {
            let (came, usage, log) = (Came::Violations(found), Usage::default(), String::new());
            let loosened = Loosened::default();
            return Ok(FixtureRun { came, log, excerpt: None, usage, took: Duration::ZERO, checked, loosened });
        }
        Err(other) => return Err(other),
    };
    let started = Instant::now();
    let Called { result, log, mut usage, excerpt } = integration.map_blocking(payload.text(), &context);
    let took = started.elapsed();
    // Counting makes calls slower, so it is another one.
    if let Some(counting) = counting {
        usage.fuel = counting.map_blocking(payload.text(), &context).usage.fuel;
    }
    let came = result.map_or_else(Came::Failed, Came::Out);
    Ok(FixtureRun { came, log, excerpt, usage, took, checked, loosened: payload.into_loosened() })
}

impl Fixture {
    /// Returns what the plugin gets of the request apart from its body.
    #[must_use]
    pub(crate) fn request(&self) -> PassedRequest {
        PassedRequest {
            headers: self.headers.iter().map(|(name, it)| (name.to_ascii_lowercase(), it.clone())).collect(),
            query: self.query.pairs().into(),
            path: self.path.as_str().into(),
        }
    }

    /// Reads a fixture's file.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or is not a fixture.
    pub(crate) fn read(folder: &Folder, file: &Path) -> Result<Self, LoadFailure> {
        let text = read(folder, file, FIXTURE_BYTES)?;
        let failed = |cause: String| {
            let cause = if is_raw(&text) {
                format!(
                    "it is a payload, and not a fixture; `hookmill plugin test {} --adopt` makes it one",
                    folder.path().display()
                )
            } else {
                format!("not a fixture: {cause}")
            };
            LoadFailure::Fixture { file: folder.join(file), cause }
        };
        parse::json(&text).map_err(failed)
    }

    /// Returns how a run differs from the expectation, without values: these are shown to the plugin's author only.
    fn differs(&self, run: &FixtureRun, integration: &Integration) -> Option<String> {
        let places = match self.expect {
            Expect::Tasks(_) => self.places(run, integration),
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

    /// Returns where a run differs from the expectation, if both are of the same kind and can be compared.
    #[must_use]
    pub(crate) fn places(&self, run: &FixtureRun, integration: &Integration) -> Option<Differences> {
        match (&run.came, &self.expect) {
            (Came::Out(Outcome::Tasks(found, _)), Expect::Tasks(expected)) => {
                let read = |values: &[Value]| tasks(values, integration, self.received_at).ok();
                Some(differences(&read(expected)?, &read(found)?))
            }
            (Came::Out(Outcome::Skip(found)), Expect::Skip(expected)) => {
                Some(differences(&json!({ "skip": expected }), &json!({ "skip": found })))
            }
            (Came::Violations(found), Expect::Violations(expected)) => {
                let found: Vec<_> = found.iter().map(|it| &it.pointer).collect();
                Some(differences(&json!({ "violations": expected }), &json!({ "violations": found })))
            }
            _ => None,
        }
    }

    /// Returns all differences between a run and the expectation, as sentences; empty if the fixture passes.
    #[must_use]
    pub(crate) fn wrong(&self, run: &FixtureRun, integration: &Integration) -> Vec<String> {
        match (&run.came, &self.expect) {
            (Came::Out(Outcome::Tasks(found, _)), Expect::Tasks(expected)) => {
                match (tasks(expected, integration, self.received_at), tasks(found, integration, self.received_at)) {
                    (Ok(expected), Ok(found)) => told(&expected, &found),
                    (_, Err(cause)) => vec![format!("the plugin's task is invalid: {cause}")],
                    (Err(cause), _) => vec![format!("the expected task is invalid: {cause}")],
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
            (came, expect) => {
                let output = run.excerpt.as_ref().map(|it| format!("its output begins with: {it}"));
                std::iter::once(format!("expected {expect}, got {came}")).chain(output).collect()
            }
        }
    }
}

/// The members of a fixture.
const MEMBERS: [&str; 5] = ["name", "received_at", "headers", "payload", "expect"];

/// Returns whether the text of a file that is not a fixture is a payload: JSON that does not look like an incomplete fixture.
pub(crate) fn is_raw(text: &str) -> bool {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) if map.is_empty() => false,
        Ok(Value::Object(map)) if map.contains_key("expect") => false,
        Ok(Value::Object(map)) => !map.contains_key("payload") || map.keys().any(|it| !MEMBERS.contains(&it.as_str())),
        Ok(Value::Array(items)) => !items.is_empty(),
        _ => false,
    }
}

fn told(expected: &Value, found: &Value) -> Vec<String> {
    let found = differences(expected, found);
    let more = (found.omitted > 0).then(|| format!("and {} more places", found.omitted));
    found.shown.iter().map(ToString::to_string).chain(more).collect()
}

/// Parses the tasks as the pipeline does, so that a fixture need not repeat defaults.
fn tasks(values: &[Value], integration: &Integration, received_at: DateTime<Utc>) -> Result<Value, String> {
    let read = |(index, value): (usize, &Value)| {
        let task = integration.task(value.clone(), received_at);
        let task = task.map_err(|found| format!("task {index}: {}", found.sentences()))?;
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
