//! Connections, bodies and responses of one client leave room for others.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::guests;
use crate::harness::{DEADLINE, KEY, Reply, Server, Setup, task, until};
use crate::own_process::runs_alone;

const SECRET: &str = "a secret of more than 16 bytes";

/// With an integration whose senders sign.
fn setup(limits: &str) -> Setup {
    let auth = "[auth]\nscheme = \"github\"\nsecret = \"SIGNING\"\n";
    let config = format!("[limits]\n{limits}\n");
    Setup::new().config(&config).plugin("guest", auth, &guests::says(&task().to_string())).env("SIGNING", SECRET)
}

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// A request that says what it sends, and sends this much of it.
fn begin(server: &Server, path: &str, headers: &str, announced: usize, sent: usize) -> TcpStream {
    let mut stream = connect(server);
    let body = "x".repeat(sent);
    write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {announced}\r\n\r\n{body}").unwrap();
    stream
}

/// A possible signature: it has the right length, so only the body shows that it is wrong.
fn claim() -> String {
    format!("X-Hub-Signature-256: sha256={}\r\n", "0".repeat(64))
}

/// A body that is not whole, from nobody knows whom.
fn half_sent(server: &Server, sent: usize) -> TcpStream {
    begin(server, "/v1/hooks/guest", &claim(), 1_000_000, sent)
}

/// Waits until one of these connections has a response, and returns its index.
fn first_with_a_response(connections: &[TcpStream]) -> usize {
    let has_response = |it: &TcpStream| {
        it.set_nonblocking(true).unwrap();
        let has_bytes = it.peek(&mut [0]).is_ok();
        it.set_nonblocking(false).unwrap();
        has_bytes
    };
    let found = || connections.iter().position(has_response);
    until("one is given up", || found().is_some());
    found().unwrap()
}

fn deliver(server: &Server, body: &[u8]) -> Reply {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = format!("sha256={hex}");
    let headers = [("content-type", "application/json"), ("x-hub-signature-256", signature.as_str())];
    server.send_as("POST", "/v1/hooks/guest", &headers, body)
}

/// A JSON object of this size.
fn object(bytes: usize) -> String {
    json!({ "text": "x".repeat(bytes - 11) }).to_string()
}

fn answer(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _maybe_reset = stream.read_to_string(&mut text);
    text
}

/// Everything that others want works, from the same address.
fn everything_works(server: &Server) {
    server.send_as("GET", "/healthz", &[], b"").expect(200);
    server.send_as("GET", "/readyz", &[], b"").expect(200);
    server.post("/v1/tasks", &task()).expect(201);
    server.get("/v1/tasks?limit=1").expect(200);
    deliver(server, b"{}").expect(201);
}

/// Half-sent bodies, silent connections and headers without an end took every place, for 15 seconds each time.
#[test]
fn more_half_sent_requests_than_connections_keep_nobody_out() {
    let server = setup("connections = 40\nconcurrency = 8").start();
    let mut open = Vec::new();
    for n in 0..300 {
        open.push(match n % 4 {
            0 => half_sent(&server, 100),
            1 => connect(&server),
            2 => begin(&server, "/v1/tasks", &format!("X-API-Key: {KEY}\r\n"), 1000, 10),
            _ => {
                let mut stream = connect(&server);
                stream.write_all(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-").unwrap();
                stream
            }
        });
        if n % 50 == 49 {
            everything_works(&server);
        }
    }
    let log = server.stop();
    assert!(log.contains("waiting connections were closed to make room"), "{log}");
}

/// With the limits that everybody has. In a process of its own, because it opens 2,200 files.
#[test]
fn a_thousand_and_more_half_sent_bodies_make_nothing_503() {
    if !runs_alone(module_path!(), "a_thousand_and_more_half_sent_bodies_make_nothing_503") {
        return;
    }
    let server = setup("").start();
    let half: Vec<_> = (0..1100).map(|_| half_sent(&server, 10)).collect();
    everything_works(&server);
    let silent: Vec<_> = (0..1100).map(|_| connect(&server)).collect();
    everything_works(&server);
    drop((half, silent));
}

#[test]
fn a_connection_with_a_request_that_runs_is_not_closed_for_others() {
    let looping = guests::component("(loop $l (br $l))");
    let config = "[limits]\nconcurrency = 1\nconnections = 20\npeer_connections = 10\n";
    let server = Setup::new().config(config).plugin("guest", "[limits]\ntime_ms = 5000\n", &looping).start();
    let running = begin(&server, "/v1/hooks/guest", &format!("X-API-Key: {KEY}\r\nConnection: close\r\n"), 2, 0);
    (&running).write_all(b"{}").unwrap();
    server.until_a_plugin_computes();
    let _others: Vec<_> = (0..50).map(|_| connect(&server)).collect();
    server.send_as("GET", "/healthz", &[], b"").expect(200);
    let end = answer(running);
    assert!(end.starts_with("HTTP/1.1 502"), "the plugin's time is over: {end}");
}

#[test]
fn a_peer_has_its_share_of_connections() {
    // Nothing else closes a silent connection here.
    let limits = "peer_connections = 3\nheader_timeout_ms = 600000\nidle_timeout_ms = 600000";
    let server = setup(limits).start();
    let mut first = connect(&server);
    let ask = |stream: &mut TcpStream| {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 4000]).unwrap() > 0, "three are allowed");
    };
    ask(&mut first);
    let kept: Vec<_> = (0..2).map(|_| connect(&server)).collect();
    ask(&mut first);
    let _more: Vec<_> = (0..10).map(|_| connect(&server)).collect();
    for mut oldest in kept {
        assert_eq!(oldest.read(&mut [0]).unwrap_or(1), 0, "those that have waited longest are closed");
    }
    let proxies = "trusted_proxies = [\"127.0.0.1\"]\n[limits]\npeer_connections = 3\n";
    let server = Setup::new().config(proxies).start();
    let mut many: Vec<_> = (0..10).map(|_| connect(&server)).collect();
    for stream in &mut many {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(stream.read(&mut [0; 4000]).unwrap() > 0, "a proxy's connections are many people's");
    }
}

/// The share of one peer is 256 KiB here. What has been sent for longest is given up, and what is whole goes on.
#[test]
fn strangers_hold_a_share_of_the_memory_for_bodies() {
    let server = setup("unproven_body_memory_mib = 1").start();
    let mut one = begin(&server, "/v1/hooks/guest", &claim(), 60_000, 59_999);
    deliver(&server, object(40_000).as_bytes()).expect(201);
    one.write_all(b"x").unwrap();
    let mut head = [0; 12];
    one.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 401", "within its share it stays");
    drop(one);
    // Two of them fit, and the oldest gives way: which one that is depends on the order in which the server read them.
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(half_sent(&server, 90_000));
        if held.len() > 2 {
            let given_up = answer(held.swap_remove(first_with_a_response(&held)));
            assert!(given_up.starts_with("HTTP/1.1 503"), "{given_up}");
            assert!(given_up.contains("limits.unproven_body_memory_mib"), "{given_up}");
            let head = given_up.to_lowercase();
            assert!(head.contains("retry-after: 1") && head.contains("connection: close"), "{given_up}");
        }
    }
    for whole in [100_000, 120_000] {
        deliver(&server, object(whole).as_bytes()).expect(201);
    }
    let keyed = server.send("POST", "/v1/tasks", &[], object(200_000).as_bytes());
    assert_eq!(keyed.code(), "invalid_field", "a key's requests have memory of their own");
}

#[test]
fn behind_a_trusted_proxy_the_share_is_each_clients() {
    let auth = "[auth]\nscheme = \"github\"\nsecret = \"SIGNING\"\n";
    let config = |proxies: &str| format!("trusted_proxies = [{proxies}]\n[limits]\nunproven_body_memory_mib = 1\n");
    for (proxies, kept) in [("\"127.0.0.0/8\"", true), ("", false)] {
        let setup = Setup::new().config(&config(proxies)).env("SIGNING", SECRET);
        let server = setup.plugin("guest", auth, &guests::says(&task().to_string())).start();
        let forwarded = |client: &str, whole: usize, sent: usize| {
            let headers = format!("X-Forwarded-For: 203.0.113.9, {client}\r\n{}", claim());
            begin(&server, "/v1/hooks/guest", &headers, whole, sent)
        };
        let mut first = forwarded("192.0.2.1", 100_000, 99_999);
        let mut others: Vec<TcpStream> = Vec::new();
        // One is given up: behind a proxy the second client's own, else that of the first, which is older.
        let given_up = |of: &TcpStream| {
            of.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let there = of.peek(&mut [0]).is_ok();
            of.set_read_timeout(Some(DEADLINE)).unwrap();
            there
        };
        while !given_up(others.first().filter(|_| kept).unwrap_or(&first)) {
            others.push(forwarded("192.0.2.2", 500_000, 100_000));
            assert!(others.len() < 500, "nothing is given up");
        }
        if kept {
            first.write_all(b"x").unwrap();
        }
        let mut status = [0; 12];
        first.read_exact(&mut status).unwrap();
        assert_eq!(&status, if kept { b"HTTP/1.1 401" } else { b"HTTP/1.1 503" }, "{proxies}");
    }
}

/// A company's part is 512 KiB here.
#[test]
fn one_companys_bodies_leave_memory_for_another_company() {
    let setup = setup("body_memory_mib = 1");
    setup.start().stop();
    let other = setup.key("company-2", &["tasks:write"]);
    let server = setup.start();
    let key = format!("X-API-Key: {KEY}\r\n");
    let fits = server.send("POST", "/v1/tasks", &[], object(200_000).as_bytes());
    assert_eq!(fits.code(), "invalid_field");
    let refused = answer(begin(&server, "/v1/tasks", &key, 600_001, 600_000));
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("limits.body_memory_mib"), "{refused}");
    let _arriving: Vec<_> = (0..4).map(|_| begin(&server, "/v1/tasks", &key, 400_000, 150_000)).collect();
    let body = object(200_000);
    let theirs = server.send_as("POST", "/v1/tasks", &[("x-api-key", &other)], body.as_bytes());
    assert_eq!(theirs.code(), "invalid_field");
}

/// Two readers of `Host` could take it for different servers.
#[test]
fn a_request_without_one_valid_host_is_400() {
    let server = Setup::new().start();
    let send = |version: &str, hosts: &str| {
        server.raw(format!("GET /healthz HTTP/{version}\r\n{hosts}Connection: close\r\n\r\n").as_bytes())
    };
    for (version, hosts) in [
        ("1.1", "Host: x\r\n"),
        ("1.1", "Host: x:8080\r\n"),
        ("1.1", "Host: [::1]:8080\r\n"),
        ("1.1", "Host:\r\n"),
        ("1.0", ""),
    ] {
        assert!(send(version, hosts).starts_with("HTTP/1.1 200") || version == "1.0", "{hosts}");
    }
    assert!(send("1.0", "").contains(" 200 "));
    for (version, hosts) in [
        ("1.1", ""),
        ("1.1", "Host: x\r\nHost: x\r\n"),
        ("1.0", "Host: x\r\nHost: y\r\n"),
        ("1.1", "Host: x y\r\n"),
        ("1.1", "Host: a@b\r\n"),
        ("1.1", "Host: x/y\r\n"),
        ("1.1", "Host: x, y\r\n"),
        ("1.1", "Host: x:port\r\n"),
    ] {
        let refused = send(version, hosts);
        assert!(refused.contains(" 400 ") && refused.contains("bad_host"), "{hosts}: {refused}");
    }
    // Its content was not read: what follows it must not be taken for a request.
    let body = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3000);
    let smuggled = format!("POST /v1/tasks HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let refused = server.raw(smuggled.as_bytes());
    assert_eq!(refused.matches("HTTP/1.1 ").count(), 1, "{refused}");
    assert!(refused.to_lowercase().contains("connection: close"), "{refused}");
}

/// A list of zeros takes twenty times its bytes as a tree. A company's part is 512 KiB here, which such a body needs alone.
#[test]
fn decoded_bodies_are_bounded_and_leave_memory_for_another_company() {
    let looping = guests::component("(loop $l (br $l))");
    let config = "[limits]\ndecode_memory_mib = 1\n";
    let setup = Setup::new().config(config).plugin("guest", "[limits]\ntime_ms = 10000\n", &looping);
    setup.start().stop();
    let other = setup.key("company-2", &["tasks:write"]);
    let server = setup.start();
    let body = json!({ "zeros": vec![0; 30_000] }).to_string();
    assert_eq!(server.send("POST", "/v1/tasks", &[], body.as_bytes()).code(), "invalid_field");
    let key = format!("X-API-Key: {KEY}\r\n");
    let mut running = begin(&server, "/v1/hooks/guest", &key, body.len(), 0);
    running.write_all(body.as_bytes()).unwrap();
    // Until the plugin runs there is memory.
    let refused = loop {
        let reply = server.send("POST", "/v1/tasks", &[], body.as_bytes());
        if reply.status == 503 {
            break reply;
        }
    };
    assert!(refused.message().contains("limits.decode_memory_mib"), "{}", refused.text);
    server.post("/v1/tasks", &task()).expect(201);
    let theirs = server.send_as("POST", "/v1/tasks", &[("x-api-key", &other)], body.as_bytes());
    assert_eq!(theirs.code(), "invalid_field");
}

/// Stores tasks with descriptions of this size.
fn large_tasks(server: &Server, key: &str, count: usize, bytes: usize) {
    let task = |n| {
        let mut it = task();
        (it["title"], it["description"]) = (format!("task {n}").into(), "x".repeat(bytes).into());
        it
    };
    let tasks: Vec<Value> = (0..count).map(task).collect();
    let body = Value::from(tasks).to_string();
    server.send_as("POST", "/v1/tasks/batch", &[("x-api-key", key)], body.as_bytes()).expect(200);
}

#[test]
fn a_page_has_only_so_many_bytes_and_no_task_is_left_out() {
    let server = setup("page_bytes = 100000").start();
    large_tasks(&server, KEY, 7, 40_000);
    let refused = server.get("/v1/tasks?page=2&limit=3").expect(422).message();
    assert!(refused.contains("limits.page_bytes") && refused.contains("send limit=2"), "{refused}");
    server.get("/v1/tasks").expect(422);
    let mut page = server.get("/v1/tasks?limit=2").expect(200).json();
    let mut titles = Vec::new();
    loop {
        let tasks = page["data"].as_array().unwrap();
        assert!((1..=2).contains(&tasks.len()));
        titles.extend(tasks.iter().map(|it| it["title"].as_str().unwrap().to_owned()));
        assert_eq!(page["pagination"]["has_more"], page["pagination"]["next_cursor"].is_string());
        let Some(cursor) = page["pagination"]["next_cursor"].as_str() else { break };
        page = server.get(&format!("/v1/tasks?limit=100&cursor={cursor}")).expect(200).json();
    }
    assert_eq!(titles, (0..7).rev().map(|n| format!("task {n}")).collect::<Vec<_>>());
    // One task that is larger than a page is a page.
    large_tasks(&server, KEY, 1, 200_000);
    assert_eq!(server.get("/v1/tasks?limit=1").expect(200).json()["data"].as_array().unwrap().len(), 1);
}

/// Most memory that the server has had so far, in MiB.
fn peak(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() / 1024
}

/// 30 pages that nobody read took 4.9 GiB. A company's part is 8 MiB here, and a page has 3 MB.
#[test]
fn responses_that_nobody_reads_are_bounded_and_leave_memory_for_another_company() {
    let setup = setup("response_memory_mib = 16");
    setup.start().stop();
    let other = setup.key("company-2", &["tasks:read", "tasks:write"]);
    let server = setup.start();
    large_tasks(&server, KEY, 30, 100_000);
    large_tasks(&server, &other, 30, 100_000);
    let before = peak(&server);
    let page = "/v1/tasks?limit=30";
    let unread: Vec<_> = (0..40)
        .map(|_| {
            let mut stream = connect(&server);
            write!(stream, "GET {page} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n").unwrap();
            stream
        })
        .collect();
    let mut statuses: Vec<u16> = Vec::new();
    for mut stream in &unread {
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        statuses.push(std::str::from_utf8(&head[9..]).unwrap().parse().unwrap());
    }
    assert!(statuses.contains(&200) && statuses.contains(&503), "{statuses:?}");
    let refused = server.get(page).expect(503);
    assert!(refused.message().contains("limits.response_memory_mib"), "{}", refused.text);
    assert_eq!(refused.header("retry-after"), "1");
    server.post("/v1/tasks", &task()).expect(201);
    server.send_as("GET", page, &[("x-api-key", &other)], b"").expect(200);
    assert!(peak(&server) < before + 200, "{before} MiB before, {} MiB now", peak(&server));
    drop(unread);
    until("what nobody reads any more is dropped", || server.get(page).status == 200);
}

/// Memory that was reserved for a response and not given back would keep a company's large requests out until its
/// connections end.
#[test]
fn a_request_that_fails_gives_back_the_memory_for_its_response() {
    let server = setup("response_memory_mib = 4").start();
    let invalid = json!({ "title": 1, "description": "x".repeat(600_000) }).to_string();
    let length = invalid.len();
    let mut kept = Vec::new();
    for _ in 0..8 {
        let mut stream = connect(&server);
        write!(
            stream,
            "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {length}\r\n\r\n{invalid}"
        )
        .unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head[9..], b"422");
        kept.push(stream);
    }
    let mut large = task();
    large["description"] = "x".repeat(600_000).into();
    server.post("/v1/tasks", &large).expect(201);
}

/// A list of events read every body that it did not show.
#[test]
fn lists_of_events_hold_no_bodies() {
    let server = setup("").start();
    for _ in 0..40 {
        deliver(&server, object(1_000_000).as_bytes()).expect(201);
    }
    let before = peak(&server);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let page = server.get("/v1/events?limit=100").expect(200).json();
                assert_eq!(page["data"].as_array().unwrap().len(), 40);
                assert!(page["data"][0]["body"].is_null() && page["data"][0]["body_bytes"] == 1_000_000);
            });
        }
    });
    assert!(peak(&server) < before + 100, "{before} MiB before, {} MiB now", peak(&server));
}
