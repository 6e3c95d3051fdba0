//! Several servers on one PostgreSQL database.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::harness::{KEY, Server, Setup, postgres_or_skip, task, until};

/// Three servers on one database, with the same plugins.
fn three(setup: &Setup) -> [Server; 3] {
    [setup.start(), setup.another().start(), setup.another().start()]
}

/// A sender that gets no response sends the delivery again, perhaps to another server: a second task would be a patient who is
/// called twice.
#[test]
fn fifty_copies_of_a_delivery_to_three_servers_create_one_task() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let setup = Setup::with_shipped_plugins().on(&database);
    let servers = three(&setup);
    let body = json!({"subject": "Call back", "id": "d-1"}).to_string();
    let replies: Vec<_> = std::thread::scope(|scope| {
        let send = |n: usize| {
            let (server, body) = (&servers[n % 3], &body);
            scope.spawn(move || {
                let headers = [("content-type", "application/json"), ("idempotency-key", "once")];
                server.send("POST", "/v1/hooks/n8n-intake", &headers, body.as_bytes())
            })
        };
        (0..50).map(send).collect::<Vec<_>>().into_iter().map(|it| it.join().unwrap()).collect()
    });
    let first = replies[0].json();
    for reply in &replies {
        // A repetition is answered with 200.
        assert!([200, 201].contains(&reply.status) && reply.json() == first, "{}", reply.text);
    }
    for server in &servers {
        assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 1);
    }
}

/// An admin who revokes a key expects that it works nowhere any more.
#[test]
fn a_key_works_on_all_servers_or_on_none() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let setup = Setup::new().on(&database);
    let servers = three(&setup);
    let asked = json!({"label": "x", "company_id": "company-1", "scopes": ["tasks:read"]});
    let made = servers[0].post("/v1/admin/keys", &asked).expect(201).json();
    let (key, id) = (made["key"].as_str().unwrap(), made["details"]["id"].as_str().unwrap());
    let status = |server: &Server| server.send_as("GET", "/v1/tasks", &[("x-api-key", key)], b"").status;
    for server in &servers {
        until("the key works", || status(server) == 200);
    }
    servers[1].send("DELETE", &format!("/v1/admin/keys/{id}"), &[], b"").expect(204);
    for server in &servers {
        until("the key is revoked", || status(server) == 401);
    }
}

const LANES: &str = "mode = \"async\"\norder_by = \"/group\"\n";

/// The shipped intake with these settings for its queue.
fn intake(lines: &str) -> Setup {
    let setup = Setup::new();
    let folder = setup.plugins.join("n8n-intake");
    std::fs::create_dir(&folder).unwrap();
    let shipped = crate::harness::shipped_plugins().join("n8n-intake");
    for entry in std::fs::read_dir(shipped).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
    }
    let file = folder.join("plugin.toml");
    let manifest = std::fs::read_to_string(&file).unwrap();
    let (head, tables) = manifest.split_at(manifest.find("\n[").unwrap());
    std::fs::write(&file, format!("{head}\n{lines}{tables}")).unwrap();
    setup
}

/// Returns the titles of all tasks, oldest first.
fn titles(server: &Server) -> Vec<String> {
    let (mut titles, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/tasks?limit=100{cursor}")).expect(200).json();
        titles.extend(page["data"].as_array().unwrap().iter().map(|it| it["title"].as_str().unwrap().to_owned()));
        match page["pagination"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    titles.reverse();
    titles
}

fn by_group(titles: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for title in titles {
        groups.entry(title[..1].to_owned()).or_default().push(title.clone());
    }
    groups
}

/// A cancellation that is processed before its booking leaves the booking in the calendar.
#[test]
fn events_of_a_lane_are_processed_in_order_by_any_server_even_if_servers_are_killed() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let setup = intake(LANES).on(&database).config("[store]\nlease_ms = 1000\n");
    let mut servers = three(&setup);
    let groups = ["a", "b", "c", "d"];
    for n in 0..60 {
        for group in groups {
            let body = json!({"subject": format!("{group}-{n:02}"), "group": group});
            servers[n % 3].post("/v1/hooks/n8n-intake", &body).expect(202);
        }
        if n % 20 == 10 {
            // Which one is killed changes, and another takes its place.
            let at = n / 20;
            servers[at].signal("KILL");
            servers[at] = setup.another().start();
        }
    }
    until("nothing is queued", || database.sql("SELECT count(*) FROM hookmill.queue") == "0");
    let all = titles(&servers[0]);
    for (group, titles) in by_group(&all) {
        let expected: Vec<_> = (0..60).map(|n| format!("{group}-{n:02}")).collect();
        assert_eq!(titles, expected);
    }
    assert_eq!(all.len(), 240);
}

/// A server that hangs must not keep its events forever, nor overwrite what another one has done with them in the meantime.
#[test]
fn a_server_that_hangs_loses_its_claims_and_its_late_result_is_rejected() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let setup = intake(LANES).on(&database).config("[store]\nlease_ms = 1500\n");
    let hanging = setup.start();
    let post = |server: &Server, n: usize| {
        server.post("/v1/hooks/n8n-intake", &json!({"subject": format!("a-{n:02}"), "group": "a"})).expect(202);
    };
    (0..30).for_each(|n| post(&hanging, n));
    hanging.signal("STOP");
    let other = setup.another().start();
    (30..40).for_each(|n| post(&other, n));
    until("another server has taken over", || database.sql("SELECT count(*) FROM hookmill.queue") == "0");
    hanging.signal("CONT");
    until("the first server has a lease again", || {
        database.sql("SELECT count(*) FROM hookmill.nodes WHERE leased_until > now()") == "2"
    });
    post(&hanging, 40);
    until("nothing is queued", || database.sql("SELECT count(*) FROM hookmill.queue") == "0");
    let expected: Vec<_> = (0..41).map(|n| format!("a-{n:02}")).collect();
    assert_eq!(titles(&other), expected);
}

/// An operator who separates the roles expects that a burst of requests does not slow down the work, and the reverse.
#[test]
fn a_web_server_leaves_queued_events_to_workers() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let mut setup = intake("mode = \"async\"\n").on(&database);
    setup.extra = vec!["--role".into(), "web".into()];
    let web = setup.start();
    for n in 0..10 {
        web.post("/v1/hooks/n8n-intake", &json!({"subject": format!("a-{n:02}")})).expect(202);
    }
    assert_eq!(database.sql("SELECT count(*) FROM hookmill.queue WHERE node IS NULL"), "10");
    setup.extra[1] = "worker".into();
    let worker = setup.another().start();
    until("the worker has processed them", || database.sql("SELECT count(*) FROM hookmill.queue") == "0");
    assert_eq!(titles(&web).into_iter().collect::<BTreeSet<_>>().len(), 10);
    assert_eq!(worker.get("/healthz").status, 200);
    let body = task().to_string();
    let head = format!(
        "POST /v1/tasks HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nconnection: close\r\ncontent-length: {}",
        body.len()
    );
    let refused = worker.raw(format!("{head}\r\n\r\n{body}").as_bytes());
    assert!(refused.starts_with("HTTP/1.1 404") && refused.contains("--role worker"), "{refused}");
}

/// Two admins who replay an event at the same moment must not create its tasks twice.
#[test]
fn replays_of_one_event_on_two_servers_create_its_task_once() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let setup = intake("").on(&database);
    let servers = three(&setup);
    let refused = servers[0].post("/v1/hooks/n8n-intake", &json!({"subject": 7, "group": {"x": 1}}));
    let event = refused.header("x-event-id").to_owned();
    let file = setup.plugins.join("n8n-intake/input.schema.json");
    std::fs::write(&file, r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}"#).unwrap();
    for server in &servers {
        server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    }
    let path = format!("/v1/events/{event}/replay");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let replay = |n: usize| {
            let (server, path) = (&servers[n % 3], &path);
            scope.spawn(move || server.post(path, &json!({})).status)
        };
        (0..12).map(replay).collect::<Vec<_>>().into_iter().map(|it| it.join().unwrap()).collect()
    });
    let total: Value = servers[0].get("/v1/tasks").expect(200).json()["pagination"]["total"].clone();
    assert!(total.as_u64() <= Some(1), "{statuses:?}");
}
