//! Every request that a real n8n sent, as captured, against the real server.
//!
//! If one of these changes its answer, a workflow that runs today breaks tomorrow.

use serde_json::{Value, json};

use crate::harness::{KEY, Setup};

/// What a capture is answered.
enum Answer {
    /// 201: these fields of the task, and the names in `X-Loosened`.
    Task(Value, &'static str),
    /// 200: a list of tasks.
    List,
    /// This status and message.
    Error(u16, &'static str),
}
use Answer::{Error, List, Task};

const MISSING_ALL: &str =
    "title: required. description: required. assigned_user_ids: required. created_by_id: required. deadline: required";
const ONLY_TITLE: &str =
    "description: required. assigned_user_ids: required. created_by_id: required. deadline: required";
const NO_DESCRIPTION: &str = "description: required";
const WRONG_KEY: &str = "the API key in X-API-Key is not valid";
const NOTHING: &str =
    "title: required. description: required. assigned_user_ids: required. created_by_id: required. deadline: required";

fn whole() -> Value {
    json!({"title": "Refill request", "description": "Call back", "deadline": "2026-12-01T09:00:00Z", "priority": "high", "tags": ["a", "b"], "created_by_id": "u9", "call_id": null})
}

fn end_of_day() -> Value {
    json!({"title": "Refill request", "description": "Call back", "deadline": "2026-12-01T23:59:59Z", "priority": "high", "tags": ["a", "b"], "created_by_id": "u9"})
}

fn table() -> Vec<(&'static str, Answer)> {
    vec![
        (
            "binary-file",
            Error(
                415,
                "the body is neither JSON nor a form: its content type is \"text/plain\"; send JSON, with Content-Type: application/json",
            ),
        ),
        ("cred-basic", Error(422, ONLY_TITLE)),
        ("cred-bearer", Error(422, ONLY_TITLE)),
        // These carry a key of their own, which this server does not know.
        ("cred-header-auth", Error(401, WRONG_KEY)),
        ("header-no-lowercase", Error(401, WRONG_KEY)),
        ("header-trailing-space-key", Error(401, WRONG_KEY)),
        ("header-xapikey-and-ctype", Error(401, WRONG_KEY)),
        ("delete-no-body", Error(405, "this URL does not support DELETE; use GET, HEAD, POST")),
        ("get-query", List),
        ("error-trigger-item", Error(422, MISSING_ALL)),
        ("form-fields", Task(end_of_day(), "assigned_user_ids,deadline,tags")),
        (
            "form-repeated-name",
            Error(422, "title: required. description: required. created_by_id: required. deadline: required"),
        ),
        ("form-trigger-item", Error(422, ONLY_TITLE)),
        ("items-3-batch1", Error(422, NO_DESCRIPTION)),
        ("items-3-batch1-2", Error(422, NO_DESCRIPTION)),
        ("items-3-batch1-3", Error(422, NO_DESCRIPTION)),
        ("items-3-nobatch", Error(422, NO_DESCRIPTION)),
        ("items-3-nobatch-2", Error(422, NO_DESCRIPTION)),
        ("items-3-nobatch-3", Error(422, NO_DESCRIPTION)),
        (
            "items-3-execute-once",
            Error(
                422,
                "the body contains 3 items; only one is allowed; send one request per item, or send several tasks to POST /v1/tasks/batch",
            ),
        ),
        ("json-code-node-date", Error(422, ONLY_TITLE)),
        ("json-empty-object", Error(422, MISSING_ALL)),
        (
            "json-expr-object",
            Task(
                json!({"title": "Refill request", "description": "Patient asks \"urgent\"\nline two", "deadline": "2026-11-27T01:21:05.486Z", "priority": "medium", "tags": []}),
                "",
            ),
        ),
        ("json-fields-all-strings", Task(end_of_day(), "assigned_user_ids,deadline,tags")),
        ("json-fields-arrays", Error(422, MISSING_ALL)),
        ("json-fields-dates", Error(422, MISSING_ALL)),
        ("json-fields-dates-default-timezone", Error(422, MISSING_ALL)),
        ("json-fields-empties", Error(422, ONLY_TITLE)),
        ("json-fields-expr-types", Error(422, MISSING_ALL)),
        ("json-fields-whitespace", Error(422, ONLY_TITLE)),
        ("json-static", Error(422, NO_DESCRIPTION)),
        ("json-unicode", Error(422, "assigned_user_ids: required. created_by_id: required. deadline: required")),
        ("json-whole-item", Task(whole(), "")),
        ("json-whole-item-stringify", Task(whole(), "")),
        ("json-whole-item-toJsonString", Task(whole(), "")),
        ("json-wrapped-body", Task(whole(), "envelope")),
        ("multipart-fields", Task(end_of_day(), "assigned_user_ids,deadline,tags")),
        ("multipart-file", Error(422, ONLY_TITLE)),
        ("multipart-missing", Error(422, ONLY_TITLE)),
        ("raw-json-object", Task(whole(), "")),
        ("raw-no-content-type", Task(whole(), "content-type")),
        ("raw-xml", Error(422, NOTHING)),
        ("webhook-body-json", Error(422, "description: required. created_by_id: required. deadline: required")),
        ("webhook-passthrough-empty", Error(422, MISSING_ALL)),
        ("webhook-passthrough-json", Error(422, ONLY_TITLE)),
        ("webhook-passthrough-json-2", Error(422, ONLY_TITLE)),
        (
            "webhook-passthrough-jsonarray",
            Error(
                422,
                "the body contains 2 items; only one is allowed; send one request per item, or send several tasks to POST /v1/tasks/batch",
            ),
        ),
        ("webhook-passthrough-xml", Error(422, MISSING_ALL)),
    ]
}

#[test]
fn every_captured_n8n_request_gets_its_stated_answer() {
    let server = Setup::new().start();
    let table = table();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/n8n");
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, table.len(), "a capture has no stated answer");
    for (name, answer) in table {
        let capture: Value =
            serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap();
        let mut headers: Vec<(&str, &str)> = capture["headers"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
            .collect();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("x-api-key")) {
            headers.push(("x-api-key", KEY));
        }
        let reply = server.send_as(
            capture["method"].as_str().unwrap(),
            "/v1/tasks",
            &headers,
            capture["body"].as_str().unwrap().as_bytes(),
        );
        match answer {
            Error(status, message) => {
                assert_eq!((reply.status, reply.message().as_str()), (status, message), "{name}");
            }
            List => assert!(reply.expect(200).json()["data"].is_array(), "{name}"),
            Task(fields, loosened) => {
                assert_eq!((reply.status, reply.header("x-loosened")), (201, loosened), "{name}: {}", reply.text);
                let task = reply.json();
                for (field, value) in fields.as_object().unwrap() {
                    assert_eq!(task[field], *value, "{name}: {field}");
                }
            }
        }
    }
}
