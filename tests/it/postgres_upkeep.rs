//! Upkeep of a PostgreSQL database that several nodes share: partitions, leases, and what remains in the tables.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use hookmill::model::event::{Event, EventStatus};
use hookmill::model::ids::{EventId, new_id};
use hookmill::store::erasure::{Keep, Patient};
use hookmill::store::postgres::{DatabaseUrl, PostgresOptions};
use hookmill::store::verbs::*;
use hookmill::store::{Commit, Committed, Expired, Ingested, Postgres, StoredItem};

use crate::harness::{Database, postgres_or_skip};
use crate::stored::{company, ingested};

/// A node on this database.
fn node(database: &Database<'_>) -> Arc<Postgres> {
    Arc::new(Postgres::open(PostgresOptions::new(DatabaseUrl::parse(&database.url()).unwrap())).unwrap())
}

fn received(at: DateTime<Utc>, body: &str) -> Event {
    let event = ingested("a", |_| {}).event;
    let (id, body_bytes) = (EventId(new_id(at)), body.len() as u64);
    let body = body.to_owned().into();
    Event { id, received_at: at, status: EventStatus::Skipped, task_ids: Vec::new(), body, body_bytes, ..event }
}

fn alone(event: &Event) -> Commit {
    Ingested { event: event.clone(), tasks: Vec::new() }.into()
}

fn days(database: &Database<'_>) -> usize {
    let names = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^event(s|_bodies)_[0-9]+$'";
    database.sql(names).lines().count()
}

/// After this time everything that is received now has expired.
fn expiry() -> DateTime<Utc> {
    Utc::now() + Duration::days(100)
}

/// The node has seen the day's partition, and another has dropped it: otherwise it refuses what was sent until a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_a_day_that_another_node_has_dropped_is_repeated() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (one, other) = (node(&database), node(&database));
    let event = received(Utc::now() - Duration::days(3), "{}");
    one.commit(alone(&event)).await.unwrap();
    other.commit(alone(&received(event.received_at, "{}"))).await.unwrap();
    let expired = one.expire(expiry()).await.unwrap();
    assert!(expired.event_bytes > 0);
    // The days around the time of the sweep.
    assert_eq!(days(&database), 8);
    for node in [&other, &one] {
        assert_eq!(node.commit(alone(&received(event.received_at, "{}"))).await.unwrap(), Committed::Stored);
        assert_eq!(node.commit(alone(&received(Utc::now(), "{}"))).await.unwrap(), Committed::Stored);
    }
    assert_eq!(database.sql("SELECT count(*) FROM hookmill.events"), "4");
}

/// Two sweeps at once would wait for each other's locks.
#[tokio::test(flavor = "multi_thread")]
async fn one_node_at_a_time_sweeps() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let one = node(&database);
    let event = received(Utc::now(), "{}");
    one.commit(alone(&event)).await.unwrap();
    let lease = |seconds: i64| {
        let delete = "DELETE FROM hookmill.leases;";
        let insert = format!("now() + interval '{seconds} seconds' FROM (VALUES ('expire'), ('forget')) AS v (name)");
        database.sql(&format!("{delete} INSERT INTO hookmill.leases SELECT name, gen_random_uuid(), {insert}"));
    };
    let keep = Keep { integration: "tasks".into(), age: Duration::days(1) };
    let forget = async || {
        let (one, keep) = (Arc::clone(&one), keep.clone());
        tokio::task::spawn_blocking(move || one.forget(&[keep], Utc::now() + Duration::days(3)).unwrap()).await.unwrap()
    };
    lease(60);
    assert_eq!(one.expire(expiry()).await.unwrap(), Expired::default());
    assert_eq!(forget().await, []);
    assert_eq!(one.event(&event.company_id, event.id).await.unwrap(), Some(event.clone()));
    // That node is gone.
    lease(-1);
    assert_eq!(forget().await, [("tasks".to_owned(), 1)]);
    assert!(one.expire(expiry()).await.unwrap().event_bytes > 0);
    assert_eq!(database.sql("SELECT count(*) FROM hookmill.leases"), "0");
}

/// A backup would lack events, or nobody could write while it runs.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_everything_of_its_moment_although_events_expire_and_the_next_sweep_drops_them() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (one, other) = (node(&database), node(&database));
    // More than a page, in bytes and in number; the visitor waits in the first one.
    let large = "x".repeat(3 << 20);
    for n in 0..12 {
        let event = received(Utc::now() - Duration::days(n % 3), &large);
        one.commit(alone(&event)).await.unwrap();
    }
    for _ in 0..5 {
        let many = (0..500).map(|_| Ingested { event: received(Utc::now(), "{}"), tasks: Vec::new() }).collect();
        one.commit(Commit { ingested: many, idempotency: None, lane: None, audit: None }).await.unwrap();
    }
    let with_task = ingested("a", |_| {});
    let bytes = 12 * large.len() + 2500 * 2 + with_task.event.body.len();
    one.commit(with_task.into()).await.unwrap();
    let handle = tokio::runtime::Handle::current();
    let exporting = Arc::clone(&one);
    let exported = tokio::task::spawn_blocking(move || {
        let (mut events, mut bytes) = (0, 0);
        let mut visit = |item| {
            if matches!(item, StoredItem::Task(_)) {
                let expired = handle.block_on(other.expire(expiry())).unwrap();
                assert_eq!(expired.event_bytes, 0, "the test proves nothing");
                let new = other.commit(alone(&received(Utc::now(), "{}")));
                assert_eq!(handle.block_on(new).unwrap(), Committed::Stored);
            }
            if let StoredItem::Event(event) = item {
                (events, bytes) = (events + 1, bytes + event.body.len());
            }
            Ok(())
        };
        exporting.export(&mut visit).unwrap();
        (events, bytes)
    });
    assert_eq!(exported.await.unwrap(), (12 + 2500 + 1, bytes));
    assert!(one.expire(expiry()).await.unwrap().event_bytes > 0);
    assert_eq!(days(&database), 8);
}

/// Old versions of rows would have the content until PostgreSQL happens to remove them.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_leaves_no_old_versions_of_rows() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let one = node(&database);
    let event = received(Utc::now(), "{\"who\":\"patient-1\"}");
    one.commit(alone(&event)).await.unwrap();
    let table = format!("hookmill.event_bodies_{}", event.received_at.format("%Y%m%d"));
    let size = || database.sql(&format!("SELECT pg_relation_size('{table}')"));
    assert_eq!(size(), "8192");
    let (erasing, patient) = (Arc::clone(&one), Patient::new(company("a"), "patient-1").unwrap());
    let erase = move || erasing.erase(&patient, Utc::now(), false).unwrap();
    assert_eq!(tokio::task::spawn_blocking(erase).await.unwrap().events.len(), 1);
    assert_eq!(size(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_removes_dead_nodes_old_erasures_and_detached_partitions() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let one = node(&database);
    one.commit(alone(&received(Utc::now() - Duration::days(120), "{}"))).await.unwrap();
    database.sql(
        "INSERT INTO hookmill.nodes (id, name, role, version, schema_version, leased_until)
         SELECT gen_random_uuid(), 'node', 'all', '1', 1, now() - age FROM (VALUES (interval '2 hours'), ('1 minute')) v (age);
         INSERT INTO hookmill.erasures (company_id, patient, patient_id, leading_zeros, at, begun_at)
         SELECT 'a', age::text, age::text, false, now(), now() - age FROM (VALUES (interval '25 hours'), ('23 hours')) v (age)",
    );
    // The sweep ended between two of its steps.
    let name = format!("{}", (Utc::now() - Duration::days(120)).format("%Y%m%d"));
    database.sql(&format!("ALTER TABLE hookmill.events DETACH PARTITION hookmill.events_{name}"));
    assert_eq!(days(&database), 10);
    one.expire(Utc::now()).await.unwrap();
    assert_eq!(days(&database), 8);
    let gone = || database.sql("SELECT count(*) FROM hookmill.nodes WHERE name = 'node'") == "0";
    crate::harness::until("nodes whose leases have ended are gone", gone);
    assert_eq!(database.sql("SELECT patient_id FROM hookmill.erasures"), "23:00:00");
}

/// What is imported is older than what was read before.
#[tokio::test(flavor = "multi_thread")]
async fn imported_events_are_erased_when_their_time_is_over() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let one = node(&database);
    let forget = async || {
        let keep = Keep { integration: "tasks".into(), age: Duration::days(1) };
        let one = Arc::clone(&one);
        tokio::task::spawn_blocking(move || one.forget(&[keep], Utc::now()).unwrap()).await.unwrap()
    };
    one.commit(alone(&received(Utc::now() - Duration::days(5), "{}"))).await.unwrap();
    assert_eq!(forget().await, [("tasks".to_owned(), 1)]);
    let progress = || database.sql("SELECT up_to FROM hookmill.forgotten");
    let before = progress();
    let older = received(Utc::now() - Duration::days(9), "{}");
    one.import(vec![StoredItem::Event(Box::new(older.clone()))]).await.unwrap();
    assert!(progress() < before);
    assert_eq!(forget().await, [("tasks".to_owned(), 1)]);
    assert!(one.event(&older.company_id, older.id).await.unwrap().unwrap().erased_at.is_some());
    assert!(progress() >= before);
    assert_eq!(forget().await, []);
}
