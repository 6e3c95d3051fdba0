//! `[task]`: expressions as in n8n, without a script.

use serde_json::{Value, json};

use crate::harness::{Reply, Server, Setup};

const DEFAULTS: &str = "[defaults]\nassigned_user_ids = [\"user_1\"]\ncreated_by_id = \"test\"\ndeadline = \"2d\"\n";

fn server(task: &str) -> Server {
    let manifest = format!(
        "timezone = \"Europe/Berlin\"\nheaders = [\"x-topic\"]\n{DEFAULTS}[config]\nowner = \"user_9\"\n[task]\n{task}\n"
    );
    Setup::new().mapping("guest", &manifest, &[]).start()
}

fn send(server: &Server, payload: &Value) -> Reply {
    let headers = [("content-type", "application/json"), ("x-topic", "orders")];
    server.send("POST", "/v1/hooks/guest", &headers, payload.to_string().as_bytes())
}

#[test]
fn fields_are_evaluated_and_empty_ones_are_left_out() {
    let server = server(
        "title = \"{{ $json.name }} has booked\"\ndescription = \"\"\"{{ $json.lines.join(\" / \") }}\"\"\"\n\
         deadline = \"{{ $json.at }}\"\ntags = [\"a\", \"{{ $json.tag }}\", \"{{ $json.missing }}\", \"{{ $json.more }}\"]\n\
         assigned_user_ids = \"{{ $json.users }}\"\ncall_id = \"{{ $json.call }}\"\npriority = \"{{ $json.urgent ? 'high' : 'low' }}\"\n\
         type = \"={{ $headers['x-topic'] }}\"\npatient_id = \"{{ $config.owner }}\"",
    );
    let payload = json!({"name": "Ada", "lines": ["x", "y"], "at": "2026-12-01T10:00:00Z", "tag": "b", "more": ["c", "d"], "users": ["u"], "urgent": true});
    let task = send(&server, &payload).expect(201).json();
    assert_eq!((&task["title"], &task["description"]), (&json!("Ada has booked"), &json!("x / y")));
    assert_eq!((&task["deadline"], &task["tags"]), (&json!("2026-12-01T10:00:00Z"), &json!(["a", "b", "c", "d"])));
    assert_eq!((&task["call_id"], &task["priority"], &task["type"]), (&Value::Null, &json!("high"), &json!("orders")));
    assert_eq!(task["patient_id"], "user_9");
    let empty = send(&server, &json!({"name": "Ada", "lines": ["x"]})).expect(201).json();
    assert_eq!((&empty["created_by_id"], &empty["tags"]), (&json!("test"), &json!(["a"])));
}

#[test]
fn when_skips_and_each_makes_a_task_for_every_item() {
    let server = server(
        "when = \"{{ $json.event === 'order' }}\"\neach = \"{{ $json.items }}\"\n\
         title = \"{{ $itemIndex + 1 }}: {{ $json.what }} for {{ $event.name }}\"\ndescription = \"d\"",
    );
    let made = send(&server, &json!({"event": "order", "name": "Ada", "items": [{"what": "tea"}, {"what": "milk"}]}));
    let tasks = made.expect(201).json();
    let titles: Vec<_> = tasks["data"].as_array().unwrap().iter().map(|it| it["title"].clone()).collect();
    assert_eq!(titles, ["1: tea for Ada", "2: milk for Ada"]);
    let skipped = send(&server, &json!({"event": "ping"})).expect(200).json();
    assert_eq!(skipped["reason"], "when is not true: {{ $json.event === 'order' }}");
    let none = send(&server, &json!({"event": "order", "items": []})).expect(200).json();
    assert_eq!(none["reason"], "each is an empty list");
}

/// What people copy from n8n's expression editor gives what n8n showed.
#[test]
fn the_helpers_of_n8n_that_people_use_most_give_the_same_results() {
    let cases = [
        ("{{ $json.name.toTitleCase() }}", "Ada Lovelace"),
        ("{{ $json.mail.extractEmail() }}", "ada@example.org"),
        ("{{ $json.list.first() }}-{{ $json.list.last() }}", "3-1"),
        ("{{ $json.list.sum() }} {{ $json.list.max() }} {{ $json.list.unique().length }}", "6 3 3"),
        ("{{ $json.items.pluck('a').join() }}", "1,2"),
        ("{{ $json.missing?.isEmpty() ?? 'none' }}", "none"),
        ("{{ $json.empty.isEmpty() }}", "true"),
        ("{{ $json.price.toNumber().round(1) }}", "12.3"),
        ("{{ $json.html.removeTags() }}", "bold"),
        ("{{ $json.at.toDateTime().toFormat('dd.MM.yyyy HH:mm') }}", "24.11.2026 09:00"),
        ("{{ $json.at.toDateTime().plus({ days: 1 }).weekdayLong }}", "Wednesday"),
        ("{{ $if($json.list.length > 2, 'many', 'few') }}", "many"),
        ("{{ $ifEmpty($json.empty, 'other') }}", "other"),
        ("{{ $now.zoneName }} {{ $today.hour }}", "Europe/Berlin 0"),
        ("{{ $input.item.json.name.length }}", "12"),
        ("{{ { a: { b: 1 } }.a.b }}", "1"),
        ("{{ JSON.stringify({a: {}}) }}", "{\"a\":{}}"),
        ("a {{ null }}b{{ undefined }}", "a b"),
        ("{{ $json.items }}x", "[{\"a\":1},{\"a\":2}]x"),
        ("no braces", "no braces"),
        ("{{ 'a' + `}` }}", "a}"),
        (
            "{{ $json.dotted.extractDomain() }} {{ 'https://www.example.org/a'.extractDomain() }}",
            "example.com www.example.org",
        ),
        ("{{ (1e-7).round(2) }} {{ (1e21).round(2) }} {{ (1.005).round(2) }}", "0 1e+21 1.01"),
    ];
    let payload = json!({
        "name": "ada lovelace", "mail": "Ada <ada@example.org>", "list": [3, 2, 1], "items": [{"a": 1}, {"a": 2}], "empty": "",
        "price": "12.34", "dotted": "ada.lovelace@example.com", "html": "<b>bold</b>", "at": "2026-11-24T08:00:00Z",
    });
    let tags: Vec<String> = cases.iter().map(|(it, _)| json!(format!("|{it}")).to_string()).collect();
    let server = server(&format!("title = \"x\"\ndescription = \"d\"\ntags = [{}]", tags.join(", ")));
    let task = send(&server, &payload).expect(201).json();
    for (index, (expression, expected)) in cases.iter().enumerate() {
        assert_eq!(task["tags"][index], format!("|{expected}"), "{expression}");
    }
}

/// A payload cannot become code, whatever is in it.
#[test]
fn text_of_the_payload_is_never_evaluated() {
    let server = server("title = \"{{ $json.name }}\"\ndescription = \"{{ $json.name }} and {{ $json.name }}\"");
    for name in ["{{ 1 + 1 }}", "${1 + 1}", "`; throw 1; `", "</script>", "=1+1"] {
        let task = send(&server, &json!({ "name": name })).expect(201).json();
        assert_eq!(task["title"], name);
        assert_eq!(task["description"], format!("{name} and {name}"));
    }
    let task = send(&server, &json!({"name": "x", "__proto__": {"name": "y"}, "constructor": {"prototype": 1}}));
    assert_eq!(task.expect(201).json()["title"], "x");
}
