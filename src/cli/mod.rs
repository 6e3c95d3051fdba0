//! The command line: one file a subcommand. `cli/print.rs` is all that prints.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod audit;
mod bench;
mod erase;
mod events;
mod key;
mod plugin;
mod print;
mod progress;
mod remote;
mod serve;
mod store;
mod transfer;

use std::process::ExitCode;

use print::tell;

use crate::config::{Config, ConfigError, Options};
use crate::plugin::{SUBCOMMAND, compile_here};
use crate::store::StoreError;

/// A webhook adapter and WebAssembly plugin host: any JSON in, the documented task out.
#[derive(Debug, clap::Parser)]
#[command(name = "hookmill", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  hookmill serve                                        serve on 127.0.0.1:8080, data in ./data, plugins in ./plugins
  hookmill serve --listen 0.0.0.0:80 --data-dir /srv/hookmill
  hookmill key create --company clinic-7 --scope tasks:write --scope tasks:read
  hookmill key list --json
  hookmill store backup /backups/monday                 while the server runs
  hookmill store check

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 another server holds the data directory,\n4 stored data is damaged.";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Take webhooks and the task API until SIGTERM or Ctrl-C
    Serve(serve::Serve),
    /// Create, list and revoke API keys, with the server running or not
    Key(key::Key),
    /// List and show what came in, drive it through again, erase it
    Events(events::EventsCommand),
    /// List, reload, write and try plugins
    Plugin(plugin::PluginCommand),
    /// Who did what, and when
    Audit(audit::Audit),
    /// Back up, restore, export, import, check and measure the database
    Store(store::StoreCommand),
    /// The process that compiles a module; the server and `plugin` start it
    #[command(name = SUBCOMMAND, hide = true)]
    Compile {
        /// What and how
        order: String,
    },
}

/// Why a command ended badly: the sentence for the user, and the exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn new(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), code: 1 }
    }

    fn no_server(data_dir: &std::path::Path) -> Self {
        let dir = data_dir.display();
        Self::new(format!("no server is running on {dir}; start one with `hookmill serve`, or name its --data-dir"))
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { message: error.to_string(), code: 2 }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::InUse { .. } => 3,
            StoreError::Journal(_) | StoreError::Damaged { .. } => 4,
            _ => 1,
        };
        Self { message: error.to_string(), code }
    }
}

/// A panic is told as the place in the code, and not as what it says: that may hold a payload. sled's panics over
/// damaged files are no news; the store mends them, and says so.
fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload_as_str().is_some_and(|it| it.starts_with("failed printing to std")) {
            // Whoever read it has gone, as `head` does: 128 and SIGPIPE's number, as of any program in a pipe.
            std::process::exit(141);
        }
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        if place.contains("/sled-") {
            tracing::debug!(place, "sled panicked");
        } else if tracing::dispatcher::has_been_set() {
            tracing::error!(place, "a panic: this is a fault in hookmill, please report it");
        } else {
            tell!("error: a panic at {place}: this is a fault in hookmill, please report it");
        }
    }));
}

/// Runs a command. Errors are one line on stderr, and an exit code.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    tell_panics();
    if let Command::Compile { order } = &args.command {
        // Its settings are in the order, and no file counts.
        return compile_here(order);
    }
    // All of them write what nobody else may read: the data directory, backups, exports. A plugin's source is its author's.
    if !matches!(args.command, Command::Plugin(_)) {
        #[allow(unsafe_code, reason = "a system call on a number, which cannot fail")]
        unsafe {
            libc::umask(0o077)
        };
    }
    let result = Config::load(&args.options).map_err(Failure::from).and_then(|config| match &args.command {
        Command::Serve(serve) => serve.run(config),
        Command::Key(key) => key.run(&config),
        Command::Events(events) => events.run(&config),
        Command::Plugin(plugin) => plugin.run(&config),
        Command::Audit(audit) => audit.run(&config),
        Command::Store(store) => store.run(&config),
        Command::Compile { .. } => Ok(()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell!("error: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

/// What async commands run on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::new)
}
