//! Every log line of a request carries the request's ids, so that one id finds all of them.

use serde_json::{Value, json};

use crate::guests::{command, component};
use crate::harness::{KEY, Server, Setup, task};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A server whose log is JSON.
fn in_json(mut setup: Setup) -> Setup {
    setup.extra.extend(["--log-format".into(), "json".into()]);
    setup
}

const FIELDS: [&str; 5] = ["request.id", "trace.id", "key.id", "integration", "event.id"];

/// The request's fields, on the lines with this message.
fn carried(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().map(|it| serde_json::from_str::<Value>(it).unwrap());
    let fields = |line: Value| {
        FIELDS.iter().filter(|it| line.get(it).is_some()).map(|it| (it.to_string(), line[it].clone())).collect()
    };
    lines.filter(|it| it["fields"]["message"] == message).map(fields).collect()
}

fn key_id(server: &Server) -> String {
    server.get("/v1/admin/keys").expect(200).json()["data"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_quarantined_delivery_is_found_by_its_request_id_and_its_event() {
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    for json in [true, false] {
        let setup = Setup::new().plugin("guest", "", &refuses);
        let server = if json { in_json(setup) } else { setup }.start();
        let traced = [("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))];
        let traced = traced.each_ref().map(|(name, value)| (*name, value.as_str()));
        let reply = server.send("POST", "/v1/hooks/guest", &traced, b"{}").expect(422);
        let (request, event) = (reply.header("x-request-id").to_owned(), reply.header("x-event-id").to_owned());
        let key = key_id(&server);
        let log = server.stop();
        if json {
            let expected = json!({
                "request.id": request, "event.id": event, "integration": "guest", "key.id": key, "trace.id": TRACE,
            });
            assert_eq!(carried(&log, "event quarantined"), [expected], "{log}");
        } else {
            let line = log.lines().find(|it| it.contains("event quarantined")).expect(&log);
            let fields =
                [("request.id", request), ("event.id", event), ("integration", "guest".into()), ("key.id", key)];
            for (name, value) in fields.into_iter().chain([("trace.id", TRACE.into())]) {
                assert!(line.contains(&format!("{name}={value}")), "{name}: {line}");
            }
        }
    }
}

/// The event id in the response, whichever delivery created the event.
#[test]
fn another_attempt_of_a_quarantined_delivery_is_found_by_the_first_ones_event() {
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    let mut setup = in_json(Setup::new()).plugin("guest", "[dedupe]\npointer = \"/id\"\n", &refuses);
    setup.extra.extend(["--log".into(), "debug".into()]);
    let server = setup.start();
    let send = || server.post("/v1/hooks/guest", &json!({ "id": "d-1" })).expect(422);
    let (first, again) = (send(), send());
    let event = first.header("x-event-id");
    assert_eq!(again.header("x-event-id"), event);
    let shown = server.get(&format!("/v1/events/{event}")).expect(200);
    let log = server.stop();
    let events = |message| -> Vec<Value> {
        let lines = carried(&log, message).into_iter();
        lines.map(|it| it["event.id"].clone()).collect()
    };
    assert_eq!(events("event quarantined"), [json!(event), json!(event)], "{log}");
    let answered = carried(&log, "answered");
    let line = answered.iter().find(|it| it["request.id"] == shown.header("x-request-id")).expect(&log);
    assert_eq!(line["event.id"], event);
}

/// "Its log has the request id" is what the sender reads.
#[test]
fn a_failure_of_the_server_is_found_by_its_request_id() {
    let mut setup = in_json(Setup::new()).plugin("loops", "[limits]\ntime_ms = 100\n", &component("(loop $l (br $l))"));
    let server = setup.start();
    let failed = server.post("/v1/hooks/loops", &json!({})).expect(502);
    let request = failed.header("x-request-id").to_owned();
    let log = server.stop();
    let lines = carried(&log, "request failed");
    assert_eq!(lines.len(), 1, "{log}");
    assert_eq!(
        (&lines[0]["request.id"], &lines[0]["event.id"]),
        (&json!(request), &json!(failed.header("x-event-id")))
    );
    // A disk that is always too full.
    setup.config = "[store]\nreserve_mib = 100000000\n".into();
    let server = setup.start();
    let full = server.post("/v1/tasks", &task()).expect(503);
    assert_eq!(full.code(), "storage_full");
    let key = key_id(&server);
    let log = server.stop();
    let lines = carried(&log, "request failed");
    assert_eq!(lines.len(), 1, "{log}");
    assert_eq!((&lines[0]["request.id"], &lines[0]["key.id"]), (&json!(full.header("x-request-id")), &json!(key)));
}

#[test]
fn strangers_are_found_by_their_request_id() {
    let setup = in_json(Setup::new()).plugin("guest", "", &component(""));
    let server = setup.start();
    let reply = server.send_as("POST", "/v1/hooks/guest", &[("x-api-key", "nonsense")], b"{}").expect(401);
    let request = reply.header("x-request-id").to_owned();
    let log = server.stop();
    let lines = carried(&log, "delivery rejected");
    assert_eq!(lines, [json!({ "request.id": request, "integration": "guest" })], "{log}");
    assert!(!log.contains("nonsense") && !log.contains(KEY));
}

#[test]
fn a_trace_is_answered_with_its_id_and_what_is_no_trace_is_not() {
    let server = Setup::new().start();
    let answered = |sent: &[(&str, &str)]| {
        server.send("GET", "/v1/tasks", sent, b"").expect(200).header("traceresponse").to_owned()
    };
    let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let answer = answered(&[("traceparent", &good)]);
    let parts: Vec<_> = answer.split('-').collect();
    assert_eq!((parts.len(), parts[0], parts[1], parts[2].len(), parts[3]), (4, "00", TRACE, 16, "00"), "{answer}");
    assert_ne!(parts[2], "00f067aa0ba902b7", "it names our own work");
    for bad in ["", "00-xyz", &good.to_uppercase(), &format!("{good}-more"), &good.replace("00-4", "ff-4")] {
        assert_eq!(answered(&[("traceparent", bad)]), "", "{bad}");
    }
    assert_eq!(answered(&[("traceparent", &good), ("traceparent", &good)]), "", "two of them");
    assert_eq!(answered(&[]), "");
}
