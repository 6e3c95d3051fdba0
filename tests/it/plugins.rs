//! What a plugin may do, and what happens to one that does more. A hostile or broken plugin must cost its own
//! integration an error that names the limit, and nobody else anything.

use serde_json::json;

use crate::guests::{command, component, says};
use crate::harness;
use crate::harness::{Setup, task};

fn empty() -> serde_json::Value {
    json!({"a": 1})
}

/// Starts a server with one plugin, posts to it once, and gives the answer.
fn post(manifest: &str, wat: &str) -> harness::Reply {
    let server = Setup::new().plugin("guest", manifest, wat).start();
    let reply = server.post("/v1/hooks/guest", &empty());
    // Whatever the plugin did, the server still takes tasks.
    server.post("/v1/tasks", &task()).expect(201);
    reply
}

#[test]
fn a_command_and_a_component_that_keep_the_limits_are_answered() {
    let reply =
        post("[limits]\ntime_ms = 1000\nmemory_mib = 1", &says(&json!([task(), task()]).to_string())).expect(201);
    assert_eq!(reply.json()["data"].as_array().unwrap().len(), 2);
    let reply = post("[limits]\ntime_ms = 1000\nmemory_mib = 1", &component("")).expect(200);
    assert_eq!(reply.json()["reason"], "done");
}

#[test]
fn each_violated_limit_is_named() {
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let start_loop =
        r#"(module (memory (export "memory") 1) (func $spin (loop (br 0))) (start $spin) (func (export "_start")))"#;
    let flood = "(func (export \"_start\") (i32.store (i32.const 4) (i32.const 65000)) (loop (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br 0)))";
    let deep = "(func $deep (param i32) (result i32) (i32.add (call $deep (local.get 0)) (i32.const 1))) (func (export \"_start\") (drop (call $deep (i32.const 0))))";
    let table = "(table 1 funcref) (func (export \"_start\") (loop (br_if 0 (i32.ne (table.grow (ref.null func) (i32.const 1000)) (i32.const -1)))) unreachable)";
    for (what, manifest, wat, code) in [
        ("loop", "[limits]\ntime_ms = 20", command("(func (export \"_start\") (loop (br 0)))"), "plugin_deadline"),
        ("loop in start", "[limits]\ntime_ms = 20", start_loop.into(), "plugin_deadline"),
        ("component loop", "[limits]\ntime_ms = 20", component("(loop (br 0))"), "plugin_deadline"),
        ("memory", "[limits]\nmemory_mib = 2", command(&format!("(func (export \"_start\") {grow})")), "plugin_memory"),
        ("component memory", "[limits]\nmemory_mib = 2", component(grow), "plugin_memory"),
        ("table", "", command(table), "plugin_table"),
        ("output", "[limits]\noutput_kib = 64", command(flood), "plugin_output"),
        ("recursion", "", command(deep), "plugin_stack"),
        ("component recursion", "", component("(drop (call $deep (i32.const 0)))"), "plugin_stack"),
        ("trap", "", component("unreachable"), "plugin_trap"),
    ] {
        let reply = post(manifest, &wat).expect(502);
        assert_eq!(reply.code(), code, "{what}: {}", reply.text);
        assert_eq!(reply.json()["detail"]["type"], "plugin_failed");
    }
}

#[test]
fn output_that_is_no_task_is_refused_and_the_event_kept() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for (output, part) in [
        ("", "nothing was written"),
        ("not json", "stdout is not JSON"),
        ("[]", "empty array"),
        ("[1]", "not an object"),
        ("{\"skip\":1}", "must be a string"),
        (deep.as_str(), "recursion limit"),
    ] {
        let reply = post("", &says(output)).expect(422);
        assert!(reply.code() == "plugin_output_invalid" && reply.message().contains(part), "{}", reply.text);
    }
    let server = Setup::new().plugin("guest", "", &says("{\"title\":\"t\",\"deadline\":\"soon\"}")).start();
    let reply = server.post("/v1/hooks/guest", &empty()).expect(422);
    assert_eq!(reply.json()["errors"][0]["pointer"], "/0/deadline");
    let event = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
    assert_eq!((&event["status"], &event["reason"]["stage"]), (&json!("quarantined"), &json!("task")));
}

#[test]
fn a_non_zero_exit_is_a_refusal_with_the_last_words() {
    let wat = command(
        r#"(data (i32.const 64) "debug\0ano patient in the payload\0a")
        (func (export "_start")
          (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 31))
          (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
          (call $exit (i32.const 3)))"#,
    );
    let server = Setup::new().plugin("guest", "", &wat).start();
    let reply = server.post("/v1/hooks/guest", &empty()).expect(422);
    assert_eq!((reply.code().as_str(), reply.message().as_str()), ("plugin_refused", "no patient in the payload"));
    server.post("/v1/hooks/guest", &empty()).expect(422);
}

#[test]
fn files_and_sockets_are_not_there() {
    // Traps unless every probe is refused with an error code.
    let wat = command(
        r#"(func (export "_start")
          (if (i32.eqz (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 8))) (then unreachable))
          (if (i32.eqz (call $accept (i32.const 3) (i32.const 0) (i32.const 0))) (then unreachable))
          (if (i32.ne (call $prestat (i32.const 3) (i32.const 0)) (i32.const 8)) (then unreachable))
          ;; Pointers outside of memory are an error code as well.
          (if (i32.ne (call $random (i32.const 65530) (i32.const 100)) (i32.const 21)) (then unreachable))
          (if (i32.ne (call $write (i32.const 1) (i32.const -4) (i32.const 1) (i32.const 0)) (i32.const 21)) (then unreachable))
          (call $exit (i32.const 0)))"#,
    );
    let reply = post("", &wat).expect(422);
    assert!(reply.message().contains("nothing was written"), "{}", reply.text);
}

/// Otherwise programs whose runtime looks at its streams, or at `argv[0]`, end before they read the payload.
#[test]
fn the_streams_are_character_devices_and_the_program_has_a_name() {
    // Traps unless everything is as it should be; then writes argv[0] as the reason of a skip.
    let wat = command(
        r#"(data (i32.const 1000) "{\"skip\":\"           \"}")
        (func $device (param $fd i32)
          (i64.store (i32.const 216) (i64.const -1))
          (if (i32.ne (call $filestat (local.get $fd) (i32.const 200)) (i32.const 0)) (then unreachable))
          (if (i64.ne (i64.load (i32.const 216)) (i64.const 2)) (then unreachable)))
        (func (export "_start")
          (call $device (i32.const 0)) (call $device (i32.const 1)) (call $device (i32.const 2))
          (if (i32.ne (call $filestat (i32.const 3) (i32.const 200)) (i32.const 8)) (then unreachable))
          (if (i32.ne (call $filestat (i32.const 0) (i32.const 65530)) (i32.const 21)) (then unreachable))
          (if (i32.ne (call $args_sizes (i32.const 100) (i32.const 104)) (i32.const 0)) (then unreachable))
          (if (i32.ne (i32.load (i32.const 100)) (i32.const 1)) (then unreachable))
          (if (i32.ne (i32.load (i32.const 104)) (i32.const 12)) (then unreachable))
          (if (i32.ne (call $args (i32.const 108) (i32.const 300)) (i32.const 0)) (then unreachable))
          (if (i32.ne (i32.load (i32.const 108)) (i32.const 300)) (then unreachable))
          (if (i32.ne (i32.load8_u (i32.const 311)) (i32.const 0)) (then unreachable))
          (memory.copy (i32.const 1009) (i32.const 300) (i32.const 11))
          (i32.store (i32.const 0) (i32.const 1000)) (i32.store (i32.const 4) (i32.const 22))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#,
    );
    assert_eq!(post("", &wat).expect(200).json()["reason"], "mapper.wasm");
}

/// Otherwise a task is refused for a mark that nobody sees, or for half of an emoji that the plugin cut.
#[test]
fn output_is_read_as_plugins_write_it() {
    let mut half = task().to_string();
    half = half.replace("Refill", "\\ud83d");
    for (output, title, loosened) in [
        (format!("\u{feff}{}", task()), "Refill request", ""),
        (format!("\u{feff}[{}]", task()), "Refill request", ""),
        (half, "\u{fffd} request", "surrogate"),
    ] {
        let reply = post("", &says(&output)).expect(201);
        assert_eq!((reply.json()["title"].as_str().unwrap(), reply.header("x-loosened")), (title, loosened));
    }
}

/// The clock shows the time of the event and randomness comes from its id, so a replay produces the same bytes.
#[test]
fn clock_and_random_bytes_belong_to_the_event() {
    let hex = r#"(func $hex (param i32) (result i32) (i32.add (i32.const 97) (i32.and (local.get 0) (i32.const 15))))"#;
    let wat = command(&format!(
        r#"{hex}
        (data (i32.const 1000) "{{\"skip\":\"................\"}}")
        (func (export "_start") (local $i i32)
          (drop (call $random (i32.const 100) (i32.const 8)))
          (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 108)))
          (loop
            (i32.store8 (i32.add (i32.const 1009) (local.get $i)) (call $hex (i32.load8_u (i32.add (i32.const 100) (local.get $i)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.const 16))))
          (i32.store (i32.const 0) (i32.const 1000)) (i32.store (i32.const 4) (i32.const 27))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#
    ));
    // A fixture runs under a fixed event id and time: what it expects was written down once.
    let setup = Setup::new().plugin("guest", "", &wat);
    let folder = setup.plugins.join("guest/fixtures");
    std::fs::create_dir(&folder).unwrap();
    let fixture =
        json!({"name": "same", "received_at": "2026-11-24T08:00:00Z", "payload": {}, "expect": {"skip": "EXPECTED"}});
    std::fs::write(folder.join("same.json"), fixture.to_string()).unwrap();
    let server = setup.start();
    server.post("/v1/hooks/guest", &empty()).expect(404);
    server.stop();
    // Values are shown to the author alone.
    let tested = harness::binary().args(["plugin", "test"]).arg(setup.plugins.join("guest")).output().unwrap();
    let log = String::from_utf8(tested.stdout).unwrap();
    let found = log
        .split("got ")
        .nth(1)
        .and_then(|it| it.split('"').nth(1))
        .unwrap_or_else(|| panic!("{log}"))
        .trim_end_matches('\\')
        .to_owned();
    std::fs::write(folder.join("same.json"), fixture.to_string().replace("EXPECTED", &found)).unwrap();
    let server = setup.start();
    let first = server.post("/v1/hooks/guest", &empty()).expect(200).json();
    let second = server.post("/v1/hooks/guest", &empty()).expect(200).json();
    assert_ne!(first["reason"], second["reason"], "another event draws other bytes");
}

#[test]
fn a_plugin_that_does_not_load_is_named_with_its_cause_and_the_others_serve() {
    let setup = Setup::new()
        .plugin("good", "", &component(""))
        .plugin(
            "import",
            "",
            r#"(module (import "env" "secret" (func)) (memory (export "memory") 1) (func (export "_start")))"#,
        )
        .plugin("library", "", r#"(module (memory (export "memory") 1))"#)
        .plugin("toml", "[limits]\nunknown = 1", &component(""))
        .plugin("auth", "[auth]\nscheme = \"none\"", &component(""))
        .plugin("zone", "[config]\nx = 1", &component(""))
        .plugin("text", "", &component(""))
        .plugin("schema", "", &component(""))
        .plugin("fixture", "", &component(""))
        .plugin("renamed", "", &component(""));
    let file = |name: &str| setup.plugins.join(name);
    std::fs::write(file("text/mapper.wasm"), "(module)").unwrap();
    std::fs::write(
        file("schema/input.schema.json"),
        r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"objekt"}"#,
    )
    .unwrap();
    std::fs::create_dir(file("fixture/fixtures")).unwrap();
    let fixture = json!({"name": "is skipped", "received_at": "2026-11-24T08:00:00Z", "payload": {}, "expect": {"skip": "another reason"}});
    std::fs::write(file("fixture/fixtures/a.json"), fixture.to_string()).unwrap();
    std::fs::rename(file("renamed"), file("other-name")).unwrap();
    let manifest = std::fs::read_to_string(file("zone/plugin.toml")).unwrap();
    std::fs::write(file("zone/plugin.toml"), format!("timezone = \"Mars/Base\"\n{manifest}")).unwrap();

    let server = setup.start();
    server.post("/v1/hooks/good", &empty()).expect(200);
    for name in ["import", "library", "toml", "auth", "zone", "text", "schema", "fixture", "renamed"] {
        server.post(&format!("/v1/hooks/{name}"), &empty()).expect(404);
    }
    let ready = setup.ready(&server).expect(200).json();
    assert_eq!(ready["names"]["integrations"], json!(["good"]));
    assert_eq!(
        (&ready["refused_plugins"], ready["names"]["refused_plugins"].as_array().unwrap().len()),
        (&json!(9), 9)
    );
    let log = server.stop();
    for part in [
        "import/mapper.wasm: imports \"env\" \"secret\", which is not offered",
        "library/mapper.wasm: has no _start",
        "toml/plugin.toml: [limits]: unknown key \"unknown\"",
        "auth/plugin.toml: [auth] scheme: is not one of api-key, standard-webhooks, ",
        "zone/plugin.toml: timezone: is not an IANA zone",
        "text/mapper.wasm: is not WebAssembly",
        "schema/input.schema.json: not a JSON Schema: at /type",
        "fixture/fixtures/a.json: the fixture failed: expected another skip, got a skip",
        "other-name/plugin.toml: name: differs from the folder's name",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }
}

#[test]
fn a_damaged_artefact_is_compiled_again_and_never_trusted() {
    let setup = Setup::new().plugin("guest", "", &component(""));
    setup.start().stop();
    let artefacts =
        || std::fs::read_dir(setup.data.join("artefacts")).unwrap().map(|it| it.unwrap().path()).collect::<Vec<_>>();
    let [file] = &artefacts()[..] else { panic!("{:?}", artefacts()) };
    let good = std::fs::read(file).unwrap();
    for at in [0, 20, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        std::fs::write(file, &bad).unwrap();
        let server = setup.start();
        server.post("/v1/hooks/guest", &empty()).expect(200);
        assert!(server.stop().contains("a damaged artefact is compiled again"));
        assert_eq!(std::fs::read(file).unwrap().len(), good.len());
    }
}

#[test]
fn a_looping_plugin_does_not_keep_another_from_answering() {
    let loops = command("(func (export \"_start\") (loop (br 0)))");
    let server = Setup::new()
        .plugin("loops", "[limits]\ntime_ms = 200\nqueue = 8", &loops)
        .plugin("good", "", &component(""))
        .start();
    std::thread::scope(|scope| {
        let stuck: Vec<_> = (0..30).map(|_| scope.spawn(|| server.post("/v1/hooks/loops", &empty()))).collect();
        for _ in 0..20 {
            server.post("/v1/hooks/good", &empty()).expect(200);
        }
        let replies: Vec<_> = stuck.into_iter().map(|it| it.join().unwrap()).collect();
        // What was kept can be looked up; what was not is not named.
        assert!(replies.iter().all(|it| (it.status == 502) != it.header("x-event-id").is_empty()));
        let codes: Vec<_> = replies.iter().map(|it| (it.status, it.code())).collect();
        let known = [(502, "plugin_deadline".to_owned()), (503, "plugin_busy".to_owned())];
        assert!(codes.iter().all(|it| known.contains(it)), "{codes:?}");
        assert!(known.iter().all(|it| codes.contains(it)), "{codes:?}");
    });
}
