//! Replays of many events by servers that share a database: each of them shows a replay of another one, and can stop it.

use serde_json::{Value, json};

use crate::guests::command;
use crate::harness::{Browser, Database, KEY, Server, Setup, postgres_or_skip, until};

const EVENTS: usize = 100;

/// Two servers, and events whose replay takes 200 ms each: far longer than a test needs.
fn two(database: &Database<'_>) -> (Setup, [Server; 2]) {
    let setup = Setup::new().config("[plugins]\nwatch = false\nsettle_ms = 0\n[store]\nlease_ms = 2000\n");
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    let setup = setup.plugin("guest", "[limits]\ntime_ms = 200\n", &refuses).on(database);
    let servers = [setup.start(), setup.another().start()];
    for n in 0..EVENTS {
        servers[n % 2].post("/v1/hooks/guest", &json!({"n": n})).expect(422);
    }
    let spins = command("(func (export \"_start\") (loop (br 0)))");
    std::fs::write(setup.plugins.join("guest/mapper.wasm"), wat::parse_str(spins).unwrap()).unwrap();
    servers.iter().for_each(|it| drop(it.post("/v1/admin/plugins/reload", &json!({})).expect(200)));
    (setup, servers)
}

fn begin(server: &Server) -> String {
    server.post("/v1/admin/replays", &json!({})).expect(201).json()["id"].as_str().unwrap().to_owned()
}

fn job(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/admin/replays/{id}")).expect(200).json()
}

fn is_replaying(server: &Server, id: &str) -> bool {
    let job = job(server, id);
    job["state"] == "running" && job["total"] == EVENTS && job["done"].as_u64() >= Some(1)
}

/// Behind a load balancer, the page of a replay and its stop button would otherwise work on one server only, and a company would
/// have a replay on each.
#[test]
fn any_server_shows_a_replay_of_another_and_stops_it() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (setup, [runner, other]) = two(&database);
    let id = begin(&runner);
    until("the other server shows its progress", || is_replaying(&other, &id));
    assert_eq!(other.get("/v1/admin/replays").expect(200).json()["data"][0]["id"], id);
    for server in [&runner, &other] {
        assert_eq!(server.post("/v1/admin/replays", &json!({})).expect(429).code(), "operation_running");
    }
    let stranger = setup.key("company-2", &["admin"]);
    let path = format!("/v1/admin/replays/{id}");
    until("the stranger's key works", || other.send_as("GET", &path, &[("x-api-key", &stranger)], b"").status != 401);
    for (method, path) in [("GET", path.clone()), ("POST", format!("{path}/stop"))] {
        other.send_as(method, &path, &[("x-api-key", &stranger)], b"").expect(404);
    }
    assert_eq!(job(&runner, &id)["stopped_by"], Value::Null);

    let asked = other.post(&format!("{path}/stop"), &json!({})).expect(200).json();
    assert!(asked["stopped_by"].as_str().unwrap().starts_with("key_"), "{asked}");
    until("it ends", || job(&other, &id)["ended_at"] != Value::Null);
    let ended = job(&other, &id);
    assert_eq!((&ended["state"], &ended["stopped_by"]), (&json!("stopped"), &asked["stopped_by"]), "{ended}");
    assert!(ended["done"].as_u64() < Some(EVENTS as u64), "{ended}");
    assert_eq!(job(&runner, &id), ended);
    let next = begin(&other);
    let list = runner.get("/v1/admin/replays").expect(200).json();
    assert_eq!((&list["data"][0]["id"], &list["data"][1]["id"]), (&json!(next), &json!(id)));
}

/// A replay would otherwise be shown as running forever, and no other one could begin.
#[test]
fn a_replay_of_a_killed_server_is_interrupted_and_another_can_begin() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (_setup, [runner, other]) = two(&database);
    let id = begin(&runner);
    until("the other server shows its progress", || is_replaying(&other, &id));
    runner.signal("KILL");
    until("it was interrupted", || job(&other, &id)["state"] == "interrupted");
    let ended = job(&other, &id);
    assert!(ended["ended_at"] != Value::Null && ended["done"].as_u64() >= Some(1), "{ended}");
    assert!(ended["error"].as_str().unwrap().contains("begin it again"), "{ended}");
    let page = Browser::with_key(&other, KEY).get(&format!("/console/replays/{id}")).expect(200).text;
    assert!(page.contains("interrupted") && page.contains("The server that ran it has ended"), "{page}");
    let next = begin(&other);
    until("another one runs", || is_replaying(&other, &next));
}

/// A server that hung would otherwise go on with a replay that counts as interrupted, next to the one that was begun instead.
#[test]
fn a_server_that_hung_gives_up_its_replay_if_another_was_begun() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (_setup, [runner, other]) = two(&database);
    let id = begin(&runner);
    until("it runs", || is_replaying(&other, &id));
    runner.signal("STOP");
    until("it was interrupted", || job(&other, &id)["state"] == "interrupted");
    let next = begin(&other);
    runner.signal("CONT");
    let given_up = |it: &Value| it["detail"].as_str().is_some_and(|it| it.contains("another replay was begun"));
    until("the first one has ended", || {
        let all = runner.get("/v1/admin/audit?limit=1000").expect(200).json();
        all["data"].as_array().unwrap().iter().any(|it| it["target"] == id && given_up(it))
    });
    assert_eq!(job(&runner, &id)["state"], "interrupted");
    let other_one = job(&runner, &next);
    assert!(other_one["ended_at"].is_null(), "{other_one}");
}
