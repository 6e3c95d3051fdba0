//! `hookmill plugin diff DIR`

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde_json::json;

use super::runnable::{folder, host};
use super::{differences, runnable};
use crate::cli::events::time;
use crate::cli::failure::Failure;
use crate::cli::flags::DataDirFlag;
use crate::cli::print::say;
use crate::cli::progress::Progress;
use crate::cli::{open, print};
use crate::config;
use crate::config::Config;
use crate::model::ids::IntegrationName;
use crate::service::dry_run;
use crate::service::dry_run::{DryRunOptions, Report};
use crate::store::embedded::DirHistory;
use crate::store::{EventHistory, Wanted};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin diff next/orders --since 30d
  hookmill plugin diff next/orders --since 30d --allow-changed --no-values     in CI, without your senders' data
  hookmill plugin diff next/orders --against plugins/orders                    compares two folders, not the stored results

A captured event has no earlier result: if the mapping passes, it counts as newly passing, and its sample has the tasks.
Nothing is stored, and a server may be running.
Exit codes: 0 every event has the same result, or passes where it failed before or was captured; 1 at least one does not; 2 wrong arguments.")]
pub(super) struct Diff {
    /// The folder of the plugin that is not live yet
    dir: PathBuf,
    /// Integration whose events to use [default: the name in plugin.toml]
    #[arg(long)]
    integration: Option<String>,
    /// Compare with the plugin in this folder instead of the stored results
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Only events received since then: an age such as 30m, 24h or 7d, or a time (RFC 3339)
    #[arg(long, value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Only events received before then, written like --since
    #[arg(long, value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// Number of differing events to show
    #[arg(long, default_value_t = 10)]
    samples: usize,
    /// Threads that run the plugin [default: one per processor]
    #[arg(long)]
    threads: Option<usize>,
    /// Exit with 0 if results differ; fail only for events that no longer pass
    #[arg(long)]
    allow_changed: bool,
    /// Show where events differ, but no values, which are your senders' data
    #[arg(long)]
    no_values: bool,
    #[command(flatten)]
    data: DataDirFlag,
}

impl Diff {
    pub(super) fn options(&self) -> config::Options {
        self.data.options()
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let host = host(config)?;
        let mut candidate = runnable(&host, config, &folder(&self.dir)?)?;
        let mut against = self.against.as_ref().map(|dir| runnable(&host, config, &folder(dir)?)).transpose()?;
        if let Some(name) = &self.integration {
            candidate.name = IntegrationName(name.as_str().into());
        }
        if let Some(against) = &mut against {
            if against.company_id != candidate.company_id {
                return Err(Failure::new(
                    "--against belongs to another company; both plugins must belong to the same company",
                ));
            }
            // Both get the same context for each event.
            against.name = candidate.name.clone();
        }
        let wanted = Wanted {
            company: candidate.company_id.clone(),
            integration: candidate.name.to_string(),
            since: self.since,
            until: self.until,
        };
        // The store itself is kept: the history reads through its connections.
        let store = config.database.as_ref().map(|_| open::store(config)).transpose()?;
        let history: Box<dyn EventHistory> = match &store {
            Some(store) => store.history()?,
            None => Box::new(DirHistory::open(&config.data_dir)?),
        };
        let threads = self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let options = DryRunOptions { threads, samples: self.samples };
        let progress = Mutex::new(Progress::new("events compared", history.events(&wanted)));
        let never = AtomicBool::new(false);
        let report = dry_run::run(&*history, &candidate, against.as_ref(), &wanted, options, &never, &|it| {
            progress.lock().unwrap_or_else(PoisonError::into_inner).add(it);
        });
        progress.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
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
                    "there are no events of \"{name}\" for {company} in this period; choose another one with --integration"
                )))
            }
            (0, 0) => Ok(()),
            (0, changed) => Err(Failure::new(format!(
                "{changed} of {} events have a different result; add --allow-changed if that is intended",
                report.compared.events
            ))),
            (failing, _) => Err(Failure::new(format!(
                "{failing} of {} events passed before and fail now, or were captured and fail",
                report.compared.events
            ))),
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
    if !versions.is_empty() {
        say!("processed before by version {}", versions.join(", "));
    }
    differences::print(&report.compared);
}
