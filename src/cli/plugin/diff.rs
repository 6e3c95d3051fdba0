//! `hookmill plugin diff DIR`

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};
use serde_json::json;

use super::super::Failure;
use super::super::events::time;
use super::super::progress::Progress;
use super::{differences, folder, host, runnable};
use crate::cli::print::{self, say};
use crate::config::Config;
use crate::dry_run::{self, Options, Report};
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
        let mut candidate = runnable(&host, config, &folder(&self.dir)?)?;
        let mut against = self.against.as_ref().map(|dir| runnable(&host, config, &folder(dir)?)).transpose()?;
        if let Some(name) = &self.integration {
            candidate.name = IntegrationName(name.as_str().into());
        }
        if let Some(against) = &mut against {
            if against.company_id != candidate.company_id {
                return Err(Failure::new("--against belongs to another company; a dry run compares within one"));
            }
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
            report.compared.tally.forget_values();
        }
        if as_json {
            print::json(&json!(report));
        } else {
            print(&report, &wanted);
        }
        self.judge(&report, &wanted)
    }

    fn judge(&self, report: &Report, wanted: &Wanted) -> Result<(), Failure> {
        let tally = &report.compared.tally;
        let changed = if self.allow_changed { 0 } else { tally.changed };
        match (tally.newly_failing, changed) {
            _ if report.compared.events == 0 => {
                let (name, company) = (&wanted.integration, &wanted.company);
                Err(Failure::new(format!(
                    "there is no event of \"{name}\" for {company} in this time; --integration names another one"
                )))
            }
            (0, 0) => Ok(()),
            (0, changed) => Err(Failure::new(format!(
                "{changed} of {} events come to something else; --allow-changed if that is what you want",
                report.compared.events
            ))),
            (failing, _) => {
                Err(Failure::new(format!("{failing} of {} events fail that passed before", report.compared.events)))
            }
        }
    }
}

fn print(report: &Report, wanted: &Wanted) {
    say!("{} events of {} in {:.1} s", report.compared.events, wanted.integration, report.seconds);
    differences::print_counts(&report.compared.tally);
    for (why, count) in &report.not_run {
        say!("{count:>9}  not run: {why}");
    }
    let versions: Vec<_> = report.versions.iter().map(|(version, count)| format!("{version} ({count})")).collect();
    say!("came through version {}", versions.join(", "));
    differences::print(&report.compared);
}
