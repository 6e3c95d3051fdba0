//! The pipeline's stages, one by one: `cargo bench --bench stages`.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::path::Path;

use chrono::Utc;
use criterion::{Criterion, criterion_group, criterion_main};
use hookmill::auth::Senders;
use hookmill::format::payload::{Rules, decode, unwrap_envelope};
use hookmill::format::schema::task_create;
use hookmill::integration::load::load;
use hookmill::model::ids::{EventId, new_id};
use hookmill::model::task::NewTask;
use hookmill::plugin::Host;
use hookmill::system::folder::Folder;

const TASK: &str = r#"{"title":"Refill request","description":"Call back","assigned_user_ids":["u1","u2"],"created_by_id":"u9","deadline":"2026-12-01T09:00:00Z","priority":"high","tags":["a","b"],"patient_id":"p1"}"#;

fn stages(c: &mut Criterion) {
    let rules = Rules::default();
    let read = || decode(Some("application/json"), black_box(TASK).as_bytes(), &rules).unwrap();
    c.bench_function("decode JSON", |b| b.iter(read));
    let payload = unwrap_envelope(read(), task_create().shape(), &rules).unwrap();
    c.bench_function("lax values and task schema", |b| b.iter(|| NewTask::parse(payload.clone(), &rules).unwrap()));
}

#[rustfmt::skip]
#[allow(unreachable_pub, reason = "the plugin's own source")]
#[path = "../plugins/calendly/src/event.rs"]
mod event;
#[allow(dead_code, unreachable_pub, reason = "the plugin's own source")]
#[rustfmt::skip]
#[path = "../plugins/calendly/src/map.rs"]
mod map;

/// The mapping of plugins/calendly as native code, from text to text: what the sandbox is measured against.
fn native(c: &mut Criterion) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/calendly/fixtures/created.json");
    let text = std::fs::read_to_string(fixture).unwrap();
    let text = serde_json::from_str::<serde_json::Value>(&text).unwrap()["payload"].to_string();
    let config = r#"{"default_assignee":"user_1","created_by_id":"calendly"}"#;
    c.bench_function("calendly: native serde_json", |b| {
        b.iter(|| {
            let event = serde_json::from_str(black_box(&text)).unwrap();
            let config = serde_json::from_str(black_box(config)).unwrap();
            match map::map(&event, &config) {
                map::Mapped::Task(task) => serde_json::to_string(&task).unwrap(),
                map::Mapped::Skip(reason) => reason,
            }
        });
    });
}

fn plugins(c: &mut Criterion) {
    let host =
        Host::compiling_with(env!("CARGO_BIN_EXE_hookmill").into(), None, hookmill::plugin::LoadLimits::default())
            .unwrap();
    println!("engine: {}", host.describe());
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins");
    for (name, fixture) in [("calendly", "created"), ("fax-inbound", "received"), ("n8n-intake", "form")] {
        let folder = plugins.join(name);
        let integration = load(&host, &Folder::open(&folder).unwrap(), &Senders::default(), Utc::now()).unwrap();
        let text = std::fs::read_to_string(folder.join(format!("fixtures/{fixture}.json"))).unwrap();
        let payload = serde_json::from_str::<serde_json::Value>(&text).unwrap()["payload"].clone();
        let text = payload.to_string();
        let now = chrono::Utc::now();
        let context = integration.context_with(EventId(new_id(now)), now, Default::default());
        c.bench_function(&format!("{name}: schema"), |b| {
            b.iter(|| integration.schema.check(black_box(&payload)).unwrap())
        });
        c.bench_function(&format!("{name}: plugin call, fresh instance"), |b| {
            b.iter(|| integration.plugin.as_ref().unwrap().map_blocking(black_box(&text), &context).result.unwrap());
        });
    }
}

criterion_group! { name = benches; config = Criterion::default().sample_size(30); targets = stages, native, plugins }
criterion_main!(benches);
