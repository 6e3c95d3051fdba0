//! The load of one company or integration does not cause a 503 for another, and its data stays its own.

use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness::{DEADLINE, KEY, Reply, Server, Setup, in_time, task, until};
use crate::shim::Shim;

const BY_HAND: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n";
/// Longer than any test waits: what ends earlier was stopped.
const LOOPS: &str = "[limits]\ntime_ms = 60000\nconcurrency = 1\nqueue = 65536\n";

fn looping() -> String {
    command("(func (export \"_start\") (loop (br 0)))")
}

/// Gives a plugin folder to another company.
fn give(setup: &Setup, name: &str, company: &str) {
    let file = setup.plugins.join(name).join("plugin.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|it| it.starts_with("company_id")).unwrap();
    std::fs::write(&file, text.replace(line, &format!("company_id = \"{company}\""))).unwrap();
}

fn remove(setup: &Setup, server: &Server, name: &str) {
    std::fs::remove_dir_all(setup.plugins.join(name)).unwrap();
    let pass = server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json();
    assert_eq!(pass["removed"], json!([name]));
}

fn reload(server: &Server, name: &str) {
    let pass = server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json();
    assert_eq!(pass["loaded"], json!([name]), "{pass}");
}

/// Sends so many deliveries at once, and gives the replies as they come.
fn burst(server: &Server, name: &str, count: usize) -> Receiver<Reply> {
    let (send, replies) = channel();
    for _ in 0..count {
        let (send, url) = (send.clone(), format!("{}/v1/hooks/{name}", server.url));
        std::thread::spawn(move || {
            let agent: ureq::Agent = ureq::Agent::config_builder()
                .http_status_as_error(false)
                .timeout_global(Some(2 * DEADLINE))
                .build()
                .into();
            let request = agent.post(&url).header("x-api-key", KEY).header("content-type", "application/json");
            let (parts, mut body) = request.send("{}").unwrap().into_parts();
            let text = body.read_to_string().unwrap();
            let _test_is_over = send.send(Reply { status: parts.status.as_u16(), headers: parts.headers, text });
        });
    }
    replies
}

fn next(replies: &Receiver<Reply>) -> Reply {
    replies.recv_timeout(DEADLINE).unwrap()
}

fn queued(server: &Server) -> usize {
    server.get("/v1/events?limit=100&status=queued").expect(200).json()["data"].as_array().unwrap().len()
}

fn event(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()
}

/// An integration that loops took every place of the server, and went on when its folder was removed.
#[test]
fn a_looping_integration_leaves_places_to_others_and_ends_when_it_is_removed() {
    let setup = Setup::new()
        .config(&format!("[limits]\nconcurrency = 32\nrequest_timeout_ms = 120000\n{BY_HAND}"))
        .plugin("loops", LOOPS, &looping())
        .plugin("fine", "", &says(&task().to_string()));
    let server = setup.start();
    let other = setup.key("company-2", &["tasks:write"]);
    let replies = burst(&server, "loops", 40);
    // 18 of 32 are an integration's share where no other is active.
    for _ in 18..40 {
        let refused = next(&replies).expect(503);
        assert_eq!((refused.code().as_str(), refused.header("retry-after")), ("integration_busy", "1"));
        assert!(refused.message().contains("this integration's requests"), "{}", refused.message());
    }
    assert_eq!(server.post("/v1/hooks/loops", &json!({})).expect(503).code(), "integration_busy");
    server.post("/v1/hooks/fine", &json!({})).expect(201);
    server.post("/v1/tasks", &task()).expect(201);
    let body = task().to_string();
    server.send_as("POST", "/v1/tasks", &[("x-api-key", &other)], body.as_bytes()).expect(201);
    remove(&setup, &server, "loops");
    for _ in 0..18 {
        assert_eq!(next(&replies).expect(503).code(), "plugin_removed");
    }
    server.post("/v1/hooks/loops", &json!({})).expect(404);
    // Nothing of it is held any more: all of an integration's share can be had again.
    let replies = burst(&server, "fine", 18);
    (0..18).for_each(|_| drop(next(&replies).expect(201)));
}

/// An async integration that loops held every place in the queue, until long after it was removed.
#[test]
fn a_looping_async_integration_leaves_places_in_the_queue_and_gives_its_own_back_when_it_is_removed() {
    let setup = Setup::new()
        .config(&format!("[limits]\nqueue = 64\n{BY_HAND}"))
        .plugin("loops", &format!("mode = \"async\"\n[auth]\nscheme = \"api-key\"\n{LOOPS}"), &looping())
        .plugin("fine", "", &says(&task().to_string()));
    let server = setup.start();
    let other = setup.key("company-2", &["tasks:write", "hooks:write"]);
    let (waiting, refused) = loop_until_refused(&server);
    assert_eq!((waiting.len(), refused.code().as_str()), (36, "integration_busy"));
    assert!(refused.message().contains("limits.queue"), "{}", refused.message());
    let later = [("prefer", "respond-async"), ("content-type", "application/json")];
    let fine = server.send("POST", "/v1/hooks/fine", &later, b"{}").expect(202);
    until("another integration's event", || event(&server, &fine)["status"] == "stored");
    give(&setup, "fine", "company-2");
    reload(&server, "fine");
    let key = [("x-api-key", &*other), ("prefer", "respond-async"), ("content-type", "application/json")];
    server.send_as("POST", "/v1/hooks/fine", &key, b"{}").expect(202);
    remove(&setup, &server, "loops");
    until("the events are quarantined", || queued(&server) == 0);
    for reply in &waiting {
        let event = event(&server, reply);
        assert_eq!(
            (&event["status"], &event["reason"]["code"]),
            (&json!("quarantined"), &json!("unknown_integration"))
        );
    }
    let setup = setup.plugin("loops", &format!("mode = \"async\"\n[auth]\nscheme = \"api-key\"\n{LOOPS}"), &looping());
    reload(&server, "loops");
    assert_eq!(loop_until_refused(&server).0.len(), 36, "its places were given back");
    drop(setup);
}

fn loop_until_refused(server: &Server) -> (Vec<Reply>, Reply) {
    let mut taken = Vec::new();
    loop {
        let reply = server.post("/v1/hooks/loops", &json!({}));
        if reply.status != 202 {
            return (taken, reply.expect(503));
        }
        taken.push(reply);
    }
}

/// The new company's `[config]` may hold what the old one must not see, such as a password.
#[test]
fn events_stay_with_their_company_when_an_integration_moves_to_another_one() {
    let dedupe = "[dedupe]\npointer = \"/id\"\n[config]\ntoken = \"of company 1\"\n";
    let setup = Setup::new().config(BY_HAND).plugin("moves", dedupe, &says(&task().to_string()));
    let server = setup.start();
    let new = setup.key("company-2", &["admin", "hooks:write", "tasks:read"]);
    let delivery = json!({"id": "d-1"});
    let first = server.post("/v1/hooks/moves", &delivery).expect(201);
    server.post("/v1/hooks/moves", &delivery).expect(200);
    give(&setup, "moves", "company-2");
    reload(&server, "moves");
    let replay = |server: &Server| {
        let path = format!("/v1/events/{}/replay", first.header("x-event-id"));
        server.post(&path, &json!({"tasks": "update"}))
    };
    assert_eq!(replay(&server).expect(409).code(), "integration_moved");
    assert!(!replay(&server).text.contains("company-2"), "whose it is now is not the old company's business");
    server.get(&format!("/v1/events/{}", first.header("x-event-id"))).expect(200);
    // The same delivery id is another delivery for another company.
    let key = [("x-api-key", &*new), ("content-type", "application/json")];
    let sent = delivery.to_string();
    let again = server.send_as("POST", "/v1/hooks/moves", &key, sent.as_bytes()).expect(201);
    assert_ne!(again.json()["id"], first.json()["id"]);
    server.send_as("POST", "/v1/hooks/moves", &key, sent.as_bytes()).expect(200);
    server.post("/v1/hooks/moves", &delivery).expect(401);
    server.stop();
    let server = setup.start();
    assert_eq!(replay(&server).expect(409).code(), "integration_moved");
    give(&setup, "moves", "company-1");
    reload(&server, "moves");
    replay(&server).expect(200);
    server.post("/v1/hooks/moves", &delivery).expect(200);
}

#[test]
fn queued_events_are_not_run_by_another_companys_plugin_also_after_a_restart() {
    let manifest = format!("mode = \"async\"\n[auth]\nscheme = \"api-key\"\n{LOOPS}");
    let setup = Setup::new().config(BY_HAND).plugin("moves", &manifest, &looping());
    let server = setup.start();
    let waiting: Vec<_> = (0..3).map(|_| server.post("/v1/hooks/moves", &json!({})).expect(202)).collect();
    give(&setup, "moves", "company-2");
    reload(&server, "moves");
    let moved = |server: &Server, waiting: &[Reply]| {
        until("the events are quarantined", || queued(server) == 0);
        for reply in waiting {
            let event = event(server, reply);
            assert_eq!(
                (&event["status"], &event["reason"]["code"]),
                (&json!("quarantined"), &json!("integration_moved"))
            );
        }
    };
    moved(&server, &waiting);
    give(&setup, "moves", "company-1");
    reload(&server, "moves");
    let waiting: Vec<_> = (0..3).map(|_| server.post("/v1/hooks/moves", &json!({})).expect(202)).collect();
    drop(server);
    give(&setup, "moves", "company-2");
    let server = setup.start();
    moved(&server, &waiting);
}

#[test]
fn a_shadow_and_a_refusal_of_another_company_are_not_shown() {
    let setup = Setup::new()
        .config(BY_HAND)
        .plugin("live", "shadow = \"../next\"\n[auth]\nscheme = \"api-key\"\n", &says(&task().to_string()))
        .plugin("next", "", &says(&task().to_string()));
    let shadow = |server: &Server| {
        let all = server.get("/v1/admin/plugins").expect(200).json();
        all["data"].as_array().unwrap().iter().find(|it| it["name"] == "live").unwrap().clone()
    };
    let server = setup.start();
    until("the shadow runs", || shadow(&server)["shadow"]["state"] == "running");
    drop(server);
    give(&setup, "next", "company-2");
    let server = setup.start();
    until("the shadow is refused", || shadow(&server)["shadow"]["state"] == "refused");
    assert_eq!(server.get("/v1/admin/plugins/live/shadow").expect(409).code(), "shadow_refused");
    // The new owner's plugin is refused, and its fixture says why: that is not for the old owner.
    give(&setup, "live", "company-2");
    std::fs::write(setup.plugins.join("live/input.schema.json"), "{\"type\": \"company-2-only\"}").unwrap();
    let pass = server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    assert!(pass.json()["refused"]["live"].is_string() && !pass.text.contains("input.schema.json"), "{}", pass.text);
    let live = shadow(&server);
    assert_eq!((&live["state"], &live["message"]), (&json!("outdated"), &json!("refused; the operator sees why")));
}

/// 560 dry runs of erasures by one company kept every thread that reads busy.
#[test]
fn a_company_has_one_long_operation_and_others_have_theirs() {
    let mut setup = Setup::new().config("[store]\nsegment_mib = 1\n");
    let Some(shim) = Shim::below(&setup.data) else { return };
    shim.only(".journal");
    setup.env.extend(shim.env());
    let server = setup.start();
    let other = setup.key("company-2", &["admin", "tasks:read"]);
    let filler = json!({"title": "t", "description": "x".repeat(200_000), "assigned_user_ids": ["u"],
        "created_by_id": "u", "deadline": "2026-12-01T09:00:00Z", "patient_id": "p-1"});
    for _ in 0..6 {
        server.post("/v1/tasks", &filler).expect(201);
    }
    let ask = |key: String, dry_run: bool| {
        let (url, body) = (format!("{}/v1/events/erase", server.url), json!({"patient_id": "p-1", "dry_run": dry_run}));
        std::thread::spawn(move || {
            let agent: ureq::Agent =
                ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE)).build().into();
            let request = agent.post(&url).header("x-api-key", key).header("content-type", "application/json");
            let (parts, mut body) = request.send(body.to_string()).unwrap().into_parts();
            let text = body.read_to_string().unwrap();
            Reply { status: parts.status.as_u16(), headers: parts.headers, text }
        })
    };
    // An erasure that waits for the disk is running. A dry run writes nothing.
    shim.hold_fdatasync(true);
    let running = ask(KEY.into(), false);
    let waits = in_time(|| shim.held() > 0);
    let refused: Vec<_> = (0..20).map(|_| ask(KEY.into(), true)).collect();
    let refused: Vec<_> = refused.into_iter().map(|it| it.join().unwrap()).collect();
    let others = ask(other, true).join().unwrap();
    shim.hold_fdatasync(false);
    assert!(waits, "the erasure has begun");
    for reply in refused {
        assert_eq!((reply.status, reply.code().as_str(), reply.header("retry-after")), (429, "operation_running", "1"));
    }
    others.expect(200);
    running.join().unwrap().expect(200);
    ask(KEY.into(), true).join().unwrap().expect(200);
}
