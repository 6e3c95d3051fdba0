//! A shadow next to the live plugin, on live deliveries.

use std::process::Output;

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness;
use crate::harness::{Server, Setup, in_time, task};

const RELOADED: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n";
const SHADOWED: &str = "shadow = \"../.guest-next\"\n[auth]\nscheme = \"api-key\"\n";

fn makes(title: &str) -> String {
    let mut task = task();
    task["title"] = title.into();
    says(&task.to_string())
}

fn shadowed(live: &str, shadow: &str) -> Setup {
    // The candidate's own name does not matter: it gets the live one's name.
    Setup::new().config(RELOADED).plugin("guest", SHADOWED, live).plugin(".guest-next", "", shadow)
}

fn guest_next(setup: Setup, wat: &str) -> Setup {
    let setup = setup.plugin(".guest-next", "", wat);
    let manifest = setup.plugins.join(".guest-next/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(manifest, text.replace("\".guest-next\"", "\"guest\"")).unwrap();
    setup
}

fn cli(setup: &Setup, args: &[&str]) -> Output {
    harness::binary().args(["plugin", "--json"]).args(args).arg("--data-dir").arg(&setup.data).output().unwrap()
}

fn report(server: &Server) -> Value {
    server.get("/v1/admin/plugins/guest/shadow").expect(200).json()
}

/// The report as soon as it has seen, or missed, so many.
#[track_caller]
fn seen(server: &Server, events: u64) -> Value {
    let mut latest = Value::Null;
    let complete = in_time(|| {
        latest = report(server);
        latest["events"].as_u64().unwrap() + latest["dropped"].as_u64().unwrap() == events
    });
    assert!(complete, "not {events}: {latest}");
    latest
}

#[test]
fn a_candidate_sees_every_delivery_and_stores_nothing() {
    let setup = guest_next(shadowed(&makes("live"), &makes("next")), &makes("next"));
    let server = setup.start();
    server.post("/v1/hooks/guest", &json!({"n": 1})).expect(201);
    server.send("POST", "/v1/hooks/guest", &[("prefer", "respond-async")], b"{\"n\":2}").expect(202);
    // What was not run says nothing.
    server.send_as("POST", "/v1/hooks/guest", &[("x-api-key", "nonsense")], b"{}").expect(401);
    let quarantined = server.send("POST", "/v1/hooks/guest", &[], b"{");
    assert_eq!(quarantined.status, 400);
    let report = seen(&server, 3);
    assert_eq!([&report["changed"], &report["same"], &report["dropped"]], [2, 1, 0], "{report}");
    let field = &report["fields"]["/tasks/0/title"];
    assert_eq!([&field["before"], &field["after"], &field["events"]], [&json!("live"), &json!("next"), &json!(2)]);
    let tasks = server.get("/v1/tasks").expect(200).json();
    let titles: Vec<&Value> = tasks["data"].as_array().unwrap().iter().map(|it| &it["title"]).collect();
    assert_eq!(titles, ["live", "live"]);

    let hidden = server.get("/v1/admin/plugins/guest/shadow?values=false").expect(200).json().to_string();
    assert!(!hidden.contains("\"live\"") && !hidden.contains("\"next\""), "{hidden}");
    let listed = server.get("/v1/admin/plugins").expect(200).json()["data"][0]["shadow"].clone();
    assert_eq!([&listed["state"], &listed["changed"]], [&json!("running"), &json!(2)]);
    let out = cli(&setup, &["shadow", "guest"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));

    // The counts of a changed shadow start again at zero; it fails here, and the report says so.
    let setup = guest_next(setup, &command("(func (export \"_start\") (call $exit (i32.const 1)))"));
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    let again = server.post("/v1/hooks/guest", &json!({"n": 3})).expect(201);
    let report = seen(&server, 1);
    assert_eq!(report["newly_failing"], 1, "{report}");
    assert_eq!(report["samples"][0]["event_id"], again.header("x-event-id"));
    assert_eq!(cli(&setup, &["shadow", "guest"]).status.code(), Some(1));
}

#[test]
fn another_company_sees_nothing_of_it() {
    let setup = guest_next(shadowed(&makes("live"), &makes("next")), &makes("next"));
    let server = setup.start();
    let key = setup.key("company-2", &["admin"]);
    let path = "/v1/admin/plugins/guest/shadow";
    server.get(path).expect(200);
    server.send_as("GET", path, &[("x-api-key", &key)], b"").expect(404);
    server.get("/v1/admin/plugins/other/shadow").expect(404);
}

#[test]
fn a_candidate_that_cannot_be_loaded_takes_nothing_down() {
    let setup = shadowed(&makes("live"), &makes("next"));
    std::fs::write(setup.plugins.join(".guest-next/mapper.wasm"), b"nothing").unwrap();
    let setup = setup.plugin("guest", SHADOWED, &makes("live"));
    let server = setup.start();
    server.post("/v1/hooks/guest", &json!({})).expect(201);
    let listed = server.get("/v1/admin/plugins").expect(200).json()["data"][0].clone();
    assert_eq!([&listed["state"], &listed["shadow"]["state"]], ["live", "refused"], "{listed}");
    assert_eq!(server.get("/v1/admin/plugins/guest/shadow").status, 409);
    // After the fix, it runs.
    let setup = guest_next(setup, &makes("next"));
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    server.post("/v1/hooks/guest", &json!({})).expect(201);
    assert_eq!(seen(&server, 1)["changed"], 1);
    drop(setup);
}

#[test]
fn a_candidate_that_loops_delays_no_delivery() {
    let loops = command("(func (export \"_start\") (loop $on (br $on)))");
    let setup = guest_next(shadowed(&makes("live"), &makes("next")), &loops);
    let manifest = setup.plugins.join(".guest-next/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(manifest, format!("{text}[limits]\ntime_ms = 60000\n")).unwrap();
    let server = setup.start();
    // It hangs in the first of them all the while.
    for n in 0..100 {
        server.post("/v1/hooks/guest", &json!({ "n": n })).expect(201);
    }
    let report = report(&server);
    assert_eq!(report["events"], 0);
    assert!(report["dropped"].as_u64().unwrap() >= 30, "{report}");
    // Neither does one that is replaced in the middle of its call, with the live plugin.
    let setup = setup.plugin("guest", SHADOWED, &makes("newer"));
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    assert_eq!(server.post("/v1/hooks/guest", &json!({})).expect(201).json()["title"], "newer");
    server.stop();
    drop(setup);
}

/// The candidate's thread is in a call all the while: what it has published, what it is at and what waits for it is not
/// shown any more, from the moment of the erasure.
#[test]
fn an_erasure_takes_everything_out_of_the_report_at_once_whatever_the_shadow_is_doing() {
    let read = r#"(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)"#;
    let look = r#"(func (export "_start")
        (i32.store (i32.const 32) (i32.const 32768)) (i32.store (i32.const 36) (i32.const 30000))
        (drop (call $read (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 40)))
        (if (i32.ge_u (i32.load (i32.const 40)) (i32.const 200)) (then (loop (br 0))))"#;
    let next = makes("next").replace("(memory (export \"memory\") 1)", read);
    let next = next.replace("(func (export \"_start\")", look);
    let setup = guest_next(shadowed(&makes("live-title"), &next), &next);
    let manifest = setup.plugins.join(".guest-next/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(manifest, format!("{text}[limits]\ntime_ms = 4000\n")).unwrap();
    let server = setup.start();
    let shown = |report: &Value| report.to_string().contains("live-title") || report["samples"] != json!([]);
    server.post("/v1/hooks/guest", &json!({"n": 1})).expect(201);
    assert!(shown(&seen(&server, 1)));
    server.post("/v1/hooks/guest", &json!({"long": "x".repeat(300)})).expect(201);
    server.post("/v1/hooks/guest", &json!({"n": 3})).expect(201);
    server.post("/v1/events/erase", &json!({"patient_id": "p-1"})).expect(200);
    let at_once = report(&server);
    assert!(!shown(&at_once) && at_once["events"] == 1, "{at_once}");
    // The call ends, and what waited would have been next.
    let later = seen(&server, 3);
    assert!(!shown(&later) && later["dropped"] == 2, "{later}");
    // What comes afterwards is shown.
    let after = server.post("/v1/hooks/guest", &json!({"n": 4})).expect(201);
    let report = seen(&server, 4);
    assert_eq!(report["samples"][0]["event_id"], after.header("x-event-id"), "{report}");
}
