//! The console's live tail: server-sent events of what is stored.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Browser, Cluster, DEADLINE, KEY, Server, Setup, postgres_or_skip, task, until};
use crate::shim::Shim;

/// A tail, read line by line.
struct TailReader(BufReader<TcpStream>);

impl TailReader {
    fn open(server: &Server, cookie: &str, query: &str, more: &str) -> Self {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let head = format!("GET /console/events/tail?{query} HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        Self(BufReader::new(stream))
    }

    /// The next line that begins like this, without its beginning; none at the end.
    fn next(&mut self, start: &str) -> Option<String> {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < DEADLINE, "only other lines than {start} come");
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(rest) = line.trim_end().strip_prefix(start) {
                return Some(rest.to_owned());
            }
        }
    }

    fn status(&mut self) -> u16 {
        self.next("HTTP/1.1 ").unwrap()[..3].parse().unwrap()
    }

    fn opened(mut self) -> Self {
        assert_eq!(self.status(), 200);
        self.next("content-type: text/event-stream").unwrap();
        self
    }

    fn message(&mut self) -> Option<Value> {
        self.next("data:").map(|it| serde_json::from_str(&it).unwrap())
    }

    /// What was stored before, of the next message that has any of it.
    fn known(&mut self) -> Option<Value> {
        std::iter::from_fn(|| self.message()).map(|it| it["known"].clone()).find(|it| it != &json!([]))
    }

    /// Ids until there are so many, and how many were left out.
    fn ids(&mut self, count: usize) -> (Vec<String>, u64) {
        let (mut ids, mut omitted) = (Vec::new(), 0);
        while ids.len() + usize::try_from(omitted).unwrap() < count {
            let message = self.message().unwrap();
            omitted += message["omitted"].as_u64().unwrap();
            ids.extend(message["events"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        }
        (ids, omitted)
    }
}

fn states(rows: &Value) -> Vec<(&str, &str)> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|it| (it["id"].as_str().unwrap(), it["status"].as_str().unwrap())).collect()
}

fn stored(server: &Server) -> String {
    server.post("/v1/tasks", &task()).expect(201).header("x-event-id").to_owned()
}

#[test]
fn what_is_stored_is_shown_as_far_as_the_filters_match() {
    let server = Setup::new().start();
    let browser = Browser::with_key(&server, KEY);
    let mut all = TailReader::open(&server, &browser.cookie, "", "").opened();
    let mut wrong = TailReader::open(&server, &browser.cookie, "status=quarantined", "").opened();
    let good = stored(&server);
    let bad =
        server.post("/v1/tasks", &json!({"title": "a secret of a body"})).expect(422).header("x-event-id").to_owned();
    assert_eq!(all.ids(2).0, [good.clone(), bad.clone()]);
    let message = wrong.message().unwrap();
    assert_eq!((&message["events"][0]["id"], &message["events"][0]["code"]), (&json!(bad), &json!("invalid_field")));
    assert!(!message.to_string().contains("secret"), "{message}");
    // A tail that begins later, or again, has both as they are stored.
    let known = TailReader::open(&server, &browser.cookie, "", "").opened().message().unwrap();
    assert_eq!(states(&known["known"]), [(good.as_str(), "stored"), (&bad, "quarantined")], "{known}");
    assert_eq!((&known["events"], &known["older"]), (&json!([]), &Value::Null));
    let known = TailReader::open(&server, &browser.cookie, "status=stored", "").opened().message().unwrap();
    assert_eq!(states(&known["known"]), [(good.as_str(), "stored")], "{known}");
    assert_eq!(TailReader::open(&server, &browser.cookie, "status=nonsense", "").status(), 422);
    assert_eq!(TailReader::open(&server, "", "", "").status(), 303);
}

/// Otherwise a flood freezes the page, or is shown as if it were everything.
#[test]
fn a_flood_is_cut_and_counted() {
    let server = Setup::new().start();
    let browser = Browser::with_key(&server, KEY);
    let mut tail = TailReader::open(&server, &browser.cookie, "", "").opened();
    let tasks: Vec<Value> = (0..1000).map(|_| task()).collect();
    for _ in 0..5 {
        server.post("/v1/tasks/batch", &json!({"tasks": tasks})).expect(200);
    }
    let (shown, omitted) = tail.ids(5000);
    assert!(shown.len() as u64 + omitted == 5000 && omitted > 0, "{} and {omitted}", shown.len());
}

#[test]
fn tails_are_few_and_end_with_the_key_and_the_server() {
    let setup = Setup::new();
    let server = setup.start();
    let asked = json!({"label": "x", "company_id": "company-1", "scopes": ["tasks:read"]});
    let made = server.post("/v1/admin/keys", &asked).expect(201).json();
    let guest = Browser::with_key(&server, made["key"].as_str().unwrap());
    // Without the scope for reasons, no form of the parameter tells which events have one.
    for reason in ["reason=schema", "reason%5B%5D=schema", "reason[]=schema"] {
        assert_eq!(TailReader::open(&server, &guest.cookie, reason, "").status(), 403, "{reason}");
    }
    let mut ended = TailReader::open(&server, &guest.cookie, "", "").opened();
    let browser = Browser::with_key(&server, KEY);
    let mut open: Vec<_> = (0..15).map(|_| TailReader::open(&server, &browser.cookie, "", "").opened()).collect();
    assert_eq!(TailReader::open(&server, &browser.cookie, "", "").status(), 429);
    let id = made["details"]["id"].as_str().unwrap();
    server.send("DELETE", &format!("/v1/admin/keys/{id}"), &[], b"").expect(204);
    assert_eq!(ended.next("event:").as_deref(), Some("end"));
    assert_eq!(ended.message(), Some(json!({})));
    assert_eq!(ended.message(), None, "the connection ends");
    // Its place is free again.
    let last = TailReader::open(&server, &browser.cookie, "", "").opened();
    let started = Instant::now();
    server.stop();
    assert!(started.elapsed() < Duration::from_secs(20), "tails hold up the end: {:?}", started.elapsed());
    assert!(open.iter_mut().all(|it| it.message().is_none()));
    drop(last);
}

/// Otherwise one company sees another's events, or a visitor the reasons that the API keeps from them.
#[test]
fn a_tail_has_the_events_of_its_company_and_what_its_visitor_may_see() {
    let setup = Setup::new();
    let scopes = ["admin", "tasks:write", "tasks:read"];
    let [own, other] = ["company-1", "company-2"].map(|company| setup.key(company, &scopes));
    let reader = setup.key("company-1", &["tasks:read"]);
    let server = setup.start();
    let refused = |key: &str| {
        let reply = server.send_as("POST", "/v1/tasks", &[("x-api-key", key)], b"{\"title\": \"x\"}");
        reply.expect(422).header("x-event-id").to_owned()
    };
    let before = [refused(&own), refused(&other)];
    let mut tails = [&own, &other, &reader]
        .map(|key| TailReader::open(&server, &Browser::with_key(&server, key).cookie, "", "").opened());
    let known = tails.each_mut().map(|it| it.known().unwrap());
    let after = [refused(&own), refused(&other)];
    for ((tail, known), (company, code)) in
        tails.iter_mut().zip(&known).zip([(0, "invalid_field"), (1, "invalid_field"), (0, "")])
    {
        let message = tail.message().unwrap();
        for (rows, id) in [(known, &before[company]), (&message["events"], &after[company])] {
            assert_eq!((states(rows), &rows[0]["code"]), (vec![(id.as_str(), "quarantined")], &json!(code)));
        }
    }
}

/// Otherwise an event stays "quarantined" on a page although another server has processed it.
#[test]
fn what_another_server_processes_is_shown_again() {
    let cluster: &Cluster = postgres_or_skip!();
    let database = cluster.database();
    let script = |code: &str| format!("export default () => {code};");
    let setup = Setup::new().config("[plugins]\nwatch = false\n").script("guest", &script("null")).on(&database);
    let (one, other) = (setup.start(), setup.another().on(&database).start());
    let failed = || one.post("/v1/hooks/guest", &json!({})).header("x-event-id").to_owned();
    let before = failed();
    let browser = Browser::with_key(&one, KEY);
    let mut tail = TailReader::open(&one, &browser.cookie, "", "").opened();
    let after = failed();
    assert_eq!(tail.ids(1).0, std::slice::from_ref(&after));
    std::fs::write(setup.plugins.join("guest/mapper.js"), script("({ title: 'Call', description: 'x' })")).unwrap();
    other.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    for id in [&before, &after] {
        other.post(&format!("/v1/events/{id}/replay"), &json!({})).expect(200);
        let changed = tail.known().unwrap();
        assert_eq!(states(&changed), [(id.as_str(), "stored")], "of the page as it was loaded, and of the tail");
    }
}

/// Otherwise an event that is being stored while a tail begins is in neither.
#[test]
fn an_event_that_is_stored_while_a_tail_begins_is_shown() {
    let setup = Setup::new();
    let Some(shim) = Shim::below(&setup.data) else { return };
    shim.only(".journal");
    let setup = shim.env().into_iter().fold(setup, |setup, (name, value)| setup.env(&name, &value));
    let server = setup.start();
    let browser = Browser::with_key(&server, KEY);
    let old = stored(&server);
    shim.hold_fdatasync(true);
    let mut tail = std::thread::scope(|scope| {
        let posted = scope.spawn(|| stored(&server));
        until("it waits for the disk", || shim.held() > 0);
        let mut tail = TailReader::open(&server, &browser.cookie, "", "").opened();
        assert_eq!(states(&tail.known().unwrap()), [(old.as_str(), "stored")], "it is not stored yet");
        shim.hold_fdatasync(false);
        let new = posted.join().unwrap();
        assert_eq!(states(&tail.known().unwrap()), [(new.as_str(), "stored")]);
        tail
    });
    // Once is enough.
    let next = stored(&server);
    assert_eq!(tail.ids(1).0, [next]);
}
