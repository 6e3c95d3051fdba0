//! An erasure also covers events that are in a plugin, in the queue or in a replay when it is requested.

use std::path::Path;

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness;
use crate::harness::{Reply, Server, Setup, task, until};

const PATIENT: &str = "p-4711";
/// It is in bodies only, and so in no task.
const SECRET: &str = "has a rash on the left arm";
const LIMITS: &str = "[limits]\ntime_ms = 60000\nconcurrency = 1\n";
const RELOADED: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n[store]\nsegment_mib = 1\n";

/// A plugin that works for about a second, and then makes a task.
fn slow() -> String {
    let work = "(local $n i64) (loop $on (local.set $n (i64.add (local.get $n) (i64.const 1))) \
                (br_if $on (i64.lt_u (local.get $n) (i64.const 1500000000))))";
    let start = "(func (export \"_start\")";
    let quick = says(&task().to_string());
    assert!(quick.contains(start), "{quick}");
    quick.replace(start, &format!("{start} {work}"))
}

fn body() -> String {
    json!({ "who": PATIENT, "note": SECRET }).to_string()
}

fn erase(data: &Path) -> Value {
    let mut command = harness::binary();
    command.args(["events", "erase", "--json", "--company", "company-1", "--patient", PATIENT, "--yes", "--data-dir"]);
    let out = command.arg(data).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn event(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/events/{id}")).expect(200).json()
}

fn tasks(server: &Server) -> u64 {
    server.get("/v1/tasks").expect(200).json()["pagination"]["total"].as_u64().unwrap()
}

/// Whether the journal has what was sent, in any file.
fn is_stored(data: &Path) -> bool {
    // A temporary file may have been renamed since it was listed; its new name is listed, or was there before.
    let files =
        std::fs::read_dir(data.join("journal")).unwrap().filter_map(|it| std::fs::read(it.unwrap().path()).ok());
    files.into_iter().any(|bytes| memchr::memmem::find(&bytes, SECRET.as_bytes()).is_some())
}

fn post(server: &Server, headers: &[(&str, &str)]) -> Reply {
    server.send("POST", "/v1/hooks/guest", headers, body().as_bytes())
}

/// Otherwise a body would be stored after the admin got the report that it is erased.
#[test]
fn a_delivery_that_is_in_its_plugin_is_stored_as_erased_and_makes_no_task() {
    let setup = Setup::new().config(RELOADED).plugin("guest", LIMITS, &slow());
    let server = setup.start();
    let reply = std::thread::scope(|scope| {
        let sender = scope.spawn(|| post(&server, &[]));
        server.until_a_plugin_computes();
        // Nothing is stored of it yet.
        assert_eq!(erase(&setup.data)["events"], json!([]));
        sender.join().unwrap()
    });
    // The sender could do nothing about it: it must not try again.
    let reply = reply.expect(200);
    assert_eq!(reply.json()["skipped"], true);
    let event = event(&server, reply.header("x-event-id"));
    assert_eq!((&event["status"], &event["reason"]["code"]), (&json!("quarantined"), &json!("erased")), "{event}");
    assert!(event["erased_at"].is_string() && event.get("body").is_none());
    assert_eq!(tasks(&server), 0);
    assert!(!is_stored(&setup.data));
    // What is sent afterwards is a new delivery.
    post(&server, &[]).expect(201);
    assert!(is_stored(&setup.data));
}

/// Otherwise its late result would store the body once more.
#[test]
fn a_queued_event_that_is_in_its_plugin_stays_erased() {
    let setup = Setup::new().config(RELOADED).plugin("guest", LIMITS, &slow());
    let server = setup.start();
    let id = post(&server, &[("prefer", "respond-async")]).expect(202).header("x-event-id").to_owned();
    server.until_a_plugin_computes();
    assert_eq!(erase(&setup.data)["events"][0]["id"], id.as_str());
    until("it is processed", || event(&server, &id)["status"] != "queued");
    let now = event(&server, &id);
    assert_eq!((&now["status"], &now["reason"]["code"]), (&json!("quarantined"), &json!("erased")), "{now}");
    assert!(now["erased_at"].is_string() && tasks(&server) == 0 && !is_stored(&setup.data));
    // A restart does not bring it back either.
    server.stop();
    let server = setup.start();
    assert_eq!(event(&server, &id), now);
    assert!(!is_stored(&setup.data));
}

/// Otherwise a replay that began before the erasure would undo it.
#[test]
fn an_event_that_is_being_replayed_stays_erased() {
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    let setup = Setup::new().config(RELOADED).plugin("guest", LIMITS, &refuses);
    let server = setup.start();
    let id = post(&server, &[]).expect(422).header("x-event-id").to_owned();
    std::fs::write(setup.plugins.join("guest/mapper.wasm"), wat::parse_str(slow()).unwrap()).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    let refused = std::thread::scope(|scope| {
        let replay = scope.spawn(|| server.post(&format!("/v1/events/{id}/replay"), &json!({})));
        server.until_a_plugin_computes();
        assert_eq!(erase(&setup.data)["events"][0]["id"], id.as_str());
        replay.join().unwrap().expect(409)
    });
    assert!(refused.message().contains("erased"), "{}", refused.text);
    let now = event(&server, &id);
    assert!(now["erased_at"].is_string() && now["status"] == "quarantined", "{now}");
    assert!(tasks(&server) == 0 && !is_stored(&setup.data));
}

/// Otherwise each of two replays at once would create the tasks, whatever their callers do.
#[test]
fn of_two_replays_at_once_one_makes_the_tasks_and_both_are_audited() {
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    let setup = Setup::new().config(RELOADED).plugin("guest", "[limits]\ntime_ms = 60000\n", &refuses);
    let server = setup.start();
    let id = post(&server, &[]).expect(422).header("x-event-id").to_owned();
    std::fs::write(setup.plugins.join("guest/mapper.wasm"), wat::parse_str(slow()).unwrap()).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    let replies = std::thread::scope(|scope| {
        let replay = || server.post(&format!("/v1/events/{id}/replay"), &json!({}));
        let both = [scope.spawn(replay), scope.spawn(replay)];
        both.map(|it| it.join().unwrap())
    });
    let mut statuses = replies.each_ref().map(|it| it.status);
    statuses.sort_unstable();
    // The second one is refused, or comes after the first and leaves its task as it is.
    assert!(statuses == [200, 409] || statuses == [200, 200], "{statuses:?}");
    assert_eq!((tasks(&server), event(&server, &id)["task_ids"].as_array().unwrap().len()), (1, 1));
    let audit = server.get("/v1/admin/audit?limit=1000").expect(200).json();
    let replays = audit["data"].as_array().unwrap().iter().filter(|it| it["action"] == "event.replayed").count();
    assert_eq!(replays, 2);
}
