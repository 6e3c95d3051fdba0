//! What the callers ask for.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness::{KEY, Server, Setup, task};

/// In every so many requests, each kind comes as often as [`kind`] says.
pub const TURN: usize = 20;
/// Requests that try the same key, delivery or replay come within this many turns.
pub const TOGETHER: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
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

pub fn kind(n: usize) -> Kind {
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

pub struct Call {
    pub method: &'static str,
    pub path: String,
    pub headers: String,
    pub body: String,
}

/// What is there before the callers come.
pub struct Pools {
    pub tasks: Vec<String>,
    pub events: Vec<String>,
    pub keys: Vec<(String, String)>,
    pub quarantined: Vec<String>,
    pub token: String,
    pub backups: PathBuf,
}

pub fn titled(title: &str) -> Value {
    let mut task = task();
    task["title"] = title.into();
    task
}

pub fn prepare(setup: &Setup, server: &Server, turns: usize) -> Pools {
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

pub fn token(setup: &Setup) -> String {
    let lock: Value = serde_json::from_slice(&std::fs::read(setup.data.join("hookmill.lock")).unwrap()).unwrap();
    lock["operator_token"].as_str().unwrap().to_owned()
}

pub fn call(n: usize, pools: &Pools) -> (String, Call) {
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
