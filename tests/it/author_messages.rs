//! What a plugin's author reads when something is wrong: where, what, and what to do about it.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::guests::{complains, component, logs_error, says};
use crate::harness::{Setup, task};
use crate::plugin_cli::{fixture, json_of, plugin, plugin_with, said};

/// Otherwise the author looks for "function 21 < function 59" in a module that a compiler has made.
#[test]
fn a_component_that_crashes_says_where_and_why() {
    let crash = "crash: mapper.js:5:21: TypeError: no such field\n    at transform (mapper.js:5:21)";
    let setup = Setup::new()
        .plugin("says", "", &logs_error(crash, "unreachable"))
        .plugin("warns", "", &logs_error("the agent is unknown", "unreachable"))
        .plugin("goes-on", "", &logs_error(crash, ""))
        .plugin("loops", "[limits]\ntime_ms = 20\n[auth]\nscheme = \"api-key\"\n", &logs_error(crash, "(loop (br 0))"));
    let server = setup.start();
    let reply = server.post("/v1/hooks/says", &json!({})).expect(502);
    assert_eq!(reply.code(), "plugin_trap");
    let message = reply.message();
    assert!(message.starts_with("says: the plugin crashed: mapper.js:5:21: TypeError: no such field. "), "{message}");
    assert!(!message.contains("at transform"), "the stack belongs to the log: {message}");
    // An error that the plugin survived, or only logged, is not the reason of a trap.
    let message = server.post("/v1/hooks/warns", &json!({})).expect(502).message();
    assert!(message.contains("unreachable") && !message.contains("agent"), "{message}");
    server.post("/v1/hooks/goes-on", &json!({})).expect(200);
    assert_eq!(server.post("/v1/hooks/loops", &json!({})).expect(502).code(), "plugin_deadline");
    // The text may contain values of the payload.
    assert!(!server.stop().contains("TypeError"));
    let run = json_of(&plugin_with(&setup, &["run", "says", "--json"], b"{}"));
    assert!(run["log"].as_str().unwrap().contains("    at transform (mapper.js:5:21)"), "{run}");
}

/// Otherwise a sender reads a stack frame of a Go program, or of a Rust one nothing at all.
#[test]
fn a_command_that_crashes_says_where_and_why() {
    let long = "0123456789abcdef\n".repeat(2000);
    let go = "panic: no name\n\ngoroutine 1 [running]:\nmain.title(...)\n\torders/main.go:40\nmain.main()\n\torders/main.go:12 +0x5\n";
    let rust = "thread 'main' panicked at src/main.rs:3:5:\nno name\nnote: run with `RUST_BACKTRACE=1`\n";
    let exit = "(call $exit (i32.const 2))";
    for (stderr, body, code, message) in [
        (format!("{long}{go}"), exit, "plugin_trap", "the plugin crashed: main.go:40: panic: no name"),
        (rust.to_owned(), "unreachable", "plugin_trap", "the plugin crashed: src/main.rs:3:5: no name"),
        ("first\npanic: no name\n".to_owned(), exit, "plugin_refused", "panic: no name"),
    ] {
        let setup = Setup::new().plugin("guest", "", &complains(&stderr, body));
        let error = json_of(&plugin_with(&setup, &["run", "guest", "--json"], b"{}"))["error"].clone();
        assert_eq!((error["code"].as_str(), error["message"].as_str()), (Some(code), Some(message)));
    }
}

/// A `print` in the plugin is the usual cause. What it printed may be a patient's, so the server does not repeat it.
#[test]
fn invalid_output_is_shown_to_the_author_and_to_nobody_else() {
    let setup = Setup::new().plugin("guest", "", &says(&format!("hello Ada\n{}", task())));
    let text = said(&plugin_with(&setup, &["run", "guest"], b"{}"));
    assert!(text.contains("everything else to stderr") && text.contains("begins with:\n  hello Ada\n"), "{text}");
    fixture(&setup.plugins.join("guest"), "one", &json!({}), &json!({ "tasks": [task()] }));
    assert!(said(&plugin(&setup, &["test", "guest"])).contains("its output begins with: hello Ada"));
    std::fs::remove_dir_all(setup.plugins.join("guest/fixtures")).unwrap();
    let server = setup.start();
    let reply = server.post("/v1/hooks/guest", &json!({})).expect(422);
    assert!(reply.message().contains("stdout is not JSON") && !reply.message().contains("Ada"), "{}", reply.message());
    let event = server.get("/v1/events?limit=1").expect(200).json();
    assert!(!event.to_string().contains("Ada"), "{event}");
    assert!(!server.stop().contains("Ada"));
}

/// Otherwise `callId` is lost without a word.
#[test]
fn run_and_test_name_ignored_fields() {
    let mut made = task();
    made["callId"] = json!("call_1");
    made["colour"] = json!("red");
    let setup = Setup::new().plugin("guest", "", &says(&json!([made, made]).to_string()));
    fixture(&setup.plugins.join("guest"), "one", &json!({}), &json!({ "tasks": [task(), task()] }));
    let run = plugin_with(&setup, &["run", "guest", "--json"], b"{}");
    let ignored = json!([
        { "task": 0, "field": "callId", "did_you_mean": "call_id" },
        { "task": 0, "field": "colour", "did_you_mean": null },
    ]);
    assert_eq!((run.status.code(), &json_of(&run)["ignored"]), (Some(0), &ignored));
    for (args, stdin) in [(["run", "guest"], &b"{}"[..]), (["test", "guest"], b"")] {
        let output = plugin_with(&setup, &args, stdin);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        let first = "ignored: \"callId\" of task 0 is not a field of a task (did you mean \"call_id\"?)\n";
        assert!(text.contains(first), "{text}");
        assert!(text.contains("ignored: \"colour\" of task 0 is not a field of a task\n"), "{text}");
    }
}

/// Otherwise an author debugs a mapping that was never called.
#[test]
fn run_says_which_schema_was_violated() {
    let setup = Setup::new().plugin("guest", "", &says("{\"title\":\"x\"}"));
    let schema =
        json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": ["a"] });
    std::fs::write(setup.plugins.join("guest/input.schema.json"), schema.to_string()).unwrap();
    let text = said(&plugin_with(&setup, &["run", "guest"], b"{\"b\":1}"));
    assert!(text.contains("violations of input.schema.json:"), "{text}");
    assert!(text.contains("does not fit input.schema.json, so the plugin was not called"), "{text}");
    let text = said(&plugin_with(&setup, &["run", "guest"], b"{\"a\":1}"));
    assert!(text.contains("violations of the task schema") && !text.contains("was not called"), "{text}");
}

/// A test that was red because the mapping broke must not become green by expecting the breakage.
#[test]
fn update_does_not_turn_tasks_into_a_refusal_without_consent() {
    let refuses = complains("no name\n", "(call $exit (i32.const 1))");
    let setup = Setup::new().plugin("guest", "", &refuses);
    let folder = setup.plugins.join("guest");
    fixture(&folder, "refused", &json!({}), &json!({ "refused": "another" }));
    fixture(&folder, "schema", &json!([]), &json!({ "skip": "done" }));
    fixture(&folder, "tasks", &json!({}), &json!({ "tasks": [task()] }));
    let expects = |name: &str| -> Value {
        let text = std::fs::read(folder.join(format!("fixtures/{name}.json"))).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["expect"].clone()
    };
    let output = plugin(&setup, &["test", "guest", "--update"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("not updated: the plugin refuses this payload with \"no name\"; add --accept-refusals"),
        "{text}"
    );
    assert!(text.contains("2 of 3 fixtures failed and were not updated"), "{text}");
    assert_eq!(expects("refused"), json!({ "refused": "no name" }), "one refusal for another needs no consent");
    assert_eq!((expects("schema"), expects("tasks")), (json!({ "skip": "done" }), json!({ "tasks": [task()] })));
    let output = plugin(&setup, &["test", "guest", "--update", "--accept-refusals"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("expects a refusal from now on: the schema refuses this payload"), "{text}");
    assert_eq!((expects("schema"), expects("tasks")), (json!({ "violations": [""] }), json!({ "refused": "no name" })));
}

/// A misspelled `required` is a schema that accepts everything, which only a patient's missing name would show.
#[test]
fn check_warns_about_misspelled_keywords_of_the_schema() {
    let setup = Setup::new().plugin("guest", "", &component(""));
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "requierd": ["name"],
        "properties": { "requierd": { "typ": "string" } },
    });
    std::fs::write(setup.plugins.join("guest/input.schema.json"), schema.to_string()).unwrap();
    let output = plugin(&setup, &["check", "guest"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    let warning = "warning: guest/input.schema.json: ";
    let place =
        "at /properties/requierd: \"typ\" is not a keyword of JSON Schema, so it is ignored (did you mean \"type\"?)";
    assert!(text.contains(&format!("{warning}{place}")), "{text}");
    assert!(text.contains(&format!("{warning}\"requierd\" is not a keyword")), "{text}");
    assert_eq!(text.matches("is not a keyword").count(), 2, "{text}");
}

/// Otherwise an author reads an error of JSON Schema, or an error about each consequence.
#[test]
fn check_names_misspelled_keys_of_the_manifest() {
    let setup = Setup::new().plugin("guest", "[auth]\nscheem = \"api-key\"\n[limits]\ntime_m = 5\n", &component(""));
    let found = json_of(&plugin(&setup, &["check", "guest", "--json"]));
    let reasons: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|it| it["reason"].as_str().unwrap()).collect();
    let expected = [
        "[auth]: unknown key \"scheem\" (did you mean \"scheme\"?)",
        "[limits]: unknown key \"time_m\" (did you mean \"time_ms\"?)",
    ];
    assert_eq!(reasons, expected);
}

/// An author who forgets to build looks for a mistake in the right source.
#[test]
fn a_module_older_than_its_sources_is_a_warning() {
    let setup = Setup::new().plugin("guest", "", &component(""));
    let folder = setup.plugins.join("guest");
    fixture(&folder, "one", &json!({}), &json!({ "skip": "done" }));
    std::fs::create_dir_all(folder.join("src/parts")).unwrap();
    std::fs::create_dir_all(folder.join("src/target")).unwrap();
    for file in ["mapper.js", "src/parts/lib.rs", "src/target/made.rs", "README.md"] {
        std::fs::write(folder.join(file), "").unwrap();
    }
    let built = SystemTime::now() - Duration::from_secs(3600);
    let age = |file: &str, seconds: u64| set_time(&folder.join(file), built + Duration::from_secs(seconds));
    // After a checkout, files have the times at which they were written.
    for file in ["mapper.wasm", "mapper.js", "src/parts/lib.rs"] {
        age(file, 50);
    }
    age("mapper.wasm", 0);
    let warns = |args: &[&str]| {
        let output = plugin_with(&setup, args, b"{}");
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let text = said(&output);
        text.lines().find(|it| it.contains("is older than")).map(str::to_owned)
    };
    let all = [&["check", "guest"][..], &["test", "guest"], &["run", "guest"]];
    assert_eq!(all.map(warns), [None, None, None]);
    age("src/parts/lib.rs", 70);
    for said in all.map(warns) {
        assert!(
            said.as_ref().is_some_and(|it| it.starts_with("warning") && it.contains("src/parts/lib.rs")),
            "{said:?}"
        );
    }
}

fn set_time(file: &Path, time: SystemTime) {
    File::options().write(true).open(file).unwrap().set_modified(time).unwrap();
}
