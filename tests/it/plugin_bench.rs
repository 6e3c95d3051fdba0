//! Trying a plugin, saving fixtures and changing scripts through the API.

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness::{Reply, Server, Setup, until};

const SETTLE: &str = "[plugins]\nsettle_ms = 50\n";
const SCRIPT: &str = "export default (event, { skip, refuse }) => {
  console.log('name', event.name);
  if (event.skip) return skip('not for us');
  if (event.refuse) throw refuse('a name is missing', '/name');
  return { title: `Call ${event.name.trim()}`, description: 'x' };
};
";

fn setup() -> Setup {
    Setup::new().config(SETTLE).script("guest", SCRIPT)
}

fn tried(server: &Server, body: &Value) -> Value {
    server.post("/v1/admin/plugins/guest/try", body).expect(200).json()
}

fn put(server: &Server, text: &str, base: &Value) -> Reply {
    let body = json!({"files": {"mapper.js": text}, "base_digest": base});
    let headers = [("content-type", "application/json")];
    server.send("PUT", "/v1/admin/plugins/guest/script", &headers, body.to_string().as_bytes())
}

fn script(server: &Server) -> Value {
    server.get("/v1/admin/plugins/guest/script").expect(200).json()
}

fn actions(server: &Server) -> Vec<String> {
    let log = server.get("/v1/admin/audit?limit=50").expect(200).json();
    log["data"].as_array().unwrap().iter().map(|it| it["action"].as_str().unwrap().to_owned()).collect()
}

fn title(server: &Server) -> Value {
    server.post("/v1/hooks/guest", &json!({"name": "Ada"})).json()["title"].clone()
}

#[test]
fn a_payload_is_tried_and_nothing_is_stored() {
    let server = setup().start();
    let trial = tried(&server, &json!({"payload": {"name": "Ada"}, "received_at": "2026-01-02T03:04:05Z"}));
    assert_eq!([&trial["result"], &trial["tasks"][0]["title"]], ["tasks", "Call Ada"], "{trial}");
    assert_eq!(trial["tasks"][0]["deadline"], "2026-01-04T03:04:05Z");
    assert_eq!((&trial["log"], &trial["stored"]), (&json!("name Ada\n"), &Value::Null));
    let limits: Vec<_> = trial["limits"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(limits[..3], ["time_ms", "memory_mib", "output_kib"]);
    assert!(trial["limits"][1]["used"].as_u64().unwrap() > 1 << 20, "{trial}");
    assert_eq!(tried(&server, &json!({"payload": {"skip": true}}))["skip"], "not for us");
    let refused = tried(&server, &json!({"payload": {"refuse": 1}}));
    assert_eq!([&refused["result"], &refused["problem"]["pointer"]], ["refused", "/name"], "{refused}");
    let violated = tried(&server, &json!({"payload": [1]}));
    assert_eq!([&violated["result"], &violated["violations"][0]["pointer"]], ["payload", ""], "{violated}");
    let failed = tried(&server, &json!({"payload": {}}));
    let place = json!({"file": "mapper.js", "line": 5, "column": failed["problem"]["place"]["column"]});
    assert_eq!((&failed["result"], &failed["problem"]["place"]), (&json!("failed"), &place), "{failed}");
    assert!(server.get("/v1/events").expect(200).json()["data"].as_array().unwrap().is_empty());
    assert!(server.get("/v1/tasks").expect(200).json()["data"].as_array().unwrap().is_empty());
    assert!(!actions(&server).contains(&"event.read".to_owned()), "a pasted payload is not an event");
    // Calls of the plugin are those of deliveries.
    assert_eq!(server.get("/v1/admin/plugins").json()["data"][0]["calls"]["calls"], 0);
}

/// Otherwise the bench shows another number than a delivery would have.
#[test]
fn a_number_that_would_be_rounded_is_read_as_in_a_delivery() {
    let server = setup().start();
    let send = |body: &str| {
        let headers = [("content-type", "application/json")];
        server.send("POST", "/v1/admin/plugins/guest/try", &headers, body.as_bytes())
    };
    let script = "export default (it) => ({ title: `${typeof it.n} ${it.n}`, description: 'x' });";
    let number = |number: &str| {
        send(&format!("{{\"script\":{},\"payload\":{{\"n\":{number}}}}}", json!(script))).expect(200).json()
    };
    let rounded = number("1234567890.123456789");
    assert_eq!(
        (&rounded["tasks"][0]["title"], &rounded["loosened"]),
        (&json!("string 1234567890.123456789"), &json!(["number"]))
    );
    assert_eq!(number("9007199254740993")["tasks"][0]["title"], "string 9007199254740993");
    assert_eq!(number("1.50")["tasks"][0]["title"], "number 1.5");
    assert_eq!(send("{}").expect(422).code(), "invalid_field");
}

#[test]
fn an_event_is_tried_and_compared_with_what_was_stored() {
    let setup = setup();
    let server = setup.start();
    let reply = server.post("/v1/hooks/guest", &json!({"name": "Ada"})).expect(201);
    let (event, task) = (reply.header("x-event-id").to_owned(), reply.json()["id"].as_str().unwrap().to_owned());
    let same = tried(&server, &json!({"event_id": event}));
    assert_eq!((&same["stored"]["class"], &same["stored"]["differences"]), (&json!("same"), &json!([])), "{same}");
    assert!(actions(&server).contains(&"event.read".to_owned()));
    let text = SCRIPT.replace("Call ", "Ring ");
    let other = tried(&server, &json!({"event_id": event, "script": text}));
    let difference = json!({"pointer": "/tasks/0/title", "expected": "Call Ada", "found": "Ring Ada"});
    assert_eq!((&other["stored"]["class"], &other["stored"]["differences"][0]), (&json!("changed"), &difference));
    assert_ne!(other["script_sha256"], same["script_sha256"]);
    assert_eq!(title(&server), "Call Ada", "the saved script still runs");
    let edited = tried(&server, &json!({"event_id": event, "payload": {"name": "Bob"}}));
    assert_eq!(edited["stored"]["differences"][0]["found"], "Call Bob");
    let change = [("content-type", "application/json")];
    server.send("PATCH", &format!("/v1/tasks/{task}"), &change, br#"{"status":"completed","version":1}"#).expect(200);
    assert_eq!(tried(&server, &json!({"event_id": event}))["stored"]["changed_since"], 1);
    let key = setup.key("company-2", &["admin"]);
    let headers = [("x-api-key", key.as_str()), ("content-type", "application/json")];
    let body = json!({"payload": {"name": "Ada"}}).to_string();
    server.send_as("POST", "/v1/admin/plugins/guest/try", &headers, body.as_bytes()).expect(404);
    server.send_as("GET", "/v1/admin/plugins/guest/script", &headers[..1], b"").expect(404);
}

#[test]
fn a_script_that_cannot_be_loaded_says_where_and_one_that_loops_is_stopped() {
    let server = setup().start();
    let broken = tried(&server, &json!({"payload": {}, "script": "export default () => {\n  const a = ;\n};"}));
    assert_eq!((&broken["result"], &broken["problem"]["place"]["line"]), (&json!("script"), &json!(2)), "{broken}");
    let loops = tried(&server, &json!({"payload": {}, "script": "export default () => { for (;;); };"}));
    assert_eq!(loops["problem"]["code"], "plugin_deadline", "{loops}");
    let at_load = tried(&server, &json!({"payload": {}, "script": "for (;;);\nexport default () => 1;"}));
    assert_eq!(at_load["result"], "script", "{at_load}");
    let fields = tried(
        &server,
        &json!({"payload": {}, "script": "export default () => ({\n  titel: 'x', description: 'y' });"}),
    );
    assert_eq!((&fields["result"], &fields["problem"]["place"]["line"]), (&json!("output"), &json!(2)), "{fields}");
    let imports = json!({"payload": {}, "script": "import { a } from './a.js'; export default () => ({ title: a, description: 'y' });", "files": {"a.js": "export const a = 'A';"}});
    assert_eq!(tried(&server, &imports)["tasks"][0]["title"], "A");
    let outside = json!({"payload": {}, "files": {"../a.js": ""}});
    server.post("/v1/admin/plugins/guest/try", &outside).expect(422);
}

#[test]
fn a_fixture_is_saved_in_the_folder_and_guards_the_script() {
    let setup = setup();
    let server = setup.start();
    let save = |body: &Value| server.post("/v1/admin/plugins/guest/fixtures", body);
    let event = server.post("/v1/hooks/guest", &json!({"name": "Ada"})).header("x-event-id").to_owned();
    let saved = save(&json!({"name": "ada", "event_id": event})).expect(201).json();
    assert_eq!(
        (&saved["file"], &saved["expect"]["tasks"][0]["title"]),
        (&json!("fixtures/ada.json"), &json!("Call Ada"))
    );
    let text = std::fs::read_to_string(setup.plugins.join("guest/fixtures/ada.json")).unwrap();
    assert!(text.contains("\"Call Ada\""), "{text}");
    let again = json!({"name": "ada.json", "payload": {"name": "Bob"}});
    assert_eq!(save(&again).expect(409).code(), "fixture_exists");
    save(&json!({"name": "ada", "payload": {"name": "Ada"}, "replace": true, "expect": {"tasks": [{"title": "Call Ada", "description": "x"}]}})).expect(201);
    let wrong = save(&json!({"name": "bob", "payload": {"name": "Bob"}, "expect": {"skip": "no"}}));
    assert_eq!(wrong.expect(422).code(), "fixture_failed");
    assert_eq!(save(&json!({"name": "crash", "payload": {}})).expect(422).code(), "invalid_field");
    for name in ["../out", "", ".hidden", "a/b", "a b"] {
        save(&json!({"name": name, "payload": {"name": "Ada"}})).expect(422);
    }
    assert_eq!(std::fs::read_dir(setup.plugins.join("guest/fixtures")).unwrap().count(), 1);

    let base = script(&server)["digest"].clone();
    let failed = put(&server, &SCRIPT.replace("Call ", "Ring "), &base).expect(422);
    let errors = failed.json()["errors"].clone();
    assert_eq!(
        (failed.code().as_str(), errors[0]["got"].as_str()),
        ("fixture_failed", Some("\"Ring Ada\"")),
        "{errors}"
    );
    assert!(errors[0]["message"].as_str().unwrap().contains("fixtures/ada.json: /0/title"), "{errors}");
    assert_eq!((title(&server), script(&server)["digest"].clone()), (json!("Call Ada"), base));
    assert!(actions(&server).contains(&"fixture.saved".to_owned()));
}

#[test]
fn a_script_is_saved_restored_and_its_history_kept() {
    let setup = setup();
    let server = setup.start();
    assert_eq!(title(&server), "Call Ada");
    let first = script(&server);
    assert_eq!(
        (&first["file"], &first["source"], &first["digest"]),
        (&json!("mapper.js"), &json!("folder"), &first["live_digest"])
    );
    let broken = put(&server, "export default () => {\n  const a = ;\n};", &first["digest"]).expect(422);
    assert!(broken.code() == "script_invalid" && broken.message().contains("mapper.js:2:"), "{}", broken.message());
    let saved = put(&server, &SCRIPT.replace("Call ", "Ring "), &first["digest"]).expect(200).json();
    assert_eq!(title(&server), "Ring Ada", "it is live when the request is answered");
    assert_eq!(script(&server)["digest"], saved["digest"]);
    assert_eq!(put(&server, SCRIPT, &first["digest"]).expect(409).code(), "script_changed");
    let same = put(&server, &SCRIPT.replace("Call ", "Ring "), &saved["digest"]).expect(200).json();
    assert_eq!(same["is_new"], false);

    let listed = server.get("/v1/admin/plugins/guest/script/versions").expect(200).json()["data"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["is_current"]), (2, &json!(true)), "{listed}");
    assert_eq!(listed[1]["digest"], first["digest"]);
    let old = format!("/v1/admin/plugins/guest/script/versions/{}", first["digest"].as_str().unwrap());
    assert_eq!(server.get(&old).expect(200).json()["files"]["mapper.js"], SCRIPT);
    server.get("/v1/admin/plugins/guest/script/versions/nonsense").expect(404);
    server.post(&format!("{old}/restore"), &Value::Null).expect(200);
    assert_eq!((title(&server), script(&server)["digest"].clone()), (json!("Call Ada"), first["digest"].clone()));
    let all = actions(&server);
    assert!(all.contains(&"script.saved".to_owned()) && all.contains(&"script.restored".to_owned()), "{all:?}");
    let log = server.get("/v1/admin/audit?limit=50").text;
    assert!(!log.contains("Ring"), "the text is not in the audit log");

    // A link leads out of the folder, or is the operator's way to deploy: nothing is written through it.
    let file = setup.plugins.join("guest/mapper.js");
    std::fs::rename(&file, setup.plugins.join("guest/real.js")).unwrap();
    std::os::unix::fs::symlink("real.js", &file).unwrap();
    let refused = put(&server, &SCRIPT.replace("Call ", "Phone "), &first["digest"]).expect(409);
    assert_eq!(refused.code(), "folder_read_only");
    assert_eq!(std::fs::read_to_string(setup.plugins.join("guest/real.js")).unwrap(), SCRIPT);
}

/// Otherwise an author sees no cost of a change that is too small for a clock.
#[test]
fn instructions_are_counted_if_a_trial_asks_for_it() {
    let loops = |times: u32| {
        json!({"payload": {"name": "Ada"}, "count_fuel": true, "received_at": "2026-01-02T03:04:05Z",
            "script": format!("export default () => {{ let n = 0; while (n < {times}) n++; return {{ title: `${{n}}`, description: 'x' }}; }};")})
    };
    let setup = setup().plugin("module", "", &says(r#"{"title":"From a module","description":"x","assigned_user_ids":["u"],"created_by_id":"c","deadline":"2030-01-01T00:00:00Z"}"#));
    let server = setup.start();
    let plain = tried(&server, &json!({"payload": {"name": "Ada"}}));
    assert_eq!((&plain["fuel"], &plain["fuel_problem"]), (&Value::Null, &Value::Null));
    let counted = tried(&server, &json!({"payload": {"name": "Ada"}, "count_fuel": true}));
    assert_eq!(counted["tasks"][0]["title"], plain["tasks"][0]["title"]);
    assert_eq!(counted["limits"][0]["limit"], plain["limits"][0]["limit"], "the limits are those of a live call");
    assert!(counted["fuel"].as_u64().unwrap() > 10_000, "{counted}");
    let (few, many) = (tried(&server, &loops(10)), tried(&server, &loops(20_000)));
    assert_eq!(many["tasks"][0]["title"], "20000", "{many}");
    let more = many["fuel"].as_u64().unwrap() - few["fuel"].as_u64().unwrap();
    assert!(more > 20_000, "{more}");
    assert_eq!(tried(&server, &loops(10))["fuel"], few["fuel"], "the same call has the same instructions");
    let of_module = |body: &Value| server.post("/v1/admin/plugins/module/try", body).expect(200).json();
    let module = json!({"payload": {}, "count_fuel": true});
    let fuel = of_module(&module)["fuel"].as_u64().unwrap();
    assert!((1..10_000).contains(&fuel), "{fuel}");
    // The compiled module stays in memory, so a changed folder does not matter.
    let wasm = setup.plugins.join("module/mapper.wasm");
    std::fs::write(&wasm, "not a module").unwrap();
    assert_eq!(of_module(&module)["fuel"], fuel);
    assert_eq!(server.get("/v1/admin/plugins").json()["data"][0]["calls"]["calls"], 0);
    let refused = tried(&server, &json!({"payload": [1], "count_fuel": true}));
    assert_eq!((&refused["result"], &refused["fuel"]), (&json!("payload"), &Value::Null), "nothing was called");
}

/// Otherwise the count of another plugin is shown.
#[test]
fn instructions_are_not_counted_for_another_module_than_the_live_one() {
    let setup = Setup::new().config("[plugins]\nwatch = false\n").plugin("module", "", &says("{}"));
    let server = setup.start();
    std::fs::write(setup.plugins.join("module/mapper.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let body = json!({"payload": {}, "count_fuel": true});
    let trial = server.post("/v1/admin/plugins/module/try", &body).expect(200).json();
    assert!(trial["fuel"].is_null() && trial["fuel_problem"].is_string(), "{trial}");
    assert!(!trial.to_string().contains("mapper.wasm"), "{trial}");
}

/// Otherwise a company that tries a loop takes the processor from the others.
#[test]
fn a_company_tries_a_few_things_at_once() {
    let manifest = "script = \"mapper.js\"\n[limits]\ntime_ms = 1500\n";
    let loops = "export default (event) => { for (;;); };";
    let setup = Setup::new().config(SETTLE).mapping("guest", manifest, &[("mapper.js", loops)]);
    let server = setup.start();
    let try_it = || server.post("/v1/admin/plugins/guest/try", &json!({"payload": {}}));
    let codes: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..10).map(|_| scope.spawn(try_it)).collect();
        all.into_iter().map(|it| it.join().unwrap()).map(|it| (it.status, it.text)).collect()
    });
    let ran = codes.iter().filter(|(status, text)| *status == 200 && text.contains("plugin_deadline")).count();
    let refused = codes.iter().filter(|(status, text)| *status == 503 && text.contains("_busy")).count();
    assert!((1..=3).contains(&ran) && ran + refused == 10, "{codes:?}");
    assert_eq!(try_it().status, 200, "afterwards there is room again");
}

/// The newer version in the folder may be another company's, which the live one's admins must not see.
#[test]
fn a_folder_that_another_company_has_taken_over_is_not_shown() {
    let setup = setup();
    let server = setup.start();
    let file = setup.plugins.join("guest/plugin.toml");
    let manifest = std::fs::read_to_string(&file).unwrap();
    let broken = manifest.replace("company-1", "company-2").replace("mapper.js", "missing.js");
    std::fs::write(&file, broken).unwrap();
    until("it is refused", || server.get("/v1/admin/plugins").json()["data"][0]["state"] == "outdated");
    refuses_all(&server, &json!("x"), &"0".repeat(64));
    assert_eq!(tried(&server, &json!({"payload": {"name": "Ada"}}))["tasks"][0]["title"], "Call Ada");
}

/// Every route that reads or writes the folder says that it is another company's.
fn refuses_all(server: &Server, digest: &Value, version: &str) {
    let of = |rest: &str| format!("/v1/admin/plugins/guest/{rest}");
    let version = of(&format!("script/versions/{version}"));
    let replies = [
        server.get(&of("script")),
        put(server, "export default () => 1;", digest),
        server.get(&of("script/versions")),
        server.get(&version),
        server.post(&format!("{version}/restore"), &Value::Null),
        server.get(&of("fixtures")),
        server.post(&of("fixtures"), &json!({"name": "a", "payload": {"name": "a"}})),
        server.post(&of("try"), &json!({"payload": {"name": "a"}, "script": SCRIPT})),
    ];
    for (index, reply) in replies.into_iter().enumerate() {
        let text = reply.text.clone();
        assert_eq!(reply.expect(404).code(), "not_found", "{index}: {text}");
        assert!(!text.contains("plugin.toml") && text.contains("another company"), "{index}: {text}");
    }
}

/// A folder can change hands while nothing is loaded again.
#[test]
fn the_admins_of_the_live_version_neither_run_nor_overwrite_what_another_company_has_put_there() {
    let setup = Setup::new().config("[plugins]\nwatch = false\n").script("guest", SCRIPT);
    let server = setup.start();
    let digest = script(&server)["digest"].clone();
    let path = |name: &str| setup.plugins.join("guest").join(name);
    let manifest = std::fs::read_to_string(path("plugin.toml")).unwrap().replace("company-1", "company-2");
    let other = "export default () => ({ title: 'theirs', description: 'x' });";
    std::fs::write(path("plugin.toml"), manifest).unwrap();
    std::fs::write(path("mapper.js"), other).unwrap();
    refuses_all(&server, &digest, &"0".repeat(64));
    assert_eq!(std::fs::read_to_string(path("mapper.js")).unwrap(), other);
    assert!(!path("fixtures").exists());
    assert_eq!(title(&server), "Call Ada", "the live version still serves");
}
