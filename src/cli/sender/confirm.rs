//! `hookmill sender confirm`: secrets that senders have sent in handshakes.

use std::io::IsTerminal as _;

use serde_json::{Value, json};

use crate::auth::Senders;
use crate::cli::failure::Failure;
use crate::cli::flags::DataDirFlag;
use crate::cli::print;
use crate::cli::print::say;
use crate::cli::remote::{Elsewhere, Remote, text};
use crate::config::{Config, Options};

const PATH: &str = "/v1/admin/learned-secrets";

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill sender confirm --list                 what waits, with its first and last characters, to compare with the sender
  hookmill sender confirm asana-tasks            sets the only secret that waits for this integration
  hookmill sender confirm --event 0198f2c4-…     sets this one of several
  hookmill sender confirm --event 0198f2c4-… --reject
  hookmill sender confirm asana-tasks --reject --all     forgets everything that waits for this integration

Anybody who knows the URL can send a handshake: confirm only one that you have caused, at the time when you caused it.
The secret goes to `secrets_file` of the server's settings, under the first name in `secret` of [auth] that is not set.
A sender such as Notion wants it entered there as well: the secret is then printed, if this is a terminal or with --show-secret.")]
pub(super) struct ConfirmCommand {
    /// The integration whose secret it is
    integration: Option<String>,
    /// The event of the handshake, if several secrets wait
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Only list what waits
    #[arg(long)]
    list: bool,
    /// Forget the secret, instead of setting it
    #[arg(long, conflicts_with = "list")]
    reject: bool,
    /// Forget all of them
    #[arg(long, requires = "reject", conflicts_with = "event")]
    all: bool,
    /// Print the secret that was set
    #[arg(long, conflicts_with_all = ["list", "reject"])]
    show_secret: bool,
    #[command(flatten)]
    data: DataDirFlag,
    #[command(flatten)]
    elsewhere: Elsewhere,
}

impl ConfirmCommand {
    pub(super) fn options(&self) -> Options {
        self.data.options()
    }

    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let remote = self.elsewhere.remote(&config.data_dir).ok_or_else(|| Failure::no_server(&config.data_dir))?;
        let answer = remote.call("GET", PATH, None)?;
        let all = answer["data"].as_array().cloned().unwrap_or_default();
        let waiting: Vec<_> = all.into_iter().filter(|it| self.means(it)).collect();
        if self.list {
            if as_json {
                print::json(&json!({ "data": waiting }));
            } else {
                print_waiting(&waiting);
            }
            return Ok(());
        }
        if self.all {
            return reject_all(&remote, &waiting, as_json);
        }
        if self.integration.is_none() && self.event.is_none() {
            return Err(Failure::usage("name an integration or --event; --list shows what waits"));
        }
        let [it] = waiting.as_slice() else {
            if waiting.is_empty() {
                return Err(Failure::new("no such secret waits; --list shows all of them"));
            }
            print_waiting(&waiting);
            return Err(Failure::new(
                "several secrets wait; name one with --event, or forget all of them with --reject --all",
            ));
        };
        let path = format!("{PATH}/{}", text(&it["event_id"]));
        if self.reject {
            remote.call("DELETE", &path, None)?;
        }
        let done = if self.reject {
            json!({ "rejected": true, "integration": it["integration"] })
        } else {
            remote.call("POST", &format!("{path}/confirm"), Some(json!({})))?
        };
        if as_json {
            print::json(&done);
        } else if self.reject {
            say!("the secret of {} is forgotten", text(&done["integration"]));
        } else {
            say!("{} uses this secret now, as {}", text(&done["integration"]), text(&done["name"]));
            self.show(config, &done);
        }
        Ok(())
    }

    /// Prints the secret, once and only to somebody who needs it: no answer of the server contains it.
    fn show(&self, config: &Config, done: &Value) {
        let name = text(&done["name"]);
        let must_enter = done["enter_at_sender"] == true;
        if !self.show_secret && !must_enter {
            return;
        }
        let file = config.sender_places.read_again(&Senders::default()).0.secrets;
        match file.get(&name) {
            Some(secret) if self.show_secret || std::io::stdout().is_terminal() => {
                say!("enter this secret at the sender: {}", secret.expose());
            }
            Some(_) => say!("enter the secret at the sender: it is {name} in secrets_file; --show-secret prints it"),
            None => say!("enter the secret at the sender: it is {name} in the server's secrets_file"),
        }
    }

    fn means(&self, it: &Value) -> bool {
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| it[name] == wanted);
        is(&self.integration, "integration") && is(&self.event, "event_id")
    }
}

/// Forgets these secrets.
fn reject_all(remote: &Remote, waiting: &[Value], as_json: bool) -> Result<(), Failure> {
    for it in waiting {
        remote.call("DELETE", &format!("{PATH}/{}", text(&it["event_id"])), None)?;
    }
    if as_json {
        print::json(&json!({ "rejected": waiting.len() }));
    } else {
        say!("{} secrets are forgotten", waiting.len());
    }
    Ok(())
}

fn print_waiting(all: &[Value]) {
    say!("{:<36}  {:<20}  {:<24}  {:<20}  BEGINS AND ENDS WITH", "EVENT", "INTEGRATION", "RECEIVED", "FROM");
    for it in all {
        let [event, integration, received, peer, begins, ends] =
            ["event_id", "integration", "received_at", "peer", "begins_with", "ends_with"].map(|name| text(&it[name]));
        say!("{event:<36}  {integration:<20}  {received:<24}  {peer:<20}  {begins}…{ends}");
    }
}
