//! `hookmill plugin …` for plugin authors: it needs no server, reports every finding, and shows readable differences.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::guests::{command, component, says};
use crate::harness;
use crate::harness::{Setup, task};

pub(super) fn plugin(setup: &Setup, args: &[&str]) -> Output {
    plugin_with(setup, args, b"")
}

pub(super) fn plugin_with(setup: &Setup, args: &[&str], stdin: &[u8]) -> Output {
    let mut command = harness::binary();
    command.arg("plugin").args(args).current_dir(&setup.plugins).env("XDG_CACHE_HOME", setup.data.with_extension("c"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

pub(super) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

pub(super) fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(output)))
}

pub(super) fn fixture(folder: &Path, name: &str, payload: &Value, expect: &Value) {
    let fixtures = folder.join("fixtures");
    std::fs::create_dir_all(&fixtures).unwrap();
    let text = json!({"name": name, "received_at": "2026-11-24T08:00:00Z", "payload": payload, "expect": expect});
    std::fs::write(fixtures.join(format!("{name}.json")), text.to_string()).unwrap();
}

#[test]
fn check_goes_on_after_an_error_and_says_what_to_do_about_each() {
    let setup =
        Setup::new().plugin("guest", "timezone = \"Mars/Base\"\n[auth]\nscheme = \"api-key\"\n", &component(""));
    let folder = setup.plugins.join("guest");
    std::fs::write(folder.join("input.schema.json"), "{").unwrap();
    std::fs::write(folder.join("mapper.wasm"), "not wasm").unwrap();
    std::fs::rename(&folder, setup.plugins.join("other")).unwrap();
    let output = plugin(&setup, &["check", "other", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let found = json_of(&output);
    let all = found["findings"].as_array().unwrap();
    let of = |file: &str| all.iter().filter(|it| it["file"].as_str().unwrap().ends_with(file)).count();
    assert_eq!((of("plugin.toml"), of("input.schema.json"), of("mapper.wasm")), (2, 1, 1), "{found}");
    assert!(all.iter().all(|it| it["severity"] == "error" && !it["fix"].as_str().unwrap().is_empty()), "{found}");
    let text = said(&plugin(&setup, &["check", "other"]));
    assert!(text.contains("timezone: is not an IANA zone") && text.contains("fix: "), "{text}");
    assert!(!text.contains('\u{1b}'), "colours where there is no terminal");
}

#[test]
fn the_error_for_foreign_imports_names_them_and_what_is_offered() {
    let foreign = r#"(module (import "env" "launch" (func)) (memory (export "memory") 1) (func (export "_start")))"#;
    let setup = Setup::new().plugin("guest", "", foreign);
    let text = said(&plugin(&setup, &["check", "guest"]));
    assert!(text.contains("env") && text.contains("launch") && text.contains("wasi_snapshot_preview1"), "{text}");
}

#[test]
fn warnings_do_not_fail_and_name_what_will_disappoint() {
    let hmac = "[auth]\nscheme = \"hmac-sha256\"\nsecret = \"NOT_SET\"\nheader = \"X-Sig\"\n";
    let setup = Setup::new().plugin("guest", hmac, &component(""));
    let output = plugin(&setup, &["check", "guest"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for part in ["NOT_SET", "accepts an empty object", "no fixtures", "good: the server would load guest"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn test_shows_each_difference_and_update_writes_down_what_comes_out() {
    let setup = Setup::new().plugin("guest", "", &says(&task().to_string()));
    let folder = setup.plugins.join("guest");
    let mut expected = task();
    expected["title"] = json!("Another title");
    expected["tags"] = json!(["new"]);
    fixture(&folder, "one", &json!({}), &json!({ "tasks": [expected] }));
    let output = plugin(&setup, &["test", "guest"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("/0/title: expected \"Another title\", got \"Refill request\""), "{text}");
    assert!(text.contains("/0/tags: expected [\"new\"], got null"), "{text}");
    let output = plugin(&setup, &["test", "guest", "--update"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let written: Value = serde_json::from_slice(&std::fs::read(folder.join("fixtures/one.json")).unwrap()).unwrap();
    assert_eq!((&written["name"], &written["expect"]), (&json!("one"), &json!({ "tasks": [task()] })));
    let again = plugin(&setup, &["test", "guest", "--json"]);
    assert_eq!(json_of(&again)["fixtures"][0]["holds"], true);
}

/// What crashes has nothing to write down: a fixture must not learn to expect it.
#[test]
fn update_keeps_a_fixture_whose_plugin_crashes() {
    let setup = Setup::new().plugin("guest", "", &component("unreachable"));
    let folder = setup.plugins.join("guest");
    fixture(&folder, "one", &json!({}), &json!({ "skip": "done" }));
    let before = std::fs::read(folder.join("fixtures/one.json")).unwrap();
    let output = plugin(&setup, &["test", "guest", "--update"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("the plugin crashed"), "{}", said(&output));
    assert_eq!(std::fs::read(folder.join("fixtures/one.json")).unwrap(), before);
}

#[test]
fn run_says_what_the_server_would_store_and_what_the_call_cost() {
    let mut loose = task();
    loose["deadline"] = json!("2026-12-01");
    let setup = Setup::new().plugin("guest", "", &says(&loose.to_string()));
    // As n8n wraps items.
    let output = plugin_with(&setup, &["run", "guest", "--json"], br#"[{"json":{"a":1}}]"#);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let found = json_of(&output);
    assert_eq!(found["result"], "tasks");
    assert_eq!(found["tasks"][0]["deadline"], "2026-12-01T23:59:59Z", "{found}");
    assert!(found["fuel"].as_u64().unwrap() > 0);
    let share = |name: &str| found["limits"].as_array().unwrap().iter().find(|it| it["limit"] == name).unwrap().clone();
    assert_eq!(share("memory_mib")["used"], 65536);
    assert_eq!(share("output_kib")["used"].as_u64().unwrap(), loose.to_string().len() as u64);
    let text = said(&plugin_with(&setup, &["run", "guest"], b"{}"));
    assert!(text.contains("instructions") && text.contains("% of memory_mib"), "{text}");
}

#[test]
fn run_explains_a_refusal_a_crash_and_a_payload_that_is_none() {
    let named =
        command("(func $inner (unreachable)) (func $outer (call $inner)) (func (export \"_start\") (call $outer))");
    let setup = Setup::new().plugin("crash", "", &named);
    let output = plugin_with(&setup, &["run", "crash", "--json"], b"{}");
    assert_eq!(output.status.code(), Some(1));
    let error = json_of(&output)["error"].clone();
    assert_eq!(error["code"], "plugin_trap");
    assert!(error["message"].as_str().unwrap().contains("inner < outer"), "{error}");
    assert!(error["advice"].is_string());
    let output = plugin_with(&setup, &["run", "crash"], b"{");
    assert!(output.status.code() == Some(1) && said(&output).contains("payload on stdin"), "{}", said(&output));
}

#[test]
fn bench_measures_each_payload_that_the_schema_accepts() {
    let setup = Setup::new().plugin("guest", "", &component(""));
    fixture(&setup.plugins.join("guest"), "one", &json!({}), &json!({ "skip": "done" }));
    fixture(&setup.plugins.join("guest"), "two", &json!([]), &json!({ "violations": [""] }));
    let output = plugin(&setup, &["bench", "guest", "--seconds", "0.05", "--threads", "2", "--json"]);
    let found = json_of(&output);
    let [only] = &found["measured"].as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!((&only["fixture"], &only["threads"]), (&json!("one"), &json!(2)));
    assert!(only["calls_per_second"].as_f64().unwrap() > 0.0 && only["p50_us"].as_f64().unwrap() > 0.0, "{found}");
}

#[test]
fn new_writes_a_folder_in_every_language_and_overwrites_nothing() {
    let setup = Setup::new();
    for (lang, source) in
        [("rust", "src/lib.rs"), ("js", "mapper.js"), ("python", "app.py"), ("go", "main.go"), ("c", "src/main.c")]
    {
        let name = format!("orders-{lang}");
        let output = plugin(&setup, &["new", &name, "--lang", lang, "--into", "."]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let folder = setup.plugins.join(&name);
        let manifest = std::fs::read_to_string(folder.join("plugin.toml")).unwrap();
        assert!(manifest.contains(&format!("name = \"{name}\"")) && folder.join(source).is_file());
        // Only the module, which must be compiled, is missing.
        let checked = json_of(&plugin(&setup, &["check", &name, "--json"]));
        let files: Vec<_> = checked["findings"].as_array().unwrap().iter().map(|it| it["file"].clone()).collect();
        assert_eq!(files, [json!(format!("{name}/mapper.wasm"))], "{checked}");
        let again = plugin(&setup, &["new", &name, "--lang", lang, "--into", "."]);
        assert_eq!(again.status.code(), Some(2));
        let left: Vec<_> = walk(&folder).into_iter().filter(|it| it.contains("{{")).collect();
        assert!(left.is_empty(), "not filled in: {left:?}");
    }
    for bad in ["Orders", "tasks", "-x", "a/b", ""] {
        let output = plugin(&setup, &["new", bad, "--lang", "js", "--into", "."]);
        assert_eq!(output.status.code(), Some(2), "{bad:?}: {}", said(&output));
    }
}

fn walk(folder: &Path) -> Vec<String> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            texts.extend(walk(&path));
        } else {
            texts.push(std::fs::read_to_string(&path).unwrap());
        }
    }
    texts
}

/// What a terminal would take for something else: a new line, a cleared screen, a title, a change of direction, nothing.
const HOSTILE: &str = "first\nforged: line\r\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}2J\u{7f}\u{202e}\u{2066}\u{200b}\u{2028}last";

fn is_plain(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap() + &String::from_utf8(output.stderr.clone()).unwrap();
    let hostile = |it: char| it != '\n' && HOSTILE.contains(it) && !it.is_ascii_graphic() && it != ' ';
    assert!(!text.contains(hostile), "{text:?}");
    assert!(!text.lines().any(|it| it.starts_with("forged")), "{text}");
    text
}

#[test]
fn text_of_strangers_is_escaped_wherever_it_is_printed() {
    // A plugin's author or a sender could rewrite what the operator reads.
    let setup = Setup::new().plugin("guest", "", &says(&json!({ "skip": HOSTILE }).to_string()));
    let folder = setup.plugins.join("guest");
    fixture(&folder, "one", &json!({}), &json!({ "skip": "other" }));
    let (test, run) = (["test", "guest"], ["run", "guest"]);
    for json in [false, true] {
        let with = |args: [&'static str; 2]| -> Vec<&'static str> {
            args.into_iter().chain(json.then_some("--json")).collect()
        };
        assert!(is_plain(&plugin(&setup, &with(test))).contains("forged: line"));
        assert!(is_plain(&plugin_with(&setup, &with(run), b"{}")).contains("forged: line"));
    }
    std::fs::remove_dir_all(folder.join("fixtures")).unwrap();
    let bad = setup.plugins.join(HOSTILE);
    std::fs::create_dir(&bad).unwrap();
    std::fs::write(bad.join("plugin.toml"), format!("{:?} = 1\n", "a\u{9b}")).unwrap();
    let server = setup.start();
    server.post("/v1/hooks/guest", &json!({})).expect(200);
    let data = setup.data.to_str().unwrap();
    for args in
        [&["events", "list", "--company", "company-1"][..], &["plugin", "list"], &["plugin", "reload"], &["audit"]]
    {
        for json in [false, true] {
            let out = harness::binary()
                .args(args)
                .args(json.then_some("--json"))
                .args(["--data-dir", data])
                .output()
                .unwrap();
            let text = is_plain(&out);
            assert!(args[0] == "audit" || text.contains("forged: line"), "{args:?}: {text}");
        }
    }
    let log = server.stop();
    assert!(log.contains("forged: line") && log.lines().all(|it| it.starts_with("20")), "{log}");
    assert!(!log.contains(['\u{1b}', '\u{9b}', '\u{202e}', '\u{7f}', '\u{2028}']), "{log:?}");
}
