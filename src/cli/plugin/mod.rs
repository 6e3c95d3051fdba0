//! `hookmill plugin list|reload|shadow|new|check|test|run|diff|bench`

mod advice;
mod bench;
mod check;
mod diff;
mod differences;
mod list;
mod new;
mod new_sender;
mod run;
mod runnable;
mod setup_steps;
mod shadow;
mod test;

use std::path::PathBuf;

use super::failure::Failure;
use super::flags::DataDirFlag;
use crate::config::{Config, Options};
use runnable::runnable;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin new orders --lang js             a folder in plugins/ that builds and passes its fixtures
  hookmill plugin new calls --sender retell        one for a sender, which skips everything until you write its mapping
  hookmill plugin check plugins/orders             lists everything that is wrong with it, and how to fix it
  hookmill plugin test plugins/orders              runs its fixtures; --update writes the actual results into them
  hookmill plugin run plugins/orders < order.json  shows the tasks for one payload, and what the call costs
  hookmill plugin diff next/orders --since 30d     replays stored events with a new version, and shows what differs
  hookmill plugin bench plugins/orders             measures calls per second
  hookmill plugin list                             shows the running server's plugins and the statistics of their calls
  hookmill plugin shadow orders                    shows where its shadow's results differ on live deliveries
  hookmill plugin reload                           scans the plugins folder now; SIGHUP does the same

Only list, shadow and reload need a server. diff reads the data directory, whether a server is running or not.
Exit codes: 0 success; 1 a finding, a failed fixture or a refused payload; 2 wrong arguments or settings.")]
pub(super) struct PluginCommand {
    #[command(subcommand)]
    action: PluginAction,
    /// Print JSON for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum PluginAction {
    /// List the running server's plugins with state, version and statistics
    List(DataDirFlag),
    /// Make the running server scan its plugins folder now
    Reload(DataDirFlag),
    /// Create a plugin folder from a template
    New(new::New),
    /// Check a plugin folder: manifest, schema, module, imports, fixtures and limits
    Check {
        /// The plugin's folder
        dir: PathBuf,
    },
    /// Run the fixtures of a plugin
    Test(test::Test),
    /// Run one payload from stdin through the schema and the plugin
    Run(run::RunCommand),
    /// Run a plugin that is not live over stored events, and show what would differ
    Diff(diff::Diff),
    /// Show where a live plugin's shadow differs
    Shadow(shadow::ShadowCommand),
    /// Measure the calls of a plugin
    Bench(bench::PluginBench),
}

impl PluginCommand {
    pub(super) fn options(&self) -> Options {
        match &self.action {
            PluginAction::List(data) | PluginAction::Reload(data) => {
                Options { without_senders: true, ..data.options() }
            }
            PluginAction::New(new) => new.options(),
            PluginAction::Diff(diff) => diff.options(),
            PluginAction::Shadow(shadow) => shadow.options(),
            PluginAction::Check { .. } | PluginAction::Test(_) | PluginAction::Run(_) | PluginAction::Bench(_) => {
                Options::default()
            }
        }
    }

    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        match &self.action {
            PluginAction::List(_) => list::list(config, self.json),
            PluginAction::Reload(_) => list::reload(config, self.json),
            PluginAction::New(new) => new.run(config, self.json),
            PluginAction::Check { dir } => check::run(config, dir, self.json),
            PluginAction::Test(test) => test.run(config, self.json),
            PluginAction::Run(run) => run.run(config, self.json),
            PluginAction::Diff(diff) => diff.run(config, self.json),
            PluginAction::Shadow(shadow) => shadow.run(config, self.json),
            PluginAction::Bench(bench) => bench.run(config, self.json),
        }
    }
}
