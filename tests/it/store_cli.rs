//! `hookmill store …`, as an admin runs it: with the server running, stopped, and after a disaster.

use std::path::Path;
use std::process::Output;

use hookmill::store::embedded::StoreOptions;
use hookmill::store::verbs::*;
use hookmill::store::{Cursor, Embedded, IdempotencyId, PageRequest, TaskFilter};
use serde_json::{Value, json};

use crate::harness;
use crate::harness::{Setup, binary, task};
use crate::stored;

fn store(data: &Path, args: &[&str]) -> Output {
    binary().arg("store").args(args).arg("--data-dir").arg(data).output().unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn path(dir: &Path) -> &str {
    dir.to_str().unwrap()
}

/// Three tasks: one changed, one deleted.
fn some_tasks(server: &harness::Server) -> Vec<Value> {
    let mut tasks: Vec<Value> = (0..3).map(|_| server.post("/v1/tasks", &task()).expect(201).json()).collect();
    let id = |task: &Value| task["id"].as_str().unwrap().to_owned();
    let patch = json!({"version": 1, "status": "completed"}).to_string();
    tasks[0] = server.send("PATCH", &format!("/v1/tasks/{}", id(&tasks[0])), &[], patch.as_bytes()).expect(200).json();
    server.send("DELETE", &format!("/v1/tasks/{}", id(&tasks[1])), &[], b"").expect(204);
    tasks.remove(1);
    tasks.reverse();
    tasks
}

fn list(server: &harness::Server) -> Vec<Value> {
    server.get("/v1/tasks").expect(200).json()["data"].as_array().unwrap().clone()
}

#[test]
fn a_backup_of_a_running_server_comes_back_whole_after_everything_is_gone() {
    let setup = Setup::new();
    let server = setup.start();
    let tasks = some_tasks(&server);
    let backup = setup.data.with_extension("backup");
    let said = succeeds(&store(&setup.data, &["backup", path(&backup)]));
    assert!(said.contains("contains everything"), "{said}");
    // What comes after the backup is not in it.
    server.post("/v1/tasks", &task()).expect(201);
    // A directory that is not empty is never written to.
    assert_eq!(store(&setup.data, &["backup", path(&backup)]).status.code(), Some(1));
    server.stop();
    std::fs::remove_dir_all(&setup.data).unwrap();
    succeeds(&store(&setup.data, &["restore", path(&backup)]));
    let server = setup.start();
    assert_eq!(list(&server), tasks);
    assert!(!server.printed.contains("API key"), "the keys came back as well");
    server.stop();
    succeeds(&store(&setup.data, &["check"]));
}

#[test]
fn what_is_exported_can_be_imported_once_and_again() {
    let setup = Setup::new();
    let server = setup.start();
    let tasks = some_tasks(&server);
    let event = server.post("/v1/tasks", &json!({"title": "no task"})).expect(422).json();
    let event = format!("/v1/events/{}", event["event_id"].as_str().unwrap());
    let event_before = server.get(&event).expect(200).text;
    let file = setup.data.with_extension("ndjson");
    // The directory is the server's.
    assert_eq!(store(&setup.data, &["export", path(&file)]).status.code(), Some(3));
    server.stop();
    succeeds(&store(&setup.data, &["export", path(&file)]));
    let other = Setup::new();
    let said = succeeds(&store(&other.data, &["import", path(&file), "--json"]));
    let count = |said: &str| serde_json::from_str::<Value>(said).unwrap();
    // The first key was made, a body was read, and all of it is being exported.
    assert_eq!(
        count(&said),
        json!({"tasks": 3, "events": 4, "api_keys": 1, "audit_entries": 3, "answers": 0, "skipped": 0})
    );
    let said = succeeds(&store(&other.data, &["import", path(&file), "--json"]));
    assert_eq!(count(&said)["skipped"], 11);
    let server = other.start();
    assert_eq!(list(&server), tasks);
    assert_eq!(server.get(&event).expect(200).text, event_before);
    server.stop();
    succeeds(&store(&other.data, &["check"]));
    // An invalid line is named.
    std::fs::write(&file, "{\"kind\":\"task\"}\n").unwrap();
    let output = store(&other.data, &["import", path(&file)]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 1"), "{output:?}");
}

#[test]
fn compacting_gives_space_back_while_requests_are_answered() {
    let setup = Setup::new();
    let server = setup.start();
    let tasks = some_tasks(&server);
    succeeds(&store(&setup.data, &["compact"]));
    assert_eq!(list(&server), tasks);
    server.post("/v1/tasks", &task()).expect(201);
    assert!(!setup.data.join("sled-1").exists() && setup.data.join("sled-2").exists());
    let stats: Value = serde_json::from_str(&succeeds(&store(&setup.data, &["stats", "--json"]))).unwrap();
    assert_eq!((&stats["companies"][0]["tasks"], &stats["companies"][0]["deleted_tasks"]), (&json!(3), &json!(1)));
    server.stop();
    succeeds(&store(&setup.data, &["check"]));
    assert_eq!(list(&setup.start()).len(), 3);
}

#[test]
fn a_damaged_journal_keeps_the_server_from_starting_until_an_admin_accepts_it() {
    let mut setup = Setup::new();
    let server = setup.start();
    let tasks = some_tasks(&server);
    server.stop();
    let segment = setup.data.join("journal/00000000000000000001.journal");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert_eq!(store(&setup.data, &["check"]).status.code(), Some(4));
    let output = setup.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("00000000000000000001.journal at byte") && said.contains("--accept-loss"), "{said}");
    setup.extra = vec!["--accept-loss".into()];
    let server = setup.start();
    assert_eq!(list(&server), tasks, "the view had them");
    let backup = setup.data.with_extension("backup");
    succeeds(&store(&setup.data, &["backup", path(&backup)]));
    server.stop();
    setup.extra.clear();
    assert_eq!(list(&setup.start()), tasks, "it was accepted once and for all");
    std::fs::remove_dir_all(&setup.data).unwrap();
    succeeds(&store(&setup.data, &["restore", path(&backup)]));
    assert_eq!(list(&setup.start()), tasks);
}

#[test]
fn operator_routes_are_not_for_keys_of_a_company() {
    let server = Setup::new().start();
    let dir = json!({"dir": "/tmp/nowhere"});
    assert_eq!(server.post("/v1/admin/store/backup", &dir).expect(403).code(), "scope_missing");
    assert_eq!(server.post("/v1/admin/store/compact", &json!({})).expect(403).code(), "scope_missing");
    assert_eq!(server.get("/v1/admin/store").expect(403).code(), "scope_missing");
}

/// Every later version must be able to read the data of an older one: each fixture is a backup that
/// such a version made, and what it exports. `store` is the first with a journal; `store-2` has events with headers and
/// stages, a delivery's id, and events that wait; `store-4` has answers in blocks, and a company whose newest tasks were
/// purged.
#[test]
fn directories_of_every_format_still_open() {
    opens("store", 4);
    opens("store-3", 0);
    what_was_answered_and_purged_is_known(&opens("store-4", 3));
    let setup = opens("store-2", 2);
    // What waited does so after an export and an import as well.
    let (all, copy) = (setup.data.with_extension("ndjson"), Setup::new());
    succeeds(&store(&setup.data, &["export", path(&all)]));
    succeeds(&store(&copy.data, &["import", path(&all)]));
    for setup in [setup, copy] {
        what_waited_is_taken_up(&setup);
    }
}

fn what_was_answered_and_purged_is_known(setup: &Setup) {
    let store = Embedded::open(&setup.data, &StoreOptions::default()).unwrap();
    let at = chrono::DateTime::from_timestamp(1_795_651_200, 0).unwrap();
    let delivery = IdempotencyId { company: None, name: [2; 16], window: Some(chrono::Duration::days(3)) };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (n, id) in [stored::once(1), stored::once(2), delivery].into_iter().enumerate() {
        let first = runtime.block_on(store.first_answer(id, at + chrono::Duration::hours(23))).unwrap().unwrap();
        assert_eq!(first.body, format!("answer {n}"));
    }
    // Rows 3 and 4 belonged to tasks that were purged: the next task comes before a cursor that was at them.
    runtime.block_on(store.commit(stored::ingested("company-1", |_| {}).into())).unwrap();
    let page = PageRequest::After { cursor: Cursor(5), limit: 50 };
    let company = stored::company("company-1");
    let listed = runtime.block_on(store.list_tasks(&company, TaskFilter::default(), page)).unwrap();
    assert_eq!((listed.tasks.len(), listed.total), (3, 4));
}

fn what_waited_is_taken_up(setup: &Setup) {
    let (server, key) = (setup.start(), setup.key("company-1", &["events:read", "tasks:read"]));
    harness::until("what waited is taken up", || {
        let listed = server.send_as("GET", "/v1/events?integration=loops", &[("x-api-key", &key)], b"").expect(200);
        let events = listed.json()["data"].as_array().unwrap().clone();
        events.len() == 2 && events.iter().all(|it| it["reason"]["code"] == "unknown_integration")
    });
}

fn opens(name: &str, idempotency_keys: u64) -> Setup {
    let setup = Setup::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    succeeds(&store(&setup.data, &["restore", path(&fixture.join("data"))]));
    succeeds(&store(&setup.data, &["check"]));
    let stats: Value = serde_json::from_str(&succeeds(&store(&setup.data, &["stats", "--json"]))).unwrap();
    assert_eq!(stats["idempotency_keys"], idempotency_keys);
    let exported = succeeds(&store(&setup.data, &["export"]));
    // This export itself is among it.
    let values = |lines: &str| -> Vec<Value> {
        let lines = lines.lines().filter(|it| !it.contains("\"store.exported\""));
        lines.map(|it| serde_json::from_str(it).unwrap()).collect()
    };
    let (answers, items): (Vec<_>, Vec<_>) = values(&exported).into_iter().partition(|it| it["kind"] == "answer");
    assert_eq!(items, values(&std::fs::read_to_string(fixture.join("items.ndjson")).unwrap()));
    assert_eq!(answers.len() as u64, idempotency_keys);
    setup
}
