//! Durable creates in SQLite: WAL, synchronous=FULL, one writer thread that puts all waiting changes into one transaction.
//! A task with its event: the row, five indexes, the body.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [SECONDS]`, in the directory whose disk is measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SCHEMA: &str = "
    PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;
    CREATE TABLE tasks(id TEXT PRIMARY KEY, patient TEXT, status INT, priority INT, kind TEXT, assignee TEXT, value BLOB);
    CREATE TABLE events(id TEXT PRIMARY KEY, body BLOB);
    CREATE INDEX by_patient ON tasks(patient, id); CREATE INDEX by_status ON tasks(status, id);
    CREATE INDEX by_priority ON tasks(priority, id); CREATE INDEX by_kind ON tasks(kind, id);
    CREATE INDEX by_assignee ON tasks(assignee, id);";

fn write(file: &str, waiting: std::sync::mpsc::Receiver<Sender<()>>) -> Result<()> {
    let mut database = rusqlite::Connection::open(file)?;
    database.execute_batch(SCHEMA)?;
    let mut number = 0_i64;
    while let Ok(first) = waiting.recv() {
        let group: Vec<_> = std::iter::once(first).chain(waiting.try_iter().take(1023)).collect();
        let transaction = database.transaction()?;
        {
            let mut task = transaction.prepare_cached("INSERT INTO tasks VALUES(?,?,?,?,?,?,?)")?;
            let mut event = transaction.prepare_cached("INSERT INTO events VALUES(?,?)")?;
            for _ in &group {
                number += 1;
                let id = format!("01a20d8a-5e2b-776e-9063-{number:012}");
                let (patient, kind) = (format!("patient_{}", number % 100_000), format!("kind_{}", number % 8));
                let assignee = format!("user_{}", number % 50);
                task.execute((&id, patient, number % 3, number % 4, kind, assignee, vec![0x5a_u8; 350]))?;
                event.execute((&id, vec![0x5a_u8; 300]))?;
            }
        }
        transaction.commit()?;
        group.into_iter().for_each(|done| {
            let _gone = done.send(());
        });
    }
    Ok(())
}

fn measure(writers: usize, time: Duration) -> Result<f64> {
    let file = format!("hookmill-peers-{}.sqlite", std::process::id());
    let (queue, waiting): (SyncSender<Sender<()>>, _) = sync_channel(1024);
    let path = file.clone();
    let writer = std::thread::spawn(move || write(&path, waiting));
    let (done, started) = (AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..writers {
            let (queue, done) = (queue.clone(), &done);
            scope.spawn(move || {
                while started.elapsed() < time {
                    let (done_sender, acknowledged) = channel();
                    if queue.send(done_sender).is_err() || acknowledged.recv().is_err() {
                        return;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let rate = done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    drop(queue);
    writer.join().map_err(|_| "the writer panicked")??;
    for suffix in ["", "-wal", "-shm"] {
        let _not_always_there = std::fs::remove_file(format!("{file}{suffix}"));
    }
    Ok(rate)
}

fn main() -> Result<()> {
    let seconds = std::env::args().nth(1).and_then(|it| it.parse().ok()).unwrap_or(5);
    println!("{:>8} {:>14}", "writers", "SQLite/s");
    for writers in [1, 16, 64, 256] {
        println!("{writers:>8} {:>14.0}", measure(writers, Duration::from_secs(seconds))?);
    }
    Ok(())
}
