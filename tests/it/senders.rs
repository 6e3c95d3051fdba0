//! How senders prove who they are, and how their repeated deliveries are recognised, through the real server.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::guests::says;
use crate::harness::{Reply, Server, Setup, task};

const NEW: &str = "whsec_bmV3IHNlY3JldCBvZiAxNiBieXRlcw==";
const OLD: &str = "b2xkIHNlY3JldCBvZiAxNiBieXRlcw==";

fn mac(secret: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn auth(scheme: &str) -> String {
    format!("[auth]\nscheme = \"{scheme}\"\nsecret = [\"NEW\", \"OLD\"]\n")
}

/// A plugin that makes one task of anything.
fn setup(manifest: &str) -> Setup {
    Setup::new().plugin("guest", manifest, &says(&task().to_string())).env("NEW", NEW).env("OLD", OLD)
}

fn send(server: &Server, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    server.send_as("POST", "/v1/hooks/guest", &[&[("content-type", "application/json")], headers].concat(), body)
}

fn event(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()
}

type Signed = Vec<(&'static str, String)>;

/// What each provider sends with this body, signed with this secret.
fn providers(secret: &str, body: &[u8]) -> Vec<(&'static str, Signed)> {
    let now = Utc::now().timestamp().to_string();
    let over = |before: String| mac(secret.as_bytes(), &[before.as_bytes(), body].concat());
    let key = BASE64_STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let standard = mac(&key, &[format!("id-1.{now}.").as_bytes(), body].concat());
    let signed = format!("t={now},v1={}", hex(&over(format!("{now}."))));
    vec![
        ("github", vec![("x-hub-signature-256", format!("sha256={}", hex(&over(String::new()))))]),
        ("stripe", vec![("stripe-signature", signed.clone())]),
        ("calendly", vec![("calendly-webhook-signature", signed)]),
        ("shopify", vec![("x-shopify-hmac-sha256", BASE64_STANDARD.encode(over(String::new())))]),
        ("typeform", vec![("typeform-signature", format!("sha256={}", BASE64_STANDARD.encode(over(String::new()))))]),
        (
            "slack",
            vec![
                ("x-slack-signature", format!("v0={}", hex(&over(format!("v0:{now}:"))))),
                ("x-slack-request-timestamp", now.clone()),
            ],
        ),
        (
            "standard-webhooks",
            vec![
                ("webhook-signature", format!("v1,{}", BASE64_STANDARD.encode(standard))),
                ("webhook-timestamp", now),
                ("webhook-id", "id-1".into()),
            ],
        ),
    ]
}

fn text(headers: &Signed) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[test]
fn every_provider_s_signature_lets_in_with_any_active_secret_and_the_admin_alone_reads_why_not() {
    let body = br#"{"n":1}"#;
    for index in 0..providers(OLD, body).len() {
        let scheme = providers(OLD, body)[index].0;
        let server = setup(&auth(scheme)).start();
        for secret in [NEW, OLD] {
            let signed = &providers(secret, body)[index].1;
            send(&server, &text(signed), body);
            let refused = send(&server, &text(signed), br#"{"n":2}"#).expect(401);
            assert_eq!(refused.code(), "wrong_signature", "{scheme}");
            let header = text(signed)[0].0;
            let told = format!("the signature in {header} is wrong: it does not match the body");
            assert!(refused.message().starts_with(&told), "{scheme}: {}", refused.message());
            assert!(!refused.message().contains("secrets"), "{scheme}: their number is for the admin");
            let reason = event(&server, &refused)["reason"].clone();
            let why = reason["message"].as_str().unwrap();
            assert!(why.contains("matches the body with any of the 2 secrets"), "{scheme}: {why}");
        }
        let stranger = &providers("c3RyYW5nZXIncyBzZWNyZXQgb2YgMTYrIGJ5dGVz", body)[index].1;
        let refused = send(&server, &text(stranger), body).expect(401);
        let shown = event(&server, &refused)["headers"].to_string();
        assert!(
            shown.contains("user-agent") && !shown.contains("signature") && !shown.contains("v1="),
            "{scheme}: {shown}"
        );
        let missing = send(&server, &[], body).expect(401);
        assert!(missing.message().ends_with("is missing; this integration checks it"), "{scheme}");
        let missing = event(&server, &missing);
        assert!(missing["reason"]["message"].as_str().unwrap().ends_with("is missing"), "{scheme}");
        let listed = server.get("/v1/tasks").expect(200).json()["pagination"]["total"].as_u64().unwrap();
        assert!(listed == 1 || listed == 2, "{scheme}: {listed}");
        let log = server.stop();
        assert!(!log.contains("whsec_") && !log.contains(OLD), "{scheme}: a secret is in the log");
    }
}

#[test]
fn slack_s_question_is_answered_when_it_is_slack_s() {
    let server = setup(&auth("slack")).start();
    let body = br#"{"token":"t","challenge":"3eZbrw1aB","type":"url_verification"}"#;
    let slack = |body: &[u8]| providers(OLD, body).into_iter().find(|it| it.0 == "slack").unwrap().1;
    let reply = send(&server, &text(&slack(body)), body).expect(200);
    assert_eq!(reply.json(), json!({"challenge": "3eZbrw1aB"}));
    assert_eq!(event(&server, &reply)["status"], "skipped");
    send(&server, &[], body).expect(401);
}

#[test]
fn a_sender_that_cannot_sign_sends_a_password_or_a_secret_in_the_url() {
    let basic = setup(&format!("{}username = \"fax\"\n", auth("basic"))).start();
    let with = |password: &str| format!("Basic {}", BASE64_STANDARD.encode(format!("fax:{password}")));
    send(&basic, &[("authorization", &with(OLD))], b"{}").expect(201);
    let refused = send(&basic, &[("authorization", &with("other"))], b"{}").expect(401);
    assert_eq!(refused.code(), "wrong_credentials");
    assert_eq!(refused.header("www-authenticate"), "Basic realm=\"hookmill\", charset=\"UTF-8\"");
    assert_eq!(event(&basic, &refused)["reason"]["message"], "the user name or the password is wrong");

    let server = setup(&auth("url-secret")).start();
    let post = |path: &str| server.send_as("POST", path, &[("content-type", "application/json")], b"{}");
    post(&format!("/v1/hooks/guest/{OLD}")).expect(201);
    for wrong in ["/v1/hooks/guest/other", "/v1/hooks/guest"] {
        assert_eq!(post(wrong).expect(401).code(), "wrong_credentials");
    }
    let log = server.stop();
    assert!(!log.contains(OLD), "{log}");
}

#[test]
fn fifty_copies_of_one_delivery_at_once_make_one_task_and_get_its_answer() {
    let server = setup(&auth("github")).start();
    let body = br#"{"n":1}"#;
    let mut signed = providers(OLD, body).remove(0).1;
    signed.push(("x-github-delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958".into()));
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(|| send(&server, &text(&signed), body))).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let ids: BTreeSet<_> = replies.iter().map(|it| it.json()["event_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((ids.len(), replies.iter().filter(|it| it.status == 201).count()), (1, 1));
    assert!(replies.iter().filter(|it| it.status == 200).all(|it| it.header("idempotent-replayed") == "true"));
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 1);
    signed[1].1 = "another".into();
    send(&server, &text(&signed), body).expect(201);
}

/// Stripe counts in the body how many deliveries are outstanding.
#[test]
fn a_delivery_is_known_by_its_id_though_its_body_has_changed_a_little() {
    let server = setup(&auth("stripe")).start();
    let deliver = |body: &[u8]| send(&server, &text(&providers(OLD, body)[1].1), body);
    let first = deliver(br#"{"id":"evt_1","pending_webhooks":2}"#).expect(201);
    let again = deliver(br#"{"id":"evt_1","pending_webhooks":1}"#).expect(200);
    assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, "true"));
    assert_eq!(again.header("x-event-id"), first.header("x-event-id"));
    deliver(br#"{"id":"evt_2","pending_webhooks":2}"#).expect(201);
}

#[test]
fn a_configured_place_names_the_delivery_and_equal_bodies_alone_never_do() {
    let server = setup("[dedupe]\npointer = \"/payload/uri\"\n").start();
    let post = |body: &Value| server.post("/v1/hooks/guest", body);
    post(&json!({"payload": {"uri": "u/1"}, "n": 1})).expect(201);
    post(&json!({"payload": {"uri": "u/1"}, "n": 2})).expect(200);
    // The wrapper is off before the pointer is followed.
    post(&json!([{"json": {"payload": {"uri": "u/1"}}}])).expect(200);
    post(&json!({"payload": {"uri": "u/2"}})).expect(201);
    for nameless in [json!({"n": 1}), json!({"payload": {"uri": null}}), json!({"payload": {"uri": " "}})] {
        post(&nameless).expect(201);
        post(&nameless).expect(201);
    }
}

#[test]
fn an_auth_error_names_its_cause_and_not_the_secret() {
    let bad = Setup::new()
        .plugin("guest", "[auth]\nscheme = \"standard-webhooks\"\nsecret = \"NEW\"\n", &says("{}"))
        .plugin(
            "naked",
            "[auth]\nscheme = \"hmac-sha256\"\nsecret = \"NEW\"\nheader = \"x\"\npayload = \"{id}\"\n",
            &says("{}"),
        )
        .plugin("where", "[auth]\nscheme = \"twilio\"\nsecret = \"NEW\"\n", &says("{}"))
        .env("NEW", "not base64, and long enough");
    let log = bad.start().stop();
    for said in ["auth: the secret NEW must be whsec_ and base64", "must contain {body}", "[auth] url: required"] {
        assert!(log.contains(said), "{said}: {log}");
    }
    assert!(!log.contains("not base64"));
}
