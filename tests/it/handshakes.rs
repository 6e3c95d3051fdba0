//! Questions of senders whether a URL accepts their deliveries, through the real server.

use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::guests::says;
use crate::harness::{Reply, Server, Setup, task};

const SECRET: &str = "a secret of 32 bytes, not random";

fn setup(auth: &str) -> Setup {
    let manifest = format!("[auth]\n{auth}\n");
    Setup::new()
        .plugin("guest", &manifest, &says(&task().to_string()))
        .env("SECRET", SECRET)
        .env("VERIFY", "verify-token-of-the-admin")
}

fn sender(name: &str) -> String {
    format!("sender = \"{name}\"\nsecret = \"SECRET\"")
}

fn ask(server: &Server, method: &str, query: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    server.send_as(method, &format!("/v1/hooks/guest{query}"), headers, body)
}

fn event(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()
}

fn hex_mac(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().iter().map(|it| format!("{it:02x}")).collect()
}

/// Otherwise WhatsApp cannot be connected, or anybody could connect it.
#[test]
fn meta_s_question_is_answered_for_the_right_verify_token_only() {
    let server = setup(&format!("{}\n[auth.secrets]\nverify = \"VERIFY\"", sender("meta"))).start();
    let with = |token: &str| {
        let query = format!("?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
        ask(&server, "GET", &query, &[], b"")
    };
    let reply = with("verify-token-of-the-admin").expect(200);
    assert_eq!((reply.text.as_str(), reply.header("content-type")), ("1158201444", "text/plain; charset=utf-8"));
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    let stored = event(&server, &reply);
    assert_eq!((&stored["status"], &stored["reason"]["code"]), (&json!("skipped"), &json!("handshake")));
    assert!(!stored.to_string().contains("verify-token-of-the-admin"), "{stored}");
    assert_eq!(with("another").expect(401).code(), "wrong_credentials");
    // Nothing else is answered by GET, and deliveries need their signature.
    assert_eq!(ask(&server, "GET", "", &[], b"").expect(405).header("allow"), "POST");
    ask(&server, "POST", "?hub.mode=subscribe&hub.challenge=1&hub.verify_token=verify-token-of-the-admin", &[], b"{}")
        .expect(401);
    let log = server.stop();
    assert!(!log.contains("verify-token-of-the-admin"), "{log}");
}

/// Zoom asks every 72 hours; without the signature, anybody could have texts signed.
#[test]
fn zoom_s_question_is_answered_with_an_hmac_if_it_is_signed() {
    let server = setup(&sender("zoom")).start();
    let body = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1}"#;
    let now = Utc::now().timestamp().to_string();
    let signature = format!("v0={}", hex_mac(&format!("v0:{now}:{body}")));
    let headers = [("x-zm-request-timestamp", now.as_str()), ("x-zm-signature", &signature)];
    let reply = ask(&server, "POST", "", &headers, body.as_bytes()).expect(200);
    let wanted = json!({"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": hex_mac("qgg8vlvZRS6UYooatFL8Aw")});
    assert_eq!(reply.json(), wanted);
    ask(&server, "POST", "", &[], body.as_bytes()).expect(401);
    // An event that only looks like it is an event.
    let other = body.replace("endpoint.url_validation", "meeting.ended");
    let signature = format!("v0={}", hex_mac(&format!("v0:{now}:{other}")));
    let headers = [("x-zm-request-timestamp", now.as_str()), ("x-zm-signature", &signature)];
    ask(&server, "POST", "", &headers, other.as_bytes()).expect(200);
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 1);
}

/// Otherwise Trello and Microsoft Graph refuse the URL.
#[test]
fn head_and_empty_questions_are_answered() {
    let server = setup(&format!("{}\nurl = \"https://hooks.example.com/v1/hooks/guest\"", sender("trello"))).start();
    let reply = ask(&server, "HEAD", "", &[], b"").expect(200);
    assert!(reply.text.is_empty());
    ask(&server, "GET", "", &[], b"").expect(405);

    let server = setup(&sender("microsoft-graph")).start();
    let query = "?validationToken=Validation%3A+Testing+client+application+%3Cscript%3E";
    let reply = ask(&server, "POST", query, &[("content-type", "text/plain")], b"").expect(200);
    assert_eq!(reply.text, "Validation: Testing client application <script>");
    assert!(reply.header("content-type").starts_with("text/plain"));
}

/// Echoing is what Asana and RingCentral wait for; what they send must not become the secret by itself.
#[test]
fn a_header_is_echoed_and_a_secret_waits_for_the_admin() {
    let server = setup(&sender("ringcentral")).start();
    let reply = ask(&server, "POST", "", &[("validation-token", "1f3c-ab")], b"").expect(200);
    assert_eq!((reply.header("validation-token"), reply.text.as_str()), ("1f3c-ab", ""));

    let learned = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81";
    let setup = setup("sender = \"asana\"\nsecret = \"UNSET_SECRET\"");
    let server = setup.start();
    let reply = ask(&server, "POST", "", &[("x-hook-secret", learned)], b"").expect(200);
    assert_eq!(reply.header("x-hook-secret"), learned);
    let stored = event(&server, &reply);
    assert!(stored["reason"]["message"].as_str().unwrap().contains("hookmill sender confirm guest"), "{stored}");
    assert!(!stored.to_string().contains(learned), "{stored}");
    // Not the secret yet.
    let mut mac = Hmac::<Sha256>::new_from_slice(learned.as_bytes()).unwrap();
    mac.update(b"{}");
    let signature: String = mac.finalize().into_bytes().iter().map(|it| format!("{it:02x}")).collect();
    ask(&server, "POST", "", &[("x-hook-signature", &signature)], b"{}").expect(401);
    let log = server.stop();
    assert!(!log.contains(learned), "{log}");
}

/// Otherwise a stranger fills the disk with questions, or the memory with one.
#[test]
fn questions_from_nobody_in_particular_are_few_and_small() {
    let server = setup(&sender("asana")).start();
    let replies: Vec<_> =
        (0..14).map(|n| ask(&server, "POST", "", &[("x-hook-secret", &format!("secret-{n}"))], b"").status).collect();
    assert_eq!((replies.iter().filter(|it| **it == 200).count(), replies[13]), (10, 429), "{replies:?}");
    let large = vec![b' '; 100_000];
    ask(&server, "POST", "", &[("x-hook-secret", "s")], &large).expect(413);
    // An answer is no longer than 1 KiB.
    let server = setup(&sender("asana")).start();
    ask(&server, "POST", "", &[("x-hook-secret", &"s".repeat(2000))], b"").expect(401);
}

/// Otherwise a confirmation link of SNS is lost, or the server opens links that strangers send.
#[test]
fn a_link_is_shown_to_the_admin_and_not_opened() {
    let server = setup(&sender("notion")).start();
    let body = br#"{"verification_token":"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}"#;
    let reply = ask(&server, "POST", "", &[("content-type", "application/json")], body).expect(200);
    let stored = event(&server, &reply);
    assert_eq!(stored["reason"]["code"], "handshake");
    assert_eq!(stored["body"], "", "the token is not stored with the event");
}

/// Otherwise a shipped file asks for something that no answer has.
#[test]
fn drchrono_gets_an_hmac_of_its_text() {
    let server = setup(&sender("drchrono")).start();
    let reply = ask(&server, "GET", "?msg=hello", &[], b"").expect(200);
    assert_eq!(reply.json(), json!({"secret_token": hex_mac("hello")}));
    // Deliveries carry the secret as a token.
    let headers = [("x-drchrono-signature", SECRET), ("content-type", "application/json")];
    ask(&server, "POST", "", &headers, b"{\"object\":{}}").expect(201);
    let headers = [("x-drchrono-signature", "another"), ("content-type", "application/json")];
    let refused = ask(&server, "POST", "", &headers, b"{\"object\":{}}").expect(401);
    let why = event(&server, &refused)["reason"]["message"].clone();
    assert_eq!(why, "the token in the header x-drchrono-signature is wrong");
}
