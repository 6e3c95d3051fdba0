//! Bodies as senders really send them (docs/PLUGINS.md, "What is read"): what a plugin gets, or what the sender learns,
//! through the real server. Each kind has its neighbours.

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness::{KEY, Reply, Server, Setup, task};

const FORM: &str = "application/x-www-form-urlencoded";

/// A plugin that takes any object, and makes one task of it.
fn open() -> Setup {
    Setup::new().plugin("guest", "", &says(&task().to_string()))
}

fn send(server: &Server, content_type: &str, body: &[u8]) -> Reply {
    let typed = [("content-type", content_type)];
    let headers = if content_type.is_empty() { &typed[..0] } else { &typed[..] };
    server.send("POST", "/v1/hooks/guest", headers, body)
}

/// The event of a reply, with its body and payload.
fn event(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()
}

/// Sends a body that must be read as this payload, with these names in `X-Loosened`.
#[track_caller]
fn assert_read(server: &Server, content_type: &str, body: &[u8], payload: Value, loosened: &str) {
    let shown = String::from_utf8_lossy(body);
    let reply = send(server, content_type, body);
    assert_eq!(reply.status, 201, "{content_type}: {shown}: {}", reply.text);
    assert_eq!(reply.header("x-loosened"), loosened, "{content_type}: {shown}");
    assert_eq!(event(server, &reply)["payload"], payload, "{content_type}: {shown}");
}

/// Sends a body that must be refused with this status and code; its event keeps the body.
#[track_caller]
fn assert_refused(server: &Server, content_type: &str, body: &[u8], status: u16, code: &str, part: &str) {
    let shown = String::from_utf8_lossy(body);
    let reply = send(server, content_type, body);
    assert_eq!((reply.status, reply.code().as_str()), (status, code), "{content_type}: {shown}: {}", reply.text);
    assert!(reply.text.contains(part), "{part}: {}", reply.text);
    let event = event(server, &reply);
    assert_eq!((&event["status"], &event["body_bytes"]), (&json!("quarantined"), &json!(body.len())), "{shown}");
}

/// Otherwise members next to a field named `data` are lost, or a text that begins with a bracket is refused.
#[test]
fn only_a_wrapper_that_holds_nothing_else_is_removed() {
    let server = open().start();
    for (body, payload, loosened) in [
        (r#"{"subject":"Lead","priority":"high","data":{"title":"Dr."}}"#, None, ""),
        (r#"{"id":"evt_1","object":"event","data":{"object":{"id":1}}}"#, None, ""),
        (r#"{"eventId":"e","data":{"fields":[]}}"#, None, ""),
        (r#"{"subject":"s","body":"[EXTERNAL] x"}"#, None, ""),
        (r#"{"body":"[EXTERNAL] x"}"#, None, ""),
        (r#"{"data":"{call back}"}"#, None, ""),
        (r#"{"body":"[1,2]"}"#, None, ""),
        (r#"{"body":"[{\"a\":1},{\"a\":2}]"}"#, None, ""),
        (r#"{"body":"[{\"title\":\"t\"}]"}"#, Some(json!({"title": "t"})), "envelope"),
        (r#"{"data":{"title":"t"}}"#, Some(json!({"title": "t"})), "envelope"),
        (r#"[{"json":{"title":"t"},"pairedItem":{"item":0}}]"#, Some(json!({"title": "t"})), "envelope"),
        (
            r#"{"headers":{},"params":{},"query":{},"body":{"title":"t"},"webhookUrl":"u","executionMode":"test"}"#,
            Some(json!({"title": "t"})),
            "envelope",
        ),
        (r#"{"body":"{\"title\":\"t\"}"}"#, Some(json!({"title": "t"})), "envelope"),
    ] {
        let payload = payload.unwrap_or_else(|| serde_json::from_str(body).unwrap());
        assert_read(&server, "application/json", body.as_bytes(), payload, loosened);
    }
}

/// Otherwise the ids that n8n puts next to a payload neither deduplicate nor order, and every retry creates a task.
#[test]
fn ids_are_read_before_and_after_wrappers_are_removed() {
    for (pointer, body) in [
        ("/query/id", r#"{"headers":{},"query":{"id":"7"},"body":{"title":"t"}}"#),
        ("/body/id", r#"{"headers":{},"query":{},"body":{"id":7}}"#),
        ("/id", r#"{"data":{"id":7}}"#),
        ("/data/id", r#"{"data":{"id":7}}"#),
    ] {
        for more in ["", "redact = [\"/email\"]\n"] {
            let manifest = format!("{more}[auth]\nscheme = \"api-key\"\n[dedupe]\npointer = \"{pointer}\"\n");
            let server = Setup::new().plugin("guest", &manifest, &says(&task().to_string())).start();
            let first = send(&server, "application/json", body.as_bytes()).expect(201);
            let again = send(&server, "application/json", body.as_bytes()).expect(200);
            assert_eq!(first.json()["id"], again.json()["id"], "{pointer} {more}");
        }
    }
}

/// Otherwise the fields of one object become several, and a name is stored with a replacement character.
#[test]
fn forms_keep_their_structure_and_their_charset() {
    let server = open().start();
    for (charset, body, payload) in [
        ("", &b"a[1][b]=1&a[1][c]=2"[..], json!({"a": [{"b": "1", "c": "2"}]})),
        ("", b"a[9][b]=2&a[3][b]=1&a[9][c]=3", json!({"a": [{"b": "1"}, {"b": "2", "c": "3"}]})),
        ("", b"a%5B%5D=1&a%5B%5D=2&b[][0]=3", json!({"a": ["1", "2"], "b": ["3"]})),
        ("; charset=windows-1252", b"title=%E9", json!({"title": "é"})),
        ("; charset=ISO-8859-15", b"title=%A4", json!({"title": "€"})),
        ("", b"_charset_=windows-1252&title=%80", json!({"_charset_": "windows-1252", "title": "€"})),
        ("; charset=UTF-8", b"title=%C3%A9", json!({"title": "é"})),
    ] {
        assert_read(&server, &format!("{FORM}{charset}"), body, payload, "");
    }
    let typed = "text/plain; charset=windows-1252";
    assert_read(&server, typed, b"title=%E9", json!({"title": "\u{e9}"}), "content-type");
    // Software that names ASCII by default sends UTF-8 all the same.
    let read = json!({"title": "é"});
    assert_read(&server, &format!("{FORM}; charset=us-ascii"), b"title=%C3%A9", read.clone(), "charset");
    assert_read(&server, &format!("{FORM}; charset=us-ascii"), b"title=%E9", read.clone(), "charset");
    assert_read(&server, FORM, b"_charset_=ascii&title=e", json!({"_charset_": "ascii", "title": "e"}), "");
    assert_refused(&server, FORM, b"title=%E9", 400, "not_utf8", "charset=windows-1252");
    assert_refused(&server, &format!("{FORM}; charset=utf-7"), b"title=a", 400, "not_utf8", "utf-7");
}

/// Otherwise JSON of an older system is lost because of one umlaut.
#[test]
fn json_is_read_in_its_charset() {
    let server = open().start();
    let text = r#"{"title":"é"}"#;
    let wide = |swap: bool| -> Vec<u8> {
        text.encode_utf16().flat_map(|it| if swap { it.to_be_bytes() } else { it.to_le_bytes() }).collect()
    };
    let json = json!({"title": "é"});
    assert_read(&server, "application/json", &[&b"\xff\xfe"[..], &wide(false)].concat(), json.clone(), "charset");
    assert_read(&server, "application/json", &[&b"\xfe\xff"[..], &wide(true)].concat(), json.clone(), "charset");
    assert_read(&server, "application/json; charset=utf-16", &wide(false), json.clone(), "charset");
    let latin = b"{\"title\":\"\xe9\"}";
    assert_read(&server, "application/json; charset=iso-8859-1", latin, json.clone(), "charset");
    assert_read(&server, "application/json; charset=iso-8859-1", text.as_bytes(), json.clone(), "");
    assert_read(&server, "application/json", &[&b"\xef\xbb\xbf"[..], text.as_bytes()].concat(), json, "");
    assert_refused(&server, "application/json", latin, 400, "not_utf8", "charset");
}

/// Otherwise a form that a script sends with curl's, fetch's or a proxy's content type is lost.
#[test]
fn a_body_with_another_content_type_is_read() {
    let server = open().start();
    let form = json!({"title": "a", "b": ["c"]});
    for content_type in ["text/plain", "application/json", "application/octet-stream", ""] {
        assert_read(&server, content_type, b"title=a&b[]=c", form.clone(), "content-type");
    }
    for content_type in ["text/plain", FORM, "image/png"] {
        assert_read(&server, content_type, b"{\"title\":\"a\"}", json!({"title": "a"}), "content-type");
    }
    for name in ["%7B%22title%22%3A%22x%22%7D=", "%7B%22title%22%3A%22x%22%7D", "{\"title\":\"x\"}="] {
        assert_read(&server, FORM, name.as_bytes(), json!({"title": "x"}), "content-type");
    }
    assert_read(&server, FORM, b"%7B%22title%22%3A%22a=b&c%22%7D=", json!({"title": "a=b&c"}), "content-type");
    assert_refused(&server, FORM, b"%7B%22t%22%3A%22a=&b%22%7D=", 400, "malformed_form", "application/json");
    assert_read(&server, FORM, b"payload=%7B%22id%22%3A1%7D", json!({"id": 1}), "envelope");
    let both = json!({"payload": "{\"id\":1}", "token": "x"});
    assert_read(&server, FORM, b"payload=%7B%22id%22%3A1%7D&token=x", both, "");
    assert_refused(&server, "text/plain", b"call back", 415, "unsupported_media_type", "application/json");
}

/// Otherwise a proxy that adds a header loses every delivery.
#[test]
fn a_content_type_that_is_sent_twice_is_read() {
    let server = open().start();
    for (types, body, payload) in [
        ([FORM, FORM], "title=a", json!({"title": "a"})),
        (["application/json", FORM], "title=a", json!({"title": "a"})),
        (["application/json", FORM], "{\"title\":\"a\"}", json!({"title": "a"})),
        (["application/json", "application/json"], "{\"title\":\"a\"}", json!({"title": "a"})),
        (["text/plain", "application/json"], "{\"title\":\"a\"}", json!({"title": "a"})),
    ] {
        let headers = types.map(|it| ("content-type", it));
        let reply = server.send("POST", "/v1/hooks/guest", &headers, body.as_bytes()).expect(201);
        assert_eq!(reply.header("x-loosened"), "content-type", "{types:?} {body}");
        assert_eq!(event(&server, &reply)["payload"], payload, "{types:?} {body}");
    }
    let twice = ["text/plain", "application/json"].map(|it| ("content-type", it));
    server.send("POST", "/v1/tasks", &twice, task().to_string().as_bytes()).expect(400);
}

/// Otherwise half of an emoji loses the whole delivery.
#[test]
fn half_of_a_surrogate_pair_is_replaced_and_named() {
    let server = open().start();
    let body = br#"{"title":"t","x":"\ud83d"}"#;
    assert_read(&server, "application/json", body, json!({"title": "t", "x": "\u{fffd}"}), "surrogate");
    assert_read(&server, "application/json", br#"{"\ude00":"\ud83d\ude00"}"#, json!({"\u{fffd}": "😀"}), "surrogate");
    assert_read(&server, "text/plain", br#"{"x":"\ud83dx"}"#, json!({"x": "\u{fffd}x"}), "content-type,surrogate");
    let mut sent = task().to_string();
    sent = sent.replace("Refill", "\\ud83d");
    let reply = server.send("POST", "/v1/tasks", &[("content-type", "application/json")], sent.as_bytes()).expect(201);
    assert_eq!((reply.header("x-loosened"), &reply.json()["title"]), ("surrogate", &json!("\u{fffd} request")));
}

/// Otherwise an id becomes that of another patient.
#[test]
fn a_number_is_exact_or_refused() {
    let server = Setup::with_shipped_plugins().start();
    let json = [("content-type", "application/json")];
    for (number, expected) in [
        ("9007199254740993", "9007199254740993"),
        ("1234567890.123456789", "1234567890.123456789"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("-9007199254740993", "-9007199254740993"),
        ("4711", "4711"),
    ] {
        let body = format!("{{\"title\":\"t \\\" 9007199254740993\",\"patient_id\":{number}}}");
        let reply = server.send("POST", "/v1/hooks/n8n-intake", &json, body.as_bytes()).expect(201);
        assert_eq!(reply.json()["patient_id"], expected);
        assert_eq!(reply.json()["title"], "t \" 9007199254740993");
        let body = task().to_string().replacen('{', &format!("{{\"patient_id\":{number},"), 1);
        let reply = server.send("POST", "/v1/tasks", &json, body.as_bytes()).expect(201);
        assert_eq!(reply.json()["patient_id"], expected);
        let expected = if number.len() < 20 && !number.contains('.') { "patient_id" } else { "number" };
        assert_eq!(reply.header("x-loosened"), expected, "{number}");
    }
    // A plugin gets text in place of a number that it would get wrong.
    let server = open().start();
    for number in ["9007199254740993.0", "1234567890123456.7", "1e-400"] {
        let body = format!("{{\"n\":{number},\"m\":0.10000000000000001}}");
        assert_read(&server, "application/json", body.as_bytes(), json!({"n": number, "m": 0.1}), "number");
    }
    let body = task().to_string().replacen('{', "{\"patient_id\":1e30,", 1);
    let reply = server.send("POST", "/v1/tasks", &json, body.as_bytes()).expect(422);
    assert_eq!(reply.json()["errors"][0]["code"], "inexact_number");
}

/// Otherwise Salesforce cannot send anything, or a document reads the server's files.
#[test]
fn xml_is_an_object() {
    let server = open().start();
    let soap = br#"<?xml version="1.0"?><s:Envelope xmlns:s="u"><s:Body><n Id="1">x</n><n>y</n></s:Body></s:Envelope>"#;
    let payload = json!({"Envelope": {"Body": {"n": [{"@Id": "1", "#text": "x"}, "y"]}}});
    for content_type in ["text/xml; charset=UTF-8", "application/xml", "application/soap+xml"] {
        assert_read(&server, content_type, soap, payload.clone(), "");
    }
    assert_read(&server, "text/plain", soap, payload, "content-type");
    let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a><b>\xe9</b></a>";
    assert_read(&server, "application/xml", latin, json!({"a": {"b": "é"}}), "");
    let entity = b"<!DOCTYPE a [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><a>&e;</a>";
    assert_refused(&server, "application/xml", entity, 400, "malformed_xml", "DTD");
    assert_refused(&server, "application/xml", b"<a><b></a>", 400, "malformed_xml", "");
    assert_refused(&server, "text/html", b"<html><p>x</html>", 415, "unsupported_media_type", "");
}

/// Otherwise a sender reads "not UTF-8 at byte offset 0", or nothing at all, and does not know what to do.
#[test]
fn what_cannot_be_read_is_named_with_what_to_do() {
    let server = open().start();
    for (body, what) in [
        (&b"\x89PNG\r\n\x1a\n\0\0"[..], "a PNG image"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "a PDF file"),
        (b"%PDF-1.4 text", "a PDF file"),
        (b"PK\x03\x04\x14\0\xff", "a ZIP archive"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "Content-Encoding: gzip"),
    ] {
        for content_type in ["application/octet-stream", "application/json", FORM, ""] {
            assert_refused(&server, content_type, body, 415, "unsupported_media_type", what);
        }
    }
    assert_refused(&server, "application/json", b"", 400, "empty_body", "Send Body");
    assert_refused(&server, "", b" \r\n", 400, "empty_body", "Send Body");
    let reply = server.send("POST", "/v1/hooks/guest?title=x", &[], b"").expect(400);
    assert_eq!(reply.code(), "empty_body");
    assert!(reply.text.contains("{{ $json.query }}"), "{}", reply.text);
    assert!(event(&server, &reply)["reason"]["message"].as_str().unwrap().contains("query"));
}

/// Otherwise a client that escapes more than it must gets 404.
#[test]
fn path_segments_are_decoded_once() {
    let server = open().start();
    server.send("POST", "/v1/hooks/gu%65st", &[], b"{\"a\":1}").expect(201);
    let head = format!("x-api-key: {KEY}\r\nhost: x\r\nconnection: close\r\ncontent-length: 7\r\n\r\n");
    let answer = server.raw(format!("POST /v1/%68ooks/g%75est HTTP/1.1\r\n{head}{{\"a\":1}}").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    for name in ["gu%2565st", "guest%2F", "guest%00", "%ff", "guest%zz"] {
        server.send("POST", &format!("/v1/hooks/{name}"), &[], b"{\"a\":1}").expect(404);
    }
}

/// Otherwise a plugin that was edited on Windows does not load, and the message does not say why.
#[test]
fn files_with_a_byte_order_mark_are_accepted() {
    let mark = |text: &str| format!("\u{feff}{text}");
    let setup = open().config(&mark("secrets_file = \"SECRETS\"\n"));
    let secrets = setup.data.with_file_name("secrets.toml");
    std::fs::write(&secrets, mark("URL_SECRET = \"a-secret-in-the-url-0123456789\"\n")).unwrap();
    let mut setup = setup;
    setup.config = setup.config.replace("SECRETS", secrets.to_str().unwrap());
    let setup = setup.plugin(
        "marked",
        "[auth]\nscheme = \"url-secret\"\nsecret = \"URL_SECRET\"\n",
        &says(&task().to_string()),
    );
    let folder = setup.plugins.join("marked");
    for file in ["plugin.toml", "input.schema.json"] {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        std::fs::write(folder.join(file), mark(&text)).unwrap();
    }
    std::fs::create_dir(folder.join("fixtures")).unwrap();
    let fixture =
        json!({"name": "n", "received_at": "2026-11-24T08:00:00Z", "payload": {}, "expect": {"tasks": [task()]}});
    std::fs::write(folder.join("fixtures/n.json"), mark(&fixture.to_string())).unwrap();
    let server = setup.start();
    server.send_as("POST", "/v1/hooks/marked/a-secret-in-the-url-0123456789", &[], b"{\"a\":1}").expect(201);
}

/// Otherwise a sender that writes null for what it does not know gets 422 from the shipped plugins.
#[test]
fn null_in_an_optional_field_of_a_shipped_plugin_is_no_value() {
    let fixture = |plugin: &str, name: &str| -> Value {
        let file = crate::harness::shipped_plugins().join(plugin).join("fixtures").join(name);
        serde_json::from_slice::<Value>(&std::fs::read(file).unwrap()).unwrap()["payload"].clone()
    };
    let server = crate::hooks::all_with_a_key().start();
    let mut booking = fixture("calendly", "created.json");
    for name in ["name", "email", "rescheduled", "cancellation", "questions_and_answers"] {
        booking["payload"][name] = Value::Null;
    }
    booking["created_by"] = Value::Null;
    booking["payload"]["scheduled_event"]["name"] = Value::Null;
    booking["payload"]["scheduled_event"]["end_time"] = Value::Null;
    let title = server.post("/v1/hooks/calendly", &booking).expect(201).json()["title"].clone();
    assert_eq!(title, "Prepare an appointment with an invitee");
    booking["payload"]["scheduled_event"] = Value::Null;
    server.post("/v1/hooks/calendly", &booking).expect(422);
    let mut fax = fixture("fax-inbound", "received.json");
    fax["meta"] = Value::Null;
    for name in ["from", "to", "page_count", "direction", "partial_content", "status", "user_id", "call_duration_secs"]
    {
        fax["data"]["payload"][name] = Value::Null;
    }
    let answer = server.post("/v1/hooks/fax-inbound", &fax).expect(201);
    assert!(answer.text.contains("Fax from an unknown number"), "{}", answer.text);
}
