//! The version in the text of a plugin.toml.

/// Returns the version after this one: its last number is one more, or it gets one.
pub(crate) fn next_version(version: &str) -> String {
    let digits = version.len() - version.trim_end_matches(|it: char| it.is_ascii_digit()).len();
    let (head, number) = version.split_at(version.len() - digits);
    match number.parse::<u64>().ok().and_then(|it| it.checked_add(1)) {
        Some(next) => format!("{head}{next}"),
        None => format!("{version}.1"),
    }
}

/// Returns the text of a plugin.toml with another version; `None` if no line of its own has it.
pub(crate) fn with_version(toml: &str, version: &str) -> Option<String> {
    let mut found = false;
    let mut in_table = false;
    let line = |line: &str| {
        let trimmed = line.trim_start();
        in_table |= trimmed.starts_with('[');
        let is_it =
            !in_table && !found && trimmed.strip_prefix("version").is_some_and(|it| it.trim_start().starts_with('='));
        found |= is_it;
        if is_it { format!("version = \"{version}\"") } else { line.to_owned() }
    };
    let lines: Vec<_> = toml.lines().map(line).collect();
    found.then(|| lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_raised_in_its_own_line() {
        for (from, to) in [("1.2.9", "1.2.10"), ("1", "2"), ("2026-11", "2026-12"), ("beta", "beta.1"), ("", ".1")] {
            assert_eq!(next_version(from), to);
        }
        let toml = "name = \"a\"\nversion = \"1\"  # first\n[config]\nversion = \"7\"\n";
        let raised = with_version(toml, "2");
        assert_eq!(raised.as_deref(), Some("name = \"a\"\nversion = \"2\"\n[config]\nversion = \"7\"\n"));
        assert_eq!(with_version("[config]\nversion = \"7\"\n", "2"), None);
    }
}
