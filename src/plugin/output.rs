//! Limits of a plugin's output for one event, in addition to `output_kib`, because JSON of few bytes can take much
//! memory.

use serde_json::Value;

use crate::format::payload::{Loosened, without_lone_surrogates};

/// Maximum number of tasks per event.
const TASKS: usize = 1000;
/// Maximum number of JSON values of all tasks together (approximate); each takes at least 30 bytes of memory.
const VALUES: usize = 1_000_000;

/// Returns about how many JSON values a text has: the number of its commas plus one.
pub(super) fn values(text: &[u8]) -> usize {
    1 + text.iter().filter(|byte| **byte == b',').count()
}

/// Checks the number of tasks and JSON values.
///
/// # Errors
/// What is too much.
pub(super) fn check_size(tasks: usize, values: usize) -> Result<(), String> {
    if tasks > TASKS {
        return Err(format!("{tasks} tasks for one event; the maximum is {TASKS}"));
    }
    if values > VALUES {
        return Err(format!("its tasks have about {values} JSON values; the maximum is {VALUES}"));
    }
    Ok(())
}

/// Maximum length of an excerpt, in bytes.
const EXCERPT: usize = 200;

/// Returns the first bytes of invalid output as text.
pub(super) fn excerpt(output: &[u8]) -> String {
    let start = &output[..output.len().min(EXCERPT)];
    let more = if output.len() > EXCERPT { "…" } else { "" };
    format!("{}{more}", String::from_utf8_lossy(start))
}

/// Parses JSON of a plugin as it was written: with a byte order mark, and with halves of surrogate pairs.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse(text: &[u8], loosened: &mut Loosened) -> Result<Value, String> {
    let text = std::str::from_utf8(text).map_err(|e| e.to_string())?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    serde_json::from_str(text).or_else(|error| match without_lone_surrogates(text) {
        Some(repaired) => {
            loosened.add("surrogate");
            serde_json::from_str(&repaired).map_err(|e| e.to_string())
        }
        None => Err(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_are_taken_and_one_more() {
        let list = |count: usize| format!("[{}0]", "0,".repeat(count - 1));
        assert_eq!((values(b"0"), values(list(5).as_bytes())), (1, 5));
        assert_eq!(check_size(TASKS, values(list(VALUES).as_bytes())), Ok(()));
        assert!(check_size(1, values(list(VALUES + 1).as_bytes())).is_err_and(|it| it.contains("JSON values")));
        assert!(check_size(TASKS + 1, 1).is_err());
    }
}
