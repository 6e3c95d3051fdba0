//! `hookmill plugin list|reload`

use serde_json::{Value, json};

use super::Failure;
use super::remote::{Remote, text};
use crate::config::Config;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin list                       what is live on the running server, and how the calls go
  hookmill plugin reload                     looks at the plugins folder now; SIGHUP does the same")]
pub(super) struct PluginCommand {
    #[command(subcommand)]
    action: Action,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// What is live on the running server, what is refused, and how the calls go
    List,
    /// Have the running server look at its plugins folder now
    Reload,
}

impl PluginCommand {
    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let answer = match &self.action {
            Action::List => server(config)?.call("GET", "/v1/admin/plugins", None)?,
            Action::Reload => server(config)?.call("POST", "/v1/admin/plugins/reload", Some(json!({})))?,
        };
        match &self.action {
            _ if self.json => println!("{answer}"),
            Action::List => print_list(&answer),
            Action::Reload => return print_pass(&answer),
        }
        Ok(())
    }
}

fn server(config: &Config) -> Result<Remote, Failure> {
    let missing = || {
        let dir = config.data_dir.display();
        Failure::new(format!("no server is running on {dir}; start one with `hookmill serve`, or name its --data-dir"))
    };
    Remote::holding(&config.data_dir).ok_or_else(missing)
}

fn print_list(answer: &Value) {
    println!(
        "{:<20} {:<9} {:<10} {:<10} {:>9} {:>8} {:>8} {:>9} {:>9}  SHA256",
        "PLUGIN", "STATE", "VERSION", "ABI", "CALLS", "REFUSED", "FAILED", "P50 µs", "P99 µs"
    );
    for it in answer["data"].as_array().into_iter().flatten() {
        let calls = &it["calls"];
        let [name, state, version, abi] = [&it["name"], &it["state"], &it["version"], &it["abi"]].map(shown);
        let [made, refused, failed, p50, p99] =
            ["calls", "refused", "failures", "p50_us", "p99_us"].map(|name| shown(&calls[name]));
        let sha256: String = shown(&it["sha256"]).chars().take(12).collect();
        println!(
            "{name:<20} {state:<9} {version:<10} {abi:<10} {made:>9} {refused:>8} {failed:>8} {p50:>9} {p99:>9}  {sha256}"
        );
        if !it["message"].is_null() {
            println!("  {}", text(&it["message"]));
        }
        if let Some(error) = calls["last_error"].as_object() {
            println!(
                "  last error: {} at {}, event {}",
                shown(&error["code"]),
                shown(&error["at"]),
                shown(&error["event_id"])
            );
        }
    }
}

fn shown(value: &Value) -> String {
    if value.is_null() { "-".into() } else { text(value) }
}

fn print_pass(pass: &Value) -> Result<(), Failure> {
    for what in ["loaded", "removed", "unchanged"] {
        let names: Vec<_> = pass[what].as_array().into_iter().flatten().map(text).collect();
        if !names.is_empty() {
            println!("{what}: {}", names.join(", "));
        }
    }
    let refused: Vec<_> = pass["refused"].as_object().into_iter().flatten().collect();
    for (name, message) in &refused {
        println!("refused: {name}: {}", text(message));
    }
    if refused.is_empty() { Ok(()) } else { Err(Failure::new("not every plugin could be loaded")) }
}
