//! Bodies with a content coding, through the real server.

use std::io::Write as _;

use serde_json::{Value, json};
use sha2::Sha256;

use crate::guests::says;
use crate::harness::{Reply, Server, Setup, task};

/// `{"title":"packed"}` in other codings than gzip, as Node.js writes them.
const BROTLI: &[u8] = b"\x8b\x08\x80\x7b\x22\x74\x69\x74\x6c\x65\x22\x3a\x22\x70\x61\x63\x6b\x65\x64\x22\x7d\x03";
/// `{"title":"packed"}` and 70,000 spaces. It begins with `[`, as every stream with more than 64 KiB does.
const LONG_BROTLI: &[u8] =
    b"[\x81\x11\x01\x40\xc0\x21\x47\xda\x2e\x98\x71\x09\xb5\x92\x12\x4d\x5e\x4b\x64\x4b\x8d\x5b\x40\x98\xd8\x53\x12\x02\x1a\x2e";
/// 3,000,000 spaces.
const BROTLI_BOMB: &[u8] = b"\x9b\xbf\xc6\x2d\xf8\x25\x40\xe2\xb1\x40\x20\xcf\xb7\x05";

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zlib(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn zstd(content: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest)
}

fn open() -> Setup {
    Setup::new().plugin("guest", "", &says(&task().to_string()))
}

fn send(server: &Server, coding: &str, body: &[u8]) -> Reply {
    let headers = [("content-type", "application/json"), ("content-encoding", coding)];
    server.send("POST", "/v1/hooks/guest", &headers, body)
}

fn event(server: &Server, reply: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json()
}

/// Otherwise every delivery of a sender that compresses is refused, or of one that says `utf-8` there.
#[test]
fn content_codings_are_removed_and_those_that_change_nothing_are_ignored() {
    let server = open().start();
    let plain = br#"{"title":"packed"}"#;
    let payload = json!({"title": "packed"});
    for (coding, body, loosened) in [
        ("gzip", gzip(plain), ""),
        ("X-GZIP", gzip(plain), ""),
        ("deflate", zlib(plain), ""),
        ("deflate", raw_deflate(plain), ""),
        ("br", BROTLI.to_vec(), ""),
        ("zstd", zstd(plain), ""),
        ("zstd, gzip", gzip(&zstd(plain)), ""),
        ("identity, gzip", gzip(plain), ""),
        ("gzip", [gzip(b"{\"title\":"), gzip(b"\"packed\"}")].concat(), ""),
        ("identity", plain.to_vec(), ""),
        ("utf-8", plain.to_vec(), "content-encoding"),
        ("UTF8", plain.to_vec(), "content-encoding"),
        ("none", plain.to_vec(), "content-encoding"),
        ("8bit", plain.to_vec(), "content-encoding"),
        ("binary, gzip", gzip(plain), "content-encoding"),
        ("\"gzip\"", gzip(plain), ""),
        // A proxy has decompressed the body.
        ("gzip", plain.to_vec(), "content-encoding"),
    ] {
        let reply = send(&server, coding, &body);
        assert_eq!(reply.status, 201, "{coding}: {}", reply.text);
        assert_eq!(reply.header("x-loosened"), loosened, "{coding}");
        let event = event(&server, &reply);
        assert_eq!((&event["payload"], &event["body"]), (&payload, &json!("{\"title\":\"packed\"}")), "{coding}");
        assert_eq!(event["body_bytes"], body.len(), "{coding}: not stored as sent");
        assert_eq!(event["headers"]["content-encoding"], coding);
        let replay = format!("/v1/events/{}/replay", reply.header("x-event-id"));
        server.post(&replay, &json!({"tasks": "update"})).expect(200);
    }
}

/// Otherwise a long body in brotli is taken for text because of its first byte, and refused; or text is decoded to
/// nothing, because `{` is how an empty stream begins.
#[test]
fn a_coding_is_removed_whatever_its_first_byte_looks_like() {
    let server = open().start();
    let plain = br#"{"title":"packed"}"#;
    for (coding, body, loosened) in [
        ("br", LONG_BROTLI, ""),
        ("br", plain, "content-encoding"),
        ("deflate", plain, "content-encoding"),
        ("zstd", plain, "content-encoding"),
        ("br", b"title=packed", "content-encoding"),
        ("deflate", b"title=packed", "content-encoding"),
    ] {
        let reply = send(&server, coding, body).expect(201);
        assert_eq!(event(&server, &reply)["payload"], json!({"title": "packed"}), "{coding}");
        let others = reply.header("x-loosened").split(',').filter(|it| *it != "content-type").collect::<Vec<_>>();
        assert_eq!(others.join(","), loosened, "{coding}");
    }
    for body in [&LONG_BROTLI[..25], &[LONG_BROTLI, b"rest"].concat()] {
        let reply = send(&server, "br", body).expect(415);
        assert_eq!(reply.code(), "unsupported_encoding", "{}", reply.text);
    }
}

/// Otherwise a body that could be read after a fix is gone, or a small one fills the memory.
#[test]
fn what_cannot_be_decoded_is_kept_in_quarantine() {
    let server = open().start();
    let spaces = vec![b' '; 3_000_000];
    let plain = br#"{"title":"t"}"#;
    for (coding, body, status, code) in [
        ("compress", plain.to_vec(), 415, "unsupported_encoding"),
        ("gzip", b"\x1f\x8bnot gzip".to_vec(), 415, "unsupported_encoding"),
        ("gzip", gzip(plain)[..20].to_vec(), 415, "unsupported_encoding"),
        ("br", b"\xff\xff\xff".to_vec(), 415, "unsupported_encoding"),
        ("zstd", b"\x28\xb5\x2f\xfd\0".to_vec(), 415, "unsupported_encoding"),
        // A window of 3.75 TiB.
        ("zstd", b"\x28\xb5\x2f\xfd\0\xff\0\0\0".to_vec(), 415, "unsupported_encoding"),
        ("gzip, gzip, gzip", gzip(plain), 415, "unsupported_encoding"),
        ("gzip", gzip(&spaces), 413, "body_too_large"),
        ("deflate", raw_deflate(&spaces), 413, "body_too_large"),
        ("zstd", zstd(&spaces), 413, "body_too_large"),
        ("br", BROTLI_BOMB.to_vec(), 413, "body_too_large"),
        ("gzip, gzip", gzip(&gzip(&spaces)), 413, "body_too_large"),
    ] {
        let reply = send(&server, coding, &body);
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{coding}: {}", reply.text);
        let event = event(&server, &reply);
        assert_eq!((&event["status"], &event["body_bytes"]), (&json!("quarantined"), &json!(body.len())), "{coding}");
        assert_eq!(event["reason"]["stage"], "decode");
    }
}

/// Otherwise a compressed task is refused where an uncompressed one is not.
#[test]
fn other_routes_read_content_codings_too() {
    let server = open().start();
    let coded = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let sent =
        |path: &str, method: &str, body: Value| server.send(method, path, &coded, &gzip(body.to_string().as_bytes()));
    let created = sent("/v1/tasks", "POST", task()).expect(201);
    let path = format!("/v1/tasks/{}", created.json()["id"].as_str().unwrap());
    assert_eq!(sent(&path, "PATCH", json!({"title": "x", "version": 1})).expect(200).json()["title"], "x");
    let batch = sent("/v1/tasks/batch", "POST", json!([task(), task()])).expect(200);
    assert_eq!(batch.json()["summary"]["created"], 2, "{}", batch.text);
    server.send("PATCH", &path, &coded, b"\x1f\x8bx").expect(415);
    let bomb = gzip(&vec![b' '; 3_000_000]);
    server.send("PATCH", &path, &coded, &bomb).expect(413);
    server.send("POST", "/v1/tasks/batch", &coded, &gzip(&vec![b' '; 30_000_000])).expect(413);
}

/// Otherwise a sender that signs what it sends is refused, or its signature says nothing about what arrived.
#[test]
fn a_signature_covers_the_bytes_as_sent() {
    use hmac::{Hmac, KeyInit as _, Mac as _};
    let manifest = "[auth]\nscheme = \"hmac-sha256\"\nsecret = \"NEW\"\nheader = \"x-sig\"\n";
    let secret = "whsec of more than 16 bytes";
    let server = Setup::new().plugin("guest", manifest, &says(&task().to_string())).env("NEW", secret).start();
    let signed = |over: &[u8], body: &[u8]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(over);
        let signature: String = mac.finalize().into_bytes().iter().map(|it| format!("{it:02x}")).collect();
        let headers =
            [("content-type", "application/json"), ("content-encoding", "gzip"), ("x-sig", signature.as_str())];
        server.send_as("POST", "/v1/hooks/guest", &headers, body)
    };
    let plain = br#"{"data":{"title":"t"}}"#;
    let body = gzip(plain);
    let reply = signed(&body, &body).expect(201);
    // A sender that signs is not a workflow tool: what it sends is the payload.
    assert_eq!(event(&server, &reply)["payload"], json!({"data": {"title": "t"}}));
    signed(plain, &body).expect(401);
}

/// Otherwise a patient's data survive an erasure in a compressed body.
#[test]
fn an_erasure_finds_a_patient_in_a_compressed_body() {
    let server = open().start();
    let reply = send(&server, "gzip", &gzip(br#"{"patient_id":"p-4711"}"#)).expect(201);
    let erased = server.post("/v1/events/erase", &json!({"patient_id": "p-4711"})).expect(200).json();
    assert!(erased.to_string().contains(reply.header("x-event-id")), "{erased}");
}
