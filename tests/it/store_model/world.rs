//! One store from its first byte on: the process, its files, and the model of its expected content.
//!
//! `world/writes.rs` writes to it, and `world/look.rs` compares what it has with the model.

mod look;
mod writes;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

use tempfile::TempDir;

use super::made::{COMPANIES, Delivery, EntryOf, INTEGRATIONS, Outcome, PATIENTS};
use super::model::Model;
use super::process::{Gone, Process};
use super::protocol::{Reply, Request, Settings};
use super::random::Random;
use crate::shim::{Calls, EIO, ENDED, ENOSPC, Shim};

/// What broke, in a sentence.
pub type Outcomes = Result<(), String>;

/// Operations that are reported with a failure.
const TOLD: usize = 40;
/// While the undo log is shorter, it is kept.
const UNDO_MOST: u64 = 64 << 20;

#[derive(Debug, Default, Clone)]
pub struct Counts {
    pub operations: u64,
    pub ended: u64,
    pub killed: u64,
    pub failed: u64,
    pub power_cuts: u64,
    pub damages: u64,
    pub compared: u64,
    /// Closed stores that were checked, and those of which sled had lost entries of the read view.
    pub checked: u64,
    pub lost_views: u64,
}

pub struct World {
    pub dir: TempDir,
    pub settings: Settings,
    pub model: Model,
    pub random: Random,
    pub counts: Counts,
    pub shim: Shim,
    /// For a second process, on a copy: it has the same clock, and no faults.
    clock: Shim,
    process: Option<Process>,
    /// An I/O call has failed since the store was opened: it may refuse what it is asked, until it is opened again.
    failing: bool,
    fired: u64,
    clock_ms: i64,
    last_ms: i64,
    n: u64,
    told: VecDeque<String>,
    pub bytes: u64,
    verbose: bool,
    started: Instant,
}

impl World {
    /// None where faults cannot be injected here.
    pub fn new(seed: u64, verbose: bool) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mut random = Random::new(seed);
        std::fs::create_dir(dir.path().join("files")).unwrap();
        let shim = Shim::below(&dir.path().join("files"))?;
        shim.keep_undo();
        let clock = Shim::below(&dir.path().join("no-files"))?;
        let settings = Settings {
            segment_bytes: *random.choose(&[32 << 10, 64 << 10, 64 << 10, 256 << 10]).unwrap(),
            snapshot_bytes: *random.choose(&[50 << 10, 300 << 10, 64 << 20]).unwrap(),
            events: *random.choose(&[Some(2), Some(2), None]).unwrap(),
            deleted_tasks: *random.choose(&[Some(1), None]).unwrap(),
        };
        Some(Self {
            dir,
            settings,
            model: Model::default(),
            random,
            counts: Counts::default(),
            shim,
            clock,
            process: None,
            failing: false,
            fired: 0,
            clock_ms: 0,
            last_ms: 0,
            n: 0,
            told: VecDeque::new(),
            bytes: 0,
            verbose,
            started: Instant::now(),
        })
    }

    pub fn files(&self) -> PathBuf {
        self.dir.path().join("files").canonicalize().unwrap()
    }

    pub fn data(&self) -> PathBuf {
        self.files().join("data")
    }

    /// Notes what is done, for when it fails.
    pub fn tell(&mut self, what: String) {
        let what = format!("{:9.3} s  {what}", self.started.elapsed().as_secs_f64());
        if self.verbose {
            println!("{what}");
        }
        self.told.push_back(what);
        if self.told.len() > TOLD {
            self.told.pop_front();
        }
    }

    pub fn last_operations(&self) -> String {
        self.told.iter().map(|it| format!("  {it}\n")).collect()
    }

    /// The time of day of the store's process; never the same twice.
    pub fn now_ms(&mut self) -> i64 {
        let now = chrono::Utc::now().timestamp_millis() + self.clock_ms;
        self.last_ms = now.max(self.last_ms + 1);
        self.last_ms
    }

    pub fn pass(&mut self, hours: i64) {
        self.clock_ms += hours * 3_600_000;
        for shim in [&self.shim, &self.clock] {
            shim.clock_offset(chrono::Duration::milliseconds(self.clock_ms));
        }
    }

    pub fn number(&mut self) -> u64 {
        self.n += 1;
        self.n
    }

    /// An event that is new, with a body of this size.
    pub fn delivery(&mut self, body_bytes: u32) -> Delivery {
        let outcome = match self.random.below(10) {
            0 => Outcome::Skipped,
            1 => Outcome::Quarantined,
            2 | 3 => Outcome::Queued,
            _ => Outcome::Tasks(self.random.between(1, 3) as u8),
        };
        self.bytes += u64::from(body_bytes);
        Delivery {
            n: self.number(),
            company: self.random.below(COMPANIES.into()) as u8,
            integration: self.random.below(INTEGRATIONS.into()) as u8,
            patient: self.random.below(PATIENTS.into()) as u8,
            at_ms: self.now_ms(),
            body_bytes,
            task_bytes: self.random.between(1, 400) as u32,
            attempt: 0,
            outcome,
        }
    }

    pub fn entry(&mut self) -> EntryOf {
        let company = self.random.percent(50).then(|| self.random.below(COMPANIES.into()) as u8);
        EntryOf { n: self.number(), company, at_ms: self.now_ms() }
    }

    /// Opens the store, in a new process if there is none. A fault that comes meanwhile makes it try again.
    pub fn open(&mut self) -> Outcomes {
        for _ in 0..20 {
            if self.process.is_none() {
                if self.shim.undo_bytes() > UNDO_MOST {
                    self.shim.forget_undo();
                }
                self.process = Some(Process::start(self.dir.path(), &self.shim));
            }
            let request = Request::Open { dir: self.data(), settings: self.settings.clone() };
            if super::is_left_out("unsynced-start") {
                self.shim.count_as_synced();
            }
            self.has_fired();
            self.failing = false;
            match self.ask(&request)? {
                Some(Reply::Done) => {
                    self.has_fired();
                    return Ok(());
                }
                Some(Reply::Failed(cause)) if !self.has_fired() => {
                    return Err(format!("the start was refused: {cause}"));
                }
                Some(Reply::Failed(_)) => {
                    self.tell("a start that failed; once more".into());
                    self.kill();
                }
                None => {}
                Some(other) => return Err(format!("opening was answered {other:?}")),
            }
            self.disarm();
        }
        Err("the store does not open".into())
    }

    /// No answer where the process was ended on purpose.
    pub fn ask(&mut self, request: &Request) -> Result<Option<Reply>, String> {
        let Some(process) = &mut self.process else { return Ok(None) };
        match process.ask(request) {
            Ok(reply) => Ok(Some(reply)),
            Err(Gone::Ended(status)) if status.code() == Some(ENDED) => {
                self.process = None;
                self.counts.ended += 1;
                self.tell("the process was ended in an I/O call".into());
                Ok(None)
            }
            Err(Gone::Ended(status)) => Err(format!("the process ended by itself: {status}")),
            Err(Gone::Hangs) => Err(format!("no answer to {request:?}")),
        }
    }

    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    pub fn kill(&mut self) {
        if self.process.take().is_some() {
            self.counts.killed += 1;
        }
    }

    /// Whether a fault has come since this was last asked.
    pub fn has_fired(&mut self) -> bool {
        let before = std::mem::replace(&mut self.fired, self.shim.fired());
        let fired = self.fired > before;
        self.counts.failed += u64::from(fired);
        self.failing |= fired;
        self.failing
    }

    /// Has one of the next I/O calls fail, or the process end in it.
    pub fn arm(&mut self) {
        let n = match self.random.below(3) {
            0 => self.random.between(1, 5),
            1 => self.random.between(1, 40),
            _ => self.random.between(1, 300),
        };
        let calls = *self.random.choose(&[Calls::ALL, Calls::ALL, Calls::WRITES, Calls::SYNCS, Calls::NAMES]).unwrap();
        let only = *self.random.choose(&["", "", ".journal", "/journal", "mark", ".snapshot", ".tmp"]).unwrap();
        self.shim.only(only);
        match self.random.below(4) {
            0 => self.shim.fail_after(n, calls, EIO),
            1 => self.shim.fail_after(n, calls, ENOSPC),
            _ => self.shim.exit_after(n, calls),
        }
        self.tell(format!("fault armed: call {n} of {calls:?} in {only:?}"));
    }

    pub fn disarm(&mut self) {
        self.shim.no_fault();
        self.shim.only("");
    }

    /// What went wrong is one of ours, or a failure of the store.
    pub fn tolerate(&mut self, what: &str, reply: &Reply) -> Outcomes {
        if self.has_fired() { Ok(()) } else { Err(format!("{what} was answered {reply:?}, and no fault was injected")) }
    }

    /// Closes the store where that is possible, opens it again and compares.
    pub fn reopen(&mut self) -> Outcomes {
        self.tell("close and open".into());
        self.counts.operations += 1;
        self.disarm();
        self.model.lost_power |= self.has_fired();
        // A sled that could not write may keep closing waiting for a minute.
        if self.has_fired() && self.random.percent(80) {
            self.kill();
        } else {
            self.close()?;
        }
        self.open()?;
        self.compare(true)
    }

    pub fn close(&mut self) -> Outcomes {
        match self.ask(&Request::Close)? {
            Some(Reply::Done) | None => Ok(()),
            Some(other) => Err(format!("closing was answered {other:?}")),
        }
    }

    /// After the process has ended: perhaps the power as well; then it starts again, perhaps to end once more.
    pub fn recover(&mut self) -> Outcomes {
        self.disarm();
        if self.random.percent(50) {
            let seed = self.random.next();
            let lost = self.shim.power_cut(self.random.percent(70).then_some(seed));
            self.model.lost_power = true;
            self.counts.power_cuts += 1;
            self.tell(format!("power cut: {lost}"));
        }
        if self.random.percent(20) {
            self.arm();
        }
        self.tell("start".into());
        self.open()?;
        self.disarm();
        if self.has_fired() { self.reopen() } else { self.compare(true) }
    }
}
