//! A plugin that is not live, over stored events: which results would differ.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness;
use crate::harness::{Server, Setup, task};

const RELOADED: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n[store]\nsegment_mib = 1\n";

fn refuses() -> String {
    command("(func (export \"_start\") (call $exit (i32.const 1)))")
}

fn makes(title: &str) -> String {
    let mut task = task();
    task["title"] = title.into();
    says(&task.to_string())
}

/// A folder next to the plugins, with the live one's files and another module.
fn candidate(setup: &Setup, wat: &str) -> PathBuf {
    let dir = setup.plugins.parent().unwrap().join("next/guest");
    std::fs::create_dir_all(&dir).unwrap();
    for file in ["plugin.toml", "input.schema.json"] {
        std::fs::copy(setup.plugins.join("guest").join(file), dir.join(file)).unwrap();
    }
    std::fs::write(dir.join("mapper.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    dir
}

fn schema(dir: &Path, rest: &str) {
    let text = format!(r#"{{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",{rest}}}"#);
    std::fs::write(dir.join("input.schema.json"), text).unwrap();
}

/// Exit code, report, and what was said on stderr.
fn diff(setup: &Setup, dir: &Path, extra: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = harness::binary();
    command.args(["plugin", "diff", "--json", "--data-dir"]).arg(&setup.data).arg(dir).args(extra);
    let out = command.output().unwrap();
    let report = serde_json::from_slice(&out.stdout).unwrap_or_default();
    (out.status.code(), report, String::from_utf8(out.stderr).unwrap())
}

/// What people read.
fn printed(setup: &Setup, dir: &Path, extra: &[&str]) -> String {
    let mut command = harness::binary();
    command.args(["plugin", "diff", "--data-dir"]).arg(&setup.data).arg(dir).args(extra);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn counts(report: &Value) -> [u64; 5] {
    ["events", "same", "changed", "newly_failing", "newly_passing"].map(|it| report[it].as_u64().unwrap())
}

fn send(server: &Server, body: &Value) -> String {
    server.post("/v1/hooks/guest", body).header("x-event-id").to_owned()
}

fn reload(setup: &Setup, server: &Server, wat: &str) {
    std::fs::write(setup.plugins.join("guest/mapper.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
}

#[test]
fn a_candidate_is_compared_with_the_result_of_each_event() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "", &makes("first")).plugin("other", "", &makes("x"));
    let server = setup.start();
    let stored: Vec<String> = (0..3).map(|n| send(&server, &json!({ "n": n }))).collect();
    let text = send(&server, &json!({"n": "text"}));
    server.post("/v1/hooks/other", &json!({"n": 9})).expect(201);
    server.post("/v1/tasks", &task()).expect(201);
    server.send_as("POST", "/v1/hooks/guest", &[("x-api-key", "nonsense")], b"{}").expect(401);
    reload(&setup, &server, &refuses());
    let refused = send(&server, &json!({"n": 4}));

    let same = candidate(&setup, &makes("first"));
    let (code, report, _) = diff(&setup, &same, &[]);
    assert_eq!((code, counts(&report)), (Some(0), [5, 4, 0, 0, 1]), "{report}");
    assert_eq!((&report["not_run"], &report["versions"]), (&json!({"rejected": 1}), &json!({"1": 5})));
    assert_eq!(report["samples"][0]["event_id"], json!(refused));
    let limits = report["limits"].as_array().unwrap();
    assert!(limits.iter().any(|it| it["name"] == "memory_mib" && it["used"] == 65536), "{report}");

    let renamed = candidate(&setup, &makes("second"));
    let (code, report, said) = diff(&setup, &renamed, &[]);
    assert_eq!((code, counts(&report)), (Some(1), [5, 0, 4, 0, 1]));
    assert!(said.contains("4 of 5 events have a different result"), "{said}");
    let field = &report["fields"]["/tasks/0/title"];
    assert_eq!((&field["events"], &field["before"], &field["after"]), (&json!(4), &json!("first"), &json!("second")));
    assert_eq!(report["fields"].as_object().unwrap().len(), 1);
    assert_eq!(diff(&setup, &renamed, &["--allow-changed"]).0, Some(0));
    let (_, report, _) = diff(&setup, &renamed, &["--no-values", "--samples", "2"]);
    assert!(!report.to_string().contains("\"second\"") && report["fields"]["/tasks/0/title"]["events"] == 4);
    let shown = printed(&setup, &renamed, &["--no-values"]);
    assert!(shown.contains("/tasks/0/title, as in ") && !shown.contains("nothing") && !shown.contains('→'), "{shown}");
    let sampled: Vec<&Value> = report["samples"].as_array().unwrap().iter().map(|it| &it["event_id"]).collect();
    assert_eq!(sampled, [&stored[0], &stored[1]]);
    // A schema violation is reported with its place.
    schema(&renamed, r#""required":["n"],"properties":{"n":{"type":"integer"}}"#);
    let (code, report, said) = diff(&setup, &renamed, &["--allow-changed"]);
    assert_eq!((code, counts(&report)), (Some(1), [5, 0, 3, 1, 1]), "{report}");
    assert!(said.contains("1 of 5 events passed before and fail now"), "{said}");
    let why = &report["failures"]["schema type at /n"];
    assert_eq!((&why["events"], &why["example"]), (&json!(1), &json!(text)));
    // Both are run now, whatever came of the events then.
    let same = candidate(&setup, &makes("first"));
    let live = setup.plugins.join("guest");
    let (code, report, _) = diff(&setup, &same, &["--against", live.to_str().unwrap()]);
    assert_eq!((code, counts(&report)), (Some(0), [5, 0, 0, 0, 5]), "{report}");

    let page = server.get("/v1/events?integration=guest&status=stored").expect(200).json();
    let at = page["data"][0]["received_at"].as_str().unwrap();
    assert_eq!(diff(&setup, &same, &["--since", at]).1["events"], 2);
    assert_eq!(diff(&setup, &same, &["--until", at]).1["events"], 3);
    let (code, _, said) = diff(&setup, &same, &["--integration", "nobody"]);
    assert!(code == Some(1) && said.contains("there are no events of \"nobody\""), "{said}");
    assert_eq!(diff(&setup, &setup.data, &[]).0, Some(1));

    // The same through the API, for the operator only; and on a directory that no server holds.
    let lock: Value = serde_json::from_slice(&std::fs::read(setup.data.join("hookmill.lock")).unwrap()).unwrap();
    let operator = lock["operator_token"].as_str().unwrap();
    let asked = json!({ "dir": same }).to_string();
    let ask = |key: &str, body: &str| {
        server.send_as("POST", "/v1/admin/plugins/diff", &[("x-api-key", key)], body.as_bytes())
    };
    assert_eq!(counts(&ask(operator, &asked).expect(200).json()), [5, 4, 0, 0, 1]);
    assert_eq!(ask(harness::KEY, &asked).expect(403).code(), "scope_missing");
    for wrong in [r#"{"dir": "next"}"#, r#"{"dir": "/nowhere"}"#, r#"{"dirs": 1}"#] {
        ask(operator, wrong).expect(422);
    }
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 6, "nothing was stored");
    server.stop();
    assert_eq!(counts(&diff(&setup, &same, &[]).1), [5, 4, 0, 0, 1]);
}

/// Over many segments, with events that are stored in several of them.
#[test]
fn an_event_that_was_stored_again_is_run_once_as_it_is_now() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "", &refuses());
    let server = setup.start();
    let filler = "x".repeat(60_000);
    let sent: Vec<String> = (0..40).map(|n| send(&server, &json!({"n": n, "filler": filler}))).collect();
    reload(&setup, &server, &makes("first"));
    let replay = |id: &String, tasks: &str| {
        server.post(&format!("/v1/events/{id}/replay"), &json!({ "tasks": tasks })).expect(200);
    };
    sent[..20].iter().for_each(|id| replay(id, "leave"));
    let same = candidate(&setup, &makes("first"));
    let (_, report, _) = diff(&setup, &same, &[]);
    assert_eq!(counts(&report), [40, 20, 0, 0, 20], "{:.300}", report.to_string());
    // The tasks that it made are not known any more once a re-drive has changed them.
    reload(&setup, &server, &makes("second"));
    replay(&sent[0], "update");
    let (code, report, _) = diff(&setup, &same, &[]);
    assert_eq!((code, counts(&report), &report["uncompared"]), (Some(0), [40, 19, 0, 0, 20], &json!(1)));
    // While the server is killed and has sealed nothing more.
    drop(server);
    assert_eq!(counts(&diff(&setup, &same, &[]).1), [40, 19, 0, 0, 20]);
}
