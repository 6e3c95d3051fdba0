//! The cost and the output of a schema check are bounded, so that no sender makes others wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness::{Server, Setup, binary, task, until};

const HEAD: &str = "https://json-schema.org/draft/2020-12/schema";
const HOOK: &str = "/v1/hooks/guest";

/// A server with a plugin that skips, behind this schema.
fn behind(config: &str, mut schema: Value) -> Setup {
    schema["$schema"] = HEAD.into();
    let setup = Setup::new().config(config).plugin("guest", "", &says(r#"{"skip":"fits"}"#));
    std::fs::write(setup.plugins.join("guest/input.schema.json"), schema.to_string()).unwrap();
    setup
}

fn texts() -> Value {
    json!({"type": "object", "properties": {"items": {"type": "array", "items": {"type": "string"}}}})
}

fn wrong(count: usize) -> Value {
    json!({ "items": vec![1; count] })
}

#[test]
fn a_hundred_violations_are_shown_in_order_and_the_rest_is_counted() {
    // A response of megabytes helps no sender, and costs everybody.
    let server = behind("", texts()).start();
    let reply = server.post(HOOK, &wrong(100)).expect(422).json();
    assert_eq!(reply["errors"].as_array().unwrap().len(), 100);
    assert!(reply.get("errors_omitted").is_none(), "nothing was left out");

    let reply = server.post(HOOK, &wrong(5000)).expect(422);
    let answer = reply.json();
    let places: Vec<_> = answer["errors"].as_array().unwrap().iter().map(|it| it["pointer"].clone()).collect();
    assert_eq!(places, (0..100).map(|at| json!(format!("/items/{at}"))).collect::<Vec<_>>());
    assert_eq!((&answer["errors_omitted"], &answer["errors_uncounted"]), (&json!(4900), &json!(false)));
    let message = reply.message();
    assert!(message.len() < 8192 && message.contains("And 49") && message.ends_with(" more"), "{message}");
    // The same is kept of it, and no more.
    let event = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
    assert_eq!(event["reason"]["message"], json!(message));
    assert!(server.stop().len() < 20_000);
}

#[test]
fn a_megabyte_of_violations_and_of_names_takes_little() {
    let server = behind("", json!({"additionalProperties": {"items": {"type": "string"}}})).start();
    for body in [
        json!({ "items": vec![1; 400_000] }),
        json!({ "n".repeat(500_000): vec![1; 200_000] }),
        json!({ "n".repeat(900_000): [1, 2, 3] }),
        Value::Object((0..60_000).map(|at| (format!("{at}"), json!([1]))).collect()),
    ] {
        let reply = server.post(HOOK, &body).expect(422);
        assert!(reply.text.len() < 200_000, "{} bytes", reply.text.len());
    }
    // Hundreds of megabytes, if each were kept until it is counted.
    assert!(peak_mib(&server) < 500, "{} MiB", peak_mib(&server));
    let reply = server.post(HOOK, &json!({ "items": vec![1; 400_000] })).expect(422).json();
    assert_eq!(reply["errors_uncounted"], json!(true));
    assert!(reply["errors_omitted"].as_u64().unwrap() >= 1000, "{}", reply["errors_omitted"]);
}

fn peak_mib(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[test]
fn a_batch_shows_a_thousand_violations_at_most_and_one_of_each_item() {
    let server = Setup::new().start();
    let asked = json!({"company_id": "company-1", "scopes": ["tasks:write"], "strict": true});
    let key = server.post("/v1/admin/keys", &asked).expect(201).json()["key"].as_str().unwrap().to_owned();
    let mut bad = task();
    bad["tags"] = json!(vec![1; 5000]);
    let batch = Value::Array(vec![bad.clone(); 30]);
    let headers = [("x-api-key", key.as_str()), ("content-type", "application/json")];
    let reply = server.send_as("POST", "/v1/tasks/batch", &headers, batch.to_string().as_bytes()).expect(200);
    let answer = reply.json();
    let shown = |at: usize| answer["data"][at]["error"]["errors"].as_array().unwrap().len();
    assert_eq!((shown(0), shown(9), shown(10), shown(29)), (100, 100, 1, 1));
    assert_eq!(answer["data"][29]["error"]["errors_omitted"], json!(4999));
    assert!(reply.text.len() < 600_000, "{} bytes", reply.text.len());
    let reply = server.send_as("POST", "/v1/tasks", &headers, bad.to_string().as_bytes()).expect(422).json();
    assert_eq!((reply["errors"].as_array().unwrap().len(), &reply["errors_omitted"]), (100, &json!(4900)));
}

#[test]
fn the_command_line_shows_no_more_than_a_response_does() {
    let setup = behind("", texts());
    let folder = setup.plugins.join("guest");
    std::fs::create_dir(folder.join("fixtures")).unwrap();
    let fixture = json!({"name": "many", "received_at": "2026-11-24T12:00:00Z", "payload": wrong(50_000), "expect": {"skip": "x"}});
    std::fs::write(folder.join("fixtures/many.json"), fixture.to_string()).unwrap();
    for arguments in [["plugin", "test"], ["plugin", "check"]] {
        let out = binary().args(arguments).arg(&folder).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.len() < 20_000 && text.contains("/items/0") | text.contains("items[0]"), "{text}");
    }
}

/// `levels` levels of two references each to the level below.
fn doubling(keyword: &str, levels: usize) -> Value {
    let two = |at: usize| json!({ keyword: [{"$ref": format!("#/$defs/{at}")}, {"$ref": format!("#/$defs/{at}")}] });
    let mut definitions: serde_json::Map<_, _> = (1..=levels).map(|at| (at.to_string(), two(at - 1))).collect();
    definitions.insert("0".into(), json!({"properties": {"n": {"const": 1}}}));
    json!({"$ref": format!("#/$defs/{levels}"), "$defs": definitions})
}

fn refusal(schema: Value) -> Option<String> {
    let setup = behind("", schema);
    let out = binary().args(["plugin", "check", "--json"]).arg(setup.plugins.join("guest")).output().unwrap();
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    (found["good"] == false).then(|| found["findings"].to_string())
}

#[test]
fn a_schema_that_expands_without_an_end_is_not_loaded() {
    for keyword in ["anyOf", "oneOf", "allOf"] {
        assert_eq!(refusal(doubling(keyword, 8)), None);
        let said = refusal(doubling(keyword, 33)).unwrap();
        assert!(said.contains("more than 10000 subschemas"), "{said}");
    }
    let chain = |levels: usize, keyword: &str| {
        let next = |at: usize| json!({ keyword: {"$ref": format!("#/$defs/{}", at + 1)} });
        let next_of = |at: usize| {
            if keyword == "properties" {
                json!({"properties": {"a": {"$ref": format!("#/$defs/{}", at + 1)}}})
            } else {
                next(at)
            }
        };
        let mut all: serde_json::Map<_, _> = (0..levels).map(|at| (at.to_string(), next_of(at))).collect();
        all.insert(levels.to_string(), json!({}));
        json!({"$ref": "#/$defs/0", "$defs": all})
    };
    for (schema, said) in [
        (json!({"allOf": [{"$ref": "#"}]}), "refers to itself"),
        (
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"if": {"$ref": "#/$defs/a"}}}}),
            "refers to itself",
        ),
        (json!({"$dynamicAnchor": "x", "anyOf": [{"$dynamicRef": "#x"}]}), "refers to itself"),
        (chain(3000, "not"), "nested subschemas"),
        (chain(9000, "properties"), "refer to each other"),
        (json!({"pattern": "(a{1000}){1000}"}), "pattern"),
        (json!({"pattern": "(?=a)b"}), "pattern"),
        (json!({"properties": {"a": {"format": "regex"}}}), "regex"),
        (json!({"description": "x".repeat(1 << 20)}), "the maximum is 1048576"),
        (json!({"$ref": "https://example.com/other.json"}), "not a JSON Schema"),
    ] {
        let found = refusal(schema);
        assert!(found.as_ref().is_some_and(|it| it.contains(said)), "{said}: {found:?}");
    }
    // Each level of these goes into a part of the value.
    let tree = json!({"$ref": "#/$defs/node", "$defs": {"node": {"properties": {"left": {"$ref": "#/$defs/node"}, "right": {"$ref": "#/$defs/node"}}}}});
    assert_eq!(refusal(tree), None);
    assert_eq!(refusal(json!({"properties": {"phone": {"pattern": "^\\+?[0-9]{5,20}$"}}})), None);
}

/// Every item of a list is checked against some thousand subschemas.
fn slow() -> Value {
    let mut schema = doubling("anyOf", 11);
    schema["$defs"]["0"] = json!({"const": "x"});
    schema["properties"] = json!({"items": {"contains": {"$ref": "#/$defs/11"}}});
    schema.as_object_mut().unwrap().remove("$ref");
    schema
}

fn long() -> Value {
    json!({ "items": vec![1; 20_000] })
}

/// One wrong value is found to be wrong in two ways on every level, so in 2^n on the last of n levels.
fn branching() -> Value {
    let way = json!({"properties": {"n": {"$ref": "#/$defs/way"}}});
    json!({"$ref": "#/$defs/way", "$defs": {"way": {"type": "object", "allOf": [way, way]}}})
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "n": inner }))
}

#[test]
fn a_check_that_takes_too_long_ends_and_blocks_nobody() {
    let setup = behind("[plugins]\nschema_ms = 700\n[limits]\nrequest_timeout_ms = 60000\n", slow());
    let setup = setup.plugin("other", "", &says(r#"{"skip":"other"}"#));
    let server = setup.start();
    server.post(HOOK, &json!({"items": ["x"]})).expect(200);
    server.post(HOOK, &json!({"items": [1, 2]})).expect(422);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let reply = server.post(HOOK, &long());
            ended.store(true, Ordering::SeqCst);
            reply
        });
        let others: Vec<_> = (0..2).map(|_| scope.spawn(|| server.post(HOOK, &long()).expect(502))).collect();
        // Answered while the others are at it.
        for _ in 0..3 {
            server.get("/healthz").expect(200);
            server.post("/v1/hooks/other", &json!({})).expect(200);
            server.post(HOOK, &json!({"items": ["x"]})).expect(200);
        }
        assert!(!ended.load(Ordering::SeqCst), "the check ended before anything else was tried");
        let reply = slow.join().unwrap().expect(502);
        others.into_iter().for_each(|it| drop(it.join().unwrap()));
        assert_eq!(reply.code(), "schema_time");
        assert!(reply.message().contains("plugins.schema_ms"), "{}", reply.message());
        let event = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
        assert_eq!((&event["status"], &event["reason"]["code"]), (&json!("quarantined"), &json!("schema_time")));
    });
    // One that is answered first ends in quarantine as well, and a replay tells the same.
    let queued = server.send(
        "POST",
        HOOK,
        &[("prefer", "respond-async"), ("content-type", "application/json")],
        long().to_string().as_bytes(),
    );
    let url = format!("/v1/events/{}", queued.expect(202).header("x-event-id"));
    until("the check ends", || server.get(&url).json()["status"] != "queued");
    assert_eq!(server.get(&url).json()["reason"]["code"], "schema_time");
}

#[test]
fn long_checks_beyond_the_queue_are_503_and_not_kept() {
    let server = behind("[plugins]\nschema_ms = 300\n", slow()).start();
    let codes: Vec<_> = std::thread::scope(|scope| {
        let sent: Vec<_> = (0..80).map(|_| scope.spawn(|| server.post(HOOK, &long()).code())).collect();
        // Until the first has ended, 34 are running or waiting, and the others are sent away.
        sent.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let busy = codes.iter().filter(|it| *it == "plugin_busy").count();
    assert!((1..=46).contains(&busy), "{codes:?}");
}

#[test]
fn a_schema_that_takes_too_long_for_its_own_fixture_is_not_loaded() {
    let setup = behind("[plugins]\nschema_ms = 50\n", slow());
    let folder = setup.plugins.join("guest");
    std::fs::create_dir(folder.join("fixtures")).unwrap();
    let fixture = json!({"name": "deep", "received_at": "2026-11-24T12:00:00Z", "payload": long(), "expect": {"violations": ["/items"]}});
    std::fs::write(folder.join("fixtures/deep.json"), fixture.to_string()).unwrap();
    let log = setup.start().stop();
    assert!(log.contains("plugins.schema_ms") && log.contains("deep.json"), "{log}");
}

#[test]
fn an_array_of_many_items_that_have_to_be_unique_is_checked_in_time() {
    let server = behind("", json!({"properties": {"items": {"uniqueItems": true}}})).start();
    let items: Vec<_> = (0..100_000).collect();
    server.post(HOOK, &json!({ "items": items })).expect(200);
    let twice = [items, vec![5]].concat();
    server.post(HOOK, &json!({ "items": twice })).expect(422);
}

#[test]
fn a_value_that_is_wrong_in_very_many_ways_is_a_violation() {
    let server = behind("[plugins]\nschema_ms = 200\n", branching()).start();
    server.post(HOOK, &json!({"n": {"n": {}}})).expect(200);
    let errors = server.post(HOOK, &nested(3)).expect(422).json()["errors"].clone();
    assert_eq!((&errors[0]["pointer"], &errors[0]["code"]), (&json!("/n/n/n"), &json!("type")));
    let reply = server.post(HOOK, &nested(100)).expect(422);
    assert!(!reply.json()["errors"].as_array().unwrap().is_empty(), "{}", reply.text);
}

/// So many patterns whose lazy DFA gives up, so that a match follows each of their states for each byte.
fn patterns(count: usize) -> Value {
    (0..count).map(|at| (format!("^[01]*1[01]{{200}}{at}$"), json!(true))).collect::<serde_json::Map<_, _>>().into()
}

fn bits(count: usize) -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state & 1 == 0 { '0' } else { '1' }
    };
    (0..count).map(|_| next()).collect()
}

/// How long this thread has computed. Other threads and processes that need the processor do not change it.
fn processor_time_of_this_thread() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(stat.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn a_match_that_nothing_can_end_starts_only_where_there_is_time_for_it() {
    // One name was matched with a hundred patterns in one step: half a minute, in a check that counted as quick.
    let long = bits(120 << 10);
    let deep = json!({"$ref": "#/$defs/a", "unevaluatedProperties": false,
        "$defs": {"a": {"allOf": [{"patternProperties": patterns(50)}, {"patternProperties": patterns(20)}]}}});
    for (schema, payload) in [
        (json!({"patternProperties": patterns(100), "additionalProperties": false}), json!({ long.as_str(): 1 })),
        (deep, json!({ long.as_str(): 1 })),
        (json!({"propertyNames": {"pattern": "^[01]*1[01]{700}$"}}), json!({ long.as_str(): 1 })),
        (json!({"properties": {"text": {"pattern": "^[01]*1[01]{700}$"}}}), json!({ "text": long })),
    ] {
        let mut compiled = schema.clone();
        compiled["$schema"] = HEAD.into();
        let compiled = hookmill::format::schema::Schema::compile(&compiled.to_string()).unwrap();
        let before = processor_time_of_this_thread();
        assert_eq!(compiled.judge_quickly(&payload, None), None, "it would have run on the reactor");
        let took = processor_time_of_this_thread() - before;
        assert!(took < Duration::from_millis(200), "on the reactor: {took:?}");

        let server = behind("[limits]\nrequest_timeout_ms = 60000\n", schema).start();
        let before = server.processor_time();
        let reply = server.post(HOOK, &payload).expect(502);
        assert_eq!(reply.code(), "schema_time");
        let took = server.processor_time() - before;
        assert!(took < Duration::from_secs(2), "{took:?}");
        server.post(HOOK, &json!({"text": bits(300)})).expect(422);
    }
}

#[test]
fn ordinary_patterns_are_loaded_and_match_long_texts() {
    // A schema that was good before would be refused, or every delivery with an attachment.
    let ordinary = [
        r"^\d{4}-\d{2}-\d{2}$",
        r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$",
        r"^[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,63}$",
        r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
        r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-5][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}$",
        r"^\+?[\d\s()-]{5,20}$",
        r"^[A-Za-z0-9 _.-]{1,200}$",
        r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$",
        r"^\p{L}{1,100}$",
        r"^\p{L}+$",
        r"^\w{1,64}$",
        r"^.{1,1000}$",
    ];
    for pattern in ordinary {
        assert_eq!(refusal(json!({"properties": {"a": {"pattern": pattern}}})), None, "{pattern}");
    }
    let said = refusal(json!({"properties": {"a": {"pattern": "^[01]*1[01]{2000}$"}}})).unwrap();
    assert!(said.contains("pattern"), "{said}");

    let properties = json!({
        "file": {"type": "string", "pattern": "^[A-Za-z0-9+/]+={0,2}$"}, "url": {"pattern": "^data:"},
        "text": {"pattern": r"\S"}, "day": {"pattern": ordinary[0]}, "id": {"pattern": "^[a-z]+-[0-9]+$"},
    });
    let server = behind("", json!({ "properties": properties })).start();
    let (day, long) = ("2026-11-24", "QUJD".repeat(60_000));
    let sent =
        json!({"file": long, "url": format!("data:{long}"), "text": format!(" {long}"), "day": day, "id": "a-1"});
    server.post(HOOK, &sent).expect(200);

    // What has no pattern is not matched, whatever else the schema has.
    let properties =
        json!({"phone": {"pattern": ordinary[5]}, "file": {"type": "string", "minLength": 1, "maxLength": 800_000}});
    let server = behind("", json!({ "properties": properties, "patternProperties": {"^x-": {}} })).start();
    server.post(HOOK, &json!({"phone": "+353 1 9605860", "file": "é".repeat(400_000)})).expect(200);
    server.post(HOOK, &json!({"phone": "none"})).expect(422);
}
