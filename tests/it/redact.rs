//! Values that are never stored: `redact` in plugin.toml.

use std::path::Path;

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness;
use crate::harness::{Setup, shipped_plugins, task};

const SECRET: &str = "+35319605860";

fn fixture() -> Value {
    let file = shipped_plugins().join("fax-inbound/fixtures/received.json");
    serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap()["payload"].clone()
}

/// The shipped fax plugin with more lines in its plugin.toml, and without fixtures.
fn faxes(more: &str) -> Setup {
    let setup = Setup::new().config("[plugins]\nwatch = false\nsettle_ms = 0\n[store]\nsegment_mib = 1\n");
    let (from, to) = (shipped_plugins().join("fax-inbound"), setup.plugins.join("fax-inbound"));
    std::fs::create_dir(&to).unwrap();
    std::fs::copy(from.join("mapper.wasm"), to.join("mapper.wasm")).unwrap();
    let mut schema: Value = serde_json::from_slice(&std::fs::read(from.join("input.schema.json")).unwrap()).unwrap();
    // The replacement of the value does not fit this.
    schema["properties"]["data"]["properties"]["payload"]["properties"]["from"] =
        json!({"type": "string", "pattern": "^\\+"});
    std::fs::write(to.join("input.schema.json"), schema.to_string()).unwrap();
    let manifest = std::fs::read_to_string(from.join("plugin.toml")).unwrap();
    let signed: String = manifest
        .lines()
        .filter(|it| it.starts_with("sender =") || it.starts_with("secret ="))
        .map(|it| format!("{it}\n"))
        .collect();
    let manifest = manifest.replace(&signed, "scheme = \"api-key\"\n");
    std::fs::write(to.join("plugin.toml"), format!("{more}\n{manifest}")).unwrap();
    setup
}

/// Whether any file below has these bytes.
fn holds(dir: &Path, text: &str) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).any(|it| it == text.as_bytes())
    })
}

#[test]
fn what_is_redacted_is_stored_nowhere_and_replay_works_on_the_rest() {
    let setup = faxes("redact = [\"/data/payload/from\", \"/meta/*\"]");
    let server = setup.start();
    let reply = server.post("/v1/hooks/fax-inbound", &fixture()).expect(201);
    let title = "Fax from [redacted] (3 pages)";
    assert_eq!(reply.json()["data"][0]["title"], title);
    let id = reply.header("x-event-id").to_owned();
    // As a form's field, wrapped by n8n, and answered first: another way to the same.
    let wrapped = json!([{ "headers": {"x-from": "n8n"}, "params": {}, "query": {}, "body": fixture() }]);
    let sent = [("prefer", "respond-async"), ("content-type", "text/plain")];
    server.send("POST", "/v1/hooks/fax-inbound", &sent, wrapped.to_string().as_bytes()).expect(202);

    let event = server.get(&format!("/v1/events/{id}")).expect(200).json();
    assert_eq!(event["redacted"], json!(["/data/payload/from", "/meta/*"]));
    assert_eq!(event["payload"]["meta"], json!({"attempt": 0, "delivered_to": "[redacted]"}));
    let raw: Value = serde_json::from_str(&server.get(&format!("/v1/events/{id}/raw")).expect(200).text).unwrap();
    assert_eq!(raw["data"]["payload"]["from"], "[redacted]");

    let replay = format!("/v1/events/{id}/replay");
    let replayed = server.post(&replay, &json!({"tasks": "update"})).expect(200).json();
    assert_eq!([&replayed["status"], &replayed["updated"]], [&json!("stored"), &json!(2)], "{replayed}");
    let log = server.stop();
    assert!(!log.contains(SECRET), "{log}");
    assert!(holds(&setup.data, "[redacted]") && !holds(&setup.data, SECRET));
}

#[test]
fn a_body_that_cannot_be_read_is_not_kept_where_something_in_it_must_not_be() {
    let setup = faxes("redact = [\"/data/payload/from\"]");
    let server = setup.start();
    let broken = fixture().to_string().replacen('{', "", 1);
    let reply = server.send("POST", "/v1/hooks/fax-inbound", &[], broken.as_bytes());
    assert_eq!((reply.status, reply.code().as_str()), (400, "malformed_json"), "{}", reply.text);
    let id = reply.header("x-event-id").to_owned();
    let event = server.get(&format!("/v1/events/{id}")).expect(200).json();
    assert_eq!([&event["status"], &event["redacted"]], [&json!("quarantined"), &json!([""])]);
    assert_eq!(event["body_bytes"].as_u64().unwrap(), broken.len() as u64);
    assert_eq!(event.get("body"), None);
    server.get(&format!("/v1/events/{id}/raw")).expect(404);
    let refused = server.post(&format!("/v1/events/{id}/replay"), &json!({})).expect(409);
    assert!(refused.message().contains("values that must be redacted could not be found"), "{}", refused.text);
    drop(server);
    assert!(!holds(&setup.data, SECRET));
}

#[test]
fn what_deliveries_are_known_by_cannot_be_redacted() {
    let manifest = "redact = [\"/delivery\"]\n[auth]\nscheme = \"api-key\"\n[dedupe]\npointer = \"/delivery/id\"\n";
    let setup = Setup::new().plugin("guest", manifest, &says(&task().to_string()));
    let out = harness::binary().args(["plugin", "check"]).arg(setup.plugins.join("guest")).output().unwrap();
    let told = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(told.contains("redact: a delivery is identified by a value that would be replaced"), "{told}");
}

/// A plugin that skips, takes any object, and redacts these places.
fn any(redact: &str, more: &str) -> Setup {
    let more = if more.is_empty() { "[auth]\nscheme = \"api-key\"\n" } else { more };
    Setup::new().plugin("guest", &format!("redact = {redact}\n{more}"), &says(r#"{"skip":"seen"}"#))
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn redaction_holds_whatever_shape_a_sender_gives_the_payload() {
    // What is not where a pointer expects it was stored in clear text.
    let setup = any(r#"["/patient/email", "/items/*/name", "/list/0/name", "/ssn"]"#, "");
    let server = setup.start();
    let text = |it: Value| it.to_string();
    let cases: Vec<(&str, String, Option<&str>)> = vec![
        ("", text(json!({"patient": json!({"email": SECRET}).to_string()})), None),
        ("", text(json!({"patient": json!(json!({"email": SECRET}).to_string()).to_string()})), Some("/patient")),
        ("", text(json!({"patient": [{"email": SECRET}, {"email": SECRET}]})), None),
        ("", text(json!({"patient": [[json!({"email": SECRET}).to_string()]]})), None),
        (
            "",
            text(json!({"Patient": {"E-Mail": SECRET}, "patient": {"EMAIL": SECRET}, "PATIENT": {"e_mail": SECRET}})),
            None,
        ),
        ("", text(json!({"patient.email": SECRET, "patient[email]": SECRET, "patient/email": SECRET})), None),
        ("", text(json!({"patient": {"email": {"home": SECRET}}})), None),
        ("", text(json!({ "patient": SECRET })), Some("/patient")),
        ("", text(json!({"patient": [SECRET, {"email": 1}]})), Some("/patient")),
        ("", text(json!({"patient": format!("{{\"email\": \"{SECRET}\"")})), Some("/patient")),
        ("", text(json!({"patient": format!("email={SECRET}")})), Some("/patient")),
        ("", text(json!({"items": {"a": {"name": SECRET}}})), None),
        ("", text(json!({"items": {"name": SECRET}})), Some("/items/*")),
        ("", text(json!({"items": SECRET})), Some("/items")),
        ("", text(json!({"list": {"name": SECRET}})), Some("/list")),
        ("", text(json!({"list": [{"Name": SECRET}]})), None),
        ("", text(json!({"body": {"patient": {"email": SECRET}}, "x": 1})), None),
        ("", text(json!([{"json": {"patient": {"email": SECRET}}}])), None),
        ("", text(json!({"headers": {}, "query": {}, "extra": 1, "body": json!({"ssn": SECRET}).to_string()})), None),
        (
            "",
            text(json!({"headers": {"ssn": SECRET}, "query": {"patient": {"email": SECRET}}, "body": {}, "z": 1})),
            None,
        ),
        ("", text(json!({"z": 1, "items": [{"json": {"ssn": SECRET}}]})), None),
        ("", text(json!({"z": 1, "data": format!("\u{feff}{}", json!({"ssn": SECRET}))})), None),
        (FORM, format!("patient[7][email]={}&patient[b]=1", SECRET.replace('+', "%2B")), None),
        ("", format!(r#"{{"p\u0061tient": {{"\u0065mail": "{SECRET}"}}}}"#), None),
        ("", format!(r#"{{"ssn": "a", "ssn": "{SECRET}"}}"#), Some("")),
        (FORM, format!("patient[email]={}", SECRET.replace('+', "%2B")), None),
        (FORM, format!("patient%5BEmail%5D={}", SECRET.replace('+', "%2B")), None),
        (FORM, format!("patient={}", SECRET.replace('+', "%2B")), Some("/patient")),
        (FORM, format!("patient[]={0}&ssn[]={0}&patient.email={0}", SECRET.replace('+', "%2B")), Some("/patient")),
    ];
    for (content_type, body, whole) in cases {
        let content_type = if content_type.is_empty() { "application/json" } else { content_type };
        let reply = server.send("POST", "/v1/hooks/guest", &[("content-type", content_type)], body.as_bytes());
        assert!(!reply.text.contains(SECRET), "{body}: {}", reply.text);
        let url = format!("/v1/events/{}", reply.header("x-event-id"));
        let event = server.get(&url).expect(200).json();
        assert!(!event.to_string().contains(SECRET), "{body}: {event}");
        let told = event["redacted"].as_array().unwrap_or_else(|| panic!("{body}: {event}"));
        assert!(!told.is_empty() && whole.is_none_or(|it| told.contains(&json!(it))), "{body}: {event}");
        let raw = server.get(&format!("{url}/raw"));
        assert!(!raw.text.contains(SECRET), "{body}: {}", raw.text);
    }
    let part = format!("--x\r\ncontent-disposition: form-data; name=\"patient[email]\"\r\n\r\n{SECRET}\r\n--x--\r\n");
    server
        .send("POST", "/v1/hooks/guest", &[("content-type", "multipart/form-data; boundary=x")], part.as_bytes())
        .expect(200);
    let log = server.stop();
    assert!(log.contains("replaced as a whole") && !log.contains(SECRET), "{log}");
    assert!(holds(&setup.data, "[redacted]") && !holds(&setup.data, SECRET));
}

#[test]
fn a_decoy_at_the_top_does_not_end_the_search_in_wrappers() {
    // A sender who adds `"patient": null` to a wrapped payload would have the rest stored in clear text.
    let setup = any(r#"["/patient/email", "/ssn"]"#, "");
    // The schema knows the names, so that decoding takes no wrapper off.
    let schema =
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {"patient": {}, "ssn": {}}});
    std::fs::write(setup.plugins.join("guest/input.schema.json"), schema.to_string()).unwrap();
    let server = setup.start();
    let mut clear = Vec::new();
    for sent in [
        json!({"patient": null, "data": {"patient": {"email": SECRET}}}),
        json!({"patient": {"email": "a"}, "data": {"patient": {"email": SECRET}}}),
        json!({"patient": {"mail": "a"}, "body": json!({"patient": {"email": SECRET}}).to_string()}),
        json!({"patient": {"email": SECRET}, "data": {"patient": null}}),
        json!({"ssn": 1, "data": {"patient": null}, "payload": {"patient": {"email": SECRET}}}),
        json!({"ssn": 1, "data": {"ssn": "a", "payload": {"ssn": SECRET}}}),
        json!({"ssn": null, "json": [{"ssn": null}, {"ssn": SECRET}]}),
    ] {
        let reply = server.post("/v1/hooks/guest", &sent).expect(200);
        let event = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
        assert!(event["redacted"].is_array() || event.to_string().contains(SECRET), "{sent}: {event}");
        if event.to_string().contains(SECRET) {
            clear.push(sent);
        }
    }
    assert_eq!(clear, Vec::<Value>::new(), "stored in clear text");
    drop(server);
    assert!(holds(&setup.data, "[redacted]") && !holds(&setup.data, SECRET));
}

#[test]
fn redaction_leaves_what_it_does_not_name() {
    let setup = any(r#"["/patient/email", "/items/*/name"]"#, "");
    let server = setup.start();
    let sent = json!({
        "patient": {"emails": "a", "name": "b", "contact": {"email": "c"}, "email": null}, "email": "d",
        "items": [{"names": "e"}, null], "data": "text", "patients": 7,
    });
    let reply = server.post("/v1/hooks/guest", &sent).expect(200);
    let event = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
    assert_eq!(event["payload"], sent);
    assert_eq!(event.get("redacted"), None);
}

#[test]
fn a_value_that_could_be_replaced_as_a_whole_cannot_name_a_delivery() {
    // All deliveries of a sender with a text there would have the same id, and all but the first would be dropped.
    let setup = any(r#"["/patient/email"]"#, "[auth]\nscheme = \"api-key\"\n[dedupe]\npointer = \"/patient\"\n");
    let out = harness::binary().args(["plugin", "check"]).arg(setup.plugins.join("guest")).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(told.contains("redact: a delivery is identified by a value that would be replaced"), "{told}");
}

#[test]
fn a_shape_that_the_schema_refuses_is_a_violation_after_redaction_as_well() {
    let setup = any(r#"["/patient/email"]"#, "");
    let schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {
        "patient": {"type": "object", "properties": {"email": {"pattern": "@"}}},
    }});
    std::fs::write(setup.plugins.join("guest/input.schema.json"), schema.to_string()).unwrap();
    let server = setup.start();
    server.post("/v1/hooks/guest", &json!({"patient": {"email": SECRET}})).expect(200);
    let reply = server.post("/v1/hooks/guest", &json!({ "patient": SECRET })).expect(422);
    assert!(reply.message().contains("patient") && !reply.text.contains(SECRET), "{}", reply.text);
}

/// The stored payload is JSON, though the sender's file says that its bodies are XML: otherwise every queued delivery fails
/// after its acknowledgement, and so does every replay.
#[test]
fn a_redacted_delivery_in_xml_is_mapped_later_and_replayed() {
    let secret = "a-secret-in-the-url-0123456789";
    let manifest = "mode = \"async\"\nredact = [\"/Envelope/Body/notifications/SessionId\"]\n[auth]\nsender = \"salesforce\"\nsecret = \"IN_URL\"\n";
    let setup = Setup::new().plugin("guest", manifest, &says(&task().to_string())).env("IN_URL", secret);
    let server = setup.start();
    let xml = "<soapenv:Envelope xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body><notifications xmlns=\"http://soap.sforce.com/2005/09/outbound\"><SessionId>hidden-session</SessionId><Notification><Id>04l1</Id></Notification></notifications></soapenv:Body></soapenv:Envelope>";
    let headers = [("content-type", "text/xml; charset=utf-8")];
    let reply = server.send_as("POST", &format!("/v1/hooks/guest/{secret}"), &headers, xml.as_bytes());
    assert!(reply.text.contains("Ack"), "{} {}", reply.status, reply.text);
    let path = format!("/v1/events/{}", reply.header("x-event-id"));
    harness::until("the queued delivery is processed", || server.get(&path).expect(200).json()["status"] != "queued");
    let event = server.get(&path).expect(200).json();
    assert_eq!(event["status"], "stored", "{event}");
    assert!(!event.to_string().contains("hidden-session"), "{event}");
    assert_eq!(event["payload"]["Envelope"]["Body"]["notifications"]["Notification"]["Id"], "04l1");
    let replayed = server.post(&format!("{path}/replay"), &json!({"tasks": "update"})).expect(200).json();
    assert_eq!((&replayed["status"], &replayed["updated"]), (&json!("stored"), &json!(1)));
}
