//! `hookmill sender …`: lists, shows and checks senders, signs examples that the server accepts, and confirms secrets.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness::{Server, Setup, binary, task};

pub(crate) const SECRET: &str = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81";

pub(crate) fn run(setup: &Setup, args: &[&str], stdin: &[u8]) -> Output {
    // Writes the settings.
    drop(setup.command());
    let mut command = binary();
    command.args(args).arg("--config").arg(setup.data.with_extension("toml")).envs(setup.env.iter().cloned());
    command.env("HOOKMILL_DATA_DIR", &setup.data).env("HOOKMILL_PLUGINS_DIR", &setup.plugins);
    command.env("XDG_CACHE_HOME", setup.data.with_extension("cache")).current_dir(&setup.plugins);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _may_not_read = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

pub(crate) fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

pub(crate) fn good(out: &Output) -> String {
    assert!(out.status.success(), "{}", said(out));
    said(out)
}

/// Somebody who looks for a sender must see how far its deliveries can be trusted, and which files are the server's own.
#[test]
fn senders_are_listed_with_proof_and_group_and_own_files_are_marked() {
    let setup = Setup::new();
    let dir = setup.data.with_file_name("senders");
    std::fs::create_dir(&dir).unwrap();
    let own = include_str!("../../senders/phaxio.toml").replace("name = \"phaxio\"", "name = \"our-fax\"");
    std::fs::write(dir.join("our-fax.toml"), own).unwrap();
    std::fs::write(dir.join("retell.toml"), include_str!("../../senders/retell.toml")).unwrap();
    let setup = setup.config(&format!("senders_dir = {:?}\n", dir.to_str().unwrap()));
    assert!(good(&run(&setup, &["sender", "list"], b"")).contains("own file, in place of the shipped one"));
    let listed: Value =
        serde_json::from_str(&good(&run(&setup, &["sender", "list", "--group", "fax", "--json"], b""))).unwrap();
    let all = listed["data"].as_array().unwrap();
    let of = |name: &str| all.iter().find(|it| it["name"] == name).unwrap();
    assert!(all.iter().all(|it| it["group"] == "fax"), "{listed}");
    assert_eq!(
        (&of("our-fax")["own"], &of("phaxio")["own"], &of("srfax")["own"]),
        (&json!(true), &json!(false), &json!(false))
    );
    assert_eq!((&of("phaxio")["proof"], &of("srfax")["proof"]), (&json!("signed"), &json!("weak")));
    assert!(good(&run(&setup, &["sender", "list"], b"")).contains("own file"));
    let text = good(&run(&setup, &["sender", "show", "our-fax"], b""));
    for part in ["Proofs:", "HMAC", "[auth]\n  sender = \"our-fax\"", "secret = \"OUR_FAX_SECRET\"", "read 2026"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "colours where there is no terminal");
    std::fs::write(dir.join("bad.toml"), "name = 1").unwrap();
    let out = run(&setup, &["sender", "list"], b"");
    assert!(out.status.code() == Some(1) && said(&out).contains("refused: bad: "), "{}", said(&out));
}

/// A file of one's own that begins as a shipped one must be valid, and a wrong one must be found before the server loads it.
#[test]
fn a_shipped_file_is_a_starting_point_and_test_finds_what_is_wrong() {
    let setup = Setup::new();
    let text = String::from_utf8(run(&setup, &["sender", "show", "retell", "--toml"], b"").stdout).unwrap();
    let file = setup.plugins.join("mine.toml");
    std::fs::write(&file, text.replace("name = \"retell\"", "name = \"mine\"")).unwrap();
    good(&run(&setup, &["sender", "test", "mine.toml"], b""));
    std::fs::write(
        setup.plugins.join("worse.toml"),
        text.replace("name = \"retell\"", "name = \"worse\"").replace("{body}{time}", "{body}"),
    )
    .unwrap();
    let out = run(&setup, &["sender", "test", "."], b"");
    let text = said(&out);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("good: ./mine.toml") && text.contains("error: ./worse.toml: "), "{text}");
}

/// A setting that somebody must guess is an integration that never works. The module must be what its source says.
#[test]
fn a_new_plugin_for_a_sender_passes_its_check() {
    let wat = wat::parse_str(include_str!("../../templates/sender/mapper.wat")).unwrap();
    assert_eq!(include_bytes!("../../templates/sender/mapper.wasm")[..], wat[..], "templates/sender/mapper.wasm");
    let setup = Setup::new();
    for sender in ["retell", "meta", "twilio", "srfax", "google-pubsub", "paypal", "adyen", "discord"] {
        let text = good(&run(&setup, &["plugin", "new", sender, "--sender", sender], b""));
        assert!(text.contains(&format!("/v1/hooks/{sender}")), "{text}");
        good(&run(&setup, &["plugin", "check", sender], b""));
    }
    let text = good(&run(&setup, &["plugin", "new", "js", "--sender", "retell", "--lang", "js"], b""));
    assert!(text.contains("build.sh") && setup.plugins.join("js/mapper.js").exists(), "{text}");
    let readme = std::fs::read_to_string(setup.plugins.join("js/README.md")).unwrap();
    assert!(readme.contains("hookmill secret set RETELL_SECRET") && !readme.contains("X-API-Key"), "{readme}");
    good(&run(&setup, &["plugin", "check", "js"], b""));
}

/// An author must see before the first delivery what a sender gets back, and which host is missing.
#[test]
fn check_says_what_is_in_effect_for_a_sender() {
    let setup = asana();
    let text = good(&run(&setup, &["plugin", "check", "guest"], b""));
    for part in ["sender asana (Asana), signed", "answers the questions x-hook-secret", "created: 200 the event's id"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("created: 200 the event's id"), "{text}");
    let returns = "the sender gets the task back";
    assert!(!text.contains(returns), "{text}");
    let manifest = setup.plugins.join("guest/plugin.toml");
    let before = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, format!("{before}[answer]\nbody = \"task\"\n")).unwrap();
    assert!(good(&run(&setup, &["plugin", "check", "guest"], b"")).contains(returns));
    good(&run(&setup, &["plugin", "new", "push", "--sender", "google-pubsub"], b""));
    let host = "Add \"www.googleapis.com\" to hosts in [outbound]";
    assert!(good(&run(&setup, &["plugin", "check", "push"], b"")).contains(host));
    // What can never be a host would refuse deliveries later, without a word at the start.
    for wrong in ["https://www.googleapis.com/x", "a b", "*", "*.*", "a..b", ""] {
        let setup = Setup::new().config(&format!("[outbound]\nhosts = [\"{wrong}\"]\n"));
        let out = run(&setup, &["sender", "list"], b"");
        assert!(out.status.code() == Some(2) && said(&out).contains("is not a host's name"), "{wrong}: {}", said(&out));
    }
    let setup = setup.config("[outbound]\nhosts = [\"www.googleapis.com\"]\n");
    assert!(!good(&run(&setup, &["plugin", "check", "push"], b"")).contains("[outbound]"));
}

/// The command is for trying an integration: a signature that the server refuses is worse than none.
#[test]
fn what_sign_makes_is_accepted_by_the_server() {
    let setup = Setup::new();
    let secrets = setup.data.with_file_name("secrets.toml");
    std::fs::write(&secrets, "").unwrap();
    let setup = setup.config(&format!("secrets_file = {:?}\n", secrets.to_str().unwrap()));
    let json: &[u8] = b"{\"a\":\"it's 100% \\u00e9\"}\n";
    let cases: [(&str, &[u8]); 17] = [
        ("aircall", b"{\"event\":\"call.ended\"}"),
        ("microsoft-graph", b"{\"value\":[{\"id\":\"1\"}]}"),
        ("retell", json),
        ("github", json),
        ("stripe", json),
        ("slack", json),
        ("shopify", json),
        ("typeform", json),
        ("calendly", json),
        ("twilio", b"From=%2B1555&Body=a+b"),
        ("phaxio", json),
        ("hubspot", json),
        ("zoom", json),
        ("vapi", json),
        ("srfax", b"a=b"),
        ("documo", json),
        ("livekit", json),
    ];
    for (sender, _) in cases {
        good(&run(&setup, &["plugin", "new", sender, "--sender", sender], b""));
        let name = format!("{}_SECRET", sender.to_uppercase().replace('-', "_"));
        good(&run(&setup, &["secret", "set", &name], SECRET.as_bytes()));
    }
    let _server = setup.start();
    let mut refused = Vec::new();
    for (sender, body) in cases {
        // The server is found through its data directory.
        let out = run(&setup, &["sender", "sign", "--plugin", sender, "--run"], body);
        if !out.status.success() {
            refused.push(format!("{sender}: {}", said(&out)));
        }
        assert!(!said(&out).contains(SECRET), "{sender}: {}", said(&out));
    }
    assert!(refused.is_empty(), "{refused:#?}");
    let help = run(&setup, &["sender", "sign", "retell", "--run"], json);
    assert!(help.status.code() == Some(2) && said(&help).contains("use --plugin, or add --url"), "{}", said(&help));
}

/// Otherwise the secret is on the screen, and in the terminal's history.
#[test]
fn a_request_with_the_secret_itself_is_not_printed_and_a_private_key_is_not_invented() {
    let setup = Setup::new().env("S", SECRET);
    let out = run(&setup, &["sender", "sign", "srfax", "--secret-name", "S"], b"a=b");
    assert!(out.status.code() == Some(2) && !said(&out).contains(SECRET), "{}", said(&out));
    assert!(said(&out).contains("--show-secret"));
    let shown = good(&run(&setup, &["sender", "sign", "srfax", "--secret-name", "S", "--show-secret"], b"a=b"));
    assert!(shown.starts_with("curl ") && shown.contains(SECRET));
    let out = run(&setup, &["sender", "sign", "discord", "--secret-name", "S"], b"{}");
    assert!(!out.status.success() && said(&out).contains("only the sender has the private key"), "{}", said(&out));
    let out = run(&setup, &["sender", "sign", "retell", "--secret-name", "NONE"], b"{}");
    assert!(out.status.code() == Some(2) && said(&out).contains("the secret NONE is not set"), "{}", said(&out));
}

/// Two integrations of Asana, of two companies, with a secrets file.
fn asana() -> Setup {
    let setup = Setup::new();
    let secrets = setup.data.with_file_name("secrets.toml");
    std::fs::write(&secrets, "").unwrap();
    let auth = |secret: &str| format!("[auth]\nsender = \"asana\"\nsecret = {secret}\n");
    let mapper = says(&task().to_string());
    let setup = setup.plugin("guest", &auth("\"GUEST\""), &mapper).plugin("other", &auth("[\"A\", \"B\"]"), &mapper);
    let manifest = setup.plugins.join("other/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("company-1", "company-2")).unwrap();
    setup.config(&format!("secrets_file = {:?}\n", secrets.to_str().unwrap()))
}

/// Sends a handshake, and returns its event's id. Its answer is the sender's, so openapi.json does not describe it.
fn ask(server: &Server, integration: &str, secret: &str) -> String {
    let head =
        format!("POST /v1/hooks/{integration} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-hook-secret: {secret}");
    let answer =
        server.raw(format!("{head}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&format!("x-hook-secret: {secret}")), "{answer}");
    let id = answer.lines().find_map(|it| it.strip_prefix("x-event-id: ")).unwrap();
    id.trim().to_owned()
}

/// Asana sends its secret once. It must survive a restart, reach only its own company, and be set by an admin alone.
#[test]
fn a_learned_secret_is_confirmed_after_a_restart_by_its_own_company() {
    let setup = asana();
    let server = setup.start();
    let (event, _) = (ask(&server, "guest", SECRET), ask(&server, "other", &SECRET.replace('b', "c")));
    let other = setup.key("company-2", &["admin"]);
    let mut log = server.stop();
    let server = setup.start();
    let path = format!("/v1/admin/learned-secrets/{event}/confirm");
    let own = server.get("/v1/admin/learned-secrets").expect(200);
    assert!(!own.text.contains(SECRET), "{}", own.text);
    assert_eq!(own.json()["data"].as_array().unwrap().len(), 1, "{}", own.text);
    assert_eq!(own.json()["data"][0]["event_id"], json!(event));
    let as_other = |method: &str, path: &str| server.send_as(method, path, &[("x-api-key", &other)], b"");
    as_other("POST", &path).expect(404);
    as_other("DELETE", &format!("/v1/admin/learned-secrets/{event}")).expect(404);
    let refused = run(&setup, &["sender", "sign", "--plugin", "guest"], b"{}");
    assert!(!refused.status.success(), "no secret is set yet");

    let listed = good(&run(&setup, &["sender", "confirm", "--list"], b""));
    assert!(listed.contains(&event) && listed.contains("b537…3e81") && !listed.contains(SECRET), "{listed}");
    let done = good(&run(&setup, &["sender", "confirm", "guest"], b""));
    assert!(done.contains("guest uses this secret now, as GUEST") && !done.contains(SECRET), "{done}");
    let url = format!("{}/v1/hooks/guest", server.url);
    good(&run(&setup, &["sender", "sign", "--plugin", "guest", "--url", &url, "--run"], b"{\"events\":[]}"));
    server.send("POST", &path, &[], b"").expect(404);
    let audit = server.get("/v1/admin/audit").expect(200);
    assert!(audit.text.contains("secret.confirmed") && !audit.text.contains(SECRET), "{}", audit.text);
    log += &server.stop();
    assert!(!log.contains(SECRET), "{log}");
}

/// A stranger can send a handshake too: with several, the admin must choose, and one too many has no place.
#[test]
fn of_several_learned_secrets_one_is_named_and_without_a_place_none_is_set() {
    let setup = asana();
    let server = setup.start();
    let first = ask(&server, "other", SECRET);
    let second = ask(&server, "other", &SECRET.replace('b', "c"));
    let out = run(&setup, &["sender", "confirm", "other"], b"");
    assert!(out.status.code() == Some(1) && said(&out).contains("name one with --event"), "{}", said(&out));
    let done = good(&run(&setup, &["sender", "confirm", "other", "--event", &second], b""));
    assert!(done.contains("as A"), "{done}");
    good(&run(&setup, &["sender", "confirm", "--event", &first, "--reject"], b""));
    let third = ask(&server, "other", &SECRET.replace('b', "d"));
    assert!(good(&run(&setup, &["sender", "confirm", "--event", &third], b"")).contains("as B"));
    let fourth = ask(&server, "other", &SECRET.replace('b', "e"));
    let operator = setup.operator();
    let confirm = |event: &str| {
        let path = format!("/v1/admin/learned-secrets/{event}/confirm");
        server.send_as("POST", &path, &[("x-api-key", &operator)], b"")
    };
    let refused = confirm(&fourth).expect(409);
    assert_eq!(refused.code(), "secret_not_set");
    assert!(refused.message().contains("every name in `secret` of [auth] is set (A, B)"), "{}", refused.message());
    // One that the integration refuses is not left in the file.
    let weak = ask(&server, "guest", "aaaaaaaaaaaaaaaaaaaaaa");
    assert!(confirm(&weak).expect(409).message().contains("guest refuses this secret"));
    let file = std::fs::read_to_string(setup.data.with_file_name("secrets.toml")).unwrap();
    assert!(!file.contains("GUEST") && file.contains("A = ") && file.contains("B = "), "{}", file.len());
    drop(server);
    let bare = setup.config("");
    let server = bare.start();
    let event = ask(&server, "guest", SECRET);
    let operator = bare.operator();
    let path = format!("/v1/admin/learned-secrets/{event}/confirm");
    let refused = server.send_as("POST", &path, &[("x-api-key", &operator)], b"").expect(409);
    assert!(refused.message().contains("no secrets_file is configured"), "{}", refused.message());
}

/// Notion wants its token back: without it, the setup cannot be finished. On a pipe, it must not get into a log.
#[test]
fn a_secret_that_the_sender_wants_back_is_printed_once_on_request() {
    let setup = asana();
    for integration in ["guest", "other"] {
        let manifest = setup.plugins.join(integration).join("plugin.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        std::fs::write(&manifest, text.replace("\"asana\"", "\"notion\"").replace("company-2", "company-1")).unwrap();
    }
    let server = setup.start();
    let body = |secret: &str| json!({ "verification_token": secret });
    let token = format!("secret_{SECRET}");
    server.post("/v1/hooks/guest", &body(&token));
    server.post("/v1/hooks/other", &body(&token));
    let listed = good(&run(&setup, &["sender", "confirm", "--list"], b""));
    assert!(listed.contains("secret_b537…3e81") && !listed.contains(SECRET), "{listed}");
    let done = good(&run(&setup, &["sender", "confirm", "guest"], b""));
    assert!(done.contains("it is GUEST in secrets_file; --show-secret") && !done.contains(SECRET), "{done}");
    let done = good(&run(&setup, &["sender", "confirm", "other", "--show-secret"], b""));
    assert!(done.contains(&format!("enter this secret at the sender: {token}")), "{done}");
    assert!(!server.stop().contains(SECRET));
}

/// Anyone can send handshakes: an admin must see that one was dropped, and be able to clear them at once.
#[test]
fn a_handshake_too_many_names_the_one_that_is_dropped_and_all_are_rejected_at_once() {
    let setup = asana();
    let server = setup.start();
    let events: Vec<_> = (0..9).map(|n| ask(&server, "guest", &SECRET.replace('b', &n.to_string()))).collect();
    let message = |event: &str| {
        let event = server.get(&format!("/v1/events/{event}")).expect(200).json();
        event["reason"]["message"].as_str().unwrap().to_owned()
    };
    let dropped = format!("the secret of event {} was dropped", events[0]);
    assert!(
        message(&events[8]).contains(&dropped) && !message(&events[7]).contains("dropped"),
        "{}",
        message(&events[8])
    );
    let out = run(&setup, &["sender", "confirm", "guest", "--reject"], b"");
    assert!(said(&out).contains("--reject --all"), "{}", said(&out));
    ask(&server, "other", SECRET);
    let done = good(&run(&setup, &["sender", "confirm", "guest", "--reject", "--all"], b""));
    assert!(done.contains("8 secrets are forgotten"), "{done}");
    let left = good(&run(&setup, &["sender", "confirm", "--list", "--json"], b""));
    assert!(left.contains("other") && !left.contains("guest"), "{left}");
    assert!(server.stop().contains("a secret that waited for confirmation was dropped"));
}
