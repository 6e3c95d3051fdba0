//! `hookmill secret set|unset|list`

mod change;
mod list;
mod named;

use super::failure::Failure;
use super::flags::{DataDirFlag, PluginsDirFlag};
use crate::config::{Config, Options, SecretsFile};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill secret set RETELL_SECRET                prompts for it, writes secrets_file, and reloads a running server
  pass show retell | hookmill secret set RETELL_SECRET
  hookmill secret list                             where each is set, which integrations name it, and when it was last used
  hookmill secret unset RETELL_SECRET

A secret is never an argument, because other users see those. The environment variable NAME takes precedence over the file that
NAME_FILE names, and that over secrets_file of the settings, which set and unset change. To replace a secret without refusing
a delivery, set a second one, name both in plugin.toml (secret = [\"NEW\", \"OLD\"]), change it at the sender, and remove the old
one when `hookmill plugin list` shows that it is no longer used.")]
pub(super) struct SecretCommand {
    #[command(subcommand)]
    action: SecretAction,
    #[command(flatten)]
    data: DataDirFlag,
    #[command(flatten)]
    plugins: PluginsDirFlag,
    /// Print JSON for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum SecretAction {
    /// Set a secret in secrets_file, from a prompt or from stdin
    Set {
        /// Its name, as in plugin.toml
        name: String,
    },
    /// Remove a secret from secrets_file
    Unset {
        /// Its name, as in plugin.toml
        name: String,
    },
    /// List the names of secrets; never the secrets
    List,
}

impl SecretCommand {
    pub(super) fn options(&self) -> Options {
        let writes = !matches!(self.action, SecretAction::List);
        Options { plugins_dir: self.plugins.options().plugins_dir, without_senders: writes, ..self.data.options() }
    }

    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        match &self.action {
            SecretAction::Set { name } => change::set(config, name, self.json),
            SecretAction::Unset { name } => change::unset(config, name, self.json),
            SecretAction::List => list::list(config, self.json),
        }
    }
}

/// The file that is changed.
fn secrets_file(config: &Config) -> Result<SecretsFile, Failure> {
    let path = config.sender_places.secrets_file.as_deref();
    let none = || Failure::usage("no secrets_file is configured: add secrets_file = \"secrets.toml\" to hookmill.toml");
    path.map(SecretsFile::new).ok_or_else(none)
}
