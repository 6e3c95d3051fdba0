//! A running server, and how requests are sent to it.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::basics::{DEADLINE, KEY};
use super::contract;
use super::reply::Reply;
use super::wait::until;

pub struct Server {
    pub child: Child,
    pub url: String,
    /// What it printed until it served.
    pub printed: String,
    log: Log,
    /// Keeps the data while the server runs.
    _dir: Arc<TempDir>,
}

impl Server {
    /// Runs this command, and waits until it serves. `dir` is kept while it runs.
    pub(super) fn of(mut command: Command, dir: Arc<TempDir>) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        let lines = lines(child.stdout.take().unwrap());
        let (deadline, mut printed) = (Instant::now() + DEADLINE, String::new());
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    printed += &line;
                    printed.push('\n');
                    if let Some(url) = line.trim().strip_prefix("hookmill serves on ") {
                        return Self { child, url: url.to_owned(), printed, log, _dir: dir };
                    }
                }
                Err(error) => {
                    if error == RecvTimeoutError::Timeout {
                        child.kill().unwrap();
                    }
                    let status = child.wait().unwrap();
                    panic!("the server does not serve: {error} ({status}): {printed}{}", log.whole());
                }
            }
        }
    }

    /// Sends a request with the test's key.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut all = vec![("x-api-key", KEY)];
        all.extend_from_slice(headers);
        self.send_as(method, path, &all, body)
    }

    /// Sends a request with these headers only. The response must be as openapi.json says.
    #[track_caller]
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
        let reply = Reply::read(agent.run(request.body(body).unwrap()).unwrap());
        contract::check(method, path, reply.status, &reply.headers, &reply.text);
        reply
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
        String::from_utf8_lossy(&self.raw_bytes(bytes)).into_owned()
    }

    /// Like [`Self::raw`], for content that is not text.
    pub fn raw_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // A server that refuses early closes while we still write.
        let _maybe_refused = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _maybe_reset = stream.read_to_end(&mut answer);
        answer
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// What the server has logged by now.
    pub fn log_so_far(&self) -> String {
        self.log.so_far()
    }

    /// How long the server has computed, in user mode. Other processes that need the processor do not change it.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // In ticks, of which Linux has a hundred per second.
        Duration::from_millis(10 * fields[11].parse::<u64>().unwrap())
    }

    /// Waits until a plugin of this server computes: nothing else in an idle server uses the processor.
    pub fn until_a_plugin_computes(&self) {
        let before = self.processor_time();
        until("a plugin computes", || self.processor_time() >= before + Duration::from_millis(100));
    }

    /// Waits until the server accepts no more connections.
    pub fn until_it_accepts_nothing(&self) {
        until("the server accepts no more connections", || TcpStream::connect(self.address()).is_err());
    }

    /// Waits for the end, and gives the log as well.
    pub fn wait(mut self) -> (ExitStatus, String) {
        until("the server ends", || self.child.try_wait().unwrap().is_some());
        let status = self.child.wait().unwrap();
        (status, std::mem::take(&mut self.log).whole())
    }

    /// Ends it with SIGTERM, and gives the log.
    pub fn stop(self) -> String {
        self.signal("TERM");
        let (status, log) = self.wait();
        assert!(status.success(), "{status}: {log}");
        log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a process writes; it can be read while the process runs.
#[derive(Default)]
struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    fn of(mut from: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 8 << 10];
            while let Ok(n @ 1..) = from.read(&mut piece) {
                to.lock().unwrap().extend_from_slice(&piece[..n]);
            }
        });
        Self { bytes, reader: Some(reader) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Everything, once the process has ended.
    fn whole(mut self) -> String {
        self.reader.take().into_iter().for_each(|it| it.join().unwrap());
        self.so_far()
    }
}

/// The lines of a process's standard output, as they come.
fn lines(from: ChildStdout) -> Receiver<String> {
    let (send, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _nobody_reads_on = send.send(line);
        }
    });
    lines
}
