//! The query of `GET /v1/tasks`.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::call::Call;
use super::input::Input;
use super::openapi::describer::Describer;
use super::openapi::document::ParameterPlace;
use super::problem::Problem;
use crate::format::payload::{Rules, filter_text};
use crate::format::schema::{Violation, got};
use crate::model::task::{Priority, Status};
use crate::store::{Cursor, Page, TaskFilter};

/// Tasks per page by default.
const LIMIT: usize = 50;
/// Most tasks per page.
const MOST: usize = 100;

/// The query of a list of tasks.
pub(super) struct ListQuery {
    pub(super) filter: TaskFilter,
    pub(super) page: Page,
    pub(super) limit: usize,
}

impl QueryParameters for ListQuery {
    const PARAMETERS: &'static [QueryParameter] = &[
        parameter::<String>("patient_id", "Only tasks about this patient."),
        parameter::<Status>("status", "Only tasks of this status."),
        parameter::<Priority>("priority", "Only tasks of this priority."),
        parameter::<String>("assigned_user_id", "Only tasks that are assigned to this user."),
        parameter::<String>("type", "Only tasks of this type."),
        parameter::<u32>("page", "The page's number, from 1; later pages cost more, so use `cursor` for long lists."),
        parameter::<usize>("limit", "Most tasks of a page, 1 to 100; 50 by default."),
        parameter::<String>("cursor", "The `next_cursor` of the page before; not together with `page`."),
    ];

    fn read(query: &mut Query) -> Self {
        let filter = TaskFilter {
            patient_id: query.text("patient_id"),
            status: query.one_of("status", "one of pending, in_progress, completed"),
            priority: query.one_of("priority", "one of low, medium, high, urgent"),
            assigned_user_id: query.text("assigned_user_id"),
            kind: query.text("type"),
        };
        let number = query.number("page", "a page number from 1", 1, u32::MAX as usize);
        let limit = query.number("limit", "a number from 1 to 100", 1, MOST).unwrap_or(LIMIT);
        let page = match (query.cursor(), number) {
            (Some(_), Some(number)) => {
                query.wrong(
                    "page",
                    &number.to_string(),
                    "no page together with a cursor",
                    "cannot be combined with cursor; send one",
                );
                Page::Number { page: 1, limit }
            }
            (Some(cursor), None) => Page::After { cursor, limit },
            (None, number) => Page::Number { page: number.map_or(1, |it| it as u64), limit },
        };
        Self { filter, page, limit }
    }
}

/// A route's query: it is read by the names that it describes.
pub(super) trait QueryParameters: Sized + Send {
    /// Every parameter.
    const PARAMETERS: &'static [QueryParameter];

    /// Reads them; what is wrong is noted in the query.
    fn read(query: &mut Query) -> Self;
}

/// A query parameter.
pub(super) struct QueryParameter {
    name: &'static str,
    describe: fn(&mut Describer<'_>, &Self),
    about: &'static str,
}

/// A parameter that is read as a `T`.
pub(super) const fn parameter<T: schemars::JsonSchema>(name: &'static str, about: &'static str) -> QueryParameter {
    QueryParameter { name, describe: |to, it| to.parameter::<T>(ParameterPlace::Query, it.name, it.about), about }
}

/// Names that are not known are ignored, and blank values are absent unless the rules are strict.
impl<Q: QueryParameters> Input for Q {
    async fn read(call: &mut Call) -> Result<Self, Problem> {
        let mut query = Query::of(&call.query, &call.rules, Q::PARAMETERS);
        let read = <Q as QueryParameters>::read(&mut query);
        if query.violations.is_empty() { Ok(read) } else { Err(Problem::from(query.violations)) }
    }

    fn describe(to: &mut Describer<'_>) {
        for parameter in Q::PARAMETERS {
            (parameter.describe)(to, parameter);
        }
        to.fails(&[422]);
    }
}

/// The parameters that were sent, and the violations found so far.
pub(super) struct Query {
    values: Vec<(&'static str, String)>,
    violations: Vec<Violation>,
}

impl Query {
    fn of(raw: &str, rules: &Rules, known: &[QueryParameter]) -> Self {
        let mut query = Self { values: Vec::new(), violations: Vec::new() };
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            let Some(name) = known.iter().map(|it| it.name).find(|it| *it == name) else { continue };
            let Some(text) = filter_text(name, &value, rules) else { continue };
            if query.values.iter().any(|(seen, _)| *seen == name) {
                query.wrong(name, &text, "one value", "was sent more than once; send it once");
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

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let text = self.text(name)?;
        self.or_wrong(name, &text, "true or false", text.parse().ok())
    }

    pub(super) fn number(&mut self, name: &str, expected: &str, least: usize, most: usize) -> Option<usize> {
        let text = self.text(name)?;
        let read = text.parse().ok().filter(|it| (least..=most).contains(it));
        self.or_wrong(name, &text, expected, read)
    }

    fn cursor(&mut self) -> Option<Cursor> {
        let text = self.text("cursor")?;
        let read = text.parse().ok();
        self.or_wrong("cursor", &text, "the next_cursor of the previous page", read)
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
