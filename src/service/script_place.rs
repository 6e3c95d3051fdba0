//! Where in a script an error is.

use schemars::JsonSchema;
use serde::Serialize;

use crate::integration::Integration;
use crate::plugin::TASK_FILE;

/// A place in a file of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct ScriptPlace {
    /// Name of the file.
    file: String,
    /// Line, from 1.
    line: u64,
    /// Column in characters, from 1.
    column: u64,
}

impl ScriptPlace {
    /// The place that an error of a script begins with: `mapper.js:5:10: TypeError: …`.
    pub(crate) fn in_message(message: &str) -> Option<Self> {
        let (at, _) = message.split_once(": ")?;
        let mut parts = at.rsplitn(3, ':');
        let (column, line, file) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        let is_file = file == TASK_FILE || (file.ends_with("js") && !file.contains(char::is_whitespace));
        is_file.then(|| Self { file: file.to_owned(), line, column })
    }

    /// The same, and the place of the field if the message is about one of `[task]`.
    pub(crate) fn of(message: &str, integration: &Integration) -> Option<Self> {
        Self::in_message(message).or_else(|| {
            let (line, column) = integration.plugin.as_ref()?.source()?.written.place_in_task(message)?;
            Some(Self { file: TASK_FILE.to_owned(), line, column })
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::ScriptPlace;

    #[test]
    fn the_place_is_what_the_message_begins_with() {
        let place = ScriptPlace::in_message("mapper.js:5:10: TypeError: no, in: title: a,").unwrap();
        assert_eq!((place.file.as_str(), place.line, place.column), ("mapper.js", 5, 10));
        for other in ["plugin.toml: [task] title: no", "a name is missing", "at 10:20:30: late", "x.js:a:1: no", ""] {
            assert!(ScriptPlace::in_message(other).is_none(), "{other}");
        }
    }
}
