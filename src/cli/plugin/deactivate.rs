//! `hookmill plugin deactivate NAME`

use std::time::{Duration, Instant};

use serde_json::json;

use super::activate::PAUSE;
use super::database::{self, ByFlag};
use crate::cli::failure::Failure;
use crate::cli::flags::DataDirFlag;
use crate::cli::print::say;
use crate::cli::{print, runtime};
use crate::config::watch::PluginSource;
use crate::config::{Config, Options};
use crate::model::audit::Action;
use crate::service::cluster::ReportedPlugins;
use crate::store::Cluster;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin deactivate orders

Deliveries to it get 404 afterwards; queued ones are quarantined after a minute, and can be replayed once it is active again. Its
versions remain published: `hookmill plugin activate` runs one of them.")]
pub(super) struct Deactivate {
    /// The plugin
    name: String,
    /// How long to wait until no server runs it, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    wait: u64,
    #[command(flatten)]
    by: ByFlag,
    #[command(flatten)]
    data: DataDirFlag,
}

impl Deactivate {
    pub(super) fn options(&self) -> Options {
        Options { without_senders: true, ..self.data.options() }
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let entry = database::entry(Action::PluginDeactivated, &self.name);
        database::with(config, |cluster| {
            let name = &self.name;
            let gone = cluster.bundles().deactivate(name, &self.by.by, entry)?;
            let none = || Failure::new(format!("{name} is not active; `hookmill plugin versions` lists all plugins"));
            let (version, number) = gone.ok_or_else(none)?;
            let running = self.wait(cluster, number)?;
            if as_json {
                print::json(&json!({ "name": name, "previous": version, "still_running_on": running }));
            } else {
                say!("{name} is not active any more, before {version}");
                running.iter().for_each(|node| say!("  {node}: still runs it"));
            }
            if running.is_empty() || self.wait == 0 {
                return Ok(());
            }
            Err(Failure::new(format!("{} servers still run {name}; look at their logs", running.len())))
        })
    }

    /// Waits until no server that takes its plugins from the database runs it. Returns those that still do.
    fn wait(&self, cluster: &dyn Cluster, number: i64) -> Result<Vec<String>, Failure> {
        let (runtime, started) = (runtime()?, Instant::now());
        loop {
            let mut running = Vec::new();
            for node in runtime.block_on(cluster.nodes())? {
                let plugins = ReportedPlugins::by(&node).filter(|it| it.source == PluginSource::Database);
                let runs = |it: &ReportedPlugins| it.activation < number || it.live.contains_key(&self.name);
                if plugins.is_some_and(|it| runs(&it)) {
                    running.push(node.name);
                }
            }
            if running.is_empty() || started.elapsed() >= Duration::from_secs(self.wait) {
                return Ok(running);
            }
            std::thread::sleep(PAUSE);
        }
    }
}
