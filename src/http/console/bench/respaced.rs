//! JSON with other white space: its values stay as they were written, also numbers that a float would round.

/// White space between values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonSpacing {
    /// None.
    Compact,
    /// A line for each member and item.
    Lines,
}

/// Returns valid JSON with this white space.
pub(super) fn respaced(json: &str, spacing: JsonSpacing) -> String {
    let (mut out, mut depth) = (String::with_capacity(json.len() * 2), 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = json.chars().peekable();
    while let Some(it) = rest.next() {
        if in_string {
            out.push(it);
            (in_string, escaped) = (escaped || it != '"', !escaped && it == '\\');
            continue;
        }
        if it.is_ascii_whitespace() {
            continue;
        }
        match it {
            '{' | '[' => {
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                out.push(it);
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth, spacing);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth, spacing);
                out.push(it);
            }
            ',' => {
                out.push(it);
                line(&mut out, depth, spacing);
            }
            ':' if spacing == JsonSpacing::Lines => out.push_str(": "),
            _ => {
                in_string = it == '"';
                out.push(it);
            }
        }
    }
    out
}

fn line(out: &mut String, depth: usize, spacing: JsonSpacing) {
    if spacing == JsonSpacing::Lines {
        out.push('\n');
        // Deeper levels are not indented further, so that a deeply nested text does not grow with its depth.
        out.extend(std::iter::repeat_n("  ", depth.min(64)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a payload on the bench is another one than was sent.
    #[test]
    fn values_stay_as_they_were_written() {
        let sent = r#" {"a" :[1.10, 12345678901234567890123,{ } ],"b\"{,:\\":"x, {y}: \\","c":[] ,"d":{"e":null}}"#;
        let lines = respaced(sent, JsonSpacing::Lines);
        assert_eq!(
            lines,
            "{\n  \"a\": [\n    1.10,\n    12345678901234567890123,\n    {}\n  ],\n  \"b\\\"{,:\\\\\": \"x, {y}: \\\\\",\n  \"c\": [],\n  \"d\": {\n    \"e\": null\n  }\n}"
        );
        let compact = r#"{"a":[1.10,12345678901234567890123,{}],"b\"{,:\\":"x, {y}: \\","c":[],"d":{"e":null}}"#;
        assert_eq!(respaced(&lines, JsonSpacing::Compact), compact);
        assert_eq!(respaced(compact, JsonSpacing::Lines), lines);
    }
}
