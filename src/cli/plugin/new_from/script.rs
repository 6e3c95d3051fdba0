//! Writes mapper.js from guesses.

use std::fmt::Write as _;

use super::guesses::{Guess, Guesses};

/// Functions that a script has only if it uses them, each with a comment, in this order.
const FUNCTIONS: [(&str, &str); 5] = [
    (
        "line(",
        r#"
// A value as one line of at most 200 characters.
function line(value) {
  return [...text(value).replace(/\s+/g, " ")].slice(0, 200).join("");
}
"#,
    ),
    (
        "label(",
        r#"
// A value with its name in front, if there is one.
function label(name, value) {
  return text(value) && `${name}: ${text(value)}`;
}
"#,
    ),
    (
        "details(",
        r#"
// Every value of the payload in a line of its own, except those that look like secrets; at most 4,000 characters.
function details(event) {
  const lines = [];
  const add = (value, name) => {
    if (lines.length === 200) return;
    if (/token|secret|password|authorization|signature|api.?key/i.test(name)) return;
    if (value !== null && typeof value === "object") {
      for (const [key, it] of Object.entries(value)) add(it, `${name} ${key}`.trim().slice(0, 200));
    } else if (text(value) !== "") {
      lines.push(`${name}: ${text(value)}`);
    }
  };
  add(event, "");
  return text(lines.join("\n").slice(0, 4000)) || "The delivery has no values.";
}
"#,
    ),
    (
        "priority(",
        r#"
const PRIORITIES = {
  low: "low", lowest: "low", minor: "low", info: "low",
  medium: "medium", normal: "medium", moderate: "medium", warning: "medium",
  high: "high", major: "high", important: "high", error: "high",
  urgent: "urgent", critical: "urgent", emergency: "urgent", highest: "urgent",
};

// The priority that a word means.
function priority(value) {
  const word = text(value).toLowerCase();
  return Object.hasOwn(PRIORITIES, word) ? PRIORITIES[word] : undefined;
}
"#,
    ),
    // Used by the functions above.
    (
        "text(",
        r#"
// A value as text of at most 20,000 characters; empty if there is none.
function text(value) {
  if (value === null || value === undefined) return "";
  const plain = typeof value === "object" ? JSON.stringify(value) : String(value);
  return plain.slice(0, 20_000).replaceAll("\0", "").trim();
}
"#,
    ),
];

/// What a script maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mapped {
    /// The payload is one object, which becomes a task.
    One,
    /// The payload is a list of objects, each of which becomes a task.
    Each,
}

impl Mapped {
    /// The variable that has the object.
    pub(super) fn variable(self) -> &'static str {
        match self {
            Self::One => "event",
            Self::Each => "item",
        }
    }
}

/// Writes the script of an integration.
pub(super) fn script(name: &str, guesses: &Guesses, mapped: Mapped) -> String {
    let what = match mapped {
        Mapped::One => "a delivery to a task",
        Mapped::Each => "each item of a delivery to a task",
    };
    let mut text = format!(
        "// Maps {what}. `hookmill plugin new {name}` wrote it from one example, and every \"Guess\" is one: check it.\n\
         // docs/TASK.md has the fields of a task. While you edit, `hookmill plugin dev {name}` shows the result.\n\
         export default (event, {{ skip, refuse }}) => {{\n"
    );
    let skips = guesses.other_events.as_deref();
    if let (Mapped::One, Some(line)) = (mapped, skips) {
        text.push_str("  // Guess: other events become tasks as well. To skip them, remove the slashes:\n");
        let _into_a_string = writeln!(text, "  // {line}\n");
    }
    let (begin, end, indent) = match mapped {
        Mapped::One => ("  return {\n", "  };\n", "    "),
        Mapped::Each => ("  return event.map((item) => ({\n", "  }));\n", "    "),
    };
    text.push_str(begin);
    for guess in &guesses.fields {
        text.push_str(&field(guess, indent));
    }
    for (name, default) in [
        ("deadline", "nothing certain looks like one"),
        ("assigned_user_ids", "the payload's users are not those of your tasks"),
        ("created_by_id", "the payload's users are not those of your tasks"),
    ] {
        if !guesses.fields.iter().any(|it| it.field == name && !it.is_suggestion) {
            let _into_a_string = writeln!(text, "{indent}// {name}: from [defaults] in plugin.toml; {default}.");
        }
    }
    text.push_str(end);
    text.push_str("};\n");
    for (call, function) in FUNCTIONS {
        // Called, or passed to `map`.
        if text.contains(call) || text.contains(&format!("({})", call.trim_end_matches('('))) {
            text.push_str(function);
        }
    }
    text
}

fn field(guess: &Guess, indent: &str) -> String {
    let Guess { field, code, why, is_suggestion } = guess;
    let slashes = if *is_suggestion { "// " } else { "" };
    format!("{indent}// Guess: {why}.\n{indent}{slashes}{field}: {code},\n")
}
