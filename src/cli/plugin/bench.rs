//! `hookmill plugin bench DIR`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::runnable;
use super::runnable::{folder, host};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::say;
use crate::config::Config;
use crate::integration::fixtures::{EVENT_ID, Fixture};
use crate::integration::{Integration, fixtures};

#[derive(Debug, clap::Args)]
pub(super) struct PluginBench {
    /// The plugin's folder; the calls get the payloads of its fixtures
    dir: PathBuf,
    /// Seconds per measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Number of threads [default: 1, then the plugin's own concurrency]
    #[arg(long)]
    threads: Option<usize>,
}

impl PluginBench {
    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let (host, folder) = (host(config)?, folder(&self.dir)?);
        let integration = runnable(&host, config, &folder)?;
        let seconds = Duration::try_from_secs_f64(self.seconds.clamp(0.01, 3600.0)).map_err(Failure::new)?;
        let files = fixtures::list(&folder).map_err(Failure::new)?;
        let mut payloads = Vec::new();
        for file in files {
            let fixture = Fixture::read(&folder, &file).map_err(Failure::new)?;
            // A payload that the schema refuses never reaches the plugin.
            if integration.schema.check(&fixture.payload).is_ok() {
                payloads.push((file.file_stem().unwrap_or_default().to_string_lossy().into_owned(), fixture));
            }
        }
        if payloads.is_empty() {
            return Err(Failure::new("no fixture has a payload that the schema accepts"));
        }
        let own = integration.limits.concurrency;
        let threads = self.threads.map_or_else(|| vec![1, own], |it| vec![it.max(1)]);
        if !as_json {
            say!("{}", host.describe());
            say!(
                "{:<24} {:>7} {:>10} {:>9} {:>9} {:>9}",
                "FIXTURE",
                "THREADS",
                "CALLS/S",
                "P50 µs",
                "P99 µs",
                "MAX µs"
            );
        }
        let mut all = Vec::new();
        for (name, fixture) in &payloads {
            for threads in &threads {
                let (times, took) = measure(&integration, fixture, *threads, seconds);
                let row = row(name, *threads, &times, took);
                if !as_json {
                    say!(
                        "{name:<24} {threads:>7} {:>10} {:>9} {:>9} {:>9}",
                        row["calls_per_second"],
                        row["p50_us"],
                        row["p99_us"],
                        row["max_us"]
                    );
                }
                all.push(row);
            }
        }
        if as_json {
            print::json(&json!({ "engine": host.describe(), "measured": all }));
        }
        Ok(())
    }
}

/// Measures calls on several threads at once. Returns the nanoseconds of every call, and the total duration.
fn measure(integration: &Integration, fixture: &Fixture, threads: usize, long: Duration) -> (Histogram<u64>, Duration) {
    let (payload, context) =
        (fixture.payload.to_string(), integration.context_with(EVENT_ID, fixture.received_at, fixture.request()));
    let one = || {
        let mut times = histogram();
        // The first call on a thread sets it up.
        let _warm = integration.map_blocking(&payload, &context);
        let started = Instant::now();
        while started.elapsed() < long {
            let call = Instant::now();
            let _called = std::hint::black_box(integration.map_blocking(&payload, &context));
            times.saturating_record(u64::try_from(call.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
        times
    };
    let started = Instant::now();
    let mut all = histogram();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        for times in threads.into_iter().filter_map(|it| it.join().ok()) {
            all += times;
        }
    });
    (all, started.elapsed())
}

fn histogram() -> Histogram<u64> {
    // Three digits up to an hour are within the type's limits.
    Histogram::new_with_max(3_600_000_000_000, 3)
        .unwrap_or_else(|_| Histogram::new(3).unwrap_or_else(|_| unreachable!()))
}

fn row(name: &str, threads: usize, times: &Histogram<u64>, took: Duration) -> Value {
    let micros = |nanos: u64| (nanos as f64 / 100.0).round() / 10.0;
    json!({
        "fixture": name,
        "threads": threads,
        "calls_per_second": (times.len() as f64 / took.as_secs_f64().max(1e-9)).round(),
        "p50_us": micros(times.value_at_quantile(0.5)),
        "p99_us": micros(times.value_at_quantile(0.99)),
        "max_us": micros(times.max()),
    })
}
