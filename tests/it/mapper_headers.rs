//! Headers of the request that a mapper gets: many senders say only there which event it is.

use serde_json::Value;

use crate::harness::{Reply, Server, Setup};

const PUSH: [(&str, &str); 3] =
    [("content-type", "application/json"), ("x-github-event", "push"), ("x-other", "secret")];

fn deliver(server: &Server) -> Reply {
    server.send("POST", "/v1/hooks/guest", &PUSH, b"{}").expect(200)
}

fn event(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()
}

/// Otherwise a plugin for two topics of Shopify cannot tell them apart, and a replay maps something else.
#[test]
fn a_component_of_version_1_1_gets_the_named_headers_also_in_a_replay() {
    let server = Setup::new()
        .plugin(
            "guest",
            "headers = [\"X-GitHub-Event\"]\n[auth]\nscheme = \"api-key\"\n",
            include_str!("guests/request.wat"),
        )
        .start();
    let reply = deliver(&server);
    assert_eq!(reply.json()["reason"], "push");
    assert_eq!(event(&server, &reply)["headers"]["x-other"], "(removed)");
    let path = format!("/v1/events/{}/replay", reply.header("x-event-id"));
    let replayed = server.send_as("POST", &path, &[("x-api-key", crate::harness::KEY)], b"").expect(200);
    assert_eq!(replayed.json()["reason"]["message"], "push");
}

#[test]
fn a_command_gets_them_as_json_in_its_environment() {
    let server = Setup::new()
        .plugin(
            "guest",
            "headers = [\"x-github-event\"]\n[auth]\nscheme = \"api-key\"\n",
            include_str!("guests/environment.wat"),
        )
        .start();
    let log = event(&server, &deliver(&server))["plugin_log"].as_str().unwrap().to_owned();
    assert!(log.contains("HOOKMILL_HEADERS={\"x-github-event\":\"push\"}"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

/// Otherwise a mapper, or its log, gets a password.
#[test]
fn headers_with_credentials_are_never_passed_on() {
    let signed = "headers = [\"X-Sig\"]\n[auth]\nscheme = \"hmac-sha256\"\nsecret = \"SECRET\"\nheader = \"X-Sig\"\n";
    let server = Setup::new()
        .plugin(
            "keyed",
            "headers = [\"Authorization\"]\n[auth]\nscheme = \"api-key\"\n",
            include_str!("guests/environment.wat"),
        )
        .plugin("signed", signed, include_str!("guests/environment.wat"))
        .env("SECRET", "a secret of 32 bytes, not random")
        .start();
    let log = server.stop();
    for name in ["authorization", "x-sig"] {
        assert!(log.contains(&format!("headers: {name} contains the sender's credentials")), "{log}");
    }
}
