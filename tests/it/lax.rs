//! Loose values, one by one, from real n8n nodes (tests/fixtures/n8n/json-fields-*.json).

use hookmill::format::payload::{
    Encoding, Loosened, Payload, Rules, decode, parse_deadline, task_fields, unwrap_envelope,
};
use hookmill::format::schema::task_create;
use hookmill::model::time::format_utc;
use serde_json::{Value, json};

fn capture(name: &str) -> Value {
    let file = format!("{}/tests/fixtures/n8n/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let capture: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    serde_json::from_str(capture["body"].as_str().unwrap()).unwrap()
}

/// A whole task in which one field is this value.
fn read(field: &str, value: Value, encoding: Encoding) -> Result<(Value, bool), String> {
    let mut task = json!({"title": "t", "description": "d", "assigned_user_ids": ["u1"], "created_by_id": "u9", "deadline": "2026-12-01T09:00:00Z"});
    task[field] = value;
    match task_fields(Payload::new(task, encoding, Loosened::default()), &Rules::default()) {
        Ok((fields, loosened)) => {
            Ok((fields.get(field).cloned().unwrap_or(Value::Null), loosened.iter().any(|it| it == field)))
        }
        Err(violations) => Err(violations[0].message.clone()),
    }
}

fn time(value: &Value, zone: &str) -> Result<(String, bool), String> {
    parse_deadline(value, zone.parse().unwrap())
        .map(|(time, loose)| (format_utc(time), loose))
        .map_err(|e| e.to_string())
}

#[test]
fn every_captured_date_is_one_moment_or_a_clear_refusal() {
    let dates = capture("json-fields-dates");
    let table = [
        ("now", Ok(("2026-11-24T01:21:05.378Z", false))),
        ("plus3", Ok(("2026-11-27T01:21:05.379Z", false))),
        ("plus3_text", Err("is not a date-time")),
        ("iso", Ok(("2026-11-27T01:21:05.386Z", false))),
        ("isodate", Ok(("2026-11-24T23:59:59Z", true))),
        ("fmt", Ok(("2026-11-24T23:59:59Z", true))),
        ("fmt_space", Ok(("2026-11-24T02:21:05Z", true))),
        ("fmt_us", Err("is ambiguous: it is not clear which is the day and which the month")),
        ("fmt_eu", Err("is ambiguous: it is not clear which is the day and which the month")),
        ("today", Ok(("2026-11-23T23:00:00Z", false))),
        ("utc", Ok(("2026-11-24T01:21:05.408Z", false))),
        ("jsdate", Ok(("2026-11-24T01:21:05.410Z", false))),
        ("jsdate_text", Err("is not a date-time")),
        ("millis", Ok(("2026-11-24T01:21:05.416Z", true))),
        ("seconds", Ok(("2026-11-24T01:21:05.419Z", true))),
        ("unixint", Ok(("2026-11-24T01:21:05Z", true))),
        ("tostring", Ok(("2026-11-24T01:21:05.424Z", false))),
        ("endOfDay", Ok(("2026-11-24T22:59:59.999Z", false))),
        ("todatetime", Ok(("2026-11-30T23:00:00Z", false))),
        ("todatetime_plus", Ok(("2026-12-01T23:00:00Z", false))),
        ("rfc2822", Ok(("2026-11-24T01:21:05Z", true))),
        ("http", Ok(("2026-11-24T01:21:05Z", true))),
        ("locale", Err("is ambiguous: it is not clear which is the day and which the month")),
        ("datetimelocal", Ok(("2026-12-01T09:00:00Z", true))),
        ("naive", Ok(("2026-12-01T09:00:00Z", true))),
    ];
    assert_eq!(dates.as_object().unwrap().len(), table.len());
    for (name, expected) in table {
        let expected = expected.map(|(text, loose)| (text.to_owned(), loose)).map_err(str::to_owned);
        assert_eq!(time(&dates[name], "UTC"), expected, "{name}: {}", dates[name]);
    }
}

#[test]
fn other_spellings_of_a_time() {
    let ok = |value: Value, zone: &str| time(&value, zone).map(|(text, _)| text);
    // The text of a JavaScript Date, without the letter that the capture has in front.
    assert_eq!(
        ok(json!("Tue Nov 24 2026 01:21:05 GMT+0000 (Coordinated Universal Time)"), "UTC").unwrap(),
        "2026-11-24T01:21:05Z"
    );
    assert_eq!(ok(json!("1795483265.419"), "UTC").unwrap(), "2026-11-24T01:21:05.419Z");
    assert_eq!(ok(json!(" 2026-12-01 09:00:00+01:00 "), "UTC").unwrap(), "2026-12-01T08:00:00Z");
    assert_eq!(ok(json!("2026-12-01T09:00"), "Europe/Berlin").unwrap(), "2026-12-01T08:00:00Z");
    assert_eq!(ok(json!("2026-07-01"), "Europe/Berlin").unwrap(), "2026-07-01T21:59:59Z");
    // The clocks skip 02:30 on 2026-03-29 and repeat it on 2026-10-25.
    assert!(ok(json!("2026-03-29T02:30"), "Europe/Berlin").unwrap_err().contains("skip"));
    assert_eq!(ok(json!("2026-10-25T02:30"), "Europe/Berlin").unwrap(), "2026-10-25T00:30:00Z");
    for wrong in [
        json!(20_261_201),
        json!(5),
        json!(-1),
        json!(1e300),
        json!("1e400"),
        json!("26-12-01"),
        json!("NaN"),
        json!(true),
        json!([]),
        json!("2026-02-30"),
        json!("2026-12-01T25:00:00Z"),
        json!("ä"),
    ] {
        assert!(ok(wrong.clone(), "UTC").is_err(), "{wrong}");
    }
}

#[test]
fn every_captured_list_is_read() {
    let lists = capture("json-fields-arrays");
    let pair = json!(["u1", "u2"]);
    for (name, expected, loose) in [
        ("csv", &pair, true),
        ("csv_space", &pair, true),
        ("json_string", &pair, true),
        ("expr_array", &pair, false),
        ("expr_array_in_text", &pair, true),
        ("expr_json_stringify", &pair, true),
        ("expr_split", &pair, false),
        ("single", &json!(["u1"]), true),
        ("expr_join", &pair, true),
    ] {
        assert_eq!(
            read("assigned_user_ids", lists[name].clone(), Encoding::Json),
            Ok((expected.clone(), loose)),
            "{name}"
        );
    }
    assert!(
        read("assigned_user_ids", lists["empty_array_string"].clone(), Encoding::Json).unwrap_err().contains("empty")
    );
    assert_eq!(read("tags", lists["empty_array_string"].clone(), Encoding::Json), Ok((Value::Null, true)));
}

#[test]
fn list_items_are_split_in_forms_only() {
    let items = json!(["u1,u2", "u3"]);
    assert_eq!(read("assigned_user_ids", items.clone(), Encoding::Form).unwrap().0, json!(["u1", "u2", "u3"]));
    assert_eq!(read("assigned_user_ids", items.clone(), Encoding::Json).unwrap().0, items);
    assert_eq!(read("assigned_user_ids", json!([7, " u8 ", "", null]), Encoding::Json), Ok((json!(["7", "u8"]), true)));
}

#[test]
fn blanks_are_absent_where_optional_and_errors_where_required() {
    let empties = capture("json-fields-empties");
    for name in ["blank", "empty_expr", "null_expr", "missing_only_text", "fallback", "or_null", "equals_only"] {
        assert_eq!(read("patient_id", empties[name].clone(), Encoding::Json).unwrap().0, Value::Null, "{name}");
        assert!(read("created_by_id", empties[name].clone(), Encoding::Json).unwrap_err().contains("blank"), "{name}");
    }
    for word in ["null", "undefined", " \t"] {
        assert_eq!(read("priority", json!(word), Encoding::Json).unwrap().0, Value::Null, "{word}");
        assert!(read("title", json!(word), Encoding::Json).is_err(), "{word}");
    }
}

#[test]
fn ids_and_enums_are_brought_into_shape_and_prose_is_not_touched() {
    for (field, sent, expected, loose) in [
        ("patient_id", json!(4711), json!("4711"), true),
        ("patient_id", json!(true), json!("true"), true),
        ("patient_id", json!(" p1 "), json!("p1"), true),
        ("patient_id", json!(12_345_678_901_234_567_000_u64), json!("12345678901234567000"), true),
        ("patient_id", json!(1.5), json!("1.5"), true),
        ("status", json!("In Progress"), json!("in_progress"), true),
        ("status", json!("in-progress"), json!("in_progress"), true),
        ("priority", json!("HIGH"), json!("high"), true),
        ("title", json!(" Refill "), json!(" Refill "), false),
        ("title", json!(3), json!("3"), true),
    ] {
        assert_eq!(read(field, sent.clone(), Encoding::Json), Ok((expected, loose)), "{field} {sent}");
    }
    for (field, sent, part) in [
        ("patient_id", json!(1e20), "more digits"),
        ("patient_id", json!({"a": 1}), "an object is not text"),
        ("title", json!("a\u{0}b"), "NUL"),
        ("tags", json!(["a\u{0}b"]), "NUL"),
        ("priority", json!("soon"), "one of low, medium, high, urgent"),
        ("priority", json!(1), "one of low"),
        ("assigned_user_ids", json!({"0": "u1"}), "is not a list"),
        ("assigned_user_ids", json!([["u1"]]), "one of its items"),
    ] {
        let message = read(field, sent.clone(), Encoding::Json).unwrap_err();
        assert!(message.starts_with(&format!("{field}: ")) && message.contains(part), "{message}");
    }
}

#[test]
fn a_value_in_an_error_is_cut() {
    let message = read("priority", json!("x".repeat(100_000)), Encoding::Json).unwrap_err();
    assert!(message.len() < 200, "{}", message.len());
}

fn decoded(content_type: &str, body: &str) -> Result<(Value, Option<String>), String> {
    let rules = Rules::default();
    let payload = decode(Some(content_type), body.as_bytes(), &rules)
        .and_then(|it| unwrap_envelope(it, task_create().shape(), &rules));
    payload.map(|it| (it.value, it.loosened.header_value())).map_err(|e| e.code().to_owned())
}

#[test]
fn encodings_and_envelopes_come_off_in_any_nesting() {
    let task = json!({"title": "t"});
    for (content_type, body, loosened) in [
        ("application/json", r#"{"title":"t"}"#, None),
        ("application/vnd.api+json; charset=utf-8", r#"{"title":"t"}"#, None),
        ("application/json", "\u{feff} {\"title\":\"t\"}", None),
        ("text/plain", r#"{"title":"t"}"#, Some("content-type")),
        ("", r#"{"title":"t"}"#, Some("content-type")),
        ("application/x-www-form-urlencoded", r#"{"title":"t"}"#, Some("content-type")),
        ("application/json", r#""{\"title\":\"t\"}""#, Some("body")),
        ("application/x-www-form-urlencoded", "title=t", None),
        ("application/json", r#"[{"title":"t"}]"#, Some("envelope")),
        ("application/json", r#"[{"json":{"title":"t"},"pairedItem":{"item":0}}]"#, Some("envelope")),
        ("application/json", r#"{"data":{"title":"t"}}"#, Some("envelope")),
        ("application/json", r#"{"body":"{\"title\":\"t\"}"}"#, Some("envelope")),
        (
            "application/json",
            r#"{"headers":{},"params":{},"query":{},"body":{"title":"t"},"webhookUrl":"","executionMode":"test"}"#,
            Some("envelope"),
        ),
    ] {
        assert_eq!(
            decoded(content_type, body),
            Ok((task.clone(), loosened.map(str::to_owned))),
            "{content_type} {body}"
        );
    }
    // A field next to a known field is data, not a wrapper.
    assert_eq!(decoded("application/json", r#"{"title":"t","data":{"title":"x"}}"#).unwrap().0["title"], "t");
}

#[test]
fn forms_with_brackets_become_lists_and_objects() {
    let form = |body| decoded("application/x-www-form-urlencoded", body).unwrap().0;
    assert_eq!(
        form("a=1&a=2&b[]=3&b[]=4&c[0]=5&c[1]=6&d[x][y]=7"),
        json!({"a": ["1", "2"], "b": ["3", "4"], "c": ["5", "6"], "d": {"x": {"y": "7"}}})
    );
    // n8n writes a list under the name tags[] like this.
    assert_eq!(form("tags[][0]=a&tags[][1]=b"), json!({"tags": ["a", "b"]}));
    assert_eq!(form("a[999999999]=x&a[b=1&[]=2&a[][]=3&__proto__[x]=4")["__proto__"], json!({"x": "4"}));
    assert_eq!(form("a=1&a[b]=2")["a"], json!(["1", {"b": "2"}]));
}

#[test]
fn broken_bodies_are_named() {
    let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for (content_type, body, code) in [
        ("application/json", "", "empty_body"),
        ("application/json", " \n", "empty_body"),
        ("application/json", "{\"a\":1,", "malformed_json"),
        ("application/json", "{\"a\":1}x", "malformed_json"),
        ("application/json", "{\"a\":\"\u{0}\"}", "malformed_json"),
        ("application/json", deep.as_str(), "too_deep"),
        ("application/json", "{\"a\":{\"b\":1,\"b\":2}}", "duplicate_key"),
        ("application/json", "{\"a\":1e400}", "number_out_of_range"),
        ("application/json", "[]", "not_an_object"),
        ("application/json", "3", "not_an_object"),
        ("application/json", "\"text\"", "not_an_object"),
        ("application/json", "[{},{}]", "multiple_items"),
        ("application/xml", "<a>", "malformed_xml"),
        ("text/html", "<a/>", "unsupported_media_type"),
        ("multipart/form-data", "x", "malformed_form"),
        ("multipart/form-data; boundary=x", "--x\r\nContent-Dis", "malformed_form"),
    ] {
        assert_eq!(
            decoded(content_type, body),
            Err(code.to_owned()),
            "{content_type} {}",
            body.chars().take(40).collect::<String>()
        );
    }
    let many = "a=1&".repeat(1001);
    assert_eq!(decoded("application/x-www-form-urlencoded", &many), Err("malformed_form".into()));
    let error = decode(Some("application/json"), b"{\"a\":\"\xff\"}", &Rules::default()).unwrap_err();
    assert_eq!(error.to_string(), "the body is not valid UTF-8 at byte offset 6");
}
