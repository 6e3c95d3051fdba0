//! A request is processed once and completely, whether its caller hangs up, times out, or the server shuts down.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::guests::{command, component, says};
use crate::harness::{DEADLINE, KEY, Server, Setup, task, time_for_a_mistake, until};
use crate::shim::Shim;

/// A server behind the preloaded library. What waits for the disk there is a write: new segments are prepared under
/// another name.
fn shimmed(mut setup: Setup) -> Option<(Setup, Shim)> {
    let shim = Shim::below(&setup.data)?;
    shim.only(".journal");
    setup.env.extend(shim.env());
    Some((setup, shim))
}

/// Sends a request, and leaves the connection open.
fn sent(server: &Server, method: &str, path: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

/// Sends a request, waits until its first write waits for the disk, hangs up, and lets the disk go on.
fn hung_up_at_the_disk(server: &Server, shim: &Shim, method: &str, path: &str, body: &str) {
    shim.hold_fdatasync(true);
    let stream = sent(server, method, path, body);
    until("it waits for the disk", || shim.held() > 0);
    drop(stream);
    // A server whose handlers end with their connections sees it meanwhile.
    time_for_a_mistake();
    shim.hold_fdatasync(false);
}

fn keys(server: &Server) -> Vec<Value> {
    server.get("/v1/admin/keys").expect(200).json()["data"].as_array().unwrap().clone()
}

/// What the audit log has of this action, newest first.
fn audited(server: &Server, action: &str) -> Vec<Value> {
    let all = server.get("/v1/admin/audit?limit=1000").expect(200).json()["data"].as_array().unwrap().clone();
    all.into_iter().filter(|it| it["action"] == action).collect()
}

fn total(server: &Server) -> u64 {
    server.get("/v1/tasks").expect(200).json()["pagination"]["total"].as_u64().unwrap()
}

fn makes_a_task() -> String {
    says(&task().to_string())
}

const NEW_KEY: &str = r#"{"company_id": "company-1", "scopes": ["tasks:read"], "label": "new"}"#;
const RELOADED: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n";

/// A revoked key went on working until the next restart, which nobody would have noticed.
#[test]
fn a_revocation_holds_when_its_caller_hangs_up() {
    let Some((setup, shim)) = shimmed(Setup::new()) else { return };
    let server = setup.start();
    let made = server.send("POST", "/v1/admin/keys", &[], NEW_KEY.as_bytes()).expect(201).json();
    let (key, id) = (made["key"].as_str().unwrap(), made["details"]["id"].as_str().unwrap());
    let works = || server.send_as("GET", "/v1/tasks", &[("x-api-key", key)], b"").status;
    assert_eq!(works(), 200);
    hung_up_at_the_disk(&server, &shim, "DELETE", &format!("/v1/admin/keys/{id}"), "");
    until("the key is refused", || works() == 401);
    assert!(keys(&server).iter().any(|it| it["id"] == id && !it["revoked_at"].is_null()));
    server.send("DELETE", &format!("/v1/admin/keys/{id}"), &[], b"").expect(204);
    assert_eq!(audited(&server, "key.revoked").len(), 1, "the second time changes nothing");
}

#[test]
fn a_key_is_listed_when_its_caller_hangs_up() {
    let Some((setup, shim)) = shimmed(Setup::new()) else { return };
    let server = setup.start();
    hung_up_at_the_disk(&server, &shim, "POST", "/v1/admin/keys", NEW_KEY);
    until("it is listed", || keys(&server).iter().any(|it| it["label"] == "new"));
    assert_eq!(audited(&server, "key.created").len(), 2, "the first key and this one");
}

/// The answer says that it may still happen, and so it does, as a whole.
#[test]
fn a_request_that_times_out_is_done_to_its_end() {
    let Some((setup, shim)) = shimmed(Setup::new().config("[limits]\nrequest_timeout_ms = 100")) else { return };
    let server = setup.start();
    shim.hold_fdatasync(true);
    let reply = server.send("POST", "/v1/admin/keys", &[], NEW_KEY.as_bytes()).expect(503);
    assert_eq!(reply.code(), "request_timeout");
    shim.hold_fdatasync(false);
    until("it is listed", || keys(&server).iter().any(|it| it["label"] == "new"));
}

/// Two at once could each start from what the other was about to change.
#[test]
fn of_revocations_at_the_same_time_one_is_stored_and_a_key_that_is_made_meanwhile_stays() {
    let Some((setup, shim)) = shimmed(Setup::new()) else { return };
    let server = setup.start();
    let made = server.send("POST", "/v1/admin/keys", &[], NEW_KEY.as_bytes()).expect(201).json();
    let path = format!("/v1/admin/keys/{}", made["details"]["id"].as_str().unwrap());
    shim.hold_fdatasync(true);
    let requests: Vec<_> = (0..4).map(|_| sent(&server, "DELETE", &path, "")).collect();
    let created = sent(&server, "POST", "/v1/admin/keys", &NEW_KEY.replace("new", "meanwhile"));
    until("one waits for the disk", || shim.held() > 0);
    shim.hold_fdatasync(false);
    for mut request in requests {
        let mut answer = [0; 12];
        request.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 204");
    }
    drop(created);
    until("it is listed", || keys(&server).iter().any(|it| it["label"] == "meanwhile"));
    assert_eq!(audited(&server, "key.revoked").len(), 1);
    let key = made["key"].as_str().unwrap();
    server.send_as("GET", "/v1/tasks", &[("x-api-key", key)], b"").expect(401);
}

/// The guard against two replays at once went away with the caller, and the tasks were made twice.
#[test]
fn a_replay_whose_caller_hangs_up_makes_its_tasks_once_and_is_audited() {
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    let Some((setup, shim)) = shimmed(Setup::new().config(RELOADED).plugin("guest", "", &refuses)) else { return };
    let server = setup.start();
    let event = server.post("/v1/hooks/guest", &json!({})).expect(422).header("x-event-id").to_owned();
    std::fs::write(setup.plugins.join("guest/mapper.wasm"), wat::parse_str(makes_a_task()).unwrap()).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    let path = format!("/v1/events/{event}/replay");
    shim.hold_fdatasync(true);
    let first = sent(&server, "POST", &path, "");
    until("it waits for the disk", || shim.held() > 0);
    drop(first);
    // The second one reads the event as it was before the first: the store refuses what it makes of that.
    let second = std::thread::scope(|scope| {
        let second = scope.spawn(|| server.post(&path, &json!({})));
        shim.hold_fdatasync(false);
        second.join().unwrap()
    });
    assert!(matches!(second.status, 200 | 409), "{}", second.text);
    until("the task is there", || total(&server) > 0);
    until("the first replay has ended", || server.post(&path, &json!({})).status == 200);
    assert_eq!(total(&server), 1);
    let replays = audited(&server, "event.replayed");
    let details: Vec<_> = replays.iter().map(|it| it["detail"].as_str().unwrap()).collect();
    let created = details.iter().filter(|it| **it == "1 created, 0 updated, 0 left").count();
    assert_eq!((created, details.len() >= 3), (1, true), "{details:?}");
}

/// Slack hangs up after 3 s, and GitHub after 10 s: the event was gone, without a line in the log.
#[test]
fn a_delivery_whose_sender_gives_up_while_the_plugin_runs_leaves_its_event() {
    let setup = Setup::new().plugin("slow", "[limits]\ntime_ms = 2000\n", &component("(loop $l (br $l))"));
    let server = setup.start();
    let stream = sent(&server, "POST", "/v1/hooks/slow", "{\"n\":1}");
    server.until_a_plugin_computes();
    drop(stream);
    let events = || server.get("/v1/events?status=quarantined").expect(200).json()["data"].clone();
    until("the event is there", || !events().as_array().unwrap().is_empty());
    assert_eq!(events()[0]["reason"]["code"], "plugin_deadline");
    let log = server.stop();
    let id = log.lines().find(|it| it.contains("request failed")).expect(&log);
    assert!(id.contains("integration=slow") && id.contains("event.id="), "{id}");
}

#[test]
fn a_caller_that_hangs_up_during_its_body_changes_nothing() {
    let server = Setup::new().start();
    let body = task().to_string();
    for cut in [0, 1, body.len() / 2, body.len() - 1] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let head =
            format!("POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&body.as_bytes()[..cut]).unwrap();
    }
    server.post("/v1/tasks", &task()).expect(201);
    assert_eq!(total(&server), 1);
    assert_eq!(server.get("/v1/events").expect(200).json()["data"].as_array().unwrap().len(), 1);
}

#[test]
fn backups_and_compactions_whose_callers_hang_up_are_audited() {
    let setup = Setup::new();
    let server = setup.start();
    let lock: Value = serde_json::from_slice(&std::fs::read(setup.data.join("hookmill.lock")).unwrap()).unwrap();
    let token = lock["operator_token"].as_str().unwrap().to_owned();
    let backup = setup.data.with_extension("backup");
    let body = json!({ "dir": backup }).to_string();
    for (path, body) in [("/v1/admin/store/backup", body.as_str()), ("/v1/admin/store/compact", "")] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
    }
    let operators = || {
        let reply = server.send_as("GET", "/v1/admin/audit", &[("x-api-key", &token)], b"").expect(200).json();
        let all: Vec<_> = reply["data"].as_array().unwrap().iter().map(|it| it["action"].clone()).collect();
        ["store.backed_up", "store.compacted"].map(|action| all.iter().filter(|it| **it == action).count())
    };
    until("both are in the audit log", || operators() == [1, 1]);
}

/// At shutdown, what was asked for by callers that have gone is done to its end, with its entries in the audit log.
#[test]
fn shutdown_waits_for_requests_whose_callers_have_gone() {
    let Some((setup, shim)) = shimmed(Setup::new()) else { return };
    let server = setup.start();
    server.post("/v1/tasks", &task()).expect(201);
    shim.hold_fdatasync(true);
    let stream = sent(&server, "POST", "/v1/events/erase", r#"{"patient_id": "p-4711"}"#);
    until("its first entry waits for the disk", || shim.held() > 0);
    drop(stream);
    server.signal("TERM");
    server.until_it_accepts_nothing();
    shim.hold_fdatasync(false);
    let (status, log) = server.wait();
    assert!(status.success() && !log.contains("aborted"), "{log}");
    let server = setup.start();
    let details: Vec<_> = audited(&server, "events.erased").iter().map(|it| it["detail"].clone()).collect();
    assert_eq!(details, [json!("0 events, 0 bytes"), json!("begun")]);
}

#[test]
fn shutdown_gives_up_on_requests_that_do_not_end_and_says_how_many() {
    let Some((setup, shim)) = shimmed(Setup::new().config("[limits]\ndrain_timeout_ms = 200")) else { return };
    let server = setup.start();
    shim.hold_fdatasync(true);
    let body = task().to_string();
    let length = body.len();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n")
        .unwrap();
    // Its handler runs: what waits for the disk may be something else.
    stream.read_exact(&mut [0; "HTTP/1.1 100 Continue\r\n\r\n".len()]).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    until("it waits for the disk", || shim.held() > 0);
    server.signal("TERM");
    server.until_it_accepts_nothing();
    drop(stream);
    until("it gives up", || server.log_so_far().contains("requests were aborted"));
    shim.hold_fdatasync(false);
    let (status, log) = server.wait();
    assert!(status.success() && log.contains("requests=1"), "{log}");
}

/// Plugins that went live just before the shutdown were missing in the audit log.
#[test]
fn entries_that_are_queued_at_shutdown_are_written() {
    let setup = Setup::new().config("[plugins]\nsettle_ms = 0\n");
    let Some((setup, shim)) = shimmed(setup) else { return };
    let server = setup.start();
    shim.hold_fdatasync(true);
    let setup = ["one", "two", "three"].into_iter().fold(setup, |it, name| it.plugin(name, "", &makes_a_task()));
    let live = || server.get("/v1/admin/plugins").expect(200).json()["data"].as_array().unwrap().len();
    until("all are live", || live() == 3);
    until("the first entry waits for the disk", || shim.held() > 0);
    server.signal("TERM");
    server.until_it_accepts_nothing();
    // A server that does not wait for the queue drops it meanwhile.
    time_for_a_mistake();
    shim.hold_fdatasync(false);
    assert!(server.wait().0.success());
    // Or the start would load them again, and add entries of its own.
    std::fs::remove_dir_all(&setup.plugins).unwrap();
    std::fs::create_dir(&setup.plugins).unwrap();
    let live: Vec<_> = audited(&setup.start(), "plugin.live").iter().map(|it| it["target"].clone()).collect();
    assert!(live.len() == 3 && ["one", "two", "three"].iter().all(|name| live.contains(&json!(name))), "{live:?}");
}
