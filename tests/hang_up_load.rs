//! Requests of every kind, under load, with callers that hang up at any moment and a disk that is slow for half of the time;
//! the last ones while the server shuts down. Whatever was acknowledged is there afterwards, nothing was done twice, and every
//! change is in the audit log once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guests;
mod harness;
mod shim;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use guests::{command, says};
use harness::{DEADLINE, KEY, Server, Setup, task};
use serde_json::{Value, json};
use shim::Shim;

/// Requests; `scripts/hang-ups` asks for more.
#[expect(clippy::disallowed_methods, reason = "a setting of this test, not of the program")]
fn requests() -> usize {
    std::env::var("HOOKMILL_TEST_HANG_UPS").ok().and_then(|it| it.parse().ok()).unwrap_or(2_000)
}

const CALLERS: usize = 16;
/// In every so many requests, each kind comes as often as [`kind`] says.
const TURN: usize = 20;
/// Requests that try the same key, delivery or replay come within this many turns.
const TOGETHER: usize = 3;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Plain,
    Keyed,
    Batch,
    Hook,
    HookLater,
    Patch,
    Delete,
    NewKey,
    Revoke,
    Replay,
    Read,
    List,
    Backup,
}

fn kind(n: usize) -> Kind {
    match n % TURN {
        0..=2 => Kind::Plain,
        3..=5 => Kind::Keyed,
        6 => Kind::Batch,
        7..=9 => Kind::Hook,
        10..=11 => Kind::HookLater,
        12 => Kind::Patch,
        13 => Kind::Delete,
        14 => Kind::NewKey,
        15 => Kind::Revoke,
        16 => Kind::Replay,
        17 => Kind::Read,
        18 if (n / TURN) % 20 == 7 => Kind::Backup,
        _ => Kind::List,
    }
}

/// One request, and what its caller knows.
struct Done {
    kind: Kind,
    /// What it was about: a title, a key's id, an event's.
    what: String,
    /// All of it was handed to the socket.
    whole: bool,
    status: Option<u16>,
    body: Value,
}

impl Done {
    fn is_acknowledged(&self) -> bool {
        self.status.is_some_and(|it| (200..300).contains(&it))
    }
}

struct Call {
    method: &'static str,
    path: String,
    headers: String,
    body: String,
}

/// Sends it as one of many callers would: nobody, or somebody who hangs up at some moment.
fn send(address: &str, call: &Call, random: &mut Random) -> (bool, Option<(u16, Value)>) {
    let Call { method, path, headers, body } = call;
    let length = body.len();
    let whole = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    let manner = random.below(20);
    let cut = if manner < 3 { random.below(whole.len() as u64) as usize } else { whole.len() };
    let Ok(mut stream) = TcpStream::connect(address) else { return (false, None) };
    stream.set_nodelay(true).unwrap();
    if stream.write_all(&whole.as_bytes()[..cut]).is_err() {
        return (false, None);
    }
    let patience = match manner {
        0..=5 => return (cut == whole.len(), None),
        6..=8 => Duration::from_micros(1 + random.below(15_000)),
        _ => DEADLINE,
    };
    if manner == 9 && stream.shutdown(Shutdown::Write).is_err() {
        return (true, None);
    }
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut answer = Vec::new();
    if stream.read_to_end(&mut answer).is_err() {
        return (true, None);
    }
    (true, parsed(&answer))
}

/// A response that is whole.
fn parsed(answer: &[u8]) -> Option<(u16, Value)> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.get(9..12)?.parse().ok()?;
    let length = head
        .to_lowercase()
        .split("content-length: ")
        .nth(1)
        .map_or(0, |it| it.lines().next().unwrap().parse().unwrap());
    (body.len() == length).then(|| (status, serde_json::from_str(body).unwrap_or(Value::Null)))
}

/// What is there before the callers come.
struct Pools {
    tasks: Vec<String>,
    events: Vec<String>,
    keys: Vec<(String, String)>,
    quarantined: Vec<String>,
    token: String,
    backups: PathBuf,
}

fn titled(title: &str) -> Value {
    let mut task = task();
    task["title"] = title.into();
    task
}

fn prepare(setup: &Setup, server: &Server, turns: usize) -> Pools {
    let (mut tasks, mut events) = (Vec::new(), Vec::new());
    for _ in 0..(2 * turns).div_ceil(500) {
        let made = server.post("/v1/tasks/batch", &json!(vec![titled("pool"); 500])).expect(200).json();
        for item in made["data"].as_array().unwrap() {
            tasks.push(item["task"]["id"].as_str().unwrap().to_owned());
            events.push(item["event_id"].as_str().unwrap().to_owned());
        }
    }
    let key = |_| {
        let asked = json!({ "company_id": "company-1", "scopes": ["tasks:read"], "label": "pool" });
        let made = server.post("/v1/admin/keys", &asked).expect(201).json();
        (made["details"]["id"].as_str().unwrap().to_owned(), made["key"].as_str().unwrap().to_owned())
    };
    let quarantine = |_| server.post("/v1/hooks/broken", &json!({})).expect(422).header("x-event-id").to_owned();
    let pools = Pools {
        keys: (0..=turns / 2).map(key).collect(),
        quarantined: (0..=turns / TOGETHER).map(quarantine).collect(),
        tasks,
        events,
        token: token(setup),
        backups: setup.data.with_extension("backups"),
    };
    std::fs::create_dir(&pools.backups).unwrap();
    // From here on its events can be replayed.
    let good = wat::parse_str(says(&titled("replayed").to_string())).unwrap();
    std::fs::write(setup.plugins.join("broken/mapper.wasm"), good).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    pools
}

fn token(setup: &Setup) -> String {
    let lock: Value = serde_json::from_slice(&std::fs::read(setup.data.join("hookmill.lock")).unwrap()).unwrap();
    lock["operator_token"].as_str().unwrap().to_owned()
}

fn call(n: usize, pools: &Pools) -> (String, Call) {
    let (turn, group) = (n / TURN, n / TURN / TOGETHER);
    let with = |method, path: String, more: String, body: Value| Call {
        method,
        path,
        headers: format!("X-API-Key: {KEY}\r\n{more}"),
        body: if body.is_null() { String::new() } else { body.to_string() },
    };
    let post = |path: &str, more: String, body: Value| with("POST", path.into(), more, body);
    match kind(n) {
        Kind::Plain => (format!("plain-{n}"), post("/v1/tasks", String::new(), titled(&format!("plain-{n}")))),
        Kind::Keyed => {
            let key = format!("keyed-{group}-{}", n % 2);
            (key.clone(), post("/v1/tasks", format!("Idempotency-Key: {key}\r\n"), titled(&key)))
        }
        Kind::Batch => {
            let title = format!("batch-{n}");
            (title.clone(), post("/v1/tasks/batch", String::new(), json!(vec![titled(&title); 3])))
        }
        Kind::Hook | Kind::HookLater => {
            let later = kind(n) == Kind::HookLater;
            let id = format!("{}-{group}-{}", if later { "later" } else { "now" }, n % 2);
            let prefer = if later { "Prefer: respond-async\r\n" } else { "" };
            (id.clone(), post("/v1/hooks/guest", format!("X-Sent: {id}\r\n{prefer}"), json!({ "id": id })))
        }
        Kind::Patch => {
            let id = &pools.tasks[turn];
            let change = json!({ "version": 1, "status": "completed" });
            (id.clone(), with("PATCH", format!("/v1/tasks/{id}"), String::new(), change))
        }
        Kind::Delete => {
            let id = &pools.tasks[pools.tasks.len() - 1 - turn];
            (id.clone(), with("DELETE", format!("/v1/tasks/{id}"), String::new(), Value::Null))
        }
        Kind::NewKey => {
            let asked = json!({ "company_id": "company-1", "scopes": ["tasks:read"], "label": format!("new-{n}") });
            (format!("new-{n}"), post("/v1/admin/keys", String::new(), asked))
        }
        Kind::Revoke => {
            let id = &pools.keys[turn / 2].0;
            (id.clone(), with("DELETE", format!("/v1/admin/keys/{id}"), String::new(), Value::Null))
        }
        Kind::Replay => {
            let id = &pools.quarantined[group];
            (id.clone(), post(&format!("/v1/events/{id}/replay"), String::new(), Value::Null))
        }
        Kind::Read => {
            let id = &pools.events[turn];
            (id.clone(), with("GET", format!("/v1/events/{id}"), String::new(), Value::Null))
        }
        Kind::List => (String::new(), with("GET", "/v1/tasks?limit=20".into(), String::new(), Value::Null)),
        Kind::Backup => {
            let dir = pools.backups.join(n.to_string()).display().to_string();
            let headers = format!("X-API-Key: {}\r\n", pools.token);
            let body = json!({ "dir": dir }).to_string();
            (dir, Call { method: "POST", path: "/v1/admin/store/backup".into(), headers, body })
        }
    }
}

/// All of them; the server is asked to stop when nearly all have been sent.
fn storm(server: &Server, shim: &Shim, pools: &Pools, most: usize) -> Vec<Done> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (next, done) = (&next, &done);
            scope.spawn(move || {
                let mut random = Random(caller as u64);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    match n {
                        _ if n >= most => return,
                        _ if n == most / 2 => shim.fdatasync_delay(Duration::from_millis(3)),
                        _ if n == most - most / 50 => server.signal("TERM"),
                        _ => {}
                    }
                    let (what, call) = call(n, pools);
                    let (whole, answer) = send(server.address(), &call, &mut random);
                    let (status, body) = answer.map_or((None, Value::Null), |(status, body)| (Some(status), body));
                    done.lock().unwrap().push(Done { kind: kind(n), what, whole, status, body });
                }
            });
        }
    });
    done.into_inner().unwrap()
}

/// Every page of a list.
fn pages(server: &Server, key: &str, path: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let reply = server.send_as("GET", &format!("{path}{cursor}"), &[("x-api-key", key)], b"").expect(200).json();
        all.extend(reply["data"].as_array().unwrap().iter().cloned());
        match reply["pagination"]["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
    }
}

fn count<'a>(all: impl Iterator<Item = &'a Value>) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    all.for_each(|it| *counts.entry(it.as_str().unwrap_or_default().to_owned()).or_default() += 1);
    counts
}

/// What is stored in the end.
struct Found {
    titles: HashMap<String, usize>,
    tasks: HashMap<String, Value>,
    events: Vec<Value>,
    keys: Vec<Value>,
    audit: Vec<Value>,
}

impl Found {
    fn read(server: &Server, token: &str) -> Self {
        let tasks = pages(server, KEY, "/v1/tasks?limit=100");
        Self {
            titles: count(tasks.iter().map(|it| &it["title"])),
            tasks: tasks.into_iter().map(|it| (it["id"].as_str().unwrap().to_owned(), it)).collect(),
            events: pages(server, KEY, "/v1/events?limit=100"),
            keys: server.get("/v1/admin/keys").expect(200).json()["data"].as_array().unwrap().clone(),
            audit: pages(server, token, "/v1/admin/audit?limit=1000"),
        }
    }

    /// How often this was done, by target.
    fn audited(&self, action: &str) -> HashMap<String, usize> {
        count(self.audit.iter().filter(|it| it["action"] == action).map(|it| &it["target"]))
    }

    fn titled(&self, title: &str) -> usize {
        self.titles.get(title).copied().unwrap_or(0)
    }
}

/// Between what was acknowledged and what was sent as a whole.
#[track_caller]
fn assert_once(done: &[&Done], found: usize, most: usize) {
    let least = if done.iter().any(|it| it.is_acknowledged()) { most } else { 0 };
    let what = &done[0].what;
    assert!(found == least || found == most, "{:?} {what}: {found}, not {least} or {most}", done[0].kind);
    assert!(found == 0 || done.iter().any(|it| it.whole), "{:?} {what}: done without a request", done[0].kind);
}

fn check(done: &[Done], found: &Found, server: &Server, pools: &Pools) {
    let mut grouped: HashMap<(Kind, &str), Vec<&Done>> = HashMap::new();
    done.iter().for_each(|it| grouped.entry((it.kind, &it.what)).or_default().push(it));
    let [created, revoked, replayed, read, backed_up] =
        ["key.created", "key.revoked", "event.replayed", "event.read", "store.backed_up"].map(|it| found.audited(it));
    let at = |counts: &HashMap<String, usize>, what: &str| counts.get(what).copied().unwrap_or(0);
    let stored = |sent: &str| {
        let of = |it: &&Value| it["headers"]["x-sent"] == *sent && it["status"] == "stored";
        found.events.iter().filter(of).map(|it| it["task_ids"].as_array().unwrap().len()).sum::<usize>()
    };
    for ((kind, what), done) in &grouped {
        let ids = || done.iter().filter(|it| it.is_acknowledged()).map(|it| it.body["id"].as_str().unwrap());
        match kind {
            Kind::Plain => assert_once(done, found.titled(what), 1),
            Kind::Keyed => {
                assert_once(done, found.titled(what), 1);
                assert!(ids().all(|it| found.tasks.contains_key(it)), "{what}: every answer names the one task");
            }
            Kind::Batch => assert_once(done, found.titled(what), 3),
            Kind::Hook | Kind::HookLater => assert_once(done, stored(what), 1),
            Kind::Patch => assert_once(done, found.tasks[*what]["version"].as_u64().unwrap() as usize - 1, 1),
            Kind::Delete => assert_once(done, usize::from(!found.tasks.contains_key(*what)), 1),
            Kind::NewKey => assert_once(done, found.keys.iter().filter(|it| it["label"] == **what).count(), 1),
            Kind::Revoke => {
                let key = found.keys.iter().find(|it| it["id"] == **what).unwrap();
                assert_once(done, usize::from(!key["revoked_at"].is_null()), 1);
                assert_eq!(at(&revoked, what), usize::from(!key["revoked_at"].is_null()), "{what}");
            }
            Kind::Replay => {
                let event = found.events.iter().find(|it| it["id"] == **what).unwrap();
                assert_once(done, event["task_ids"].as_array().unwrap().len(), 1);
                let acknowledged = done.iter().filter(|it| it.is_acknowledged()).count();
                assert!(at(&replayed, what) >= acknowledged, "{what}: an answer that is not in the audit log");
            }
            Kind::Read => assert_once(done, at(&read, what), 1),
            Kind::Backup => assert_once(done, at(&backed_up, what), 1),
            Kind::List => {}
        }
    }
    let made = |it: &&Value| it["action"] == "event.replayed" && it["detail"] == "1 created, 0 updated, 0 left";
    assert_eq!(found.audit.iter().filter(made).count(), found.titled("replayed"), "each replay that made a task, once");
    assert!(found.keys.iter().all(|it| at(&created, it["id"].as_str().unwrap()) == 1), "each key's creation, once");
    assert_eq!(created.len(), found.keys.len());
    for (id, secret) in &pools.keys {
        let key = found.keys.iter().find(|it| it["id"] == **id).unwrap();
        let status = server.send_as("GET", "/v1/tasks?limit=1", &[("x-api-key", secret)], b"").status;
        assert_eq!(status, if key["revoked_at"].is_null() { 200 } else { 401 }, "{id}");
    }
}

#[test]
fn nothing_is_lost_or_done_twice_under_callers_that_hang_up() {
    let most = requests();
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    let mut setup =
        Setup::new().config("[plugins]\nwatch = false\nsettle_ms = 0\n").plugin("broken", "", &refuses).plugin(
            "guest",
            "keep_headers = [\"x-sent\"]\n[auth]\nscheme = \"api-key\"\n[dedupe]\npointer = \"/id\"\n",
            &says(&titled("hooked").to_string()),
        );
    let Some(shim) = Shim::below(&setup.data) else { return };
    setup.env.extend(shim.env());
    let server = setup.start();
    let pools = prepare(&setup, &server, most / TURN + 1);
    let started = Instant::now();
    let done = storm(&server, &shim, &pools, most);
    let seconds = started.elapsed().as_secs_f64();
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
    for bad in ["panicked", "cut off", "still open", "ERROR"] {
        assert!(!log.contains(bad), "{bad}: {log}");
    }
    shim.fdatasync_delay(Duration::ZERO);
    let server = setup.start();
    until_settled(&server);
    let found = Found::read(&server, &token(&setup));
    check(&done, &found, &server, &pools);
    let part = |of: &dyn Fn(&&Done) -> bool| done.iter().filter(of).count();
    println!(
        "{} requests in {seconds:.1} s: {} acknowledged, {} refused, {} whose caller hung up or found the server gone, {} of them before the end of the request",
        done.len(),
        part(&|it| it.is_acknowledged()),
        part(&|it| it.status.is_some() && !it.is_acknowledged()),
        part(&|it| it.status.is_none()),
        part(&|it| it.status.is_none() && !it.whole),
    );
    let mut refused: Vec<_> = done.iter().filter(|it| it.status.is_some() && !it.is_acknowledged()).collect();
    refused.sort_by_key(|it| it.status);
    refused.dedup_by_key(|it| (it.status, it.kind));
    refused.iter().for_each(|it| println!("refused: {:?} {:?} {}", it.kind, it.status, it.body["message"]));
    println!(
        "{} tasks, {} events, {} keys, {} audit entries; none lost, none twice",
        found.tasks.len(),
        found.events.len(),
        found.keys.len(),
        found.audit.len()
    );
}

fn until_settled(server: &Server) {
    harness::until("nothing is queued", || {
        server.get("/v1/events?status=queued&limit=1").expect(200).json()["data"] == json!([])
    });
}
