//! The query of `GET /v1/tasks`.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::payload::{Rules, filter_text};
use crate::schema::{Violation, got};
use crate::store::{Cursor, Page, TaskFilter};

/// Tasks a page, where nothing is said.
const LIMIT: usize = 50;
/// Most tasks a page.
const MOST: usize = 100;
const KNOWN: [&str; 8] = ["patient_id", "status", "priority", "assigned_user_id", "type", "page", "limit", "cursor"];

/// What a list is asked for.
pub(super) struct ListQuery {
    pub(super) filter: TaskFilter,
    pub(super) page: Page,
    pub(super) limit: usize,
}

impl ListQuery {
    /// Reads the raw query. Names that are not known are ignored, and blank values are absent unless the rules are
    /// strict.
    pub(super) fn parse(raw: &str, rules: &Rules) -> Result<Self, Vec<Violation>> {
        let mut query = Query::read(raw, rules, &KNOWN);
        let filter = TaskFilter {
            patient_id: query.text("patient_id"),
            status: query.one_of("status", "one of pending, in_progress, completed"),
            priority: query.one_of("priority", "one of low, medium, high, urgent"),
            assigned_user_id: query.text("assigned_user_id"),
            kind: query.text("type"),
        };
        let number = query.number("page", "a page number, from 1 on", 1, u32::MAX as usize);
        let limit = query.number("limit", "a number from 1 to 100", 1, MOST).unwrap_or(LIMIT);
        let page = match (query.cursor(), number) {
            (Some(_), Some(number)) => {
                query.wrong(
                    "page",
                    &number.to_string(),
                    "nothing beside a cursor",
                    "cannot be combined with cursor; send one",
                );
                Page::Number { page: 1, limit }
            }
            (Some(cursor), None) => Page::After { cursor, limit },
            (None, number) => Page::Number { page: number.map_or(1, |it| it as u64), limit },
        };
        if query.violations.is_empty() { Ok(Self { filter, page, limit }) } else { Err(query.violations) }
    }
}

/// Known names with their values, and what was wrong so far.
pub(super) struct Query {
    values: Vec<(&'static str, String)>,
    pub(super) violations: Vec<Violation>,
}

impl Query {
    pub(super) fn read(raw: &str, rules: &Rules, known: &[&'static str]) -> Self {
        let mut query = Self { values: Vec::new(), violations: Vec::new() };
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            let Some(name) = known.iter().copied().find(|it| *it == name) else { continue };
            let Some(text) = filter_text(name, &value, rules) else { continue };
            if query.values.iter().any(|(seen, _)| *seen == name) {
                query.wrong(name, &text, "one value", "stands twice in the query; send it once");
            } else {
                query.values.push((name, text));
            }
        }
        query
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, text)| text.clone())
    }

    pub(super) fn one_of<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Option<T> {
        let text = self.text(name)?;
        let read = serde_json::from_value(Value::String(text.clone())).ok();
        self.or_wrong(name, &text, expected, read)
    }

    pub(super) fn number(&mut self, name: &str, expected: &str, least: usize, most: usize) -> Option<usize> {
        let text = self.text(name)?;
        let read = text.parse().ok().filter(|it| (least..=most).contains(it));
        self.or_wrong(name, &text, expected, read)
    }

    fn cursor(&mut self) -> Option<Cursor> {
        let text = self.text("cursor")?;
        let read = text.parse().ok();
        self.or_wrong("cursor", &text, "the next_cursor of a page before, as it was answered", read)
    }

    pub(super) fn or_wrong<T>(&mut self, name: &str, text: &str, expected: &str, read: Option<T>) -> Option<T> {
        if read.is_none() {
            self.wrong(name, text, expected, &format!("{} is not {expected}", got(&Value::String(text.to_owned()))));
        }
        read
    }

    fn wrong(&mut self, name: &str, text: &str, expected: &str, said: &str) {
        self.violations.push(Violation {
            pointer: format!("/{name}"),
            code: "invalid_query".into(),
            expected: expected.into(),
            got: Some(got(&Value::String(text.to_owned()))),
            message: format!("{name}: {said}"),
            hint: None,
        });
    }
}
