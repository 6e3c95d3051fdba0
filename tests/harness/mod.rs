//! Starts the real server, as a child process on a free port with a data directory of its own.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test file uses a part of it")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub const KEY: &str = "test-key-of-24-characters-or-more";
/// How long anything may take before a test gives up: generous, for slow machines.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookmill"));
    command.env_clear().current_dir(std::env::temp_dir());
    command
}

/// The shipped plugins.
pub fn shipped_plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins")
}

/// How to start a server.
pub struct Setup {
    pub data: PathBuf,
    pub plugins: PathBuf,
    pub config: String,
    pub env: Vec<(String, String)>,
    /// More arguments of `serve`.
    pub extra: Vec<String>,
    dir: Arc<TempDir>,
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
            env: Vec::new(),
            extra: Vec::new(),
            dir: Arc::new(dir),
        }
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
        command.args(scopes.iter().flat_map(|scope| ["--scope", scope]));
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
        let started = Instant::now();
        while server
            .raw(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .contains("\"status\":\"loading\"")
        {
            assert!(started.elapsed() < DEADLINE, "plugins are being loaded forever");
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// Starts it; plugins may still be loading.
    pub fn start_cold(&self) -> Server {
        let mut child = self.command().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = collect(child.stderr.take().unwrap());
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut printed = String::new();
        let url = loop {
            let from = printed.len();
            if out.read_line(&mut printed).unwrap() == 0 {
                let status = child.wait().unwrap();
                panic!("the server did not start ({status}): {printed}{}", log.join().unwrap());
            }
            if let Some(url) = printed[from..].trim().strip_prefix("hookmill serves on ") {
                break url.to_owned();
            }
        };
        Server { child, url, printed, log: Some(log), _dir: Arc::clone(&self.dir) }
    }
}

fn collect(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ends_with_the_process = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

pub struct Server {
    pub child: Child,
    pub url: String,
    /// What it printed until it served.
    pub printed: String,
    log: Option<std::thread::JoinHandle<String>>,
    /// Keeps the data while the server runs.
    _dir: Arc<TempDir>,
}

impl Server {
    /// Sends a request with the test's key.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut all = vec![("x-api-key", KEY)];
        all.extend_from_slice(headers);
        self.send_as(method, path, &all, body)
    }

    /// Sends a request with these headers only.
    pub fn send_as(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(DEADLINE))
            .build()
            .into();
        Reply::read(agent.run(request.body(body).unwrap()).unwrap())
    }

    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"")
    }

    pub fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Sends bytes as they are, and gives all that comes back until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // A server that refuses early closes while we still write.
        let _maybe_refused = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _maybe_reset = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for the end, and gives the log as well.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.child);
        (status, self.log.take().unwrap().join().unwrap())
    }

    /// Ends it the friendly way.
    pub fn stop(self) -> String {
        self.signal("TERM");
        let (status, log) = self.wait();
        assert!(status.success(), "{status}: {log}");
        log
    }
}

/// Waits for a condition.
#[track_caller]
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(start.elapsed() < DEADLINE, "the process did not end");
        std::thread::yield_now();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

pub struct Reply {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub text: String,
}

impl Reply {
    fn read(response: ureq::http::Response<ureq::Body>) -> Self {
        let (parts, mut body) = response.into_parts();
        Self { status: parts.status.as_u16(), headers: parts.headers, text: body.read_to_string().unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }

    pub fn code(&self) -> String {
        self.json()["detail"]["code"].as_str().unwrap().to_owned()
    }
}

/// A task of the documented shape.
pub fn task() -> Value {
    serde_json::json!({
        "title": "Refill request", "description": "Call back", "assigned_user_ids": ["u1"],
        "created_by_id": "u9", "deadline": "2026-12-01T09:00:00Z",
    })
}
