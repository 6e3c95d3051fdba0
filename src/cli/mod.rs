//! The command line: one file a subcommand. `cli/print.rs` is all that prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]
mod failure;
mod runtime;

use std::process::ExitCode;

use crate::config::{Config, Options};
use crate::plugin::{SUBCOMMAND, compile_here};
use exit::ExitStatus;
use flags::ConfigFlag;
use print::tell;
use runtime::runtime;

pub(crate) use failure::Failure;

mod audit;
mod bench;
mod erase;
mod events;
mod exit;
mod flags;
mod key;
mod openapi;
mod plugin;
mod print;
mod progress;
mod remote;
mod secret;
mod sender;
mod serve;
mod store;
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

`hookmill COMMAND --help` shows the flags and examples of a command.";

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
    /// Show the audit log: who did what, and when
    Audit(audit::Audit),
    /// Back up, restore, export, import, check and measure the database
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
