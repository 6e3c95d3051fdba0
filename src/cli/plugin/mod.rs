//! `hookmill plugin list|reload|shadow|new|check|test|run|dev|diff|bench|publish|activate|rollback|deactivate|versions`

mod activate;
mod adopt;
mod advice;
mod bench;
mod check;
mod database;
mod deactivate;
mod dev;
mod diff;
mod differences;
mod list;
mod new;
mod new_from;
mod new_sender;
mod publish;
mod run;
mod runnable;
mod save_fixture;
mod setup_steps;
mod shadow;
mod test;
mod versions;

use std::path::PathBuf;

use super::failure::Failure;
use super::flags::DataDirFlag;
use crate::config::{Config, Options};
use runnable::runnable;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin new orders --from payload.json   a folder in plugins/ that maps this payload, without a compiler
  hookmill plugin new orders --lang js             a template that you compile
  hookmill plugin new calls --sender retell        one for a sender, which skips everything until you write its mapping
  hookmill plugin check plugins/orders             lists everything that is wrong with it, and how to fix it
  hookmill plugin test plugins/orders              runs its fixtures; --update writes the actual results into them
  hookmill plugin run plugins/orders < order.json  shows the tasks for one payload, and what the call costs
  hookmill plugin dev orders                       runs its fixtures whenever you save a file, and shows what differs
  hookmill plugin diff next/orders --since 30d     replays stored events with a new version, and shows what differs
  hookmill plugin bench plugins/orders             measures calls per second
  hookmill plugin list                             shows the running server's plugins and the statistics of their calls
  hookmill plugin shadow orders                    shows where its shadow's results differ on live deliveries
  hookmill plugin reload                           scans the plugins folder now; SIGHUP does the same
  hookmill plugin publish plugins/orders           stores this version in the PostgreSQL database
  hookmill plugin activate orders 1.3.0            runs it on all servers with plugins.source = \"database\"
  hookmill plugin rollback orders                  runs the version before again
  hookmill plugin deactivate orders                stops it on all servers
  hookmill plugin versions orders                  lists what was published, and which version is active

Only list, shadow and reload need a server; publish, activate, rollback, deactivate and versions need a PostgreSQL database. diff reads the data directory or the database, whether a server is running or not.
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
    /// Run the fixtures of a plugin whenever one of its files is saved
    Dev(dev::Dev),
    /// Run a plugin that is not live over stored events, and show what would differ
    Diff(diff::Diff),
    /// Show where a live plugin's shadow differs
    Shadow(shadow::ShadowCommand),
    /// Measure the calls of a plugin
    Bench(bench::PluginBench),
    /// Check a plugin folder, and store it in the database as a version that servers can run
    Publish(publish::Publish),
    /// Run a published version on all servers that take their plugins from the database
    Activate(activate::Activate),
    /// Run the version that was active before again
    Rollback(activate::Rollback),
    /// Run no version of a plugin any more on the servers that take their plugins from the database
    Deactivate(deactivate::Deactivate),
    /// List published versions
    Versions(versions::Versions),
}

impl PluginCommand {
    pub(super) fn options(&self) -> Options {
        match &self.action {
            PluginAction::List(data) | PluginAction::Reload(data) => {
                Options { without_senders: true, ..data.options() }
            }
            PluginAction::New(new) => new.options(),
            PluginAction::Dev(dev) => dev.options(),
            PluginAction::Diff(diff) => diff.options(),
            PluginAction::Shadow(shadow) => shadow.options(),
            PluginAction::Publish(publish) => publish.options(),
            PluginAction::Activate(activate) => activate.options(),
            PluginAction::Rollback(rollback) => rollback.options(),
            PluginAction::Deactivate(deactivate) => deactivate.options(),
            PluginAction::Versions(versions) => versions.options(),
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
            PluginAction::Dev(dev) => dev.run(config, self.json),
            PluginAction::Diff(diff) => diff.run(config, self.json),
            PluginAction::Shadow(shadow) => shadow.run(config, self.json),
            PluginAction::Bench(bench) => bench.run(config, self.json),
            PluginAction::Publish(publish) => publish.run(config, self.json),
            PluginAction::Activate(activate) => activate.run(config, self.json),
            PluginAction::Rollback(rollback) => rollback.run(config, self.json),
            PluginAction::Deactivate(deactivate) => deactivate.run(config, self.json),
            PluginAction::Versions(versions) => versions.run(config, self.json),
        }
    }
}
