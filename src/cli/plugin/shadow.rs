//! `hookmill plugin shadow NAME`

use serde_json::json;

use super::differences;
use super::list::server;
use crate::cli::failure::Failure;
use crate::cli::flags::DataDirFlag;
use crate::cli::print;
use crate::cli::print::say;
use crate::config::{Config, Options};
use crate::service::dry_run::ShadowReport;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin shadow orders
  hookmill plugin shadow orders --json --no-values

The live plugin's plugin.toml names its shadow: shadow = \"../.orders-next\". The shadow gets every delivery that the live plugin
gets, and stores nothing. Its counts start again at zero whenever one of the two is loaded again.
Exit codes: 0 every event that the live plugin passes also passes the shadow; 1 one does not, or there is no shadow; 2 wrong
arguments.")]
pub(super) struct ShadowCommand {
    /// The live plugin's name
    name: String,
    /// Show where events differ, but no values, which are your senders' data
    #[arg(long)]
    no_values: bool,
    #[command(flatten)]
    data: DataDirFlag,
}

impl ShadowCommand {
    pub(super) fn options(&self) -> Options {
        self.data.options()
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let values = if self.no_values { "?values=false" } else { "" };
        let answer = server(config)?.call("GET", &format!("/v1/admin/plugins/{}/shadow{values}", self.name), None)?;
        if as_json {
            print::json(&answer);
        }
        let report: ShadowReport = serde_json::from_value(answer).map_err(Failure::new)?;
        let compared = &report.compared;
        if !as_json {
            let since = json!(report.since);
            let (name, events) = (&self.name, compared.events);
            say!(
                "version {} has run {events} events of {name} since {}, and missed {}",
                report.version,
                since.as_str().unwrap_or_default(),
                report.dropped
            );
            differences::print_counts(&compared.tally);
            differences::print(compared);
        }
        match compared.tally.newly_failing {
            0 => Ok(()),
            failing => Err(Failure::new(format!(
                "{failing} of {} events pass in the live plugin and fail here",
                compared.events
            ))),
        }
    }
}
