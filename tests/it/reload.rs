//! Plugin folders that are added, changed, broken and removed while the server runs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::guests::{command, component, says};
use crate::harness;
use crate::harness::{Server, Setup, in_time, task, until};

/// Quicker than an admin copies files; the tests wait for what happens, not for this.
const SETTLE: &str = "[plugins]\nsettle_ms = 100\n";

fn skips(reason: &str) -> String {
    says(&json!({ "skip": reason }).to_string())
}

fn reason(server: &Server) -> Option<String> {
    let reply = server.post("/v1/hooks/guest", &json!({}));
    (reply.status == 200).then(|| reply.json()["reason"].as_str().unwrap().to_owned())
}

fn plugins(server: &Server, setup: &Setup) -> Vec<Value> {
    let out = harness::binary().args(["plugin", "list", "--json", "--data-dir"]).arg(&setup.data).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let listed: Value = serde_json::from_slice(&out.stdout).unwrap();
    // A key of the plugins' company sees the live ones as well.
    let own = server.get("/v1/admin/plugins").expect(200).json();
    let live = |it: &&Value| it["state"] != "refused";
    let listed = listed["data"].as_array().unwrap().clone();
    assert_eq!(listed.iter().filter(live).count(), own["data"].as_array().unwrap().len());
    listed
}

fn state(server: &Server, setup: &Setup) -> Option<(String, String)> {
    let all = plugins(server, setup);
    let it = all.iter().find(|it| it["name"] == "guest")?;
    Some((it["state"].as_str().unwrap().into(), it["message"].as_str().unwrap_or_default().into()))
}

#[test]
fn a_folder_goes_live_is_changed_broken_repaired_and_removed_without_a_restart() {
    let setup = Setup::new().config(SETTLE);
    let server = setup.start();
    assert_eq!(reason(&server), None);
    let setup = setup.plugin("guest", "", &skips("one"));
    until("the new folder", || reason(&server).as_deref() == Some("one"));
    let setup = setup.plugin("guest", "", &skips("two"));
    until("the new module", || reason(&server).as_deref() == Some("two"));
    let module = setup.plugins.join("guest/mapper.wasm");
    std::fs::write(&module, b"\0asm\x01\0\0\0broken").unwrap();
    until("the refusal", || state(&server, &setup).is_some_and(|(state, _)| state == "outdated"));
    let (_, message) = state(&server, &setup).unwrap();
    assert!(message.contains("mapper.wasm") && message.contains("cannot be compiled"), "{message}");
    assert_eq!(reason(&server).as_deref(), Some("two"), "the good version stays live");
    assert_eq!(setup.ready(&server).expect(200).json()["names"]["refused_plugins"], json!(["guest"]));
    let setup = setup.plugin("guest", "", &skips("three"));
    until("the fixed module", || reason(&server).as_deref() == Some("three"));
    assert_eq!(state(&server, &setup).unwrap(), ("live".into(), String::new()));
    std::fs::remove_dir_all(setup.plugins.join("guest")).unwrap();
    until("the removal", || reason(&server).is_none());
    assert_eq!(state(&server, &setup), None);
}

#[test]
fn a_version_that_fails_its_fixtures_never_goes_live() {
    let setup = Setup::new().config(SETTLE).plugin("guest", "", &skips("one"));
    let folder = setup.plugins.join("guest/fixtures");
    std::fs::create_dir(&folder).unwrap();
    let fixture =
        json!({"name": "one", "received_at": "2026-11-24T08:00:00Z", "payload": {}, "expect": {"skip": "one"}});
    std::fs::write(folder.join("one.json"), fixture.to_string()).unwrap();
    let server = setup.start();
    assert_eq!(reason(&server).as_deref(), Some("one"));
    let setup = setup.plugin("guest", "", &skips("two"));
    until("the refusal", || state(&server, &setup).is_some_and(|(state, _)| state == "outdated"));
    assert!(state(&server, &setup).unwrap().1.contains("fixtures/one.json: the fixture failed"));
    assert_eq!(reason(&server).as_deref(), Some("one"));
    // The fixture is what was wrong.
    std::fs::write(folder.join("one.json"), fixture.to_string().replace("\"skip\":\"one\"", "\"skip\":\"two\""))
        .unwrap();
    until("the fixed fixture", || reason(&server).as_deref() == Some("two"));
}

/// Copying takes time. What is there in the middle of it is neither loaded nor complained of.
#[test]
fn a_folder_that_is_still_being_copied_is_waited_for() {
    let setup = Setup::new().config("[plugins]\nsettle_ms = 2000\n");
    let server = setup.start();
    let made = Setup::new().plugin("guest", "", &skips("whole"));
    let (from, to) = (made.plugins.join("guest"), setup.plugins.join("guest"));
    std::fs::create_dir(&to).unwrap();
    for name in ["plugin.toml", "input.schema.json"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let bytes = std::fs::read(from.join("mapper.wasm")).unwrap();
    for end in (1..=12).map(|part| bytes.len() * part / 12) {
        std::fs::write(to.join("mapper.wasm"), &bytes[..end]).unwrap();
        assert_eq!(state(&server, &setup), None, "half a module was tried");
    }
    until("the whole folder", || reason(&server).as_deref() == Some("whole"));
    let log = server.stop();
    assert!(!log.contains("plugin refused"), "{log}");
}

#[test]
fn calls_under_way_end_on_the_version_that_they_began_with() {
    // A second or more of counting, so that the swap comes in the middle of it.
    let slow = |text: &str| {
        let count = "(local $n i64) (loop (local.set $n (i64.add (local.get $n) (i64.const 1))) (br_if 0 (i64.lt_u (local.get $n) (i64.const 1500000000))))";
        skips(text).replace("(func (export \"_start\")", &format!("(func (export \"_start\") {count}"))
    };
    let limits = "[limits]\ntime_ms = 60000\n";
    // Long enough for all four to have come, and shorter than they take.
    let setup = Setup::new().config("[plugins]\nsettle_ms = 1000\n").plugin("guest", limits, &slow("old"));
    let server = setup.start();
    std::thread::scope(|scope| {
        let before: Vec<_> = (0..4).map(|_| scope.spawn(|| reason(&server))).collect();
        setup_again(&setup.plugins, &skips("new"));
        until("the new version", || reason(&server).as_deref() == Some("new"));
        let before: Vec<_> = before.into_iter().map(|it| it.join().unwrap()).collect();
        assert!(before.iter().all(|it| it.as_deref() == Some("old")), "{before:?}");
    });
}

fn setup_again(plugins: &Path, wat: &str) {
    std::fs::write(plugins.join("guest/mapper.wasm"), wat::parse_str(wat).unwrap()).unwrap();
}

#[test]
fn a_folder_whose_manifest_comes_last_is_noticed() {
    let setup = Setup::new().config(SETTLE);
    let server = setup.start();
    let made = Setup::new().plugin("guest", "", &skips("whole"));
    let (from, to) = (made.plugins.join("guest"), setup.plugins.join("guest"));
    std::fs::create_dir(&to).unwrap();
    let copy = |name: &str| std::fs::copy(from.join(name), to.join(name)).unwrap();
    copy("mapper.wasm");
    copy("input.schema.json");
    // Two passes have found the folder missing.
    for _ in 0..2 {
        server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    }
    copy("plugin.toml");
    until("the whole folder", || reason(&server).as_deref() == Some("whole"));
}

/// For mounts that tell nothing of changes.
#[test]
fn without_notifications_a_request_or_sighup_reloads() {
    let setup = Setup::new().config("[plugins]\nwatch = false\nsettle_ms = 50\n");
    let server = setup.start();
    let setup = setup.plugin("guest", "", &skips("one")).plugin("bad", "nonsense = 1\n", &skips("one"));
    assert_eq!(reason(&server), None);
    let pass = server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json();
    assert_eq!(pass["loaded"], json!(["guest"]));
    // Why, the operator sees (below): no version of it is live for this key's company.
    assert_eq!(pass["refused"]["bad"], "refused; the operator sees why");
    assert_eq!(reason(&server).as_deref(), Some("one"));
    setup_again(&setup.plugins, &skips("two"));
    server.signal("HUP");
    until("SIGHUP", || reason(&server).as_deref() == Some("two"));
    let out = harness::binary().args(["plugin", "reload", "--data-dir"]).arg(&setup.data).output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    // What is refused is tried again, as its secret may be there by now.
    assert!(
        said.contains("unchanged: guest") && said.contains("refused: bad: ") && said.contains("nonsense"),
        "{said}"
    );
    assert_eq!(out.status.code(), Some(1));
    let reader = setup.key("company-1", &["tasks:read"]);
    let reply = server.send_as("POST", "/v1/admin/plugins/reload", &[("x-api-key", &reader)], b"{}");
    assert_eq!(reply.expect(403).code(), "scope_missing");
}

#[test]
fn the_list_says_what_a_plugin_is_and_how_its_calls_go() {
    let setup = Setup::new()
        .plugin("guest", "[limits]\ntime_ms = 30\n", &command("(func (export \"_start\") (loop (br 0)))"))
        .plugin("other", "", &component(""));
    let server = setup.start();
    server.post("/v1/hooks/guest", &json!({"secret": "patient-4711"})).expect(502);
    for _ in 0..3 {
        server.post("/v1/hooks/other", &task()).expect(200);
    }
    let all = plugins(&server, &setup);
    let of = |name: &str| all.iter().find(|it| it["name"] == name).unwrap().clone();
    let (guest, other) = (of("guest"), of("other"));
    assert_eq!((&guest["abi"], &other["abi"]), (&json!("command"), &json!("component")));
    assert_eq!(guest["limits"]["time_ms"], 30);
    assert_eq!(guest["calls"]["failures"], 1);
    assert_eq!(guest["calls"]["last_error"]["code"], "plugin_deadline");
    assert!(guest["imports"].as_array().unwrap().contains(&json!("wasi_snapshot_preview1.fd_write")));
    assert_eq!((&other["calls"]["calls"], &other["calls"]["failures"]), (&json!(3), &json!(0)));
    assert!(other["calls"]["p50_us"].as_u64().unwrap() > 0);
    assert!(!all.iter().any(|it| it.to_string().contains("4711")), "a payload got into the list");
    let stranger = setup.key("company-2", &["admin"]);
    let theirs = server.send_as("GET", "/v1/admin/plugins", &[("x-api-key", &stranger)], b"").expect(200).json();
    assert_eq!(theirs["data"], json!([]));
}

/// A pipe would be waited for, and with it every other plugin's change.
#[test]
fn an_entry_that_is_not_a_file_is_refused_and_delays_nothing() {
    let setup = Setup::new().config(SETTLE).plugin("pipe", "", &skips("x"));
    for name in ["mapper.wasm", "input.schema.json"] {
        let file = setup.plugins.join("pipe").join(name);
        std::fs::remove_file(&file).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    }
    let server = setup.start();
    assert_eq!(setup.ready(&server).expect(200).json()["names"]["refused_plugins"], json!(["pipe"]));
    setup.plugin("guest", "", &skips("one"));
    until("another plugin", || reason(&server).as_deref() == Some("one"));
}

/// One folder that never rests keeps nobody else from going live.
#[test]
fn a_folder_that_does_not_stop_changing_holds_up_itself_alone() {
    let setup = Setup::new().config(SETTLE).plugin("restless", "", &skips("x"));
    let server = setup.start();
    let (stop, log) = (AtomicBool::new(false), setup.plugins.join("restless/mapper.log"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0_u64.. {
                std::fs::write(&log, n.to_string()).unwrap();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        drop(setup.plugin("guest", "", &skips("one")));
        let live = in_time(|| reason(&server).as_deref() == Some("one"));
        // A pass may see the folder at rest if the writer waits for the processor.
        let held_up = in_time(|| {
            let pass = server.post("/v1/admin/plugins/reload", &json!({})).json();
            (&pass["changing"], &pass["unchanged"]) == (&json!(["restless"]), &json!(["guest"]))
        });
        // Before anything fails: it ends the writer.
        stop.store(true, Ordering::Relaxed);
        assert!(live, "the folder at rest is not live");
        assert!(held_up, "no pass says that the folder is still changing");
    });
}

/// As `rm -r` and `cp -r` do it: what is away for a moment only is never taken down.
#[test]
fn a_folder_that_is_replaced_is_live_all_the_time() {
    let setup = Setup::new().config("[plugins]\nsettle_ms = 2000\n").plugin("guest", "", &skips("one"));
    let server = setup.start();
    let (folder, aside) = (setup.plugins.join("guest"), setup.plugins.join(".aside"));
    std::fs::rename(&folder, &aside).unwrap();
    // Longer than the notification takes: a pass has seen that it is away.
    for _ in 0..5 {
        assert_eq!(reason(&server).as_deref(), Some("one"));
        assert_eq!(state(&server, &setup).map(|(state, _)| state).as_deref(), Some("live"));
    }
    drop(setup.plugin("guest", "", &skips("two")));
    until("the one in its place", || match reason(&server).as_deref() {
        Some("two") => true,
        Some("one") => false,
        other => panic!("{other:?}"),
    });
}

#[test]
fn a_refused_folder_that_is_deleted_is_no_longer_named() {
    let setup =
        Setup::new().config("[plugins]\nwatch = false\nsettle_ms = 50\n").plugin("bad", "nonsense = 1\n", &skips("x"));
    let server = setup.start();
    let refused = || setup.ready(&server).expect(200).json()["names"]["refused_plugins"].clone();
    assert_eq!(refused(), json!(["bad"]));
    std::fs::remove_dir_all(setup.plugins.join("bad")).unwrap();
    let pass = server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json();
    assert_eq!((&pass["removed"], refused()), (&json!(["bad"]), json!([])));
}
