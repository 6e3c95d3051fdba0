//! What the interpreter reports at the end of a call.

use serde::Deserialize;
use serde_json::Value;

use super::source::{IN_TASK, MappingPlace, MappingSource};
use crate::format::payload::Loosened;
use crate::plugin::bounded::cut;
use crate::plugin::call::Outcome;
use crate::plugin::error::PluginError;
use crate::plugin::output::{check_size, parse, values};

/// A report: one of the members is there.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct CallReport {
    tasks: Option<Vec<Value>>,
    skip: Option<String>,
    refused: Option<ScriptRefusal>,
    error: Option<ReportedFailure>,
    wrong: Option<ReportedFailure>,
}

#[derive(Debug, Deserialize)]
struct ScriptRefusal {
    message: String,
    pointer: Option<String>,
}

/// An exception, or what is wrong with a result.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ReportedFailure {
    message: String,
    file: Option<String>,
    line: u64,
    column: u64,
    /// Places of the callers, innermost first.
    stack: Vec<String>,
    /// MappingPlace in the result: a JSON Pointer.
    pointer: Option<String>,
    /// Field of `[task]`, and the expression in it.
    field: Option<String>,
    expression: Option<String>,
}

/// What a call came to, and what to add to its log.
pub(super) struct Reported {
    pub(super) result: Result<Outcome, PluginError>,
    pub(super) stack: Vec<String>,
}

/// Reads a report.
pub(super) fn read(output: &[u8], source: &MappingSource) -> Reported {
    let mut loosened = Loosened::default();
    let report = check_size(1, values(output)).and_then(|()| parse(output, &mut loosened));
    let report = report.and_then(|it| serde_json::from_value::<CallReport>(it).map_err(|e| e.to_string()));
    let (result, stack) = match report {
        Err(cause) => (Err(PluginError::BadOutput(cause)), Vec::new()),
        Ok(CallReport { error: Some(it), .. }) => (Err(exception(&it, source)), it.stack),
        Ok(CallReport { wrong: Some(it), .. }) => (Err(PluginError::BadOutput(wrong(&it, source))), Vec::new()),
        Ok(CallReport { refused: Some(it), .. }) => {
            let pointer = it.pointer.as_deref().map(cut);
            (Err(PluginError::Refused { message: cut(&it.message), pointer }), Vec::new())
        }
        Ok(CallReport { skip: Some(reason), .. }) => (Ok(Outcome::Skip(cut(&reason))), Vec::new()),
        Ok(CallReport { tasks: Some(tasks), .. }) => {
            let outcome = check_size(tasks.len(), 1).map(|()| Outcome::Tasks(tasks, loosened));
            (outcome.map_err(PluginError::BadOutput), Vec::new())
        }
        Ok(_) => (Err(PluginError::BadOutput("the interpreter ended without a result".into())), Vec::new()),
    };
    Reported { result, stack }
}

/// Returns why a script cannot be loaded, if so.
pub(super) fn problem(output: &[u8], source: &MappingSource) -> Result<(), String> {
    let report: CallReport = serde_json::from_slice(output).map_err(|e| format!("the interpreter did not end: {e}"))?;
    match (report.error, report.wrong) {
        (Some(it), _) => Err(exception(&it, source).to_string()),
        (None, Some(it)) => Err(wrong(&it, source)),
        (None, None) => Ok(()),
    }
}

/// Describes what was thrown. QuickJS does not name what is not a function, nor where an import is.
fn exception(failure: &ReportedFailure, source: &MappingSource) -> PluginError {
    let message = match (&failure.file, failure.message.as_str()) {
        (Some(file), "TypeError: not a function") => source
            .name_at(file, failure.line, failure.column)
            .map_or_else(|| failure.message.clone(), |name| format!("TypeError: `{name}` is not a function")),
        (_, message) => message.to_owned(),
    };
    let imported = message.split_once("cannot import \"").and_then(|(_, rest)| rest.split('"').next());
    let place = place(failure, source).or_else(|| source.place_of_text(imported?));
    PluginError::Exception { message: cut(&message), place }
}

fn place(failure: &ReportedFailure, source: &MappingSource) -> Option<MappingPlace> {
    if let Some(field) = &failure.field {
        let at = cut(&format!("{IN_TASK}{field}"));
        return Some(MappingPlace { at, statement: failure.expression.as_deref().map(|it| cut(it).into()) });
    }
    failure.file.as_ref().map(|file| source.place(file, failure.line, failure.column))
}

/// Describes what is wrong with a result: at its field, if that is written in the script.
fn wrong(failure: &ReportedFailure, source: &MappingSource) -> String {
    let field = failure.pointer.as_deref().and_then(|it| it.split('/').nth(2)).filter(|it| !it.is_empty());
    let at_field = field.and_then(|it| source.place_of_field(it)).filter(|_| failure.field.is_none());
    let message = match (field, &failure.pointer) {
        (Some(_), Some(pointer)) => format!("{} {}", named(pointer), failure.message),
        _ => failure.message.clone(),
    };
    located(&cut(&message), at_field.or_else(|| place(failure, source)).as_ref())
}

/// Writes `/0/tags/1` as `tags/1`.
fn named(pointer: &str) -> String {
    pointer.splitn(3, '/').nth(2).unwrap_or_default().replace("~1", "/").replace("~0", "~")
}

/// Writes a message with its place and the statement there.
pub(crate) fn located(message: &str, place: Option<&MappingPlace>) -> String {
    match place {
        None => message.to_owned(),
        Some(MappingPlace { at, statement: None }) => format!("{at}: {message}"),
        Some(MappingPlace { at, statement: Some(statement) }) => format!("{at}: {message}, in: {statement}"),
    }
}
