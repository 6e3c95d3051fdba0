//! Calls calendly's mapping through Extism, in a reused instance and in a fresh one for every call.
//!
//! `scripts/extism-bench` builds both and runs this. Arguments: the plugin's .wasm, and a fixture of plugins/calendly.

use std::time::{Duration, Instant};

use extism::{CompiledPlugin, Manifest, Plugin, PluginBuilder, Wasm};

const SECONDS: u64 = 3;
const CONFIG: &str = r#"{"default_assignee":"user_1","created_by_id":"calendly"}"#;

fn measure(name: &str, mut call: impl FnMut() -> String) {
    assert!(call().contains("\"title\":\"Prepare"), "that is not the task");
    let (end, mut times) = (Instant::now() + Duration::from_secs(SECONDS), Vec::new());
    while Instant::now() < end {
        let started = Instant::now();
        std::hint::black_box(call());
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let micros = |share: f64| times[(times.len() as f64 * share) as usize].as_secs_f64() * 1e6;
    println!("Extism, {name}: p50 {:.1} µs, p99 {:.1} µs, {} calls/s", micros(0.5), micros(0.99), times.len() as u64 / SECONDS);
}

fn main() {
    let [_, wasm, fixture] = std::env::args().collect::<Vec<_>>().try_into().expect("PLUGIN.wasm FIXTURE.json");
    let fixture: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(fixture).unwrap()).unwrap();
    let payload = fixture["payload"].to_string();
    let manifest = Manifest::new([Wasm::data(std::fs::read(wasm).unwrap())]).with_config_key("config", CONFIG);
    let compiled = CompiledPlugin::new(PluginBuilder::new(manifest)).unwrap();
    let mut reused = Plugin::new_from_compiled(&compiled).unwrap();
    measure("instance reused", || reused.call("transform", &payload).unwrap());
    measure("instance fresh", || Plugin::new_from_compiled(&compiled).unwrap().call("transform", &payload).unwrap());
}
