//! `GET /v1/me`: what a workflow tool calls to test its credentials.

use serde_json::json;

use crate::harness::{Setup, task};

#[test]
fn every_valid_key_learns_who_it_is_and_no_key_learns_nothing() {
    let setup = Setup::new();
    let server = setup.start();
    let me = |key: &str| server.send_as("GET", "/v1/me", &[("x-api-key", key)], b"");
    for scope in ["tasks:read", "tasks:write", "hooks:write", "events:read", "admin"] {
        let request = json!({"company_id": "company-1", "scopes": [scope], "label": "n8n", "timezone": "Europe/Berlin",
                             "strict": true, "expires_at": "2100-01-01T00:00:00Z"});
        let made = server.post("/v1/admin/keys", &request).expect(201).json();
        let expected = json!({
            "operator": false,
            "company_id": "company-1",
            "key_id": made["details"]["id"],
            "label": "n8n",
            "scopes": [scope],
            "timezone": "Europe/Berlin",
            "strict": true,
            "expires_at": "2100-01-01T00:00:00Z",
        });
        let reply = me(made["key"].as_str().unwrap()).expect(200);
        assert_eq!(reply.json(), expected);
        assert_eq!(reply.header("cache-control"), "no-store");
    }
    let plain = me(&setup.key("company-2", &["tasks:read"])).expect(200).json();
    assert_eq!((&plain["company_id"], &plain["timezone"]), (&json!("company-2"), &json!("UTC")));
    assert_eq!((&plain["strict"], &plain["expires_at"]), (&json!(false), &json!(null)));
    me("").expect(401);
    assert_eq!(me("hm_wrong").expect(401).code(), "wrong_key");
    let head = server.send("HEAD", "/v1/me", &[], b"").expect(200);
    assert_eq!((head.header("content-type"), head.text.as_str()), ("application/json", ""));
    assert_eq!(server.post("/v1/me", &task()).expect(405).header("allow"), "GET, HEAD");
}

#[test]
fn a_revoked_key_fails_the_credential_test() {
    let server = Setup::new().start();
    let request = json!({"company_id": "company-1", "scopes": ["tasks:read"]});
    let made = server.post("/v1/admin/keys", &request).expect(201).json();
    let me = || server.send_as("GET", "/v1/me", &[("x-api-key", made["key"].as_str().unwrap())], b"");
    me().expect(200);
    server.send("DELETE", &format!("/v1/admin/keys/{}", made["details"]["id"].as_str().unwrap()), &[], b"").expect(204);
    me().expect(401);
}

#[test]
fn the_operator_is_told_that_it_is_the_operator() {
    let setup = Setup::new();
    let server = setup.start();
    let me = server.send_as("GET", "/v1/me", &[("x-api-key", &setup.operator())], b"").expect(200).json();
    assert_eq!((&me["operator"], &me["company_id"], &me["key_id"]), (&json!(true), &json!(null), &json!(null)));
}
