//! Runs a payload through an integration for its author: everything about the result, and nothing is stored.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::script_place::ScriptPlace;
use crate::format::diff::Difference;
use crate::format::schema::{Violation, Violations};
use crate::format::task::{IgnoredField, ignored_fields};
use crate::integration::Integration;
use crate::integration::check::LimitUsage;
use crate::integration::fixtures::{Came, FixtureRun};
use crate::integration::stop::Stop;
use crate::model::task::NewTask;
use crate::pipeline::verdict::{Class, RunFailure, Verdict};
use crate::plugin::{Outcome, PluginError};

/// What a trial came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TrialResult {
    /// Tasks.
    Tasks,
    /// A skip.
    Skip,
    /// The body cannot be decoded, or the payload does not fit the schema; the plugin was not called.
    Payload,
    /// The plugin refused the payload.
    Refused,
    /// The plugin failed: it crashed, threw an error, or exceeded a limit.
    Failed,
    /// The plugin's output is not a valid task.
    Output,
    /// The script that was sent cannot be loaded.
    Script,
}

/// The result of a trial.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Trial {
    /// The kind of result.
    result: TrialResult,
    /// `version` in plugin.toml.
    version: String,
    /// SHA-256 of the script that was run, hexadecimal, if it is one.
    script_sha256: Option<String>,
    /// The tasks as they would be stored.
    #[schemars(with = "Vec<serde_json::Map<String, Value>>")]
    tasks: Vec<NewTask>,
    /// Why it was skipped.
    skip: Option<String>,
    /// Why there is no result.
    problem: Option<TrialProblem>,
    /// What is wrong with the payload, or with the plugin's output; the first 100.
    violations: Vec<Violation>,
    /// How many more violations there are.
    violations_omitted: usize,
    /// Fields of the plugin's output that no task has, and that would be ignored.
    ignored: Vec<IgnoredField>,
    /// Names of values that would be read loosely.
    loosened: Vec<String>,
    /// The plugin's log.
    log: String,
    /// The first bytes of output that is invalid.
    output_excerpt: Option<String>,
    /// How long the plugin took, in microseconds; 0 if it was not called.
    took_us: u64,
    /// How long decoding and the schema check took, in microseconds.
    checked_us: u64,
    /// Instructions that the plugin executed (wasmtime's fuel), if `count_fuel` asked for them. There is no limit of them: a live
    /// call is limited by its time.
    fuel: Option<u64>,
    /// Why they were not counted, if `count_fuel` asked for them.
    fuel_problem: Option<String>,
    /// How much of each limit was used.
    limits: Vec<LimitUsage>,
    /// How the result differs from what was stored for the event.
    stored: Option<StoredComparison>,
}

/// Why a trial has no result.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TrialProblem {
    /// The stage that failed: `decode`, `schema`, `plugin` or `task`, or `script` if the script cannot be loaded.
    stage: String,
    /// The error, as in `detail.code`.
    code: String,
    /// The sentence that a sender would get.
    message: String,
    /// What its author can do.
    advice: Option<String>,
    /// JSON Pointer into the payload, if the plugin named one.
    pointer: Option<String>,
    /// Where in the script, if that is known.
    place: Option<ScriptPlace>,
}

/// How a trial differs from what was stored.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StoredComparison {
    /// The kind of difference.
    class: Class,
    /// What was stored, in words.
    before: String,
    /// Places in `{"tasks": […]}` or `{"skip": …}` that differ: `expected` is what was stored.
    differences: Vec<Difference>,
    /// How many more places differ.
    differences_omitted: usize,
    /// How many of the event's tasks were changed or deleted after they were created; those differ for that reason too.
    changed_since: usize,
}

/// What was stored for an event.
#[derive(Debug)]
pub(crate) struct StoredResult {
    /// The result.
    pub(crate) verdict: Verdict,
    /// How many tasks were changed or deleted since.
    pub(crate) changed_since: usize,
}

impl Trial {
    /// The result of a run by this integration, compared with what was stored.
    pub(crate) fn of(
        integration: &Integration,
        run: Result<FixtureRun, Stop>,
        received_at: chrono::DateTime<chrono::Utc>,
        stored: Option<&StoredResult>,
    ) -> Self {
        let mut trial = Self::empty(integration);
        let verdict = match run {
            Ok(run) => trial.ran(integration, run, received_at),
            Err(stop) => {
                trial.problem = Some(TrialProblem::of_stop(&stop));
                Verdict::stopped(&stop)
            }
        };
        trial.stored = stored.map(|it| StoredComparison::of(it, &verdict));
        trial
    }

    /// With the reason why instructions were not counted.
    pub(crate) fn not_counted(self, why: Option<&str>) -> Self {
        Self { fuel_problem: why.map(str::to_owned), ..self }
    }

    /// A script that cannot be loaded.
    pub(crate) fn unloadable(integration: &Integration, cause: &str) -> Self {
        let problem = TrialProblem::new("script", "script_invalid", cause.to_owned());
        Self { result: TrialResult::Script, problem: Some(problem), script_sha256: None, ..Self::empty(integration) }
    }

    fn empty(integration: &Integration) -> Self {
        Self {
            result: TrialResult::Payload,
            version: integration.version.clone(),
            script_sha256: integration.provenance.script_sha256.clone(),
            tasks: Vec::new(),
            skip: None,
            problem: None,
            violations: Vec::new(),
            violations_omitted: 0,
            ignored: Vec::new(),
            loosened: Vec::new(),
            log: String::new(),
            output_excerpt: None,
            took_us: 0,
            checked_us: 0,
            fuel: None,
            fuel_problem: None,
            limits: Vec::new(),
            stored: None,
        }
    }

    /// Takes over what a run came to, and returns it for the comparison.
    fn ran(
        &mut self,
        integration: &Integration,
        run: FixtureRun,
        received_at: chrono::DateTime<chrono::Utc>,
    ) -> Verdict {
        let micros = |it: std::time::Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
        (self.took_us, self.checked_us, self.fuel) = (micros(run.took), micros(run.checked), run.usage.fuel);
        self.limits = LimitUsage::of(integration, &run);
        self.loosened = run.loosened.iter().map(str::to_owned).collect();
        (self.log, self.output_excerpt) = (run.log, run.excerpt);
        match run.came {
            Came::Violations(found) => {
                self.problem = Some(TrialProblem::new("schema", "invalid_field", found.sentences()));
                self.violated(TrialResult::Payload, found)
            }
            Came::Failed(error) => self.failed(integration, &error),
            Came::Out(Outcome::Skip(reason)) => {
                (self.result, self.skip) = (TrialResult::Skip, Some(reason.clone()));
                Verdict::Skip(reason)
            }
            Came::Out(Outcome::Tasks(values, loosened)) => {
                self.ignored = ignored_fields(&values);
                loosened.iter().for_each(|it| self.loosened.push(it.to_owned()));
                self.made(integration, values, received_at)
            }
        }
    }

    fn made(
        &mut self,
        integration: &Integration,
        values: Vec<Value>,
        received_at: chrono::DateTime<chrono::Utc>,
    ) -> Verdict {
        let mut wrong = Violations::default();
        let is_empty = values.is_empty();
        for (index, value) in values.into_iter().enumerate() {
            match integration.task(value, received_at) {
                Ok((task, loosened)) => {
                    self.tasks.push(task);
                    self.loosened.extend(loosened.iter().map(str::to_owned));
                }
                Err(found) => {
                    let placed = found.map(|it| Violation { pointer: format!("/{index}{}", it.pointer), ..it });
                    wrong = wrong.and(placed);
                }
            }
        }
        self.loosened.sort();
        self.loosened.dedup();
        if wrong.is_empty() && !is_empty {
            self.result = TrialResult::Tasks;
            return Verdict::tasks(self.tasks.iter().cloned());
        }
        self.tasks.clear();
        let message = if is_empty { "the plugin returned no task and no skip".to_owned() } else { wrong.sentences() };
        let place = wrong.first().and_then(|it| ScriptPlace::of(&it.message, integration));
        self.problem = Some(TrialProblem { place, ..TrialProblem::new("task", "plugin_output_invalid", message) });
        self.violated(TrialResult::Output, wrong)
    }

    fn violated(&mut self, result: TrialResult, found: Violations) -> Verdict {
        self.result = result;
        self.violations_omitted = found.omitted();
        self.violations = found.to_vec();
        self.verdict()
    }

    fn failed(&mut self, integration: &Integration, error: &PluginError) -> Verdict {
        let is_refusal = matches!(error, PluginError::Refused { .. });
        self.result = match error {
            _ if is_refusal => TrialResult::Refused,
            PluginError::BadOutput(_) => TrialResult::Output,
            _ => TrialResult::Failed,
        };
        let mut problem = TrialProblem::new("plugin", error.code(), error.to_string());
        problem.advice = error.advice().map(str::to_owned);
        match error {
            // The words are the plugin's own.
            PluginError::Refused { pointer, .. } => (problem.place, problem.pointer) = (None, pointer.clone()),
            PluginError::BadOutput(cause) => problem.place = ScriptPlace::of(cause, integration),
            _ => problem.place = ScriptPlace::of(&problem.message, integration),
        }
        self.problem = Some(problem);
        self.verdict()
    }

    /// The failure, for the comparison.
    fn verdict(&self) -> Verdict {
        let words = |it: &TrialProblem| (it.stage.clone(), it.code.clone(), it.message.clone());
        let (stage, code, message) = self.problem.as_ref().map(words).unwrap_or_default();
        Verdict::Failed(Box::new(RunFailure { stage, code, message, violations: self.violations.clone() }))
    }
}

impl TrialProblem {
    fn new(stage: &str, code: &str, message: String) -> Self {
        let place = ScriptPlace::in_message(&message);
        Self { stage: stage.to_owned(), code: code.to_owned(), message, advice: None, pointer: None, place }
    }

    fn of_stop(stop: &Stop) -> Self {
        Self { place: None, ..Self::new(stop.stage(), stop.code(), stop.to_string()) }
    }
}

impl StoredComparison {
    fn of(stored: &StoredResult, now: &Verdict) -> Self {
        let (class, differences) = stored.verdict.compare(now);
        Self {
            class,
            before: stored.verdict.to_string(),
            differences: differences.shown,
            differences_omitted: differences.omitted,
            changed_since: stored.changed_since,
        }
    }
}
