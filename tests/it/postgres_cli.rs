//! The command line on a PostgreSQL database: keys, the audit log, erasures, exports, and the tables' version.

use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Database, Server, Setup, binary, postgres_or_skip, task, until};

/// Runs a command on a database. Its data directory is empty.
fn run(database: &Database<'_>, setup: &Setup, args: &[&str]) -> Output {
    let mut command = binary();
    command.args(args).arg("--data-dir").arg(setup.data.with_extension("other"));
    command.env("HOOKMILL_DATABASE_URL", database.url()).output().unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn value(output: &Output) -> Value {
    let text = succeeds(output);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// A server on this database.
fn serving(setup: Setup, database: &Database<'_>) -> (Setup, Server) {
    let setup = setup.env("HOOKMILL_DATABASE_URL", &database.url());
    let server = setup.start();
    (setup, server)
}

/// An admin who manages keys on another machine than the servers' must see what the servers see, and a revoked key must stop
/// working there.
#[test]
fn keys_and_the_audit_log_are_those_of_the_database() {
    let cluster = postgres_or_skip!();
    let (database, setup) = (cluster.database(), Setup::new());
    let create = ["key", "create", "--company", "company-1", "--scope", "tasks:write", "--label", "ward 3"];
    let key = succeeds(&run(&database, &setup, &create)).trim().to_owned();
    let (setup, server) = serving(setup, &database);
    let post = || {
        let headers = [("x-api-key", &*key), ("content-type", "application/json")];
        server.send_as("POST", "/v1/tasks", &headers, task().to_string().as_bytes())
    };
    post().expect(201);
    let listed = value(&run(&database, &setup, &["key", "list", "--json"]));
    let ours = listed["data"].as_array().unwrap().iter().find(|it| it["label"] == "ward 3").unwrap();
    let id = ours["id"].as_str().unwrap();
    let said = succeeds(&run(&database, &setup, &["key", "revoke", id]));
    assert_eq!(said, format!("{id} is revoked\n"));
    until("the server knows that the key is revoked", || post().status == 401);
    let lines = succeeds(&run(&database, &setup, &["audit", "--company", "company-1", "--json"]));
    let entries: Vec<Value> = lines.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let ours: Vec<_> = entries.iter().filter(|it| it["target"] == id).map(|it| (&it["actor"], &it["action"])).collect();
    let entry = |action| (json!("command line"), json!(action));
    let expected = [entry("key.revoked"), entry("key.created")];
    assert!(ours.into_iter().eq(expected.iter().map(|it| (&it.0, &it.1))), "{entries:?}");
}

/// The running server has a token in its data directory, so that no second way into its database is needed.
#[test]
fn a_server_that_holds_the_data_directory_is_asked() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (setup, server) = serving(Setup::new(), &database);
    let mut command = binary();
    command.args(["key", "list", "--json", "--data-dir"]).arg(&setup.data);
    assert_eq!(value(&command.output().unwrap())["data"].as_array().unwrap().len(), 1);
    let mut command = binary();
    command.args(["store", "stats", "--json", "--data-dir"]).arg(&setup.data);
    assert_eq!(value(&command.output().unwrap())["api_keys"], 1);
    server.stop();
}

#[test]
fn a_patients_events_are_listed_and_erased() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (setup, server) = serving(Setup::new(), &database);
    let mut task = task();
    task["patient_id"] = "p-4711".into();
    let company = server.post("/v1/tasks", &task).expect(201).json()["company_id"].as_str().unwrap().to_owned();
    let erase = ["events", "erase", "--company", &company, "--patient", "p-4711", "--json"];
    let found = value(&run(&database, &setup, &erase));
    assert_eq!(found["events"].as_array().unwrap().len(), 1, "{found}");
    let body = "SELECT count(*) FROM hookmill.event_bodies";
    assert_eq!(database.sql(body), "1", "listing erases nothing");
    let erased = value(&run(&database, &setup, &[&erase[..], &["--yes"]].concat()));
    assert_eq!(erased["events"], found["events"]);
    assert_eq!(database.sql(body), "0");
    let log = succeeds(&run(&database, &setup, &["audit", "--json"]));
    assert!(log.lines().next().unwrap().contains("events.erased"), "{log}");
}

/// Otherwise a database could be left only with its own tools.
#[test]
fn an_export_has_everything_and_can_be_imported() {
    let cluster = postgres_or_skip!();
    let (database, other) = (cluster.database(), cluster.database());
    let (setup, server) = serving(Setup::new(), &database);
    let body = task().to_string();
    let headers = [("content-type", "application/json"), ("idempotency-key", "one")];
    let first = server.send("POST", "/v1/tasks", &headers, body.as_bytes()).expect(201);
    server.post("/v1/tasks", &json!({"title": "no task"})).expect(422);
    server.stop();
    let file = setup.data.with_extension("ndjson");
    let counts = value(&run(&database, &setup, &["store", "export", file.to_str().unwrap(), "--json"]));
    // The first key was created once, which is remembered like a response.
    let expected = json!({"tasks": 1, "events": 2, "api_keys": 1, "audit_entries": 2, "answers": 2, "skipped": 0});
    assert_eq!(counts, expected);
    let lines = std::fs::read(&file).unwrap();
    // Through a pipe.
    let import = |database: &Database<'_>| {
        let mut command = binary();
        command.args(["store", "import", "--json", "--data-dir"]).arg(setup.data.with_extension("new"));
        command.env("HOOKMILL_DATABASE_URL", database.url()).stdin(std::fs::File::open(&file).unwrap());
        value(&command.output().unwrap())
    };
    assert_eq!(import(&other), expected);
    assert_eq!(import(&other)["skipped"], 8);
    let again = text(&run(&other, &setup, &["store", "export"]).stdout);
    let kept = |it: &&str| !it.contains("store.exported") && !it.contains("store.imported");
    let mut lines: Vec<String> = text(&lines).lines().filter(kept).map(str::to_owned).collect();
    let mut again: Vec<String> = again.lines().filter(kept).map(str::to_owned).collect();
    lines.sort_unstable();
    again.sort_unstable();
    assert_eq!(again, lines);
    let stats = succeeds(&run(&other, &setup, &["store", "stats"]));
    assert!(stats.contains("API keys 1, idempotency keys 2"), "{stats}");

    // An embedded store imports them too.
    let embedded = Setup::new();
    let mut command = binary();
    command.args(["store", "import", "--json"]).arg(&file).arg("--data-dir").arg(&embedded.data);
    assert_eq!(value(&command.output().unwrap()), expected);
    let server = embedded.start();
    let repeated = server.send("POST", "/v1/tasks", &headers, body.as_bytes()).expect(201);
    assert_eq!((repeated.header("idempotent-replayed"), &repeated.text), ("true", &first.text));
}

/// A user who asks for a backup of the data directory would get one without the data.
#[test]
fn operations_on_files_name_what_to_use_instead() {
    let setup = Setup::new();
    let url = "postgres://u:s3cret@db.example.org/hooks?sslmode=verify-full";
    let cases: [(&[&str], &str); 5] = [
        (&["backup", "/nowhere"], "pg_dump or pg_basebackup"),
        (&["restore", "/nowhere"], "pg_restore"),
        (&["check"], "pg_amcheck"),
        (&["compact"], "VACUUM"),
        (&["bench"], "pgbench"),
    ];
    for (args, instead) in cases {
        let mut command = binary();
        command.arg("store").args(args).args(["--database-url", url, "--data-dir"]).arg(&setup.data);
        let output = command.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(instead) && said.contains("database hooks on db.example.org:5432"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn migrate_schema_creates_the_tables_once() {
    let cluster = postgres_or_skip!();
    let (database, setup) = (cluster.database(), Setup::new());
    let without = binary().args(["store", "migrate-schema"]).output().unwrap();
    let said = text(&without.stderr);
    assert!(without.status.code() == Some(2) && said.contains("HOOKMILL_DATABASE_URL"), "{said}");
    let migrate = |args: &[&str]| run(&database, &setup, &[&["store", "migrate-schema"], args].concat());
    let migrated = value(&migrate(&["--json"]));
    let (from, to) = (migrated["from"].as_u64().unwrap(), migrated["to"].as_u64().unwrap());
    assert!(from == 0 && to > 0, "{migrated}");
    assert!(migrated["database"].as_str().unwrap().starts_with(&format!("database {} on /", database.name())));
    assert_eq!(database.sql("SELECT version FROM hookmill.schema_version"), to.to_string());
    let said = succeeds(&migrate(&[]));
    assert!(said.ends_with(&format!("schema {to} is up to date\n")), "{said}");
}

/// Nodes are updated one after another: the first one migrates the tables while the others serve.
#[test]
fn a_schema_that_is_one_version_newer_is_served_and_two_is_refused() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (setup, server) = serving(Setup::new(), &database);
    server.post("/v1/tasks", &task()).expect(201);
    server.stop();
    database.sql("UPDATE hookmill.schema_version SET version = version + 1");
    let server = setup.start();
    server.post("/v1/tasks", &task()).expect(201);
    server.stop();
    database.sql("UPDATE hookmill.schema_version SET version = version + 1");
    let output = setup.command().output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("update it"), "{said}");
    assert_eq!(database.sql("SELECT count(*) FROM hookmill.tasks"), "2");
}

/// Otherwise the first deployment of two nodes fails by chance.
#[test]
fn two_servers_that_start_at_once_on_an_empty_database_both_serve() {
    let cluster = postgres_or_skip!();
    for _ in 0..3 {
        let database = cluster.database();
        let start = || serving(Setup::new(), &database).1;
        let (one, other) = std::thread::scope(|scope| {
            let both = [scope.spawn(start), scope.spawn(start)].map(|it| it.join().unwrap());
            <(Server, Server)>::from(both)
        });
        let task = one.post("/v1/tasks", &task()).expect(201).json();
        let id = task["id"].as_str().unwrap();
        assert_eq!(other.get(&format!("/v1/tasks/{id}")).expect(200).json(), task);
        // One API key, and not one of each.
        assert_eq!(database.sql("SELECT count(*) FROM hookmill.api_keys"), "1");
    }
}

/// A command without a URL must not silently use another store.
#[test]
fn wrong_combinations_are_usage_errors() {
    let setup = Setup::new();
    let data = setup.data.to_str().unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["store", "migrate", "--data-dir", data], "--to is missing"),
        (&["store", "migrate", "--to", "mysql://u:s3cret@h/d", "--data-dir", data], "must begin with postgres://"),
        (
            &["store", "migrate", "--to", "postgres://u:s3cret@localhost/d", "--data-dir", data],
            "is not a data directory",
        ),
        (&["store", "migrate", "postgres://u:s3cret@localhost/d", "--data-dir", data], "unexpected argument"),
        (&["plugin", "check", data, "--database-url=postgres://u:s3cret@localhost/d"], "unexpected argument"),
        (&["serve", "--role", "web", "--data-dir", data], "--role needs --database-url"),
    ];
    for (args, expected) in cases {
        let output = binary().args(args).output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
        assert!(!said.contains("s3cret"), "{args:?}: {said}");
    }
}

/// A server whose secret is missing must not keep what it acknowledges to itself.
#[test]
fn an_empty_url_is_an_error() {
    let setup = Setup::new().env("HOOKMILL_DATABASE_URL", "");
    let output = setup.command().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("HOOKMILL_DATABASE_URL: is empty; set it, or remove it"), "{said}");
}

/// Not every user of a database may create schemas in it.
#[test]
fn the_schema_may_exist_before_and_another_program_s_is_recognized() {
    let cluster = postgres_or_skip!();
    let (database, setup) = (cluster.database(), Setup::new());
    database.sql("CREATE SCHEMA hookmill");
    cluster.sql(&format!("REVOKE CREATE ON DATABASE {} FROM hookmill, public", database.name()));
    succeeds(&run(&database, &setup, &["store", "migrate-schema"]));
    let newer = "UPDATE hookmill.schema_version SET version = version + 2";
    database.sql(newer);
    let output = run(&database, &setup, &["store", "migrate-schema"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("this hookmill knows"), "{}", text(&output.stderr));
    database.sql("ALTER TABLE hookmill.schema_version RENAME COLUMN version TO v");
    let output = run(&database, &setup, &["store", "stats"]);
    assert!(text(&output.stderr).contains("belongs to another program"), "{}", text(&output.stderr));
}

/// An answer 500 wakes someone up.
#[test]
fn a_filter_with_nul_matches_nothing() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (_setup, server) = serving(Setup::new(), &database);
    server.post("/v1/tasks", &task()).expect(201);
    for filter in ["id=%00", "id=a%00b", "integration=%00", "reason=%00"] {
        let listed = server.get(&format!("/v1/events?{filter}")).expect(200).json();
        assert_eq!(listed["data"], json!([]), "{filter}");
    }
    for filter in ["patient_id=%00", "type=%00", "assigned_user_id=%00"] {
        let listed = server.get(&format!("/v1/tasks?{filter}")).expect(200).json();
        assert_eq!(listed["data"], json!([]), "{filter}");
    }
}

/// A free disk of 0 bytes would set off the alert about a full one.
#[test]
fn metrics_have_the_database_s_queue_and_nothing_of_files() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (_setup, server) = serving(Setup::new().env("HOOKMILL_METRICS_TOKEN", TOKEN), &database);
    let shown = || {
        let reply =
            server.send_as("GET", "/metrics", &[("authorization", &format!("Bearer {TOKEN}"))], b"").expect(200);
        reply.text.clone()
    };
    until("the store is ready", || shown().lines().any(|it| it == "hookmill_store_ready 1"));
    let shown = shown();
    assert!(shown.lines().any(|it| it == "hookmill_queue_stored 0"), "{shown}");
    for of_files in ["hookmill_store_free_bytes", "hookmill_journal_segments", "hookmill_backup_last"] {
        assert!(!shown.contains(of_files), "{of_files}");
    }
}

const TOKEN: &str = "token-of-24-characters-or-more";
