//! `hookmill store bench`: measures this disk and this store, compared with an append-only file that does the same
//! durable writes and nothing else.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::print::say;
use super::progress::Progress;
use super::runtime;
use crate::model::company::CompanyId;
use crate::model::event::{Event, EventStatus};
use crate::model::ids::{EventId, IntegrationName, TaskId, new_id};
use crate::model::task::{NewTask, Priority, Status, Task};
use crate::model::time::now;
use crate::store::embedded::StoreOptions;
use crate::store::verbs::*;
use crate::store::{
    Commit, Committed, Embedded, FirstAnswer, Idempotency, IdempotencyId, Ingested, PageRequest, TaskFilter,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill store bench                                  durable creates by 1, 16, 64 and 256 writers, without and
                                                        with an Idempotency-Key
  hookmill store bench --seconds 10 --writers 64
  hookmill store bench --grow 1000000                   times, memory and disk as the store grows

It works in a new folder on the data directory's disk, and removes it.")]
pub(super) struct Bench {
    /// Seconds per figure
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Numbers of concurrent writers
    #[arg(long, value_delimiter = ',', default_value = "1,16,64,256")]
    writers: Vec<usize>,
    /// Store this many tasks instead, and measure at 10,000, 100,000 and so on
    #[arg(long, value_name = "TASKS")]
    grow: Option<usize>,
}

/// How often the cases alternate.
const ROUNDS: u32 = 3;
/// Size of a create in the journal, in bytes (measured); the append-only file writes the same.
const RECORD_BYTES: usize = 700;
const BODY: &str = r#"{"title":"Refill request","description":"Call back, the patient asks for a refill of 20 tablets","assigned_user_ids":["user_1","user_2"],"created_by_id":"user_9","deadline":"2026-12-01T09:00:00Z","priority":"high","tags":["a","b"],"patient_id":"p1"}"#;

impl Bench {
    pub(super) fn run(&self, data_dir: &Path) -> Result<(), Failure> {
        let scratch = Scratch::new(data_dir)?;
        let company = CompanyId::parse("bench").map_err(Failure::new)?;
        match self.grow {
            Some(tasks) => grow(&scratch.0, &company, tasks),
            None => self.throughput(&scratch.0, &company),
        }
    }

    /// Measures throughput. The cases alternate, so that other load on the machine affects all of them; each figure
    /// is the median.
    fn throughput(&self, dir: &Path, company: &CompanyId) -> Result<(), Failure> {
        let time = Duration::from_secs(self.seconds.max(1)) / ROUNDS;
        say!("{:>8} {:>11} {:>11} {:>6} {:>20}", "writers", "creates/s", "keyed/s", "ratio", "append-only file/s");
        for writers in &self.writers {
            let paths = ["plain", "keyed"].map(|name| dir.join(format!("{name}-{writers}")));
            let (mut plain, mut keyed, mut limits) = (Vec::new(), Vec::new(), Vec::new());
            {
                let open = |path: &PathBuf| Embedded::open(path, &StoreOptions::default()).map(Arc::new);
                let stores = (open(&paths[0])?, open(&paths[1])?);
                for _ in 0..ROUNDS {
                    plain.push(creates(&stores.0, company, *writers, time, false)?);
                    keyed.push(creates(&stores.1, company, *writers, time, true)?);
                    limits.push(limit(dir, *writers, time)?);
                }
            }
            for path in &paths {
                std::fs::remove_dir_all(path).map_err(Failure::new)?;
            }
            let (plain, keyed, limit) = (median(plain), median(keyed), median(limits));
            say!("{writers:>8} {plain:>11.0} {keyed:>11.0} {:>6.2} {limit:>20.0}", keyed / plain);
        }
        Ok(())
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

fn creates(
    store: &Arc<Embedded>,
    company: &CompanyId,
    writers: usize,
    time: Duration,
    keyed: bool,
) -> Result<f64, Failure> {
    runtime()?.block_on(load(writers, time, || {
        let (store, company) = (Arc::clone(store), company.clone());
        move |n| {
            let store = Arc::clone(&store);
            let mut commit = create(&company, n);
            if keyed {
                commit.idempotency = commit.ingested[0].tasks.first().map(remembered);
            }
            async move { matches!(store.commit(commit).await, Ok(Committed::Stored)) }
        }
    }))
}

/// Returns the response that `POST /v1/tasks` stores for a request with an `Idempotency-Key`.
fn remembered(task: &Task) -> Idempotency {
    let answer = FirstAnswer {
        refused: false,
        fingerprint: FirstAnswer::fingerprint(BODY.as_bytes()),
        at: now(),
        event_id: Some(task.event_id),
        // As long as what the server writes.
        head: format!("application/json, etag 1, location /v1/tasks/{}, content-type", task.id).into(),
        body: serde_json::to_vec(task).unwrap_or_default().into(),
    };
    Idempotency { id: IdempotencyId::of(Some(&task.company_id), "bench", "/v1/tasks", &task.id.to_string()), answer }
}

/// Runs writers that each send the next write when the last was acknowledged. Returns acknowledgements per second.
async fn load<W, F>(writers: usize, time: Duration, make: impl Fn() -> W) -> Result<f64, Failure>
where
    W: Fn(u64) -> F + Send + 'static,
    F: Future<Output = bool> + Send,
{
    let done = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (write, done) = (make(), Arc::clone(&done));
            tokio::spawn(async move {
                while started.elapsed() < time {
                    if !write(done.load(Ordering::Relaxed)).await {
                        return false;
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                true
            })
        })
        .collect();
    for task in tasks {
        if !task.await.map_err(Failure::new)? {
            return Err(Failure::new("a write failed"));
        }
    }
    Ok(done.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64())
}

/// Appends the same number of bytes for the same number of callers to a file, with one fdatasync per group.
fn limit(dir: &Path, writers: usize, time: Duration) -> Result<f64, Failure> {
    let path = dir.join("append");
    let mut file = File::create(&path).map_err(Failure::new)?;
    let (queue, mut waiting) = mpsc::channel::<oneshot::Sender<()>>(1024);
    let writer = std::thread::spawn(move || {
        let (mut group, record) = (Vec::new(), [0x5a; RECORD_BYTES]);
        let mut bytes = Vec::new();
        while waiting.blocking_recv_many(&mut group, 1024) > 0 {
            bytes.clear();
            group.iter().for_each(|_| bytes.extend_from_slice(&record));
            if file.write_all(&bytes).and_then(|()| file.sync_data()).is_err() {
                return;
            }
            group.drain(..).for_each(|done| {
                let _gone = done.send(());
            });
        }
    });
    let rate = runtime()?.block_on(load(writers, time, || {
        let queue = queue.clone();
        move |_| {
            let queue = queue.clone();
            async move {
                let (done, answer) = oneshot::channel();
                queue.send(done).await.is_ok() && answer.await.is_ok()
            }
        }
    }))?;
    drop(queue);
    let _ended = writer.join();
    std::fs::remove_file(&path).map_err(Failure::new)?;
    Ok(rate)
}

fn grow(dir: &Path, company: &CompanyId, tasks: usize) -> Result<(), Failure> {
    let (path, runtime) = (dir.join("store"), runtime()?);
    let mut store = Arc::new(Embedded::open(&path, &StoreOptions::default())?);
    let mut progress = Progress::new("stored", tasks as u64);
    say!(
        "{:>9} {:>17} {:>17} {:>17} {:>17} {:>8} {:>9} {:>8}",
        "tasks",
        "create µs",
        "get µs",
        "list µs",
        "filtered µs",
        "RSS MB",
        "disk MB",
        "open s"
    );
    let (mut stored, mut next, mut ids) = (0, 10_000.min(tasks), Vec::new());
    while stored < tasks {
        let chunk = 256.min(next - stored);
        let commits: Vec<Commit> = (0..chunk).map(|n| create(company, (stored + n) as u64)).collect();
        ids.extend(commits.first().map(|it| it.ingested[0].tasks[0].id));
        runtime.block_on(async {
            let writes = commits.into_iter().map(|commit| store.commit(commit));
            futures_util::future::try_join_all(writes).await
        })?;
        stored += chunk;
        progress.add(chunk as u64);
        if stored == next {
            let times = runtime.block_on(measure(&store, company, &ids))?;
            let rss = resident_mb();
            drop(store);
            let reopened = Instant::now();
            store = Arc::new(Embedded::open(&path, &StoreOptions::default())?);
            let open = reopened.elapsed().as_secs_f64();
            let disk: u64 = runtime.block_on(store.stats())?.disk.values().sum();
            say!(
                "{stored:>9} {:>17} {:>17} {:>17} {:>17} {rss:>8} {:>9} {open:>8.2}",
                times[0],
                times[1],
                times[2],
                times[3],
                disk >> 20
            );
            next = (next * 10).min(tasks);
        }
    }
    progress.finish();
    Ok(())
}

/// Returns median and 99th percentile of a single caller's creates, gets, first pages and filtered first pages.
async fn measure(store: &Embedded, company: &CompanyId, ids: &[TaskId]) -> Result<[String; 4], Failure> {
    const ROUNDS: usize = 1000;
    let mut times = [const { Vec::new() }; 4];
    let filter = |n: usize| TaskFilter {
        status: vec![Status::Pending],
        priority: vec![Priority::High],
        assigned_user_id: vec![format!("user_{}", n % 50)],
        ..TaskFilter::default()
    };
    let page = PageRequest::Number { page: 1, limit: 50 };
    for n in 0..ROUNDS {
        let started = Instant::now();
        store.commit(create(company, n as u64)).await?;
        times[0].push(started.elapsed());
        let id = ids[n * 7919 % ids.len()];
        let started = Instant::now();
        if store.task(company, id).await?.is_none() {
            return Err(Failure::new("a stored task is missing"));
        }
        times[1].push(started.elapsed());
        for (which, filter) in [(2, TaskFilter::default()), (3, filter(n))] {
            let started = Instant::now();
            store.list_tasks(company, filter, page).await?;
            times[which].push(started.elapsed());
        }
    }
    Ok(times.map(|mut it| {
        it.sort_unstable();
        format!("{}/{}", it[ROUNDS / 2].as_micros(), it[ROUNDS * 99 / 100].as_micros())
    }))
}

/// Creates a commit like `POST /v1/tasks`; `n` varies the values of filtered fields.
fn create(company: &CompanyId, n: u64) -> Commit {
    let now = now();
    let (event_id, id) = (EventId(new_id(now)), TaskId(new_id(now)));
    let new: Option<NewTask> = serde_json::from_str(BODY).ok();
    let tasks: Vec<Task> = new
        .map(|new| {
            let new = NewTask {
                patient_id: Some(format!("patient_{}", n % 100_000)),
                assigned_user_ids: vec![format!("user_{}", n % 50), format!("user_{}", n % 1000)],
                priority: [Priority::Low, Priority::Medium, Priority::High, Priority::Urgent][(n % 4) as usize],
                kind: Some(format!("kind_{}", n % 8)),
                ..new
            };
            new.into_task(id, event_id, company.clone(), now)
        })
        .into_iter()
        .collect();
    let event = Event {
        id: event_id,
        integration: IntegrationName("tasks".into()),
        company_id: company.clone(),
        received_at: now,
        status: EventStatus::Stored,
        reason: None,
        task_ids: vec![id],
        provenance: None,
        plugin_log: String::new(),
        content_type: Some("application/json".into()),
        headers: Vec::new(),
        query: Vec::new(),
        path: String::new(),
        stages: Vec::new(),
        redacted: Vec::new(),
        erased_at: None,
        attempts: 1,
        last_attempt_at: None,
        trace: None,
        origin: None,
        body_bytes: BODY.len() as u64,
        body: bytes::Bytes::from_static(BODY.as_bytes()),
    };
    Commit::from(Ingested { event, tasks })
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0) >> 10
}

/// A folder that is removed when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(data_dir: &Path) -> Result<Self, Failure> {
        let parent = data_dir.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = parent.join(format!("hookmill-bench-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _left_for_the_admin = std::fs::remove_dir_all(&self.0);
    }
}
