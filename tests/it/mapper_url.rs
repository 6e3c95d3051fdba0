//! Query and rest of the path of a delivery's URL that a mapper gets, and what is never stored of them.

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness;
use crate::harness::{Reply, Server, Setup, task};

const URL: &str = include_str!("guests/request-1.2.wat");
const ASKS: &str = "query = [\"a\", \"b\"]\npath = true\n";
const KEYED: &str = "[auth]\nscheme = \"api-key\"\n";

fn guest(wat: &str) -> Server {
    Setup::new().plugin("guest", &format!("{ASKS}{KEYED}"), wat).start()
}

fn deliver(server: &Server, rest: &str) -> Reply {
    server.send("POST", &format!("/v1/hooks/guest{rest}"), &[("content-type", "application/json")], b"{}")
}

fn reason(server: &Server, rest: &str) -> String {
    deliver(server, rest).expect(200).json()["reason"].as_str().unwrap().to_owned()
}

fn event(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()
}

fn newest(server: &Server) -> Value {
    server.get("/v1/events?limit=1").expect(200).json()["data"][0].clone()
}

/// Otherwise a mapper cannot tell the deliveries apart that differ only in their URL, or a replay maps something else.
#[test]
fn a_component_of_version_1_2_gets_query_and_path_also_in_a_replay() {
    let server = guest(URL);
    for (sent, expected) in [
        ("", ""),
        ("/", ""),
        ("?a=1", "&a=1"),
        ("/issues/opened?a=1&b=2&a=3", "/issues/opened&a=1&b=2&a=3"),
        ("/issues/opened/?b=2&c=9&a=", "/issues/opened&b=2&a="),
        ("/one", "/one"),
        ("/a%20b/%C3%A9?a=x+y%26z&b=100%&b=%zz", "/a b/é&a=x y&z&b=100%&b=%zz"),
        ("?a=%FF+x&b", "&a=%FF+x&b="),
        ("?%61=1", "&a=1"),
        ("?A=1&&=2&", ""),
    ] {
        assert_eq!(reason(&server, sent), expected, "{sent}");
    }
    let reply = deliver(&server, "/issues/opened?b=2&tenant=north&a=1&bare&a=2").expect(200);
    let stored = event(&server, &reply);
    assert_eq!(stored["path"], "/issues/opened");
    let query = json!([
        {"name": "b", "value": "2"}, {"name": "tenant", "value": null}, {"name": "a", "value": "1"},
        {"name": "a", "value": "2"}, {"name": "(and 1 more)", "value": null},
    ]);
    assert_eq!(stored["query"], query, "a parameter that is not stored is named, unless it may be no name");
    let replay = format!("/v1/events/{}/replay", reply.header("x-event-id"));
    let replayed = server.send("POST", &replay, &[], b"").expect(200).json();
    assert_eq!(replayed["reason"]["message"], "/issues/opened&b=2&a=1&a=2");
    assert_eq!(event(&server, &reply)["query"], query);
}

#[test]
fn a_command_gets_them_in_its_environment() {
    let server = guest(include_str!("guests/environment.wat"));
    let log =
        |rest: &str| event(&server, &deliver(&server, rest).expect(200))["plugin_log"].as_str().unwrap().to_owned();
    let both = log("/issues/opened?b=2&a=1&a=3&a=4&c=secret");
    assert!(both.contains("HOOKMILL_QUERY={\"b\":\"2\",\"a\":[\"1\",\"3\",\"4\"]}"), "{both}");
    assert!(both.contains("HOOKMILL_PATH=/issues/opened"), "{both}");
    assert!(!both.contains("secret"), "{both}");
    let none = log("");
    assert!(none.contains("HOOKMILL_QUERY={}") && none.contains("HOOKMILL_PATH="), "{none}");
}

/// Otherwise components that were built before do not load any more.
#[test]
fn components_of_earlier_versions_get_what_they_know() {
    let manifest = format!("headers = [\"x-github-event\"]\n{ASKS}{KEYED}");
    let server = Setup::new().plugin("guest", &manifest, include_str!("guests/request.wat")).start();
    let headers = [("content-type", "application/json"), ("x-github-event", "push")];
    let reply = server.send("POST", "/v1/hooks/guest/x/y?a=1", &headers, b"{}").expect(200);
    assert_eq!(reply.json()["reason"], "push");
}

/// Otherwise a plugin that did not ask for it, and the database, get whatever a sender has in its URL.
#[test]
fn what_plugin_toml_does_not_ask_for_is_named_but_neither_stored_nor_passed() {
    let setup = Setup::new().plugin("guest", KEYED, URL);
    let server = setup.start();
    let reply = deliver(&server, "/p-4711/private?a=private").expect(200);
    assert_eq!(reply.json()["reason"], "");
    let stored = event(&server, &reply);
    assert_eq!((&stored["path"], &stored["query"]), (&json!("(removed)"), &json!([{"name": "a", "value": null}])));
    let log = server.stop();
    assert!(!log.contains("private") && !log.contains("4711"), "{log}");
}

const SECRET: &str = "a-secret-of-32-bytes.not~random!";

/// Otherwise the secret in a URL is in the database and in what the plugin logs.
#[test]
fn a_secret_in_the_url_is_never_passed_on() {
    let auth = "[auth]\nscheme = \"url-secret\"\nsecret = \"SECRET\"\n";
    let setup = Setup::new().plugin("guest", &format!("{ASKS}{auth}"), URL).env("SECRET", SECRET);
    let server = setup.start();
    let said = |rest: &str| deliver(&server, rest).expect(200).json()["reason"].clone();
    assert_eq!(said(&format!("/{SECRET}")), "");
    assert_eq!(said(&format!("/{SECRET}/issues/opened?a=1")), "/issues/opened&a=1");
    assert_eq!(said(&format!("/{SECRET}/x/{SECRET}?a=1&b={SECRET}&a=%61{}", &SECRET[1..])), "&a=1");
    assert_eq!(said(&format!("/{SECRET}?{SECRET}=1&a=2")), "&a=2");
    let stored = newest(&server);
    assert_eq!(stored["query"], json!([{"name": "a", "value": "2"}, {"name": "(and 1 more)", "value": null}]));
    // The secret must come first.
    deliver(&server, &format!("/x/{SECRET}")).expect(401);
    deliver(&server, "/wrong-secret/more?a=1").expect(401);
    let events = server.get("/v1/events").expect(200).text;
    assert!(!events.contains("a-secret-of-32") && !events.contains("wrong-secret"), "{events}");
    let log = server.stop();
    assert!(!log.contains("a-secret-of-32") && !log.contains("wrong-secret"), "{log}");
}

/// Otherwise a mapper gets the token of a sender that proves itself in the query.
#[test]
fn a_parameter_that_proves_the_sender_is_refused_and_never_stored() {
    let folder = |setup: Setup, name: &str, query: &str| {
        let auth = "[auth]\nsender = \"own\"\nsecret = \"SECRET\"\n";
        let setup = setup.plugin(name, &format!("query = [\"{query}\"]\n{auth}"), URL);
        let sender = include_str!("guests/query-token-sender.toml");
        std::fs::write(setup.plugins.join(name).join("sender.toml"), sender).unwrap();
        setup
    };
    let setup = folder(folder(Setup::new().env("SECRET", SECRET), "refused", "Token"), "guest", "a");
    let server = setup.start();
    let reply = server.send("POST", &format!("/v1/hooks/guest?token={SECRET}&a=1"), &[], b"{}").expect(200);
    assert_eq!(reply.json()["reason"], "&a=1");
    let copied = server.send("POST", &format!("/v1/hooks/guest?token={SECRET}&a=x{SECRET}"), &[], b"{}").expect(200);
    assert_eq!(copied.json()["reason"], "", "a copy of the secret elsewhere");
    let events = server.get("/v1/events").expect(200).text;
    assert!(!events.contains("a-secret-of-32"), "{events}");
    let log = server.stop();
    assert!(log.contains("query: Token contains the sender's credentials"), "{log}");
    assert!(!log.contains("a-secret-of-32"), "{log}");
}

/// Otherwise a sender fills the database with its URLs, or a mapper silently gets less than was sent.
#[test]
fn a_url_that_is_too_large_is_refused_and_other_parameters_are_counted() {
    let server = guest(URL);
    let fits = "x".repeat(8 * 1024 - 1);
    assert_eq!(reason(&server, &format!("?a={fits}")), format!("&a={fits}").chars().take(1024).collect::<String>());
    let refused = deliver(&server, &format!("?a={fits}x")).expect(414);
    assert_eq!(refused.code(), "url_too_large");
    let rejected = newest(&server);
    assert_eq!((&rejected["status"], &rejected["reason"]["code"]), (&json!("rejected"), &json!("url_too_large")));
    deliver(&server, &format!("/{fits}?a=12")).expect(414);
    // What nobody asks for is not stored, so it may be as large as the connection allows.
    let others: String = (0..1000).map(|n| format!("p{n}={}&", "x".repeat(20))).collect();
    let stored = event(&server, &deliver(&server, &format!("?{others}a=1")).expect(200));
    let query = stored["query"].as_array().unwrap();
    assert_eq!((query.len(), &query[33]["name"]), (34, &json!("(and 968 more)")));
    assert_eq!(query[32], json!({"name": "a", "value": "1"}));
    for path in ["/a%2Fb", "/a/..", "/%2e%2e/a", "/a/%00", "/a//b", "/a/%ff"] {
        deliver(&server, path).expect(404);
    }
}

/// Otherwise an erased event still says in its URL whom it was about, or an export loses what a replay needs.
#[test]
fn query_and_path_are_exported_found_and_erased_with_what_was_sent() {
    let setup = Setup::new().plugin("guest", &format!("{ASKS}{KEYED}"), URL);
    let server = setup.start();
    let query = id(&deliver(&server, "?a=p-4711").expect(200));
    let path = id(&deliver(&server, "/patients/p-4711").expect(200));
    let other = id(&deliver(&server, "/patients/p-5?a=1").expect(200));
    let found = server.post("/v1/events/erase", &json!({"patient_id": "p-4711", "dry_run": true})).expect(200).json();
    assert!(found.to_string().contains("query a") && found.to_string().contains("\"path\""), "{found}");
    server.post("/v1/events/erase", &json!({"patient_id": "p-4711"})).expect(200);
    for erased in [&query, &path] {
        let event = server.get(&format!("/v1/events/{erased}")).expect(200);
        assert!(!event.text.contains("4711") && event.json()["erased_at"].is_string(), "{}", event.text);
    }
    let before = server.get(&format!("/v1/events/{other}")).expect(200).json();
    assert_eq!((&before["path"], &before["query"][0]["value"]), (&json!("/patients/p-5"), &json!("1")));
    let database = setup.env.iter().any(|(name, _)| name == "HOOKMILL_DATABASE_URL");
    if database {
        return;
    }
    server.stop();
    let run = |args: &[&str]| {
        let out = harness::binary().args(args).output().unwrap();
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    let (data, again) = (setup.data.display().to_string(), setup.data.with_extension("again").display().to_string());
    let export = String::from_utf8(run(&["store", "export", "--data-dir", &data])).unwrap();
    assert!(export.contains("/patients/p-5") && !export.contains("4711"), "{export}");
    let file = setup.data.with_extension("jsonl");
    std::fs::write(&file, export).unwrap();
    run(&["store", "import", &file.display().to_string(), "--data-dir", &again]);
    let mut imported = setup.another();
    imported.data = again.into();
    let server = imported.start();
    let event = server.get(&format!("/v1/events/{other}")).expect(200).json();
    assert_eq!((&event["path"], &event["query"]), (&before["path"], &before["query"]));
}

fn id(reply: &Reply) -> String {
    reply.header("x-event-id").to_owned()
}

/// Otherwise a mapping that depends on the URL goes live untested.
#[test]
fn fixtures_and_plugin_run_have_query_and_path() {
    let setup = Setup::new().plugin("guest", &format!("{ASKS}{KEYED}"), URL);
    let fixtures = setup.plugins.join("guest/fixtures");
    std::fs::create_dir(&fixtures).unwrap();
    let fixture = |query: Value, expected: &str| {
        let all = json!({
            "name": "f", "received_at": "2026-11-24T08:00:00Z", "payload": {}, "query": query,
            "path": "/issues/opened", "expect": {"skip": expected},
        });
        std::fs::write(fixtures.join("f.json"), all.to_string()).unwrap();
        let dir = setup.plugins.join("guest");
        harness::binary().args(["plugin", "test"]).arg(dir).output().unwrap().status.success()
    };
    assert!(fixture(json!({"b": "2", "a": ["1", "3"]}), "/issues/opened&a=1&a=3&b=2"));
    assert!(fixture(json!([["b", "2"], ["a", "1"]]), "/issues/opened&b=2&a=1"));
    assert!(!fixture(json!({"a": "1"}), "/issues/opened&a=2"));
    let mut run = harness::binary();
    run.args(["plugin", "run", "--json", "--query", "a=1", "--query", "a=2", "--path", "/x"]);
    run.arg(setup.plugins.join("guest")).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = run.spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"{}").unwrap();
    let said: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(said["skip"], "/x&a=1&a=2");
}

/// Otherwise a captured delivery is mapped without what its URL says, and the mapping is wrong.
#[test]
fn a_captured_delivery_is_mapped_later_with_its_url() {
    let setup = Setup::new().config("[plugins]\nwatch = false\nsettle_ms = 0\n");
    let setup = setup.plugin("guest", &format!("mode = \"capture\"\n{ASKS}{KEYED}"), &says(&task().to_string()));
    // `mode` must come before the tables.
    let plugin_toml = setup.plugins.join("guest/plugin.toml");
    let server = setup.start();
    let captured = id(&deliver(&server, "/issues?a=1").expect(202));
    let text = std::fs::read_to_string(&plugin_toml).unwrap().replace("\"capture\"", "\"sync\"");
    std::fs::write(&plugin_toml, text).unwrap();
    std::fs::write(setup.plugins.join("guest/mapper.wasm"), wat::parse_str(URL).unwrap()).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    let replayed = server.send("POST", &format!("/v1/events/{captured}/replay"), &[], b"").expect(200).json();
    assert_eq!(replayed["reason"]["message"], "/issues&a=1");
}
