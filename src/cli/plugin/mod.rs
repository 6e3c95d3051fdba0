//! `hookmill plugin list|reload|shadow|new|check|test|run|diff|bench`

mod bench;
mod check;
mod diff;
mod differences;
mod list;
mod new;
mod run;
mod shadow;
mod test;

use std::path::{Path, PathBuf};

use super::Failure;
use crate::app::now;
use crate::config::{Config, user_cache};
use crate::folder::Folder;
use crate::integration::Integration;
use crate::integration::check::{Checked, open};
use crate::plugin::Host;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin new orders --lang js             a folder in plugins/ that builds and passes its fixtures
  hookmill plugin check plugins/orders             everything that is wrong with it, and what to do
  hookmill plugin test plugins/orders              runs its fixtures; --update writes down what comes out
  hookmill plugin run plugins/orders < order.json  what the server would make of one payload, and what it costs
  hookmill plugin diff next/orders --since 30d     what another version would have made of what came in
  hookmill plugin bench plugins/orders             calls a second
  hookmill plugin list                             what is live on the running server, and how the calls go
  hookmill plugin shadow orders                    how the candidate beside it compares, on live deliveries
  hookmill plugin reload                           looks at the plugins folder now; SIGHUP does the same

Only list, shadow and reload need a server; diff reads the data directory, whether a server runs on it or not. Exit codes:
0 all is well; 1 it is not (a finding, a failed fixture, a payload that was refused); 2 wrong arguments or settings.")]
pub(super) struct PluginCommand {
    #[command(subcommand)]
    action: Action,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// What is live on the running server, what is refused, and how the calls go
    List,
    /// Have the running server look at its plugins folder now
    Reload,
    /// Write a plugin folder to begin with
    New(new::New),
    /// Look through a plugin folder: manifest, schema, module, imports, fixtures, limits
    Check {
        /// The plugin's folder
        dir: PathBuf,
    },
    /// Run a plugin's fixtures
    Test(test::Test),
    /// Send one payload from stdin through schema and plugin
    Run(run::Run),
    /// Run a plugin that is not live over stored events: what would be different
    Diff(diff::Diff),
    /// How the candidate beside a live plugin compares
    Shadow(shadow::Shadow),
    /// Measure a plugin's calls
    Bench(bench::Bench),
}

impl PluginCommand {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        match &self.action {
            Action::List => list::list(config, self.json),
            Action::Reload => list::reload(config, self.json),
            Action::New(new) => new.run(config),
            Action::Check { dir } => check::run(config, dir, self.json),
            Action::Test(test) => test.run(config, self.json),
            Action::Run(run) => run.run(config, self.json),
            Action::Diff(diff) => diff.run(config, self.json),
            Action::Shadow(shadow) => shadow.run(config, self.json),
            Action::Bench(bench) => bench.run(config, self.json),
        }
    }
}

fn host(config: &Config) -> Result<Host, Failure> {
    Host::new(user_cache().map(|it| it.join("artefacts")), config.loading).map_err(Failure::new)
}

/// A folder that can be run, whatever its fixtures say; else its first error.
fn runnable(host: &Host, config: &Config, folder: &Folder) -> Result<Integration, Failure> {
    let Checked { findings, integration } = open(host, folder, &config.secrets, now());
    integration.ok_or_else(|| {
        let first = findings.first().map_or_else(String::new, |it| format!("{}: {}", it.file.display(), it.reason));
        Failure::new(format!("{first}\n`hookmill plugin check {}` says all of it", folder.path().display()))
    })
}

/// The folder that the user names.
fn folder(dir: &Path) -> Result<Folder, Failure> {
    Folder::open(dir).map_err(|e| Failure::new(format!("{}: {e}", dir.display())))
}

/// Microseconds as people read them.
fn millis(micros: u128) -> String {
    format!("{:.3} ms", micros as f64 / 1000.0)
}
