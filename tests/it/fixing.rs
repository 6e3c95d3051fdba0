//! Fixing what was refused: copies of events with another body, and replays of many events.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness::{Reply, Server, Setup, task, until};

const RELOADED: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n";

fn refuses() -> String {
    command("(func (export \"_start\") (call $exit (i32.const 1)))")
}

fn makes() -> String {
    says(&task().to_string())
}

fn reload(setup: &Setup, server: &Server, wat: &str) {
    let module = setup.plugins.join("guest/mapper.wasm");
    std::fs::write(module, wat::parse_str(wat).unwrap()).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
}

fn id(reply: &Reply) -> String {
    reply.header("x-event-id").to_owned()
}

fn event(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/events/{id}")).expect(200).json()
}

fn audit(server: &Server, action: &str) -> Vec<Value> {
    let all = server.get("/v1/admin/audit?limit=1000").expect(200).json();
    all["data"].as_array().unwrap().iter().filter(|it| it["action"] == action).cloned().collect()
}

fn copy(server: &Server, of: &str, key: &str, body: &Value) -> Reply {
    let headers = [("idempotency-key", key), ("content-type", "application/json")];
    server.send("POST", &format!("/v1/events/{of}/copy"), &headers, body.to_string().as_bytes())
}

/// Otherwise an admin cannot correct what a sender got wrong, or the original is no longer what was sent.
#[test]
fn a_copy_is_a_new_event_that_says_what_it_is_a_copy_of() {
    let manifest = "[dedupe]\npointer = \"/id\"\n";
    let server = Setup::new().plugin("guest", manifest, &makes()).start();
    let sent = id(&server.post("/v1/hooks/guest", &json!({"id": "d-1", "n": 1})).expect(201));
    let before = event(&server, &sent);
    let body = json!({"body": "{\"id\":\"d-1\",\"n\":12345678901234567890.10}"});
    let made = copy(&server, &sent, "once", &body).expect(201);
    let copied = made.json()["event"].clone();
    assert_ne!(copied["id"], before["id"]);
    assert_eq!((&copied["origin"]["kind"], &copied["origin"]["copy_of"]), (&json!("copy"), &json!(sent)));
    assert!(copied["origin"]["by"].as_str().unwrap().starts_with("key_"), "{copied}");
    assert_eq!((&copied["status"], &copied["integration"]), (&json!("stored"), &json!("guest")));
    assert_eq!(made.json()["tasks"].as_array().unwrap().len(), 1);
    let stored = event(&server, copied["id"].as_str().unwrap());
    assert_eq!((&stored["origin"], &stored["body"]), (&copied["origin"], &body["body"]));
    let provenance = format!("/v1/tasks/{}/provenance", copied["task_ids"][0].as_str().unwrap());
    assert_eq!(server.get(&provenance).expect(200).json()["event_origin"], copied["origin"]);
    assert_eq!(event(&server, &sent), before, "the original");
    let entries = audit(&server, "event.copied");
    assert_eq!((entries.len(), &entries[0]["target"]), (1, &copied["id"]));
    assert_eq!(entries[0]["detail"], format!("copy of {sent}"));

    let again = copy(&server, &sent, "once", &body).expect(201);
    assert_eq!((again.header("idempotent-replayed"), again.json()), ("true", made.json()), "the same form twice");
    assert_eq!(copy(&server, &sent, "once", &json!({"body": "{}"})).expect(409).code(), "idempotency_conflict");
    let second = copy(&server, &sent, "twice", &body).expect(201).json();
    assert_ne!(second["event"]["id"], copied["id"]);
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 3);
    // The sender's own copy is still that of the original.
    let repeated = server.post("/v1/hooks/guest", &json!({"id": "d-1", "n": 1})).expect(200);
    assert_eq!(repeated.header("idempotent-replayed"), "true");
}

/// Otherwise a form that is sent twice fills the quarantine, or a look at what would happen changes something.
#[test]
fn a_copy_that_is_refused_is_in_quarantine_and_a_dry_run_stores_nothing() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "", &refuses());
    let server = setup.start();
    let sent = id(&server.post("/v1/hooks/guest", &json!({"n": 1})).expect(422));
    let count = || server.get("/v1/events?limit=100").expect(200).json()["data"].as_array().unwrap().len();
    let would = copy(&server, &sent, "a", &json!({"body": "{}", "dry_run": true})).expect(200).json();
    assert_eq!((&would["event"]["status"], &would["dry_run"], count()), (&json!("quarantined"), &json!(true), 1));
    assert!(audit(&server, "event.copied").is_empty());
    let refused = copy(&server, &sent, "b", &json!({"body": "{\"n\":2}"})).expect(201).json();
    let again = copy(&server, &sent, "b", &json!({"body": "{\"n\":2}"})).expect(201);
    assert_eq!((again.header("idempotent-replayed"), again.json()), ("true", refused.clone()));
    assert_eq!((&refused["event"]["status"], count()), (&json!("quarantined"), 2));
    let broken = copy(&server, &sent, "c", &json!({"body": "{"})).expect(201).json();
    assert_eq!(broken["event"]["reason"]["stage"], "decode");
    // A copy is replayed like any other event, and keeps its mark.
    reload(&setup, &server, &makes());
    let copied = refused["event"]["id"].as_str().unwrap();
    let replayed = server.post(&format!("/v1/events/{copied}/replay"), &json!({})).expect(200).json();
    assert_eq!((&replayed["created"], &replayed["origin"]), (&json!(1), &refused["event"]["origin"]));
    assert_eq!(event(&server, copied)["origin"], refused["event"]["origin"]);
}

/// Otherwise somebody without the right to see bodies can make events, or an admin of another company can.
#[test]
fn only_an_admin_of_the_company_copies_an_event() {
    let setup = Setup::new().plugin("guest", "", &makes());
    let server = setup.start();
    let sent = id(&server.post("/v1/hooks/guest", &json!({"n": 1})).expect(201));
    let as_key = |key: &str| {
        let headers = [("x-api-key", key), ("content-type", "application/json")];
        server.send_as("POST", &format!("/v1/events/{sent}/copy"), &headers, b"{\"body\":\"{}\"}")
    };
    assert_eq!(as_key(&setup.key("company-1", &["tasks:read", "events:read"])).expect(403).code(), "scope_missing");
    assert_eq!(as_key(&setup.key("company-2", &["admin"])).expect(404).code(), "not_found");
    let headers = [("x-api-key", setup.operator()), ("content-type", "application/json".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, it)| (*name, it.as_str())).collect();
    let path = format!("/v1/events/{sent}/copy?company_id=company-1");
    let made = server.send_as("POST", &path, &headers, b"{\"body\":\"{}\"}").expect(201).json();
    assert_eq!(made["event"]["origin"]["by"], "operator");
}

/// Otherwise values that must not be stored are, once an admin has edited a copy.
#[test]
fn a_copy_is_redacted_as_a_delivery_is() {
    let server =
        Setup::new().plugin("guest", "redact = [\"/secret\"]\n[auth]\nscheme = \"api-key\"\n", &makes()).start();
    let sent = id(&server.post("/v1/hooks/guest", &json!({"secret": "s-1", "n": 1})).expect(201));
    let made = copy(&server, &sent, "a", &json!({"body": "{\"secret\":\"s-2\",\"n\":2}"})).expect(201).json();
    assert_eq!(made["event"]["redacted"], json!(["/secret"]));
    let stored = event(&server, made["event"]["id"].as_str().unwrap());
    assert!(!stored.to_string().contains("s-2") && stored["body"].as_str().unwrap().contains("\"n\":2"), "{stored}");
}

fn begin(server: &Server, body: &Value) -> Reply {
    server.post("/v1/admin/replays", body)
}

fn job(server: &Server, id: &Value) -> Value {
    server.get(&format!("/v1/admin/replays/{}", id.as_str().unwrap())).expect(200).json()
}

fn ended(server: &Server, id: &Value) -> Value {
    until("the replay ends", || job(server, id)["ended_at"] != Value::Null);
    job(server, id)
}

/// Otherwise an admin who has fixed a plugin replays its quarantine one by one, or events twice.
#[test]
fn events_of_a_filter_are_counted_first_and_then_replayed_once_each() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "", &refuses()).plugin("other", "", &refuses());
    let server = setup.start();
    let sent: Vec<_> = (0..30).map(|n| id(&server.post("/v1/hooks/guest", &json!({"n": n})).expect(422))).collect();
    server.post("/v1/hooks/other", &json!({})).expect(422);
    let filter = json!({"integration": ["guest"], "status": ["quarantined"]});
    let preview = begin(&server, &json!({"filter": filter, "dry_run": true})).expect(200).json();
    assert_eq!(
        (&preview["matching"], &preview["is_exact"], &preview["to_replay"]),
        (&json!(30), &json!(true), &json!(30))
    );
    let shown: Vec<_> = preview["events"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    let newest: Vec<_> = sent.iter().rev().take(20).map(String::as_str).collect();
    assert_eq!(shown, newest);

    reload(&setup, &server, &makes());
    // It arrives after the preview, so it is not part of it.
    let request = |expect: u64| json!({"filter": filter, "newest": preview["newest"], "expect": expect});
    assert_eq!(begin(&server, &request(29)).expect(409).code(), "other_events");
    // Some clients write each number as a float.
    let whole = json!({"filter": filter, "newest": preview["newest"], "expect": 30.5});
    assert_eq!(begin(&server, &whole).expect(422).code(), "invalid_field");
    let float = json!({"filter": filter, "newest": preview["newest"], "expect": 30.0});
    let begun = begin(&server, &float).expect(201).json();
    let done = ended(&server, &begun["id"]);
    assert_eq!(
        (&done["state"], &done["total"], &done["done"], &done["failed"]),
        (&json!("done"), &json!(30), &json!(30), &json!(0))
    );
    assert_eq!(done["created"], 30);
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 30);
    assert!(sent.iter().all(|it| event(&server, it)["status"] == "stored"));
    assert_eq!(audit(&server, "event.replayed").len(), 30);
    let entries = audit(&server, "events.replayed");
    let details: Vec<_> = entries.iter().map(|it| it["detail"].as_str().unwrap()).collect();
    assert!(details[1].starts_with("begun: ") && details[1].contains("guest"), "{details:?}");
    assert_eq!(details[0], "30 of 30 events, 0 failed, 30 tasks created, 0 updated");
    let replayed = audit(&server, "event.replayed");
    assert!(sent.iter().all(|id| replayed.iter().filter(|it| it["target"] == **id).count() == 1));
    // In the order in which they were received: tasks are listed as they were stored, newest first. The audit log has no order
    // within a millisecond.
    let tasks = server.get("/v1/tasks?limit=100").expect(200).json();
    let stored: Vec<_> = tasks["data"].as_array().unwrap().iter().rev().map(|it| it["id"].clone()).collect();
    let expected: Vec<_> = sent.iter().map(|it| event(&server, it)["task_ids"][0].clone()).collect();
    assert_eq!(stored, expected);
    // Events with tasks are left as they are.
    let again = begin(&server, &json!({"filter": {"integration": ["guest"]}})).expect(201).json();
    let again = ended(&server, &again["id"]);
    assert_eq!((&again["total"], &again["left"], &again["created"]), (&json!(0), &json!(30), &json!(0)));
    let list = server.get("/v1/admin/replays").expect(200).json();
    assert_eq!((&list["data"][0]["id"], &list["data"][1]["id"]), (&again["id"], &begun["id"]));
}

/// Otherwise a job compares each event with a filter of any size.
#[test]
fn a_filter_has_a_largest_size() {
    let server = Setup::new().start();
    let many: Vec<_> = (0..101).map(|n| n.to_string()).collect();
    let long = "é".repeat(201);
    for (filter, field) in [
        (json!({"integration": many}), "filter.integration"),
        (json!({"status": vec!["stored"; 101]}), "filter.status"),
        (json!({"reason": many}), "filter.reason"),
        (json!({"reason": [long]}), "filter.reason"),
        (json!({"id": long}), "filter.id"),
    ] {
        let refused = begin(&server, &json!({"filter": filter, "dry_run": true})).expect(422);
        assert!(refused.message().starts_with(field), "{}", refused.text);
    }
    let most = json!({"integration": many[..100], "reason": ["é".repeat(200)]});
    begin(&server, &json!({"filter": most, "dry_run": true})).expect(200);
}

/// Otherwise nobody knows why some events still have no tasks.
#[test]
fn failures_are_counted_by_their_reason_and_an_event_that_cannot_be_replayed_is_not_tried() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "", &refuses());
    let server = setup.start();
    let first = id(&server.post("/v1/hooks/guest", &json!({"n": 1})).expect(422));
    server.send("POST", "/v1/hooks/guest", &[], b"{").expect(400);
    server.send_as("POST", "/v1/hooks/guest", &[("x-api-key", "wrong")], b"{}").expect(401);
    let begun = begin(&server, &json!({})).expect(201).json();
    let done = ended(&server, &begun["id"]);
    assert_eq!((&done["done"], &done["failed"], &done["not_replayable"]), (&json!(2), &json!(2), &json!(1)), "{done}");
    let failures = done["failures"].as_array().unwrap();
    let reasons: BTreeSet<_> = failures.iter().map(|it| it["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, BTreeSet::from(["malformed_json", "plugin_refused"]));
    assert!(failures.iter().any(|it| it["events"] == json!([first])));
}

/// Otherwise a replay that was begun by mistake changes everything, or runs for somebody who was locked out.
#[test]
fn a_replay_ends_when_it_is_stopped_and_when_its_key_is_revoked() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "", &refuses());
    let server = setup.start();
    for n in 0..400 {
        server.post("/v1/hooks/guest", &json!({"n": n})).expect(422);
    }
    let begun = begin(&server, &json!({})).expect(201).json();
    let second = begin(&server, &json!({}));
    assert!(second.status == 201 || second.code() == "operation_running", "{}", second.text);
    if second.status == 429 {
        let stop = format!("/v1/admin/replays/{}/stop", begun["id"].as_str().unwrap());
        server.post(&stop, &Value::Null).expect(200);
        let stopped = ended(&server, &begun["id"]);
        assert!(stopped["state"] == "done" || stopped["done"].as_u64() < Some(400), "{stopped}");
        assert!(stopped["stopped_by"].as_str().unwrap().starts_with("key_"));
    }
    // Other companies neither see nor stop it.
    let other = setup.key("company-2", &["admin"]);
    let path = format!("/v1/admin/replays/{}", begun["id"].as_str().unwrap());
    assert_eq!(server.send_as("GET", &path, &[("x-api-key", &other)], b"").expect(404).code(), "not_found");
    let reader = setup.key("company-1", &["events:read"]);
    assert_eq!(server.send_as("GET", &path, &[("x-api-key", &reader)], b"").expect(403).code(), "scope_missing");
}

/// Otherwise a stopped server leaves a replay of which nobody knows how far it came.
#[test]
fn a_server_that_stops_writes_down_how_far_a_replay_came_and_forgets_it() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "", &refuses());
    let server = setup.start();
    for n in 0..200 {
        server.post("/v1/hooks/guest", &json!({"n": n})).expect(422);
    }
    let begun = begin(&server, &json!({})).expect(201).json();
    server.stop();
    let server = setup.start();
    let details: Vec<_> = audit(&server, "events.replayed").iter().map(|it| it["detail"].to_string()).collect();
    assert_eq!(details.len(), 2, "{details:?}");
    assert!(details[0].contains("stopped by server") || details[0].contains("200 of 200"), "{details:?}");
    let path = format!("/v1/admin/replays/{}", begun["id"].as_str().unwrap());
    assert!(server.get(&path).expect(404).message().contains("until that server restarts"));
}
