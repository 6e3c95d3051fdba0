//! How a server is started: its directories, settings and plugins.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;

use super::basics::{DEADLINE, KEY, binary, shipped_plugins};
use super::database::Database;
use super::postgres::Cluster;
use super::reply::Reply;
use super::server::Server;
use super::wait::in_time;

/// How to start a server.
pub struct Setup {
    pub data: PathBuf,
    pub plugins: PathBuf,
    pub config: String,
    pub env: Vec<(String, String)>,
    /// More arguments of `serve`.
    pub extra: Vec<String>,
    dir: Arc<TempDir>,
    /// Directory of the plugins, if they are another server's.
    _kept: Option<Arc<TempDir>>,
}

/// Variable of the database.
const DATABASE: &str = "HOOKMILL_DATABASE_URL";

/// Where servers keep their data: with `HOOKMILL_TEST_STORE=postgres`, each test has a database of its own.
#[expect(clippy::disallowed_methods, reason = "the settings of tests are not the server's")]
fn store() -> Vec<(String, String)> {
    match std::env::var("HOOKMILL_TEST_STORE").as_deref() {
        Ok("postgres") => {
            let cluster = Cluster::get().expect("HOOKMILL_TEST_STORE=postgres needs PostgreSQL");
            vec![(DATABASE.to_owned(), cluster.database().url())]
        }
        _ => Vec::new(),
    }
}

impl Setup {
    /// No plugins, an empty database.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let plugins = dir.path().join("plugins");
        std::fs::create_dir(&plugins).unwrap();
        Self {
            data: dir.path().join("data"),
            plugins,
            config: String::new(),
            env: store(),
            extra: Vec::new(),
            dir: Arc::new(dir),
            _kept: None,
        }
    }

    /// Another server on this database, with a data directory of its own and the same plugins.
    pub fn on(mut self, database: &Database<'_>) -> Self {
        self.env.retain(|(name, _)| name != DATABASE);
        self.env(DATABASE, &database.url())
    }

    /// Another server like this one, with a data directory of its own.
    pub fn another(&self) -> Self {
        let mut other = Self::new();
        other.env.retain(|(name, _)| name != DATABASE);
        other.env.extend(self.env.iter().filter(|it| !other.env.contains(it)).cloned().collect::<Vec<_>>());
        (other.plugins, other.config, other.extra) = (self.plugins.clone(), self.config.clone(), self.extra.clone());
        other._kept = Some(Arc::clone(&self.dir));
        other
    }

    pub fn with_shipped_plugins() -> Self {
        Self { plugins: shipped_plugins(), ..Self::new() }
    }

    pub fn config(mut self, toml: &str) -> Self {
        self.config = toml.into();
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Adds a plugin folder; `wat` is a module's or component's text.
    pub fn plugin(self, name: &str, manifest: &str, wat: &str) -> Self {
        let folder = self.plugins.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let head = format!(
            "name = \"{name}\"\nversion = \"1\"\nmodule = \"mapper.wasm\"\nschema = \"input.schema.json\"\ncompany_id = \"company-1\"\n"
        );
        let auth = if manifest.contains("[auth]") { "" } else { "[auth]\nscheme = \"api-key\"\n" };
        std::fs::write(folder.join("plugin.toml"), format!("{head}{auth}{manifest}")).unwrap();
        std::fs::write(folder.join("mapper.wasm"), wat::parse_str(wat).unwrap()).unwrap();
        let schema = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}"#;
        std::fs::write(folder.join("input.schema.json"), schema).unwrap();
        self
    }

    /// Adds a plugin folder without a module: `manifest` names a script or has `[task]`; `files` are next to it.
    pub fn mapping(self, name: &str, manifest: &str, files: &[(&str, &str)]) -> Self {
        let folder = self.plugins.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let head =
            format!("name = \"{name}\"\nversion = \"1\"\nschema = \"input.schema.json\"\ncompany_id = \"company-1\"\n");
        let auth = if manifest.contains("[auth]") { "" } else { "\n[auth]\nscheme = \"api-key\"\n" };
        std::fs::write(folder.join("plugin.toml"), format!("{head}{manifest}{auth}")).unwrap();
        let schema = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}"#;
        std::fs::write(folder.join("input.schema.json"), schema).unwrap();
        for (file, text) in files {
            std::fs::write(folder.join(file), text).unwrap();
        }
        self
    }

    /// Adds a plugin folder with a script.
    pub fn script(self, name: &str, script: &str) -> Self {
        let manifest = "script = \"mapper.js\"\n[defaults]\nassigned_user_ids = [\"user_1\"]\ncreated_by_id = \"test\"\ndeadline = \"2d\"\n";
        self.mapping(name, manifest, &[("mapper.js", script)])
    }

    pub fn command(&self) -> Command {
        let file = self.data.with_extension("toml");
        std::fs::write(&file, &self.config).unwrap();
        let mut command = binary();
        command.args(["serve", "--listen", "127.0.0.1:0"]).arg("--config").arg(file);
        command.arg("--data-dir").arg(&self.data).arg("--plugins-dir").arg(&self.plugins);
        command.args(&self.extra);
        command.env("HOOKMILL_BOOTSTRAP_KEY", KEY).envs(self.env.iter().cloned());
        command
    }

    /// A key of this company, made on the command line.
    pub fn key(&self, company: &str, scopes: &[&str]) -> String {
        let mut command = binary();
        command.args(["key", "create", "--company", company, "--data-dir"]).arg(&self.data);
        command.args(scopes.iter().flat_map(|scope| ["--scope", scope])).envs(self.env.iter().cloned());
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// The running server's operator token.
    pub fn operator(&self) -> String {
        let lock: Value = serde_json::from_slice(&std::fs::read(self.data.join("hookmill.lock")).unwrap()).unwrap();
        lock["operator_token"].as_str().unwrap().to_owned()
    }

    /// `/readyz`, as the operator sees it.
    pub fn ready(&self, server: &Server) -> Reply {
        server.send_as("GET", "/readyz", &[("x-api-key", &self.operator())], b"")
    }

    /// Starts it, and waits until every plugin folder has been tried.
    pub fn start(&self) -> Server {
        let server = self.start_cold();
        let loading = || {
            let answer = server.raw(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            answer.contains("\"status\":\"loading\"")
        };
        if !in_time(|| !loading()) {
            panic!("plugins are still being loaded after {DEADLINE:?}: {}", server.log_so_far());
        }
        server
    }

    /// Starts it; plugins may still be loading.
    pub fn start_cold(&self) -> Server {
        Server::of(self.command(), Arc::clone(&self.dir))
    }
}
