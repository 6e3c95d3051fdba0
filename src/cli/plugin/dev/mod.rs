//! `hookmill plugin dev NAME`: runs the fixtures whenever a file is saved, and shows what differs.
//!
//! `dev/pass.rs` is one run, `dev/shown.rs` prints it, `dev/changes.rs` waits for the next change, `dev/asked.rs` has what
//! the user asks for meanwhile, and `dev/post.rs` sends a fixture's payload to a server.

mod asked;
mod changes;
mod pass;
mod post;
mod shown;

use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, never, select};

use super::runnable::host;
use crate::cli::failure::Failure;
use crate::cli::flags::PluginsDirFlag;
use crate::cli::print::tell;
use crate::config::{Config, Options};
use crate::plugin::Host;
use asked::{AskedAction, asked};
use changes::{Changes, POLL};
use pass::DevRun;
use post::Post;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin dev orders                        until Ctrl-C
  hookmill plugin dev plugins/orders --once         one run, for scripts
  HOOKMILL_API_KEY=hm_... hookmill plugin dev orders --once --post created
                                                    one run, then fixtures/created.json is sent to a server

While it runs, type a letter and Enter: p posts the fixture that was changed last (p NAME another one), u writes the
results into the fixtures that differ, a makes fixtures of payloads in fixtures/, r runs again, q ends.
Nothing is sent to a server unless you ask for it.
Exit codes: 0 ended by you, or with --once all is well; 1 with --once a finding, a failed fixture or a refused delivery;
2 wrong arguments.")]
pub(super) struct Dev {
    /// Name of the plugin, or its folder
    plugin: PathBuf,
    /// Run once, and end
    #[arg(long)]
    once: bool,
    /// Post a fixture's payload after the first run without findings [default: the one that was changed last]
    #[arg(long, value_name = "FIXTURE", num_args = 0..=1, default_missing_value = "")]
    post: Option<String>,
    #[command(flatten)]
    to: Post,
    #[command(flatten)]
    plugins: PluginsDirFlag,
}

/// A plugin under development.
struct Session<'a> {
    dir: PathBuf,
    host: Host,
    config: &'a Config,
    to: &'a Post,
    as_json: bool,
    runs: u64,
}

impl Dev {
    pub(super) fn options(&self) -> Options {
        self.plugins.options()
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let dir = self.folder(config)?;
        let mut session = Session { dir, host: host(config)?, config, to: &self.to, as_json, runs: 0 };
        if self.once {
            let pass = session.pass();
            if !pass.is_good() {
                return Err(Failure::new(pass.summary()));
            }
            return self.post.as_ref().map_or(Ok(()), |fixture| session.post(fixture));
        }
        session.watch(self.post.clone())
    }

    fn folder(&self, config: &Config) -> Result<PathBuf, Failure> {
        let named = config.plugins_dir.join(&self.plugin);
        let found = [&self.plugin, &named].into_iter().find(|it| it.is_dir());
        found.cloned().ok_or_else(|| {
            let (given, named) = (self.plugin.display(), named.display());
            Failure::new(format!(
                "there is no folder {given}, and no {named}; `hookmill plugin new NAME --from payload.json` creates one"
            ))
        })
    }
}

impl Session<'_> {
    /// Runs once, and shows the result.
    fn pass(&mut self) -> DevRun {
        self.runs += 1;
        let pass = DevRun::of(&self.host, &self.dir, self.config);
        if self.as_json {
            shown::json(&pass, self.runs);
        } else {
            shown::print(&pass);
        }
        pass
    }

    /// Runs after every change, until the user ends it.
    fn watch(&mut self, mut post: Option<String>) -> Result<(), Failure> {
        let mut changes = Changes::new(&self.dir);
        let mut asked: Receiver<AskedAction> = asked()?;
        if !self.as_json {
            tell!("watching {}; p posts, u updates, a adopts, r runs, q ends (then Enter)", self.dir.display());
        }
        let mut pass = self.pass();
        loop {
            if pass.is_good()
                && let Some(fixture) = post.take()
            {
                self.report(self.post(&fixture));
            }
            select! {
                recv(changes.touched()) -> _ => {}
                recv(asked) -> it => match it {
                    Ok(AskedAction::End) => return Ok(()),
                    Ok(AskedAction::Post(fixture)) => self.report(self.post(&fixture)),
                    Ok(AskedAction::Update) => self.report(pass::update(&self.host, &self.dir, self.config)),
                    Ok(AskedAction::Adopt) => self.report(pass::adopt_all(&self.host, &self.dir, self.config)),
                    Ok(AskedAction::Run) => changes.forget(),
                    Ok(AskedAction::Unknown(word)) => {
                        tell!("{word} is not a command; p posts, u updates, a adopts, r runs, q ends");
                    }
                    // Nobody can ask for anything any more.
                    Err(_) => asked = never(),
                },
                default(POLL) => {}
            }
            if changes.settled() {
                pass = self.pass();
            }
        }
    }

    fn post(&self, fixture: &str) -> Result<(), Failure> {
        self.to.send(&self.host, Path::new(&self.dir), self.config, fixture, self.as_json)
    }

    /// Shows why something that the user asked for was not done. The session goes on.
    fn report(&self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            tell!("error: {}", failure.message);
        }
    }
}
