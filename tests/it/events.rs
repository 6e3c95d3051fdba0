//! Stored events: lists, details and replays.

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness;
use crate::harness::{Reply, Server, Setup, task, until};

/// A plugin that refuses everything.
fn refuses() -> String {
    command("(func (export \"_start\") (call $exit (i32.const 1)))")
}

fn makes(title: &str) -> String {
    let mut task = task();
    task["title"] = title.into();
    says(&task.to_string())
}

fn list(server: &Server, query: &str) -> Vec<Value> {
    server.get(&format!("/v1/events?{query}")).expect(200).json()["data"].as_array().unwrap().clone()
}

fn id(reply: &Reply) -> String {
    reply.header("x-event-id").to_owned()
}

fn total(server: &Server) -> u64 {
    server.get("/v1/tasks").expect(200).json()["pagination"]["total"].as_u64().unwrap()
}

/// Puts another module in the place of a plugin's, and has it loaded.
fn reload(setup: &Setup, server: &Server, wat: &str) {
    std::fs::write(setup.plugins.join("guest/mapper.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
}

const RELOADED: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n";

#[test]
fn each_filter_finds_its_events_and_pages_give_every_one_once() {
    let setup = Setup::new().plugin("guest", "", &refuses()).plugin("other", "", &makes("x"));
    let server = setup.start();
    let bad = server.post("/v1/hooks/guest", &json!({"n": 1})).expect(422);
    let good = server.post("/v1/hooks/other", &json!({"n": 2})).expect(201);
    let direct = server.post("/v1/tasks", &task()).expect(201);
    let wrong = server.post("/v1/tasks", &json!({"title": "t"})).expect(422);
    let stranger = server.send_as("POST", "/v1/hooks/other", &[("x-api-key", "nonsense")], b"{}").expect(401);
    let all: Vec<String> = [&stranger, &wrong, &direct, &good, &bad].map(id).to_vec();
    let ids =
        |query: &str| list(&server, query).iter().map(|it| it["id"].as_str().unwrap().into()).collect::<Vec<String>>();
    assert_eq!(ids(""), all, "newest first");
    let middle = list(&server, "")[2]["received_at"].as_str().unwrap().to_owned();
    let task = good.json()["id"].as_str().unwrap().to_owned();
    for (query, expected) in [
        ("integration=other".to_owned(), vec![0, 3]),
        ("status=stored".into(), vec![2, 3]),
        ("status=rejected".into(), vec![0]),
        ("status=quarantined&integration=tasks".into(), vec![1]),
        ("reason=plugin".into(), vec![4]),
        ("reason=wrong_key".into(), vec![0]),
        (format!("since={middle}"), vec![0, 1, 2]),
        (format!("until={middle}"), vec![3, 4]),
        (format!("task_id={task}"), vec![3]),
        (format!("id={}", &all[1][20..]), vec![1]),
        ("integration=nobody".into(), vec![]),
        ("status=skipped".into(), vec![]),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|it: usize| all[it].clone()).collect();
        assert_eq!(ids(&query), expected, "{query}");
    }
    let (mut seen, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let page = server.get(&format!("/v1/events?{query}")).expect(200).json();
        seen.extend(page["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["pagination"]["next_cursor"].as_str() else { break };
        query = format!("limit=2&cursor={next}");
    }
    assert_eq!(seen, all);
    for wrong in ["status=lost", "since=yesterday", "task_id=7", "limit=0", "limit=101", "cursor=x"] {
        let errors = server.get(&format!("/v1/events?{wrong}")).expect(422).json()["errors"].clone();
        assert_eq!(errors[0]["code"], "invalid_query", "{wrong}");
    }
    let other = setup.key("company-2", &["tasks:read", "admin"]);
    let theirs = server.send_as("GET", "/v1/events", &[("x-api-key", &other)], b"").expect(200).json();
    assert_eq!(theirs["data"], json!([]));
}

#[test]
fn an_admin_sees_what_was_sent_and_how_it_went_and_a_reader_only_how_it_went() {
    let setup = Setup::new().plugin("guest", "", &makes("x"));
    let server = setup.start();
    let body = br#"[{"json": {"patient": "Ada"}}]"#;
    let headers = [
        ("content-type", "application/json"),
        ("x-delivery-id", "7"),
        ("cookie", "c00kie"),
        ("x-hub-signature", "s1g"),
    ];
    let reply = server.send("POST", "/v1/hooks/guest", &headers, body).expect(201);
    let path = format!("/v1/events/{}", id(&reply));
    let event = server.get(&path).expect(200).json();
    assert_eq!(
        (&event["payload"], &event["body"]),
        (&json!({"patient": "Ada"}), &json!(std::str::from_utf8(body).unwrap()))
    );
    let stages: Vec<_> = event["stages"].as_array().unwrap().iter().map(|it| it["stage"].clone()).collect();
    assert_eq!(json!(stages), json!(["decode", "schema", "plugin", "task"]));
    let kept = &event["headers"];
    assert_eq!(
        (&kept["x-delivery-id"], &kept["cookie"], &kept["x-hub-signature"]),
        (&json!("7"), &json!("(removed)"), &json!("(removed)"))
    );
    assert!(!event.to_string().contains("c00kie") && !event.to_string().contains(harness::KEY));
    let raw = server.get(&format!("{path}/raw")).expect(200);
    assert_eq!((raw.text.as_bytes(), raw.header("content-type")), (&body[..], "application/octet-stream"));

    let reader = setup.key("company-1", &["tasks:read"]);
    let read = |path: &str| server.send_as("GET", path, &[("x-api-key", &reader)], b"");
    let seen = read(&path).expect(200).text;
    assert!(!seen.contains("Ada") && seen.contains("stages"), "{seen}");
    assert!(!read("/v1/events").expect(200).text.contains("Ada"));
    assert_eq!(read(&format!("{path}/raw")).expect(403).code(), "scope_missing");
    let replay = server.send_as("POST", &format!("{path}/replay"), &[("x-api-key", &reader)], b"");
    assert_eq!(replay.expect(403).code(), "scope_missing");
    // A stage that was stopped is the last one.
    let stopped = server.send("POST", "/v1/hooks/guest", &[], b"{").expect(400);
    let event = server.get(&format!("/v1/events/{}", id(&stopped))).expect(200).json();
    assert_eq!((event["stages"].as_array().unwrap().len(), &event["stages"][0]["stage"]), (1, &json!("decode")));
}

#[test]
fn a_replay_with_a_repaired_plugin_makes_the_task_of_a_quarantined_event_once() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "", &refuses());
    let server = setup.start();
    let refused = server.post("/v1/hooks/guest", &json!({"n": 1})).expect(422);
    let replay = |body: &Value| server.post(&format!("/v1/events/{}/replay", id(&refused)), body);
    let again = replay(&json!({})).expect(200).json();
    assert_eq!((&again["status"], &again["created"]), (&json!("quarantined"), &json!(0)));
    reload(&setup, &server, &makes("first"));
    let all: Vec<Reply> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..10).map(|_| scope.spawn(|| replay(&json!({})))).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let created: u64 = all.iter().filter_map(|it| it.json()["created"].as_u64()).sum();
    assert!(all.iter().all(|it| it.status == 200 || it.code() == "not_replayable"));
    assert_eq!((created, total(&server)), (1, 1));
    let event = server.get(&format!("/v1/events/{}", id(&refused))).expect(200).json();
    assert_eq!((&event["status"], &event["reason"]), (&json!("stored"), &Value::Null));
    let task = format!("/v1/tasks/{}", event["task_ids"][0].as_str().unwrap());
    assert_eq!(server.get(&format!("{task}/provenance")).expect(200).json()["event_id"], event["id"]);
    assert_eq!(list(&server, "").len(), 1, "the event kept its identity");

    server
        .send("PATCH", &task, &[("content-type", "application/json")], br#"{"version": 1, "status": "completed"}"#)
        .expect(200);
    reload(&setup, &server, &makes("second"));
    let left = replay(&json!({})).expect(200).json();
    assert_eq!((&left["left"], &left["created"]), (&json!(1), &json!(0)));
    assert_eq!(server.get(&task).expect(200).json()["title"], "first");
    let updated = replay(&json!({"tasks": "update"})).expect(200).json();
    assert_eq!((&updated["updated"], &updated["created"]), (&json!(1), &json!(0)));
    let now = server.get(&task).expect(200).json();
    assert_eq!((&now["title"], &now["status"], &now["version"]), (&json!("second"), &json!("completed"), &json!(3)));
    assert_eq!(total(&server), 1);
    // What was deleted stays so.
    server.send("DELETE", &task, &[], b"").expect(204);
    let updated = replay(&json!({"tasks": "update"})).expect(200).json();
    assert_eq!((&updated["updated"], &updated["created"], &updated["left"]), (&json!(0), &json!(0), &json!(1)));
    assert_eq!(total(&server), 0);
    replay(&json!({"tasks": "double"})).expect(422);
}

/// Otherwise the sender, who got 422 and tries again, would get a second task.
#[test]
fn a_replayed_delivery_is_recognised_when_its_sender_tries_again() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "[dedupe]\npointer = \"/id\"\n", &refuses());
    let server = setup.start();
    let send = || server.post("/v1/hooks/guest", &json!({"id": "d-1"}));
    let (first, second) = (send().expect(422), send().expect(422));
    assert_eq!(id(&first), id(&second));
    reload(&setup, &server, &makes("x"));
    let replay = |of: &Reply| server.post(&format!("/v1/events/{}/replay", id(of)), &json!({})).expect(200).json();
    assert_eq!(replay(&first)["created"], 1);
    let again = send().expect(200);
    assert_eq!((again.header("idempotent-replayed"), id(&again)), ("true", id(&first)));
    assert_eq!((&replay(&second)["left"], total(&server)), (&json!(1), 1));
    let copies = list(&server, "status=duplicate");
    assert_eq!(copies.len(), 1);
    let copy = copies[0]["id"].as_str().unwrap();
    let refused = server.post(&format!("/v1/events/{copy}/replay"), &json!({})).expect(409);
    assert_eq!(refused.code(), "not_replayable");
}

/// Its delivery's id is remembered from the moment it was answered 202: that is the event itself, and no other.
#[test]
fn an_event_that_was_quarantined_after_its_202_can_be_replayed() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "[dedupe]\npointer = \"/id\"\n", &refuses());
    let file = setup.plugins.join("guest/plugin.toml");
    let own = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("mode = \"async\"\n{own}")).unwrap();
    let server = setup.start();
    let send = || server.post("/v1/hooks/guest", &json!({"id": "d-1"}));
    let first = send().expect(202);
    until("it is quarantined", || !list(&server, "status=quarantined").is_empty());
    reload(&setup, &server, &makes("x"));
    let replay = || server.post(&format!("/v1/events/{}/replay", id(&first)), &json!({})).expect(200).json();
    let driven = replay();
    assert_eq!((&driven["status"], &driven["created"]), (&json!("stored"), &json!(1)));
    assert_eq!((&replay()["left"], total(&server)), (&json!(1), 1));
    let again = send().expect(200);
    let task = server.get("/v1/tasks").json()["data"][0].clone();
    assert_eq!((again.json(), total(&server)), (task, 1));
}

#[test]
fn events_are_replayed_from_the_command_line_and_found_over_many_segments_after_a_restart() {
    let setup = Setup::new().config(&format!("{RELOADED}[store]\nsegment_mib = 1\n")).plugin("guest", "", &refuses());
    let server = setup.start();
    let filler = "x".repeat(60_000);
    let sent: Vec<String> =
        (0..40).map(|n| id(&server.post("/v1/hooks/guest", &json!({"n": n, "filler": filler})).expect(422))).collect();
    let command = |extra: &[&str]| {
        let mut command = harness::binary();
        command.args(["events", "replay", "--company", "company-1", "--rate", "1000", "--data-dir"]).arg(&setup.data);
        let out = command.args(extra).output().unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let (code, _, said) = command(&["--since", "1h", "--reason", "plugin"]);
    assert!(code == Some(1) && said.contains("40 of 40 events were not stored"), "{said}");
    reload(&setup, &server, &makes("x"));
    let (code, listed, _) = command(&["--dry-run", "--integration", "guest"]);
    assert_eq!((code, listed.lines().count(), total(&server)), (Some(0), 40, 0));
    // Stopped half-way, and begun again.
    let (code, ..) = command(&["--after", &sent[20]]);
    assert_eq!((code, total(&server)), (Some(0), 20));
    let (code, _, said) = command(&[]);
    assert!(code == Some(0) && said.contains("events replayed: 20"), "{said}");
    assert_eq!((command(&[]).0, total(&server)), (Some(0), 40));
    let everything = |server: &Server| {
        list(server, "limit=100").iter().map(|it| (it["id"].clone(), it["status"].clone())).collect::<Vec<_>>()
    };
    let expected: Vec<_> = sent.iter().rev().map(|it| (json!(it), json!("stored"))).collect();
    assert_eq!(everything(&server), expected);
    server.stop();
    // Each is exported once, as it is now.
    let out = harness::binary().args(["store", "export", "--data-dir"]).arg(&setup.data).output().unwrap();
    let exported = String::from_utf8(out.stdout).unwrap();
    let events: Vec<_> = exported.lines().filter(|it| it.contains("\"kind\":\"event\"")).collect();
    assert!(events.len() == 40 && events.iter().all(|it| it.contains("\"status\":\"stored\"")), "{}", events.len());
    let server = setup.start();
    assert_eq!(everything(&server), expected);
    assert_eq!(command(&["--since", "soon"]).0, Some(2));
    server.stop();
    let (code, _, said) = command(&[]);
    assert!(code == Some(1) && said.contains("no server is running"), "{said}");
}
