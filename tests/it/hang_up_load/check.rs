//! What is stored in the end, compared with what the callers know.

use std::collections::HashMap;

use serde_json::Value;

use super::Done;
use super::calls::{Kind, Pools};
use crate::harness::{KEY, Server};

/// Every page of a list.
pub fn pages(server: &Server, key: &str, path: &str) -> Vec<Value> {
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

pub fn count<'a>(all: impl Iterator<Item = &'a Value>) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    all.for_each(|it| *counts.entry(it.as_str().unwrap_or_default().to_owned()).or_default() += 1);
    counts
}

/// What is stored in the end.
pub struct Found {
    pub titles: HashMap<String, usize>,
    pub tasks: HashMap<String, Value>,
    pub events: Vec<Value>,
    pub keys: Vec<Value>,
    pub audit: Vec<Value>,
}

impl Found {
    pub fn read(server: &Server, token: &str) -> Self {
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
pub fn assert_once(done: &[&Done], found: usize, most: usize) {
    let least = if done.iter().any(|it| it.is_acknowledged()) { most } else { 0 };
    let what = &done[0].what;
    assert!(found == least || found == most, "{:?} {what}: {found}, not {least} or {most}", done[0].kind);
    assert!(found == 0 || done.iter().any(|it| it.whole), "{:?} {what}: done without a request", done[0].kind);
}

pub fn check(done: &[Done], found: &Found, server: &Server, pools: &Pools) {
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
