//! The provenance of a task: the event, and the exact plugin and schema.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::guests::says;
use crate::harness::{Setup, task};

fn sha256(file: &std::path::Path) -> String {
    Sha256::digest(std::fs::read(file).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_task_names_the_event_plugin_and_schema_that_made_it() {
    let setup = Setup::new().plugin("guest", "", &says(&task().to_string()));
    let server = setup.start();
    let made = server.post("/v1/hooks/guest", &json!({"a": 1})).expect(201);
    let event = made.header("x-event-id").to_owned();
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let found = server.get(&format!("/v1/tasks/{id}/provenance")).expect(200).json();
    let folder = setup.plugins.join("guest");
    assert_eq!(found["task_id"], id);
    assert_eq!(found["event_id"], event);
    assert_eq!(found["integration"], "guest");
    assert_eq!(found["plugin_version"], "1");
    assert_eq!(found["module_sha256"], sha256(&folder.join("mapper.wasm")));
    assert_eq!(found["schema_sha256"], sha256(&folder.join("input.schema.json")));
    assert_eq!((&found["event_expired"], found["received_at"].is_string()), (&json!(false), true));
}

#[test]
fn a_direct_task_has_no_plugin_and_only_admins_of_its_company_see_any() {
    let setup = Setup::new();
    let server = setup.start();
    let made: Value = server.post("/v1/tasks", &task()).expect(201).json();
    let path = format!("/v1/tasks/{}/provenance", made["id"].as_str().unwrap());
    let found = server.get(&path).expect(200).json();
    assert_eq!((&found["integration"], &found["module_sha256"]), (&json!("tasks"), &Value::Null));
    let as_key = |company: &str, scopes: &[&str]| {
        let key = setup.key(company, scopes);
        server.send_as("GET", &path, &[("x-api-key", &key)], b"")
    };
    assert_eq!(as_key("company-1", &["tasks:read"]).expect(403).code(), "scope_missing");
    as_key("company-2", &["admin"]).expect(404);
    server.get("/v1/tasks/01900000-0000-7000-8000-000000000000/provenance").expect(404);
}
