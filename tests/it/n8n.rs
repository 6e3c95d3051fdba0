//! What n8n workflows get wrong, and what the editor then shows: `message` is all that its user sees.

use serde_json::{Value, json};

use crate::harness::{KEY, Reply, Server, Setup, task};

fn post(server: &Server, path: &str, key: &str, body: &Value) -> Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    server.send("POST", path, &headers, body.to_string().as_bytes())
}

fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut task = task();
    task[field] = value.into();
    task
}

fn total(server: &Server) -> u64 {
    server.get("/v1/tasks").expect(200).json()["pagination"]["total"].as_u64().unwrap()
}

/// Otherwise a key from a field that does not exist makes every item but the first a repetition, and their tasks are lost.
#[test]
fn a_key_without_a_value_is_no_key_and_is_named() {
    let server = Setup::new().start();
    for (index, key) in [
        "undefined",
        "null",
        "\"\"",
        "NaN",
        "[object Object]",
        "",
        " ",
        "\"undefined\"",
        "-0",
        "undefined-1",
        "-",
        "refill-",
        "refill-undefined",
    ]
    .iter()
    .enumerate()
    {
        let title = format!("task {index}");
        let body = json!({"tasks": [with("title", title.clone())]});
        for (path, body) in [("/v1/tasks", with("title", title)), ("/v1/tasks/batch", body)] {
            let reply = post(&server, path, key, &body);
            assert!([200, 201].contains(&reply.status), "{key}: {}", reply.text);
            assert_eq!(reply.header("x-loosened"), "Idempotency-Key", "{key} {path}");
            assert_eq!(reply.header("idempotent-replayed"), "", "{key}");
        }
    }
    assert_eq!(total(&server), 26);
    // A key with a part that differs between runs names one request, whatever else is missing.
    for key in ["2310-0", "wf-2310-undefined", "0"] {
        assert_eq!(post(&server, "/v1/tasks", key, &task()).expect(201).header("x-loosened"), "", "{key}");
    }
    // What was read loosely in the body is still named.
    let reply = post(&server, "/v1/tasks", "undefined", &with("assigned_user_ids", "u1,u2")).expect(201);
    assert_eq!(reply.header("x-loosened"), "assigned_user_ids,Idempotency-Key");
    let shipped = Setup::with_shipped_plugins().start();
    for _ in 0..2 {
        let reply = post(&shipped, "/v1/hooks/n8n-intake", "undefined", &json!({"subject": "Call back"})).expect(201);
        assert_eq!(reply.header("x-loosened"), "assigned_user_ids,Idempotency-Key");
    }
}

/// Otherwise one text is the key of all items, and all tasks but one are lost.
#[test]
fn a_key_that_is_an_expression_is_rejected_with_a_hint() {
    let server = Setup::new().start();
    for key in ["{{$execution.id}}", "={{$execution.id}}-1", "{{ $execution.id }}-{{ $itemIndex }}"] {
        let reply = post(&server, "/v1/tasks", key, &task()).expect(422);
        assert!(
            reply.message().starts_with("Idempotency-Key: is an expression that was not evaluated"),
            "{}",
            reply.message()
        );
        assert!(reply.message().contains("switch the field from Fixed to Expression"), "{}", reply.message());
    }
    assert_eq!(total(&server), 0);
}

/// Retry On Fail evaluates `$now` again. The old advice, a new key, created the task a second time.
#[test]
fn a_retry_with_another_date_learns_what_differs_and_which_task_exists() {
    let server = Setup::new().start();
    let mut first = with("deadline", "2026-12-01T17:00:00Z");
    first["extra"] = json!({"sent/at": 1, "by": ["a", "b"]});
    let made = post(&server, "/v1/tasks", "k", &first).expect(201);
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let mut again = first.clone();
    again["deadline"] = json!("2026-12-01T17:00:09Z");
    let conflict = post(&server, "/v1/tasks", "k", &again).expect(409);
    let (detail, message) = (conflict.json()["detail"].clone(), conflict.message());
    assert_eq!(detail["differs"], json!(["deadline"]));
    assert_eq!(detail["task_ids"], json!([id]));
    assert_eq!(detail["first_event_id"], made.header("x-event-id"));
    for part in
        ["\"k\" was used before", "deadline differs", &id, "A new key would create it again", "in a node before"]
    {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!conflict.text.contains("17:00:09") && !conflict.text.contains("17:00:00"), "no values: {message}");
    again["extra"] = json!({"sent/at": 2, "by": ["a", "c"]});
    for name in ["a", "b", "c", "d"] {
        again[name] = json!(1);
    }
    let conflict = post(&server, "/v1/tasks", "k", &again).expect(409);
    let differs = json!(["deadline", "/extra/sent~1at", "/extra/by/1", "a", "b"]);
    assert_eq!(conflict.json()["detail"]["differs"], differs);
    assert!(conflict.message().contains("a, b and 2 more differ"), "{}", conflict.message());
    // Another notation of the same fields.
    let text = serde_json::to_string_pretty(&first).unwrap();
    let headers = [("content-type", "application/json"), ("idempotency-key", "k")];
    let conflict = server.send("POST", "/v1/tasks", &headers, text.as_bytes()).expect(409);
    assert_eq!(conflict.json()["detail"]["differs"], json!([]));
    assert!(conflict.message().contains("only its notation differs"), "{}", conflict.message());
    assert_eq!(total(&server), 1);
}

#[test]
fn a_conflict_of_a_batch_or_a_delivery_says_the_same() {
    let server = Setup::with_shipped_plugins().start();
    let batch = |second: &str| json!([task(), {"json": with("title", second)}]);
    let made = post(&server, "/v1/tasks/batch", "k", &batch("one")).expect(200).json();
    let conflict = post(&server, "/v1/tasks/batch", "k", &batch("two")).expect(409).json();
    assert_eq!(conflict["detail"]["differs"], json!(["/1/title"]));
    assert_eq!(conflict["detail"]["task_ids"], json!([made["data"][0]["task"]["id"], made["data"][1]["task"]["id"]]));
    assert_eq!(conflict["detail"]["first_event_id"], made["data"][0]["event_id"]);
    assert!(conflict["message"].as_str().unwrap().contains("and 1 other were made"), "{conflict}");
    let longer = json!([task(), with("title", "one"), task()]);
    let conflict = post(&server, "/v1/tasks/batch", "k", &longer).expect(409).json();
    assert_eq!(conflict["detail"]["differs"], json!(["/2"]));
    let unreadable = post(&server, "/v1/tasks/batch", "k", &json!([])).expect(409).json();
    assert_eq!(unreadable["detail"]["task_ids"].as_array().unwrap().len(), 2);
    assert!(unreadable["detail"].get("differs").is_none(), "{unreadable}");
    let send = |notes: &str| post(&server, "/v1/hooks/n8n-intake", "k", &json!({"subject": "Refill", "Notes": notes}));
    let made = send("a").expect(201).json();
    let conflict = send("b").expect(409).json();
    assert_eq!(conflict["detail"]["differs"], json!(["Notes"]));
    assert_eq!(conflict["detail"]["task_ids"], json!([made["id"]]));
}

/// What was erased must not leak through a comparison.
#[test]
fn a_conflict_with_an_erased_event_compares_nothing() {
    let server = Setup::new().start();
    let first = with("patient_id", "patient-4711");
    post(&server, "/v1/tasks", "k", &first).expect(201);
    server.post("/v1/events/erase", &json!({"patient_id": "patient-4711"})).expect(200);
    let conflict = post(&server, "/v1/tasks", "k", &with("title", "other")).expect(409).json();
    assert!(conflict["detail"].get("differs").is_none(), "{conflict}");
    assert!(conflict["detail"].get("task_ids").is_none(), "{conflict}");
}

/// Otherwise tasks are stored whose text is the expression that should have made it.
#[test]
fn text_in_place_of_a_value_is_rejected_and_the_message_says_what_to_do() {
    let server = Setup::with_shipped_plugins().start();
    for (field, value, hint) in [
        ("title", "{{ $json.title }}", "switch the field from Fixed to Expression"),
        ("title", "Call {{ $json.name }}", "switch the field from Fixed to Expression"),
        ("title", "[object Object]", "send one of the object's fields"),
        ("title", "undefined", "is blank"),
        ("description", "={{ $json.text }}", "switch the field from Fixed to Expression"),
        ("description", "[Execute previous nodes for preview]", "switch the field to Expression"),
        ("description", "[Object: {\"text\":\"x\"}]", "switch the field to Expression"),
        ("deadline", "Invalid DateTime", "check the date's format"),
        ("deadline", "{{ $now }}", "switch the field from Fixed to Expression"),
        ("patient_id", "{{ $json.patient }}", "switch the field from Fixed to Expression"),
        ("priority", "{{ $json.priority }}", "switch the field from Fixed to Expression"),
        ("assigned_user_ids", "{{ $json.a, $json.b }}", "switch the field from Fixed to Expression"),
        ("created_by_id", "NaN", "is blank"),
    ] {
        let reply = server.post("/v1/tasks", &with(field, value)).expect(422);
        assert_eq!(reply.json()["detail"]["param"], field, "{value}");
        assert!(reply.message().contains(hint), "{field}: {}", reply.message());
    }
    let object = server.post("/v1/tasks", &with("title", json!({"a": 1}))).expect(422);
    assert!(object.message().contains("send one of the object's fields"), "{}", object.message());
    let in_list = server.post("/v1/tasks", &with("assigned_user_ids", json!(["u1", "[object Object]"]))).expect(422);
    assert!(in_list.message().contains("send one of the object's fields"), "{}", in_list.message());
    let change = server.post("/v1/tasks", &task()).expect(201);
    let body = json!({"title": "{{ $json.title }}", "version": 1}).to_string();
    server
        .send("PATCH", change.header("location"), &[("content-type", "application/json")], body.as_bytes())
        .expect(422);
    // The output of a plugin passes the same check.
    let delivered = server.post("/v1/hooks/n8n-intake", &json!({"title": "{{ $json.title }}"})).expect(422);
    assert!(delivered.message().contains("switch the field from Fixed to Expression"), "{}", delivered.message());
    for query in ["patient_id=%7B%7B%20%24json.id%20%7D%7D", "status=%5Bobject%20Object%5D"] {
        let reply = server.get(&format!("/v1/tasks?{query}")).expect(422);
        assert!(reply.message().contains("in n8n, "), "{}", reply.message());
    }
}

/// A task about a template must not be refused; what may be a mistake is named.
#[test]
fn prose_may_mention_an_expression_and_a_strict_key_takes_any_text() {
    let setup = Setup::new();
    let server = setup.start();
    let named = |description: &str| {
        server.post("/v1/tasks", &with("description", description)).expect(201).header("x-loosened").to_owned()
    };
    assert_eq!(named("Use {{name}} in the letter, and {{ other }}"), "");
    assert_eq!(named("[Object: swallowed button battery, X-ray done]"), "");
    assert_eq!(named("The workflow sent {{ $json.title }} as its title"), "unevaluated:description");
    let strict = json!({"company_id": "company-1", "label": "s", "scopes": ["tasks:write"], "strict": true});
    let key = server.post("/v1/admin/keys", &strict).expect(201).json()["key"].as_str().unwrap().to_owned();
    let headers = [("x-api-key", key.as_str()), ("content-type", "application/json")];
    let body = with("title", "{{ $json.title }}").to_string();
    server.send_as("POST", "/v1/tasks", &headers, body.as_bytes()).expect(201);
}

/// JavaScript rounds integers beyond 2^53: the id of another patient looks like any other.
#[test]
fn an_id_that_javascript_may_have_rounded_is_named() {
    let server = Setup::with_shipped_plugins().start();
    for (id, loosened) in [
        ("9007199254740992", "patient_id,rounded:patient_id"),
        ("12345678901234567000", "patient_id,rounded:patient_id"),
        // JavaScript never writes these.
        ("9007199254740993", "patient_id"),
        ("12345678901234567890", "patient_id"),
        ("9007199254740991", "patient_id"),
    ] {
        let body = with("patient_id", "ID").to_string().replace("\"ID\"", id);
        let reply =
            server.send("POST", "/v1/tasks", &[("content-type", "application/json")], body.as_bytes()).expect(201);
        assert_eq!(reply.header("x-loosened"), loosened, "{id}");
        assert_eq!(reply.json()["patient_id"], id);
    }
    let body = with("assigned_user_ids", "ID").to_string().replace("\"ID\"", "[9007199254740992]");
    let reply = server.send("POST", "/v1/tasks", &[("content-type", "application/json")], body.as_bytes()).expect(201);
    assert_eq!(reply.header("x-loosened"), "assigned_user_ids,rounded:assigned_user_ids");
}

/// The HTTP Request node's default method is GET, and a list of tasks looks like success.
#[test]
fn a_get_that_was_meant_to_create_says_that_post_does() {
    let server = Setup::with_shipped_plugins().start();
    const HINT: &str = "n8n's HTTP Request node uses GET by default: set Method to POST";
    let body = task().to_string();
    let reply = server.send("GET", "/v1/tasks", &[("content-type", "application/json")], body.as_bytes()).expect(400);
    assert_eq!(reply.code(), "body_on_get");
    assert!(reply.message().contains(HINT), "{}", reply.message());
    let reply = server.get("/v1/tasks?title=Call%20back&status=pending").expect(422);
    assert!(reply.message().contains(HINT), "{}", reply.message());
    for path in ["/v1/hooks/n8n-intake", "/v1/hooks/n8n-intake?title=x", "/v1/tasks/batch"] {
        let reply = server.get(path).expect(405);
        assert!(reply.message().contains(HINT), "{}", reply.message());
        assert_eq!(reply.header("allow"), "POST");
    }
    assert!(!server.get("/v1/tasks?colour=red").expect(422).message().contains(HINT));
    server.get("/v1/tasks?status=pending").expect(200);
    let empty = [("content-type", "application/json"), ("content-length", "0")];
    server.send_as("GET", "/v1/tasks", &[&[("x-api-key", KEY)], &empty[..]].concat(), b"").expect(200);
}

/// A workflow that sees only the status takes a batch with failures for done.
#[test]
fn a_batch_with_failures_has_the_status_that_was_asked_for() {
    let server = Setup::new().start();
    let mixed = json!([task(), {"title": "{{ $json.title }}"}, task()]);
    for (query, status) in [("", 200), ("?on_error=multi-status", 207), ("?on_error=fail", 422)] {
        let path = format!("/v1/tasks/batch{query}");
        let reply = post(&server, &path, &format!("k{status}"), &mixed).expect(status);
        assert_eq!(reply.json()["summary"], json!({"created": 2, "failed": 1}));
        assert_eq!(reply.json()["data"][1]["error"]["detail"]["code"], "invalid_field");
        // A repetition keeps the status.
        let again = post(&server, &path, &format!("k{status}"), &mixed).expect(status);
        assert_eq!((&again.text, again.header("idempotent-replayed")), (&reply.text, "true"));
        assert_eq!(reply.json().get("message").is_some(), status == 422);
        server.post(&path, &json!([task()])).expect(200);
        server.post(&path, &json!([{"title": "t"}])).expect(status);
    }
    let failed = server.post("/v1/tasks/batch?on_error=fail", &mixed).expect(422).message();
    assert!(
        failed.starts_with("1 item failed, 2 created; send only the failed ones again; item 1: title: "),
        "{failed}"
    );
    server.post("/v1/tasks/batch?on_error=never", &mixed).expect(422);
    assert_eq!(total(&server), 11);
}

/// A key without the round of a loop, the workflow or the node names several tasks, of which all but one are lost.
#[test]
fn every_page_and_workflow_recommends_the_same_complete_key() {
    const PARTS: [&str; 4] = ["$workflow.id", "$execution.id", "$runIndex", "$itemIndex"];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<_> = ["docs", "examples", "plugins"].iter().map(|it| root.join(it)).collect();
    let mut files = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
            let is_text = entry.extension().is_some_and(|it| it == "md" || it == "json" || it == "toml");
            if entry.is_dir() {
                folders.push(entry);
            } else if is_text {
                files.push(entry);
            }
        }
    }
    let mut complete = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("{{ $execution.id }}") {
            let line = text[..at].rsplit('\n').next().unwrap().to_owned() + text[at..].lines().next().unwrap();
            assert!(PARTS.iter().all(|it| line.contains(it)), "{}: {line}", file.display());
            assert!(line.contains("{{ $itemIndex }}-create-task"), "{}: {line}", file.display());
            complete += 1;
        }
    }
    assert!(complete >= 3, "{complete}");
}
