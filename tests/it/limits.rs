//! Every limit of the server has its own response, bad input gets a clear one, and neither stops the server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::guests;
use crate::harness::{DEADLINE, KEY, Server, Setup, task, until};
use crate::shim::Shim;

fn post(server: &Server, body: &[u8]) -> (u16, String) {
    let reply = server.send("POST", "/v1/tasks", &[("content-type", "application/json")], body);
    (reply.status, reply.code())
}

#[test]
fn bad_bodies_get_a_clear_answer() {
    let server = Setup::new().start();
    let deep = [b"[".repeat(10_000), b"]".repeat(10_000)].concat();
    let wide = format!("{{{}}}", (0..20_000).map(|n| format!("\"k{n}\":0")).collect::<Vec<_>>().join(","));
    for (body, answer) in [
        (&b""[..], (400, "empty_body")),
        (b"\xff{}", (400, "not_utf8")),
        // UTF-16, and one character in it.
        (b"\xff\xfe{}", (400, "malformed_json")),
        (&deep, (400, "too_deep")),
        (b"{\"title\":1,\"title\":2}", (400, "duplicate_key")),
        (b"{\"title\":1e999}", (400, "number_out_of_range")),
        (b"{\"title\":\"a\0\"}", (400, "malformed_json")),
        (b"{\"title\":\"\\u0000\"}", (422, "invalid_field")),
        (b"{\"title\":\"\\ud800\"}", (422, "invalid_field")),
        (b"\0\0\0", (400, "malformed_json")),
        (wide.as_bytes(), (422, "invalid_field")),
    ] {
        assert_eq!(post(&server, body), (answer.0, answer.1.to_owned()), "{:?}", &body[..body.len().min(40)]);
    }
    server.post("/v1/tasks", &task()).expect(201);
    assert!(!server.stop().contains("panicked"));
}

#[test]
fn a_body_over_the_limit_is_413_announced_or_chunked() {
    let server = Setup::new().config("[limits]\nbody_bytes = 1000").start();
    let fits = format!("{{\"title\":\"{}\"}}", "x".repeat(988));
    assert_eq!(fits.len(), 1000);
    assert_eq!(post(&server, fits.as_bytes()).0, 422);
    assert_eq!(post(&server, format!("{fits} ").as_bytes()), (413, "body_too_large".into()));
    let head = format!(
        "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let chunk = format!("200\r\n{}\r\n", "x".repeat(0x200));
    let answer = server.raw(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
}

#[test]
fn headers_over_the_limit_are_431() {
    let server = Setup::new().config("[limits]\nheader_bytes = 2000").start();
    let with = |bytes: usize| {
        server.send("POST", "/v1/tasks", &[("x-long", &"x".repeat(bytes))], task().to_string().as_bytes())
    };
    assert_eq!(with(1000).status, 201);
    assert_eq!(with(2000).expect(431).code(), "headers_too_large");
    let answer =
        server.raw(format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(200_000)).as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[test]
fn slow_senders_are_answered_or_hung_up_on() {
    let server = Setup::new().config("[limits]\nheader_timeout_ms = 100\nbody_timeout_ms = 100").start();
    // Headers that never end: the connection is closed.
    assert_eq!(server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n"), "");
    // A body that never comes: 408.
    let head = format!("POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 10\r\n\r\n{{");
    let answer = server.raw(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
    server.post("/v1/tasks", &task()).expect(201);
}

/// A task takes a place from when its body has arrived until its end; the plugin here takes a while.
#[test]
fn requests_over_the_concurrency_limit_get_retry_after_and_health_checks_are_answered() {
    let mut setup = Setup::new().config("[limits]\nconcurrency = 1").plugin("guest", "", &guests::component(""));
    let Some(shim) = Shim::below(&setup.data) else { return };
    shim.only(".journal");
    setup.env.extend(shim.env());
    let server = setup.start();
    shim.hold_fdatasync(true);
    let mut held = TcpStream::connect(server.address()).unwrap();
    held.set_read_timeout(Some(DEADLINE)).unwrap();
    let body = task().to_string();
    write!(held, "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    until("the commit waits for the disk", || shim.held() > 0);
    let reply = server.get("/v1/tasks").expect(503);
    assert_eq!((reply.code().as_str(), reply.header("retry-after")), ("overloaded", "1"));
    let delivery = server.post("/v1/hooks/guest", &json!({})).expect(503);
    assert_eq!((delivery.code().as_str(), delivery.header("x-event-id")), ("overloaded", ""));
    server.get("/healthz").expect(200);
    server.get("/readyz").expect(200);
    shim.hold_fdatasync(false);
    let mut answer = String::new();
    held.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    // Where there is too much to do already, nothing more is stored.
    assert_eq!(server.get("/v1/events?status=rejected").expect(200).json()["data"], json!([]));
}

/// A thousand slow senders would otherwise make the service manager restart a healthy server.
#[test]
fn bodies_that_are_still_to_come_take_no_place() {
    let server = Setup::new().config("[limits]\nconcurrency = 1").start();
    let slow: Vec<_> = (0..5).map(|_| expecting(&server)).collect();
    server.get("/healthz").expect(200);
    server.get("/readyz").expect(200);
    server.post("/v1/tasks", &task()).expect(201);
    drop(slow);
}

/// A request whose handler waits for its body.
fn expecting(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(
        stream,
        "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n"
    )
    .unwrap();
    // "100 Continue" comes when the handler asks for the body.
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[..12], b"HTTP/1.1 100");
    stream
}

#[test]
fn nonsense_on_the_wire_is_refused_and_the_server_goes_on() {
    let server = Setup::new().start();
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET\r\n\r\n",
        b"POST /v1/tasks HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    ] {
        let answer = server.raw(bytes);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    for path in ["/", "/v1", "/v1/tasks/%00", "/v1/hooks/..%2f..", "/v1/hooks/tasks", "/v1/events/x"] {
        assert!([404, 405].contains(&server.get(path).status), "{path}");
    }
    let reply = server.send("POST", "/v1/tasks", &[("content-encoding", "gzip")], b"x").expect(415);
    assert_eq!(reply.code(), "unsupported_encoding");
    assert!(!server.stop().contains("panicked"));
}

#[test]
fn after_sigterm_running_requests_are_answered_and_no_more_are_accepted() {
    let setup = Setup::new();
    let server = setup.start();
    let body = task().to_string();
    let mut held = TcpStream::connect(server.address()).unwrap();
    held.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(held, "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    let mut interim = [0; 25];
    held.read_exact(&mut interim).unwrap();
    server.signal("TERM");
    server.until_it_accepts_nothing();
    held.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let (status, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    let id = answer.split("\"id\":\"").nth(1).and_then(|it| it.split('"').next()).unwrap();
    setup.start().get(&format!("/v1/tasks/{id}")).expect(200);
}

#[test]
fn a_rate_limited_sender_gets_the_policy_and_the_waiting_time_and_others_are_not_limited() {
    // On a slow machine as well, the buckets are not filled again before they are found empty.
    let manifest = "[limits]\nper_minute = 1\nburst = 3\n";
    let setup = Setup::new().config("[limits]\nkey_per_minute = 2\nkey_burst = 10\n").plugin(
        "guest",
        manifest,
        &guests::component(""),
    );
    let server = setup.start();
    let (one, other) = (setup.key("company-1", &["hooks:write"]), setup.key("company-1", &["tasks:read"]));
    let post = |key: &str| server.send_as("POST", "/v1/hooks/guest", &[("x-api-key", key)], b"{}");
    for _ in 0..3 {
        post(&one).expect(200);
    }
    let limited = post(&one).expect(429);
    assert_eq!(limited.code(), "rate_limited");
    assert_eq!(limited.header("ratelimit-policy"), "\"integration\";q=1;w=60");
    let seconds: u64 = limited.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&seconds) && limited.header("ratelimit").contains(&format!("t={seconds}")));
    // Strangers use nothing up, and have no bucket.
    assert_eq!(post("nonsense").expect(401).code(), "wrong_key");
    let list = || server.send_as("GET", "/v1/tasks", &[("x-api-key", &other)], b"");
    let answers: Vec<_> = (0..40).map(|_| list()).collect();
    assert!(answers[..10].iter().all(|it| it.status == 200));
    let limited = answers.iter().find(|it| it.status == 429).expect("forty at once are too many");
    assert_eq!(limited.header("ratelimit-policy"), "\"key\";q=2;w=60");
}
