//! Secrets that change while the server runs: where they are set, that a reload reads them, and that nothing shows them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::guests::says;
use crate::harness::{Reply, Server, Setup, binary, task, until};

const OLD: &str = "old-secret-of-16-bytes-or-more";
const NEW: &str = "new-secret-of-16-bytes-or-more";

/// A plugin that makes one task of anything that GitHub signs with GUEST.
fn setup() -> Setup {
    setup_with("[auth]\nsender = \"github\"\nsecret = \"GUEST\"\n[answer]\nbody = \"task\"\n")
}

fn setup_with(auth: &str) -> Setup {
    Setup::new().plugin("guest", auth, &says(&task().to_string()))
}

fn next_to(setup: &Setup, name: &str) -> PathBuf {
    setup.data.with_file_name(name)
}

/// With this content of secrets_file.
fn with_file(setup: Setup, content: &str) -> Setup {
    let path = next_to(&setup, "secrets.toml");
    std::fs::write(&path, content).unwrap();
    setup.config(&format!("secrets_file = {:?}\n", path.to_str().unwrap()))
}

fn deliver(server: &Server, secret: &str) -> Reply {
    let body = br#"{"n":1}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let headers = [("content-type", "application/json"), ("x-hub-signature-256", &format!("sha256={hex}"))];
    server.send_as("POST", "/v1/hooks/guest", &headers, body)
}

fn reload(server: &Server, setup: &Setup) -> Value {
    let headers = [("x-api-key", &*setup.operator()), ("content-type", "application/json")];
    server.send_as("POST", "/v1/admin/plugins/reload", &headers, b"{}").expect(200).json()
}

/// Runs a command with the server's settings and folders.
fn run(setup: &Setup, args: &[&str], stdin: &str) -> Output {
    let mut command = binary();
    command.args(args).arg("--config").arg(setup.data.with_extension("toml")).envs(setup.env.iter().cloned());
    command.env("HOOKMILL_DATA_DIR", &setup.data).env("HOOKMILL_PLUGINS_DIR", &setup.plugins);
    command.env("XDG_CACHE_HOME", next_to(setup, "cache"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _may_not_read = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn said(out: &Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(!text.contains(OLD) && !text.contains(NEW), "a secret was printed: {text}");
    text
}

fn assert_says_no_secret(log: &str) {
    assert!(!log.contains(OLD) && !log.contains(NEW), "a secret is in the log: {log}");
}

/// An operator who changes a secret would restart the server, and deliveries would be refused meanwhile.
#[test]
fn a_reload_uses_a_changed_secret_though_the_folder_is_unchanged() {
    let setup = with_file(setup(), &format!("\u{feff}GUEST = \"{OLD}\"\n"));
    let server = setup.start();
    deliver(&server, OLD).expect(201);
    assert_eq!(reload(&server, &setup)["unchanged"], json!(["guest"]), "nothing has changed");
    std::fs::write(next_to(&setup, "secrets.toml"), format!("GUEST = \"{NEW}\"\n")).unwrap();
    deliver(&server, OLD).expect(201);
    assert_eq!(reload(&server, &setup)["loaded"], json!(["guest"]));
    deliver(&server, NEW).expect(201);
    assert_eq!(deliver(&server, OLD).expect(401).code(), "wrong_signature");
    std::fs::write(next_to(&setup, "secrets.toml"), format!("GUEST = \"{OLD}\"\n")).unwrap();
    server.signal("HUP");
    until("the secret of before", || deliver(&server, OLD).status == 201);
    assert_says_no_secret(&server.stop());
}

/// A typo in the file would refuse every delivery of every integration.
#[test]
fn a_secrets_file_that_cannot_be_read_changes_nothing_and_is_named() {
    let setup = with_file(setup(), &format!("GUEST = \"{OLD}\"\n"));
    let server = setup.start();
    std::fs::write(next_to(&setup, "secrets.toml"), format!("GUEST = {NEW}\n")).unwrap();
    let pass = reload(&server, &setup);
    let unread = pass["unread"][0].as_str().unwrap();
    assert!(unread.contains("secrets.toml") && unread.contains("stays in use") && !unread.contains(NEW), "{pass}");
    let own = server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json();
    assert_eq!(own["unread"], json!(["secrets or sender files could not be read; the operator sees why"]));
    let out = run(&setup, &["plugin", "reload"], "");
    assert!(out.status.code() == Some(1) && said(&out).contains("not read again: "), "{}", said(&out));
    deliver(&server, OLD).expect(201);
    let log = server.stop();
    assert!(log.contains("what was read before stays in use"), "{log}");
    assert_says_no_secret(&log);
}

/// Docker and Kubernetes mount each secret as a file, which most tools end with a line break.
#[test]
fn a_variable_names_a_file_with_the_secret_which_is_read_again() {
    let mut setup = setup();
    let file = next_to(&setup, "mounted");
    std::fs::write(&file, format!("{OLD}\n")).unwrap();
    setup = setup.env("GUEST_FILE", file.to_str().unwrap());
    let server = setup.start();
    deliver(&server, OLD).expect(201);
    std::fs::write(&file, format!("{NEW}\n")).unwrap();
    assert_eq!(reload(&server, &setup)["loaded"], json!(["guest"]));
    deliver(&server, NEW).expect(201);
    std::fs::remove_file(&file).unwrap();
    reload(&server, &setup);
    deliver(&server, NEW).expect(201);
    let plugins = server.get("/v1/admin/plugins").expect(200).json();
    assert_eq!(plugins["data"][0]["secrets"][0]["place"], "file");
    assert_says_no_secret(&server.stop());
}

/// An operator who sets a secret in two places must know which one is used.
#[test]
fn a_variable_takes_precedence_over_a_file_and_that_over_the_secrets_file() {
    let mut setup = with_file(setup(), &format!("GUEST = \"{OLD}\"\n"));
    drop(setup.command());
    let place = |setup: &Setup| {
        let listed: Value = serde_json::from_str(&said(&run(setup, &["secret", "list", "--json"], ""))).unwrap();
        listed["data"][0]["place"].clone()
    };
    assert_eq!(place(&setup), "secrets_file");
    let file = next_to(&setup, "mounted");
    std::fs::write(&file, NEW).unwrap();
    setup = setup.env("GUEST_FILE", file.to_str().unwrap());
    assert_eq!(place(&setup), "file");
    setup = setup.env("GUEST", NEW);
    assert_eq!(place(&setup), "environment");
    let server = setup.start();
    let out = run(&setup, &["secret", "set", "GUEST"], OLD);
    let text = said(&out);
    assert!(out.status.success() && text.contains("the server uses GUEST from its environment"), "{text}");
    deliver(&server, NEW).expect(201);
}

/// Otherwise the integration is refused for a line break that nobody sees, or accepts it and nobody learns that.
#[test]
fn whitespace_around_a_secret_is_removed_and_reported() {
    let setup = setup().env("GUEST", &format!("{OLD}\n"));
    let server = setup.start();
    deliver(&server, OLD).expect(201);
    let checked = said(&run(&setup, &["plugin", "check", setup.plugins.join("guest").to_str().unwrap()], ""));
    assert!(checked.contains("the secret GUEST had a trailing line break, which was removed"), "{checked}");
    let log = server.stop();
    assert!(log.contains("the secret GUEST had a trailing line break, which was removed"), "{log}");
    assert_says_no_secret(&log);
}

/// Deliveries that are refused while a secret is replaced are lost at senders that do not retry.
#[test]
fn a_secret_is_replaced_while_deliveries_arrive_and_none_is_refused() {
    let auth = "[auth]\nsender = \"github\"\nsecret = [\"FRESH\", \"GUEST\"]\n[answer]\nbody = \"task\"\n";
    let setup = with_file(setup_with(auth), &format!("GUEST = \"{OLD}\"\n"));
    let server = setup.start();
    let (is_new, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let sender = || {
            let mut sent = 0;
            while !ended.load(Ordering::SeqCst) || sent < 5 {
                deliver(&server, if is_new.load(Ordering::SeqCst) { NEW } else { OLD }).expect(201);
                sent += 1;
            }
        };
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(sender)).collect();
        let out = run(&setup, &["secret", "set", "FRESH"], NEW);
        assert!(out.status.success(), "{}", said(&out));
        is_new.store(true, Ordering::SeqCst);
        ended.store(true, Ordering::SeqCst);
        threads.into_iter().for_each(|it| it.join().unwrap());
    });
    deliver(&server, NEW).expect(201);
    let secrets = server.get("/v1/admin/plugins").expect(200).json()["data"][0]["secrets"].clone();
    assert_eq!((&secrets[0]["name"], &secrets[1]["name"]), (&json!("FRESH"), &json!("GUEST")));
    assert!(secrets[0]["last_used_at"].is_string(), "{secrets}");
    let out = run(&setup, &["secret", "unset", "GUEST"], "");
    assert!(out.status.success(), "{}", said(&out));
    deliver(&server, NEW).expect(201);
    deliver(&server, OLD).expect(401);
    let listed = said(&run(&setup, &["plugin", "list"], ""));
    assert!(listed.contains("secret GUEST: is not set") && listed.contains("secret FRESH: last used 20"), "{listed}");
    assert_says_no_secret(&server.stop());
}

/// A secret on the command line is in the shell's history and in the list of processes.
#[test]
fn secret_set_reads_a_pipe_writes_a_private_file_and_reloads_the_server() {
    use std::os::unix::fs::PermissionsExt as _;
    let setup = with_file(setup(), "# for faxes\nOTHER = \"x\"\n");
    let server = setup.start();
    assert_eq!(deliver(&server, NEW).expect(401).code(), "auth_not_configured");
    let out = run(&setup, &["secret", "set", "GUEST"], &format!("{NEW}\n"));
    let text = said(&out);
    assert!(out.status.success() && text.contains("integrations that name it: guest"), "{text}");
    deliver(&server, NEW).expect(201);
    let path = next_to(&setup, "secrets.toml");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        format!("# for faxes\nOTHER = \"x\"\nGUEST = \"{NEW}\"\n"),
        "other lines stay"
    );
    let listed: Value = serde_json::from_str(&said(&run(&setup, &["secret", "list", "--json"], ""))).unwrap();
    let guest = &listed["data"][0];
    assert_eq!((&guest["name"], &guest["place"]), (&json!("GUEST"), &json!("secrets_file")), "{listed}");
    assert!(guest["integrations"] == json!(["guest"]) && guest["last_used_at"].is_string(), "{listed}");
    assert_says_no_secret(&server.stop());
}

/// Somebody who mistakes the name for the secret, or pastes two lines, must not store it, nor see it repeated.
#[test]
fn secret_set_refuses_what_can_never_match_and_repeats_nothing() {
    let setup = with_file(setup_with("[auth]\nsender = \"svix\"\nsecret = \"GUEST\"\n"), "");
    drop(setup.command());
    for (name, value, message) in [
        (NEW, "", "this is not a name"),
        ("GUEST", "", "the secret is empty"),
        ("GUEST", "two\nlines of text", "must be one line"),
        ("GUEST", NEW, "nothing was changed"),
    ] {
        let out = run(&setup, &["secret", "set", name], value);
        let text = said(&out);
        assert!(!out.status.success() && text.contains(message), "{name}: {text}");
    }
    assert_eq!(std::fs::read_to_string(next_to(&setup, "secrets.toml")).unwrap(), "");
    // A file that does not exist yet is created.
    std::fs::remove_file(next_to(&setup, "secrets.toml")).unwrap();
    let out = run(&setup, &["secret", "set", "GUEST"], "whsec_bmV3IHNlY3JldCBvZiAxNiBieXRlcw==\n");
    assert!(out.status.success(), "{}", said(&out));
    assert!(Path::new(&next_to(&setup, "secrets.toml")).exists());
}

/// Otherwise an admin replaces a working secret with one that the next start refuses, and every delivery is lost.
#[test]
fn secret_set_changes_nothing_if_an_integration_would_refuse_the_secret() {
    let setup = with_file(setup(), &format!("GUEST = \"{OLD}\"\n"));
    let server = setup.start();
    let file = || std::fs::read_to_string(next_to(&setup, "secrets.toml")).unwrap();
    let out = run(&setup, &["secret", "set", "GUEST"], "tiny");
    let text = said(&out);
    assert!(out.status.code() == Some(1) && text.contains("nothing was changed (--force"), "{text}");
    assert!(!text.contains("tiny"), "{text}");
    assert!(file().contains(OLD));
    deliver(&server, OLD).expect(201);
    drop(server);
    let out = run(&setup, &["secret", "set", "GUEST", "--force"], "tiny");
    assert!(out.status.success() && said(&out).contains("warning: guest: the secret is weak"), "{}", said(&out));
    assert!(file().contains("tiny"));
    // Where it is allowed, a warning is enough.
    let manifest = setup.plugins.join("guest/plugin.toml");
    let before = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, before.replace("[auth]\n", "[auth]\nallow_weak_secret = true\n")).unwrap();
    let out = run(&setup, &["secret", "set", "GUEST"], "small");
    assert!(out.status.success() && said(&out).contains("the secret is weak"), "{}", said(&out));
    let out = run(&setup, &["secret", "unset", "GUEST"], "");
    assert!(said(&out).contains("guest has no other secret: its deliveries are refused"), "{}", said(&out));
}

/// At the first start, nothing else says how the file is made, or where its mistake is; the message must not quote a secret.
#[test]
fn a_secrets_file_that_is_missing_or_wrong_says_how_to_make_it_and_which_line() {
    let setup = with_file(setup(), &format!("OTHER = \"x\"\nGUEST = {NEW}\n"));
    drop(setup.command());
    let out = run(&setup, &["secret", "list"], "");
    assert!(out.status.code() == Some(2) && said(&out).contains("line 2: every line must be"), "{}", said(&out));
    std::fs::remove_file(next_to(&setup, "secrets.toml")).unwrap();
    let out = run(&setup, &["secret", "list"], "");
    assert!(out.status.code() == Some(2) && said(&out).contains("hookmill secret set NAME"), "{}", said(&out));
}

/// A sender changes its header: the operator edits the file, and needs no restart.
#[test]
fn a_reload_uses_a_changed_sender_file() {
    let file = |header: &str| {
        let shipped = include_str!("../../senders/github.toml");
        shipped.replace("name = \"github\"", "name = \"ours\"").replace("x-hub-signature-256", header)
    };
    let setup =
        setup_with("[auth]\nsender = \"ours\"\nsecret = \"GUEST\"\n[answer]\nbody = \"task\"\n").env("GUEST", OLD);
    let dir = next_to(&setup, "senders");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("ours.toml"), file("x-other")).unwrap();
    let setup = setup.config(&format!("senders_dir = {:?}\n", dir.to_str().unwrap()));
    let server = setup.start();
    deliver(&server, OLD).expect(401);
    std::fs::write(dir.join("ours.toml"), file("x-hub-signature-256")).unwrap();
    assert_eq!(reload(&server, &setup)["loaded"], json!(["guest"]));
    deliver(&server, OLD).expect(201);
    // A file that is wrong is named, and the version before it stays live.
    std::fs::write(dir.join("ours.toml"), "name = 1").unwrap();
    let pass = reload(&server, &setup);
    assert!(pass["refused"]["guest"].as_str().unwrap().contains("ours.toml"), "{pass}");
    deliver(&server, OLD).expect(201);
}

/// Otherwise nobody notices that deliveries can be forged by anyone who has seen the URL.
#[test]
fn weak_integrations_are_counted_and_named() {
    let auth = "[auth]\nscheme = \"url-secret\"\nsecret = \"GUEST\"\n";
    let setup = setup_with(auth).env("GUEST", OLD).plugin("other", "", &says(&task().to_string()));
    let server = setup.start();
    let ready = server.send_as("GET", "/readyz", &[], b"").expect(200).json();
    assert_eq!(ready["weak_integrations"], 1);
    assert_eq!(setup.ready(&server).json()["names"]["weak_integrations"], json!(["guest"]));
    let plugins = server.get("/v1/admin/plugins").expect(200).json();
    let trust = |at: usize| plugins["data"][at]["trust"].clone();
    assert_eq!((trust(0), trust(1)), (json!("weak"), json!("credential")), "{plugins}");
    let listed = said(&run(&setup, &["plugin", "list"], ""));
    assert!(listed.contains("weak: anyone who knows the URL"), "{listed}");
    let checked = said(&run(&setup, &["plugin", "check", setup.plugins.join("guest").to_str().unwrap()], ""));
    assert!(checked.contains("proves its deliveries weakly"), "{checked}");
}
