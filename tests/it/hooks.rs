//! `POST /v1/hooks/{integration}`: the shipped plugins, and every synchronous outcome.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::guests::component;
use crate::harness;
use crate::harness::{Setup, shipped_plugins};

/// The shipped plugins, all with the API key: their fixtures have no signatures.
pub(crate) fn all_with_a_key() -> Setup {
    let setup = Setup::new();
    for plugin in SHIPPED {
        let (from, to) = (shipped_plugins().join(plugin), setup.plugins.join(plugin));
        std::fs::create_dir_all(&to).unwrap();
        for file in ["mapper.wasm", "input.schema.json"] {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
        let manifest = std::fs::read_to_string(from.join("plugin.toml")).unwrap();
        // Without the sections on senders and deliveries: some fixtures have the same id.
        let kept = manifest.split("\n[").filter(|it| !it.starts_with("auth]") && !it.starts_with("dedupe]"));
        let manifest = kept.collect::<Vec<_>>().join("\n[") + "\n[auth]\nscheme = \"api-key\"\n";
        std::fs::write(to.join("plugin.toml"), manifest).unwrap();
    }
    setup
}

const SHIPPED: [&str; 5] = ["calendly", "fax-inbound", "n8n-intake", "retell-calls", "twilio-status"];

/// Each shipped plugin answers its own fixtures through the real server as they say.
#[test]
fn the_shipped_plugins_answer_their_fixtures_over_http() {
    let folders = std::fs::read_dir(shipped_plugins()).unwrap().filter(|it| it.as_ref().unwrap().path().is_dir());
    assert_eq!(folders.count(), SHIPPED.len(), "a shipped plugin is not tested");
    let server = all_with_a_key().start();
    for plugin in SHIPPED {
        let mut seen = 0;
        for file in std::fs::read_dir(shipped_plugins().join(plugin).join("fixtures")).unwrap() {
            let file = file.unwrap().path();
            let fixture: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let reply = server.post(&format!("/v1/hooks/{plugin}"), &fixture["payload"]);
            let (kind, expected) = fixture["expect"].as_object().unwrap().iter().next().unwrap();
            let name = file.display();
            match kind.as_str() {
                "tasks" => {
                    let answer = reply.expect(201).json();
                    let tasks = answer["data"].as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
                    let titles = |tasks: &[Value]| tasks.iter().map(|it| it["title"].clone()).collect::<Vec<_>>();
                    assert_eq!(titles(&tasks), titles(expected.as_array().unwrap()), "{name}");
                }
                "skip" => assert_eq!(reply.expect(200).json()["reason"], *expected, "{name}"),
                "refused" => assert!(reply.expect(422).message().contains(expected.as_str().unwrap()), "{name}"),
                _ => {
                    let errors = reply.expect(422).json()["errors"].as_array().unwrap().clone();
                    let pointers: Vec<_> = errors.iter().map(|it| it["pointer"].clone()).collect();
                    assert_eq!(json!(pointers), *expected, "{name}");
                }
            }
            seen += 1;
        }
        assert!(seen >= 3, "{plugin}");
    }
}

#[test]
fn each_outcome_is_stored_as_an_event_with_status_and_reason() {
    let server = Setup::with_shipped_plugins().start();
    let event =
        |reply: &harness::Reply| server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
    let stored = server.post("/v1/hooks/n8n-intake", &json!({"subject": "Call back"})).expect(201);
    let it = event(&stored);
    assert_eq!(
        (&it["status"], &it["reason"], &it["task_ids"][0]),
        (&json!("stored"), &Value::Null, &stored.json()["id"])
    );
    assert_eq!(it["provenance"]["module_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(it["payload"], json!({"subject": "Call back"}), "an admin's key");
    let it = event(&server.post("/v1/hooks/n8n-intake", &json!({"test": true})).expect(200));
    assert_eq!((&it["status"], &it["reason"]["message"]), (&json!("skipped"), &json!("a test item")));
    let it = event(&server.post("/v1/hooks/n8n-intake", &json!({"x": 1})).expect(422));
    assert_eq!((&it["status"], &it["reason"]["code"]), (&json!("quarantined"), &json!("plugin_refused")));
    let it = event(&server.post("/v1/hooks/calendly", &json!({"x": 1})).expect(422));
    assert_eq!((&it["status"], &it["reason"]["stage"]), (&json!("quarantined"), &json!("schema")));
    let it =
        event(&server.send("POST", "/v1/hooks/calendly", &[("content-type", "application/json")], b"{").expect(400));
    assert_eq!((&it["status"], &it["reason"]["code"]), (&json!("quarantined"), &json!("malformed_json")));
    assert_eq!(server.post("/v1/hooks/nobody", &json!({})).expect(404).code(), "unknown_integration");
}

/// n8n's wrapper comes off before the plugin sees the item.
#[test]
fn an_n8n_webhook_item_reaches_the_plugin_unwrapped() {
    let server = Setup::with_shipped_plugins().start();
    let item = json!({"headers": {"host": "x"}, "params": {}, "query": {}, "body": {"Subject": "Refill", "assignees": "u1,u2"}, "webhookUrl": "http://x", "executionMode": "production"});
    let reply = server.post("/v1/hooks/n8n-intake", &item).expect(201);
    assert_eq!((&reply.json()["title"], reply.header("x-loosened")), (&json!("Refill"), "envelope,assigned_user_ids"));
}

const SIGNED: &str =
    "[auth]\nscheme = \"hmac-sha256\"\nsecret = \"GUEST_SECRET\"\nheader = \"X-Signature\"\nprefix = \"sha256=\"";

fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[test]
fn a_signature_over_the_raw_body_lets_a_sender_in_and_nothing_else_does() {
    let server = Setup::new().plugin("guest", SIGNED, &component("")).env("GUEST_SECRET", "s3cret-of-16-bytes").start();
    let post = |headers: &[(&str, &str)], body: &[u8]| server.send("POST", "/v1/hooks/guest", headers, body);
    let body = br#"{ "a" : 1 }"#;
    let good = sign("s3cret-of-16-bytes", body);
    post(&[("x-signature", &good), ("content-type", "application/json")], body).expect(200);
    // An API key with every scope does not replace a signature.
    for (signature, body) in [("", &body[..]), (&sign("other", body), body), (&good, br#"{"a":1}"#), (&good[7..], body)]
    {
        let reply = post(&[("x-signature", signature)], body).expect(401);
        assert_eq!(reply.code(), "wrong_signature");
        let event = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
        assert_eq!((&event["status"], &event["body_bytes"]), (&json!("rejected"), &json!(body.len())));
        assert!(event["headers"].get("x-signature").is_none(), "{event}");
    }
    let log = server.stop();
    assert!(!log.contains("s3cret-of-16-bytes") && !log.contains(&good), "secrets stay out of the log");
}

#[test]
fn an_integration_without_its_secret_refuses_everybody() {
    let server = Setup::new().plugin("guest", SIGNED, &component("")).start();
    let reply = server.send("POST", "/v1/hooks/guest", &[("x-signature", &sign("", b"{}"))], b"{}").expect(401);
    assert_eq!(reply.code(), "auth_not_configured");
}

#[test]
fn a_hook_key_needs_its_scope_and_the_integrations_company() {
    let setup = Setup::new().plugin("guest", "", &component(""));
    let server = setup.start();
    let create = |company: &str, scope: &str| {
        let out = harness::binary()
            .args(["key", "create", "--company", company, "--scope", scope, "--data-dir"])
            .arg(&setup.data)
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    };
    for (company, scope, status) in
        [("company-1", "hooks:write", 200), ("company-1", "tasks:write", 403), ("company-2", "hooks:write", 401)]
    {
        let headers = [("x-api-key", create(company, scope)), ("content-type", "application/json".into())];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        server.send_as("POST", "/v1/hooks/guest", &headers, b"{}").expect(status);
    }
}

/// Twilio signs the URL in plugin.toml and the form's fields, Retell the body and the time, Telnyx with its own key.
#[test]
fn the_shipped_senders_of_calls_are_let_in_as_they_are_configured() {
    let (token, secret) = ("twilio-token-of-32-characters-00", "retell-api-key-0123456789abcdef");
    let telnyx = SigningKey::from_bytes(&[7; 32]);
    let public = BASE64_STANDARD.encode(telnyx.verifying_key().to_bytes());
    let setup = Setup::with_shipped_plugins()
        .env("TWILIO_AUTH_TOKEN", token)
        .env("RETELL_API_KEY", secret)
        .env("TELNYX_PUBLIC_KEY", &public);
    let server = setup.start();
    let form = "CallSid=CA1&CallStatus=no-answer&Direction=inbound&From=%2B12137771234&To=%2B13125790000";
    let signed = "https://tasks.example.com/v1/hooks/twilio-statusCallSidCA1CallStatusno-answerDirectioninboundFrom+12137771234To+13125790000";
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(token.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let headers = [("x-twilio-signature", signature.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let send = || server.send_as("POST", "/v1/hooks/twilio-status", &headers, form.as_bytes());
    assert_eq!(send().expect(200).text, "<Response/>");
    assert_eq!(send().expect(200).header("idempotent-replayed"), "true");
    let missing = server.send_as("POST", "/v1/hooks/twilio-status", &headers[1..], form.as_bytes()).expect(401);
    assert_eq!(missing.message(), "the header x-twilio-signature is missing; this integration checks it");
    let call = json!({"event": "call_analyzed", "call": {"call_id": "c", "from_number": "+49301"}}).to_string();
    let json = [("content-type", "application/json")];
    let retell = |key: &str| {
        let now = chrono::Utc::now().timestamp_millis();
        let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
        mac.update(format!("{call}{now}").as_bytes());
        let hex: String = mac.finalize().into_bytes().iter().map(|it| format!("{it:02x}")).collect();
        let headers = [json[0], ("x-retell-signature", &*format!("v={now},d={hex}"))];
        server.send_as("POST", "/v1/hooks/retell-calls", &headers, call.as_bytes())
    };
    let first = retell(secret).expect(201);
    assert_eq!(first.json(), json!({ "event_id": first.header("x-event-id") }));
    assert_eq!(retell(secret).expect(200).header("idempotent-replayed"), "true");
    retell("another").expect(401);
    let fax = std::fs::read(harness::shipped_plugins().join("fax-inbound/fixtures/received.json")).unwrap();
    let fax = serde_json::from_slice::<Value>(&fax).unwrap()["payload"].to_string();
    let now = chrono::Utc::now().timestamp().to_string();
    let signature = BASE64_STANDARD.encode(telnyx.sign(format!("{now}|{fax}").as_bytes()).to_bytes());
    let signed = [json[0], ("telnyx-timestamp", &*now), ("telnyx-signature-ed25519", &*signature)];
    let send = |headers: &[(&str, &str)]| server.send_as("POST", "/v1/hooks/fax-inbound", headers, fax.as_bytes());
    let first = send(&signed).expect(200);
    assert_eq!(first.json(), json!({ "event_id": first.header("x-event-id") }));
    assert_eq!(send(&signed).expect(200).header("idempotent-replayed"), "true");
    send(&[json[0], ("telnyx-timestamp", &*now)]).expect(401);
    let titles: Vec<_> = server.get("/v1/tasks").expect(200).json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["title"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        titles,
        [
            "Fax from +35319605860 (3 pages)",
            "Fax from +35319605860 (3 pages)",
            "Read the summary of the call with +49301",
            "Call back +12137771234",
        ]
    );
}
