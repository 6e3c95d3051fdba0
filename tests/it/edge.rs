//! The HTTP edge: clients that do not read, that write before they read, that close one side; methods and URLs.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use serde_json::{Value, json};

use crate::guests;
use crate::harness::contract::DESCRIPTION;
use crate::harness::{DEADLINE, KEY, Server, Setup, task, until};

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// With `connections = 4`, four clients that asked and never read kept everybody out, health checks as well.
#[test]
fn a_client_that_pipelines_and_reads_nothing_is_hung_up_on() {
    let limits = "[limits]\nconnections = 8\nwrite_timeout_ms = 300\nidle_timeout_ms = 600000\n";
    let server = Setup::new().config(limits).start();
    let mut large = task();
    large["description"] = "x".repeat(50_000).into();
    for _ in 0..40 {
        server.post("/v1/tasks", &large).expect(201);
    }
    // 2 MB each: more than both sides' buffers hold.
    let request = format!("GET /v1/tasks?limit=100 HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n");
    let mut silent: Vec<_> = (0..4).map(|_| connect(&server)).collect();
    for stream in &mut silent {
        let _maybe_refused = stream.write_all(request.repeat(200).as_bytes());
    }
    // There is room for others all the same, one after another: one that waits gives way to the next.
    for _ in 0..4 {
        let mut other = connect(&server);
        other.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert!(head_of(&mut other).starts_with("http/1.1 200"));
    }
    for stream in &silent {
        until("the silent client was hung up on", || (&mut &*stream).write_all(b"x").is_err());
    }
    // The silent ones were served a little, and then no more: 200 lists would be 400 MB.
    for mut stream in silent {
        let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
        while let Ok(n @ 1..) = stream.read(&mut buffer) {
            read += n;
        }
        assert!(read < 20 << 20, "{read}");
    }
}

/// What a client that writes all of a request before it reads gets: the status, or the error that it ran into.
fn writes_first(server: &Server, head: &str, body: usize) -> Result<String, std::io::Error> {
    let mut stream = connect(server);
    write!(stream, "{head}Host: x\r\nContent-Length: {body}\r\n\r\n")?;
    let piece = vec![b' '; 64 * 1024];
    let mut left = body;
    while left > 0 {
        left -= stream.write(&piece[..left.min(piece.len())])?;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    Ok(answer[9..12].to_owned())
}

type Headers = Vec<(&'static str, String)>;

/// Servers that answer before they read the content, by what they answer: each with the path and the headers for it.
fn early() -> Vec<(u16, Setup, &'static str, Headers)> {
    let key = || ("X-API-Key", KEY.to_owned());
    let wide = || Setup::new().config("[limits]\nbody_bytes = 20000000\n");
    vec![
        (413, Setup::new(), "/v1/tasks", vec![key()]),
        (401, Setup::new(), "/v1/tasks", vec![("X-API-Key", "nonsense".into())]),
        (404, Setup::new(), "/v1/task", vec![]),
        (404, Setup::new(), "/v1/hooks/nobody", vec![]),
        (429, Setup::new().config("[limits]\nkey_per_minute = 1\nkey_burst = 1\n"), "/v1/tasks", vec![key()]),
        (431, wide(), "/v1/tasks", vec![key(), ("X-Long", "x".repeat(20_000))]),
    ]
}

const SIZES: [usize; 2] = [3_000_000, 10_000_000];
const ROUNDS: usize = 40;

/// Whether all rounds had this status. A key that is spent has another request after a minute, on a slow machine.
fn all_answered(status: u16, seen: &BTreeMap<String, usize>) -> bool {
    let count = |status: u16| seen.get(&status.to_string()).copied().unwrap_or(0);
    let (expected, let_in) = (count(status), if status == 429 { count(413) } else { 0 });
    expected > 0 && expected + let_in == ROUNDS
}

/// Starts each server, and has each size sent to it; `send` gives what was seen, and how often.
fn with_each(send: impl Fn(&Server, &str, &[(&str, String)], usize) -> Option<BTreeMap<String, usize>>) {
    for (status, setup, path, headers) in early() {
        let server = setup.start();
        if status == 429 {
            server.post("/v1/tasks", &task()).expect(201);
        }
        for bytes in SIZES {
            let Some(seen) = send(&server, path, &headers, bytes) else { return };
            assert!(all_answered(status, &seen), "{status} {path}, {bytes} bytes: {seen:?}");
        }
    }
}

/// Python got EPIPE 40 times of 40, and n8n shows `write EPIPE` in place of the message.
#[test]
fn early_responses_reach_clients_that_write_first() {
    with_each(|server, path, headers, bytes| {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let mut seen = BTreeMap::new();
        for _ in 0..ROUNDS {
            let got = writes_first(server, &format!("POST {path} HTTP/1.1\r\n{headers}"), bytes);
            let failed = got.is_err();
            *seen.entry(got.unwrap_or_else(|error| error.to_string())).or_default() += 1;
            if failed {
                break;
            }
        }
        Some(seen)
    });
}

/// The same with the clients that are out there. `script` prints JSON: how often what was seen.
fn with_other_clients(program: &str, flag: &str, script: &str) {
    with_each(|server, path, headers, bytes| {
        let headers = json!(headers.iter().map(|(name, value)| (*name, value)).collect::<BTreeMap<_, _>>());
        let mut command = Command::new(program);
        command.args([flag, script, &server.url, path, &headers.to_string(), &bytes.to_string(), &ROUNDS.to_string()]);
        let Ok(out) = command.output() else {
            println!("skipped: there is no {program}");
            return None;
        };
        let seen = serde_json::from_slice(&out.stdout);
        Some(seen.unwrap_or_else(|_| panic!("{program}: {}", String::from_utf8_lossy(&out.stderr))))
    });
}

#[test]
fn early_responses_reach_pythons_http_client() {
    with_other_clients(
        "python3",
        "-c",
        "
import collections, http.client, json, sys
url, path, headers, size, rounds = sys.argv[1:]
seen = collections.Counter()
for _ in range(int(rounds)):
    connection = http.client.HTTPConnection(url.split('//')[1], timeout=60)
    try:
        connection.request('POST', path, b' ' * int(size), json.loads(headers))
        answer = connection.getresponse()
        answer.read()
        seen[answer.status] += 1
    except OSError as error:
        seen[repr(error)] += 1
    connection.close()
print(json.dumps(seen))
",
    );
}

#[test]
fn early_responses_reach_nodes_http_client() {
    with_other_clients(
        "node",
        "-e",
        "
const [url, path, headers, size, rounds] = process.argv.slice(1)
const seen = {}
const count = what => { seen[what] = (seen[what] ?? 0) + 1 }
const once = () => new Promise(resolve => {
  const request = require('http').request(url + path, { method: 'POST', headers: JSON.parse(headers) }, answer => {
    count(answer.statusCode)
    answer.resume().on('close', resolve)
  })
  request.on('error', error => { count(error.message); resolve() })
  request.end(Buffer.alloc(+size, ' '))
})
;(async () => {
  for (let n = 0; n < +rounds; n++) await once()
  console.log(JSON.stringify(seen))
  process.exit()
})()
",
    );
}

/// A small body that is not needed must not make the client connect again.
#[test]
fn a_connection_goes_on_after_an_early_response_to_a_small_body() {
    let server = Setup::new().start();
    let mut stream = connect(&server);
    for _ in 0..3 {
        stream.write_all(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n").unwrap();
        stream.write_all(&[b' '; 20_000]).unwrap();
        let head = head_of(&mut stream);
        assert!(head.starts_with("http/1.1 401") && !head.contains("connection: close"), "{head}");
    }
}

/// Reads one response, and gives its head.
fn head_of(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length =
        head.split("content-length: ").nth(1).and_then(|it| it.split('\r').next()).map(|it| it.parse().unwrap());
    stream.read_exact(&mut vec![0; length.unwrap_or(0)]).unwrap();
    head
}

/// Some of these tasks were created, and none of the senders had a response.
#[test]
fn a_sender_that_shuts_down_its_side_gets_its_response() {
    let server = Setup::new().start();
    let body = task().to_string();
    for _ in 0..20 {
        let mut stream = connect(&server);
        write!(
            stream,
            "POST /v1/tasks HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    }
    assert_eq!(server.get("/v1/tasks").json()["pagination"]["total"], 20);
}

#[test]
fn a_connection_may_wait_longer_between_requests_than_within_one() {
    let limits = "[limits]\nheader_timeout_ms = 200\nidle_timeout_ms = 600000\n";
    let server = Setup::new().config(limits).start();
    let mut stream = connect(&server);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    head_of(&mut stream);
    // It has waited for longer than headers may take: a connection that came after its response is closed.
    assert_eq!(connect(&server).read(&mut [0]).unwrap_or(0), 0, "a connection that never asks");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(head_of(&mut stream).starts_with("http/1.1 200"));
    stream.write_all(b"GET /healthz").unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "headers that do not end");
    let server = Setup::new().config("[limits]\nidle_timeout_ms = 200\n").start();
    let mut stream = connect(&server);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    head_of(&mut stream);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "no further request");
}

/// What comes after the response may be the content that nobody wanted.
#[test]
fn content_that_comes_late_is_not_taken_for_headers() {
    let limits = "[limits]\nheader_timeout_ms = 200\nidle_timeout_ms = 600000\n";
    let server = Setup::new().config(limits).start();
    let mut stream = connect(&server);
    stream.write_all(b"POST /v1/tasks HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n").unwrap();
    assert!(head_of(&mut stream).starts_with("http/1.1 401"));
    stream.write_all(&[b' '; 10]).unwrap();
    // Headers may not take as long as this: a connection that came later is closed.
    assert_eq!(connect(&server).read(&mut [0]).unwrap_or(0), 0, "a connection that never asks");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert!(head_of(&mut stream).starts_with("http/1.1 200"));
}

/// The time began with the connection, and went on for a request that came before the first response.
#[test]
fn each_request_has_its_own_time_for_headers() {
    let looping = guests::component("(loop $l (br $l))");
    let limits = "[limits]\nheader_timeout_ms = 2000\nidle_timeout_ms = 600000\n";
    // Alone, the plugin's call takes longer than headers may.
    let server = Setup::new().config(limits).plugin("guest", "[limits]\ntime_ms = 4000\n", &looping).start();
    let mut stream = connect(&server);
    write!(stream, "POST /v1/hooks/guest HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 2\r\n\r\n{{}}")
        .unwrap();
    server.until_a_plugin_computes();
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").unwrap();
    assert!(head_of(&mut stream).starts_with("http/1.1 502"));
    stream.write_all(b"Host: x\r\n\r\n").unwrap();
    assert!(head_of(&mut stream).starts_with("http/1.1 200"));
}

/// Every route, as the documentation has it: its URL and its methods.
fn documented() -> Vec<(String, String)> {
    let page = include_str!("../../docs/OPERATIONS.md");
    let section = page.split("## URLs\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split("` | ");
        Some((cells.next()?.to_owned(), cells.next()?.split(" |").next()?.to_owned()))
    };
    section.lines().filter_map(row).collect()
}

fn concrete(url: &str) -> String {
    ["{id}", "{name}", "{integration}", "{n}"]
        .iter()
        .fold(url.to_owned(), |it, name| it.replace(name, "x"))
        .replace("{secret}", "y")
        .replace("{path}", "z")
}

/// The routes and the page cannot differ.
#[test]
fn every_url_is_documented_and_says_which_methods_it_takes() {
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    let routes: usize = paths.values().map(|it| it.as_object().unwrap().len()).sum();
    let pages = documented();
    let server = Setup::new().start();
    let mut methods = 0;
    for (url, allowed) in &pages {
        let reply = server.send("OPTIONS", &concrete(url), &[], b"").expect(405);
        assert_eq!(reply.header("allow"), allowed, "{url}");
        assert_eq!(reply.message(), format!("this URL does not support OPTIONS; use {allowed}"));
        methods += allowed.split(", ").filter(|it| *it != "HEAD").count();
    }
    assert_eq!(methods, routes, "as many as in openapi.json");
}

#[test]
fn head_is_get_without_the_body() {
    let setup = Setup::new();
    let server = setup.start();
    let made = server.post("/v1/tasks", &task()).expect(201);
    let (task, event) = (made.json()["id"].as_str().unwrap().to_owned(), made.header("x-event-id").to_owned());
    for (url, allowed) in documented() {
        if !allowed.contains("GET") {
            server.send("HEAD", &concrete(&url), &[], b"");
            continue;
        }
        let id = if url.contains("tasks") { &task } else { &event };
        let url = url.replace("{id}", id).replace("{name}", "x");
        let get = server.get(&url);
        let mut stream = connect(&server);
        write!(stream, "HEAD {url} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(&head[9..12], get.status.to_string(), "{url}");
        assert_eq!(body, "", "{url}");
        let head = head.to_lowercase();
        for name in ["content-type", "content-length", "cache-control", "etag"] {
            let value = get.header(name).to_lowercase();
            // An audit log that was read is longer by then.
            let varies = name == "content-length" && url.contains("audit");
            if !(value.is_empty() || varies) {
                assert!(head.contains(&format!("\r\n{name}: {value}")), "{url}: {head}");
            }
        }
    }
}

#[test]
fn a_404_names_the_url_and_what_is_near() {
    let server = Setup::new().start();
    for (url, meant) in [
        ("//v1/tasks", "/v1/tasks"),
        ("/v1/tasks//", "/v1/tasks"),
        ("/tasks", "/v1/tasks"),
        ("/V1/Tasks", "/v1/tasks"),
        ("/v1/taks", "/v1/tasks"),
        ("/v1/hook/fax-inbound", "/v1/hooks/fax-inbound"),
        ("/readzy", "/readyz"),
    ] {
        let reply = server.get(url).expect(404);
        assert_eq!(reply.message(), format!("there is no URL \"{url}\"; did you mean \"{meant}\"?"));
    }
    server.get("/v1/tasks/").expect(200);
    let message = server.get("/wp-admin.php").expect(404).message();
    assert!(message.starts_with("there is no URL \"/wp-admin.php\"; URLs begin with /v1/tasks,"), "{message}");
    assert!(message.contains("/openapi.json"), "{message}");
    let long = server.get(&format!("/{}", "x".repeat(1000))).expect(404).message();
    assert!(long.contains(&format!("\"/{}…\"", "x".repeat(199))), "{long}");
    let id = "00000000-0000-7000-8000-000000000000";
    let missing = server.get(&format!("/v1/tasks/{id}")).expect(404).message();
    assert_eq!(missing, format!("no such task (/v1/tasks/{id})"));
    let secret = server.post("/v1/hook/fax/s3cret", &json!({})).expect(404).text;
    assert!(!secret.contains("s3cret") && secret.contains("/v1/hooks/fax/{secret}"), "{secret}");
    assert!(!server.post("/v1/hoks/fax/s3cret/x", &json!({})).expect(404).text.contains("s3cret"));
}

/// One at a time: a dry run that nobody reads would keep the next one out for hours.
#[test]
fn a_dry_run_whose_caller_hangs_up_is_stopped() {
    let looping = guests::component("(loop $l (br $l))");
    let setup = Setup::new().plugin("guest", "", &guests::says(&task().to_string()));
    let server = setup.start();
    for n in 0..200 {
        server.post("/v1/hooks/guest", &json!({ "n": n })).expect(201);
    }
    let other = Setup::new().plugin("guest", "[limits]\ntime_ms = 1000\n", &looping);
    let lock: Value = serde_json::from_slice(&std::fs::read(setup.data.join("hookmill.lock")).unwrap()).unwrap();
    let token = lock["operator_token"].as_str().unwrap();
    let body = json!({ "dir": other.plugins.join("guest") }).to_string();
    let mut stream = connect(&server);
    let length = body.len();
    write!(stream, "POST /v1/admin/plugins/diff HTTP/1.1\r\nHost: x\r\nX-API-Key: {token}\r\nContent-Length: {length}\r\n\r\n{body}")
        .unwrap();
    let diff = || server.send_as("POST", "/v1/admin/plugins/diff", &[("x-api-key", token)], b"{\"dir\":\"/none\"}");
    server.until_a_plugin_computes();
    assert_eq!(diff().code(), "operation_running");
    drop(stream);
    // 200 s if it went on to its end.
    until("it has stopped", || diff().status == 422);
}
