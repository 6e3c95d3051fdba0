//! What senders are answered, by outcome: from their file, and from `[answer]` in plugin.toml.

use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::guests::says;
use crate::harness::{Reply, Server, Setup, task};

const SECRET: &str = "a secret of 32 bytes, not random";

fn hex_mac(text: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().iter().map(|it| format!("{it:02x}")).collect()
}

fn setup(manifest: &str, says_this: &str) -> Setup {
    Setup::new().plugin("guest", manifest, &says(says_this)).env("SECRET", SECRET)
}

fn sender(name: &str) -> String {
    format!("[auth]\nsender = \"{name}\"\nsecret = \"SECRET\"\n")
}

fn linear(server: &Server, body: &[u8], id: &str) -> Reply {
    let signature = hex_mac(body);
    let headers = [("content-type", "application/json"), ("linear-signature", &*signature), ("linear-delivery", id)];
    server.send_as("POST", "/v1/hooks/guest", &headers, body)
}

/// The time that Linear signs with the body.
fn body(more: &str) -> Vec<u8> {
    format!(r#"{{"action":"create"{more},"webhookTimestamp":{}}}"#, Utc::now().timestamp_millis()).into_bytes()
}

fn event(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()
}

/// Linear takes every other status for a failure, sends the delivery again, and keeps what it was answered.
#[test]
fn linear_gets_exactly_200_and_no_task_whatever_the_outcome() {
    let server = setup(&sender("linear"), &task().to_string()).start();
    let sent = body("");
    let first = linear(&server, &sent, "d-1").expect(200);
    assert_eq!(first.json(), json!({ "event_id": first.header("x-event-id") }));
    let again = linear(&server, &sent, "d-1").expect(200);
    assert_eq!(again.json(), first.json());
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 1);
    // In quarantine: it would be sent again for hours, and the webhook be disabled.
    let failing = setup(&sender("linear"), r#"{"title": 7, "unknown": true}"#).start();
    let kept = linear(&failing, &body(""), "d-2").expect(200);
    assert_eq!(kept.json(), json!({ "event_id": kept.header("x-event-id") }));
    let stored = event(&failing, &kept);
    assert_eq!(stored["status"], "quarantined");
    let listed = failing.get("/v1/events?status=quarantined").expect(200).json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    // A wrong signature is refused all the same.
    let headers = [("content-type", "application/json"), ("linear-signature", &*"0".repeat(64))];
    failing.send_as("POST", "/v1/hooks/guest", &headers, &body("")).expect(401);
}

/// Otherwise a patient's data goes into the delivery log of a platform, in a task or in an error.
#[test]
fn a_platform_gets_ids_and_no_values_of_the_payload() {
    let plugin = r#"{"title": 7, "description": "patient Ada"}"#;
    let server = setup(&sender("github"), plugin).start();
    let sent = br#"{"patient":"Ada"}"#;
    let signature = format!("sha256={}", hex_mac(sent));
    let headers =
        [("content-type", "application/json"), ("x-hub-signature-256", &*signature), ("x-github-delivery", "1")];
    let refused = server.send_as("POST", "/v1/hooks/guest", &headers, sent);
    assert!(refused.status >= 200, "{}", refused.text);
    assert!(!refused.text.contains("Ada") && !refused.text.contains("title"), "{}", refused.text);
    assert!(refused.text.contains(refused.header("x-event-id")));
    let stored = event(&server, &refused);
    assert_eq!(stored["status"], "quarantined");
    assert!(stored["reason"]["message"].as_str().unwrap().contains("deadline"), "{stored}");
}

#[test]
fn plugin_toml_decides_status_and_body_of_each_outcome() {
    let answer = r#"
[answer]
status = 200
body = "event_id"
[answer.created]
body = { xml = "<Response><Say>{task_id} {task_ids} {event_id}</Say></Response>" }
[answer.duplicate]
status = 202
body = { json = { seen = true, tasks = "{task_ids}", note = "{not_ours}" } }
"#;
    let wrong = setup(answer, &task().to_string()).start().stop();
    assert!(wrong.contains("answer: {not_ours} is not known"), "{wrong}");
    let server = setup(&answer.replace("{not_ours}", "{ }"), &task().to_string()).start();
    let post = || {
        server.send(
            "POST",
            "/v1/hooks/guest",
            &[("idempotency-key", "k1"), ("content-type", "application/json")],
            b"{}",
        )
    };
    let created = post().expect(200);
    let id = server.get("/v1/tasks").expect(200).json()["data"][0]["id"].as_str().unwrap().to_owned();
    let event = created.header("x-event-id").to_owned();
    assert_eq!(created.text, format!("<Response><Say>{id} {id} {event}</Say></Response>"));
    assert_eq!(created.header("content-type"), "text/xml; charset=utf-8");
    let again = post().expect(202);
    assert_eq!(again.json(), json!({ "seen": true, "tasks": id, "note": "{ }" }));
    // Without [answer], n8n gets the documented task.
    let server = setup("", &task().to_string()).start();
    let created = server.send("POST", "/v1/hooks/guest", &[("content-type", "application/json")], b"{}").expect(201);
    assert_eq!(created.json()["title"], task()["title"]);
}

/// A sender that got a task before an update gets ids now, also for a delivery that was stored then.
#[test]
fn a_repetition_is_answered_as_the_form_says_today() {
    let setup = setup("", &task().to_string());
    let server = setup.start();
    let post = |server: &Server| {
        server.send(
            "POST",
            "/v1/hooks/guest",
            &[("idempotency-key", "k1"), ("content-type", "application/json")],
            b"{}",
        )
    };
    post(&server).expect(201);
    let manifest = setup.plugins.join("guest/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("{text}\n[answer]\nbody = \"none\"\n")).unwrap();
    server.send_as("POST", "/v1/admin/plugins/reload", &[("x-api-key", &setup.operator())], b"{}").expect(200);
    let again = post(&server).expect(200);
    assert_eq!((again.text.as_str(), again.header("idempotent-replayed")), ("", "true"));
}
