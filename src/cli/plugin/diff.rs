//! `hookmill plugin diff DIR`

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};
use console::style;
use serde_json::{Value, json};

use super::super::Failure;
use super::super::events::time;
use super::super::progress::Progress;
use super::{host, runnable};
use crate::config::Config;
use crate::dry_run::{self, Options, Report, Sample};
use crate::event::IntegrationName;
use crate::store::embedded::{History, Wanted};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin diff next/orders --since 30d
  hookmill plugin diff next/orders --since 30d --allow-changed --no-values     in CI, where values do not belong
  hookmill plugin diff next/orders --against plugins/orders                    both run now, whatever was stored

Nothing is stored, and a server may run meanwhile. Exit codes: 0 every event comes to the same, or passes where it failed
before; 1 one does not; 2 wrong arguments.")]
pub(super) struct Diff {
    /// The folder of the plugin that is not live yet
    dir: PathBuf,
    /// Whose events [default: name in its plugin.toml]
    #[arg(long)]
    integration: Option<String>,
    /// Compare with what the plugin in this folder makes of the events now, and not with what came of them
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Received since: 30m, 24h, 7d, or a time (RFC 3339)
    #[arg(long, value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Received before: the same
    #[arg(long, value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// Show so many events that differ
    #[arg(long, default_value_t = 10)]
    samples: usize,
    /// Threads that run the plugin [default: as many as there are processors]
    #[arg(long)]
    threads: Option<usize>,
    /// Do not fail where events come to something else, only where they fail
    #[arg(long)]
    allow_changed: bool,
    /// Show where events differ, and no values: those are your senders' data
    #[arg(long)]
    no_values: bool,
}

impl Diff {
    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let host = host(config)?;
        let mut candidate = runnable(&host, config, &self.dir)?;
        let mut against = self.against.as_ref().map(|dir| runnable(&host, config, dir)).transpose()?;
        if let Some(name) = &self.integration {
            candidate.name = IntegrationName(name.as_str().into());
        }
        if let Some(against) = &mut against {
            // What they are told of the events is the same.
            against.name = candidate.name.clone();
        }
        let wanted = Wanted {
            company: candidate.company_id.clone(),
            integration: candidate.name.to_string(),
            since: self.since,
            until: self.until,
        };
        let history = History::open(&config.data_dir)?;
        let threads = self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let options = Options { threads, samples: self.samples };
        let mut progress = Progress::new("events read", history.events(&wanted));
        let never = AtomicBool::new(false);
        let report = dry_run::run(&history, &candidate, against.as_ref(), &wanted, options, &never, |it| {
            progress.add(it);
        });
        progress.finish();
        let mut report = report?;
        if self.no_values {
            report.tally.forget_values();
        }
        if as_json {
            println!("{}", json!(report));
        } else {
            print(&report, &wanted);
        }
        self.judge(&report, &wanted)
    }

    fn judge(&self, report: &Report, wanted: &Wanted) -> Result<(), Failure> {
        let tally = &report.tally;
        let changed = if self.allow_changed { 0 } else { tally.changed };
        match (tally.newly_failing, changed) {
            _ if report.events == 0 => {
                let (name, company) = (&wanted.integration, &wanted.company);
                Err(Failure::new(format!(
                    "there is no event of \"{name}\" for {company} in this time; --integration names another one"
                )))
            }
            (0, 0) => Ok(()),
            (0, changed) => Err(Failure::new(format!(
                "{changed} of {} events come to something else; --allow-changed if that is what you want",
                report.events
            ))),
            (failing, _) => Err(Failure::new(format!("{failing} of {} events fail that passed before", report.events))),
        }
    }
}

fn print(report: &Report, wanted: &Wanted) {
    let tally = &report.tally;
    println!("{} events of {} in {:.1} s", report.events, wanted.integration, report.seconds);
    for (count, word, shown) in [
        (tally.same, "same", style("same").green()),
        (tally.changed, "changed", style("changed").yellow()),
        (tally.newly_failing, "newly failing", style("newly failing").red().bold()),
        (tally.newly_passing, "newly passing", style("newly passing").green()),
        (tally.uncompared, "pass", style("pass, and were changed by a re-drive since").dim()),
    ] {
        if count > 0 || word != "pass" {
            println!("{count:>9}  {shown}");
        }
    }
    for (why, count) in &report.not_run {
        println!("{count:>9}  not run: {why}");
    }
    let versions: Vec<_> = report.versions.iter().map(|(version, count)| format!("{version} ({count})")).collect();
    println!("came through version {}", versions.join(", "));
    if !tally.fields.is_empty() {
        println!("\n{}", style("Fields that differ").bold());
    }
    for (pointer, it) in &tally.fields {
        println!(
            "{:>9}  {pointer}: {} → {}, as in {}",
            it.events,
            shown(it.before.as_ref()),
            shown(it.after.as_ref()),
            it.example
        );
    }
    if !tally.failures.is_empty() {
        println!("\n{}", style("Why events fail now").bold());
    }
    for (name, it) in &tally.failures {
        println!("{:>9}  {name}: {}, as {}", it.events, it.message, it.example);
    }
    let samples: Vec<&Sample> = tally.samples.iter().collect();
    if !samples.is_empty() {
        println!("\n{}", style("Events").bold());
    }
    samples.into_iter().for_each(print_sample);
    println!("\n{}", style("Calls").bold());
    println!("took {} µs at the median, {} µs at the 99th percentile; at most:", report.p50_us, report.p99_us);
    for it in &report.limits {
        println!("{:>5.1} % of {:<15} {} of {} {}", it.percent(), it.name, it.used, it.limit, it.unit);
    }
}

fn print_sample(it: &Sample) {
    println!("{}  {}: {} → {}", it.event_id, json!(it.class).as_str().unwrap_or_default(), it.before, it.after);
    for it in &it.differences {
        println!("    {}: {} → {}", it.pointer, shown(it.expected.as_ref()), shown(it.found.as_ref()));
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
