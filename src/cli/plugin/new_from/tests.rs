#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};

use super::guesses::Guesses;
use super::script::{Mapped, script};
use super::texts::{Facts, manifest};

fn code_of(payload: &Value, field: &str) -> Option<String> {
    let guesses = Guesses::of(payload, "event", "orders");
    guesses.fields.into_iter().find(|it| it.field == field && !it.is_suggestion).map(|it| it.code)
}

/// Names that a sender could use to break out of a literal or a comment, or to hide code from a reader.
pub(super) fn nasty_names() -> Vec<String> {
    let alone = [
        "",
        " ",
        "\"",
        "'",
        "`",
        "\\",
        "\\\\",
        "\\\"",
        "\n",
        "\r",
        "\r\n",
        "\u{2028}",
        "\u{2029}",
        "\0",
        "*/",
        "/*",
        "//",
        "-->",
        "<!--",
        "</script>",
        "${x}",
        "{{ $json.x }}",
        "}}",
        "__proto__",
        "constructor",
        "prototype",
        "toString",
        "hasOwnProperty",
        "\u{202e}",
        "\u{feff}",
        "\u{fffd}",
        "\u{1b}[2J",
        "\u{7f}",
        "\u{9b}",
        "\u{e0041}",
        "🦀",
        "é",
        "e\u{301}",
        "a b",
        "a-b",
        "a.b",
        "a/b",
        "a~b",
        "0",
        "-1",
        "1e3",
        "class",
        "return",
        "async",
        "await",
        "eval",
        "arguments",
        "default",
        "export",
        "\\u0022",
        "\\x22",
        "\\n",
        "?.",
        "]",
        "[",
        ");",
        "\u{85}",
        "\u{a0}",
        "\u{200b}",
        "$",
        "_",
        "#x",
        "@x",
    ];
    let attacks =
        ["\"];evil();//", "\n evil();", "\u{2028}evil();", "*/evil();/*", "`${evil()}`", "\\\"];evil();", "\r evil()"];
    let mut names: Vec<String> = alone.iter().chain(&attacks).map(|it| (*it).to_owned()).collect();
    names.extend(attacks.iter().flat_map(|it| ["", "x", "é", "\\"].map(|head| format!("{head}{it}{head}"))));
    names
}

/// Removes comments and texts from a script, as its reader and the engine see it.
fn bare(script: &str) -> String {
    let mut bare = String::new();
    let mut rest = script.chars().peekable();
    while let Some(it) = rest.next() {
        match it {
            '/' if rest.peek() == Some(&'/') => {
                // Every line terminator of JavaScript ends a comment.
                rest.find(|it| matches!(it, '\n' | '\r' | '\u{2028}' | '\u{2029}'));
                bare.push('\n');
            }
            '"' => loop {
                match rest.next() {
                    Some('\\') => drop(rest.next()),
                    Some('"') => break,
                    Some(it) => assert!(!matches!(it, '\n' | '\r' | '\u{2028}' | '\u{2029}'), "an open text: {script}"),
                    None => panic!("an open text: {script}"),
                }
            },
            it => bare.push(it),
        }
    }
    bare
}

/// A member's name must never run as code: the operator who pastes a payload trusts the sender less than the script.
#[test]
fn no_name_and_no_value_leaves_its_literal() {
    let names = nasty_names();
    assert!(names.len() >= 100, "{}", names.len());
    for name in names {
        let payload = json!({ name.clone(): { "subject": "Call", "message": "text", "due": "2026-12-01", "priority": "high",
            "tags": ["a"], "call_id": 7, "event": "x.y", "name": "Ada", name.clone(): { "phone": "1", "notes": name.clone() } } });
        let mut with_event = payload.clone();
        with_event["type"] = name.clone().into();
        for (payload, mapped) in [(&payload, Mapped::One), (&with_event, Mapped::One), (&with_event, Mapped::Each)] {
            let guesses = Guesses::of(payload, mapped.variable(), "orders");
            let text = script("orders", &guesses, mapped);
            let bare = bare(&text);
            assert!(!bare.contains("evil"), "{name:?}: {text}");
            assert!(text.chars().all(|it| it == '\n' || !crate::system::text::is_unprintable(it)), "{name:?}: {text}");
            let plain = Guesses::of(&json!({ "a": payload[&name] }), mapped.variable(), "orders");
            assert_eq!(guesses.fields.len(), plain.fields.len(), "{name:?} changes what is guessed");
            let facts = Facts { name: "orders", company: "company-1", sender: None, body_bytes: 1, limits: "" };
            toml::from_str::<toml::Table>(&manifest(&facts, &guesses)).unwrap();
        }
    }
}

/// The point of the command: the fields of common senders are found, and nothing that only sounds similar.
#[test]
fn fields_are_found_by_their_names_and_values() {
    let payload = json!({
        "event": "booking.created", "subject": "Knee pain", "message": "since May", "dueDate": "2026-12-01", "priority": "HIGH",
        "patient": { "id": 4711, "name": "Ada Lovelace", "phone": "+1 555 0100" }, "call_id": "c-1", "tags": ["knee"],
        "conversation-id": "s-1", "job": { "title": "Dr." },
    });
    for (field, expected) in [
        ("title", "line(event.subject) || \"A delivery for orders\""),
        ("deadline", "event.dueDate"),
        ("priority", "priority(event.priority)"),
        ("type", "event.event"),
        ("tags", "event.tags"),
        ("call_id", "event.call_id"),
        ("patient_id", "event.patient?.id"),
        ("session_id", "event[\"conversation-id\"]"),
    ] {
        assert_eq!(code_of(&payload, field).as_deref(), Some(expected), "{field}");
    }
    let description = code_of(&payload, "description").unwrap();
    assert!(description.contains("text(event.message), label(\"Name\", event.patient?.name)"), "{description}");
    assert!(description.contains("label(\"Phone\", event.patient?.phone)") && description.contains("details(event)"));
    // A message without a subject is its own title, unless it is known what happened.
    let message = json!({ "message": "Where is it?", "from": "Ada" });
    assert_eq!(code_of(&message, "title").as_deref(), Some("line(event.message) || \"A delivery for orders\""));
    assert!(
        code_of(&message, "description").unwrap().starts_with("[text(event.message), label(\"Name\", event.from)]")
    );
    // Users of the sender are not those of the tasks.
    let users = json!({ "assignee": "u1", "owner_id": 7, "created_by": "x" });
    assert_eq!((code_of(&users, "assigned_user_ids"), code_of(&users, "created_by_id")), (None, None));
    assert_eq!(
        code_of(&json!({ "assigned_user_ids": ["u1"] }), "assigned_user_ids").as_deref(),
        Some("event.assigned_user_ids")
    );
}

/// A guess that the server would refuse for this very example must not be made: the plugin would not go live.
#[test]
fn values_that_the_server_refuses_are_not_used() {
    for value in [
        json!(""),
        json!("  "),
        json!("null"),
        json!("{{ $json.x }}"),
        json!("[object Object]"),
        json!("\u{200b}"),
        json!({}),
        json!(null),
    ] {
        let payload = json!({ "title": value, "message": value, "call_id": value, "tags": [value], "x": 1 });
        assert_eq!(code_of(&payload, "title").as_deref(), Some("\"A delivery for orders\""), "{value}");
        assert_eq!(code_of(&payload, "description").as_deref(), Some("details(event)"), "{value}");
        assert_eq!((code_of(&payload, "call_id"), code_of(&payload, "tags")), (None, None), "{value}");
    }
    assert_eq!(code_of(&json!({ "call_id": 1e300, "due": "soon", "start": 7 }), "call_id"), None);
    assert_eq!(code_of(&json!({ "due": "soon", "start": 7 }), "deadline"), None);
}

/// A date that could be read in two ways is shown, and not guessed: a task would be due in the wrong month.
#[test]
fn an_ambiguous_date_is_only_suggested() {
    let guesses = Guesses::of(&json!({ "due": "01/02/2026" }), "event", "orders");
    let text = script("orders", &guesses, Mapped::One);
    assert!(text.contains("    // deadline: DateTime.fromFormat(event.due, \"MM/dd/yyyy\"),\n"), "{text}");
}

/// Other events must not disappear: the line that would skip them is a comment, and works without its slashes.
#[test]
fn other_events_are_skipped_only_on_request() {
    let payload = json!({ "type": "order.paid", "id": "o-1" });
    let guesses = Guesses::of(&payload, "event", "orders");
    let text = script("orders", &guesses, Mapped::One);
    assert!(text.contains("  // if (event.type !== \"order.paid\") return skip(\"not order.paid\");\n"), "{text}");
    let facts = Facts { name: "orders", company: "clinic-7", sender: None, body_bytes: 3 << 20, limits: "" };
    let manifest = manifest(&facts, &guesses);
    let table: toml::Table = toml::from_str(&manifest).unwrap();
    assert!(table.get("dedupe").is_none() && manifest.contains("# pointer = \"/id\""), "{manifest}");
    assert_eq!(table["limits"]["body_mib"].as_integer(), Some(4), "{manifest}");
    assert_eq!((table["script"].as_str(), table["company_id"].as_str()), (Some("mapper.js"), Some("clinic-7")));
}
