//! Deliveries that are answered with 202 first and processed afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness;
use crate::harness::{KEY, Server, Setup, in_time, shipped_plugins, task, until};

fn events(server: &Server, query: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/events?limit=100&{query}{cursor}")).expect(200).json();
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        let Some(next) = page["pagination"]["next_cursor"].as_str() else { return all };
        cursor = format!("&cursor={next}");
    }
}

fn until_nothing_waits(server: &Server) {
    until("no event is queued", || events(server, "status=queued").is_empty());
}

/// A shipped plugin without its fixtures, with these lines before its manifest.
fn shipped(name: &str, manifest: &str) -> Setup {
    let setup = Setup::new();
    let (from, to) = (shipped_plugins().join(name), setup.plugins.join(name));
    std::fs::create_dir_all(&to).unwrap();
    for file in ["mapper.wasm", "input.schema.json"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
    let own = std::fs::read_to_string(from.join("plugin.toml")).unwrap();
    std::fs::write(to.join("plugin.toml"), format!("{manifest}{own}")).unwrap();
    setup
}

/// n8n-intake, whose tasks are named as the item says.
fn named(manifest: &str) -> Setup {
    shipped("n8n-intake", manifest)
}

#[test]
fn a_sender_who_prefers_it_is_answered_before_the_plugin_runs() {
    let setup = Setup::new().plugin("guest", "", &says(&task().to_string())).plugin(
        "refuses",
        "",
        &command("(func (export \"_start\") (call $exit (i32.const 1)))"),
    );
    let server = setup.start();
    let send = |name: &str, key: &str| {
        let headers =
            [("prefer", "respond-async, wait=10"), ("content-type", "application/json"), ("idempotency-key", key)];
        server.send("POST", &format!("/v1/hooks/{name}"), &headers, b"{}")
    };
    let reply = send("guest", "1").expect(202);
    let location = reply.header("location").to_owned();
    assert_eq!(reply.json(), json!({"event_id": reply.header("x-event-id"), "status": "queued"}));
    assert_eq!(
        (location.as_str(), reply.header("preference-applied")),
        (&*format!("/v1/events/{}", reply.header("x-event-id")), "respond-async")
    );
    let refused = send("refuses", "1").expect(202);
    until_nothing_waits(&server);
    let event = server.get(&location).expect(200).json();
    assert_eq!((&event["status"], event["stages"].as_array().unwrap().len()), (&json!("stored"), 4));
    server.get(&format!("/v1/tasks/{}", event["task_ids"][0].as_str().unwrap())).expect(200);
    let event = server.get(refused.header("location")).expect(200).json();
    assert_eq!((&event["status"], &event["reason"]["code"]), (&json!("quarantined"), &json!("plugin_refused")));
    // What came before is not queued again.
    let again = send("guest", "1").expect(200);
    assert_eq!((again.text, again.headers["idempotent-replayed"].as_bytes()), (reply.text, &b"true"[..]));
    until_nothing_waits(&server);
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 1);
}

#[test]
fn events_with_the_same_ordering_key_become_tasks_in_the_order_in_which_they_came() {
    let setup = named("mode = \"async\"\norder_by = \"/group\"\n");
    let server = setup.start();
    for n in 0..40 {
        for group in ["a", "b", "c"] {
            server
                .post("/v1/hooks/n8n-intake", &json!({"subject": format!("{group}-{n:02}"), "group": group}))
                .expect(202);
        }
    }
    until_nothing_waits(&server);
    let mut titles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for page in 1..=2 {
        for task in
            server.get(&format!("/v1/tasks?limit=100&page={page}")).expect(200).json()["data"].as_array().unwrap()
        {
            let title = task["title"].as_str().unwrap();
            titles.entry(title[..1].to_owned()).or_default().push(title.to_owned());
        }
    }
    for (group, titles) in titles {
        let expected: Vec<_> = (0..40).rev().map(|n| format!("{group}-{n:02}")).collect();
        assert_eq!(titles, expected, "newest first");
    }
}

#[test]
fn a_killed_server_loses_nothing_that_waited_and_does_nothing_twice() {
    let setup = named("mode = \"async\"\n");
    let mut acknowledged: BTreeSet<String> = BTreeSet::new();
    for round in 0..5 {
        let mut server = setup.start();
        let count = AtomicUsize::new(0);
        let heard: Vec<Vec<String>> = std::thread::scope(|scope| {
            let senders: Vec<_> = (0..4)
                .map(|sender| {
                    let (url, count) = (server.url.clone(), &count);
                    scope.spawn(move || {
                        let mut heard = Vec::new();
                        for n in 0.. {
                            let subject = format!("{round}-{sender}-{n}");
                            let sent = ureq::post(&format!("{url}/v1/hooks/n8n-intake"))
                                .header("x-api-key", KEY)
                                .send_json(json!({ "subject": subject }));
                            let Ok(mut reply) = sent else { break };
                            let Ok(body) = reply.body_mut().read_json::<Value>() else { break };
                            heard.push(body["event_id"].as_str().unwrap().to_owned());
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                        heard
                    })
                })
                .collect();
            let answered = in_time(|| count.load(Ordering::Relaxed) >= 150);
            // Before anything fails: it ends the senders.
            server.child.kill().unwrap();
            assert!(answered, "the server does not answer");
            senders.into_iter().map(|it| it.join().unwrap()).collect()
        });
        acknowledged.extend(heard.into_iter().flatten());
    }
    let server = setup.start();
    until_nothing_waits(&server);
    let all = events(&server, "");
    let stored: BTreeMap<_, _> = all.iter().map(|it| (it["id"].as_str().unwrap().to_owned(), it)).collect();
    assert_eq!(stored.len(), all.len());
    for id in &acknowledged {
        let event = stored.get(id).unwrap_or_else(|| panic!("{id} is lost"));
        assert_eq!((&event["status"], event["task_ids"].as_array().unwrap().len()), (&json!("stored"), 1), "{event}");
    }
    let tasks = server.get("/v1/tasks").expect(200).json()["pagination"]["total"].as_u64().unwrap();
    assert_eq!(tasks as usize, all.len(), "each event has made one task");
    assert!(acknowledged.len() >= 750);
}

/// The journal contains an event as it was received and with its result: the latter counts, also in closed segments.
#[test]
fn after_a_restart_an_event_has_its_last_state_and_the_store_is_intact() {
    let setup = named("mode = \"async\"\n").config("[store]\nsegment_mib = 1\n");
    let server = setup.start();
    let filler = "x".repeat(20_000);
    for n in 0..120 {
        server.post("/v1/hooks/n8n-intake", &json!({"subject": format!("{n}"), "filler": filler})).expect(202);
    }
    until_nothing_waits(&server);
    server.stop();
    let check = harness::binary().args(["store", "check", "--data-dir"]).arg(&setup.data).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    let server = setup.start();
    let all = events(&server, "");
    assert!(all.len() == 120 && all.iter().all(|it| it["status"] == "stored"), "{}", all.len());
    for event in &all {
        let one = server.get(&format!("/v1/events/{}", event["id"].as_str().unwrap())).expect(200).json();
        assert_eq!(one["status"], "stored");
    }
}

/// The delivery may be durable by then, and must be processed.
#[test]
fn a_delivery_whose_sender_hangs_up_at_once_is_processed() {
    let server = named("mode = \"async\"\n").start();
    let body = r#"{"subject": "Call back"}"#;
    let request = format!(
        "POST /v1/hooks/n8n-intake HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let address = server.url.trim_start_matches("http://");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for pause in 0..100 {
                    let mut stream = std::net::TcpStream::connect(address).unwrap();
                    stream.write_all(request.as_bytes()).unwrap();
                    // At another moment of what the server does, each time.
                    std::thread::sleep(Duration::from_micros(pause * 10));
                }
            });
        }
    });
    until_nothing_waits(&server);
}

#[test]
fn a_full_queue_and_a_missing_plugin_have_their_own_errors() {
    let looping = command("(func (export \"_start\") (loop (br 0)))");
    let setup = Setup::new().config("[limits]\nqueue = 4\n[plugins]\nwatch = false\nsettle_ms = 0\n").plugin(
        "guest",
        "[limits]\ntime_ms = 60000\nconcurrency = 1\n",
        &looping,
    );
    let server = setup.start();
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    let send = |server: &Server| server.send("POST", "/v1/hooks/guest", &headers, b"{}");
    let waiting = [send(&server).expect(202), send(&server).expect(202)];
    assert_eq!(send(&server).expect(503).code(), "integration_busy");
    drop(server);
    std::fs::remove_dir_all(setup.plugins.join("guest")).unwrap();
    let server = setup.start();
    until_nothing_waits(&server);
    for reply in waiting {
        let event = server.get(reply.header("location")).expect(200).json();
        assert_eq!(
            (&event["status"], &event["reason"]["code"]),
            (&json!("quarantined"), &json!("unknown_integration"))
        );
    }
}

/// Of ten thousand deliveries every hundredth is bad, in one of three ways.
#[test]
fn of_ten_thousand_deliveries_none_is_lost_and_each_bad_one_waits_with_its_reason() {
    const SENDERS: usize = 8;
    let setup = shipped("calendly", "mode = \"async\"\n");
    let fixture = std::fs::read_to_string(shipped_plugins().join("calendly/fixtures/created.json")).unwrap();
    let good = serde_json::from_str::<Value>(&fixture).unwrap()["payload"].to_string();
    let server = setup.start();
    let body = |n: usize| match (n % 100, n / 100 % 3) {
        (0, 0) => "{".to_owned(),
        (0, 1) => "{\"event\": 1}".into(),
        (0, _) => good.replace("invitee.created", "something.else"),
        _ => good.clone(),
    };
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (url, body) = (&server.url, &body);
            scope.spawn(move || {
                let agent = ureq::Agent::new_with_defaults();
                for n in (sender..10_000).step_by(SENDERS) {
                    let request = agent.post(&format!("{url}/v1/hooks/calendly")).header("x-api-key", KEY);
                    let reply = request.header("content-type", "application/json").send(body(n)).unwrap();
                    assert_eq!(reply.status().as_u16(), 202);
                }
            });
        }
    });
    until_nothing_waits(&server);
    let count = |query: &str| events(&server, query).len();
    assert_eq!(count(""), 10_000);
    assert_eq!([count("status=stored"), count("status=quarantined"), count("status=skipped")], [9_900, 67, 33]);
    assert_eq!([count("reason=malformed_json"), count("reason=schema"), count("reason=skipped")], [34, 33, 33]);
    let listed = server.get("/v1/tasks").expect(200).json();
    // PostgreSQL counts to 1,000.
    let total = if listed["pagination"]["total_is_exact"] == false { 1_000 } else { 9_900 };
    assert_eq!(listed["pagination"]["total"], total);
}

/// A command that loops on a payload of 200 bytes or more, and makes a task of a shorter one.
fn loops_on_long_payloads() -> String {
    let read = r#"(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)"#;
    let look = r#"(func (export "_start")
        (i32.store (i32.const 32) (i32.const 32768)) (i32.store (i32.const 36) (i32.const 30000))
        (drop (call $read (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 40)))
        (if (i32.ge_u (i32.load (i32.const 40)) (i32.const 200)) (then (loop (br 0))))"#;
    says(&task().to_string()).replace("(memory (export \"memory\") 1)", read).replace("(func (export \"_start\")", look)
}

const ASYNC: &str = "mode = \"async\"\norder_by = \"/group\"\n";

/// A plugin folder whose manifest begins with these lines.
fn lane(setup: Setup, manifest: &str, limits: &str) -> Setup {
    setup.plugin(
        "guest",
        &format!("{manifest}[auth]\nscheme = \"api-key\"\n[limits]\n{limits}"),
        &loops_on_long_payloads(),
    )
}

fn long(marker: &str) -> Value {
    json!({"group": "a", "filler": format!("{marker}{}", "x".repeat(300))})
}

fn status(server: &Server, reply: &harness::Reply) -> String {
    server.get(reply.header("location")).expect(200).json()["status"].as_str().unwrap().to_owned()
}

/// Flips a bit of the bytes behind this marker, wherever in the journal it is.
fn damage(data: &std::path::Path, marker: &str) {
    fn files(dir: &std::path::Path, into: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files(&path, into) } else { into.push(path) }
        }
    }
    let (mut all, mut found) = (Vec::new(), 0);
    files(data, &mut all);
    for file in all {
        let Ok(bytes) = std::fs::read(&file) else { continue };
        let Some(at) = memchr::memmem::find(&bytes, marker.as_bytes()) else { continue };
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
        file.write_all_at(b"!", at as u64).unwrap();
        found += 1;
    }
    assert!(found > 0, "{marker} is in no file");
}

/// One event whose bytes are damaged must not keep those behind it waiting forever.
#[test]
fn an_event_that_cannot_be_read_is_set_aside_and_the_lane_goes_on() {
    let small = Setup::new().config("[store]\nsegment_mib = 1\n");
    let setup = lane(small, ASYNC, "time_ms = 10000\nconcurrency = 1\n");
    let server = setup.start();
    let send = |body: &Value| server.post("/v1/hooks/guest", body).expect(202);
    let blocks = send(&long("first"));
    let damaged = send(&json!({"group": "a", "marker": "dAmAgEd-hErE"}));
    let behind = send(&json!({"group": "a"}));
    damage(&setup.data, "dAmAgEd-hErE");
    assert_eq!(status(&server, &blocks), "queued", "the event was worked on before it was damaged");
    until("the event behind it", || status(&server, &behind) == "stored");
    assert_eq!(status(&server, &blocks), "quarantined");
    let ready = server.get("/readyz").json();
    assert_eq!(ready["unreadable_events"], 1, "{ready}");
    let event = server.get(damaged.header("location")).expect(200).json();
    assert_eq!((&event["status"], &event["reason"]["code"]), (&json!("quarantined"), &json!("unreadable")), "{event}");
    let log = server.stop();
    let id = damaged.header("x-event-id");
    assert!(
        log.lines().any(|it| it.contains("ERROR") && it.contains("cannot be processed") && it.contains(id)),
        "{log}"
    );
}

/// One lane in which everything waits behind a long call; the new version has room for more at once.
#[test]
fn lanes_follow_the_limits_of_the_version_that_is_live() {
    let config = "[plugins]\nwatch = false\nsettle_ms = 0\n";
    let manifest = "mode = \"async\"\n";
    let setup = lane(Setup::new().config(config), manifest, "time_ms = 60000\nconcurrency = 1\nqueue = 1\n");
    let server = setup.start();
    server.post("/v1/hooks/guest", &json!({})).expect(202);
    until_nothing_waits(&server);
    let setup = lane(setup, manifest, "time_ms = 60000\nconcurrency = 2\nqueue = 256\n");
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    let loops = server.post("/v1/hooks/guest", &long("loops")).expect(202);
    let quick = server.post("/v1/hooks/guest", &json!({})).expect(202);
    until("the quick one", || status(&server, &quick) == "stored");
    assert_eq!(status(&server, &loops), "queued");
    drop(setup);
}

#[test]
fn a_reload_that_changes_the_number_of_lanes_keeps_the_order() {
    let setup = named("mode = \"async\"\norder_by = \"/group\"\n").config("[plugins]\nwatch = false\nsettle_ms = 0\n");
    let server = setup.start();
    let file = setup.plugins.join("n8n-intake/plugin.toml");
    let manifest = std::fs::read_to_string(&file).unwrap();
    for n in 0..120 {
        for group in ["a", "b", "c"] {
            let body = json!({"subject": format!("{group}-{n:03}"), "group": group});
            server.post("/v1/hooks/n8n-intake", &body).expect(202);
        }
        if n % 20 == 10 {
            let limits = format!("\n[limits]\ntime_ms = 5000\nconcurrency = {}\n", 1 + n / 20 % 3);
            std::fs::write(&file, format!("{manifest}{limits}")).unwrap();
            let pass = server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json();
            assert_eq!(pass["loaded"], json!(["n8n-intake"]), "{pass}");
        }
    }
    until_nothing_waits(&server);
    let mut titles: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for page in 1..=4 {
        let tasks = server.get(&format!("/v1/tasks?limit=100&page={page}")).expect(200).json();
        for task in tasks["data"].as_array().unwrap() {
            let title = task["title"].as_str().unwrap();
            titles.entry(title[..1].to_owned()).or_default().push(title.to_owned());
        }
    }
    for (group, titles) in titles {
        let expected: Vec<_> = (0..120).rev().map(|n| format!("{group}-{n:03}")).collect();
        assert_eq!(titles, expected, "newest first");
    }
}

/// What waits for a plugin that is taken away is not run any more, and is not forgotten; and the folder may come back.
#[test]
fn a_removed_integration_runs_nothing_more_and_may_come_back() {
    let config = "[plugins]\nwatch = false\nsettle_ms = 0\n";
    let limits = "time_ms = 60000\nconcurrency = 1\n";
    let mut setup = lane(Setup::new().config(config), ASYNC, limits);
    let server = setup.start();
    let blocks = server.post("/v1/hooks/guest", &long("blocks")).expect(202);
    let waiting: Vec<_> = (0..3).map(|_| server.post("/v1/hooks/guest", &json!({"group": "a"})).expect(202)).collect();
    std::fs::remove_dir_all(setup.plugins.join("guest")).unwrap();
    let pass = server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json();
    assert_eq!(pass["removed"], json!(["guest"]));
    until_nothing_waits(&server);
    let code =
        |reply: &harness::Reply| server.get(reply.header("location")).expect(200).json()["reason"]["code"].clone();
    assert_eq!(code(&blocks), "unknown_integration", "it was stopped");
    assert!(waiting.iter().all(|it| code(it) == "unknown_integration"));
    for _ in 0..3 {
        setup = lane(setup, ASYNC, limits);
        server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
        let reply = server.post("/v1/hooks/guest", &json!({"group": "a"})).expect(202);
        until_nothing_waits(&server);
        assert_eq!(status(&server, &reply), "stored");
        std::fs::remove_dir_all(setup.plugins.join("guest")).unwrap();
        server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    }
}
