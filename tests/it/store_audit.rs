//! The audit log: its expiry, its reserve on a full disk, and its export.

use chrono::{DateTime, Duration, Utc};
use hookmill::model::audit::{Action, Entry, OPERATOR};
use hookmill::store::Embedded;
use hookmill::store::StoredItem;
use hookmill::store::embedded::StoreOptions;
use hookmill::store::verbs::*;
use serde_json::json;
use tempfile::TempDir;

use crate::harness;
use crate::harness::{Setup, task};
use crate::stored;

fn entry(at: DateTime<Utc>) -> Entry {
    Entry::new(OPERATOR, Action::EventRead, "e", at)
}

/// More entries than one page or one removal has.
async fn filled(data: &std::path::Path, options: &StoreOptions, now: DateTime<Utc>) -> Embedded {
    let store = Embedded::open(data, options).unwrap();
    let entries = |days, count| (0..count).map(move |_| StoredItem::Audit(Box::new(entry(now - Duration::days(days)))));
    store.import(entries(2191, 2500).chain(entries(2189, 1200)).collect()).await.unwrap();
    store
}

/// HIPAA asks for six years of documentation (45 CFR 164.316(b)(2)(i)); older entries would accumulate forever.
#[tokio::test(flavor = "multi_thread")]
async fn entries_are_kept_for_six_years_or_as_long_as_the_settings_say() {
    let (dir, now) = (TempDir::new().unwrap(), Utc::now());
    let store = filled(&dir.path().join("default"), &StoreOptions::default(), now).await;
    assert_eq!(store.expire(now).await.unwrap().audit_entries, 2500);
    let left = store.audit(None, None, 5000).await.unwrap();
    assert!(left.len() == 1200 && left.iter().all(|it| it.at > now - Duration::days(2190)));
    assert_eq!(store.expire(now).await.unwrap().audit_entries, 0);
    let store =
        filled(&dir.path().join("forever"), &StoreOptions { audit: None, ..StoreOptions::default() }, now).await;
    assert_eq!(store.expire(now).await.unwrap().audit_entries, 0);
    assert_eq!(store.audit(None, None, 5000).await.unwrap().len(), 3700);
}

#[test]
fn audit_days_is_a_setting_and_zero_is_forever() {
    for (toml, days) in [("", Some(2190)), ("audit_days = 0", None), ("audit_days = 30", Some(30))] {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(&file, format!("[retention]\n{toml}\n")).unwrap();
        let options = hookmill::config::Options { config: Some(file), ..Default::default() };
        let config = hookmill::config::Config::load(&options).unwrap();
        assert_eq!(config.store.audit, days.map(Duration::days), "{toml}");
    }
}

/// It is read page by page: each entry comes once, newest first, and no page's end is lost.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_every_entry_and_every_task_once() {
    let (dir, now) = (TempDir::new().unwrap(), Utc::now());
    let store = filled(&dir.path().join("data"), &StoreOptions::default(), now).await;
    for name in ["b", "a"] {
        let tasks = (0..1100).flat_map(|_| stored::ingested(name, |_| {}).tasks);
        store.import(tasks.map(|it| StoredItem::Task(Box::new(it))).collect()).await.unwrap();
    }
    let (mut entries, mut tasks) = (Vec::new(), Vec::new());
    store
        .export(&mut |item| {
            match item {
                StoredItem::Audit(it) => entries.push(it.id),
                StoredItem::Task(it) => tasks.push((it.company_id.to_string(), it.id)),
                _ => {}
            }
            Ok(())
        })
        .unwrap();
    assert!(entries.len() == 3700 && entries.is_sorted_by(|a, b| a > b));
    tasks.sort_unstable();
    tasks.dedup();
    assert_eq!(tasks.len(), 2200);
}

/// Reading bodies over and over must not use up the space that a revocation needs.
#[test]
fn on_a_nearly_full_disk_a_key_can_be_revoked_and_no_body_is_shown_without_its_entry() {
    let mut setup = Setup::new();
    let server = setup.start();
    let key = setup.key("company-1", &["tasks:read"]);
    let made = server.post("/v1/tasks", &task()).expect(201);
    let event = format!("/v1/events/{}", made.header("x-event-id"));
    server.get(&event).expect(200);
    let ids = server.get("/v1/admin/keys").expect(200).json();
    let lost =
        ids["data"].as_array().unwrap().iter().find(|it| it["scopes"] == json!(["tasks:read"])).unwrap()["id"].clone();
    server.stop();
    setup.config = "[store]\nreserve_mib = 4000000000".into();
    let server = setup.start();
    let reads = |server: &harness::Server| {
        let log = server.get("/v1/admin/audit?limit=1000").expect(200).json();
        let entries = log["data"].as_array().unwrap().clone();
        ["event.read", "key.revoked"].map(|action| entries.iter().filter(|it| it["action"] == action).count())
    };
    for path in [event.clone(), format!("{event}/raw")] {
        let reply = server.get(&path).expect(503);
        assert_eq!(reply.code(), "storage_full");
        assert!(!reply.text.contains("title"), "nothing of the body");
    }
    // Who sees no body needs no entry.
    server.send_as("GET", &event, &[("x-api-key", &key)], b"").expect(200);
    assert_eq!(reads(&server), [1, 0]);
    let path = format!("/v1/admin/keys/{}", lost.as_str().unwrap());
    assert!(server.send("DELETE", &path, &[], b"").status < 300);
    assert_eq!(reads(&server), [1, 1]);
    server.send_as("GET", &event, &[("x-api-key", &key)], b"").expect(401);
}
