//! Connecting a sender: what the server knows about it, and test deliveries that are signed as its own.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness::{Server, Setup, task};

fn senders() -> BTreeMap<String, toml::Table> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("senders");
    let files = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read_to_string(path).unwrap().parse().unwrap())
    };
    files.map(read).collect()
}

/// The secret of the first vector that is a delivery and has one.
fn secret(file: &toml::Table) -> String {
    let vectors = file.get("vector").and_then(toml::Value::as_array).into_iter().flatten();
    let secret = |it: &toml::Value| Some(it.get("secret")?.as_str()?.to_owned());
    vectors
        .filter(|it| it.get("handshake").is_none())
        .find_map(secret)
        .unwrap_or_else(|| "a secret of 32 characters, or more..".into())
}

fn test(server: &Server, name: &str, body: &Value) -> crate::harness::Reply {
    server.post(&format!("/v1/admin/plugins/{name}/test-delivery"), body)
}

/// Senders whose deliveries only they can sign, and those with an API key, of which the server has only a hash.
const NOT_SIGNABLE: [&str; 15] = [
    "aws-sns",
    "canvas",
    "discord",
    "elation",
    "fillout",
    "google-forms",
    "google-pubsub",
    "make",
    "n8n",
    "paypal",
    "plaid",
    "sendgrid",
    "sendgrid-inbound",
    "telnyx",
    "zapier",
];

/// Otherwise "send a test" fails for a sender although its integration is right, or succeeds although it is wrong.
#[test]
fn a_test_delivery_of_every_shipped_sender_passes_its_own_check() {
    let mut setup = Setup::new();
    let all = senders();
    for (name, file) in &all {
        let lines = String::from_utf8(
            crate::harness::binary().args(["sender", "show", name, "--json"]).output().unwrap().stdout,
        )
        .unwrap();
        let lines: Value = serde_json::from_str(&lines).unwrap();
        let lines = lines["plugin_toml"].as_str().unwrap().replacen("[auth]", "[auth]\nallow_weak_secret = true", 1);
        let table: toml::Table = lines.parse().unwrap();
        let named = table["auth"].get("secret").and_then(toml::Value::as_str).into_iter();
        let others =
            table["auth"].get("secrets").and_then(toml::Value::as_table).into_iter().flat_map(|it| it.values());
        for it in named.chain(others.filter_map(toml::Value::as_str)) {
            setup = setup.env(it, &secret(file));
        }
        let dir = setup.plugins.join(format!("s-{name}"));
        std::fs::create_dir_all(&dir).unwrap();
        let head = format!("name = \"s-{name}\"\nversion = \"1\"\ncompany_id = \"company-1\"\nmode = \"capture\"\n");
        std::fs::write(dir.join("plugin.toml"), format!("{head}{lines}")).unwrap();
    }
    let server = setup.start();
    let plugins = server.get("/v1/admin/plugins").expect(200).json();
    let live: BTreeSet<_> =
        plugins["data"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
    let refused: Vec<_> = all.keys().filter(|it| !live.contains(&format!("s-{it}"))).collect();
    assert!(refused.is_empty(), "{refused:?}");
    let (mut unsigned, mut wrong) = (BTreeSet::new(), Vec::new());
    for name in all.keys() {
        let details = server.get(&format!("/v1/admin/senders/{name}")).expect(200).json();
        let own = &details["used_by"][0];
        assert_eq!(own["path"], format!("/v1/hooks/s-{name}"));
        let body = if details["example"].is_null() { json!({"body": "{}"}) } else { json!({}) };
        let reply = test(&server, &format!("s-{name}"), &body);
        if reply.status == 409 {
            unsigned.insert(name.as_str());
            assert_eq!(reply.code(), "no_test_delivery");
            continue;
        }
        let came = reply.expect(200).json();
        if came["event"]["status"] != "captured" || came["event"]["origin"]["kind"] != "test" {
            wrong.push(format!("{name}: {came}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(unsigned, BTreeSet::from(NOT_SIGNABLE));
    // Its secrets are nowhere.
    let shown = server.get("/v1/admin/senders").expect(200).text;
    assert!(all.iter().all(|(_, file)| !shown.contains(&format!("\"{}\"", secret(file)))));
}

const GITHUB: &str = "[auth]\nsender = \"github\"\nsecret = \"GITHUB_SECRET\"\n";

/// Otherwise a test is taken for a delivery, or a delivery for the repetition of a test.
#[test]
fn a_test_is_marked_audited_and_repeats_nothing() {
    let setup = Setup::new()
        .plugin("guest", GITHUB, &says(&task().to_string()))
        .env("GITHUB_SECRET", "a secret of a webhook 0123456789");
    let server = setup.start();
    let first = test(&server, "guest", &json!({"body": "{\"zen\":1}"})).expect(200).json();
    let second = test(&server, "guest", &json!({"body": "{\"zen\":1}"})).expect(200).json();
    for came in [&first, &second] {
        assert_eq!((&came["status"], &came["event"]["status"]), (&json!(201), &json!("stored")), "{came}");
        assert_eq!(came["event"]["origin"]["kind"], "test");
    }
    assert_ne!(first["event"]["id"], second["event"]["id"]);
    let audit = server.get("/v1/admin/audit").expect(200).json();
    let tests = audit["data"].as_array().unwrap().iter().filter(|it| it["action"] == "delivery.tested");
    assert_eq!(tests.map(|it| &it["target"]).collect::<Vec<_>>(), ["guest", "guest"]);
    let plugins = server.get("/v1/admin/plugins").expect(200).json();
    assert_eq!(plugins["data"][0]["secrets"][0]["last_used_at"], Value::Null, "the sender has not used it");
    let other = setup.key("company-2", &["admin"]);
    let path = "/v1/admin/plugins/guest/test-delivery";
    assert_eq!(server.send_as("POST", path, &[("x-api-key", &other)], b"").expect(404).code(), "not_found");
    let reader = setup.key("company-1", &["events:read", "hooks:write"]);
    assert_eq!(server.send_as("POST", path, &[("x-api-key", &reader)], b"").expect(403).code(), "scope_missing");
}

/// Otherwise people wait for a test that cannot come.
#[test]
fn an_integration_that_cannot_be_tested_says_why() {
    let key = "[auth]\nscheme = \"api-key\"\n";
    let setup = Setup::new().plugin("keyed", key, &says(&task().to_string())).plugin(
        "unset",
        GITHUB,
        &says(&task().to_string()),
    );
    let server = setup.start();
    let reply = test(&server, "keyed", &json!({"body": "{}"})).expect(409);
    assert!(reply.message().contains("API key"), "{}", reply.text);
    let reply = test(&server, "unset", &json!({"body": "{}"})).expect(409);
    assert!(reply.message().contains("GITHUB_SECRET"), "{}", reply.text);
    let details = server.get("/v1/admin/senders/github").expect(200).json();
    assert_eq!(details["used_by"][0]["secrets"], json!([{"name": "GITHUB_SECRET", "is_set": false}]));
    assert!(details["plugin_toml"].as_str().unwrap().contains("sender = \"github\""));
    assert_eq!(details["secret_names"], json!(["GITHUB_SECRET"]));
    server.get("/v1/admin/senders/nobody").expect(404);
}
