//! Forms with files, through the real server.

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness::{KEY, Reply, Server, Setup, task};

const PDF: &[u8] = b"%PDF-1.7\r\n\x00\xff--XX not a boundary\r\n--X";

fn open(manifest: &str) -> Setup {
    Setup::new().plugin("guest", manifest, &says(&task().to_string()))
}

/// A form of parts: headers after the first one, and content.
fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (headers, content) in parts {
        body.extend_from_slice(format!("--XX\r\nContent-Disposition: form-data; {headers}\r\n\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--XX--\r\n");
    body
}

fn send(server: &Server, content_type: &str, body: &[u8]) -> Reply {
    server.send("POST", "/v1/hooks/guest", &[("content-type", content_type)], body)
}

fn payload(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()["payload"].clone()
}

/// Reads what a file route answers, as bytes.
fn file(server: &Server, reply: &Reply, number: &str) -> (u16, String, Vec<u8>) {
    let path = format!("/v1/events/{}/files/{number}", reply.header("x-event-id"));
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {}\r\nconnection: close\r\n\r\n", KEY);
    let answer = server.raw_bytes(request.as_bytes());
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[end + 4..].to_vec())
}

/// Otherwise a sender whose content type is not as the RFC says loses every delivery.
#[test]
fn only_the_boundary_matters() {
    let server = open("").start();
    let plain = String::from_utf8(form(&[("name=\"title\"", b"t")])).unwrap();
    for (content_type, boundary, loosened) in [
        ("multipart/form-data; boundary=----=_Part_7_1.2", "----=_Part_7_1.2", ""),
        ("multipart/form-data; boundary=XX ; charset=utf-8", "XX", ""),
        ("multipart/form-data; boundary=\"a b\"", "a b", ""),
        ("Multipart/Form-Data; BOUNDARY=XX", "XX", ""),
        ("multipart/mixed; boundary=XX", "XX", ""),
        ("multipart/form-data", "XX", "content-type"),
        ("text/plain", "XX", "content-type"),
        ("application/json", "XX", "content-type"),
        ("multipart/form-data; boundary=other", "XX", "content-type"),
    ] {
        let body = plain.replace("--XX", &format!("--{boundary}"));
        let reply = send(&server, content_type, body.as_bytes()).expect(201);
        assert_eq!(reply.header("x-loosened"), loosened, "{content_type}");
        assert_eq!(payload(&server, &reply), json!({"title": "t"}), "{content_type}");
    }
    let cut = plain.replace("--XX--", "");
    assert_eq!(send(&server, "multipart/form-data; boundary=XX", cut.as_bytes()).expect(400).code(), "malformed_form");
}

/// Otherwise an email in Latin 1 is lost as a whole, or its umlauts are.
#[test]
fn a_part_is_read_in_its_charset_and_its_transfer_encoding() {
    let server = open("").start();
    for (parts, name, text) in [
        (vec![("name=\"text\"\r\nContent-Type: text/plain; charset=iso-8859-1", &b"\xe9"[..])], "text", "é"),
        (vec![("name=\"charsets\"", b"{\"text\":\"windows-1252\"}"), ("name=\"text\"", b"\x80")], "text", "€"),
        (vec![("name=\"text\"", b"\xe9"), ("name=\"_charset_\"", b"iso-8859-1")], "text", "é"),
        (vec![("name=\"text\"\r\nContent-Transfer-Encoding: base64", b"w6k=")], "text", "é"),
        (vec![("name=\"text\"\r\nContent-Transfer-Encoding: quoted-printable", b"=C3=A9=\r\n!")], "text", "é!"),
        (vec![("name=\"text\"\r\nContent-Type: text/plain; charset=us-ascii", "é".as_bytes())], "text", "é"),
        (vec![("name=\"text\"\r\nContent-Type: text/plain; charset=US-ASCII", b"\xe9")], "text", "é"),
        (vec![("name=\"text\"\r\nContent-Type: text/plain; charset=utf-16", b"\xff\xfee\0")], "text", "e"),
        (vec![("name=\"text\"", "\u{feff}é".as_bytes())], "text", "é"),
        (vec![("name=\"text\"\r\nContent-Type: text/plain; charset=unknown-8bit", "é".as_bytes())], "text", "é"),
        (vec![("name=\"a[1][b]\"", b"1"), ("name=\"a[1][c]\"", b"2")], "a", "1"),
    ] {
        let reply = send(&server, "multipart/form-data; boundary=XX", &form(&parts)).expect(201);
        let payload = payload(&server, &reply);
        let found = if payload[name].is_array() { &payload[name][0]["b"] } else { &payload[name] };
        assert_eq!(found, text, "{payload}");
        let is_named = ["ascii", "unknown"].iter().any(|it| parts[0].0.to_lowercase().contains(it));
        assert_eq!(reply.header("x-loosened"), if is_named { "charset" } else { "" }, "{payload}");
    }
    let body = form(&[("name=\"text\"", b"\xe9")]);
    assert_eq!(send(&server, "multipart/form-data; boundary=XX", &body).expect(400).code(), "not_utf8");
}

/// Otherwise every field is lost without a word: a body with a byte order mark was an empty payload.
#[test]
fn what_is_before_the_first_boundary_is_named_or_refused() {
    let server = open("").start();
    let plain = form(&[("name=\"title\"", b"t")]);
    for (before, content_type, loosened) in [
        (&b"\xef\xbb\xbf"[..], "multipart/form-data; boundary=XX", ""),
        (b"\xef\xbb\xbf", "text/plain", "content-type"),
        (b"\r\n", "multipart/form-data; boundary=XX", ""),
        (b"This is a multi-part message.\r\n", "multipart/form-data; boundary=XX", "preamble"),
    ] {
        let reply = send(&server, content_type, &[before, &plain].concat()).expect(201);
        assert_eq!(payload(&server, &reply), json!({"title": "t"}), "{loosened}");
        assert_eq!(reply.header("x-loosened"), loosened);
    }
    for body in [[&b"x"[..], &plain].concat(), b"title=t\r\n--XX--".to_vec()] {
        let reply = send(&server, "multipart/form-data; boundary=XX", &body).expect(400);
        assert_eq!(reply.code(), "malformed_form", "{}", reply.text);
    }
    let twice = [&plain[..], &form(&[("name=\"description\"", b"lost")])].concat();
    let reply = send(&server, "multipart/form-data; boundary=XX", &twice).expect(201);
    assert_eq!(reply.header("x-loosened"), "epilogue");
}

/// Otherwise a PDF is taken for text and refused, or JSON for a file and lost.
#[test]
fn a_file_is_recognised_by_its_name_and_type() {
    let server = open("").start();
    for (headers, content, is_file, loosened) in [
        ("name=\"f\"; filename*=utf-8''R.pdf", PDF, true, ""),
        ("name=\"f\"\r\nContent-Type: application/octet-stream", PDF, true, ""),
        ("name=\"f\"\r\nContent-Type: application/pdf", PDF, true, ""),
        ("name=\"f\"; filename=\"R.pdf\"\r\nContent-Type: text/plain", b"text", true, ""),
        ("name=\"f\"; filename=\"blob\"\r\nContent-Type: application/octet-stream", PDF, true, ""),
        ("name=\"f\"; filename=\"blob\"\r\nContent-Type: application/json", b"{\"a\":1}", false, "file"),
        ("name=\"f\"; filename=\"r.json\"\r\nContent-Type: application/json", b"{\"a\":1}", false, "file"),
        ("name=\"f\"\r\nContent-Type: application/json", b"{\"a\":1}", false, ""),
    ] {
        let body = form(&[("name=\"title\"", b"t"), (headers, content)]);
        let reply = send(&server, "multipart/form-data; boundary=XX", &body).expect(201);
        assert_eq!(reply.header("x-loosened"), loosened, "{headers}");
        let found = payload(&server, &reply)["f"].clone();
        let expected = if is_file { json!(content.len()) } else { json!(1) };
        assert_eq!(found[if is_file { "size" } else { "a" }], expected, "{headers}: {found}");
    }
    // The only field: an object is the payload, as in `payload={…}`, and anything else is the field's value.
    for (json, expected) in [("{\"a\":1}", json!({"a": 1})), ("[\"a\"]", json!({"f": ["a"]})), ("7", json!({"f": 7}))] {
        let body = form(&[("name=\"f\"\r\nContent-Type: application/json", json.as_bytes())]);
        let reply = send(&server, "multipart/form-data; boundary=XX", &body).expect(201);
        assert_eq!(payload(&server, &reply), expected);
    }
    let body = form(&[("name=\"note\"; filename=\"blob\"\r\nContent-Type: text/plain", b"hi"), ("name=\"x\"", b"1")]);
    let reply = send(&server, "multipart/form-data; boundary=XX", &body).expect(201);
    assert_eq!((payload(&server, &reply)["note"].clone(), reply.header("x-loosened")), (json!("hi"), "file"));
    // A file input in which nothing was chosen.
    let body =
        form(&[("name=\"f\"; filename=\"\"\r\nContent-Type: application/octet-stream", b""), ("name=\"x\"", b"1")]);
    assert_eq!(
        payload(&server, &send(&server, "multipart/form-data; boundary=XX", &body).expect(201)),
        json!({"x": "1"})
    );
    // A text that was sent as a file.
    let body = form(&[("name=\"title\"; filename=\"t.txt\"\r\nContent-Type: text/plain", b"t")]);
    let reply =
        server.send("POST", "/v1/tasks", &[("content-type", "multipart/form-data; boundary=XX")], &body).expect(422);
    assert!(reply.text.contains("title: was sent as a file"), "{}", reply.text);
}

/// Otherwise the fax itself is dropped, and nobody can fetch it.
#[test]
fn files_are_kept_and_can_be_fetched_by_an_admin() {
    let setup = open("");
    let server = setup.start();
    let reader = setup.key("company-1", &["events:read"]);
    let other = setup.key("company-2", &["admin"]);
    let body = form(&[
        ("name=\"fax\"; filename=\"../R \u{e9}.pdf\"\r\nContent-Type: application/pdf", PDF),
        ("name=\"page\"; filename=\"1.png\"", b"\x89PNG"),
        ("name=\"page\"; filename=\"2.png\"\r\nContent-Transfer-Encoding: base64", b"AAEC"),
    ]);
    let reply = send(&server, "multipart/form-data; boundary=XX", &body).expect(201);
    let payload = payload(&server, &reply);
    assert_eq!(payload["fax"]["file"], 0);
    assert_eq!((&payload["fax"]["type"], &payload["fax"]["size"]), (&json!("application/pdf"), &json!(PDF.len())));
    assert_eq!(payload["fax"]["sha256"].as_str().unwrap().len(), 64);
    assert_eq!((&payload["page"][0]["file"], &payload["page"][1]["file"]), (&json!(1), &json!(2)), "{payload}");
    let (status, head, bytes) = file(&server, &reply, "0");
    assert_eq!((status, bytes.as_slice()), (200, PDF));
    for header in ["content-disposition: attachment; filename=\"r _.pdf\"", "nosniff", "application/octet-stream"] {
        assert!(head.contains(header), "{head}");
    }
    assert_eq!(file(&server, &reply, "2").2, [0, 1, 2]);
    let path = |number: &str| format!("/v1/events/{}/files/{number}", reply.header("x-event-id"));
    for number in ["3", "-1", "x"] {
        server.get(&path(number)).expect(404);
    }
    server.send_as("GET", &path("0"), &[("x-api-key", &reader)], b"").expect(403);
    server.send_as("GET", &path("0"), &[("x-api-key", &other)], b"").expect(404);
    let audit = server.get("/v1/admin/audit").expect(200).text;
    assert!(audit.matches("event.read").count() > 2 && audit.contains(reply.header("x-event-id")), "{audit}");
}

/// Otherwise an integration that redacts a name loses the fax, or keeps what must not be stored.
#[test]
fn redaction_keeps_files_unless_their_place_is_redacted() {
    let body = form(&[
        ("name=\"from\"", b"+353 SECRET"),
        ("name=\"fax\"; filename=\"R.pdf\"\r\nContent-Type: application/pdf", PDF),
        ("name=\"photo\"; filename=\"p.png\"", b"\x89PNG SECRET"),
    ]);
    let server = open("redact = [\"/from\", \"/photo\"]\n[auth]\nscheme = \"api-key\"\n").start();
    let reply = send(&server, "multipart/form-data; boundary=XX", &body).expect(201);
    let id = reply.header("x-event-id");
    let event = server.get(&format!("/v1/events/{id}")).expect(200).json();
    assert_eq!(event["redacted"], json!(["/from", "/photo"]));
    assert_eq!((&event["payload"]["from"], &event["payload"]["photo"]), (&json!("[redacted]"), &json!({})));
    assert!(!event["body"].as_str().unwrap().contains("SECRET"));
    let (status, head, bytes) = file(&server, &reply, "0");
    assert_eq!((status, bytes.as_slice()), (200, PDF), "{head}");
    assert!(head.contains("filename=\"r.pdf\""), "{head}");
    server.get(&format!("/v1/events/{id}/files/1")).expect(404);
    server.post(&format!("/v1/events/{id}/replay"), &json!({"tasks": "update"})).expect(200);
    // Without files, the body is JSON as before.
    let plain = server.post("/v1/hooks/guest", &json!({"from": "x"})).expect(201);
    let event = server.get(&format!("/v1/events/{}", plain.header("x-event-id"))).expect(200).json();
    assert_eq!(
        (&event["body"], &event["content_type"]),
        (&json!("{\"from\":\"[redacted]\"}"), &json!("application/json"))
    );
}

/// Otherwise a form with n8n's binary field `data` becomes the description of its file, or loses it.
#[test]
fn a_file_is_no_part_of_a_wrapper() {
    let server = open("redact = [\"/x\"]\n[auth]\nscheme = \"api-key\"\n").start();
    let pdf = "filename=\"R.pdf\"\r\nContent-Type: application/pdf";
    let json = "name=\"json\"\r\nContent-Type: application/json";
    for (parts, name) in [
        (vec![(format!("name=\"data\"; {pdf}"), PDF)], "data"),
        (vec![(json.to_owned(), &b"{\"a\":1}"[..]), (format!("name=\"binary\"; {pdf}"), PDF)], "binary"),
    ] {
        let parts: Vec<_> = parts.iter().map(|(headers, content)| (headers.as_str(), *content)).collect();
        let reply = send(&server, "multipart/form-data; boundary=XX", &form(&parts)).expect(201);
        assert_eq!(payload(&server, &reply)[name]["size"], PDF.len(), "{name}");
        assert_eq!(file(&server, &reply, "0").2, PDF, "{name}");
    }
}

/// Otherwise what must not be stored is stored as a file, if the sender puts a file where its object was.
#[test]
fn a_file_in_place_of_an_object_that_is_redacted_is_not_stored() {
    let pdf = "filename=\"p.json\"\r\nContent-Type: text/plain";
    let body = form(&[
        (&format!("name=\"patient\"; {pdf}"), b"{\"ssn\": \"SECRET\"}"),
        (&format!("name=\"items[0]\"; {pdf}"), b"SECRET"),
        (&format!("name=\"deep[card][number]\"; {pdf}"), b"SECRET"),
        (&format!("name=\"fax\"; {pdf}"), b"kept"),
    ]);
    let redact = "redact = [\"/patient/ssn\", \"/items/*/name\", \"/deep/card\"]\n[auth]\nscheme = \"api-key\"\n";
    let server = open(redact).start();
    let reply = send(&server, "multipart/form-data; boundary=XX", &body).expect(201);
    let event = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
    assert_eq!(event["redacted"], json!(["/deep/card", "/patient", "/items/*"]), "{event}");
    assert!(!event["body"].as_str().unwrap().contains("SECRET"), "{event}");
    assert_eq!(file(&server, &reply, "3").2, b"kept");
    for number in ["0", "1", "2"] {
        assert_eq!(file(&server, &reply, number).0, 404, "{number}");
    }
}

/// Otherwise a fax of more than a megabyte cannot be received without opening the whole server for it.
#[test]
fn an_integration_sets_its_own_body_limit() {
    let large = vec![b'x'; 5 << 20];
    let body = form(&[("name=\"fax\"; filename=\"R.pdf\"\r\nContent-Type: application/pdf", large.as_slice())]);
    let server = open("[limits]\nbody_mib = 8\n").plugin("small", "", &says(&task().to_string())).start();
    let content_type = [("content-type", "multipart/form-data; boundary=XX")];
    let reply = server.send("POST", "/v1/hooks/guest", &content_type, &body).expect(201);
    assert_eq!(file(&server, &reply, "0").2.len(), large.len());
    server.send("POST", "/v1/hooks/small", &content_type, &body).expect(413);
    let mut larger = body.clone();
    larger.resize(9 << 20, b' ');
    server.send("POST", "/v1/hooks/guest", &content_type, &larger).expect(413);
    let tight = open("[limits]\nbody_mib = 1\n").config("[limits]\nbody_bytes = 4194304\n").start();
    tight.send("POST", "/v1/hooks/guest", &content_type, &body[..3 << 20]).expect(413);
}

/// Otherwise a sender writes what only the server writes: a body whose file has any name, size and digest.
#[test]
fn a_sender_s_body_is_never_read_as_a_stored_one() {
    let server = Setup::new().plugin("guest", "", &says(&task().to_string())).start();
    let forged = "--hookmill-x\r\nContent-Type: application/json\r\n\r\n{\"doc\":{\"name\":\"a.pdf\",\"type\":\"application/pdf\",\"size\":1,\"sha256\":\"00\",\"file\":0}}\r\n--hookmill-x\r\n\r\nother\r\n--hookmill-x--\r\n";
    let kind = [("content-type", "multipart/related; boundary=hookmill-x; type=\"application/json\"")];
    let reply = server.send("POST", "/v1/hooks/guest", &kind, forged.as_bytes());
    let event = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
    assert_eq!(event["payload"].pointer("/doc/sha256"), None, "{event}");
}
