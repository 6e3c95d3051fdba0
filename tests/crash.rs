//! kill -9 at any moment loses nothing that was acknowledged, and leaves nothing half written.
//!
//! Reads from a page cache that survives the process, so this says nothing of a power cut: see docs/OPERATIONS.md.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod guests;
mod harness;

use std::sync::atomic::{AtomicUsize, Ordering};

use guests::says;
use harness::{KEY, Setup, task};
use serde_json::{Value, json};

const ROUNDS: usize = 20;
const WRITERS: usize = 8;

/// Posts until the server is gone; gives what was acknowledged.
fn load(url: &str, acknowledged: &AtomicUsize, writer: usize) -> Vec<Value> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let (path, body) = if writer.is_multiple_of(2) { ("/v1/tasks", task()) } else { ("/v1/hooks/pair", json!({})) };
    let mut answers = Vec::new();
    loop {
        let sent = agent
            .post(format!("{url}{path}"))
            .header("x-api-key", KEY)
            .header("content-type", "application/json")
            .send(body.to_string());
        let answer = sent.and_then(|mut reply| Ok((reply.status().as_u16(), reply.body_mut().read_json::<Value>()?)));
        let Ok((201, body)) = answer else { return answers };
        acknowledged.fetch_add(1, Ordering::Relaxed);
        answers.push(body);
    }
}

#[test]
fn kill_9_under_load_loses_nothing_acknowledged() {
    let pair = says(&json!([task(), task()]).to_string());
    let setup = Setup::new().plugin("pair", "", &pair);
    let mut all: Vec<Value> = Vec::new();
    for round in 0..ROUNDS {
        let mut server = setup.start();
        let (url, count) = (server.url.clone(), AtomicUsize::new(0));
        let answers: Vec<Value> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    scope.spawn({
                        let (url, count) = (&url, &count);
                        move || load(url, count, writer)
                    })
                })
                .collect();
            // Another moment in every round: after so many answers.
            while count.load(Ordering::Relaxed) < 10 + round * 7 {
                std::thread::yield_now();
            }
            server.child.kill().unwrap();
            writers.into_iter().flat_map(|it| it.join().unwrap()).collect()
        });
        server.child.wait().unwrap();
        all.extend(answers);
    }
    let server = setup.start();
    let check = |task: &Value| {
        let read = server.get(&format!("/v1/tasks/{}", task["id"].as_str().unwrap())).expect(200);
        assert_eq!(read.json(), *task);
    };
    assert!(all.len() > ROUNDS * 10);
    for answer in &all {
        match answer["data"].as_array() {
            // Both tasks of a delivery, or neither.
            Some(tasks) => tasks.iter().for_each(check),
            None => check(answer),
        }
    }
    println!("{} acknowledged answers over {ROUNDS} kills, none lost", all.len());
}

#[test]
fn after_a_failed_write_reading_goes_on_and_writing_is_refused_at_once() {
    let setup = Setup::new();
    let server = setup.start();
    let id = server.post("/v1/tasks", &task()).expect(201).json()["id"].as_str().unwrap().to_owned();
    // sled puts long values into files of their own.
    std::fs::remove_dir_all(setup.data.join("journal")).unwrap();
    let long = json!({ "description": "x".repeat(500_000) });
    assert_eq!(server.post("/v1/tasks", &long).expect(503).code(), "storage_unavailable");
    server.get("/readyz").expect(503);
    assert_eq!(server.post("/v1/tasks", &task()).expect(503).header("retry-after"), "1");
    server.get(&format!("/v1/tasks/{id}")).expect(200);
    assert!(server.stop().contains("nothing is stored until a restart"));
    setup.start().get(&format!("/v1/tasks/{id}")).expect(200);
}
