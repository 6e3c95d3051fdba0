//! Senders without a valid key or signature: what they can cost the server and other companies, and what they see.

mod floods;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::guests::says;
use crate::harness;
use crate::harness::{KEY, Reply, Server, Setup, task};

const SECRET: &str = "a-secret-of-more-than-16-bytes";

fn hex_mac(text: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn auth(scheme: &str) -> String {
    format!("[auth]\nscheme = \"{scheme}\"\nsecret = \"SECRET\"\n")
}

/// Plugins that make one task of anything, each with this proof.
fn setup(plugins: &[(&str, String)]) -> Setup {
    let plugin =
        |setup: Setup, (name, manifest): &(&str, String)| setup.plugin(name, manifest, &says(&task().to_string()));
    plugins.iter().fold(Setup::new(), plugin).env("SECRET", SECRET)
}

fn send(server: &Server, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    server.send_as("POST", path, headers, body)
}

fn event(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()
}

fn stripe(body: &[u8], more: &str) -> String {
    let at = Utc::now().timestamp();
    format!("t={at},{more}v1={}", hex_mac(&[format!("{at}.").as_bytes(), body].concat()))
}

/// A header of empty signatures cost an HMAC over a large body for each of them, on a thread that serves everybody.
#[test]
fn signatures_are_counted_before_anything_is_computed_and_a_large_body_is_let_in() {
    let server = setup(&[("guest", auth("stripe"))]).start();
    let large = json!({ "padding": "x".repeat(1_000_000) }).to_string().into_bytes();
    let deliver = |more: &str| send(&server, "/v1/hooks/guest", &[("stripe-signature", &stripe(&large, more))], &large);
    deliver("").expect(201);
    deliver(&"v1=,".repeat(3900)).expect(201);
    let wrong = format!("v1={},", "0".repeat(64));
    deliver(&wrong.repeat(15)).expect(201);
    let many = deliver(&wrong.repeat(16)).expect(401);
    assert_eq!(many.message(), "the header stripe-signature contains too many signatures");
    let why = event(&server, &many)["reason"]["message"].clone();
    assert_eq!(why, "the header stripe-signature contains more than 16 signatures");
    let late = format!("t=1,v1={}", "0".repeat(64));
    let late = send(&server, "/v1/hooks/guest", &[("stripe-signature", &late)], &large).expect(401);
    assert!(late.message().starts_with("the signature's time is too long ago"), "{}", late.message());
    assert!(event(&server, &late)["reason"]["message"].as_str().unwrap().contains("300 s are allowed"));
}

/// Otherwise strangers could make the server read and store anything.
#[test]
fn a_proof_that_cannot_be_right_is_refused_before_the_body_is_read() {
    let basic = format!("{}username = \"fax\"\n", auth("basic"));
    let server = setup(&[("signed", auth("github")), ("basic", basic), ("secret", auth("url-secret"))]).start();
    for (path, header) in [
        ("signed", String::new()),
        ("signed", "x-hub-signature-256: sha256=00\r\n".into()),
        ("basic", format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode("fax:wrong"))),
        ("secret", String::new()),
        ("secret/wrong", String::new()),
    ] {
        // No body ever comes.
        let head = format!("POST /v1/hooks/{path} HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n{header}\r\n");
        let answer = server.raw(head.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path} {header}: {answer}");
    }
}

#[test]
fn a_header_that_decides_something_is_sent_once() {
    let hmac = format!("{}header = \"X-Sig\"\npayload = \"{{id}}.{{timestamp}}.{{body}}\"\n", auth("hmac-sha256"));
    let hmac = format!("{hmac}id_header = \"X-Id\"\ntimestamp_header = \"X-Time\"\n");
    let server = setup(&[("guest", hmac), ("github", auth("github")), ("keyed", String::new())]).start();
    let body = task().to_string();
    let now = Utc::now().timestamp().to_string();
    let signature = hex_mac(format!("7.{now}.{body}").as_bytes());
    let post = |path: &str, headers: &[(&str, &str)]| send(&server, path, headers, body.as_bytes());
    let keyed = [("x-api-key", KEY), ("content-type", "application/json"), ("idempotency-key", "k-1")];
    for path in ["/v1/tasks", "/v1/hooks/keyed"] {
        post(path, &keyed).expect(201);
        // A delivery is read by its content, whatever its type says.
        let is_read = |name: &str| name == "content-type" && path != "/v1/tasks";
        for twice in keyed.into_iter().filter(|(name, _)| !is_read(name)) {
            let refused = post(path, &[&keyed[..], &[twice]].concat()).expect(400);
            assert_eq!(refused.code(), "repeated_header");
            assert_eq!(refused.message(), format!("the header {} was sent more than once; send it once", twice.0));
        }
    }
    let basic = [("authorization", "Basic x"), ("authorization", "Basic y")];
    assert_eq!(post("/v1/hooks/guest", &basic).expect(400).code(), "repeated_header");
    server.send("GET", "/v1/tasks", &[("x-api-key", KEY)], b"").expect(400);
    server.send("GET", "/readyz", &[("x-api-key", KEY)], b"").expect(400);
    // Strangers read which header is wrong.
    let signed = [("x-sig", signature.as_str()), ("x-id", "7"), ("x-time", now.as_str())];
    post("/v1/hooks/guest", &signed).expect(201);
    for twice in signed {
        let refused = post("/v1/hooks/guest", &[&signed[..], &[twice]].concat()).expect(401);
        assert_eq!(refused.message(), format!("the header {} was sent more than once", twice.0));
        let why = event(&server, &refused)["reason"]["message"].clone();
        assert_eq!(why, format!("the header {} was sent more than once", twice.0));
    }
    // An id that is not signed.
    let signature = format!("sha256={}", hex_mac(body.as_bytes()));
    let signed = [("x-hub-signature-256", signature.as_str()), ("x-github-delivery", "1")];
    post("/v1/hooks/github", &[&signed[..], &[("x-github-delivery", "2")]].concat()).expect(401);
    post("/v1/hooks/github", &signed).expect(201);
}

/// Names of integrations tell strangers whom a company works with.
#[test]
fn readiness_is_counts_for_strangers_and_names_for_those_who_may_know_them() {
    let setup = setup(&[("mine", String::new()), ("theirs", String::new()), ("bad", "nonsense = 1\n".into())]);
    let manifest = setup.plugins.join("theirs/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap().replace("company-1", "company-2");
    std::fs::write(&manifest, text).unwrap();
    let server = setup.start();
    let counts = json!({
        "status": "ready", "store": "ok", "integrations": 2, "loading_plugins": 0, "refused_plugins": 1,
        "weak_integrations": 0, "unreadable_events": 0,
    });
    let reader = setup.key("company-1", &["tasks:read"]);
    for headers in [&[][..], &[("x-api-key", "wrong")], &[("x-api-key", reader.as_str())]] {
        assert_eq!(server.send_as("GET", "/readyz", headers, b"").expect(200).json(), counts, "{headers:?}");
    }
    let of = |key: &str| server.send_as("GET", "/readyz", &[("x-api-key", key)], b"").expect(200).json();
    let names = |live: Value, refused: Value| json!({ "integrations": live, "loading_plugins": [], "refused_plugins": refused, "weak_integrations": [] });
    assert_eq!(of(KEY)["names"], names(json!(["mine"]), json!([])));
    assert_eq!(of(&setup.key("company-2", &["admin"]))["names"], names(json!(["theirs"]), json!([])));
    assert_eq!(of(&setup.operator())["names"], names(json!(["mine", "theirs"]), json!(["bad"])));
}

/// How much room the disk has, and where the data is, is for the operator.
#[test]
fn readiness_names_the_stores_failure_without_details() {
    let mut setup = setup(&[]);
    setup.config = "[store]\nreserve_mib = 100000000\n".into();
    let server = setup.start();
    for headers in [&[][..], &[("x-api-key", KEY)]] {
        let text = server.send_as("GET", "/readyz", headers, b"").expect(503).text;
        assert!(text.contains("\"store\":\"full\"") && !text.contains("bytes") && !text.contains('/'), "{text}");
    }
    let told = setup.ready(&server).expect(503).json();
    assert!(told["store_error"].as_str().unwrap().contains("bytes are free"), "{told}");
}

/// An empty key lets in everybody who knows that it is empty.
#[test]
fn secrets_that_are_empty_weak_or_never_right_are_refused_when_they_are_loaded() {
    let named = |scheme: &str, secret: &str, more: &str| {
        format!("[auth]\nscheme = \"{scheme}\"\nsecret = \"{secret}\"\n{more}")
    };
    let hmac = "header = \"X-Sig\"\n";
    let weak = "allow_weak_secret = true\n";
    let refused = [
        ("whsec", named("standard-webhooks", "EMPTY_WHSEC", weak), "EMPTY_WHSEC is empty"),
        ("stripe", named("stripe", "EMPTY_WHSEC", weak), "EMPTY_WHSEC is empty"),
        ("blank", named("github", "BLANK", weak), "BLANK is empty"),
        ("nothing", named("github", "NOTHING", weak), "NOTHING is empty"),
        ("base64", named("standard-webhooks", "EMPTY_BASE64", weak), "EMPTY_BASE64 must be whsec_ and base64"),
        ("coded", named("standard-webhooks", "SECRET", weak), "SECRET must be whsec_ and base64"),
        ("short", named("hmac-sha256", "SHORT", hmac), "SHORT is weak: it needs 16 bytes or more"),
        ("short-key", named("standard-webhooks", "SHORT_WHSEC", ""), "SHORT_WHSEC is weak"),
        ("alike", named("shopify", "ALIKE", ""), "ALIKE is weak"),
        ("pass", named("basic", "SHORT", "username = \"fax\"\n"), "SHORT is weak"),
        ("twilio", named("twilio", "SHORT", "url = \"https://example.org/x\"\n"), "SHORT is weak"),
        ("url", named("url-secret", "SHORT", ""), "SHORT is weak"),
        ("path", named("url-secret", "PATH_SECRET", weak), "PATH_SECRET contains characters"),
        ("line", named("hmac-sha1", "LINE", hmac), "LINE contains a line break"),
        ("point", named("standard-webhooks", "IDENTITY", weak), "IDENTITY is a point of small order"),
        ("key", named("standard-webhooks", "SHORT_KEY", weak), "SHORT_KEY must be whpk_"),
        ("second", "[auth]\nscheme = \"github\"\nsecret = [\"SECRET\", \"SHORT\"]\n".to_owned(), "SHORT is weak"),
    ];
    let mut setup = setup(&[
        ("good", auth("github")),
        ("weak", named("hmac-sha256", "SHORT", &format!("{hmac}{weak}"))),
        ("unset", named("github", "NOT_SET", "")),
    ]);
    for (name, manifest, _) in &refused {
        setup = setup.plugin(name, manifest, &says("{}"));
    }
    for (name, value) in [
        ("EMPTY_WHSEC", "whsec_"),
        ("EMPTY_BASE64", "whsec_===="),
        ("BLANK", " \t "),
        ("NOTHING", ""),
        ("SHORT", "fifteen-bytes-x"),
        ("SHORT_WHSEC", "whsec_MDEyMzQ1Njc4OWFiY2Rl"),
        ("ALIKE", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("PATH_SECRET", "0123456789/0123456789"),
        ("LINE", "0123456789-\n0123456789"),
        ("IDENTITY", "whpk_AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        ("SHORT_KEY", "whpk_AQAA"),
    ] {
        setup = setup.env(name, value);
    }
    let server = setup.start();
    let ready = setup.ready(&server).expect(200).json()["names"].clone();
    assert_eq!(ready["integrations"], json!(["good", "unset", "weak"]), "the others are not affected");
    for (name, ..) in &refused {
        send(&server, &format!("/v1/hooks/{name}"), &[], b"{}").expect(404);
    }
    assert_eq!(send(&server, "/v1/hooks/unset", &[], b"{}").expect(401).code(), "auth_not_configured");
    let plugins = server.get("/v1/admin/plugins").expect(200).json()["data"].clone();
    let weak =
        |name: &str| plugins.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap()["weak_secrets"].clone();
    assert_eq!((weak("weak"), weak("good")), (json!(["SHORT"]), json!([])));
    let out = harness::binary().args(["plugin", "list", "--data-dir"]).arg(&setup.data).output().unwrap();
    let printed = String::from_utf8(out.stdout).unwrap();
    assert_eq!(printed.matches("weak secret: SHORT").count(), 1, "{printed}");
    let log = server.stop();
    for (name, _, why) in &refused {
        let line = log.lines().find(|it| it.contains("plugin refused") && it.contains(&format!("/{name}/plugin.toml")));
        assert!(line.is_some_and(|it| it.contains(&format!("auth: the secret {why}"))), "{name}: {why}: {line:?}");
    }
    assert!(log.contains("plugin has a weak secret"), "{log}");
    for secret in ["fifteen-bytes", "0123456789", "aaaaaaaa"] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

/// Proxies copy URLs and keys into headers of any name.
#[test]
fn only_headers_that_are_known_to_be_harmless_keep_their_value() {
    let kept = "keep_headers = [\"X-Tenant\", \"X-Original-URI\", \"X-Copied\"]\n";
    let server = setup(&[("guest", format!("{kept}{}", auth("url-secret"))), ("github", auth("github"))]).start();
    let url = format!("/v1/hooks/guest/{SECRET}");
    let encoded: String = SECRET.bytes().map(|it| format!("%{it:02X}")).collect();
    let twice = encoded.replace('%', "%25");
    let upper = SECRET.to_uppercase();
    let body = task().to_string();
    for copy in [SECRET, &encoded, &twice, &upper, &encoded.to_lowercase(), &format!("%61{}", &SECRET[1..])] {
        let copied = format!("https://example.org/v1/hooks/guest/{copy}?x=1");
        let headers = [
            ("content-type", "application/json"),
            ("user-agent", "sender/1.0"),
            ("x-tenant", "blue"),
            ("x-request-id", copied.as_str()),
            ("x-copied", copied.as_str()),
            ("x-original-uri", copied.as_str()),
            ("x-forwarded-uri", copied.as_str()),
            ("x-rewrite-url", copied.as_str()),
            ("referer", copied.as_str()),
            ("x-apikey", "k3y"),
            ("x-auth", "t0ken"),
        ];
        let event_of = |path: &str| event(&server, &send(&server, path, &headers, body.as_bytes()));
        let made = event_of(&url);
        assert_eq!(made["status"], "stored");
        let shown = &made["headers"];
        assert_eq!((&shown["user-agent"], &shown["x-tenant"]), (&json!("sender/1.0"), &json!("blue")));
        for name in [
            "x-request-id",
            "x-copied",
            "x-original-uri",
            "x-forwarded-uri",
            "x-rewrite-url",
            "referer",
            "x-apikey",
            "x-auth",
        ] {
            assert_eq!(shown[name], "(removed)", "{copy}: {name}");
        }
        // A wrong one may be nearly right, or right somewhere else.
        for path in ["/v1/hooks/guest", "/v1/hooks/guest/wrong"] {
            let rejected = event_of(path);
            let shown = plain(&rejected.to_string());
            assert!(!shown.contains(&plain(SECRET)), "{copy}: {rejected}");
        }
    }
    let id = [("x-github-delivery", "7"), ("x-hub-signature-256", &format!("sha256={}", hex_mac(body.as_bytes())))];
    let reply = send(&server, "/v1/hooks/github", &id, body.as_bytes()).expect(201);
    let shown = event(&server, &reply)["headers"].clone();
    assert_eq!((&shown["x-github-delivery"], &shown["x-hub-signature-256"]), (&json!("7"), &json!("(removed)")));
}

fn plain(text: &str) -> String {
    let twice = text.replace("%25", "%");
    let decoded = form_urlencoded::parse(twice.as_bytes()).map(|(a, b)| format!("{a}{b}")).collect::<String>();
    decoded.to_lowercase()
}

#[test]
fn an_integration_cannot_keep_what_senders_prove_themselves_with() {
    let keeps = |header: &str| format!("keep_headers = [\"{header}\"]\n{}header = \"X-Sig\"\n", auth("hmac-sha256"));
    let names = ["authorization", "cookie", "x-api-key", "x-sig", "x-fine"];
    let plugins: Vec<_> = names.iter().map(|it| (*it, keeps(&it.to_uppercase()))).collect();
    let setup = setup(&plugins);
    let server = setup.start();
    assert_eq!(setup.ready(&server).json()["names"]["integrations"], json!(["x-fine"]));
    let log = server.stop();
    assert!(log.contains("keep_headers: x-sig contains the sender's credentials"), "{log}");
}

/// A header, a log line or a reason may repeat what was sent.
#[test]
fn a_key_for_tasks_only_sees_of_an_event_its_state_and_its_tasks() {
    let setup = setup(&[("guest", String::new())]);
    let server = setup.start();
    server.post("/v1/hooks/guest", &task()).expect(201);
    let failed = server.send("POST", "/v1/hooks/guest", &[], b"{").expect(400);
    let path = format!("/v1/events/{}", failed.header("x-event-id"));
    let (tasks, events) = (setup.key("company-1", &["tasks:read"]), setup.key("company-1", &["events:read"]));
    let admin = setup.key("company-1", &["admin"]);
    let get = |key: &str, path: &str| server.send_as("GET", path, &[("x-api-key", key)], b"");
    let inside = ["reason", "plugin_log", "headers", "content_type"];
    for (key, sees) in [(&tasks, false), (&events, true), (&admin, true)] {
        let shown = get(key, &path).expect(200).json();
        let list = get(key, "/v1/events").expect(200).json()["data"].as_array().unwrap().clone();
        assert_eq!(list.len(), 2);
        for event in list.iter().chain([&shown]) {
            assert!(inside.iter().all(|it| event.get(it).is_some() == sees), "{event}");
            assert!(
                ["id", "status", "received_at", "task_ids", "integration", "stages"]
                    .iter()
                    .all(|it| event.get(it).is_some())
            );
        }
        assert_eq!(shown.get("body").is_some(), *key == admin);
        // A filter would reveal it too.
        get(key, "/v1/events?reason=decode").expect(if sees { 200 } else { 403 });
        get(key, &format!("{path}/raw")).expect(if *key == admin { 200 } else { 403 });
    }
    assert_eq!(get(&tasks, "/v1/events?reason=decode").message(), "this API key lacks the scope events:read");
    // The scope opens nothing else.
    get(&events, "/v1/tasks").expect(403);
    let writer = setup.key("company-1", &["tasks:write"]);
    assert_eq!(get(&writer, &path).expect(403).code(), "scope_missing");
}
