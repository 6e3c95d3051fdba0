//! `hookmill sender list|show|test|sign|confirm`

mod confirm;
mod list;
mod request;
mod show;
mod sign;
mod test;

use super::failure::Failure;
use crate::config::{Config, Options};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill sender list --group fax                  every sender of faxes, and how it proves its deliveries
  hookmill sender show retell                       setup steps, proofs, and lines for plugin.toml
  hookmill sender show retell --toml > mine.toml    its file, to begin one of your own with: its `name` must be mine
  hookmill sender test mine.toml                    checks a file, runs its vectors, and says what a signature should be
  hookmill sender sign --plugin retell-calls < call.json     prints a curl command with a valid signature
  hookmill sender confirm asana-tasks               sets the secret that Asana has sent in its handshake

Only confirm needs a server. docs/SENDER-FILES.md describes the files, docs/SENDERS.md lists the senders.
Exit codes: 0 success; 1 a finding, or a request that was refused; 2 wrong arguments or settings.")]
pub(super) struct SenderCommand {
    #[command(subcommand)]
    action: SenderAction,
    /// Print JSON for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum SenderAction {
    /// List the senders that integrations can name
    List(list::ListCommand),
    /// Show what a sender's file says, and lines for plugin.toml
    Show(show::ShowCommand),
    /// Check sender files: their rules, and their vectors with every byte changed
    Test(test::TestCommand),
    /// Sign a body from stdin as a sender would, to try an integration
    Sign(sign::SignCommand),
    /// Set a secret that a sender has sent in a handshake
    Confirm(confirm::ConfirmCommand),
}

impl SenderCommand {
    pub(super) fn options(&self) -> Options {
        match &self.action {
            SenderAction::Sign(sign) => sign.options(),
            SenderAction::Confirm(confirm) => confirm.options(),
            SenderAction::List(_) | SenderAction::Show(_) | SenderAction::Test(_) => Options::default(),
        }
    }

    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        match &self.action {
            SenderAction::List(list) => list.run(config, self.json),
            SenderAction::Show(show) => show.run(config, self.json),
            SenderAction::Test(test) => test.run(self.json),
            SenderAction::Sign(sign) => sign.run(config, self.json),
            SenderAction::Confirm(confirm) => confirm.run(config, self.json),
        }
    }
}
