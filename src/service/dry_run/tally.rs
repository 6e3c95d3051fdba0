//! Counts and samples of differences, in bounded memory.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::format::diff::Difference;
use crate::model::ids::EventId;
use crate::pipeline::verdict::{Class, Verdict};

/// Maximum number of places and of reasons that are counted separately; the others are counted together.
const PLACES: usize = 200;
const ELSEWHERE: &str = "(elsewhere)";

/// Counts and samples.
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Tally {
    /// Number of events with the same result.
    pub same: u64,
    /// Number of events with another result.
    pub changed: u64,
    /// Number of events that passed before and fail now, or that were captured and fail.
    pub newly_failing: u64,
    /// Number of events that failed before and pass now, or that were captured and pass.
    pub newly_passing: u64,
    /// Number of events that pass now, but whose earlier result is no longer known.
    pub uncompared: u64,
    /// Where changed events differ, by JSON Pointer into `{"tasks": […]}` or `{"skip": …}`.
    pub fields: BTreeMap<String, FieldChange>,
    /// Why events fail now, by stage, code and place.
    pub failures: BTreeMap<String, Why>,
    /// Samples of events with different results.
    #[schemars(with = "Vec<Sample>")]
    pub samples: Samples,
}

/// A place that differs.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "DifferingField")]
pub struct FieldChange {
    /// Number of events.
    pub events: u64,
    /// One of the events.
    pub example: EventId,
    /// Its earlier value; `None` if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// Its value now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// A reason for failing.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "FailureReason")]
pub struct Why {
    /// Number of events.
    pub events: u64,
    /// One of the events.
    pub example: EventId,
    /// Message that its sender would get.
    pub message: String,
}

/// An event with a different result.
#[derive(Debug, Clone, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "DifferingEvent")]
pub struct Sample {
    /// Id of the event.
    pub event_id: EventId,
    /// Kind of difference.
    pub class: Class,
    /// The earlier result.
    pub before: String,
    /// The result now.
    pub after: String,
    /// Where the results differ.
    pub differences: Vec<Difference>,
    /// Number of further places.
    #[serde(default)]
    pub differences_omitted: usize,
}

/// The kept samples.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    most: usize,
    newest: bool,
    kept: BTreeMap<EventId, Sample>,
}

impl Tally {
    /// Creates a tally that keeps this many samples: the newest events, or the oldest.
    #[must_use]
    pub fn new(samples: usize, newest: bool) -> Self {
        Self { samples: Samples { most: samples, newest, kept: BTreeMap::new() }, ..Self::default() }
    }

    /// Counts an event.
    pub fn add(&mut self, id: EventId, before: &Verdict, after: &Verdict) {
        let (class, differences) = before.compare(after);
        match class {
            Class::Same => return self.same += 1,
            Class::Uncompared => return self.uncompared += 1,
            Class::Changed => self.changed += 1,
            Class::NewlyFailing => self.newly_failing += 1,
            Class::NewlyPassing => self.newly_passing += 1,
        }
        // Of a captured event, there is no earlier value to differ from: the samples have all values.
        let compared = if class == Class::Changed { differences.shown.as_slice() } else { &[] };
        for it in compared {
            let new = || FieldChange { events: 0, example: id, before: it.expected.clone(), after: it.found.clone() };
            place(&mut self.fields, it.pointer.clone(), new).events += 1;
        }
        if let (Class::NewlyFailing, Verdict::Failed(failure)) = (class, after) {
            let new = |message: &str| Why { events: 0, example: id, message: message.to_owned() };
            for it in &failure.violations {
                let name = format!("{} {} at {}", failure.stage, it.code, at(&it.pointer));
                place(&mut self.failures, name, || new(&it.message)).events += 1;
            }
            if failure.violations.is_empty() {
                let name = format!("{} {}", failure.stage, failure.code);
                place(&mut self.failures, name, || new(&failure.message)).events += 1;
            }
        }
        let told = |it: &Verdict| it.to_string();
        let (before, after, differences_omitted) = (told(before), told(after), differences.omitted);
        let differences = differences.shown;
        self.samples.add(Sample { event_id: id, class, before, after, differences, differences_omitted });
    }

    /// Adds the counts of another tally.
    pub fn merge(&mut self, other: Self) {
        self.same += other.same;
        self.changed += other.changed;
        self.newly_failing += other.newly_failing;
        self.newly_passing += other.newly_passing;
        self.uncompared += other.uncompared;
        for (name, it) in other.fields {
            let events = it.events;
            place(&mut self.fields, name, || FieldChange { events: 0, ..it }).events += events;
        }
        for (name, it) in other.failures {
            let events = it.events;
            place(&mut self.failures, name, || Why { events: 0, ..it }).events += events;
        }
        other.samples.kept.into_values().for_each(|it| self.samples.add(it));
    }

    /// Removes the samples and all values; the counts remain.
    pub fn forget_samples(&mut self) {
        self.forget_values();
        self.samples.kept.clear();
    }

    /// Removes all values; the counts remain.
    pub fn forget_values(&mut self) {
        for it in self.fields.values_mut() {
            (it.before, it.after) = (None, None);
        }
        self.failures.values_mut().for_each(|it| it.message = String::new());
        for it in self.samples.kept.values_mut() {
            (it.before, it.after) = (String::new(), String::new());
            it.differences.iter_mut().for_each(|it| (it.expected, it.found) = (None, None));
        }
    }
}

fn at(pointer: &str) -> &str {
    if pointer.is_empty() { "the whole" } else { pointer }
}

fn place<T>(all: &mut BTreeMap<String, T>, name: String, new: impl FnOnce() -> T) -> &mut T {
    let name = if all.len() < PLACES || all.contains_key(&name) { name } else { ELSEWHERE.to_owned() };
    all.entry(name).or_insert_with(new)
}

impl Samples {
    fn add(&mut self, sample: Sample) {
        self.kept.insert(sample.event_id, sample);
        if self.kept.len() > self.most {
            if self.newest {
                self.kept.pop_first()
            } else {
                self.kept.pop_last()
            };
        }
    }

    /// Returns the samples in the order in which their events were received.
    pub fn iter(&self) -> impl Iterator<Item = &Sample> {
        self.kept.values()
    }
}

impl Serialize for Samples {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Samples {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Vec::<Sample>::deserialize(deserializer)?;
        Ok(Self { most: all.len(), newest: false, kept: all.into_iter().map(|it| (it.event_id, it)).collect() })
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tasks(tasks) if tasks.len() == 1 => f.write_str("1 task"),
            Self::Tasks(tasks) => write!(f, "{} tasks", tasks.len()),
            Self::Skip(reason) => write!(f, "the skip \"{reason}\""),
            Self::Failed(it) => write!(f, "{}: {}", it.stage, it.message),
            Self::Lost => f.write_str("tasks that were changed since"),
            Self::Captured => f.write_str("captured"),
        }
    }
}
