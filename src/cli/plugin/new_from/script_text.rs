//! Text of a payload in a script. Nothing that a sender writes can end a literal or a comment.

use crate::system::text::PrintableJson;

/// Returns a literal of JavaScript and TOML for a text: one line of printable characters, in quotes.
pub(super) fn quote(text: &str) -> String {
    // JSON escapes quotes, backslashes and control characters; line separators and the like are escaped here.
    PrintableJson(&serde_json::Value::from(text).to_string()).to_string()
}

/// Returns the expression for a member in a member of a variable, such as `event.payload?.name`.
pub(super) fn access(variable: &str, steps: &[String]) -> String {
    let mut code = variable.to_owned();
    for (index, step) in steps.iter().enumerate() {
        // Members of members may be missing in other deliveries.
        let optional = index > 0;
        let step = match (is_identifier(step), optional) {
            (true, false) => format!(".{step}"),
            (true, true) => format!("?.{step}"),
            (false, false) => format!("[{}]", quote(step)),
            (false, true) => format!("?.[{}]", quote(step)),
        };
        code.push_str(&step);
    }
    code
}

fn is_identifier(name: &str) -> bool {
    let is_part = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '$';
    name.chars().all(is_part) && name.starts_with(|it: char| !it.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{access, quote};

    /// A member's name would otherwise run as code in the server, or hide code from the reader.
    #[test]
    fn names_are_quoted_whatever_they_contain() {
        let step = |name: &str| access("event", &[name.to_owned()]);
        for (name, expected) in [
            ("name", "event.name"),
            ("class", "event.class"),
            ("__proto__", "event.__proto__"),
            ("$x", "event.$x"),
            ("", r#"event[""]"#),
            ("1st", r#"event["1st"]"#),
            ("a-b", r#"event["a-b"]"#),
            ("größe", r#"event["größe"]"#),
            ("\"];alert(1);[\"", r#"event["\"];alert(1);[\""]"#),
            ("\\", r#"event["\\"]"#),
            ("a\nb\r\u{2028}\u{2029}*/", r#"event["a\nb\r\u2028\u2029*/"]"#),
            ("\u{202e}\u{0}\u{feff}", r#"event["\u202e\u0000\ufeff"]"#),
        ] {
            assert_eq!(step(name), expected);
        }
        let steps = ["a", "b c", "d"].map(str::to_owned);
        assert_eq!(access("item", &steps), r#"item.a?.["b c"]?.d"#);
        assert_eq!(quote("${x}`'"), r#""${x}`'""#);
    }
}
