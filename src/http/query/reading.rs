//! Reads a raw query string.

use form_urlencoded::parse;
use serde_json::Value;

use super::parameter::{MOST, QueryParameter, ValueList};
use crate::format::payload::{FilterText, Loosened, Rules, filter_text, is_task_field};
use crate::format::schema::{Violation, got};
use crate::http::problem::USES_GET;
use crate::system::nearest::nearest;

/// A query that is being read: the values of a route's parameters, and what is wrong with them.
pub(in crate::http) struct QueryReader<'a> {
    rules: &'a Rules,
    known: &'static [QueryParameter],
    /// In the order in which they were sent.
    values: Vec<(&'static str, String)>,
    loosened: Loosened,
    violations: Vec<Violation>,
}

impl<'a> QueryReader<'a> {
    /// Reads the values of these parameters; others are not looked at. Blank values count as absent unless the rules are
    /// strict.
    pub(in crate::http) fn new(raw: &str, rules: &'a Rules, known: &'static [QueryParameter]) -> Self {
        let mut reader =
            Self { rules, known, values: Vec::new(), loosened: Loosened::default(), violations: Vec::new() };
        for (name, value) in pairs(raw) {
            let (base, has_index) = without_index(&name);
            match known.iter().find(|it| it.name == base) {
                Some(parameter) if has_index && parameter.list == ValueList::No => {
                    reader.wrong(base, "one value", Some(&name), &format!("takes one value; send {base}=…"));
                }
                Some(parameter) => reader.add_values(parameter, value),
                None => {}
            }
        }
        reader
    }

    /// The names of parameters whose values were loosened or ignored as blank.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(in crate::http) fn end(self) -> Result<Loosened, Vec<Violation>> {
        if self.violations.is_empty() { Ok(self.loosened) } else { Err(self.violations) }
    }

    fn add_values(&mut self, parameter: &QueryParameter, value: &str) {
        let name = parameter.name;
        for text in separated(parameter.list, value) {
            match filter_text(&text, parameter.names, self.rules) {
                FilterText::Absent => self.loosened.add(name),
                FilterText::Text(read) => {
                    if read != text {
                        self.loosened.add(name);
                    }
                    self.values.push((name, read));
                }
                FilterText::Unevaluated(what) => {
                    let said = format!("{} {}", shown(&text), what.said());
                    let violation = wrong(name, "a value", Some(&text), &said);
                    self.violations.push(Violation { hint: Some(what.hint().to_owned()), ..violation });
                }
            }
        }
    }

    /// The values sent under this name. Notes a violation where there are too many.
    pub(super) fn texts(&mut self, name: &'static str) -> Vec<String> {
        let texts: Vec<_> = self.values.iter().filter(|(it, _)| *it == name).map(|(_, text)| text.clone()).collect();
        let is_list = self.known.iter().any(|it| it.name == name && it.list != ValueList::No);
        let count = texts.len();
        if !is_list && count > 1 {
            self.wrong(name, "one value", texts.get(1).map(String::as_str), "was sent more than once; send it once");
        } else if count > MOST {
            let expected = format!("at most {MOST} values");
            self.wrong(name, &expected, None, &format!("has {count} values; send at most {MOST}"));
        } else {
            return texts;
        }
        Vec::new()
    }

    /// The value that was read from this text; a violation if it could not be read.
    pub(super) fn value<T>(
        &mut self,
        name: &str,
        text: &str,
        read: Option<T>,
        expected: impl FnOnce() -> String,
    ) -> Option<T> {
        if read.is_none() {
            let expected = expected();
            self.wrong(name, &expected, Some(text), &format!("{} is not {expected}", shown(text)));
        }
        read
    }

    fn wrong(&mut self, name: &str, expected: &str, sent: Option<&str>, said: &str) {
        self.violations.push(wrong(name, expected, sent, said));
    }
}

/// A violation of one parameter.
pub(in crate::http) fn wrong(name: &str, expected: &str, sent: Option<&str>, said: &str) -> Violation {
    Violation {
        pointer: format!("/{name}"),
        code: "invalid_query".into(),
        expected: expected.into(),
        got: sent.map(shown),
        message: format!("{name}: {said}"),
        hint: None,
    }
}

/// The parameters of a raw query string that a route does not have; `known` are those that it has.
pub(in crate::http) fn unknown(raw: &str, known: &[&'static [QueryParameter]]) -> Vec<Violation> {
    let known: Vec<&'static str> = known.iter().copied().flatten().map(|it| it.name).collect();
    let names = pairs(raw).map(|(name, _)| name).filter(|name| !known.contains(&without_index(name).0));
    names.map(|name| not_known(&name, &known)).collect()
}

/// A GET with fields of a task as parameters was meant to create one.
pub(in crate::http) fn hint_at_post(unknown: &mut [Violation]) {
    let Some(first) = unknown.iter_mut().find(|it| is_task_field(it.pointer.trim_start_matches('/'))) else { return };
    let hint = format!("to create a task, send its fields in the body of a POST. {USES_GET}");
    first.message = format!("{}: is a field of a task, and GET lists tasks; {hint}", first.field());
    first.hint = Some(hint);
}

/// Its value is not repeated: it may be a secret.
fn not_known(name: &str, known: &[&'static str]) -> Violation {
    let (expected, takes) = if known.is_empty() {
        ("no query parameters".into(), "this URL takes no query parameters; remove it".into())
    } else {
        let names = known.join(", ");
        (format!("one of {names}"), format!("is not a query parameter of this URL; it takes {names}"))
    };
    let near = nearest(without_index(name).0, known.iter().copied()).map(|it| format!("did you mean \"{it}\"?"));
    let hint = near.as_ref().map_or_else(String::new, |it| format!("; {it}"));
    Violation {
        pointer: format!("/{}", name.replace('~', "~0").replace('/', "~1")),
        code: "unknown_parameter".into(),
        expected,
        got: Some(shown(name)),
        message: format!("{}: {takes}{hint}", shown(name)),
        hint: near,
    }
}

/// `status[0]` and `status[]` without the index, and whether there was one.
fn without_index(name: &str) -> (&str, bool) {
    let indexed = name.strip_suffix(']').and_then(|it| it.rsplit_once('['));
    match indexed.filter(|(base, index)| !base.is_empty() && index.bytes().all(|it| it.is_ascii_digit())) {
        Some((base, _)) => (base, true),
        None => (name, false),
    }
}

/// The values of one `name=value`, unescaped.
fn separated(list: ValueList, value: &str) -> Vec<String> {
    match list {
        ValueList::No => vec![decoded(value)],
        ValueList::Commas => decoded(value).split(',').map(str::to_owned).collect(),
        ValueList::PlainCommas => value.split(',').map(decoded).collect(),
    }
}

/// The names, unescaped, and values, still escaped, of a raw query string.
fn pairs(raw: &str) -> impl Iterator<Item = (String, &str)> {
    raw.split('&').filter(|it| !it.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), value)
    })
}

/// Without `%` escapes; a plus sign is a space.
fn decoded(text: &str) -> String {
    parse(["=", text].concat().as_bytes()).map(|(_, value)| value.into_owned()).collect()
}

fn shown(text: &str) -> String {
    got(&Value::String(text.to_owned()))
}
