//! `hookmill secret set|unset|list`

mod change;
mod list;
mod named;

use super::failure::Failure;
use super::flags::{DataDirFlag, PluginsDirFlag};
use crate::config::{Config, Options};

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
    /// Print JSON for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum SecretAction {
    /// Set a secret in secrets_file, from a prompt or from stdin
    Set(SetSecret),
    /// Remove a secret from secrets_file
    Unset(NamedSecret),
    /// List the names of secrets; never the secrets
    List(PluginsDirFlag),
}

#[derive(Debug, clap::Args)]
struct SetSecret {
    #[command(flatten)]
    named: NamedSecret,
    /// Set it even if an integration refuses it
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
struct NamedSecret {
    /// Its name, as in plugin.toml
    name: String,
    #[command(flatten)]
    plugins: PluginsDirFlag,
}

impl SecretCommand {
    pub(super) fn options(&self) -> Options {
        let (plugins, writes) = match &self.action {
            SecretAction::Set(it) => (&it.named.plugins, true),
            SecretAction::Unset(it) => (&it.plugins, true),
            SecretAction::List(plugins) => (plugins, false),
        };
        Options { plugins_dir: plugins.options().plugins_dir, without_senders: writes, ..self.data.options() }
    }

    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        match &self.action {
            SecretAction::Set(it) => change::set(config, &it.named.name, it.force, self.json),
            SecretAction::Unset(it) => change::unset(config, &it.name, self.json),
            SecretAction::List(_) => list::list(config, self.json),
        }
    }
}
