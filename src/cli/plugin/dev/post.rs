//! Sends a fixture's payload to a server, as a sender would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::plugin::runnable::{folder, runnable};
use crate::cli::print;
use crate::cli::print::say;
use crate::config::Config;
use crate::integration::fixtures::Fixture;
use crate::integration::{Auth, fixtures};
use crate::plugin::Host;
use crate::system::folder::Folder;

/// How long a server may take to respond.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server that gets a payload.
#[derive(Debug, clap::Args)]
pub(super) struct Post {
    /// Base URL of the server for posts
    #[arg(long, env = "HOOKMILL_SERVER", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// API key with the scope hooks:write, for posts
    #[arg(long, env = "HOOKMILL_API_KEY", value_name = "KEY", hide_env_values = true)]
    api_key: Option<String>,
}

impl Post {
    /// Sends the payload of a fixture; without a name, of the one that was changed last.
    pub(super) fn send(
        &self,
        host: &Host,
        dir: &Path,
        config: &Config,
        fixture: &str,
        as_json: bool,
    ) -> Result<(), Failure> {
        let folder = folder(dir)?;
        let integration = runnable(host, config, &folder)?;
        if !matches!(integration.auth, Auth::ApiKey) {
            let name = &integration.name;
            return Err(Failure::new(format!(
                "deliveries of this plugin need more than an API key; use `hookmill sender sign --plugin {name} --run < payload.json`"
            )));
        }
        let Some(key) = &self.api_key else {
            return Err(Failure::new("set HOOKMILL_API_KEY to a key with the scope hooks:write, or add --api-key"));
        };
        let file = chosen(&folder, fixture)?;
        let sent = Fixture::read(&folder, &file).map_err(Failure::new)?;
        let url = format!("{}/v1/hooks/{}", self.server.trim_end_matches('/'), integration.name);
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).http_status_as_error(false).build().into();
        let mut request = agent.post(&url).header("x-api-key", key).header("content-type", "application/json");
        for (name, value) in &sent.headers {
            request = request.header(name, value);
        }
        let failed = |e: ureq::Error| Failure::new(format!("{url} does not respond: {e}"));
        let mut response = request.send(sent.payload.to_string()).map_err(failed)?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(failed)?;
        let answer = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text));
        if as_json {
            print::json(&json!({ "posted": file, "url": url, "status": status, "answer": answer }));
        } else {
            say!("{} was sent to {url}: {status}", file.display());
            print::pretty(&answer);
        }
        if response.status().is_success() { Ok(()) } else { Err(Failure::new(format!("{url} answered {status}"))) }
    }
}

/// Returns the file of a fixture by its name, with or without `.json`.
fn chosen(folder: &Folder, fixture: &str) -> Result<PathBuf, Failure> {
    let files = fixtures::list(folder).map_err(Failure::new)?;
    let stem = fixture.strip_suffix(".json").unwrap_or(fixture);
    let changed = |file: &&PathBuf| folder.metadata(file).ok().and_then(|it| it.modified().ok());
    let found = match stem {
        "" => files.iter().max_by_key(changed),
        _ => files.iter().find(|it| it.file_stem().is_some_and(|it| it == stem)),
    };
    found.cloned().ok_or_else(|| {
        let names: Vec<_> = files.iter().filter_map(|it| Some(it.file_stem()?.to_string_lossy())).collect();
        match names.len() {
            0 => Failure::new("there are no fixtures to post"),
            _ => Failure::new(format!("there is no fixture \"{stem}\"; there are {}", names.join(", "))),
        }
    })
}
