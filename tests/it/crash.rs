//! kill -9 at any moment loses nothing that was acknowledged, and leaves nothing half written.
//!
//! Reads from a page cache that survives the process, so this says nothing of a power cut: scripts/power-loss does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness;
use crate::harness::{KEY, Server, Setup, in_time, task};

/// Kills; `scripts/kill-rounds` asks for more.
#[expect(clippy::disallowed_methods, reason = "a setting of this test, not of the program")]
fn rounds() -> usize {
    std::env::var("HOOKMILL_TEST_KILLS").ok().and_then(|it| it.parse().ok()).unwrap_or(20)
}

const WRITERS: usize = 8;

/// The acknowledged changes of one writer.
#[derive(Default)]
struct Told {
    /// Each task as it was last acknowledged; null where its deletion was.
    tasks: HashMap<String, Value>,
    /// Tasks with a change under way when the server died: the change may be there or not.
    open: Vec<String>,
    /// Idempotency keys and the id of the task that each made.
    keys: Vec<(String, String)>,
}

struct Writer<'a> {
    agent: ureq::Agent,
    url: &'a str,
    count: &'a AtomicUsize,
    told: Told,
}

impl Writer<'_> {
    /// The answer, or nothing once the server is gone.
    fn send(&self, method: &str, path: &str, key: Option<&str>, body: &Value) -> Option<Value> {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        request = request.header("x-api-key", KEY).header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let mut reply = self.agent.run(request.body(body.to_string()).unwrap()).ok()?;
        assert!(reply.status().is_success(), "{method} {path}: {}", reply.status());
        let text = reply.body_mut().read_to_string().ok()?;
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    fn note(&mut self, task: &Value) -> String {
        let id = task["id"].as_str().unwrap().to_owned();
        self.told.tasks.insert(id.clone(), task.clone());
        id
    }

    /// Creates in every way, changes and deletes, until the server is gone.
    fn load(&mut self, name: &str) -> Option<()> {
        for n in 0.. {
            let key = format!("{name}-{n}");
            let created = self.send("POST", "/v1/tasks", Some(&key), &task())?;
            let id = self.note(&created);
            self.told.keys.push((key, id.clone()));
            let pair = self.send("POST", "/v1/hooks/pair", None, &json!({}))?;
            let pair: Vec<String> = pair["data"].as_array().unwrap().iter().map(|it| self.note(it)).collect();
            let batch = self.send("POST", "/v1/tasks/batch", None, &json!([task(), task(), task()]))?;
            for item in batch["data"].as_array().unwrap() {
                self.note(&item["task"]);
            }
            self.told.open.push(id.clone());
            let patch = json!({"version": 1, "title": format!("changed {n}"), "status": "completed"});
            let patched = self.send("PATCH", &format!("/v1/tasks/{id}"), None, &patch)?;
            self.note(&patched);
            self.told.open[0].clone_from(&pair[0]);
            self.send("DELETE", &format!("/v1/tasks/{}", pair[0]), None, &json!({}))?;
            self.told.tasks.insert(pair[0].clone(), Value::Null);
            self.told.open.clear();
        }
        None
    }
}

fn check(server: &Server, all: &[Told]) {
    let (mut there, mut unsure) = (0, 0);
    for told in all {
        for (id, task) in &told.tasks {
            let reply = server.get(&format!("/v1/tasks/{id}"));
            match (told.open.contains(id), task.is_null()) {
                (true, _) => unsure += 1,
                (false, true) => assert_eq!(reply.status, 404, "{id} was deleted"),
                (false, false) => assert_eq!(reply.expect(200).json(), *task),
            }
            there += usize::from(!task.is_null());
        }
        if let Some((key, id)) = told.keys.last() {
            let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
            let again = server.send("POST", "/v1/tasks", &headers, task().to_string().as_bytes()).expect(201);
            assert_eq!(
                (again.json()["id"].as_str().unwrap(), again.header("idempotent-replayed")),
                (id.as_str(), "true")
            );
        }
    }
    let total = server.get("/v1/tasks?limit=1").expect(200).json()["pagination"]["total"].as_u64().unwrap();
    // What was under way may have been stored without an answer: a pair, a batch, a task for each writer and kill.
    let most = (there + unsure + all.len() * 6) as u64;
    assert!((there.saturating_sub(unsure) as u64..=most).contains(&total), "{there} {unsure} {total}");
}

#[test]
fn kill_9_under_mixed_load_loses_nothing_acknowledged() {
    let pair = says(&json!([task(), task()]).to_string());
    // Small segments and snapshots, so that these are cut through as well.
    let config = "[store]\nsegment_mib = 1\nsnapshot_mib = 2\n";
    let setup = Setup::new().plugin("pair", "", &pair).config(config);
    let mut all: Vec<Told> = Vec::new();
    let rounds = rounds();
    for round in 0..rounds {
        let mut server = setup.start();
        let (url, count) = (server.url.clone(), AtomicUsize::new(0));
        let told: Vec<Told> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (url, count) = (&url, &count);
                    scope.spawn(move || {
                        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
                        let mut it = Writer { agent, url, count, told: Told::default() };
                        it.load(&format!("{round}-{writer}"));
                        it.told
                    })
                })
                .collect();
            // Another moment in every round: after so many answers.
            let answered = in_time(|| count.load(Ordering::Relaxed) >= 20 + round % 40 * 37);
            // Before anything fails: it ends the writers.
            server.child.kill().unwrap();
            assert!(answered, "the server does not answer");
            writers.into_iter().map(|it| it.join().unwrap()).collect()
        });
        server.child.wait().unwrap();
        all.extend(told);
    }
    check(&setup.start(), &all);
    let acknowledged: usize = all.iter().map(|it| it.tasks.len()).sum();
    println!("{acknowledged} tasks over {rounds} kills, none lost");
    let output = harness::binary().args(["store", "check", "--data-dir"]).arg(&setup.data).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
