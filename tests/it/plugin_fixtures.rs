//! Payloads become fixtures: `hookmill plugin run --save-fixture`, and files that are dropped into `fixtures/`.

use serde_json::{Value, json};

use crate::guests::{component, says};
use crate::harness::{Setup, task};
use crate::sender_cli::{good, run, said};

fn fixture(setup: &Setup, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(setup.plugins.join("guest/fixtures").join(name)).unwrap()).unwrap()
}

/// A saved fixture that does not pass, or that replaces another one, would be worse than none.
#[test]
fn a_run_is_saved_as_a_fixture_that_passes_and_replaces_none() {
    let setup = Setup::new().plugin("guest", "", &says(&task().to_string()));
    let save = |more: &[&str], payload: &str| {
        let args = [&["plugin", "run", "guest", "--received-at", "2026-11-24T09:00:00Z"], more].concat();
        run(&setup, &args, payload.as_bytes())
    };
    good(&save(&["--save-fixture"], r#"{"event":"order.paid"}"#));
    good(&save(&["--save-fixture"], r#"{"event":"order.paid","n":2}"#));
    good(&save(&["--save-fixture"], r#"[{"json":{"n":3}}]"#));
    good(&save(&["--save-fixture", "large", "--header", "x-topic=a"], r#"{"n":4}"#));
    let first = fixture(&setup, "order-paid.json");
    assert_eq!(first["received_at"], "2026-11-24T09:00:00Z");
    assert_eq!((&first["payload"], &first["expect"]), (&json!({"event": "order.paid"}), &json!({"tasks": [task()]})));
    assert_eq!(fixture(&setup, "order-paid-2.json")["payload"]["n"], 2);
    assert_eq!(fixture(&setup, "example.json")["payload"], json!({"n": 3}), "as the plugin got it");
    assert_eq!(fixture(&setup, "large.json")["headers"], json!({"x-topic": "a"}));
    assert!(good(&run(&setup, &["plugin", "test", "guest"], b"")).contains("4 fixtures passed"));
    let refused = save(&["--save-fixture", "large"], r#"{"n":5}"#);
    assert!(refused.status.code() == Some(2) && said(&refused).contains("--force"), "{}", said(&refused));
    assert_eq!(fixture(&setup, "large.json")["payload"]["n"], 4);
    let shown = good(&save(&["--save-fixture", "large", "--force", "--json"], r#"{"n":5}"#));
    assert!(shown.contains(r#""fixture":"guest/fixtures/large.json""#), "{shown}");
    assert_eq!(fixture(&setup, "large.json")["payload"]["n"], 5);
    for bad in ["../out", "a/b", ".x"] {
        assert_eq!(save(&["--save-fixture", bad], "{}").status.code(), Some(2), "{bad}");
    }
    assert_eq!(save(&["--force"], "{}").status.code(), Some(2));
}

/// What crashes has no result: a fixture must not learn to expect it.
#[test]
fn a_crash_is_not_saved_and_a_refusal_by_the_schema_is() {
    let setup = Setup::new().plugin("guest", "", &component("unreachable"));
    let out = run(&setup, &["plugin", "run", "guest", "--save-fixture", "crash"], b"{}");
    assert!(out.status.code() == Some(1) && said(&out).contains("no fixture was written"), "{}", said(&out));
    assert!(!setup.plugins.join("guest/fixtures/crash.json").exists());
    let schema = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["a"]}"#;
    std::fs::write(setup.plugins.join("guest/input.schema.json"), schema).unwrap();
    let out = run(&setup, &["plugin", "run", "guest", "--save-fixture", "unfit"], b"{\"b\":1}");
    assert_eq!(out.status.code(), Some(1), "the sender would get an error");
    assert_eq!(fixture(&setup, "unfit.json")["expect"], json!({"violations": ["/a"]}));
    good(&run(&setup, &["plugin", "test", "guest"], b""));
}

/// Somebody who copies a payload into `fixtures/` must learn what is missing, and the plugin that is live must stay.
#[test]
fn a_payload_in_fixtures_is_recognized_everywhere_and_can_be_adopted() {
    let setup = Setup::new().plugin("guest", "", &says(&task().to_string()));
    let fixtures = setup.plugins.join("guest/fixtures");
    std::fs::create_dir(&fixtures).unwrap();
    // Calendly's own payload has a member with the name of a fixture's.
    std::fs::write(fixtures.join("calendly.json"), r#"{"event":"invitee.created","payload":{"name":"Ada"}}"#).unwrap();
    std::fs::write(fixtures.join("wrapped.json"), r#"[{"json":{"a":1}}]"#).unwrap();
    for command in ["check", "test"] {
        let out = run(&setup, &["plugin", command, "guest"], b"");
        let text = said(&out);
        assert!(out.status.code() == Some(1) && text.contains("plugin test guest --adopt"), "{command}: {text}");
    }
    let server = setup.start_cold();
    let refused = crate::harness::in_time(|| server.log_so_far().contains("--adopt"));
    assert!(refused, "{}", server.log_so_far());
    drop(server);
    let text = good(&run(&setup, &["plugin", "test", "guest", "--adopt"], b""));
    assert!(text.contains("calendly.json is a fixture now") && text.contains("2 fixtures passed"), "{text}");
    let adopted = fixture(&setup, "calendly.json");
    assert_eq!(adopted["payload"], json!({"event": "invitee.created", "payload": {"name": "Ada"}}));
    assert_eq!((&adopted["name"], &adopted["expect"]), (&json!("calendly"), &json!({"tasks": [task()]})));
    assert_eq!(fixture(&setup, "wrapped.json")["payload"], json!({"a": 1}));
    // An incomplete fixture is not a payload: its author wrote `payload` and forgot the rest.
    for broken in [r#"{"payload":{"a":1}}"#, r#"{"name":"x","payload":{},"expect":{}}"#, "{", "{}", "7"] {
        std::fs::write(fixtures.join("broken.json"), broken).unwrap();
        let out = run(&setup, &["plugin", "test", "guest", "--adopt"], b"");
        assert!(out.status.code() == Some(1) && said(&out).contains("not a fixture: "), "{broken}: {}", said(&out));
        assert_eq!(std::fs::read_to_string(fixtures.join("broken.json")).unwrap(), broken);
    }
}
