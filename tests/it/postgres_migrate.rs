//! `hookmill store migrate`: a data directory becomes a PostgreSQL database, and senders and users notice nothing.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness::{Cluster, Database, Reply, Server, Setup, binary, postgres_or_skip, shipped_plugins, task, until};

/// Of the tasks that each batch creates; more than the migration writes at once.
const TASKS: usize = 700;
const LOOP: &str = "(func (export \"_start\") (loop (br 0)))";

fn migrate(data: &Path, to: &str) -> Command {
    let mut command = binary();
    command.args(["store", "migrate", "--json", "--data-dir"]).arg(data).env("HOOKMILL_MIGRATE_TO", to);
    command
}

/// Exit code, what was printed, and what was said.
fn run(mut command: Command) -> (Option<i32>, Value, String) {
    let out = command.output().unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    (out.status.code(), serde_json::from_slice(&out.stdout).unwrap_or_default(), said)
}

/// n8n-intake as a queue that keeps its order; a plugin that creates a task, and one that refuses everything.
fn setup() -> Setup {
    let setup = Setup::new().plugin("guest", "[dedupe]\npointer = \"/id\"\n", &says(&task().to_string())).plugin(
        "refuses",
        "[dedupe]\npointer = \"/id\"\n",
        &command("(func (export \"_start\") (call $exit (i32.const 1)))"),
    );
    let (from, to) = (shipped_plugins().join("n8n-intake"), setup.plugins.join("n8n-intake"));
    std::fs::create_dir_all(&to).unwrap();
    std::fs::copy(from.join("input.schema.json"), to.join("input.schema.json")).unwrap();
    let own = std::fs::read_to_string(from.join("plugin.toml")).unwrap();
    let queue = "mode = \"async\"\norder_by = \"/group\"\n";
    std::fs::write(to.join("plugin.toml"), format!("{queue}{own}\n[limits]\ntime_ms = 60000\nconcurrency = 1\n"))
        .unwrap();
    std::fs::write(to.join("mapper.wasm"), wat::parse_str(command(LOOP)).unwrap()).unwrap();
    setup
}

fn send(server: &Server, path: &str, key: Option<&str>, body: &Value) -> Reply {
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|it| ("idempotency-key", it)));
    server.send("POST", path, &headers, body.to_string().as_bytes())
}

/// A directory with something of every kind. Its server is killed at the end, while events are queued.
fn filled(setup: &Setup) -> Filled {
    let server = setup.start();
    let batch: Vec<Value> = (0..100).map(|_| task()).collect();
    for n in 0..TASKS / 100 {
        send(&server, "/v1/tasks/batch", Some(&format!("batch-{n}")), &json!(batch)).expect(200);
    }
    let id = |reply: &Reply| reply.json()["id"].as_str().unwrap().to_owned();
    let (changed, deleted) =
        (server.post("/v1/tasks", &task()).expect(201), server.post("/v1/tasks", &task()).expect(201));
    let patch = json!({"version": 1, "status": "completed"}).to_string();
    server.send("PATCH", &format!("/v1/tasks/{}", id(&changed)), &[], patch.as_bytes()).expect(200);
    server.send("DELETE", &format!("/v1/tasks/{}", id(&deleted)), &[], b"").expect(204);
    let keyed = send(&server, "/v1/tasks", Some("keyed"), &task()).expect(201);
    let batch = send(&server, "/v1/tasks/batch", Some("batch-0"), &json!(batch));
    let delivered = send(&server, "/v1/hooks/guest", None, &json!({"id": "d-1"})).expect(201);
    let refused = send(&server, "/v1/hooks/refuses", None, &json!({"id": "d-2"}));
    assert!(refused.status >= 400, "{}", refused.text);
    for n in 0..12 {
        let body = json!({"subject": format!("queued {n:02}"), "group": "a"});
        send(&server, "/v1/hooks/n8n-intake", None, &body).expect(202);
    }
    let admin = [("x-api-key", &*setup.operator()), ("content-type", "application/json"), ("idempotency-key", "made")];
    let asked = json!({"company_id": "other", "scopes": ["tasks:read"], "label": "x"}).to_string();
    let made = server.send_as("POST", "/v1/admin/keys", &admin, asked.as_bytes()).expect(201);
    let key = made.json()["key"].as_str().unwrap().to_owned();
    let erased = json!({"patient_id": "p-0815", "dry_run": false});
    let erase =
        server.send_as("POST", "/v1/events/erase?company_id=company-1", &admin[..2], erased.to_string().as_bytes());
    erase.expect(200);
    let paths = pages(&server);
    let answers = paths.iter().map(|it| (it.clone(), server.get(it).expect(200).text)).collect();
    Filled { keyed: keyed.text, batch: batch.text, delivered: delivered.text, refused, key, answers }
}

/// What the server of the directory answered.
struct Filled {
    keyed: String,
    batch: String,
    delivered: String,
    refused: Reply,
    key: String,
    answers: Vec<(String, String)>,
}

/// Lists of tasks and events, single ones, keys and the audit log.
fn pages(server: &Server) -> Vec<String> {
    let mut paths: Vec<String> = (1..=8).map(|page| format!("/v1/tasks?limit=100&page={page}")).collect();
    paths.extend(["/v1/tasks?status=completed".into(), "/v1/events?limit=100".into()]);
    paths.extend(["/v1/events?status=queued".into(), "/v1/events?status=quarantined".into()]);
    let events = server.get("/v1/events?limit=20").expect(200).json();
    let ids = events["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned());
    paths.extend(ids.map(|it| format!("/v1/events/{it}")));
    paths
}

/// Holds the migration once it has stored this many tasks.
fn hold(database: &Database<'_>, tasks: usize) {
    database.sql(&format!(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF (SELECT count(*) FROM hookmill.tasks) >= {tasks} THEN PERFORM pg_sleep(15); END IF; RETURN NULL; END $$; \
         CREATE TRIGGER hold AFTER INSERT ON hookmill.tasks FOR EACH STATEMENT EXECUTE FUNCTION hold()"
    ));
}

fn ends_sessions(cluster: &Cluster, database: &Database<'_>) {
    let others = format!("datname = '{}' AND pid <> pg_backend_pid()", database.name());
    cluster.sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}"));
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE {others}");
    until("the killed migration's sessions have ended", || cluster.sql(&left) == "0");
}

#[test]
fn a_migration_that_is_killed_and_repeated_moves_everything() {
    let cluster = postgres_or_skip!();
    let (database, setup) = (cluster.database(), setup());
    let filled = filled(&setup);
    let mut tables = binary();
    tables.args(["store", "migrate-schema", "--database-url", &database.url()]);
    assert!(tables.output().unwrap().status.success());
    hold(&database, 600);
    let mut first = migrate(&setup.data, &database.url()).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    until("a part is stored", || {
        assert!(first.try_wait().unwrap().is_none(), "it has ended");
        cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") != "0"
    });
    first.kill().unwrap();
    first.wait().unwrap();
    ends_sessions(cluster, &database);
    let stored: usize = database.sql("SELECT count(*) FROM hookmill.tasks").parse().unwrap();
    assert!((1..TASKS).contains(&stored), "{stored}");
    assert_eq!(database.sql("SELECT count(*) FROM hookmill.answers"), "0");
    database.sql("DROP TRIGGER hold ON hookmill.tasks; DROP FUNCTION hold");

    let (code, answer, said) = run(migrate(&setup.data, &database.url()));
    assert_eq!((code, &answer["equal"], &answer["differing"]), (Some(0), &json!(true), &json!(0)), "{answer} {said}");
    assert!(answer["skipped"].as_u64().unwrap() >= stored as u64, "{answer}");
    let count = |kind: &str| answer["kinds"][kind]["directory"]["count"].as_u64().unwrap();
    // One deleted task; a batch's tasks each have an event; the queue, two deliveries, and both changes of tasks.
    assert_eq!((count("tasks"), count("api_keys"), count("erasures")), (TASKS as u64 + 4, 2, 1), "{answer}");
    assert_eq!(count("events"), TASKS as u64 + 4 + 1 + 12, "{answer}");
    // The responses to 7 batches, a task, two deliveries and an admin; an admin's is stored twice.
    assert_eq!(count("answers"), 7 + 1 + 2 + 2, "{answer}");
    assert!(said.contains("copied: ") && said.contains("/s"), "{said}");

    // It is repeated once more before the servers are started, by a cautious admin.
    let (code, answer, said) = run(migrate(&setup.data, &database.url()));
    assert_eq!((code, &answer["equal"]), (Some(0), &json!(true)), "{answer} {said}");
    answers_the_same(setup, &database, &filled);
}

fn answers_the_same(setup: Setup, database: &Database<'_>, filled: &Filled) {
    let module = shipped_plugins().join("n8n-intake/mapper.wasm");
    let own = setup.plugins.join("n8n-intake");
    let hidden = setup.plugins.with_extension("n8n-intake");
    std::fs::rename(&own, &hidden).unwrap();
    let setup = setup.env("HOOKMILL_DATABASE_URL", &database.url());
    let data = setup.data.clone();
    std::fs::rename(&data, data.with_extension("migrated")).unwrap();
    let server = setup.start();
    for (path, expected) in &filled.answers {
        assert_eq!(&stored_part(&server.get(path).expect(200).text), &stored_part(expected), "{path}");
    }
    // The keys work.
    server.send_as("GET", "/v1/tasks", &[("x-api-key", &filled.key)], b"").expect(200);
    let repeated = send(&server, "/v1/tasks", Some("keyed"), &task()).expect(201);
    assert_eq!((repeated.header("idempotent-replayed"), &repeated.text), ("true", &filled.keyed));
    let batch: Vec<Value> = (0..100).map(|_| task()).collect();
    let repeated = send(&server, "/v1/tasks/batch", Some("batch-0"), &json!(batch));
    assert_eq!((repeated.header("idempotent-replayed"), &repeated.text), ("true", &filled.batch));
    let repeated = send(&server, "/v1/hooks/guest", None, &json!({"id": "d-1"}));
    assert_eq!((repeated.header("idempotent-replayed"), &repeated.text), ("true", &filled.delivered));
    let refused = send(&server, "/v1/hooks/refuses", None, &json!({"id": "d-2"}));
    assert_eq!(refused.header("x-event-id"), filled.refused.header("x-event-id"), "it is another attempt of its event");
    let admin = [("x-api-key", &*setup.operator()), ("content-type", "application/json"), ("idempotency-key", "made")];
    let asked = json!({"company_id": "other", "scopes": ["tasks:read"], "label": "x"}).to_string();
    let again = server.send_as("POST", "/v1/admin/keys", &admin, asked.as_bytes()).expect(201);
    assert_eq!((again.header("idempotent-replayed"), &again.json()["key"]), ("true", &Value::Null));
    // Queued events become tasks, in their order.
    assert_eq!(database.sql("SELECT count(*) FROM hookmill.queue"), "12");
    std::fs::rename(&hidden, &own).unwrap();
    std::fs::copy(module, own.join("mapper.wasm")).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    until("no event is queued", || database.sql("SELECT count(*) FROM hookmill.queue") == "0");
    let tasks = server.get("/v1/tasks?limit=12").expect(200).json();
    let titles: Vec<_> = tasks["data"].as_array().unwrap().iter().rev().map(|it| it["title"].clone()).collect();
    let expected: Vec<_> = (0..12).map(|n| json!(format!("queued {n:02}"))).collect();
    assert_eq!(titles, expected);
}

/// What does not depend on the store, as a cursor does, or on the plugins.
fn stored_part(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).unwrap();
    // Only a live plugin's payload is shown.
    value.as_object_mut().unwrap().remove("payload");
    if let Some(pagination) = value["pagination"].as_object_mut() {
        pagination.retain(|name, _| !name.contains("cursor"));
    }
    value
}

/// The two would be mixed up, and neither count nor checksum would show which has what.
#[test]
fn a_database_with_other_data_is_not_reported_as_equal() {
    let cluster = postgres_or_skip!();
    let (database, setup, other) = (cluster.database(), Setup::new(), Setup::new());
    for it in [&setup, &other] {
        it.start().post("/v1/tasks", &task()).expect(201);
    }
    assert_eq!(run(migrate(&setup.data, &database.url())).0, Some(0));
    // An item with the same id and other content.
    database.sql("UPDATE hookmill.tasks SET document = replace(document, 'Refill', 'Another')");
    let (code, answer, said) = run(migrate(&setup.data, &database.url()));
    assert_eq!(
        (code, &answer["kinds"]["tasks"]["equal"], &answer["differing"]),
        (Some(1), &json!(false), &json!(1)),
        "{answer}"
    );
    assert!(said.contains("left unchanged"), "{said}");
    let (code, answer, said) = run(migrate(&other.data, &database.url()));
    // Both servers got the same first key from their settings. A hash belongs to one key.
    assert_eq!((code, &answer["equal"], &answer["differing"]), (Some(1), &json!(false), &json!(1)), "{answer} {said}");
    assert!(answer["differing_items"][0].as_str().unwrap().starts_with("api_key "), "{answer}");
    assert_eq!(answer["kinds"]["tasks"]["database"]["count"], 2);
}

/// Both would change what is copied and compared.
#[test]
fn a_running_server_on_either_side_is_refused() {
    let cluster = postgres_or_skip!();
    let (database, setup) = (cluster.database(), Setup::new());
    let server = setup.start();
    let (code, _, said) = run(migrate(&setup.data, &database.url()));
    assert!(code == Some(3) && said.contains("stop that server first"), "{code:?} {said}");
    server.stop();
    let other = Setup::new().env("HOOKMILL_DATABASE_URL", &database.url());
    let server = other.start();
    let (code, _, said) = run(migrate(&setup.data, &database.url()));
    assert!(code == Some(1) && said.contains("servers use the database"), "{code:?} {said}");
    server.stop();
    let (code, _, said) = run(migrate(&setup.data, &database.url()));
    assert_eq!(code, Some(1), "the first key of the other server is there: {said}");
}
