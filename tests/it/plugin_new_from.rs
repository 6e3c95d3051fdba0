//! `hookmill plugin new NAME --from …`: one example becomes a plugin that goes live as it was written.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::harness::{Reply, Server, Setup, until};
use crate::sender_cli::{good, run, said};

/// A payload as a booking service sends it, in n8n's wrapper.
const WRAPPED: &str = r#"[{"json":{"headers":{"host":"n8n"},"params":{},"query":{},"body":{
    "event":"booking.created","subject":"Knee pain","message":"since May","due":"2026-12-01","priority":"HIGH",
    "patient":{"id":4711,"name":"Grace Hopper","phone":"+1 555 0100"},"tags":["knee"],"note":null}}}]"#;

fn new(setup: &Setup, name: &str, payload: &str, more: &[&str]) -> std::process::Output {
    run(setup, &[&["plugin", "new", name, "--from", "-"], more].concat(), payload.as_bytes())
}

fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for dir in [folder.to_owned(), folder.join("fixtures")] {
        for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap).filter(|it| it.path().is_file()) {
            found.push((entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
    found
}

fn fixture(setup: &Setup, name: &str) -> Value {
    let all = files(&setup.plugins.join(name));
    let fixture = all.iter().find(|(_, text)| text.contains("\"expect\"")).unwrap();
    serde_json::from_str(&fixture.1).unwrap()
}

fn deliver(setup: &Setup, server: &Server, name: &str, content_type: &str, body: &str) -> Reply {
    let key = setup.key("company-1", &["hooks:write"]);
    let headers = [("x-api-key", &*key), ("content-type", content_type)];
    server.send_as("POST", &format!("/v1/hooks/{name}"), &headers, body.as_bytes())
}

/// The promise of the command: paste a payload, and its next delivery is a task, with nothing to edit or to compile.
#[test]
fn a_pasted_payload_goes_live_as_generated_and_the_next_one_is_a_task() {
    let setup = Setup::new();
    let server = setup.start();
    let text = good(&new(&setup, "bookings", WRAPPED, &[]));
    for part in ["line(event.subject)", "Wrappers were removed", "plugin dev", "--redact-values replaces them"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let names: Vec<_> = std::fs::read_dir(&setup.plugins).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["bookings"], "nothing else is left in the plugins folder");
    until("it is live", || deliver(&setup, &server, "bookings", "application/json", WRAPPED).status == 201);
    let tasks = server.get("/v1/tasks").expect(200).json();
    let task = &tasks["data"][0];
    assert_eq!(
        (&task["title"], &task["priority"], &task["type"]),
        (&json!("Knee pain"), &json!("high"), &json!("booking.created"))
    );
    assert_eq!((&task["patient_id"], &task["tags"]), (&json!("4711"), &json!(["knee"])));
    assert_eq!(task["deadline"], "2026-12-01T23:59:59Z");
    assert_eq!(task["description"], "since May\nName: Grace Hopper\nPhone: +1 555 0100");
    assert_eq!(task["created_by_id"], "bookings");
    // Strict: what the example has must be there.
    let unfit = deliver(&setup, &server, "bookings", "application/json", r#"{"event":"booking.created"}"#).expect(422);
    assert!(unfit.message().contains("subject"), "{}", unfit.message());
    let text = good(&run(&setup, &["plugin", "check", "bookings"], b""));
    assert!(!text.contains("warning") && !text.contains("error"), "{text}");
    let fixture = fixture(&setup, "bookings");
    assert_eq!(fixture["payload"]["patient"]["name"], "Grace Hopper");
    assert_eq!(fixture["expect"]["tasks"][0]["title"], "Knee pain");
}

/// Forms, XML, lists and known senders arrive as the server reads them, not as they look in a file.
#[test]
fn every_kind_of_example_passes_its_own_fixture() {
    let setup = Setup::new();
    let form = ["--content-type", "application/x-www-form-urlencoded"];
    for (name, payload, more) in [
        ("form", "subject=Call&notes=now&tags[]=a&tags[]=b", &form[..]),
        ("xml", "<call><subject>Call</subject><notes>now</notes></call>", &["--content-type", "application/xml"]),
        ("list", r#"[{"subject":"One"},{"subject":"Two","n":1}]"#, &[]),
        ("nested", r#"{"data":{"data":{"subject":"Call"},"id":2}}"#, &[]),
        ("large-id", r#"{"patient_id":9007199254740993,"call_id":123456789012345678901234567890,"subject":"x"}"#, &[]),
        ("nulls", r#"{"a":null,"b":null}"#, &[]),
        ("calls", r#"{"event":"call_ended","call":{"call_id":"c1","transcript":"Hello"}}"#, &["--sender", "retell"]),
    ] {
        let shown: Value = serde_json::from_slice(&{
            let out = new(&setup, name, payload, &[more, &["--json"]].concat());
            assert!(out.status.success(), "{name}: {}", said(&out));
            out.stdout
        })
        .unwrap();
        assert!(shown["tasks"][0]["title"].is_string(), "{name}: {shown}");
        good(&run(&setup, &["plugin", "test", name], b""));
    }
    let tasks = |name: &str| fixture(&setup, name)["expect"]["tasks"].clone();
    assert_eq!((&tasks("list")[0]["title"], &tasks("list")[1]["title"]), (&json!("One"), &json!("Two")));
    let digits = &tasks("large-id")[0];
    assert_eq!(
        (&digits["patient_id"], &digits["call_id"]),
        (&json!("9007199254740993"), &json!("123456789012345678901234567890"))
    );
    let manifest = std::fs::read_to_string(setup.plugins.join("calls/plugin.toml")).unwrap();
    assert!(manifest.contains("sender = \"retell\"") && manifest.contains("script = \"mapper.js\""), "{manifest}");
}

/// The example comes from the Internet: no name, size or depth of it may run as code, or stop the command.
#[test]
fn hostile_examples_become_plugins_that_pass_or_clear_errors() {
    let setup = Setup::new();
    let parts = [
        "",
        "\"",
        "'",
        "`",
        "\\",
        "\n",
        "\r",
        "\u{2028}",
        "\u{2029}",
        "\0",
        "*/",
        "//",
        "<!--",
        "${x}",
        "{{ $json.x }}",
        "__proto__",
        "constructor",
        "\u{202e}",
        "\u{feff}",
        "\"];globalThis.evil=1;//",
        "\u{2028}evil()//",
        "*/evil()/*",
        "🦀",
        "a b",
    ];
    let mut names: Vec<String> = parts.iter().map(|it| (*it).to_owned()).collect();
    names.extend(parts.iter().flat_map(|one| ["x", "\\", "\"", "é"].map(|two| format!("{two}{one}{two}"))));
    let all: Map<String, Value> =
        names.iter().map(|it| (it.clone(), json!({ "message": it, "n": { it: it } }))).collect();
    assert!(all.len() >= 100);
    let wide: Map<String, Value> = (0..10_000).map(|it| (format!("field{it}"), json!(format!("value {it}")))).collect();
    let cases = [
        ("names", Value::Object(all).to_string()),
        ("reversed", {
            let it: Map<String, Value> = names
                .iter()
                .rev()
                .map(|it| (it.clone(), json!({ "subject": "x", "call_id": it, "type": it })))
                .collect();
            Value::Object(it).to_string()
        }),
        ("wide", Value::Object(wide).to_string()),
        ("long-text", json!({ "message": "x".repeat(1 << 20), "subject": "y".repeat(1 << 18) }).to_string()),
        ("long-name", json!({ "x".repeat(1 << 20): 1 }).to_string()),
        ("deep", format!("{}1{}", "{\"a\":".repeat(120), "}".repeat(120))),
        ("surrogate", r#"{"title":"\ud83d","\udc00":"x"}"#.to_owned()),
        ("items", format!("[{}]", vec!["{\"subject\":\"x\"}"; 1000].join(","))),
    ];
    for (name, payload) in &cases {
        let out = new(&setup, name, payload, &[]);
        assert!(out.status.success(), "{name}: {:.2000}", said(&out));
        good(&run(&setup, &["plugin", "test", name], b""));
        assert!(
            !files(&setup.plugins.join(name))
                .iter()
                .any(|(file, text)| file == "mapper.js" && text.lines().any(|it| it.trim_start().starts_with("evil")))
        );
    }
    for (payload, part) in [
        ("{}", "an empty object"),
        ("[]", "an empty array"),
        ("\"text\"", "text"),
        ("[1,2]", "something other than objects"),
        ("{\"a\":", "not JSON"),
        (&format!("{}1{}", "[".repeat(300), "]".repeat(300)), "deeper than"),
        (&format!("{{\"a\":\"{}\"}}", "x".repeat(3 << 20)), "the maximum of a fixture"),
    ] {
        let out = new(&setup, "refused", payload, &[]);
        assert!(out.status.code() == Some(1) && said(&out).contains(part), "{payload:.60}: {}", said(&out));
    }
    let left: Vec<_> = std::fs::read_dir(&setup.plugins).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), cases.len(), "{left:?}");
    let out = new(&setup, "wide", "{\"a\":1}", &[]);
    assert!(out.status.code() == Some(2) && said(&out).contains("there already"), "{}", said(&out));
    // Flags that would do nothing.
    for more in [&["--redact-values"][..], &["--content-type", "application/xml"]] {
        let out = run(&setup, &[&["plugin", "new", "calls", "--sender", "retell"], more].concat(), b"");
        assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    }
}

/// A quarantined event is the best example there is; who reads it must be in the audit log.
#[test]
fn a_stored_event_is_an_example_with_and_without_a_server() {
    let setup = Setup::new();
    good(&new(&setup, "first", r#"{"subject":"x","n":1}"#, &[]));
    let server = setup.start();
    let refused =
        deliver(&setup, &server, "first", "application/x-www-form-urlencoded", "name=Ada+Lovelace&notes=call")
            .expect(422);
    let id = refused.header("x-event-id").to_owned();
    let from =
        |name: &str, more: &[&str]| run(&setup, &[&["plugin", "new", name, "--from-event", &id], more].concat(), b"");
    good(&from("second", &[]));
    assert_eq!(fixture(&setup, "second")["payload"], json!({ "name": "Ada Lovelace", "notes": "call" }));
    let audit = server.get("/v1/admin/audit").expect(200).json().to_string();
    assert!(audit.contains("event.read") && audit.contains(&id), "{audit}");
    assert_eq!(from("other", &["--company", "company-2"]).status.code(), Some(1));
    drop(server.stop());
    good(&from("third", &[]));
    assert_eq!(fixture(&setup, "third")["payload"], json!({ "name": "Ada Lovelace", "notes": "call" }));
    let audit = good(&run(&setup, &["audit", "--json"], b""));
    assert!(audit.contains("command line") && audit.contains("event.read"), "{audit}");
}

/// Otherwise a patient's data get into a repository with the plugin.
#[test]
fn redacted_values_are_in_no_file() {
    let setup = Setup::new();
    let text = good(&new(&setup, "bookings", WRAPPED, &["--redact-values"]));
    assert!(!text.contains("--redact-values replaces"), "{text}");
    for (file, text) in files(&setup.plugins.join("bookings")) {
        for value in ["Hopper", "Knee", "knee", "since May", "555", "4711"] {
            assert!(!text.contains(value), "{value} in {file}: {text}");
        }
    }
    good(&run(&setup, &["plugin", "test", "bookings"], b""));
    assert_eq!(fixture(&setup, "bookings")["payload"]["event"], "booking.created");
}
