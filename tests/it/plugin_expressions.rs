//! Expressions in plugin.toml, tried and changed through the API like a script.

use serde_json::{Value, json};

use crate::harness::{Reply, Server, Setup};

const FILE: &str = "plugin.toml#task";
const TASK: &str = "# Who calls\n[task]\ntitle = \"Call {{ $json.name }}\"\n# one word\ndescription = 'x'\n";
const REST: &str = "timezone = \"Europe/Berlin\" # theirs\n[defaults]\nassigned_user_ids = [\"user_1\"]\ncreated_by_id = \"test\"\ndeadline = \"2d\"\n\n";
const AFTER: &str = "\n# of the limits\n[limits]\ntime_ms = 900 # not theirs\n";

fn setup() -> Setup {
    let manifest = format!("{REST}{TASK}{AFTER}");
    Setup::new().config("[plugins]\nsettle_ms = 50\n").mapping("guest", &manifest, &[])
}

fn script(server: &Server) -> Value {
    server.get("/v1/admin/plugins/guest/script").expect(200).json()
}

fn put(server: &Server, text: &str, base: &Value) -> Reply {
    let body = json!({"files": {FILE: text}, "base_digest": base});
    let headers = [("content-type", "application/json")];
    server.send("PUT", "/v1/admin/plugins/guest/script", &headers, body.to_string().as_bytes())
}

fn tried(server: &Server, text: &str) -> Value {
    let body = json!({"payload": {"name": "Ada"}, "files": {FILE: text}});
    server.post("/v1/admin/plugins/guest/try", &body).expect(200).json()
}

fn title(server: &Server) -> Value {
    server.post("/v1/hooks/guest", &json!({"name": "Ada"})).json()["title"].clone()
}

#[test]
fn expressions_are_tried_saved_and_restored_and_the_rest_of_the_file_is_untouched() {
    let setup = setup();
    let server = setup.start();
    let file = setup.plugins.join("guest/plugin.toml");
    let manifest = || std::fs::read_to_string(&file).unwrap();
    let (first, before) = (script(&server), manifest());
    assert_eq!((&first["file"], &first["files"]), (&json!(FILE), &json!({ FILE: TASK })));
    assert_eq!(first["digest"], first["live_digest"]);
    let other = TASK.replace("Call", "Ring").replace("one word", "a comment");
    assert_eq!(tried(&server, &other)["tasks"][0]["title"], "Ring Ada");
    assert_eq!((title(&server), manifest()), (json!("Call Ada"), before.clone()), "trying changes nothing");

    server.post("/v1/admin/plugins/guest/fixtures", &json!({"name": "ada", "payload": {"name": "Ada"}})).expect(201);
    let refused = put(&server, &other, &first["digest"]).expect(422);
    assert_eq!(
        (refused.code(), refused.json()["errors"][0]["got"].clone()),
        ("fixture_failed".into(), json!("\"Ring Ada\""))
    );
    assert_eq!(manifest(), before);

    let better = other.replace("Ring", "Call").replace("'x'", "\"\"\"\n{{ $json.notes ?? 'x' }}\"\"\"");
    let saved = put(&server, &better, &first["digest"]).expect(200).json();
    assert_eq!((&saved["fixtures"], &saved["is_new"]), (&json!(1), &json!(true)));
    assert_eq!(manifest(), before.replace(TASK, &better), "everything else is as it was");
    let noted = server.post("/v1/hooks/guest", &json!({"name": "Ada", "notes": "deaf"})).json();
    assert_eq!(noted["description"], "deaf", "it is live when the request is answered");
    assert_eq!(script(&server)["live_digest"], saved["digest"]);
    assert_eq!(put(&server, TASK, &first["digest"]).expect(409).code(), "script_changed");

    let versions = server.get("/v1/admin/plugins/guest/script/versions").expect(200).json()["data"].clone();
    assert_eq!((versions.as_array().unwrap().len(), &versions[1]["digest"]), (2, &first["digest"]), "{versions}");
    let old = format!("/v1/admin/plugins/guest/script/versions/{}", first["digest"].as_str().unwrap());
    assert_eq!(server.get(&old).expect(200).json()["files"], json!({ FILE: TASK }));
    server.post(&format!("{old}/restore"), &Value::Null).expect(200);
    assert_eq!(manifest(), before);
    let log = server.get("/v1/admin/audit?limit=50").expect(200).text;
    assert!(log.contains("script.saved") && log.contains("script.restored") && !log.contains("deaf"), "{log}");
}

/// Otherwise the admin of a company raises the limits that the operator has set, or takes another company's name.
#[test]
fn a_text_that_is_more_than_the_table_is_refused() {
    let setup = setup();
    let server = setup.start();
    let file = setup.plugins.join("guest/plugin.toml");
    let (before, base) = (std::fs::read_to_string(&file).unwrap(), script(&server)["digest"].clone());
    let limits = "[task]\ntitle = 'x'\n[limits]\ntime_ms = 60000";
    for more in [
        limits,
        "company_id = 'company-2'\n[task]\ntitle = 'x'",
        "task = { title = 'x' }",
        "[task]\ntitle = '''",
        "[task]\ntitle = 'x'\nlimits.time_ms = 1",
        "",
    ] {
        let refused = put(&server, more, &base).expect(422);
        assert_eq!(refused.code(), "script_invalid", "{more}");
        assert_eq!(tried(&server, more)["result"], "script", "{more}");
    }
    let refused = put(&server, limits, &base).message();
    assert!(refused.contains("plugin.toml#task:3:2: only the table [task]"), "{refused}");
    for other in ["plugin.toml", "mapper.js", "../plugin.toml"] {
        let body = json!({"files": {other: limits}, "base_digest": base}).to_string();
        let headers = [("content-type", "application/json")];
        server.send("PUT", "/v1/admin/plugins/guest/script", &headers, body.as_bytes()).expect(422);
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    assert_eq!(title(&server), "Call Ada");
}

#[test]
fn errors_have_the_line_of_their_field() {
    let server = setup().start();
    let place = |line: u64| json!({"file": FILE, "line": line, "column": 1});
    for (text, result, line) in [
        ("[task]\ndescription = 'x'\ntitle = '{{ $json.a.b }}'\n", "failed", 3),
        ("[task]\ntitle = 'x'\n\ndescription = '{{ 1 + }}'\n", "script", 4),
        ("[task]\ntitle = 'x'\ntitel = 'x'\n", "script", 3),
        ("[task]\ntitle = 'x'\ndescription = 'x'\ndeadline = 'soon'\n", "output", 4),
    ] {
        let trial = tried(&server, text);
        assert_eq!((&trial["result"], &trial["problem"]["place"]), (&json!(result), &place(line)), "{trial}");
    }
    let syntax = tried(&server, "[task]\ntitle = 'x'\ndescription = x\n");
    assert_eq!((&syntax["result"], &syntax["problem"]["place"]["line"]), (&json!("script"), &json!(3)), "{syntax}");
    let saved = put(&server, "[task]\ntitle = '{{ 1 + }}'\n", &script(&server)["digest"]).expect(422);
    assert!(saved.message().contains("plugin.toml#task:2:1: [task] title: "), "{}", saved.message());
}

#[test]
fn expressions_that_are_no_table_of_their_own_have_no_text_to_change() {
    let manifest = REST.replace("[defaults]", "task = { title = 'x', description = 'x' }\n[defaults]");
    let setup = Setup::new().mapping("guest", &manifest, &[]);
    let server = setup.start();
    let refused = server.get("/v1/admin/plugins/guest/script").expect(404);
    assert!(refused.message().contains("[task] is not a table of its own"), "{}", refused.message());
    server.post("/v1/admin/plugins/guest/try", &json!({"payload": {}})).expect(200);
    server.post("/v1/admin/plugins/guest/try", &json!({"payload": {}, "script": TASK})).expect(422);
}
