//! The command line: one file a subcommand. `cli/print.rs` is all that prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]
mod failure;
mod runtime;

use std::process::ExitCode;

use clap::Parser as _;

use crate::config::{Config, Options};
use crate::plugin::{SUBCOMMAND, compile_here};
use exit::ExitStatus;
use flags::ConfigFlag;
use print::tell;
use runtime::runtime;

pub(crate) use failure::Failure;

mod audit;
mod bench;
mod console;
mod erase;
mod events;
mod exit;
mod flags;
mod key;
mod migrate;
mod open;
mod openapi;
mod plugin;
mod print;
mod progress;
mod remote;
mod schema;
mod secret;
mod sender;
mod serve;
mod store;
mod sums;
mod transfer;

/// A webhook adapter and WebAssembly plugin host: any JSON in, the documented task out.
#[derive(Debug, clap::Parser)]
#[command(name = "hookmill", version, arg_required_else_help = true, after_help = format!("{EXAMPLES}\n\n{}", exit::help()))]
pub struct Args {
    #[command(flatten)]
    config: ConfigFlag,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  hookmill serve                                  on 127.0.0.1:8080, with the data in ./data and the plugins in ./plugins
  hookmill serve --listen 0.0.0.0:80 --data-dir /srv/hookmill
  hookmill key create --company clinic-7 --scope tasks:write --scope tasks:read
  hookmill key list --json
  hookmill sender show retell                     setup steps, and lines for plugin.toml
  hookmill store backup /backups/monday           while the server runs
  hookmill store check
  hookmill store migrate --to postgres:///hookmill?user=hookmill

`hookmill COMMAND --help` shows the flags and examples of a command.";

impl Args {
    /// Parses the arguments of this process. Ends it with a message if they are wrong, or ask for help.
    #[must_use]
    pub fn parsed() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            let text = error.to_string();
            let masked = without_urls(&text);
            // Help is an error too.
            if masked == text || !error.use_stderr() {
                error.exit();
            }
            tell!("{masked}");
            std::process::exit(ExitStatus::Usage.code().into());
        })
    }
}

/// Replaces the URLs of databases: a message quotes arguments that no command takes, and these contain passwords.
fn without_urls(text: &str) -> String {
    let mut parts = text.split("postgres");
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked.push_str("postgres");
        match part.find("://").filter(|at| *at <= "ql".len()) {
            Some(at) => {
                let end = part[at..]
                    .find(|it: char| it.is_whitespace() || "'\"".contains(it))
                    .map_or(part.len(), |it| at + it);
                masked.push_str(&part[..at]);
                masked.push_str("://…");
                masked.push_str(&part[end..]);
            }
            None => masked.push_str(part),
        }
    }
    masked
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Run the server, until SIGTERM or Ctrl-C
    Serve(serve::Serve),
    /// Create, list and revoke API keys, whether the server is running or stopped
    Key(key::Key),
    /// List, show, replay and erase events
    Events(events::EventsCommand),
    /// Create, check, test and compare plugins; list and reload those of the server
    Plugin(plugin::PluginCommand),
    /// List, show and check senders; sign examples; confirm secrets of handshakes
    Sender(sender::SenderCommand),
    /// Set, remove and list the secrets of integrations
    Secret(secret::SecretCommand),
    /// Print a link that logs you in to the running server's console
    Console(console::Console),
    /// Show the audit log: who did what, and when
    Audit(audit::Audit),
    /// Back up, restore, export, import, check, measure and migrate the database
    Store(store::StoreCommand),
    /// Print the API description (OpenAPI 3.1), as the server has it at /openapi.json
    Openapi,
    /// Compile one module; the server and `plugin` start this process themselves
    #[command(name = SUBCOMMAND, hide = true)]
    Compile {
        /// The module and the engine settings, as JSON
        order: String,
    },
}

impl Command {
    /// The settings that this command's flags override.
    fn options(&self) -> Options {
        match self {
            Self::Serve(it) => it.options(),
            Self::Key(it) => without_senders(it.options()),
            Self::Events(it) => without_senders(it.options()),
            Self::Plugin(it) => it.options(),
            Self::Sender(it) => it.options(),
            Self::Secret(it) => it.options(),
            Self::Console(it) => without_senders(it.options()),
            Self::Audit(it) => without_senders(it.options()),
            Self::Store(it) => without_senders(it.options()),
            Self::Openapi | Self::Compile { .. } => Options::default(),
        }
    }
}

/// For commands that use no secrets: a typo in the secrets file must not keep anybody from revoking a key.
fn without_senders(options: Options) -> Options {
    Options { without_senders: true, ..options }
}

/// Reports a panic by its place in the code, without its message, which may contain a payload. sled's panics about
/// damaged files are not reported, because the store repairs them and logs that.
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload_as_str().is_some_and(|it| it.starts_with("failed printing to std")) {
            // The reader has ended, as `head` does.
            std::process::exit(ExitStatus::ClosedPipe.code().into());
        }
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        if place.contains("/sled-") {
            tracing::debug!(place, "sled panicked");
        } else if tracing::dispatcher::has_been_set() {
            tracing::error!(place, "a panic: this is a bug in hookmill, please report it");
        } else {
            tell!("error: a panic at {place}: this is a bug in hookmill, please report it");
        }
    }));
}

/// Runs a command. Errors are printed to stderr, with an exit code.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    tell_panics();
    if let Command::Compile { order } = &args.command {
        // Its settings are in the order; no settings file is read.
        return compile_here(order);
    }
    if matches!(args.command, Command::Openapi) {
        openapi::run();
        return ExitCode::SUCCESS;
    }
    // These commands write data that other users must not read: the data directory, backups, exports. A plugin's
    // source belongs to its author.
    if !matches!(args.command, Command::Plugin(_)) {
        #[allow(unsafe_code, reason = "a system call on a number, which cannot fail")]
        unsafe {
            libc::umask(0o077)
        };
    }
    let result = Config::load(&args.config.with(args.command.options())).map_err(Failure::from).and_then(|config| {
        match &args.command {
            Command::Serve(serve) => serve.run(config),
            Command::Key(key) => key.run(&config),
            Command::Events(events) => events.run(&config),
            Command::Plugin(plugin) => plugin.run(&config),
            Command::Sender(sender) => sender.run(&config),
            Command::Secret(secret) => secret.run(&config),
            Command::Console(console) => console.run(&config),
            Command::Audit(audit) => audit.run(&config),
            Command::Store(store) => store.run(&config),
            Command::Openapi | Command::Compile { .. } => Ok(()),
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell!("error: {}", failure.message);
            failure.status.into()
        }
    }
}
