//! Databases of a [`Cluster`], and psql.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::postgres::Cluster;

/// A database of its own for a test. Its owner is the role `hookmill`.
pub struct Database<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl<'a> Database<'a> {
    pub(super) fn create(cluster: &'a Cluster) -> Self {
        static CREATED: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", CREATED.fetch_add(1, Ordering::Relaxed));
        cluster.sql(&format!("CREATE DATABASE {name} OWNER hookmill TEMPLATE template0"));
        Self { cluster, name }
    }

    /// Its address, over the Unix socket and without a password.
    pub fn url(&self) -> String {
        let (dir, port) = (self.cluster.dir().display(), self.cluster.port());
        format!("postgres:///{}?host={dir}&port={port}&user=hookmill", self.name)
    }

    /// Its address over TCP, with a password (SCRAM).
    pub fn tcp_url(&self) -> String {
        format!("postgres://hookmill:test%2Fp%40ss%3Aword@127.0.0.1:{}/{}", self.cluster.port(), self.name)
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs SQL as the role `hookmill`, and returns what psql prints: fields separated by `|`, a row in a line.
    #[track_caller]
    pub fn sql(&self, text: &str) -> String {
        self.cluster.psql(&self.url(), text)
    }
}

impl Cluster {
    /// Runs SQL through psql in the database with this address.
    #[track_caller]
    pub fn psql(&self, url: &str, text: &str) -> String {
        self.try_psql(url, text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Like [`Self::psql`]; if it fails, what psql says.
    pub fn try_psql(&self, url: &str, text: &str) -> Result<String, String> {
        let mut command = Command::new(self.bin.join("psql"));
        command.env_clear().args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"]).arg(url);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It reads nothing if it cannot connect.
        let _not_read = child.stdin.take().unwrap().write_all(text.as_bytes());
        let out = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
        if out.status.success() { Ok(text(out.stdout)) } else { Err(text(out.stderr)) }
    }
}
