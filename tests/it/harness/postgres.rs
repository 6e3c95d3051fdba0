//! A real PostgreSQL, from Debian's package or PATH: one cluster for all tests of the process, and private ones.
//!
//! `postgres.sh` keeps each cluster, and ends it when the pipe to it closes, so that none outlives the tests.

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use super::database::Database;
use super::keeper::Keeper;

/// Why a test that needs PostgreSQL is skipped.
pub const NO_POSTGRES: &str =
    "skipped: PostgreSQL is not installed (Debian: apt-get install postgresql), or root has no user postgres";

/// The time zone is an unusual one, so that a test fails if the text of a time is taken for UTC.
const SETTINGS: &[&str] = &[
    "listen_addresses='127.0.0.1'",
    "max_connections=200",
    "shared_buffers=64MB",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=256MB",
    "timezone='Asia/Kathmandu'",
    "logging_collector=off",
];
const NOT_DURABLE: &[&str] = &["fsync=off", "full_page_writes=off"];

/// The shared cluster, or the given one (`Cluster::start_private(true)`). Without PostgreSQL the test ends here, and says so.
macro_rules! postgres_or_skip {
    () => {
        $crate::harness::postgres_or_skip!($crate::harness::Cluster::get())
    };
    ($cluster:expr) => {
        match $cluster {
            Some(cluster) => cluster,
            None => return eprintln!("{}", $crate::harness::NO_POSTGRES),
        }
    };
}
pub(crate) use postgres_or_skip;

/// A PostgreSQL cluster, which runs until this value, or the process, is gone.
pub struct Cluster {
    pub(super) bin: PathBuf,
    dir: PathBuf,
    port: u16,
    keeper: Mutex<Keeper>,
}

impl Cluster {
    /// The cluster that all tests of this process share. It is fast, and not durable. None if PostgreSQL is missing.
    pub fn get() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start_private(false)).as_ref()
    }

    /// A cluster for one test, which may stop and damage it. With `fsync`, what it commits is durable.
    pub fn start_private(fsync: bool) -> Option<Self> {
        let (bin, mut command) = (directory_of_programs()?, as_postgres()?);
        let port = free_port();
        command.args(["sh", "-c", include_str!("postgres.sh"), "postgres.sh"]).arg(&bin).arg(std::env::temp_dir());
        command.arg(port.to_string()).args(SETTINGS).args(if fsync { &[] } else { NOT_DURABLE });
        let mut keeper = Keeper::of(command);
        let dir = PathBuf::from(keeper.reply());
        let cluster = Self { bin, dir, port, keeper: Mutex::new(keeper) };
        cluster.sql("CREATE ROLE hookmill LOGIN PASSWORD 'test/p@ss:word'");
        Some(cluster)
    }

    /// Creates an empty database.
    pub fn database(&self) -> Database<'_> {
        Database::create(self)
    }

    /// Runs SQL as superuser, in the database `postgres`, and returns what psql prints.
    #[track_caller]
    pub fn sql(&self, text: &str) -> String {
        self.psql(&format!("postgres:///postgres?host={}&port={}&user=postgres", self.dir.display(), self.port), text)
    }

    /// Ends the server without a checkpoint, as a crash would. It returns when all its processes have ended.
    pub fn stop_immediately(&self) {
        self.keeper.lock().unwrap().ask("stop");
    }

    /// Starts the server on the same addresses and data, and waits until it accepts connections. It is stopped first.
    pub fn restart(&self) {
        let mut keeper = self.keeper.lock().unwrap();
        keeper.ask("stop");
        keeper.ask("start");
    }

    /// The directory with the cluster's data.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The process id of the server.
    pub fn pid(&self) -> u32 {
        let file = std::fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().parse().unwrap()
    }

    /// The directory of the Unix socket.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

/// Where initdb is: the highest version of Debian's packages, or PATH.
fn directory_of_programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |it: &PathBuf| it.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let debian = debian.map(|it| it.path().join("bin")).filter(|it| it.join("initdb").exists()).max_by_key(version);
    #[expect(clippy::disallowed_methods, reason = "a setting of the tests, not of hookmill")]
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian.or_else(|| std::env::split_paths(&path).find(|it| it.join("initdb").exists()))
}

/// A command that runs its arguments as a user who may run PostgreSQL: not as root.
pub fn as_postgres() -> Option<Command> {
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return Some(Command::new("env"));
    }
    let known = Command::new("id").arg("postgres").output().is_ok_and(|it| it.status.success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    known.then_some(command)
}

/// A port below those that the system gives to connections: it is still free after a restart.
pub fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(61);
    let next = || u16::try_from(20_000 + start.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % 12_000).unwrap();
    std::iter::repeat_with(next).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}
