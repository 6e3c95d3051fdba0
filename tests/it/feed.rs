//! `GET /v1/tasks/changes` and `updated_since`, for clients that cannot receive webhooks.

use serde_json::{Value, json};

use crate::harness::{Server, Setup, task};

fn create(server: &Server, title: &str) -> String {
    let mut body = task();
    body["title"] = json!(title);
    server.post("/v1/tasks", &body).expect(201).json()["id"].as_str().unwrap().to_owned()
}

/// Everything after a cursor: titles, and ids of deleted tasks; and the cursor to go on with.
fn read_on(server: &Server, mut cursor: Option<String>) -> (Vec<String>, String) {
    let mut changes = Vec::new();
    loop {
        let query = cursor.as_ref().map_or_else(String::new, |it| format!("&cursor={it}"));
        let page = server.get(&format!("/v1/tasks/changes?limit=2{query}")).expect(200).json();
        changes.extend(page["data"].as_array().unwrap().iter().map(|it| match &it["deleted"] {
            Value::Bool(true) => it["id"].as_str().unwrap().to_owned(),
            _ => it["task"]["title"].as_str().unwrap().to_owned(),
        }));
        let next = page["next_cursor"].as_str().unwrap().to_owned();
        if page["has_more"] == json!(false) {
            return (changes, next);
        }
        cursor = Some(next);
    }
}

/// A client that misses a change or a deletion shows something else than the server, forever.
#[test]
fn a_client_that_polls_sees_every_change_and_deletion_in_order_also_after_a_restart() {
    let setup = Setup::new();
    let server = setup.start();
    let ids: Vec<_> = ["a", "b", "c"].iter().map(|it| create(&server, it)).collect();
    let (changes, cursor) = read_on(&server, None);
    assert_eq!(changes, ["a", "b", "c"]);
    assert_eq!(read_on(&server, Some(cursor.clone())), (vec![], cursor.clone()), "the same cursor at the end");
    let patch = json!({"title": "new", "version": 1}).to_string();
    let json = [("content-type", "application/json")];
    server.send("PATCH", &format!("/v1/tasks/{}", ids[0]), &json, patch.as_bytes()).expect(200);
    server.send("DELETE", &format!("/v1/tasks/{}", ids[1]), &[], b"").expect(204);
    drop(server);
    let server = setup.start();
    let (changes, _) = read_on(&server, Some(cursor));
    assert_eq!(changes, ["new", ids[1].as_str()]);
    let page = server.get("/v1/tasks/changes?limit=100").expect(200).json();
    let [first, _, last] = page["data"].as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!((&first["id"], &first["version"], &first["deleted"]), (&json!(ids[2]), &json!(1), &json!(false)));
    assert_eq!((&first["task"]["id"], &first["task"]["updated_at"]), (&first["id"], &first["updated_at"]));
    // Of a deleted task nothing is shown but what its client needs to remove it.
    let names: std::collections::BTreeSet<_> = last.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["id", "version", "updated_at", "deleted", "task"].into());
    assert_eq!((&last["deleted"], &last["version"], &last["task"]), (&json!(true), &json!(2), &Value::Null));
}

/// After a restore, the same cursor would skip what was stored since the backup.
#[test]
fn a_cursor_of_another_store_has_expired_and_the_error_says_what_to_do() {
    let (first, second) = (Setup::new().start(), Setup::new().start());
    create(&first, "a");
    let (_, cursor) = read_on(&first, None);
    let refused = second.get(&format!("/v1/tasks/changes?cursor={cursor}")).expect(422);
    assert_eq!(refused.code(), "cursor_expired");
    assert!(refused.message().contains("without a cursor"), "{}", refused.text);
}

/// A wrong cursor that was ignored would show everything again, or another company's place in the feed.
#[test]
fn a_cursor_that_is_not_of_this_feed_is_refused() {
    let setup = Setup::new();
    let server = setup.start();
    create(&server, "a");
    let (_, cursor) = read_on(&server, None);
    let other = setup.key("company-2", &["tasks:read"]);
    let foreign =
        server.send_as("GET", &format!("/v1/tasks/changes?cursor={cursor}"), &[("x-api-key", &other)], b"").expect(422);
    assert_eq!(foreign.json()["errors"][0]["pointer"], "/cursor", "{}", foreign.text);
    for wrong in ["x", "AAAAAAAAAAAAAAAA", &cursor[1..], &format!("{cursor}A")] {
        let refused = server.get(&format!("/v1/tasks/changes?cursor={wrong}")).expect(422);
        assert_eq!(refused.json()["errors"][0]["pointer"], "/cursor", "{}", refused.text);
    }
    for limit in ["0", "101", "many"] {
        server.get(&format!("/v1/tasks/changes?limit={limit}")).expect(422);
    }
}

/// Filters such as `updated_since` are what most integration tools can send.
#[test]
fn updated_since_lists_what_was_updated_at_this_time_or_later() {
    let server = Setup::new().start();
    let ids: Vec<_> = ["a", "b", "c"].iter().map(|it| create(&server, it)).collect();
    let titles = |query: &str| {
        let page = server.get(&format!("/v1/tasks?{query}")).expect(200).json();
        let found: Vec<_> =
            page["data"].as_array().unwrap().iter().map(|it| it["title"].as_str().unwrap().to_owned()).collect();
        assert_eq!(page["pagination"]["total"], json!(found.len()));
        found
    };
    let updated = server.get(&format!("/v1/tasks/{}", ids[1])).expect(200).json()["updated_at"].clone();
    let since = updated.as_str().unwrap();
    let expected = titles("").into_iter().filter(|it| it != "a").collect::<Vec<_>>();
    let found = titles(&format!("updated_since={since}"));
    assert!(found.starts_with(&expected), "{found:?}");
    assert_eq!(titles("updated_since=2999-01-01T00:00:00%2B01:00"), [""; 0]);
    assert_eq!(titles("updated_since=2020-01-01T00:00:00Z&status=completed"), [""; 0]);
    assert_eq!(titles("updated_since=2020-01-01T00:00:00Z").len(), 3);
    // The zero time of many languages.
    assert_eq!(titles("updated_since=0001-01-01T00:00:00Z").len(), 3);
    let refused = server.get("/v1/tasks?updated_since=yesterday").expect(422);
    assert_eq!(refused.json()["errors"][0]["pointer"], "/updated_since");
}
