use std::io::{BufReader, Cursor};

use chrono::DateTime;

use crate::auth::Scope;
use crate::cli::transfer::*;
use crate::model::audit::{Action, Entry};
use crate::model::event::{Event, EventStatus, Reason, Stage, StageTime};
use crate::model::ids::{EventId, IntegrationName, TaskId, new_id};
use crate::model::origin::Origin;
use crate::model::provenance::Provenance;
use crate::model::task::{Priority, Status, Task};
use crate::store::Embedded;
use crate::store::embedded::{StoreOptions, check};
use crate::store::verbs::*;
use crate::store::{PageRequest, TaskFilter};
use crate::system::trace::TraceContext;

const TASK: &str = r#"{"kind":"task","title":"t","description":"d","assigned_user_ids":["u"],"created_by_id":"u","deadline":"2026-12-01T09:00:00Z","tags":["a"],"call_id":null,"fax_id":null,"assistant_id":null,"session_id":null,"patient_id":"p-1","status":"pending","priority":"medium","type":null,"id":"01a213f3-6bc7-7000-8000-000000000001","company_id":"company-1","version":3,"created_at":"2026-11-25T18:24:09.671Z","updated_at":"2026-11-25T18:24:09.671Z","deleted_at":null,"external_message_ids":{"sms":"1"},"event_id":"01a213f3-6bc7-7000-8000-000000000002"}"#;
const EVENT: &str = r#"{"kind":"event","id":"01a213f3-6bc7-7000-8000-000000000002","integration":"tasks","company_id":"company-1","received_at":"2026-11-25T18:24:09.671Z","status":"quarantined","reason":{"stage":"schema","code":"required","message":"m"},"task_ids":["01a213f3-6bc7-7000-8000-000000000001"],"provenance":{"plugin_version":"1","module_sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","schema_sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},"plugin_log":"","content_type":"application/json","headers":[["a","b"]],"stages":[{"stage":"decode","micros":1}],"redacted":["/a"],"erased_at":null,"attempts":2,"last_attempt_at":"2026-11-25T18:24:09.671Z","trace":{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","tracestate":"a=b"},"body_bytes":2,"body_base64":"e30="}"#;
const KEY: &str = r#"{"kind":"api_key","id":"key_0a","label":"l","company_id":"company-1","scopes":["admin"],"created_at":"2026-11-25T18:24:09.671Z","expires_at":null,"revoked_at":null,"timezone":"Europe/Berlin","strict":false,"sha256_base64":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#;
const AUDIT: &str = r#"{"kind":"audit","id":"01a213f3-6bc7-7000-8000-000000000003","at":"2026-11-25T18:24:09.671Z","company_id":"company-1","actor":"key_0a","action":"key.created","target":"t","detail":""}"#;
const ANSWER: &str = r#"{"kind":"answer","company_id":"company-1","is_delivery":true,"name_base64":"AAAAAAAAAAAAAAAAAAAAAA==","fingerprint_base64":"AQEBAQEBAQEBAQEBAQEBAQ==","at":"2026-11-25T18:24:09.671Z","expires_at":"2026-11-28T23:59:59.999Z","refused":false,"event_id":"01a213f3-6bc7-7000-8000-000000000002","head_base64":"yQEA","body_base64":"e30="}"#;

async fn read(store: &Embedded, lines: &str) -> Result<Value, String> {
    let mut input = BufReader::new(Cursor::new(lines.to_owned()));
    import(store, &mut input).await.map_err(|e| e.message)
}

/// Values that are too long, too large, of another type, or before 1970.
fn hostile() -> Vec<Value> {
    let long = "k".repeat(70_000);
    let times =
        ["+262142-12-31T23:59:59Z", "-0001-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z"];
    let mut values = vec![
        Value::Null,
        json!(""),
        json!("\u{0}"),
        json!("../../x"),
        json!("\u{1b}[2J\n"),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(1e300),
        json!(true),
        json!([]),
        json!({}),
        json!([long]),
        json!({ long.as_str(): long }),
        json!(vec!["x"; 70_000]),
        json!("6e8bc430-9c3a-41d9-9669-0800200c9a66"),
        json!("ffffffff-ffff-7fff-bfff-ffffffffffff"),
    ];
    values.extend(times.map(Value::from));
    values.push(json!(long));
    values
}

/// Without these checks, one line of a file could create a data directory that no server starts on.
#[tokio::test]
async fn whatever_is_imported_the_directory_opens_and_is_whole() {
    let dir = tempfile::TempDir::new().unwrap();
    let data = dir.path().join("data");
    let store = Embedded::open(&data, &StoreOptions::default()).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for base in [TASK, EVENT, KEY, AUDIT, ANSWER] {
        let whole: serde_json::Map<String, Value> = serde_json::from_str(base).unwrap();
        for name in whole.keys() {
            for value in hostile() {
                let mut line = whole.clone();
                line.insert(name.clone(), value.clone());
                match read(&store, &Value::Object(line).to_string()).await {
                    Ok(_) => taken += 1,
                    Err(error) => {
                        refused += 1;
                        assert!(error.starts_with("line 1: ") && error.len() < 300, "{name}: {error}");
                        assert!(!error.contains("kkkk"), "{name}: it quotes the value");
                    }
                }
            }
        }
        // Random changes of single bytes.
        let mut state = 88_172_645_463_325_252_u64;
        for _ in 0..300 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let mut bytes = base.as_bytes().to_vec();
            let at = usize::try_from(state % bytes.len() as u64).unwrap();
            bytes[at] = (state >> 32) as u8;
            let _either_way = read(&store, &String::from_utf8_lossy(&bytes)).await;
        }
    }
    assert!(taken > 50 && refused > 300, "{taken} {refused}");
    drop(store);
    let report = check(&data).unwrap();
    assert!(report.damages.is_empty() && report.repairable.is_empty(), "{report:?}");
    let store = Embedded::open(&data, &StoreOptions::default()).unwrap();
    assert!(!store.keys().await.unwrap().is_empty());
    store.audit(None, None, 1000).await.unwrap();
    let company = crate::model::company::CompanyId::parse("company-1").unwrap();
    store.list_tasks(&company, TaskFilter::default(), PageRequest::Number { page: 1, limit: 100 }).await.unwrap();
    // Everything that is exported can be imported.
    let mut lines = Vec::new();
    export(&store, &mut lines).unwrap();
    let other = Embedded::open(&dir.path().join("other"), &StoreOptions::default()).unwrap();
    let said = read(&other, std::str::from_utf8(&lines).unwrap()).await.unwrap();
    assert_eq!(said["skipped"], 0, "{said}");
}

/// Otherwise half of a file would be stored, and users would need to find out which.
#[tokio::test]
async fn nothing_is_written_where_any_line_is_refused() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Embedded::open(&dir.path().join("data"), &StoreOptions::default()).unwrap();
    let good = format!("{TASK}\n{EVENT}\n{KEY}\n{AUDIT}\n");
    let error = read(&store, &format!("{good}{}\n", TASK.replace("pending", "waits"))).await.unwrap_err();
    assert!(error.starts_with("line 5: task: status: "), "{error}");
    assert_eq!(store.stats().await.unwrap().sequence, 0);
    assert_eq!(read(&store, &good).await.unwrap()["tasks"], 1);
}

/// Otherwise a line could give its own company access through another company's key.
#[tokio::test]
async fn a_line_does_not_take_over_another_keys_hash_or_another_companys_ids() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Embedded::open(&dir.path().join("data"), &StoreOptions::default()).unwrap();
    let thief = KEY.replace("key_0a", "key_0b").replace("company-1", "company-2");
    // Both in one file, or one of them stored already.
    let both = read(&store, &format!("{KEY}\n{thief}\n")).await.unwrap_err();
    assert!(both.contains("line 2") && both.contains("already belongs to the key key_0a"), "{both}");
    read(&store, &format!("{TASK}\n{EVENT}\n{KEY}\n")).await.unwrap();
    let one = read(&store, &thief).await.unwrap_err();
    assert!(one.contains("already belongs to the key key_0a"), "{one}");
    let keys = store.keys().await.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0].company_id.as_str(), "company-1");
    // The store refuses it for every caller.
    let Ok(StoredItem::Key(key)) = read::item(&thief) else { panic!("not a key") };
    let imported = store.import(vec![StoredItem::Key(key)]).await.unwrap();
    assert_eq!(imported.differing, ["api_key key_0b"]);

    let said = read(&store, &EVENT.replace("company-1", "company-2")).await.unwrap();
    assert_eq!(said["differing_items"], json!(["event 01a213f3-6bc7-7000-8000-000000000002"]), "{said}");
    let event = crate::model::ids::EventId("01a213f3-6bc7-7000-8000-000000000002".parse().unwrap());
    let owner = crate::model::company::CompanyId::parse("company-1").unwrap();
    assert!(store.event(&owner, event).await.unwrap().is_some());
    // The same items again are skipped; different content is reported, and not stored.
    let said = read(&store, &format!("{TASK}\n{EVENT}\n{KEY}\n")).await.unwrap();
    assert!(said["skipped"] == 3 && said.get("differing").is_none(), "{said}");
    let said = read(&store, &TASK.replace(r#""title":"t""#, r#""title":"other""#)).await.unwrap();
    assert_eq!(said["differing_items"], json!(["task 01a213f3-6bc7-7000-8000-000000000001"]), "{said}");
}

/// Everything that an export must hold, with no field at its usual value.
fn whole() -> Vec<StoredItem> {
    let at = |seconds: i64| DateTime::from_timestamp(1_795_651_200 + seconds, 0).unwrap();
    let company = crate::model::company::CompanyId::parse("company-1").unwrap();
    let (event_id, task_id) = (EventId(new_id(at(1))), TaskId(new_id(at(2))));
    let some = |text: &str| Some(text.to_owned());
    let task = Task {
        id: task_id,
        title: "title".into(),
        description: "description".into(),
        tags: vec!["tag".into()],
        deadline: at(3),
        created_at: at(4),
        updated_at: at(5),
        priority: Priority::Urgent,
        created_by_id: "creator".into(),
        company_id: company.clone(),
        version: 7,
        status: Status::Completed,
        call_id: some("call"),
        fax_id: some("fax"),
        assistant_id: some("assistant"),
        session_id: some("session"),
        patient_id: some("patient"),
        kind: some("kind"),
        external_message_ids: json!({"sms": "1"}).as_object().unwrap().clone(),
        assigned_user_ids: vec!["user".into()],
        event_id,
        deleted_at: Some(at(6)),
    };
    let event = Event {
        id: event_id,
        integration: IntegrationName("calendly".into()),
        company_id: company.clone(),
        received_at: at(1),
        status: EventStatus::Skipped,
        reason: Some(Reason { stage: "plugin".into(), code: "code".into(), message: "message".into() }),
        task_ids: vec![task_id],
        provenance: Some(Provenance {
            plugin_version: "1.2".into(),
            module_sha256: "a".repeat(64),
            schema_sha256: "b".repeat(64),
            script_sha256: None,
        }),
        plugin_log: "log".into(),
        content_type: some("application/json"),
        headers: vec![("name".into(), "value".into())],
        query: Vec::new(),
        path: String::new(),
        stages: vec![StageTime { stage: Stage::Plugin, micros: 5 }],
        redacted: vec!["/a".into()],
        erased_at: Some(at(7)),
        attempts: 2,
        last_attempt_at: Some(at(8)),
        trace: TraceContext::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b"),
        origin: Some(Origin::copy(EventId(uuid::Uuid::from_u128(7)), "key_0123456789ab")),
        body_bytes: 9,
        body: "{\"a\": 1}".into(),
    };
    let key = ApiKey {
        id: KeyId("key_0a".into()),
        label: "label".into(),
        company_id: company.clone(),
        scopes: vec![Scope::Admin],
        created_at: at(10),
        expires_at: Some(at(11)),
        revoked_at: Some(at(12)),
        timezone: Some(chrono_tz::Tz::Europe__Berlin),
        strict: true,
        hash: [7; 32],
    };
    let entry = Entry {
        id: new_id(at(13)),
        at: at(13),
        company_id: Some(company),
        actor: "key_0a".into(),
        action: Action::KeyRevoked,
        target: "target".into(),
        detail: "detail".into(),
    };
    vec![
        StoredItem::Key(key.into()),
        StoredItem::Audit(entry.into()),
        StoredItem::Task(task.into()),
        StoredItem::Event(event.into()),
    ]
}

fn is_usual(value: &Value) -> bool {
    let empty = [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})];
    empty.contains(value)
}

/// A field that an export leaves out, or an import, is lost without a word when somebody moves to another directory.
#[tokio::test]
async fn every_field_comes_back_from_an_export() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = |name: &str| Embedded::open(&dir.path().join(name), &StoreOptions::default()).unwrap();
    let (from, to) = (store("from"), store("to"));
    let whole = whole();
    from.import(whole.clone()).await.unwrap();
    let mut lines = Vec::new();
    export(&from, &mut lines).unwrap();
    let text = String::from_utf8(lines).unwrap();
    for line in text.lines() {
        let fields: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        let usual: Vec<_> = fields.iter().filter(|(_, value)| is_usual(value)).collect();
        assert!(usual.is_empty(), "give this field another value in `whole`: {usual:?}");
    }
    read(&to, &text).await.unwrap();
    for store in [from, to] {
        let mut items = Vec::new();
        store
            .export(&mut |item| {
                items.push(item);
                Ok(())
            })
            .unwrap();
        assert_eq!(items, whole);
    }
}

/// Lists, retention and erasure go by the time in the id: an event with another time would be shown or removed wrongly.
#[tokio::test]
async fn an_event_whose_id_has_another_time_is_refused() {
    let dir = tempfile::TempDir::new().unwrap();
    let store = Embedded::open(&dir.path().join("data"), &StoreOptions::default()).unwrap();
    for received_at in ["2026-11-25T18:24:09.672Z", "2026-11-25T18:24:09.670999Z", "2024-11-25T18:24:09.671Z"] {
        let line = EVENT
            .replace("\"received_at\":\"2026-11-25T18:24:09.671Z\"", &format!("\"received_at\":\"{received_at}\""));
        let error = read(&store, &format!("{TASK}\n{line}\n")).await.unwrap_err();
        assert!(error.starts_with("line 2: event: received_at: is not the time in the event's id"), "{error}");
    }
    assert_eq!(read(&store, EVENT).await.unwrap()["events"], 1);
}
