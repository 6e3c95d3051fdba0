//! Client of a running server's admin API, for commands that cannot open its directory.

use std::path::Path;

use serde_json::Value;

use super::failure::Failure;
use crate::store::running_server;

/// Options for a server on another machine.
#[derive(Debug, clap::Args)]
pub(super) struct Elsewhere {
    /// Base URL of a server on another machine
    #[arg(long, env = "HOOKMILL_SERVER", value_name = "URL", global = true, requires = "api_key")]
    server: Option<String>,
    /// API key with the scope admin, for --server
    #[arg(long, env = "HOOKMILL_API_KEY", value_name = "KEY", hide_env_values = true, global = true)]
    api_key: Option<String>,
}

impl Elsewhere {
    /// Returns that server, or else the one that holds the data directory.
    pub(super) fn remote(&self, data_dir: &Path) -> Option<Remote> {
        match (&self.server, &self.api_key) {
            (Some(url), Some(key)) => Some(Remote::new(url, key)),
            _ => Remote::holding(data_dir),
        }
    }
}

/// A server and a key for it.
pub(super) struct Remote {
    url: String,
    key: String,
}

impl Remote {
    pub(super) fn new(url: &str, key: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), key: key.to_owned() }
    }

    /// Returns the server that holds this directory, with the token that it has put there for users who can read
    /// the directory.
    pub(super) fn holding(dir: &Path) -> Option<Self> {
        running_server(dir).map(|running| Self::new(&running.url, &running.operator_token))
    }

    /// Returns the server's base URL.
    pub(super) fn base(&self) -> &str {
        &self.url
    }

    /// Returns the bytes at a path.
    pub(super) fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::new(format!("{} does not respond: {e}", self.url));
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let request = agent.get(format!("{}{path}", self.url)).header("x-api-key", &self.key);
        let mut response = request.call().map_err(|e| failed(&e))?;
        if response.status().is_success() {
            // The server has limited it already.
            return response.body_mut().with_config().limit(u64::MAX).read_to_vec().map_err(|e| failed(&e));
        }
        let answer: Value = response.body_mut().read_json().map_err(|e| failed(&e))?;
        Err(Failure::new(text(&answer["message"])))
    }

    pub(super) fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::new(format!("{} does not respond: {e}", self.url));
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(std::time::Duration::from_secs(6 * 60 * 60)))
            .http_status_as_error(false)
            .build()
            .into();
        let url = format!("{}{path}", self.url);
        let mut response = match (method, body) {
            ("POST", Some(body)) => agent.post(&url).header("x-api-key", &self.key).send_json(body),
            ("DELETE", _) => agent.delete(&url).header("x-api-key", &self.key).call(),
            _ => agent.get(&url).header("x-api-key", &self.key).call(),
        }
        .map_err(|e| failed(&e))?;
        let answer: Value = match response.status().as_u16() {
            204 => Value::Null,
            _ => response.body_mut().read_json().map_err(|e| failed(&e))?,
        };
        if response.status().is_success() { Ok(answer) } else { Err(Failure::new(text(&answer["message"]))) }
    }
}

/// Returns a JSON string without its quotes; anything else as JSON.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
