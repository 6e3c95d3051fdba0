//! Repeated deliveries: what is remembered of them, what counts as another attempt, and what only looks alike.

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness::{Reply, Server, Setup, shipped_plugins, task, until};

const RELOADED: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n";

fn refuses() -> String {
    command("(func (export \"_start\") (call $exit (i32.const 1)))")
}

fn reload(setup: &Setup, server: &Server, wat: &str) {
    std::fs::write(setup.plugins.join("guest/mapper.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
}

fn id(reply: &Reply) -> String {
    reply.header("x-event-id").to_owned()
}

fn event(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/events/{id}")).expect(200).json()
}

fn events(server: &Server, query: &str) -> Vec<Value> {
    server.get(&format!("/v1/events?{query}")).expect(200).json()["data"].as_array().unwrap().clone()
}

fn total(server: &Server) -> u64 {
    server.get("/v1/tasks").expect(200).json()["pagination"]["total"].as_u64().unwrap()
}

/// The shipped plugin of Calendly: it makes a task of a booking, and skips most other messages.
fn calendly(dedupe: &str, mode: &str) -> (Setup, Value) {
    let setup = Setup::new();
    let (from, to) = (shipped_plugins().join("calendly"), setup.plugins.join("calendly"));
    std::fs::create_dir(&to).unwrap();
    for name in ["mapper.wasm", "input.schema.json"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let manifest = std::fs::read_to_string(from.join("plugin.toml")).unwrap();
    std::fs::write(to.join("plugin.toml"), format!("{mode}{manifest}\n[dedupe]\n{dedupe}\n")).unwrap();
    let fixture = std::fs::read_to_string(from.join("fixtures/created.json")).unwrap();
    (setup, serde_json::from_str::<Value>(&fixture).unwrap()["payload"].clone())
}

/// Otherwise the cancellation of a booking is swallowed as its duplicate, or the booking as that of a message before it.
#[test]
fn a_skipped_delivery_is_not_remembered_and_several_values_name_one_together() {
    let (setup, booking) = calendly("pointer = \"/payload/uri\"", "");
    let mut other = booking.clone();
    other["event"] = "routing_form_submission.created".into();
    let server = setup.start();
    let post = |server: &Server, body: &Value| server.post("/v1/hooks/calendly", body);
    assert_eq!(post(&server, &other).expect(200).json()["skipped"], true);
    post(&server, &booking).expect(201);
    assert_eq!(post(&server, &booking).expect(200).header("idempotent-replayed"), "true");

    let (setup, booking) = calendly("pointer = [\"/event\", \"/payload/uri\"]", "");
    let mut canceled = booking.clone();
    canceled["event"] = "invitee.canceled".into();
    let server = setup.start();
    post(&server, &booking).expect(201);
    let reply = post(&server, &canceled);
    assert_eq!(reply.header("idempotent-replayed"), "", "{}", reply.text);
    assert_eq!(post(&server, &booking).expect(200).header("idempotent-replayed"), "true");
}

/// The same for deliveries that are answered before the plugin runs: their answer is remembered before anything is known.
#[test]
fn a_queued_delivery_that_was_skipped_is_not_remembered() {
    let (setup, booking) = calendly("pointer = \"/payload/uri\"", "mode = \"async\"\n");
    let mut other = booking.clone();
    other["event"] = "routing_form_submission.created".into();
    let server = setup.start();
    let settled = |body: &Value| {
        let reply = server.post("/v1/hooks/calendly", body).expect(202);
        until("it is processed", || event(&server, &id(&reply))["status"] != "queued");
        event(&server, &id(&reply))
    };
    assert_eq!(settled(&other)["status"], "skipped");
    assert_eq!(settled(&booking)["status"], "stored");
    assert_eq!(server.post("/v1/hooks/calendly", &booking).expect(200).header("idempotent-replayed"), "true");
    assert_eq!(total(&server), 1);
}

/// Otherwise a provider that tries for days fills the quarantine with copies of one delivery.
#[test]
fn each_try_of_a_quarantined_delivery_is_an_attempt_of_one_event() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "[dedupe]\npointer = \"/id\"\n", &refuses());
    let server = setup.start();
    let send = |body: &Value| server.post("/v1/hooks/guest", body);
    let delivery = json!({"id": "d-1", "n": 1});
    let first = send(&delivery).expect(422);
    for _ in 0..4 {
        assert_eq!(id(&send(&delivery).expect(422)), id(&first));
    }
    let now = event(&server, &id(&first));
    assert_eq!((&now["attempts"], &now["status"]), (&json!(5), &json!("quarantined")));
    assert!(now["last_attempt_at"].as_str().unwrap() >= now["received_at"].as_str().unwrap());
    // Another body under the same id is not an attempt of it.
    let other = send(&json!({"id": "d-1", "n": 2})).expect(422);
    assert_ne!(id(&other), id(&first));
    assert_eq!(events(&server, "status=quarantined").len(), 2);
    // Copies at the same time are attempts of one event as well, and none is lost.
    let both = json!({"id": "d-2"});
    let ids: Vec<String> = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..8).map(|_| scope.spawn(|| id(&send(&both).expect(422)))).collect();
        senders.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|it| *it == ids[0]), "{ids:?}");
    assert_eq!(event(&server, &ids[0])["attempts"], 8);
    // The plugin is repaired: the next try creates the task, under the same event, and is known from then on.
    reload(&setup, &server, &says(&task().to_string()));
    let created = send(&both).expect(201);
    assert_eq!((id(&created), total(&server)), (ids[0].clone(), 1));
    let now = event(&server, &ids[0]);
    assert_eq!((&now["attempts"], &now["status"]), (&json!(9), &json!("stored")));
    let again = send(&both).expect(200);
    assert_eq!((again.header("idempotent-replayed"), again.json()), ("true", created.json()));
    assert_eq!(total(&server), 1);
}

/// Otherwise a message that only shares its id with another would be lost without a word.
#[test]
fn a_duplicate_with_another_body_is_shown_as_such_and_can_be_replayed() {
    let manifest = "[dedupe]\npointer = \"/id\"\n";
    let setup = Setup::new().config(RELOADED).plugin("guest", manifest, &says(&task().to_string()));
    let server = setup.start();
    let send = |n: u32| server.post("/v1/hooks/guest", &json!({"id": "d-1", "n": n, "secret": "swordfish"}));
    let first = send(1).expect(201);
    let copy = send(1).expect(200);
    let other = send(2).expect(200);
    let duplicates = events(&server, "status=duplicate");
    let [differs, same] = duplicates.as_slice() else { panic!("{duplicates:?}") };
    assert_eq!(
        (&differs["reason"]["code"], &same["reason"]["code"]),
        (&json!("duplicate_differs"), &json!("duplicate"))
    );
    assert!(differs["reason"]["message"].as_str().unwrap().contains(&id(&first)), "{differs}");
    assert_eq!((id(&copy), id(&other)), (id(&first), id(&first)));
    // The body of a true copy is not stored again; the other one is, and its replay makes a task of its own.
    let replay = |it: &Value| server.post(&format!("/v1/events/{}/replay", it["id"].as_str().unwrap()), &json!({}));
    assert_eq!(replay(same).expect(409).code(), "not_replayable");
    assert!(event(&server, same["id"].as_str().unwrap()).get("body").is_none());
    assert_eq!(replay(differs).expect(200).json()["created"], 1);
    assert_eq!((total(&server), replay(differs).expect(200).json()["left"].clone()), (2, json!(1)));
    // The first delivery is still the one that is known.
    assert_eq!(send(1).expect(200).json(), first.json());
    let log = server.stop();
    let warning = log.lines().find(|it| it.contains("WARN") && it.contains("another body")).unwrap_or_default();
    assert!(warning.contains("guest") && !warning.contains("swordfish"), "{log}");
}

/// Otherwise what an integration was sent would be kept for as long as it is replayed, and its body once for each time.
#[test]
fn an_event_that_is_stored_again_keeps_one_body_and_its_time() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "", &refuses());
    let server = setup.start();
    let filler = "y".repeat(200_000);
    let first = server.post("/v1/hooks/guest", &json!({"filler": filler})).expect(422);
    for _ in 0..20 {
        server.post(&format!("/v1/events/{}/replay", id(&first)), &json!({})).expect(200);
    }
    let now = event(&server, &id(&first));
    assert_eq!(now["body"].as_str().unwrap().len(), json!({"filler": filler}).to_string().len());
    assert_eq!((&now["attempts"], now["headers"]["user-agent"].is_string()), (&json!(1), true));
    server.stop();
    let journal = std::fs::read_dir(setup.data.join("journal")).unwrap().map(|it| it.unwrap().path());
    let bodies: usize = journal
        .filter(|it| it.extension().is_some_and(|it| it == "journal"))
        .map(|it| memchr::memmem::find_iter(&std::fs::read(it).unwrap(), &filler).count())
        .sum();
    assert_eq!(bodies, 1);
}

/// Otherwise its sender gets 503 for the rest of its tries, and what it sends is stored nowhere.
#[test]
fn a_try_after_its_event_left_the_quarantine_is_a_delivery_of_its_own() {
    let setup = Setup::new().config(RELOADED).plugin("guest", "[dedupe]\npointer = \"/id\"\n", &refuses());
    let server = setup.start();
    let send = |id: &str| server.post("/v1/hooks/guest", &json!({"id": id, "patient_id": "patient-1"}));
    let erased = send("d-1").expect(422);
    server.post("/v1/events/erase", &json!({"patient_id": "patient-1"})).expect(200);
    let again = send("d-1").expect(422);
    assert_ne!(id(&again), id(&erased));
    // It is an event like any other: its next copy is an attempt of it.
    assert_eq!(id(&send("d-1").expect(422)), id(&again));
    assert_eq!(event(&server, &id(&again))["attempts"], 2);
    // The same after a replay that made nothing.
    let skipped = send("d-2").expect(422);
    reload(&setup, &server, &says(&json!({"skip": "nothing to do"}).to_string()));
    server.post(&format!("/v1/events/{}/replay", id(&skipped)), &json!({})).expect(200);
    reload(&setup, &server, &refuses());
    assert_ne!(id(&send("d-2").expect(422)), id(&skipped));
}
