//! `Idempotency-Key`: a repeated POST gets the first response and has no further effect.

use serde_json::{Value, json};

use crate::guests::component;
use crate::harness::{Reply, Server, Setup, task};

fn post(server: &Server, path: &str, key: &str, body: &Value) -> Reply {
    let headers = [("content-type", "application/json"), ("idempotency-key", key)];
    server.send("POST", path, &headers, body.to_string().as_bytes())
}

fn total(server: &Server) -> u64 {
    server.get("/v1/tasks").expect(200).json()["pagination"]["total"].as_u64().unwrap()
}

/// n8n retries whatever failed, after the server may well have done it.
#[test]
fn a_task_that_is_posted_again_is_made_once_and_answered_the_same() {
    let setup = Setup::new();
    let server = setup.start();
    let mut body = task();
    body["deadline"] = json!("2026-12-01");
    let first = post(&server, "/v1/tasks", "order-1", &body).expect(201);
    assert_eq!(first.header("idempotent-replayed"), "");
    let again = post(&server, "/v1/tasks", "order-1", &body).expect(201);
    assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, "true"));
    for name in ["location", "etag", "x-event-id", "x-loosened", "content-type"] {
        assert!(!first.header(name).is_empty(), "{name}");
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(total(&server), 1);
    server.stop();
    let server = setup.start();
    assert_eq!(post(&server, "/v1/tasks", "order-1", &body).expect(201).text, first.text, "after a restart as well");
    assert_eq!(total(&server), 1);
}

#[test]
fn fifty_posts_at_once_with_one_key_make_one_task() {
    let server = Setup::new().start();
    let body = task();
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..50).map(|_| scope.spawn(|| post(&server, "/v1/tasks", "one", &body))).collect();
        threads.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let first = replies[0].json()["id"].clone();
    for reply in &replies {
        assert_eq!((reply.status, &reply.json()["id"]), (201, &first));
    }
    assert_eq!(replies.iter().filter(|it| it.header("idempotent-replayed") != "true").count(), 1);
    assert_eq!(total(&server), 1);
}

#[test]
fn another_body_under_the_same_key_is_a_conflict_that_names_the_key() {
    let server = Setup::new().start();
    post(&server, "/v1/tasks", "order-1", &task()).expect(201);
    let mut other = task();
    other["title"] = json!("Something else");
    let reply = post(&server, "/v1/tasks", "order-1", &other).expect(409);
    assert_eq!(reply.code(), "idempotency_conflict");
    assert!(reply.message().contains("\"order-1\""), "{}", reply.message());
    assert_eq!(total(&server), 1);
}

#[test]
fn a_key_counts_for_one_sender_and_one_route() {
    let setup = Setup::new();
    let server = setup.start();
    post(&server, "/v1/tasks", "k", &task()).expect(201);
    post(&server, "/v1/tasks/batch", "k", &json!([task()])).expect(200);
    for company in ["company-1", "company-2"] {
        let key = setup.key(company, &["tasks:write"]);
        let headers = [("x-api-key", key.as_str()), ("content-type", "application/json"), ("idempotency-key", "k")];
        let reply = server.send_as("POST", "/v1/tasks", &headers, task().to_string().as_bytes()).expect(201);
        assert_eq!(reply.header("idempotent-replayed"), "");
    }
    assert_eq!(total(&server), 3);
}

/// A sender that corrects its body can use the key that its workflow gave the item.
#[test]
fn errors_are_not_remembered() {
    let server = Setup::new().start();
    post(&server, "/v1/tasks", "k", &json!({"title": "t"})).expect(422);
    post(&server, "/v1/tasks/batch", "k", &json!([{"title": "t"}])).expect(200);
    post(&server, "/v1/tasks/batch", "k", &json!([task()])).expect(200);
    let reply = post(&server, "/v1/tasks", "k", &task()).expect(201);
    assert_eq!(reply.header("idempotent-replayed"), "");
}

#[test]
fn a_key_is_1_to_255_visible_characters() {
    let server = Setup::new().start();
    let longest = "k".repeat(255);
    post(&server, "/v1/tasks", &longest, &task()).expect(201);
    for key in ["two words", "ü", &format!("{longest}k")] {
        let reply = post(&server, "/v1/tasks", key, &task()).expect(422);
        assert!(reply.message().starts_with("Idempotency-Key"), "{}", reply.message());
    }
}

#[test]
fn a_delivery_that_comes_again_is_200_with_the_first_answers_body() {
    let server = Setup::with_shipped_plugins().start();
    let send = |body: &Value| post(&server, "/v1/hooks/n8n-intake", "delivery-1", body);
    let first = send(&json!({"subject": "Call back"})).expect(201);
    let again = send(&json!({"subject": "Call back"})).expect(200);
    assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, "true"));
    assert_eq!(again.header("x-event-id"), first.header("x-event-id"));
    assert_eq!(send(&json!({"subject": "Another"})).expect(409).code(), "idempotency_conflict");
    assert_eq!(total(&server), 1);
    // A skip is an outcome as well.
    let skip = || post(&server, "/v1/hooks/n8n-intake", "delivery-2", &json!({"test": true})).expect(200);
    let first = skip();
    assert_eq!(skip().text, first.text, "the same event");
}

/// Who signs has no key: the integration is the sender.
#[test]
fn a_signed_delivery_is_known_by_its_integration() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let manifest = "[auth]\nscheme = \"hmac-sha256\"\nsecret = \"GUEST_SECRET\"\nheader = \"X-Signature\"";
    let setup = Setup::new().plugin("guest", manifest, &component("")).env("GUEST_SECRET", "s3cret-of-16-bytes");
    let server = setup.start();
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"s3cret-of-16-bytes").unwrap();
    mac.update(b"{}");
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let headers = [("x-signature", signature.as_str()), ("content-type", "application/json"), ("idempotency-key", "k")];
    let send = || server.send_as("POST", "/v1/hooks/guest", &headers, b"{}").expect(200);
    let (first, again) = (send(), send());
    assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, "true"));
}

#[test]
fn a_batch_that_is_posted_again_makes_nothing_new() {
    let server = Setup::new().start();
    let body = json!([task(), {"title": "t"}, task()]);
    let first = post(&server, "/v1/tasks/batch", "b", &body).expect(200);
    let again = post(&server, "/v1/tasks/batch", "b", &body).expect(200);
    assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, "true"));
    assert_eq!(total(&server), 2);
}

/// A secret is shown once. A repetition says which key was made, so that it can be revoked.
#[test]
fn a_key_request_that_is_repeated_gets_the_details_and_no_secret() {
    let server = Setup::new().start();
    let body = json!({"company_id": "company-1", "scopes": ["tasks:read"], "label": "report"});
    let first = post(&server, "/v1/admin/keys", "k", &body).expect(201).json();
    let again = post(&server, "/v1/admin/keys", "k", &body).expect(201);
    assert_eq!((&again.json()["details"], &again.json()["key"]), (&first["details"], &Value::Null));
    assert!(first["key"].is_string());
    assert_eq!(again.header("idempotent-replayed"), "true");
    let keys = server.get("/v1/admin/keys").expect(200).json();
    assert_eq!(keys["data"].as_array().unwrap().iter().filter(|it| it["label"] == "report").count(), 1);
}

/// The commit recognises repetitions; a request that fails before it must be recognised as well, or a sender that reuses
/// its key by mistake would be sent to look for a mistake in its body.
#[test]
fn a_key_that_was_used_is_a_conflict_even_where_the_body_would_be_rejected() {
    let server = Setup::new().start();
    post(&server, "/v1/tasks", "k", &task()).expect(201);
    post(&server, "/v1/tasks/batch", "k", &json!([task()])).expect(200);
    let json = ("content-type", "application/json");
    for (path, body) in [
        ("/v1/tasks", r#"{"title":"t"}"#),
        ("/v1/tasks", "no JSON"),
        ("/v1/tasks/batch", r#"[{"title":"t"}]"#),
        ("/v1/tasks/batch", r#""no batch""#),
    ] {
        let reply = server.send("POST", path, &[json, ("idempotency-key", "k")], body.as_bytes()).expect(409);
        assert_eq!(reply.code(), "idempotency_conflict", "{path} {body}");
    }
    let events = server.get("/v1/events?status=quarantined").expect(200).json();
    assert_eq!(events["data"], json!([]), "nothing is stored for them");
    assert_eq!(total(&server), 2);
}

/// The answer was lost and the disk has filled up since: the sender still learns that its task exists.
#[test]
fn a_repetition_is_answered_while_the_disk_is_nearly_full() {
    let mut setup = Setup::new();
    let server = setup.start();
    let batch = json!([task()]);
    let first = post(&server, "/v1/tasks", "k", &task()).expect(201);
    let first_batch = post(&server, "/v1/tasks/batch", "k", &batch).expect(200);
    server.stop();
    setup.config = "[store]\nreserve_mib = 4000000000".into();
    let server = setup.start();
    let again = post(&server, "/v1/tasks", "k", &task()).expect(201);
    assert_eq!((&again.text, again.header("idempotent-replayed")), (&first.text, "true"));
    assert_eq!(post(&server, "/v1/tasks/batch", "k", &batch).expect(200).text, first_batch.text);
    assert_eq!(post(&server, "/v1/tasks", "k", &json!({"title": "t"})).expect(409).code(), "idempotency_conflict");
    assert_eq!(post(&server, "/v1/tasks", "new", &task()).expect(503).code(), "storage_full");
    assert_eq!(total(&server), 2);
}
