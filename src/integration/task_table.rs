//! The table `[task]` in the text of a plugin.toml: read and replaced, with its comments and nothing else.
//!
//! Comments directly above a table belong to it.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use crate::plugin::{TASK_FILE, line_and_column};
use crate::system::folder::MANIFEST_BYTES;

/// Returns the text of `[task]`; `None` if it is written otherwise, such as `task = { … }`.
pub(super) fn task_text(manifest: &str) -> Option<String> {
    let part = manifest.get(task_range(manifest)?)?;
    Some(format!("{part}\n"))
}

/// Returns the text of a plugin.toml with another text of `[task]`. Everything else in it stays as it is.
///
/// # Errors
/// What is wrong with the text, with its place; also if it is more than the table.
pub(super) fn with_task_text(manifest: &str, text: &str) -> Result<String, String> {
    check_alone(text)?;
    let range = task_range(manifest).ok_or("plugin.toml has no table [task] to replace")?;
    let (before, after) = (manifest.get(..range.start), manifest.get(range.end..));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let part = text.trim();
    // A comment at the end would belong to the table below.
    let next_line = after.lines().nth(1).unwrap_or_default();
    let ends_with_comment = part.lines().last().is_some_and(|it| it.trim_start().starts_with('#'));
    let gap = if after.is_empty() || (ends_with_comment && !next_line.trim().is_empty()) { "\n" } else { "" };
    let replaced = format!("{before}{part}{gap}{after}");
    if replaced.len() as u64 > MANIFEST_BYTES {
        return Err(format!(
            "{TASK_FILE}: plugin.toml would have {} bytes; the maximum is {MANIFEST_BYTES}",
            replaced.len()
        ));
    }
    let is_all = task_text(&replaced).is_some_and(|it| it.trim_end() == part);
    if !is_all || !differs_in_task_only(manifest, &replaced, text) {
        return Err(format!(
            "{TASK_FILE}: write the table [task] and nothing else, with comments directly above it or in it"
        ));
    }
    Ok(replaced)
}

/// Checks that a text is the table and nothing else.
fn check_alone(text: &str) -> Result<(), String> {
    let at = |place: usize, said: &str| {
        let (line, column) = line_and_column(text, place).unwrap_or((1, 1));
        format!("{TASK_FILE}:{line}:{column}: {said}")
    };
    let table = DeTable::parse(text)
        .map_err(|error| at(error.span().map_or(0, |it| it.start), &format!("not TOML: {}", error.message())))?;
    if let Some((key, _)) = table.get_ref().iter().find(|(key, _)| key.get_ref() != "task") {
        return Err(at(key.span().start, "only the table [task] of plugin.toml can be changed here"));
    }
    match task_range(text) {
        Some(_) => Ok(()),
        None => Err(at(0, "begin with the line [task], and write the fields below it")),
    }
}

/// Returns whether two manifests differ in `[task]` only, and the second one has that of a text.
fn differs_in_task_only(before: &str, after: &str, text: &str) -> bool {
    let read = |text: &str| {
        let mut table: toml::Table = text.parse().ok()?;
        let task = table.remove("task")?;
        Some((task, table))
    };
    match (read(before), read(after), read(text)) {
        (Some((_, before)), Some((task, after)), Some((wanted, _))) => before == after && task == wanted,
        _ => false,
    }
}

/// Returns where `[task]` is, without the line break at its end.
fn task_range(manifest: &str) -> Option<Range<usize>> {
    let table = DeTable::parse(manifest).ok()?;
    let (key, value) = table.get_ref().iter().find(|(key, _)| key.get_ref() == "task")?;
    let DeValue::Table(task) = value.get_ref() else { return None };
    let header = line_start(manifest, key.span().start);
    if !manifest.get(header..)?.trim_start().starts_with('[') {
        return None;
    }
    // What begins with `#` may be a line of a text, and no comment.
    let last_before = last_end(table.get_ref(), header);
    let mut start = header;
    while start > 0 {
        let line = line_start(manifest, start - 1);
        if line < last_before || !is_comment(manifest.get(line..start)?) {
            break;
        }
        start = line;
    }
    let last = last_end(task, usize::MAX).max(key.span().end);
    let rest = last + manifest.get(last..)?.find('\n').map_or(manifest.len() - last, |it| it + 1);
    let end = match next_header(manifest, rest) {
        Some(next) => {
            let mut end = next;
            while end > rest && is_comment(manifest.get(line_start(manifest, end - 1)..end)?) {
                end = line_start(manifest, end - 1);
            }
            end
        }
        None => manifest.len(),
    };
    let part = manifest.get(start..end)?;
    Some(start..start + part.trim_end().len())
}

/// Returns the end of the last text, number or the like that ends before a place.
fn last_end(table: &DeTable<'_>, before: usize) -> usize {
    let of = |(_, value): (_, &toml::Spanned<DeValue<'_>>)| value_end(value, before);
    table.iter().map(of).max().unwrap_or(0)
}

fn value_end(value: &toml::Spanned<DeValue<'_>>, before: usize) -> usize {
    let own = Some(value.span().end).filter(|it| *it <= before).unwrap_or(0);
    match value.get_ref() {
        DeValue::Table(table) => last_end(table, before),
        // Of an array of tables, only its first header is its own.
        DeValue::Array(items) => items.iter().map(|it| value_end(it, before)).max().unwrap_or(0).max(own),
        _ => own,
    }
}

/// Returns the beginning of the first line from `from` on that begins a table.
fn next_header(manifest: &str, from: usize) -> Option<usize> {
    let mut at = from;
    for line in manifest.get(from..)?.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            return Some(at);
        }
        at += line.len();
    }
    None
}

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|it| it.rfind('\n')).map_or(0, |it| it + 1)
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const MANIFEST: &str = "name = \"a\" # first\n\n[config]\ntext = '''\n# no comment\n# '''\n# of the task\n[task] # here\ntitle = \"\"\"\n[limits]\n# no comment\"\"\"\ntags = [\n  \"a\",\n]\n# in it\n\n# of the limits\n[limits]\ntime_ms = 5\n";
    const PART: &str =
        "# of the task\n[task] # here\ntitle = \"\"\"\n[limits]\n# no comment\"\"\"\ntags = [\n  \"a\",\n]\n# in it\n";

    #[test]
    fn the_table_has_its_own_comments_and_no_others() {
        assert_eq!(task_text(MANIFEST).as_deref(), Some(PART));
        assert_eq!(with_task_text(MANIFEST, PART).unwrap(), MANIFEST);
        assert_eq!(task_text("[task]\ntitle = 'x'").as_deref(), Some("[task]\ntitle = 'x'\n"));
        assert_eq!(task_text("[task]\ntitle = 'x'\n# a\n[b]\n").as_deref(), Some("[task]\ntitle = 'x'\n"));
        for array in ["tags = [\n  \"a\",\n  [],\n]\n", "[[task.x]]\ny = [\n  [],\n]\n[[task.x]]\ny = 1\n"] {
            let text = format!("[task]\n{array}");
            assert_eq!(task_text(&format!("{text}# of b\n[b]\nc = 1\n")), Some(text));
        }
        for other in ["task = { title = 'x' }", "task.title = 'x'", "name = 'a'", "[task"] {
            assert_eq!(task_text(other), None, "{other}");
        }
    }

    #[test]
    fn a_new_text_is_in_its_place_and_the_rest_is_untouched() {
        let other = "[task]\ntitle = \"b\"\n# the end\n";
        let tight = "[task]\ntitle = 'x'\n[limits]\ntime_ms = 5\n";
        let replaced = with_task_text(tight, other).unwrap();
        assert_eq!(replaced, "[task]\ntitle = \"b\"\n# the end\n\n[limits]\ntime_ms = 5\n");
        assert_eq!(task_text(&replaced).as_deref(), Some(other));
        assert_eq!(with_task_text(&replaced, "[task]\ntitle = 'x'").unwrap(), tight.replace("\n[l", "\n\n[l"));
        assert_eq!(with_task_text("[task]\ntitle = 'x'", other).unwrap(), other);
    }

    /// An admin who may edit the expressions may not edit the limits, the secrets or the company.
    #[test]
    fn a_text_with_more_than_the_table_is_refused() {
        for more in [
            "[task]\ntitle = 'x'\n[limits]\ntime_ms = 9",
            "company_id = 'b'\n[task]\ntitle = 'x'",
            "[task]\ntitle = 'x'\n[[task.x]]\ny = 1\n[config]\na = 1",
            "[task]\ntitle = '''x",
            "[task]\ntitle = 'x'\ntags = [",
            "task = { title = 'x' }",
            "task.title = 'x'",
            "# far\n\n[task]\ntitle = 'x'",
            "title = 'x'",
            "",
        ] {
            let refused = with_task_text(MANIFEST, more).unwrap_err();
            assert!(refused.starts_with(TASK_FILE), "{more}: {refused}");
        }
        let place = with_task_text(MANIFEST, "[task]\ntitle = 'x'\n[limits]\ntime_ms = 9").unwrap_err();
        assert!(place.starts_with("plugin.toml#task:3:2: only the table [task]"), "{place}");
        assert!(with_task_text(MANIFEST, &format!("[task]\ntitle = '{}'", "x".repeat(66_000))).is_err());
    }
}
