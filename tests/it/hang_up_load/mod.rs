//! Requests of every kind, under load, with callers that hang up at any moment and a disk that is slow half of the time; the
//! last ones while the server shuts down. Everything that was acknowledged is stored, nothing is done twice, and every change
//! is in the audit log once.

mod calls;
mod check;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use calls::{Call, Kind, Pools, TURN, call, kind, prepare, titled, token};
use check::{Found, check};

use crate::guests::{command, says};
use crate::harness;
use crate::harness::{DEADLINE, Server, Setup};
use crate::shim::Shim;

/// Requests; `scripts/hang-ups` asks for more.
#[expect(clippy::disallowed_methods, reason = "a setting of this test, not of the program")]
fn requests() -> usize {
    std::env::var("HOOKMILL_TEST_HANG_UPS").ok().and_then(|it| it.parse().ok()).unwrap_or(2_000)
}

const CALLERS: usize = 16;
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
    for bad in ["panicked", "requests were aborted", "still open", "ERROR"] {
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
