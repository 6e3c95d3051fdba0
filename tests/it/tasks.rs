//! `POST /v1/tasks` and `GET /v1/tasks/{id}`, as documented.

use serde_json::{Value, json};

use crate::harness;
use crate::harness::{KEY, Setup, task};

fn schema(name: &str) -> jsonschema::Validator {
    let file = format!("{}/schemas/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    jsonschema::options()
        .should_validate_formats(true)
        .build(&serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap())
        .unwrap()
}

fn key(server: &harness::Server, request: &Value) -> String {
    server.post("/v1/admin/keys", request).expect(201).json()["key"].as_str().unwrap().to_owned()
}

#[test]
fn a_task_is_answered_with_every_documented_field_and_read_back_the_same() {
    let server = Setup::new().start();
    let reply = server.post("/v1/tasks", &task()).expect(201);
    let created = reply.json();
    assert!(schema("task").is_valid(&created), "{created}");
    assert_eq!(reply.header("location"), format!("/v1/tasks/{}", created["id"].as_str().unwrap()));
    assert_eq!(reply.header("content-type"), "application/json");
    assert!(!reply.header("x-request-id").is_empty() && !reply.header("x-event-id").is_empty());
    for (field, value) in [
        ("version", json!(1)),
        ("status", json!("pending")),
        ("priority", json!("medium")),
        ("company_id", json!("company-1")),
        ("tags", json!([])),
        ("external_message_ids", json!({})),
        ("type", Value::Null),
        ("deadline", json!("2026-12-01T09:00:00Z")),
    ] {
        assert_eq!(created[field], value, "{field}");
    }
    assert!(created.get("assigned_user_ids").is_none());
    let read = server.get(reply.header("location")).expect(200);
    assert_eq!(read.text, reply.text);
}

#[test]
fn what_is_stored_is_there_after_a_restart() {
    let setup = Setup::new();
    let server = setup.start();
    let reply = server.post("/v1/tasks", &task()).expect(201);
    server.stop();
    let server = setup.start();
    assert_eq!(server.get(reply.header("location")).expect(200).text, reply.text);
    assert!(!server.printed.contains("API key"), "the first key is made once");
}

#[test]
fn every_violation_is_reported_at_once_in_document_order() {
    let server = Setup::new().start();
    let reply =
        server.post("/v1/tasks", &json!({"priority": "soon", "deadline": "tomorrow", "title": " "})).expect(422);
    let error = reply.json();
    let errors: Vec<_> = schema("error").iter_errors(&error).map(|it| it.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let pointers: Vec<_> =
        error["errors"].as_array().unwrap().iter().map(|it| it["pointer"].as_str().unwrap().to_owned()).collect();
    assert_eq!(pointers, ["/priority", "/deadline", "/title", "/description", "/assigned_user_ids", "/created_by_id"]);
    assert_eq!(error["detail"]["param"], "priority");
    assert_eq!(error["message"], error["detail"]["message"]);
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("deadline: \"tomorrow\" is not a date-time; send e.g. 2026-12-01T17:00:00Z")
    );
    // A refused delivery is stored, so that you can inspect and replay it.
    let event = server.get(&format!("/v1/events/{}", error["event_id"].as_str().unwrap())).expect(200).json();
    assert_eq!((&event["status"], &event["integration"]), (&json!("quarantined"), &json!("tasks")));
}

#[test]
fn keys_are_needed_and_do_what_their_scopes_say() {
    let server = Setup::new().start();
    let body = task().to_string();
    let post = |key: Option<&str>| {
        let headers: Vec<_> = key.iter().map(|key| ("x-api-key", *key)).collect();
        server.send_as("POST", "/v1/tasks", &headers, body.as_bytes())
    };
    assert_eq!(post(None).expect(401).code(), "no_key");
    assert_eq!(post(Some("")).expect(401).code(), "no_key");
    assert_eq!(post(Some(&KEY[1..])).expect(401).code(), "wrong_key");
    let reader = key(&server, &json!({"company_id": "company-1", "scopes": ["tasks:read"]}));
    assert_eq!(post(Some(&reader)).expect(403).code(), "scope_missing");
    let past = key(
        &server,
        &json!({"company_id": "company-1", "scopes": ["tasks:write"], "expires_at": "2020-01-01T00:00:00Z"}),
    );
    assert_eq!(post(Some(&past)).expect(401).code(), "wrong_key");
    server.send_as("GET", "/v1/admin/keys", &[("x-api-key", &reader)], b"").expect(403);
}

/// Another company's task is not there: 404, as for an id that nobody has.
#[test]
fn nobody_sees_another_companys_tasks_or_events() {
    let setup = Setup::new();
    let server = setup.start();
    // A company's admin makes keys for its own company only; the operator's token opens every company.
    server.post("/v1/admin/keys", &json!({"company_id": "company-2", "scopes": ["tasks:read"]})).expect(403);
    let out = harness::binary()
        .args(["key", "create", "--company", "company-2", "--scope", "tasks:read", "--data-dir"])
        .arg(&setup.data)
        .output()
        .unwrap();
    let other = String::from_utf8(out.stdout).unwrap().trim().to_owned();
    let reply = server.post("/v1/tasks", &task()).expect(201);
    for path in [reply.header("location"), &format!("/v1/events/{}", reply.header("x-event-id"))] {
        server.get(path).expect(200);
        server.send_as("GET", path, &[("x-api-key", &other)], b"").expect(404);
    }
    server.get("/v1/tasks/01900000-0000-7000-8000-000000000000").expect(404);
    server.get("/v1/tasks/no-id").expect(404);
}

#[test]
fn a_strict_key_loosens_nothing_and_a_keys_zone_is_that_of_its_deadlines() {
    let server = Setup::new().start();
    let strict = key(&server, &json!({"company_id": "company-1", "scopes": ["tasks:write"], "strict": true}));
    let berlin =
        key(&server, &json!({"company_id": "company-1", "scopes": ["tasks:write"], "timezone": "Europe/Berlin"}));
    let post = |key: &str, body: &Value, content_type: &str| {
        server.send_as(
            "POST",
            "/v1/tasks",
            &[("x-api-key", key), ("content-type", content_type)],
            body.to_string().as_bytes(),
        )
    };
    let mut loose = task();
    loose["deadline"] = json!("2026-12-01T09:00");
    let reply = post(&berlin, &loose, "application/json").expect(201);
    assert_eq!((&reply.json()["deadline"], reply.header("x-loosened")), (&json!("2026-12-01T08:00:00Z"), "deadline"));
    post(&strict, &loose, "application/json").expect(422);
    post(&strict, &json!([task()]), "application/json").expect(422);
    post(&strict, &task(), "text/plain").expect(415);
    post(&strict, &task(), "application/json").expect(201);
}
