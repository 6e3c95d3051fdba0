//! A progress bar on a terminal, or an occasional line elsewhere; both on stderr.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::print::tell;

const EVERY: Duration = Duration::from_secs(5);
/// How often the progress of work elsewhere is read.
const POLL: Duration = Duration::from_millis(300);

pub(super) struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    total: u64,
    done: u64,
    started: Instant,
    told: Instant,
}

impl Progress {
    /// Starts a progress bar. `total` is 0 if it is unknown.
    pub(super) fn new(what: &'static str, total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{msg} {wide_bar} {human_pos}/{human_len}, {per_sec}, {eta} left";
            let bar = if total == 0 { ProgressBar::new_spinner() } else { ProgressBar::new(total) };
            let style = if total == 0 { "{spinner} {msg} {human_pos}, {per_sec}" } else { template };
            bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.with_message(what)
        });
        let now = Instant::now();
        Self { bar, what, total, done: 0, started: now, told: now }
    }

    pub(super) fn add(&mut self, count: u64) {
        self.done += count;
        match &self.bar {
            Some(bar) => bar.inc(count),
            None if self.told.elapsed() >= EVERY => {
                self.told = Instant::now();
                tell!("{}", self.line());
            }
            None => {}
        }
    }

    /// Sets the count, if the work is counted elsewhere.
    fn set(&mut self, done: u64, total: u64) {
        self.total = total;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
        self.add(done.saturating_sub(self.done));
    }

    pub(super) fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        tell!("{}", self.line());
    }

    fn line(&self) -> String {
        let rate = self.done as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let of = if self.total > 0 { format!(" of {}", self.total) } else { String::new() };
        let left = self.total.saturating_sub(self.done);
        let time = Duration::try_from_secs_f64((left as f64 / rate).ceil()).unwrap_or_default();
        let left = if left > 0 { format!(", {} left", indicatif::HumanDuration(time)) } else { String::new() };
        format!("{}: {}{of}, {rate:.0}/s{left}", self.what, self.done)
    }
}

/// Does the work, and shows its progress: the amount done, and the total.
pub(super) fn follow<T: Send>(
    what: &'static str,
    work: impl FnOnce() -> T + Send,
    mut how_far: impl FnMut() -> Option<(u64, u64)>,
) -> T {
    let (end, ended) = crossbeam_channel::bounded::<()>(0);
    std::thread::scope(|scope| {
        let working = scope.spawn(move || {
            let _ends_with_the_work = end;
            work()
        });
        let mut progress: Option<Progress> = None;
        while ended.recv_timeout(POLL) == Err(crossbeam_channel::RecvTimeoutError::Timeout) {
            if let Some((done, total)) = how_far() {
                progress.get_or_insert_with(|| Progress::new(what, total)).set(done, total);
            }
        }
        if let Some(progress) = progress {
            progress.finish();
        }
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
