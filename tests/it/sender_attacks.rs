//! What a stranger, or a sender that is trusted a little, must not be able to do.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::guests::says;
use crate::harness::{Reply, Server, Setup, task};

const SECRET: &str = "a secret of 32 bytes, not random";
const JSON: (&str, &str) = ("content-type", "application/json");

fn hex_mac(text: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().iter().map(|it| format!("{it:02x}")).collect()
}

fn setup(manifest: &str) -> Setup {
    Setup::new().plugin("guest", manifest, &says(&task().to_string())).env("SECRET", SECRET)
}

fn event(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()
}

fn events(server: &Server, query: &str) -> usize {
    server.get(&format!("/v1/events?limit=100{query}")).expect(200).json()["data"].as_array().unwrap().len()
}

const META: &str = "[auth]\nsender = \"meta\"\nsecret = \"SECRET\"\n[auth.secrets]\nverify = \"VERIFY\"\n";

/// Otherwise a variable that is set to nothing lets everybody connect.
#[test]
fn a_second_secret_that_is_empty_or_unset_lets_nobody_in() {
    let log = setup(META).env("VERIFY", "").start().stop();
    assert!(log.contains("the secret VERIFY is empty"), "{log}");
    let server = setup(META).start();
    for query in ["?hub.mode=subscribe&hub.challenge=1", "?hub.mode=subscribe&hub.challenge=1&hub.verify_token="] {
        let refused = server.send_as("GET", &format!("/v1/hooks/guest{query}"), &[], b"").expect(401);
        assert_eq!(refused.code(), "auth_not_configured");
    }
}

/// Otherwise an admin does not see that somebody tries verify tokens, and nothing stops it.
#[test]
fn guesses_of_a_verify_token_are_rejections_and_limited() {
    let server = setup(META).env("VERIFY", "verify-token-of-the-admin").start();
    let guess = |n: usize| {
        let query = format!("?hub.mode=subscribe&hub.challenge=1&hub.verify_token=guess-{n}");
        server.send_as("GET", &format!("/v1/hooks/guest{query}"), &[], b"").status
    };
    let statuses: Vec<_> = (0..15).map(guess).collect();
    assert_eq!(statuses.iter().filter(|it| **it == 401).count(), 10, "{statuses:?}");
    assert_eq!(statuses[14], 429);
    assert_eq!(events(&server, "&status=rejected"), 15);
    assert!(server.stop().contains("delivery rejected"));
}

/// A signed question may contain what an integration redacts, and a URL its secret.
#[test]
fn a_question_is_redacted_and_hides_secrets_like_a_delivery() {
    let server = setup("redact = [\"/token\"]\n[auth]\nsender = \"slack\"\nsecret = \"SECRET\"\n").start();
    let body = br#"{"token":"the-legacy-token","challenge":"c1","type":"url_verification"}"#;
    let now = Utc::now().timestamp().to_string();
    let signature = format!("v0={}", hex_mac(format!("v0:{now}:{}", String::from_utf8_lossy(body)).as_bytes()));
    let headers = [("x-slack-request-timestamp", now.as_str()), ("x-slack-signature", &*signature), JSON];
    let reply = server.send_as("POST", "/v1/hooks/guest", &headers, body).expect(200);
    assert_eq!(reply.json(), json!({"challenge": "c1"}));
    let stored = event(&server, &reply).to_string();
    assert!(stored.contains("c1") && !stored.contains("the-legacy-token"), "{stored}");

    let secret = "url-secret-0123456789abcdef";
    let server = setup("keep_headers = [\"x-original-url\"]\n[auth]\nsender = \"mailchimp\"\nsecret = \"IN_URL\"\n")
        .env("IN_URL", secret)
        .start();
    let path = format!("/v1/hooks/guest/{secret}");
    let reply = server.send_as("GET", &path, &[("x-original-url", &*path)], b"").expect(200);
    assert!(!event(&server, &reply).to_string().contains(secret));
    server.send_as("GET", "/v1/hooks/guest/another-secret-0123456789", &[], b"").expect(401);
    server.send_as("GET", "/v1/hooks/guest", &[], b"").expect(401);
}

/// Names of a payload's members may be a patient's, and a platform keeps responses.
#[test]
fn a_conflict_tells_a_platform_nothing_of_the_payload() {
    let server = setup("[auth]\nsender = \"github\"\nsecret = \"SECRET\"\n").start();
    let post = |body: &[u8]| {
        let signature = format!("sha256={}", hex_mac(body));
        let headers = [JSON, ("x-hub-signature-256", &*signature), ("idempotency-key", "k1")];
        server.send_as("POST", "/v1/hooks/guest", &headers, body)
    };
    post(br#"{"patients":{"Ada Lovelace":1}}"#).expect(201);
    let refused = post(br#"{"patients":{"Grace Hopper":1}}"#).expect(409);
    assert!(!refused.text.contains("Ada") && !refused.text.contains("Grace"), "{}", refused.text);
}

/// Otherwise a stranger reads settings of the server, or makes it ask any host.
#[test]
fn a_forged_url_of_keys_is_a_wrong_signature() {
    let settings = "[auth]\nsender = \"aws-sns\"\n[auth.settings]\ntopic_arn = \"arn:aws:sns:eu-west-1:1:clinic\"\n";
    let server = setup(settings).config("[outbound]\nhosts = [\"sns.eu-west-1.amazonaws.com\"]\n").start();
    let post = |url: &str| {
        let signature = "A".repeat(342) + "==";
        let body = json!({"Type": "Notification", "MessageId": "1", "Message": "m", "Timestamp": "t", "TopicArn": "arn:aws:sns:eu-west-1:1:clinic", "Signature": signature, "SignatureVersion": "2", "SigningCertURL": url});
        server.send_as("POST", "/v1/hooks/guest", &[JSON], body.to_string().as_bytes())
    };
    assert_eq!(post("https://evil.example/x.pem").expect(401).code(), "wrong_signature");
    // The file allows this host, the settings do not: the admin must change something, and the sender retries.
    let refused = post("https://sns.us-east-1.amazonaws.com/x.pem").expect(503);
    assert_eq!(refused.code(), "sender_keys_unavailable");
    assert!(!refused.text.contains("us-east-1") && !refused.text.contains("outbound"), "{}", refused.text);
    assert!(server.stop().contains("add \\\"sns.us-east-1.amazonaws.com\\\" to hosts in [outbound]"));
}

/// The proof and the mapper read a body by the same rules: otherwise one signed message signs any content.
#[test]
fn a_body_that_looks_different_to_proof_and_mapper_is_refused() {
    let file = include_str!("guests/members-sender.toml");
    let setup = setup("[auth]\nsender = \"members\"\nsecret = \"SECRET\"\n");
    std::fs::write(setup.plugins.join("guest/members.toml"), file).unwrap();
    let server = setup.start();
    let signature = hex_mac(b"good\n1");
    let post = |headers: &[(&str, &str)], body: &[u8]| {
        server.send_as("POST", "/v1/hooks/guest", &[headers, &[("x-sig", &*signature)]].concat(), body)
    };
    let good = json!({"Message": "good", "Id": "1", "data": {"Message": "evil"}, "More": "unsigned"}).to_string();
    let reply = post(&[JSON], good.as_bytes()).expect(201);
    assert_eq!(
        event(&server, &reply)["payload"],
        json!({"Message": "good", "Id": "1"}),
        "what is not signed is dropped"
    );
    // JSON in UTF-16 whose bytes contain a multipart form with the signed members.
    let form = "--b\r\nContent-Disposition: form-data; name=\"Message\"\r\n\r\ngood\r\n--b\r\nContent-Disposition: form-data; name=\"Id\"\r\n\r\n1\r\n--b--\r\n";
    let mut bytes: Vec<u8> =
        "{\"Message\":\"evil\",\"Id\":\"1\",\"z\":\"".encode_utf16().flat_map(u16::to_be_bytes).collect();
    bytes.extend_from_slice(form.as_bytes());
    bytes.extend("\"}".encode_utf16().flat_map(u16::to_be_bytes));
    for headers in [
        &[("content-type", "multipart/form-data; boundary=b; charset=utf-16be")][..],
        &[("content-type", "application/json; charset=utf-16be"), ("content-type", "multipart/form-data; boundary=b")],
        &[("content-type", "multipart/form-data; boundary=b"), ("content-type", "application/json; charset=utf-16be")],
        &[("content-type", "application/json"), ("content-encoding", "gzip")],
    ] {
        let reply = post(headers, &bytes);
        assert!(
            reply.status == 401 || event(&server, &reply)["payload"]["Message"] != "evil",
            "{headers:?}: {} {}",
            reply.status,
            event(&server, &reply)
        );
    }
    let evil = json!({"Message": "evil", "Id": "1"}).to_string();
    post(&[JSON], evil.as_bytes()).expect(401);
}

/// A signature over a form's fields says nothing about a file, and nothing about a field that is named otherwise.
#[test]
fn twilio_s_signature_of_a_form_lets_no_file_in() {
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(b"https://h.example/v1/hooks/guestBodyx");
    let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
    let manifest = "[auth]\nscheme = \"twilio\"\nsecret = \"SECRET\"\nurl = \"https://h.example/v1/hooks/guest\"\n";
    let server = setup(manifest).start();
    let post = |kind: &str, body: &str| {
        let headers = [("content-type", kind), ("x-twilio-signature", &*signature)];
        server.send_as("POST", "/v1/hooks/guest", &headers, body.as_bytes())
    };
    post("application/x-www-form-urlencoded", "Body=x").expect(200);
    let multipart = "multipart/form-data; boundary=b";
    let field = "--b\r\nContent-Disposition: form-data; name=\"Body\"\r\n\r\nx\r\n";
    post(multipart, &format!("{field}--b--\r\n")).expect(200);
    let file = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nunsigned\r\n";
    post(multipart, &format!("{field}{file}--b--\r\n")).expect(401);
    post(multipart, &format!("{}--b--\r\n", field.replace("Body", "Body;From"))).expect(401);
}

/// Otherwise a static token that authenticates every delivery is in every event, log and task.
#[test]
fn a_token_in_the_body_reaches_neither_the_store_nor_the_mapper() {
    let server = setup("[auth]\nsender = \"aircall\"\nsecret = \"SECRET\"\n").start();
    let body = json!({"event": "call.ended", "token": SECRET, "data": {"id": 1}}).to_string();
    let reply = server.send_as("POST", "/v1/hooks/guest", &[JSON], body.as_bytes()).expect(200);
    let stored = event(&server, &reply);
    assert_eq!(stored["payload"]["token"], "[redacted]");
    assert!(!stored.to_string().contains(SECRET), "{stored}");
    let wrong = body.replace(SECRET, "another secret of 32 bytes......");
    server.send_as("POST", "/v1/hooks/guest", &[JSON], wrong.as_bytes()).expect(401);
}
