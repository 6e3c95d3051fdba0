//! Dry runs in the background: their progress, the way to stop them, and callers that hang up.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Cluster, Reply, Server, Setup, postgres_or_skip, until};

const SCRIPT: &str = "export default (event) => ({ title: `Call ${event.name}`, description: 'x' });";
const OTHER: &str = "export default (event) => ({ title: `Ring ${event.name}`, description: 'x' });";
/// Each call takes until its limit.
const SLOW: &str = "export default () => { for (;;); };";

/// The live plugin's folder with another script.
fn candidate(setup: &Setup, script: &str) -> PathBuf {
    let dir = setup.plugins.parent().unwrap().join("next/guest");
    std::fs::create_dir_all(&dir).unwrap();
    for file in ["plugin.toml", "input.schema.json"] {
        std::fs::copy(setup.plugins.join("guest").join(file), dir.join(file)).unwrap();
    }
    std::fs::write(dir.join("mapper.js"), script).unwrap();
    dir
}

struct Operator<'a> {
    server: &'a Server,
    token: String,
}

impl Operator<'_> {
    fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.server.send_as(method, &format!("/v1/admin/comparisons{path}"), &[("x-api-key", &self.token)], &body)
    }

    fn begin(&self, asked: &Value) -> String {
        self.send("POST", "", asked).expect(201).json()["id"].as_str().unwrap().to_owned()
    }

    fn show(&self, id: &str) -> Value {
        self.send("GET", &format!("/{id}"), &Value::Null).expect(200).json()
    }

    fn ended(&self, id: &str) -> Value {
        until("the dry run has ended", || !self.show(id)["ended_at"].is_null());
        self.show(id)
    }
}

fn details(operator: &Operator<'_>) -> Vec<String> {
    let key = [("x-api-key", operator.token.as_str())];
    let log = operator.server.send_as("GET", "/v1/admin/audit?limit=100", &key, b"").expect(200).json();
    let compared = log["data"].as_array().unwrap().iter().filter(|it| it["action"] == "plugin.compared");
    compared.map(|it| it["detail"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_dry_run_in_the_background_counts_its_events_and_has_the_report_of_one_in_a_request() {
    let setup = Setup::new().config("[plugins]\nwatch = false\n").script("guest", SCRIPT);
    let server = setup.start();
    for n in 0..20 {
        server.post("/v1/hooks/guest", &json!({ "name": n })).expect(201);
    }
    let operator = Operator { server: &server, token: setup.operator() };
    let asked = json!({ "dir": candidate(&setup, OTHER), "samples": 2 });
    let id = operator.begin(&asked);
    let job = operator.ended(&id);
    assert_eq!((&job["state"], &job["done"], &job["total"]), (&json!("done"), &json!(20), &json!(20)), "{job}");
    let path = "/v1/admin/plugins/diff";
    let same = server.send_as("POST", path, &[("x-api-key", &operator.token)], asked.to_string().as_bytes());
    let same = same.expect(200).json();
    for part in ["events", "changed", "same", "fields", "samples", "stopped"] {
        assert_eq!(job["report"][part], same[part], "{part}");
    }
    assert_eq!((&same["changed"], same["samples"].as_array().unwrap().len()), (&json!(20), 2));
    let listed = operator.send("GET", "", &Value::Null).expect(200).json()["data"].clone();
    assert_eq!((&listed[0]["id"], &listed[0]["report"]), (&json!(id), &Value::Null));

    for wrong in [json!({"dir": "next"}), json!({"dir": "/nowhere"}), json!({"dir": asked["dir"], "against": "x"})] {
        operator.send("POST", "", &wrong).expect(422);
    }
    let broken = operator.begin(&json!({ "dir": candidate(&setup, "export default 1;") }));
    let broken = operator.ended(&broken);
    assert!(broken["state"] == "failed" && broken["error"].as_str().unwrap().contains("mapper.js"), "{broken}");
    server.send("GET", "/v1/admin/comparisons", &[], b"").expect(403);
    operator.send("GET", "/nonsense", &Value::Null).expect(404);

    // What was erased must not be shown from memory.
    server.post("/v1/events/erase", &json!({"patient_id": "nobody-at-all"})).expect(200);
    let report = operator.show(&id)["report"].clone();
    assert_eq!((&report["changed"], &report["samples"]), (&json!(20), &json!([])), "{report}");
    assert!(!report.to_string().contains("Call "), "{report}");
}

/// Otherwise a server shows from memory what was erased on another one.
#[test]
fn what_another_server_has_erased_is_not_in_a_report() {
    let cluster: &Cluster = postgres_or_skip!();
    let database = cluster.database();
    let setup = Setup::new().config("[plugins]\nwatch = false\n").script("guest", SCRIPT).on(&database);
    let (server, other) = (setup.start(), setup.another().on(&database).start());
    for n in 0..3 {
        server.post("/v1/hooks/guest", &json!({ "name": n })).expect(201);
    }
    let operator = Operator { server: &server, token: setup.operator() };
    let id = operator.begin(&json!({ "dir": candidate(&setup, OTHER), "samples": 2 }));
    assert_eq!(operator.ended(&id)["report"]["samples"].as_array().unwrap().len(), 2);
    other.post("/v1/events/erase", &json!({"patient_id": "nobody-at-all"})).expect(200);
    let report = operator.show(&id)["report"].clone();
    assert_eq!((&report["changed"], &report["samples"]), (&json!(3), &json!([])), "{report}");
    assert!(!report.to_string().contains("Call "), "{report}");
}

/// Otherwise a closed browser leaves a dry run that nobody can find or end, and no other can begin.
#[test]
fn a_dry_run_goes_on_without_its_caller_until_somebody_stops_it() {
    let setup = Setup::new().config("[plugins]\nwatch = false\n").script("guest", SCRIPT);
    let server = setup.start();
    for n in 0..50 {
        server.post("/v1/hooks/guest", &json!({ "name": n })).expect(201);
    }
    let operator = Operator { server: &server, token: setup.operator() };
    let dir = candidate(&setup, SLOW);
    let asked = json!({ "dir": dir });
    // Nobody reads the answer.
    let body = asked.to_string();
    let head = format!("POST /v1/admin/comparisons HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\n", operator.token);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    drop(stream);
    let first = || operator.send("GET", "", &Value::Null).expect(200).json()["data"][0].clone();
    until("it runs", || first()["done"].as_u64().is_some_and(|it| it > 0));
    let job = first();
    assert!(job["state"] == "running" && job["done"].as_u64() < Some(50) && job["total"] == 50, "{job}");
    assert_eq!(operator.send("POST", "", &asked).expect(429).code(), "operation_running");

    let id = job["id"].as_str().unwrap();
    operator.send("POST", &format!("/{id}/stop"), &Value::Null).expect(200);
    let job = operator.ended(id);
    assert_eq!((&job["state"], &job["stopped_by"]), (&json!("stopped"), &json!("operator")), "{job}");
    let events = job["report"]["events"].as_u64().unwrap();
    assert!((1..50).contains(&events) && job["report"]["newly_failing"] == events, "{job}");
    assert_eq!(details(&operator), [format!("{events} events, then stopped"), "begun".to_owned()]);
    operator.begin(&asked);
    server.stop();
}
