//! `hookmill plugin activate NAME VERSION`, `hookmill plugin rollback NAME`

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::database::{self, ByFlag};
use crate::cli::failure::Failure;
use crate::cli::flags::DataDirFlag;
use crate::cli::print::say;
use crate::cli::{print, runtime};
use crate::config::watch::PluginSource;
use crate::config::{Config, Options};
use crate::model::audit::Action;
use crate::service::cluster::ReportedPlugins;
use crate::store::{Bundles, Cluster, Node, Switched};

/// Between two looks at the servers.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin activate orders 1.3.0
  hookmill plugin activate orders 1.3.0 --wait 60 --json

Each server compiles the version and runs its fixtures before it replaces the one before. A server that refuses it says why, and
continues with the version before. If the version is active already, servers that have refused it try again.
Exit code 1: a server does not run it.")]
pub(super) struct Activate {
    /// The plugin
    name: String,
    /// A published version; `hookmill plugin versions NAME` lists them
    version: String,
    #[command(flatten)]
    switch: SwitchFlags,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin rollback orders

It activates the version that was active before. A second rollback undoes the first. To choose a version, use
`hookmill plugin activate`.")]
pub(super) struct Rollback {
    /// The plugin
    name: String,
    #[command(flatten)]
    switch: SwitchFlags,
}

#[derive(Debug, clap::Args)]
struct SwitchFlags {
    /// How long to wait until all servers run it, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    wait: u64,
    #[command(flatten)]
    by: ByFlag,
    #[command(flatten)]
    data: DataDirFlag,
}

impl Activate {
    pub(super) fn options(&self) -> Options {
        self.switch.options()
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let entry = database::entry(Action::PluginActivated, &self.name);
        database::with(config, |cluster| {
            let (name, version) = (&self.name, &self.version);
            let switched = cluster.bundles().activate(name, version, &self.switch.by.by, entry)?;
            let switched = switched.map_or_else(|| Err(unknown(cluster.bundles(), name, version)), Ok)?;
            self.switch.follow(cluster, name, &switched, as_json)
        })
    }
}

impl Rollback {
    pub(super) fn options(&self) -> Options {
        self.switch.options()
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let entry = database::entry(Action::PluginRolledBack, &self.name);
        database::with(config, |cluster| {
            let name = &self.name;
            let switched = cluster.bundles().rollback(name, &self.switch.by.by, entry)?;
            let none = format!(
                "no other version of {name} was active before; `hookmill plugin versions {name}` lists its versions"
            );
            self.switch.follow(cluster, name, &switched.ok_or_else(|| Failure::new(none))?, as_json)
        })
    }
}

/// Why a version cannot be activated.
fn unknown(bundles: &dyn Bundles, name: &str, version: &str) -> Failure {
    let known: Vec<_> = bundles.versions(Some(name)).unwrap_or_default().into_iter().map(|it| it.version).collect();
    Failure::new(if known.is_empty() {
        format!("no version of {name} was published; publish one with `hookmill plugin publish DIR`")
    } else {
        format!("{name} {version} was not published; published versions: {}", known.join(", "))
    })
}

/// A server, after an activation.
#[derive(Debug, Serialize)]
struct NodeState {
    node: String,
    state: Reached,
    /// The version that runs there.
    version: Option<String>,
    /// Why the version is refused.
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Reached {
    /// It runs the version.
    Running,
    /// It has refused the version.
    Refused,
    /// It has not answered yet.
    Waiting,
    /// It runs another version, which was activated in the meantime.
    Other,
    /// Its plugins come from its folder.
    Folder,
}

impl SwitchFlags {
    fn options(&self) -> Options {
        Options { without_senders: true, ..self.data.options() }
    }

    /// Waits until each server runs the version, or has refused it, and shows the result.
    fn follow(&self, cluster: &dyn Cluster, name: &str, switched: &Switched, as_json: bool) -> Result<(), Failure> {
        let Switched { version, digest, previous, .. } = switched;
        if !as_json {
            let before = previous.as_ref().map_or_else(String::new, |it| format!(", before {it}"));
            say!("{name} {version} is the active version{before}");
        }
        let nodes = self.wait(cluster, name, switched)?;
        if as_json {
            print::json(&json!({
                "name": name, "version": version, "digest": digest, "previous": previous, "nodes": nodes,
            }));
        } else {
            nodes.iter().for_each(|it| it.print(version, self.wait));
            if nodes.is_empty() {
                say!("no server runs on this database; those that start load it");
            }
        }
        let missing = nodes.iter().filter(|it| it.state != Reached::Running).count();
        if missing == 0 || self.wait == 0 {
            return Ok(());
        }
        let of = nodes.len();
        let of_folders = nodes.iter().filter(|it| it.state == Reached::Folder).count();
        let advice = if of_folders == missing {
            "they take their plugins from their folders: set plugins.source = \"database\"".to_owned()
        } else if let Some(previous) = previous {
            format!("`hookmill plugin activate {name} {previous}` runs the version before again")
        } else {
            format!("`hookmill plugin deactivate {name}` stops it on all servers")
        };
        Err(Failure::new(format!("{missing} of {of} servers do not run {name} {version}; {advice}")))
    }

    fn wait(&self, cluster: &dyn Cluster, name: &str, switched: &Switched) -> Result<Vec<NodeState>, Failure> {
        let (runtime, started) = (runtime()?, Instant::now());
        loop {
            let nodes = runtime.block_on(cluster.nodes())?;
            let servers = nodes.iter().filter(|it| it.role != "command");
            let states: Vec<_> = servers.map(|it| NodeState::of(it, name, switched)).collect();
            let all = states.iter().all(|it| it.state != Reached::Waiting);
            if all || started.elapsed() >= Duration::from_secs(self.wait) {
                return Ok(states);
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl NodeState {
    fn of(node: &Node, name: &str, switched: &Switched) -> Self {
        let it = ReportedPlugins::by(node);
        let live = it.as_ref().and_then(|it| it.live.get(name));
        let refused = it.as_ref().and_then(|it| it.refused.get(name));
        let state = match &it {
            None => Reached::Waiting,
            Some(it) if it.source == PluginSource::Folder => Reached::Folder,
            Some(it) if it.starting || it.activation < switched.activation => Reached::Waiting,
            Some(_) if refused.is_some() => Reached::Refused,
            Some(_) if live.is_some_and(|it| it.digest == switched.digest) => Reached::Running,
            Some(_) => Reached::Other,
        };
        let reason = refused.filter(|_| state == Reached::Refused).map(|it| it.reason.clone());
        Self { node: node.name.clone(), state, version: live.map(|it| it.version.clone()), reason }
    }

    fn print(&self, version: &str, waited: u64) {
        let Self { node, state, version: live, reason } = self;
        let (live, reason) = (live.as_deref().unwrap_or("no version"), reason.as_deref().unwrap_or_default());
        match state {
            Reached::Running => say!("  {node}: runs {version}"),
            Reached::Refused => say!("  {node}: refused {version}, and runs {live}: {reason}"),
            Reached::Waiting => say!("  {node}: has not tried it within {waited} s, and runs {live}"),
            Reached::Other => say!("  {node}: runs {live}"),
            Reached::Folder => say!("  {node}: runs {live} from its plugins folder (plugins.source = \"folder\")"),
        }
    }
}
