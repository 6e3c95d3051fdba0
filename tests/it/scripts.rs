//! Mappings in JavaScript: the same sandbox, reload, provenance, fixtures and replay as for modules.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{Server, Setup, binary, until};

const SETTLE: &str = "[plugins]\nsettle_ms = 100\n";

fn task(server: &Server, payload: &Value) -> Value {
    server.post("/v1/hooks/guest", payload).expect(201).json()
}

fn interpreter() -> String {
    let wasm = std::fs::read("interpreter/quickjs.wasm").unwrap();
    Sha256::digest(wasm).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_script_maps_a_delivery_and_its_defaults_fill_in_the_rest() {
    let server = Setup::new()
        .script(
            "guest",
            "export default (event, { receivedAt, config, eventId, integration, companyId }) => {
               console.log('got', event, receivedAt instanceof Date, config, integration, companyId, eventId.length);
               return { title: `Call ${event.name}`, description: 'now ' + (new Date().getTime() === receivedAt.getTime()) };
             };",
        )
        .start();
    let reply = server.post("/v1/hooks/guest", &json!({"name": "Ada"})).expect(201);
    let task = reply.json();
    assert_eq!((&task["title"], &task["description"]), (&json!("Call Ada"), &json!("now true")));
    assert_eq!(task["created_by_id"], "test");
    let event = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
    assert_eq!(event["plugin_log"], "got {\"name\":\"Ada\"} true {} guest company-1 36\n");
    let time = |text: &Value| text.as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let after = time(&task["deadline"]) - time(&event["received_at"]);
    assert_eq!(after.num_hours(), 48);
}

#[test]
fn several_tasks_a_skip_and_a_refusal() {
    let server = Setup::new()
        .script(
            "guest",
            "export default async (event, { skip, refuse }) => {
               if (event.kind === 'skip') return skip('not for us');
               if (event.kind === 'refuse') throw refuse('a name is missing', '/name');
               return event.items.map((it) => ({ json: { title: it, description: 'x' } }));
             };",
        )
        .start();
    let skipped = server.post("/v1/hooks/guest", &json!({"kind": "skip"})).expect(200).json();
    assert_eq!(skipped["reason"], "not for us");
    let refused = server.post("/v1/hooks/guest", &json!({"kind": "refuse"})).expect(422);
    assert_eq!(refused.code(), "plugin_refused");
    assert!(refused.message().contains("a name is missing"), "{}", refused.message());
    let many = server.post("/v1/hooks/guest", &json!({"items": ["a", "b"]})).expect(201).json();
    assert_eq!(many["data"].as_array().map(Vec::len), Some(2), "{many}");
}

/// Otherwise one delivery sees what an earlier one has left, for example a patient's name.
#[test]
fn every_call_begins_with_the_same_memory() {
    let server = Setup::new()
        .script(
            "guest",
            "let calls = 0; const seen = []; globalThis.leak ??= 0;
             export default (event) => {
               calls += 1; seen.push(event.name); globalThis.leak += 1; Object.prototype.polluted ??= event.name;
               return { title: `${calls} ${seen} ${globalThis.leak} ${({}).polluted}`, description: String(Math.random()) };
             };",
        )
        .start();
    for name in ["a", "b", "c"] {
        assert_eq!(task(&server, &json!({"name": name}))["title"], format!("1 {name} 1 {name}"));
    }
}

/// A replay in a year creates the same task: clock and random numbers are those of the event.
#[test]
fn the_same_event_gives_the_same_numbers_and_times() {
    let setup = Setup::new().script(
        "guest",
        "export default () => ({ title: [Math.random(), Math.random(), Date.now(), performance.now()].join(), description: 'x' });",
    );
    let server = setup.start();
    let titles: Vec<String> = (0..3).map(|it| task(&server, &json!({ "n": it }))["title"].to_string()).collect();
    assert!(titles[0] != titles[1] && titles[1] != titles[2], "{titles:?}");
    drop(server);
    let mut diff = binary();
    diff.args(["plugin", "diff", "--json", "--data-dir"]).arg(&setup.data).arg(setup.plugins.join("guest"));
    let output = diff.env("XDG_CACHE_HOME", setup.data.with_extension("c")).output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && found.to_string().contains("\"same\":3"), "{found}");
}

/// Otherwise an id of 19 digits becomes another patient's without a word.
#[test]
fn numbers_that_javascript_would_round_are_texts() {
    let server = Setup::new()
        .script("guest", "export default (e) => ({ title: `${e.id} ${typeof e.id} ${e.small} ${typeof e.small}`, description: 'x' });")
        .start();
    let body = br#"{"id": 9007199254740993, "small": 9007199254740991}"#;
    let reply = server.send("POST", "/v1/hooks/guest", &[("content-type", "application/json")], body).expect(201);
    assert_eq!(reply.json()["title"], "9007199254740993 string 9007199254740991 number");
}

#[test]
fn a_script_is_changed_broken_and_repaired_without_a_restart_and_so_are_its_imports() {
    let setup = Setup::new().config(SETTLE).mapping(
        "guest",
        "script = \"mapper.js\"\n",
        &[
            ("mapper.js", "import { say } from './words.js'; import table from \"./table.json\"; export default (e, { skip }) => skip(say(table.a));"),
            ("words.js", "export const say = (it) => `one ${it}`;"),
            ("table.json", "{\"a\": \"A\"}"),
        ],
    );
    let server = setup.start();
    let reason = || server.post("/v1/hooks/guest", &json!({})).json()["reason"].as_str().unwrap_or_default().to_owned();
    assert_eq!(reason(), "one A");
    let write = |file: &str, text: &str| std::fs::write(setup.plugins.join("guest").join(file), text).unwrap();
    write("words.js", "export const say = (it) => `two ${it}`;");
    until("the new import", || reason() == "two A");
    write("table.json", "{\"a\": \"B\"}");
    until("the new table", || reason() == "two B");
    write("words.js", "export const say = (it) => {\n  `broken ${it}`;");
    let listed = || server.get("/v1/admin/plugins").expect(200).json()["data"][0].clone();
    until("the refusal", || listed()["state"] == "outdated");
    let message = listed()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("words.js:2:") && message.contains("SyntaxError"), "{message}");
    assert_eq!(reason(), "two B", "the version before stays live");
    write("words.js", "export const say = (it) => `three ${it}`;");
    until("the repaired import", || reason() == "three B");
}

#[test]
fn a_tasks_provenance_names_interpreter_and_script() {
    let setup = Setup::new().script("guest", "export default () => ({ title: 'a', description: 'b' });");
    let of = |setup: &Setup| {
        let server = setup.start();
        let id = task(&server, &json!({}))["id"].as_str().unwrap().to_owned();
        server.get(&format!("/v1/tasks/{id}/provenance")).expect(200).json()
    };
    let first = of(&setup);
    assert_eq!(first["module_sha256"], interpreter());
    let script = first["script_sha256"].as_str().unwrap();
    assert_eq!(script.len(), 64);
    let same = of(&setup);
    assert_eq!(same["script_sha256"], first["script_sha256"]);
    let setup = setup.script("guest", "export default () => ({ title: 'a', description: 'c' });");
    assert_ne!(of(&setup)["script_sha256"], first["script_sha256"]);
}

/// The sandbox of a script is that of every plugin: it has limits, and reaches nothing.
#[test]
fn a_script_cannot_loop_fill_the_memory_or_reach_out() {
    let setup = Setup::new()
        .script(
            "guest",
            "export default (event) => {
               if (event.do === 'loop') for (;;);
               if (event.do === 'fill') { const all = []; for (;;) all.push('x'.repeat(1 << 20) + all.length); }
               if (event.do === 'deep') { const f = () => f() + 1; f(); }
               if (event.do === 'regex') /^(a+)+$/.test('a'.repeat(40) + 'b');
               if (event.do === 'output') return { title: 'x'.repeat(1 << 20), description: 'x' };
               return { title: Object.getOwnPropertyNames(globalThis).filter((it) => /^(fetch|require|process|std|os|scriptArgs|print|load|Worker)$/.test(it)).join() || 'nothing', description: 'x' };
             };",
        );
    let server = setup.start();
    assert_eq!(task(&server, &json!({}))["title"], "nothing");
    for (what, code) in [
        ("loop", "plugin_deadline"),
        ("regex", "plugin_deadline"),
        ("deep", "plugin_exception"),
        ("output", "plugin_output"),
    ] {
        let reply = server.post("/v1/hooks/guest", &json!({"do": what})).expect(502);
        assert_eq!(reply.code(), code, "{what}: {}", reply.message());
    }
    let filled = server.post("/v1/hooks/guest", &json!({"do": "fill"})).expect(502);
    assert!(["plugin_memory", "plugin_deadline"].contains(&filled.code().as_str()), "{}", filled.message());
    assert_eq!(task(&server, &json!({}))["title"], "nothing", "and it works afterwards");
}

/// Neither the sender's data nor the script's own text leaks into the log of the server.
#[test]
fn what_a_script_throws_is_not_in_the_servers_log() {
    let server =
        Setup::new().script("guest", "export default (event) => { throw new Error(`bad ${event.secret}`); };").start();
    let reply = server.post("/v1/hooks/guest", &json!({"secret": "Ada-4711"})).expect(502);
    assert!(reply.message().contains("mapper.js:1:"), "{}", reply.message());
    assert!(!server.stop().contains("Ada-4711"));
}

/// The script and the plugin.toml of docs/SCRIPTS.md do what the page says.
#[test]
fn the_example_of_the_documentation_works() {
    let page = std::fs::read_to_string("docs/SCRIPTS.md").unwrap();
    let block = |language: &str| {
        let start = page.split(&format!("```{language}\n")).nth(1).unwrap();
        start.split("```").next().unwrap().to_owned()
    };
    let setup = Setup::new().mapping("bookings", "", &[("mapper.js", &block("js"))]);
    std::fs::write(setup.plugins.join("bookings/plugin.toml"), block("toml")).unwrap();
    let server = setup.start();
    let booking = json!({"type": "booking", "name": "Ada", "start": "2026-12-02T14:00"});
    let task = server.post("/v1/hooks/bookings", &booking).expect(201).json();
    assert_eq!((&task["title"], &task["deadline"]), (&json!("Call Ada"), &json!("2026-12-01T08:00:00Z")));
    let other = server.post("/v1/hooks/bookings", &json!({"type": "ping"})).expect(200).json();
    assert_eq!(other["reason"], "nothing to do for ping");
    assert_eq!(server.post("/v1/hooks/bookings", &json!({"type": "booking"})).expect(422).code(), "plugin_refused");
}

/// Otherwise a table of ids finds another record than the one that the payload names.
#[test]
fn large_numbers_in_tables_and_in_the_configuration_are_texts_too() {
    let manifest = "script = \"mapper.js\"\n[config]\nbig = 9007199254740993\n";
    let script =
        "import table from './table.json'; export default (e, { config, skip }) => skip(`${config.big} ${table.id}`);";
    let files = [("mapper.js", script), ("table.json", "{\"id\": 9007199254740993}")];
    let server = Setup::new().mapping("guest", manifest, &files).start();
    let skipped = server.post("/v1/hooks/guest", &json!({})).expect(200).json();
    assert_eq!(skipped["reason"], "9007199254740993 9007199254740993");
}
