//! "Copy as curl": the request that an event was, with secrets masked.

use std::fmt::Write as _;

use maud::{Markup, html};
use serde_json::Value;

use super::text;
use crate::system::text::is_unprintable;

/// Longer bodies are read from a file.
const LONGEST: usize = 16 << 10;

pub(super) fn section(event: &Value, id: &str) -> Markup {
    html! {
        section.card aria-labelledby="curl-title" {
            details {
                summary { h2 #curl-title { "As curl" } }
                p.small.muted {
                    "Secrets are masked: set " code { "HOOKMILL_URL" } " and " code { "HOOKMILL_KEY" } ", or sign the request as its sender does."
                }
                pre #curl tabindex="0" { (command(event, id)) }
                button type="button" data-copy="curl" data-scripted="" hidden { "Copy" }
            }
        }
    }
}

/// The command. It contains the body if that is shown on the page too.
fn command(event: &Value, id: &str) -> String {
    let integration = text(event, "integration");
    let url = if integration == "tasks" { "/v1/tasks".to_owned() } else { format!("/v1/hooks/{integration}") };
    let path = Some(text(event, "path")).filter(|it| it.starts_with('/')).unwrap_or_default();
    let mut said = format!("curl -X POST \"$HOOKMILL_URL\"{}", quoted(&format!("{url}{path}{}", query(event))));
    let mut header = |name: &str, value: &str| {
        let _never_fails = write!(said, " \\\n  -H {}", quoted(&format!("{name}: {value}")));
    };
    if let Some(kind) = event["content_type"].as_str() {
        header("content-type", kind);
    }
    for (name, value) in event["headers"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if name != "x-api-key" && name != "authorization" {
            header(name, if value == "(removed)" { "***" } else { value });
        }
    }
    said += " \\\n  -H \"x-api-key: $HOOKMILL_KEY\"";
    match event["body"].as_str().filter(|it| it.len() <= LONGEST && !it.contains(is_hidden)) {
        Some(body) => said + " \\\n  --data-raw " + &quoted(body),
        None => format!("{said} \\\n  --data-binary @event-{id}.bin"),
    }
}

fn query(event: &Value) -> String {
    let pairs: Vec<_> = event["query"].as_array().into_iter().flatten().collect();
    if pairs.is_empty() {
        return String::new();
    }
    let mut to = form_urlencoded::Serializer::new("?".to_owned());
    for it in pairs {
        to.append_pair(text(it, "name"), it["value"].as_str().unwrap_or("***"));
    }
    to.finish()
}

/// For a POSIX shell. What is not visible is left out, so that nothing can be hidden in a command that people paste.
fn quoted(text: &str) -> String {
    let shown: String = text.chars().filter(|it| !is_hidden(*it)).collect();
    format!("'{}'", shown.replace('\'', r"'\''"))
}

fn is_hidden(it: char) -> bool {
    it != '\n' && it != '\t' && is_unprintable(it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Otherwise pasting the command runs what a sender has written, or shows a secret.
    #[test]
    fn nothing_that_was_sent_leaves_its_quotes() {
        let event = json!({
            "integration": "guest", "content_type": "application/json",
            "headers": {"x-a": "'; rm -rf / #", "x-signature": "(removed)", "x-api-key": "(removed)"},
            "query": [{"name": "a b", "value": "$(id)"}], "body": "it's `id`\u{202e}",
        });
        let said = command(&event, "1");
        assert!(said.contains(r"-H 'x-a: '\''; rm -rf / #'") && said.contains("-H 'x-signature: ***'"), "{said}");
        assert!(
            said.contains("'/v1/hooks/guest?a+b=%24%28id%29'") && said.ends_with("--data-binary @event-1.bin"),
            "{said}"
        );
        let shown = command(&json!({"integration": "tasks", "body": "it's"}), "1");
        assert!(shown.ends_with(r"--data-raw 'it'\''s'") && shown.contains("'/v1/tasks'"), "{shown}");
    }
}
