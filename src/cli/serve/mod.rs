//! `hookmill serve`

mod end;
mod first_key;
mod follow;
mod listen;
mod plugins;
mod role;
mod run;
mod upkeep;

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::time::Duration;

use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::fmt::format::DefaultFields;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::role::Role;
use super::failure::Failure;
use super::flags::{DataDirFlag, PluginsDirFlag};
use super::runtime;
use crate::config::watch::PluginSource;
use crate::config::{Config, Options};
use crate::model::peer::Network;
use crate::system::log::{JsonLine, TextFields, says_no_more_than_it_may};

/// Time for reads that are running at the end.
const LAST_READS: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill serve
  HOOKMILL_BOOTSTRAP_KEY=$(openssl rand -hex 32) hookmill serve --listen 0.0.0.0:8080

The first start on an empty database creates one API key and prints it; it is not shown again. To choose the key yourself, set
HOOKMILL_BOOTSTRAP_KEY (at least 24 characters).")]
pub(super) struct Serve {
    /// Address and port to serve on [default: 127.0.0.1:8080]
    #[arg(long, env = "HOOKMILL_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Address and port for GET /metrics alone [default: on the main address, with a token]
    #[arg(long, env = "HOOKMILL_METRICS_LISTEN", value_name = "ADDR:PORT")]
    metrics_listen: Option<SocketAddr>,
    #[command(flatten)]
    data: DataDirFlag,
    #[command(flatten)]
    plugins: PluginsDirFlag,
    /// Proxies whose X-Forwarded-For counts, such as 10.0.0.0/8,fd00::/8 [default: none]
    #[arg(long, env = "HOOKMILL_TRUSTED_PROXIES", value_name = "ADDR/BITS", value_delimiter = ',')]
    trusted_proxies: Option<Vec<Network>>,
    /// Format of the log, which is written to stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Log level (error, warn, info, debug), or a filter such as hookmill=debug
    #[arg(long, env = "HOOKMILL_LOG", default_value = "info", value_name = "FILTER")]
    log: String,
    /// What this server does, where several share a PostgreSQL database: requests, queued events, or both
    #[arg(long, value_enum, default_value_t = Role::All, env = "HOOKMILL_ROLE")]
    role: Role,
    /// Serve the undamaged data of a journal in which acknowledged changes are damaged
    #[arg(long)]
    accept_loss: bool,
}

/// Why a server with its own data directory has both roles.
const ALONE: &str =
    "--role needs --database-url: a server that keeps its data in its data directory does everything itself";

/// Why plugins cannot come from the database.
const NO_DATABASE: &str = "plugins.source = \"database\" needs a PostgreSQL database: set store.url or HOOKMILL_DATABASE_URL, or use \"folder\"";

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Serve {
    pub(super) fn options(&self) -> Options {
        Options {
            listen: self.listen,
            metrics_listen: self.metrics_listen,
            plugins_dir: self.plugins.options().plugins_dir,
            trusted_proxies: self.trusted_proxies.clone(),
            ..self.data.options()
        }
    }

    pub(super) fn run(&self, config: Config) -> Result<(), Failure> {
        self.start_log()?;
        let mut config = config;
        config.store.accept_loss = self.accept_loss;
        match &mut config.database {
            Some(database) => database.role = self.role.name(),
            None if self.role != Role::All => return Err(Failure::usage(ALONE)),
            None if config.plugin_source == PluginSource::Database => return Err(Failure::usage(NO_DATABASE)),
            None => {}
        }
        let runtime = runtime()?;
        let ended = runtime.block_on(run::serve(config, self.role));
        // Requests have already had the time of the drain.
        runtime.shutdown_timeout(LAST_READS);
        ended
    }

    fn start_log(&self) -> Result<(), Failure> {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log)
            .map_err(|e| Failure::usage(format!("--log {}: {e}", self.log)))?;
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        let of_others = FilterFn::new(says_no_more_than_it_may);
        match self.log_format {
            LogFormat::Json => log.json().map_event_format(JsonLine).finish().with(of_others).init(),
            LogFormat::Text => {
                let fields = TextFields(DefaultFields::new());
                let log = log.with_ansi(std::io::stderr().is_terminal()).fmt_fields(fields);
                log.finish().with(of_others).init();
            }
        }
        Ok(())
    }
}
