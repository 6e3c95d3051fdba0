//! A start without compiled artefacts: the server serves meanwhile, every plugin goes live whatever the others take, and
//! what was compiled is never compiled again.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guests;
mod harness;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guests::command;
use harness::{DEADLINE, Server, Setup, binary, task};
use serde_json::{Value, json};

/// A command that takes long to compile, different for each `salt`, and skips with the reason `done`.
fn large(salt: usize, functions: usize) -> String {
    let work = "(local.set $n (i32.add (i32.mul (local.get $n) (i32.const 3)) (i32.const 1)))".repeat(250);
    let functions: String = (0..functions)
        .map(|n| {
            format!("(func $f{n} (param $n i32) (result i32) (local.set $n (i32.const {salt})) {work} (local.get $n))")
        })
        .collect();
    command(&format!(
        r#"{functions} (data (i32.const 64) "{{\"skip\":\"done\"}}")
        (func (export "_start")
          (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 15))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#
    ))
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < 3 * DEADLINE, "not seen: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn ready(server: &Server) -> (u16, Value) {
    let reply = server.get("/readyz");
    (reply.status, reply.json())
}

fn live(server: &Server) -> usize {
    usize::try_from(ready(server).1["integrations"].as_u64().unwrap()).unwrap()
}

fn listed(setup: &Setup) -> Vec<Value> {
    let out = binary().args(["plugin", "list", "--json", "--data-dir"]).arg(&setup.data).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice::<Value>(&out.stdout).unwrap()["data"].as_array().unwrap().clone()
}

fn artefacts(data: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(data.join("artefacts")).into_iter().flatten().map(|it| it.unwrap().path());
    files.filter(|it| it.extension().is_some_and(|e| e == "artefact")).collect()
}

fn compiled(log: &str) -> usize {
    log.matches("a module is compiled").count()
}

/// How long this machine, as busy as it is, takes for one such module alone.
fn alone(functions: usize) -> Duration {
    let server = Setup::new().plugin("alone", "", &large(0, functions)).start();
    let log = server.stop();
    let line = log.lines().find(|it| it.contains("a module is compiled")).unwrap();
    let millis = line.split("millis=").nth(1).unwrap().split_whitespace().next().unwrap();
    Duration::from_millis(millis.parse().unwrap())
}

/// Twenty modules, each of which compiles within the limit alone, and none if they were all begun at once.
#[test]
fn many_large_modules_all_go_live_and_tasks_are_taken_meanwhile() {
    const MODULES: usize = 20;
    let limit = 6 * alone(300);
    let mut setup = Setup::new().config(&format!("[plugins]\ncompile_ms = {}\n", limit.as_millis()));
    for n in 0..MODULES {
        setup = setup.plugin(&format!("large-{n}"), "", &large(n, 300));
    }
    let server = setup.start_cold();
    let (status, body) = ready(&server);
    assert_eq!((status, &body["status"]), (503, &json!("loading")), "{body}");
    assert!(body["loading_plugins"].as_u64().unwrap() > 0, "{body}");
    server.post("/v1/tasks", &task()).expect(201);
    // Each folder is known from the start, and none of them is taken for one that is not there.
    let early = server.post(&format!("/v1/hooks/large-{}", MODULES - 1), &json!({})).expect(503);
    assert_eq!((early.code().as_str(), early.header("retry-after")), ("plugin_loading", "1"));
    assert_eq!(early.header("x-event-id"), "", "nothing is stored");
    server.post("/v1/hooks/not-there", &json!({})).expect(404);
    assert!(listed(&setup).iter().any(|it| it["state"] == "loading"));
    until("each plugin live", || live(&server) == MODULES);
    until("ready", || ready(&server).0 == 200);
    let (_, body) = ready(&server);
    assert_eq!([&body["status"], &body["loading_plugins"]], [&json!("ready"), &json!(0)]);
    for n in 0..MODULES {
        server.post(&format!("/v1/hooks/large-{n}"), &json!({})).expect(200);
    }
    assert!(server.get("/v1/events?status=quarantined").expect(200).json()["data"].as_array().unwrap().is_empty());
}

/// The first plugins serve while the others are still being compiled.
#[test]
fn a_plugin_goes_live_when_it_is_loaded_and_waits_for_no_other() {
    let setup = Setup::new().plugin("a-small", "", &large(1, 1)).plugin("z-large", "", &large(2, 4000));
    let server = setup.start_cold();
    until("the small one", || server.post("/v1/hooks/a-small", &json!({})).status == 200);
    let (status, body) = ready(&server);
    assert_eq!((status, &body["loading_plugins"]), (503, &json!(1)), "{body}");
    assert_eq!(setup.ready(&server).json()["names"]["loading_plugins"], json!(["z-large"]));
}

/// As many shadows as are loaded at a time kept all other plugins from being loaded.
#[test]
fn plugins_do_not_wait_for_the_shadows_of_others() {
    const PLUGINS: usize = 20;
    let mut setup = Setup::new().plugin("next", "", &large(2, 4000));
    std::fs::rename(setup.plugins.join("next"), setup.plugins.join(".next")).unwrap();
    for n in 0..PLUGINS {
        let manifest = "shadow = \"../.next\"\n[auth]\nscheme = \"api-key\"\n";
        setup = setup.plugin(&format!("guest-{n:02}"), manifest, &large(1, 1));
    }
    let server = setup.start_cold();
    until("each plugin live", || live(&server) == PLUGINS);
    assert_eq!(ready(&server).1["loading_plugins"], json!(0));
    server.get("/v1/admin/plugins/guest-00/shadow").expect(404);
}

#[test]
fn identical_modules_are_compiled_once() {
    let mut setup = Setup::new();
    let wat = large(7, 100);
    for n in 0..30 {
        setup = setup.plugin(&format!("copy-{n}"), "", &wat);
    }
    let server = setup.start();
    assert_eq!(live(&server), 30);
    let log = server.stop();
    assert_eq!((compiled(&log), artefacts(&setup.data).len()), (1, 1), "{log}");
}

/// A module that is too slow for the limit is refused, and goes live when it has been compiled all the same.
#[test]
fn a_late_result_is_taken_without_another_change_in_the_folder() {
    for cache in [true, false] {
        let config = "[plugins]\ncompile_ms = 1\nwatch = false\nsettle_ms = 0\n";
        let setup = Setup::new().config(config).plugin("late", "", &large(3, 1000));
        if !cache {
            // A directory that others can write to is not used.
            use std::os::unix::fs::PermissionsExt as _;
            let dir = setup.data.join("artefacts");
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
        }
        let server = setup.start();
        until("the late one", || live(&server) == 1);
        server.post("/v1/hooks/late", &json!({})).expect(200);
        assert_eq!(ready(&server).1["refused_plugins"], json!(0));
        let log = server.stop();
        assert!(log.contains("plugins.compile_ms"), "it was not late: {log}");
        assert_eq!(compiled(&log), 1);
    }
}

/// A start that is killed before its end leaves the next one less to do.
#[test]
fn a_cold_start_that_was_cut_off_does_not_begin_from_zero() {
    const MODULES: usize = 8;
    let mut setup = Setup::new();
    for n in 0..MODULES {
        setup = setup.plugin(&format!("large-{n}"), "", &large(100 + n, 300));
    }
    let mut server = setup.start_cold();
    until("an artefact", || !artefacts(&setup.data).is_empty());
    server.child.kill().unwrap();
    server.wait();
    let kept = artefacts(&setup.data).len();
    let server = setup.start();
    assert_eq!(live(&server), MODULES);
    assert_eq!(compiled(&server.stop()), MODULES - kept);
}

/// What waited when the server was killed waits for its plugin, however long that is compiled.
#[test]
fn queued_events_wait_for_a_plugin_that_is_being_loaded() {
    let loops = command("(func (export \"_start\") (loop (br 0)))");
    let limits = "[limits]\ntime_ms = 60000\nconcurrency = 1\n";
    let setup = Setup::new().plugin("guest", limits, &loops);
    let mut server = setup.start();
    let send = || server.send("POST", "/v1/hooks/guest", &[("prefer", "respond-async")], b"{}").expect(202);
    let waiting: Vec<_> = (0..3).map(|_| send()).collect();
    server.child.kill().unwrap();
    server.wait();
    let setup = setup.plugin("guest", limits, &large(5, 1000));
    let server = setup.start_cold();
    assert_eq!(ready(&server).1["status"], "loading");
    let replay = server.post(&format!("{}/replay", waiting[0].header("location")), &json!({}));
    assert_eq!(replay.expect(503).code(), "plugin_loading");
    for reply in &waiting {
        let event = || server.get(reply.header("location")).expect(200).json();
        until("its end", || event()["status"] != "queued");
        assert_eq!(event()["status"], "skipped", "{}", event());
    }
}
