//! `POST /v1/tasks/batch`: many tasks in one request, each stored or refused on its own.

use serde_json::{Value, json};

use crate::harness::{Reply, Setup, task};

const PATH: &str = "/v1/tasks/batch";

fn statuses(reply: &Reply) -> Vec<u64> {
    reply.json()["data"].as_array().unwrap().iter().map(|it| it["status"].as_u64().unwrap()).collect()
}

#[test]
fn good_items_are_stored_and_bad_ones_are_named_and_kept() {
    let server = Setup::new().start();
    let mut loose = task();
    loose["assigned_user_ids"] = json!("u1,u2");
    let reply = server.post(PATH, &json!([task(), {"title": "t"}, loose])).expect(200);
    assert_eq!(statuses(&reply), [201, 422, 201]);
    let answer = reply.json();
    assert_eq!(answer["summary"], json!({"created": 2, "failed": 1}));
    let items = answer["data"].as_array().unwrap();
    assert_eq!(items[2]["loosened"], json!(["assigned_user_ids"]));
    assert_eq!(items[1]["error"]["detail"]["code"], "invalid_field");
    assert_eq!(items[1]["error"]["errors"].as_array().unwrap().len(), 4);
    for (index, (item, status)) in items.iter().zip(["stored", "quarantined", "stored"]).enumerate() {
        assert_eq!(item["index"], json!(index));
        let event = server.get(&format!("/v1/events/{}", item["event_id"].as_str().unwrap())).expect(200).json();
        assert_eq!(event["status"], status);
        if let Some(id) = item["task"]["id"].as_str() {
            assert_eq!(server.get(&format!("/v1/tasks/{id}")).expect(200).json(), item["task"]);
            assert_eq!(event["task_ids"], json!([id]));
        }
    }
}

#[test]
fn a_batch_comes_as_a_list_in_an_object_as_n8n_items_or_as_lines() {
    let server = Setup::new().start();
    let one = task().to_string();
    for (content_type, body) in [
        ("application/json", format!("[{one},{one}]")),
        ("application/json", json!({"tasks": [task(), task()]}).to_string()),
        ("application/json", json!({"note": "x", "data": [task(), task()]}).to_string()),
        ("application/json", serde_json::to_string_pretty(&json!([{"json": task()}, {"json": task()}])).unwrap()),
        ("application/x-ndjson", format!("{one}\n{one}\n")),
        ("application/jsonl", format!("\n{one}\r\n\r\n{one}")),
        ("application/json", format!("{one}\n{one}")),
        ("text/plain", format!("{one}\n{one}")),
        ("application/x-www-form-urlencoded", format!("[{one},{one}]")),
    ] {
        let reply = server.send("POST", PATH, &[("content-type", content_type)], body.as_bytes()).expect(200);
        assert_eq!(statuses(&reply), [201, 201], "{content_type} {body}");
    }
    // A workflow whose list has one item sends that alone.
    assert_eq!(statuses(&server.post(PATH, &task()).expect(200)), [201]);
}

/// One broken line of an export must not keep the others out.
#[test]
fn a_line_that_is_no_json_fails_alone() {
    let server = Setup::new().start();
    let one = task().to_string();
    let body = format!("{one}\n{{\"title\": \n3\n{one}");
    let reply = server.send("POST", PATH, &[("content-type", "application/x-ndjson")], body.as_bytes()).expect(200);
    assert_eq!(statuses(&reply), [201, 400, 422, 201]);
    assert_eq!(reply.json()["data"][1]["error"]["detail"]["code"], "malformed_json");
}

#[test]
fn an_items_names_are_unique_and_its_text_is_stored_as_sent() {
    let server = Setup::new().start();
    let twice = r#"{"title":"a","title":"b"}"#;
    let body = format!("[{}, {twice} ]", task());
    let reply = server.send("POST", PATH, &[("content-type", "application/json")], body.as_bytes()).expect(200);
    assert_eq!(statuses(&reply), [201, 400]);
    let item = &reply.json()["data"][1];
    assert_eq!(item["error"]["detail"]["code"], "duplicate_key");
    let event = server.get(&format!("/v1/events/{}", item["event_id"].as_str().unwrap())).expect(200).json();
    assert_eq!(event["body_bytes"], json!(twice.len()));
}

#[test]
fn a_body_that_is_not_a_batch_is_refused_whole() {
    let server = Setup::new().start();
    for (body, status, code) in [
        ("", 400, "empty_body"),
        ("[]", 422, "no_items"),
        ("{\"tasks\": []}", 422, "no_items"),
        ("{}", 422, "not_a_list"),
        ("3", 422, "not_a_list"),
        ("{\"color\": \"green\"}", 422, "not_a_list"),
        ("[{}", 400, "malformed_json"),
        ("[{},]", 400, "malformed_json"),
        ("[{}] x", 400, "malformed_json"),
        ("\u{fffd}", 400, "malformed_json"),
    ] {
        let reply = server.send("POST", PATH, &[("content-type", "application/json")], body.as_bytes());
        assert_eq!(reply.expect(status).code(), code, "{body}");
    }
    let many = |count| Value::Array(vec![json!({}); count]);
    assert_eq!(server.post(PATH, &many(1000)).expect(200).json()["summary"]["failed"], 1000);
    let reply = server.post(PATH, &many(1001)).expect(422);
    assert_eq!(reply.code(), "too_many_items");
    assert!(reply.message().contains("1001 items; the maximum is 1000"), "{}", reply.message());
}

#[test]
fn a_batch_may_be_sixteen_times_as_large_as_other_bodies() {
    let server = Setup::new().config("[limits]\nbody_bytes = 1000").start();
    let body = |bytes: usize| {
        let rest = bytes - format!("[{}]", task()).len();
        format!("[{}{}]", task(), " ".repeat(rest)).into_bytes()
    };
    let post = |path, body: &[u8]| server.send("POST", path, &[("content-type", "application/json")], body);
    post(PATH, &body(16_000)).expect(200);
    assert_eq!(post(PATH, &body(16_001)).expect(413).code(), "body_too_large");
    post("/v1/tasks", &body(1001)).expect(413);
}

#[test]
fn a_batch_needs_the_scope_and_a_strict_key_takes_json_only() {
    let setup = Setup::new();
    let server = setup.start();
    let reader = setup.key("company-1", &["tasks:read"]);
    server.send_as("POST", PATH, &[("x-api-key", &reader)], b"[]").expect(403);
    let request = json!({"company_id": "company-1", "scopes": ["tasks:write"], "strict": true});
    let strict = server.post("/v1/admin/keys", &request).expect(201).json()["key"].as_str().unwrap().to_owned();
    let post = |content_type: &str, body: &Value| {
        let headers = [("x-api-key", strict.as_str()), ("content-type", content_type)];
        server.send_as("POST", PATH, &headers, body.to_string().as_bytes())
    };
    post("text/plain", &json!([task()])).expect(415);
    assert_eq!(statuses(&post("application/json", &json!([task(), {"json": task()}])).expect(200)), [201, 422]);
    assert_eq!(statuses(&post("application/x-ndjson", &task()).expect(200)), [201]);
}

#[test]
fn several_items_for_one_task_are_pointed_to_the_batch() {
    let server = Setup::new().start();
    let reply = server.post("/v1/tasks", &json!([task(), task()])).expect(422);
    assert!(reply.message().contains("POST /v1/tasks/batch"), "{}", reply.message());
}
