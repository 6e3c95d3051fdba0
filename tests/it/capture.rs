//! `mode = "capture"`: deliveries are stored first, and mapped later.

use std::io::Write as _;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness;
use crate::harness::{KEY, Reply, Server, Setup, task, until};

const RELOADED: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n";
const HEAD: &str = "name = \"orders\"\nversion = \"1\"\ncompany_id = \"company-1\"\n";
const AUTH: &str = "[auth]\nscheme = \"api-key\"\n[dedupe]\npointer = \"/id\"\n";

/// Writes the folder's plugin.toml, with these lines before `[auth]`.
fn manifest(setup: &Setup, lines: &str) {
    let dir = setup.plugins.join("orders");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("plugin.toml"), format!("{HEAD}{lines}{AUTH}")).unwrap();
}

/// Gives the folder a schema that requires a name, and a mapping.
fn mapping(setup: &Setup, wat: &str) {
    let dir = setup.plugins.join("orders");
    std::fs::write(dir.join("mapper.wasm"), wat::parse_str(wat).unwrap()).unwrap();
    let schema = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["name"]}"#;
    std::fs::write(dir.join("input.schema.json"), schema).unwrap();
}

const MAPPED: &str = "module = \"mapper.wasm\"\nschema = \"input.schema.json\"\n";

fn captures() -> Setup {
    let setup = Setup::new().config(RELOADED);
    manifest(&setup, "mode = \"capture\"\n");
    setup
}

fn reload(server: &Server) -> Value {
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json()
}

fn id(reply: &Reply) -> String {
    reply.header("x-event-id").to_owned()
}

fn event(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/events/{id}")).expect(200).json()
}

fn of_status(server: &Server, status: &str) -> Vec<String> {
    let page = server.get(&format!("/v1/events?status={status}")).expect(200).json();
    page["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

fn replay(server: &Server, id: &str) -> Reply {
    server.send("POST", &format!("/v1/events/{id}/replay"), &[], b"")
}

fn run(setup: &Setup, args: &[&str]) -> (Option<i32>, String) {
    let mut command = harness::binary();
    let out = command.args(args).arg("--data-dir").arg(&setup.data).envs(setup.env.iter().cloned()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), said)
}

/// Otherwise the first deliveries of a new sender are lost, or in quarantine, until somebody has written a mapping.
#[test]
fn a_folder_without_a_mapping_captures_deliveries_that_become_tasks_later() {
    let setup = captures();
    let server = setup.start();
    let first = server.post("/v1/hooks/orders", &json!({"id": 1, "name": "Ada"})).expect(202);
    let captured = id(&first);
    assert_eq!(first.json(), json!({"event_id": captured, "status": "captured"}));
    assert_eq!(first.header("location"), format!("/v1/events/{captured}"));
    let stored = event(&server, &captured);
    assert_eq!(
        (&stored["status"], &stored["reason"], &stored["task_ids"]),
        (&json!("captured"), &json!(null), &json!([]))
    );
    assert!(stored["body"].to_string().contains("Ada"), "{stored}");
    assert_eq!(of_status(&server, "captured"), std::slice::from_ref(&captured));
    assert!(of_status(&server, "quarantined").is_empty());
    let metrics = server.send_as("GET", "/metrics", &[("x-api-key", &setup.operator())], b"").expect(200).text;
    assert!(metrics.contains("hookmill_deliveries_total{integration=\"orders\",outcome=\"captured\"} 1"), "{metrics}");

    let again = server.post("/v1/hooks/orders", &json!({"id": 1, "name": "Ada"})).expect(200);
    assert_eq!(again.json(), first.json(), "the same delivery twice");
    assert_eq!(of_status(&server, "duplicate").len(), 1);

    let refused = replay(&server, &captured).expect(409);
    assert_eq!(refused.code(), "not_replayable");
    assert!(refused.message().contains("mode = \"capture\""), "{}", refused.message());
    assert_eq!(of_status(&server, "captured").len(), 1, "a refused replay changes nothing");
    drop(server.stop());

    // After a restart, with a mapping.
    mapping(&setup, &says(&task().to_string()));
    manifest(&setup, MAPPED);
    let server = setup.start();
    let replayed = replay(&server, &captured).expect(200).json();
    assert_eq!((&replayed["status"], &replayed["created"]), (&json!("stored"), &json!(1)));
    assert_eq!(replay(&server, &captured).expect(200).json()["created"], 0);
    let copy = server.post("/v1/hooks/orders", &json!({"id": 1, "name": "Ada"})).expect(200).json();
    assert_eq!(copy["title"], task()["title"], "a copy gets the task of the replay");
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 1);
}

/// Otherwise the author of the mapping does not see which deliveries the schema is wrong about.
#[test]
fn what_the_body_or_the_schema_would_have_failed_with_is_stored() {
    let setup = captures();
    mapping(&setup, &says("{}"));
    manifest(&setup, "mode = \"capture\"\nschema = \"input.schema.json\"\n");
    let server = setup.start();
    let fits = id(&server.post("/v1/hooks/orders", &json!({"name": "Ada"})).expect(202));
    let unfit = id(&server.post("/v1/hooks/orders", &json!({"nam": "Ada"})).expect(202));
    let json = [("content-type", "application/json")];
    let broken = id(&server.send("POST", "/v1/hooks/orders", &json, b"{\"name\":").expect(202));
    let empty = id(&server.send("POST", "/v1/hooks/orders?name=Ada", &[], b"").expect(202));
    let of = |id: &str| {
        let reason = event(&server, id)["reason"].clone();
        (reason["stage"].clone(), reason["code"].clone())
    };
    assert_eq!(event(&server, &fits)["reason"], json!(null));
    assert_eq!(of(&unfit), (json!("schema"), json!("invalid_field")));
    assert!(event(&server, &unfit)["reason"]["message"].as_str().unwrap().contains("name"));
    assert_eq!(of(&broken).0, "decode");
    assert_eq!(of(&empty).0, "decode");
    assert_eq!(of_status(&server, "captured").len(), 4);
    let found = server.get("/v1/events?status=captured&reason=schema").expect(200).json();
    assert_eq!(found["data"][0]["id"], json!(unfit));
    assert_eq!(found["data"].as_array().unwrap().len(), 1);
}

/// Otherwise a mapping that is being written already creates tasks, or deliveries that wait are mapped by it.
#[test]
fn a_capture_with_a_mapping_does_not_run_it_also_for_events_that_were_queued_before() {
    let endless = command("(func (export \"_start\") (loop (br 0)))");
    let setup = Setup::new().config(RELOADED);
    manifest(&setup, &format!("{MAPPED}mode = \"async\"\norder_by = \"/lane\"\n"));
    mapping(&setup, &endless);
    let plugin_toml = setup.plugins.join("orders/plugin.toml");
    let text = std::fs::read_to_string(&plugin_toml).unwrap();
    std::fs::write(&plugin_toml, format!("{text}[limits]\ntime_ms = 3000\n")).unwrap();
    let server = setup.start();
    let send = |n: u32| id(&server.post("/v1/hooks/orders", &json!({"id": n, "name": "Ada", "lane": 1})).expect(202));
    let running = send(1);
    server.until_a_plugin_computes();
    let waiting = send(2);
    manifest(&setup, &format!("{MAPPED}mode = \"capture\"\n"));
    assert_eq!(reload(&server)["loaded"], json!(["orders"]));
    let later = send(3);
    assert_eq!(event(&server, &later)["status"], "captured");
    until("the queue is empty", || of_status(&server, "queued").is_empty());
    assert_eq!(event(&server, &waiting)["status"], "captured");
    assert_eq!(event(&server, &running)["status"], "quarantined", "it had begun before");
    assert!(server.get("/v1/tasks").json()["data"].as_array().unwrap().is_empty());
    // Another attempt of a quarantined delivery is captured as well, and stays one event.
    let copy = server.post("/v1/hooks/orders", &json!({"id": 1, "name": "Ada", "lane": 1})).expect(202);
    assert_eq!((id(&copy), &copy.json()["status"]), (running.clone(), &json!("captured")));
    assert_eq!(
        (&event(&server, &running)["status"], &event(&server, &running)["attempts"]),
        (&json!("captured"), &json!(2))
    );
    // The 202 that it was sent stays the response.
    server.post("/v1/hooks/orders", &json!({"id": 2, "name": "Ada", "lane": 1})).expect(200);
}

/// Otherwise nobody knows what a mapping makes of the captured deliveries before it is live, or must replay them one by one.
#[test]
fn a_mapping_is_tried_on_captured_events_and_then_replayed_over_all_of_them() {
    let setup = captures();
    let server = setup.start();
    for name in ["Ada", "Grace"] {
        server.post("/v1/hooks/orders", &json!({"name": name})).expect(202);
    }
    let unfit = id(&server.post("/v1/hooks/orders", &json!({"nam": "Ada"})).expect(202));
    let dir = setup.plugins.join("orders").display().to_string();
    let (code, said) = run(&setup, &["plugin", "diff", &dir]);
    assert!(code == Some(1) && said.contains("has no mapping yet"), "{said}");
    let out = harness::binary().args(["plugin", "check", &dir]).output().unwrap();
    let (code, said) = (out.status.code(), String::from_utf8_lossy(&out.stdout).into_owned());
    assert!(code == Some(0) && said.contains("no mapping yet"), "{said}");

    // Still in capture mode.
    mapping(&setup, &says(&task().to_string()));
    manifest(&setup, &format!("mode = \"capture\"\n{MAPPED}"));
    let (code, said) = run(&setup, &["plugin", "diff", "--json", &dir]);
    let report: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((code, &report["events"], &report["newly_passing"]), (Some(1), &json!(3), &json!(2)), "{said}");
    assert_eq!((&report["newly_failing"], &report["fields"]), (&json!(1), &json!({})), "{said}");
    assert!(report["failures"].to_string().contains("schema"), "{said}");
    let passing = report["samples"].as_array().unwrap().iter().find(|it| it["class"] == "newly_passing").unwrap();
    assert_eq!((&passing["before"], &passing["after"]), (&json!("captured"), &json!("1 task")));
    assert!(passing["differences"].to_string().contains(task()["title"].as_str().unwrap()), "{said}");
    assert_eq!(of_status(&server, "captured").len(), 3, "nothing is stored");

    let all = ["events", "replay", "--company", "company-1", "--integration", "orders", "--status", "captured"];
    reload(&server);
    let (code, said) = run(&setup, &all);
    assert!(code == Some(1) && said.contains("mode = \"capture\""), "{said}");
    manifest(&setup, MAPPED);
    reload(&server);
    let (code, said) = run(&setup, &all);
    assert_eq!((code, of_status(&server, "captured").len()), (Some(1), 0), "{said}");
    assert_eq!(of_status(&server, "quarantined"), [unfit]);
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 2);
}

/// Otherwise a capture keeps what must not be kept, or for longer than it may.
#[test]
fn redaction_idempotency_and_authentication_work_as_for_every_delivery() {
    let setup = Setup::new().config(RELOADED);
    manifest(&setup, "mode = \"capture\"\nredact = [\"/email\"]\n");
    let server = setup.start();
    let captured = id(&server.post("/v1/hooks/orders", &json!({"email": "ada@example.com"})).expect(202));
    let raw = server.get(&format!("/v1/events/{captured}/raw")).expect(200);
    assert_eq!(raw.json(), json!({"email": "[redacted]"}));
    let with_key = [("idempotency-key", "k-1"), ("content-type", "application/json")];
    let send = |body: &[u8]| server.send("POST", "/v1/hooks/orders", &with_key, body);
    let first = send(b"{\"n\":1}").expect(202);
    assert_eq!(id(&send(b"{\"n\":1}").expect(200)), id(&first));
    assert_eq!(send(b"{\"n\":2}").expect(409).code(), "idempotency_conflict");
    server.send_as("POST", "/v1/hooks/orders", &[("x-api-key", "nonsense")], b"{}").expect(401);
    assert_eq!(of_status(&server, "rejected").len(), 1);
    // A body that must be redacted and cannot be read is not stored, so it is not captured either.
    let json = [("content-type", "application/json")];
    server.send("POST", "/v1/hooks/orders", &json, b"{\"email\":").expect(400);
    // Another company sees nothing of it, and sends nothing.
    let other = setup.key("company-2", &["admin", "hooks:write"]);
    server.send_as("POST", "/v1/hooks/orders", &[("x-api-key", &other)], b"{}").expect(401);
    server.send_as("GET", &format!("/v1/events/{captured}"), &[("x-api-key", &other)], b"").expect(404);
    assert_eq!(of_status(&server, "captured").len(), 2);
}

/// Otherwise a sender with a short patience loses the delivery that it wanted to be captured.
#[test]
fn a_capture_survives_a_sender_that_hangs_up() {
    let server = captures().start();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head =
        format!("POST /v1/hooks/orders HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(head.as_bytes()).unwrap();
    drop(stream);
    until("it is captured", || of_status(&server, "captured").len() == 1);
}

/// Otherwise a folder that is meant to map deliveries goes live without a mapping, and quarantines all of them.
#[test]
fn without_the_mode_capture_a_folder_needs_a_module_and_a_schema() {
    let setup = Setup::new().config(RELOADED);
    manifest(&setup, "");
    let server = setup.start();
    server.post("/v1/hooks/orders", &json!({})).expect(404);
    let log = server.stop();
    assert!(log.contains("schema: required"), "{log}");
    std::fs::write(setup.plugins.join("orders/input.schema.json"), "{}").unwrap();
    manifest(&setup, "schema = \"input.schema.json\"\n");
    let log = setup.start().stop();
    assert!(log.contains("it names no mapping"), "{log}");
}

/// Otherwise a shadow without a mapping counts every delivery as failing.
#[test]
fn a_folder_without_a_mapping_is_no_shadow() {
    let setup = Setup::new().config(RELOADED).plugin("orders", "", &says(&task().to_string()));
    let plugin_toml = setup.plugins.join("orders/plugin.toml");
    let text = std::fs::read_to_string(&plugin_toml).unwrap();
    std::fs::write(&plugin_toml, format!("shadow = \"../.next\"\n{text}")).unwrap();
    std::fs::create_dir(setup.plugins.join(".next")).unwrap();
    let next = format!("{HEAD}mode = \"capture\"\n{AUTH}");
    std::fs::write(setup.plugins.join(".next/plugin.toml"), next).unwrap();
    let server = setup.start();
    until("the shadow is refused", || {
        let plugins = server.get("/v1/admin/plugins").expect(200).json();
        plugins["data"][0]["shadow"]["message"].to_string().contains("has no mapping yet")
    });
    server.post("/v1/hooks/orders", &json!({"name": "Ada"})).expect(201);
}
