//! `PATCH` and `DELETE /v1/tasks/{id}`.

use chrono::Utc;
use hookmill::format::payload::{Payload, Rules};
use hookmill::format::task_change::TaskChange;
use hookmill::model::company::CompanyId;
use hookmill::model::ids::TaskId;
use hookmill::model::ids::{EventId, new_id};
use hookmill::model::task::{NewTask, Task};
use serde_json::{Value, json};

use crate::harness::{KEY, Reply, Server, Setup, task};

fn payload(value: Value) -> Payload {
    Payload::of(value)
}

/// A task in which everything that can be set is set.
fn full() -> Task {
    let mut value = task();
    for name in ["call_id", "fax_id", "assistant_id", "session_id", "patient_id", "type"] {
        value[name] = json!(format!("old {name}"));
    }
    value["tags"] = json!(["old"]);
    value["status"] = json!("in_progress");
    value["priority"] = json!("high");
    let (new, _) = NewTask::parse(payload(value), &Rules::default()).unwrap();
    let now = Utc::now();
    let mut task = new.into_task(TaskId(new_id(now)), EventId(new_id(now)), CompanyId::parse("c").unwrap(), now);
    task.external_message_ids = json!({"sms": "1", "mail": "2"}).as_object().unwrap().clone();
    task
}

/// The full task after this change.
fn changed(mut body: Value, strict: bool) -> Result<(Value, Option<String>), String> {
    body["version"] = json!(1);
    let rules = Rules { strict, ..Rules::default() };
    let (change, loosened) = TaskChange::parse(payload(body), None, &rules).map_err(|it| it[0].message.clone())?;
    let task = change.patch.apply(full(), Utc::now());
    let mut value = serde_json::to_value(&task).unwrap();
    value["assigned_user_ids"] = json!(task.assigned_user_ids);
    Ok((value, loosened.header_value()))
}

/// JSON Schema takes `3.0` for an integer, and so do we: a strict key got "version: required".
#[test]
fn a_version_may_be_a_whole_number_in_any_notation() {
    for strict in [true, false] {
        let rules = Rules { strict, ..Rules::default() };
        let read = |version: &str| {
            let body = serde_json::from_str(&format!(r#"{{"title": "new", "version": {version}}}"#)).unwrap();
            TaskChange::parse(payload(body), None, &rules).map(|(it, _)| it.version).ok()
        };
        for version in ["3", "3.0", "0.3e1"] {
            assert_eq!(read(version), Some(3), "{version}");
        }
        for version in ["3.5", "-3.0", "1e300", "true"] {
            assert_eq!(read(version), None, "{version}");
        }
    }
}

#[test]
fn absent_keeps_null_clears_and_a_value_takes_the_old_ones_place() {
    for (field, sent, expected) in [
        ("title", json!("new"), json!("new")),
        ("deadline", json!("2027-01-01T00:00:00Z"), json!("2027-01-01T00:00:00Z")),
        ("assigned_user_ids", json!(["u7"]), json!(["u7"])),
        ("status", json!("completed"), json!("completed")),
        ("priority", json!("low"), json!("low")),
        ("tags", json!([]), json!([])),
        ("tags", json!(["a"]), json!(["a"])),
        ("tags", Value::Null, json!([])),
        ("patient_id", json!("p2"), json!("p2")),
        ("patient_id", Value::Null, Value::Null),
        ("call_id", Value::Null, Value::Null),
        ("fax_id", Value::Null, Value::Null),
        ("assistant_id", Value::Null, Value::Null),
        ("session_id", Value::Null, Value::Null),
        ("type", Value::Null, Value::Null),
        ("external_message_ids", json!({"sms": null, "fax": "3"}), json!({"mail": "2", "fax": "3"})),
        ("external_message_ids", json!({}), json!({"sms": "1", "mail": "2"})),
        ("external_message_ids", Value::Null, json!({})),
    ] {
        for strict in [false, true] {
            let (after, loosened) = changed(json!({field: sent}), strict).unwrap();
            assert_eq!((&after[field], &after["version"]), (&expected, &json!(2)), "{field} {sent}");
            assert_eq!(loosened, None, "{field} {sent}");
            let mut before = serde_json::to_value(full()).unwrap();
            before["assigned_user_ids"] = json!(["u1"]);
            for (other, value) in before.as_object().unwrap() {
                let differs = [field, "id", "version", "created_at", "updated_at"].contains(&other.as_str());
                assert!(differs || after[other] == *value, "{field} also changed {other}");
            }
        }
    }
}

#[test]
fn loose_values_are_read_as_those_of_a_new_task_and_a_blank_keeps() {
    for (field, sent, expected) in [
        ("patient_id", json!(""), json!("old patient_id")),
        ("patient_id", json!("undefined"), json!("old patient_id")),
        ("status", json!(" "), json!("in_progress")),
        ("tags", json!("null"), json!(["old"])),
        ("status", json!("In Progress"), json!("in_progress")),
        ("priority", json!("URGENT"), json!("urgent")),
        ("patient_id", json!(4711), json!("4711")),
        ("tags", json!("a, b"), json!(["a", "b"])),
        ("assigned_user_ids", json!("u1,u2"), json!(["u1", "u2"])),
        ("deadline", json!("2026-12-01"), json!("2026-12-01T23:59:59Z")),
        ("external_message_ids", json!("{\"fax\":\"3\",\"sms\":null}"), json!({"mail": "2", "fax": "3"})),
    ] {
        let (after, loosened) = changed(json!({field: sent}), false).unwrap();
        assert_eq!((&after[field], loosened.as_deref()), (&expected, Some(field)), "{sent}");
    }
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    for (body, part) in [
        (json!({"title": null}), "title: cannot be null; omit it to keep"),
        (json!({"status": null}), "status: cannot be null"),
        (json!({"deadline": null}), "deadline: cannot be null"),
        (json!({"assigned_user_ids": null}), "assigned_user_ids: cannot be null"),
        (json!({"title": " "}), "title: \" \" is blank; omit it to keep"),
        (json!({"created_by_id": "undefined"}), "is blank"),
        (json!({"assigned_user_ids": []}), "assigned_user_ids"),
        (json!({"priority": "soon"}), "one of low, medium, high, urgent"),
        (json!({"external_message_ids": "x"}), "is not an object"),
        (json!({"external_message_ids": {"a": "\u{0}"}}), "NUL"),
        (json!({"deadline": "24.11.2026"}), "is ambiguous"),
        (json!({}), "contains no field that can be changed; send one or more of title, description"),
        (json!({"id": "x", "company_id": "other", "color": "green"}), "contains no field that can be changed"),
    ] {
        let message = changed(body.clone(), false).unwrap_err();
        assert!(message.contains(part), "{body}: {message}");
    }
    assert!(changed(json!({"tags": "a,b"}), true).is_err(), "a strict key is read strictly");
}

#[test]
fn a_version_comes_in_the_body_or_in_the_header_and_both_have_to_agree() {
    let parse = |version: Value, header| {
        let body = if version.is_null() { json!({"title": "t"}) } else { json!({"title": "t", "version": version}) };
        let parsed = TaskChange::parse(payload(body), header, &Rules::default());
        parsed.map(|(change, _)| change.version).map_err(|it| it[0].message.clone())
    };
    assert_eq!(parse(json!(3), None), Ok(3));
    assert_eq!(parse(json!(" 3 "), None), Ok(3));
    assert_eq!(parse(Value::Null, Some(4)), Ok(4));
    assert_eq!(parse(json!(""), Some(4)), Ok(4));
    assert_eq!(parse(json!(4), Some(4)), Ok(4));
    assert!(parse(json!(3), Some(4)).unwrap_err().contains("the body says 3 and If-Match says 4"));
    assert!(parse(Value::Null, None).unwrap_err().contains("If-Match: \"3\""));
    for wrong in [json!(0), json!(-1), json!(1.5), json!("one"), json!([])] {
        assert!(parse(wrong.clone(), None).unwrap_err().starts_with("version"), "{wrong}");
    }
    // Everything at once, the version as well.
    let found = TaskChange::parse(payload(json!({"title": null})), None, &Rules::default()).unwrap_err();
    assert_eq!(found.iter().map(|it| it.pointer.as_str()).collect::<Vec<_>>(), ["/title", "/version"]);
}

fn send(server: &Server, method: &str, path: &str, if_match: &str, body: &Value) -> Reply {
    let mut headers = vec![("content-type", "application/json")];
    if !if_match.is_empty() {
        headers.push(("if-match", if_match));
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    server.send(method, path, &headers, body.as_bytes())
}

fn created(server: &Server) -> String {
    let reply = server.post("/v1/tasks", &task()).expect(201);
    assert_eq!(reply.header("etag"), "\"1\"");
    reply.header("location").to_owned()
}

#[test]
fn a_change_is_answered_with_the_task_and_read_back() {
    let setup = Setup::new();
    let server = setup.start();
    let path = created(&server);
    let reply = send(&server, "PATCH", &path, "", &json!({"version": 1, "status": "In Progress"})).expect(200);
    assert_eq!((&reply.json()["status"], &reply.json()["version"]), (&json!("in_progress"), &json!(2)));
    assert_eq!((reply.header("etag"), reply.header("x-loosened")), ("\"2\"", "status"));
    assert!(reply.json()["updated_at"].as_str() >= reply.json()["created_at"].as_str());
    let read = server.get(&path).expect(200);
    assert_eq!((&read.text, read.header("etag")), (&reply.text, "\"2\""));
    for (number, if_match) in ["\"2\"", "W/\"3\"", "4"].into_iter().enumerate() {
        let reply = send(&server, "PATCH", &path, if_match, &json!({"title": format!("title {number}")})).expect(200);
        assert_eq!(reply.json()["version"], json!(number + 3));
    }
    // n8n users send the whole task back, with one field changed.
    let mut whole = server.get(&path).expect(200).json();
    whole["priority"] = json!("urgent");
    whole["company_id"] = json!("company-2");
    let after = send(&server, "PATCH", &path, "", &json!([{"json": whole}])).expect(200).json();
    assert_eq!((&after["priority"], &after["company_id"]), (&json!("urgent"), &json!("company-1")));
    server.stop();
    assert_eq!(setup.start().get(&path).expect(200).json(), after);
}

/// Two people change the same task: the second one must not undo what the first one did.
#[test]
fn a_stale_version_is_a_conflict() {
    let server = Setup::new().start();
    let path = created(&server);
    send(&server, "PATCH", &path, "\"1\"", &json!({"title": "first"})).expect(200);
    for reply in [
        send(&server, "PATCH", &path, "\"1\"", &json!({"title": "second"})),
        send(&server, "PATCH", &path, "", &json!({"title": "second", "version": 7})),
        send(&server, "DELETE", &path, "\"1\"", &Value::Null),
    ] {
        let reply = reply.expect(409);
        assert_eq!(reply.code(), "version_conflict");
        assert!(reply.message().contains("now has version 2; read it again"), "{}", reply.message());
    }
    assert_eq!(server.get(&path).expect(200).json()["title"], "first");
    for (if_match, body) in [("", json!({"title": "x"})), ("\"1\"", json!({"title": "x", "version": 2}))] {
        assert_eq!(
            send(&server, "PATCH", &path, if_match, &body).expect(422).json()["errors"][0]["pointer"],
            "/version"
        );
    }
    assert!(send(&server, "PATCH", &path, "abc", &json!({"title": "x"})).expect(422).message().contains("If-Match"));
}

#[test]
fn a_deleted_task_is_there_for_nobody() {
    let server = Setup::new().start();
    let (path, other) = (created(&server), created(&server));
    send(&server, "DELETE", &path, "\"1\"", &Value::Null).expect(204);
    send(&server, "DELETE", &path, "", &Value::Null).expect(404);
    server.get(&path).expect(404);
    send(&server, "PATCH", &path, "\"2\"", &json!({"title": "x"})).expect(404);
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 1);
    send(&server, "DELETE", &other, "", &Value::Null).expect(204);
    send(&server, "DELETE", "/v1/tasks/no-id", "", &Value::Null).expect(404);
}

#[test]
fn nobody_changes_another_companys_tasks() {
    let setup = Setup::new();
    let server = setup.start();
    let path = created(&server);
    let other = setup.key("company-2", &["tasks:write", "tasks:read"]);
    let reader = setup.key("company-1", &["tasks:read"]);
    let body = json!({"version": 1, "title": "x"}).to_string();
    for (key, status) in [(other.as_str(), 404), (&reader, 403), (&KEY[1..], 401)] {
        for method in ["PATCH", "DELETE"] {
            server.send_as(method, &path, &[("x-api-key", key)], body.as_bytes()).expect(status);
        }
    }
    assert_eq!(server.get(&path).expect(200).json()["version"], 1);
}
