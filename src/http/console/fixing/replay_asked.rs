//! Which events a replay of many is asked for.

use serde_json::{Map, Value, json};

use super::super::parts::whole_time;
use super::chosen_tasks;

pub(super) const TITLE: &str = "Replay many events";

/// Filters of the list of events that a replay has, and whether each may have several values.
const FILTERS: [(&str, bool); 6] =
    [("integration", true), ("status", true), ("reason", true), ("since", false), ("until", false), ("id", false)];
/// Other filters of the list of events: without them, more events would be replayed than the list shows.
const OTHER: [&str; 7] = ["text", "pointer", "value", "task_id", "repeats", "delivery_id", "q"];

/// What is asked for, in the query of the preview or in the form that begins.
#[derive(Debug, Clone, Default)]
pub(super) struct AskedReplay {
    /// Filters as pairs.
    pub(super) filters: Vec<(String, String)>,
    pub(super) tasks: &'static str,
    /// Filters that a replay does not have.
    pub(super) unknown: Vec<String>,
}

impl AskedReplay {
    pub(super) fn of(pairs: &[(String, String)]) -> Self {
        let mut asked = Self { tasks: "leave", ..Self::default() };
        for (name, value) in pairs.iter().filter(|(_, value)| !value.trim().is_empty()) {
            match FILTERS.iter().find(|(it, _)| it == name) {
                Some((_, true)) => {
                    let values = value.split(',').map(str::trim).filter(|it| !it.is_empty());
                    asked.filters.extend(values.map(|it| (name.clone(), it.to_owned())));
                }
                Some(_) if name == "id" => asked.filters.push((name.clone(), value.trim().to_owned())),
                Some(_) => asked.filters.push((name.clone(), whole_time(value.trim()))),
                None if name == "tasks" => asked.tasks = chosen_tasks(Some(value)),
                None if OTHER.contains(&name.as_str()) => asked.unknown.push(name.clone()),
                None => {}
            }
        }
        asked
    }

    /// The first value of a filter, or all of them joined.
    pub(super) fn text(&self, name: &str) -> String {
        let values = self.filters.iter().filter(|(it, _)| it == name).map(|(_, value)| value.as_str());
        values.collect::<Vec<_>>().join(", ")
    }

    pub(super) fn body(&self) -> Value {
        let mut filter = Map::new();
        for (name, is_list) in FILTERS {
            let values: Vec<_> = self.filters.iter().filter(|(it, _)| it == name).map(|(_, it)| it.clone()).collect();
            match values.first() {
                None => {}
                Some(_) if is_list => drop(filter.insert(name.into(), values.into())),
                Some(first) => drop(filter.insert(name.into(), first.clone().into())),
            }
        }
        json!({ "filter": filter, "tasks": self.tasks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a replay has other events than the list from which it was begun.
    #[test]
    fn the_filters_of_a_list_are_those_of_the_replay() {
        let pairs = |all: &[(&str, &str)]| -> Vec<(String, String)> {
            all.iter().map(|(name, it)| ((*name).to_owned(), (*it).to_owned())).collect()
        };
        let query = [
            ("integration", "a,b"),
            ("integration", "c"),
            ("since", "2026-01-01T00:00:00Z"),
            ("id", " "),
            ("tasks", "update"),
        ];
        let asked = AskedReplay::of(&pairs(&query));
        let filter = json!({"integration": ["a", "b", "c"], "since": "2026-01-01T00:00:00Z"});
        assert_eq!(asked.body(), json!({"filter": filter, "tasks": "update"}));
        assert_eq!(AskedReplay::of(&pairs(&[("text", "x"), ("cursor", "y")])).unknown, ["text"]);
    }
}
