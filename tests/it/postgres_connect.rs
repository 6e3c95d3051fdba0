//! How hookmill connects to PostgreSQL: passwords, TLS, poolers, and what is said when it fails.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::harness::{Cluster, Setup, as_postgres, binary, free_port, postgres_or_skip, until};

/// Parts of the test role's password, as it is and percent-encoded.
const SECRETS: [&str; 4] = ["p@ss", "p%40ss", "test/p", "test%2Fp"];

/// Runs a command that connects, with its URL as the variable. Exit code, and everything it printed.
fn connect(url: &str) -> (Option<i32>, String) {
    let setup = Setup::new();
    let mut command = binary();
    command.args(["key", "list", "--data-dir"]).arg(&setup.data).env("HOOKMILL_DATABASE_URL", url);
    printed(command)
}

fn printed(mut command: Command) -> (Option<i32>, String) {
    let out = command.output().unwrap();
    (out.status.code(), String::from_utf8(out.stdout).unwrap() + &String::from_utf8(out.stderr).unwrap())
}

#[track_caller]
fn hides_the_password(said: &str) {
    assert!(SECRETS.iter().all(|it| !said.contains(it)), "{said}");
}

#[test]
fn it_connects_over_tcp_with_scram_and_over_the_unix_socket() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    for url in [database.tcp_url(), database.url()] {
        let (code, said) = connect(&url);
        assert_eq!(code, Some(0), "{said}");
    }
}

/// A password in a log must be changed; and an admin must see from the message alone what is wrong.
#[test]
fn what_fails_is_explained_without_the_password() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let (good, name) = (database.tcp_url(), database.name());
    let host = good.rsplit_once('@').unwrap().1.split_once('/').unwrap().0.to_owned();
    let cases = [
        (good.replace("word@", "words@"), 1, "refuses the user or the password; check both"),
        (good.replace("hookmill:", "nobody:"), 1, "refuses the user or the password; check both"),
        (good.replace(name, "missing"), 1, "does not exist; create it"),
        (good.replace(&host, "127.0.0.1:1"), 1, "cannot be reached; check its host and port"),
        (good.replace(&host, "db.invalid") + "?sslmode=disable", 1, "cannot be reached; check its host and port"),
        (format!("postgres://hookmill@{host}/{name}"), 1, "requires a password"),
        (good.replace("test%2Fp%40ss%3Aword", "test/p@ss:word"), 2, "encode special characters"),
        (format!("{good}?sslmode=require"), 2, "sslmode must be verify-full or disable"),
        (format!("{good}?sslmode=verify-full"), 1, "does not offer TLS; enable it there"),
        (good.replace("postgres://", "http://"), 2, "must begin with postgres://"),
    ];
    for (url, status, expected) in cases {
        let (code, said) = connect(&url);
        let case = url.replace("p%40ss", "").replace("p@ss", "");
        assert_eq!(code, Some(status), "{case}: {said}");
        assert!(said.contains(expected), "{case}: {said}");
        hides_the_password(&said);
        // The same from a server, with the URL as a flag and in the settings file.
        let mut setup = Setup::new();
        setup.extra = vec!["--database-url".into(), url.clone()];
        let flag = printed(setup.command());
        let file = printed(Setup::new().config(&format!("[store]\nurl = '{url}'\n")).command());
        for (code, said) in [flag, file] {
            assert_eq!(code, Some(status), "{case}: {said}");
            assert!(said.contains(expected), "{case}: {said}");
            hides_the_password(&said);
        }
    }
}

/// A server prints where its data is, and lists of processes are public: the variable must not show either.
#[test]
fn a_running_server_shows_the_database_without_the_password() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let server = Setup::new().env("HOOKMILL_DATABASE_URL", &database.tcp_url()).start();
    let arguments = std::fs::read(format!("/proc/{}/cmdline", server.child.id())).unwrap();
    hides_the_password(&String::from_utf8_lossy(&arguments));
    hides_the_password(&server.printed);
    let log = server.stop();
    hides_the_password(&log);
    assert!(log.contains(&format!("database {} on 127.0.0.1:", database.name())), "{log}");
}

fn openssl(dir: &Path, args: &str) -> bool {
    let out = Command::new("openssl").args(args.split_whitespace()).current_dir(dir).output();
    let Ok(out) = out else { return false };
    assert!(out.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&out.stderr));
    true
}

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// An authority in a folder: its certificate's file, unless openssl is not installed.
fn authority(dir: &Path, name: &str) -> Option<PathBuf> {
    let request = format!("req -x509 {NEW_KEY} -keyout {name}.key -out {name}.pem -days 30 -subj /CN={name}");
    openssl(dir, &request).then(|| dir.join(format!("{name}.pem")))
}

/// Gives a cluster a certificate for `localhost`, from the authority `ours`.
fn encrypt(cluster: &Cluster, dir: &Path) {
    openssl(dir, &format!("req {NEW_KEY} -keyout server.key -out server.csr -subj /CN=localhost"));
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl(
        dir,
        "x509 -req -in server.csr -CA ours.pem -CAkey ours.key -CAcreateserial -days 30 -extfile names -out server.pem",
    );
    let data = cluster.data_dir();
    for (from, to) in [("server.key", "server.key"), ("server.pem", "server.crt")] {
        std::fs::copy(dir.join(from), data.join(to)).unwrap();
        std::os::unix::fs::chown(data.join(to), Some(owner(&data)), None).unwrap();
    }
    let settings = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(settings, text + "\nssl = on\n").unwrap();
    cluster.restart();
}

fn owner(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(path).unwrap())
}

/// Encryption alone does not show who is at the other end: a wrong certificate must never get the password.
#[test]
fn verify_full_accepts_only_the_right_authority_and_name() {
    let cluster = postgres_or_skip!(Cluster::start_private(false));
    let dir = TempDir::new().unwrap();
    let (Some(ours), Some(others)) = (authority(dir.path(), "ours"), authority(dir.path(), "others")) else {
        return eprintln!("skipped: openssl is not installed");
    };
    encrypt(&cluster, dir.path());
    let database = cluster.database();
    let url = |host: &str, root: &Path| {
        let root = root.display();
        database.tcp_url().replace("127.0.0.1", host) + &format!("?sslmode=verify-full&sslrootcert={root}")
    };
    let server = Setup::new().env("HOOKMILL_DATABASE_URL", &url("localhost", &ours)).start();
    let encrypted = "SELECT bool_and(ssl), count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                     WHERE application_name = 'hookmill'";
    assert_eq!(cluster.sql(encrypted), "t|t");
    server.stop();
    let broken = dir.path().join("server.key");
    let cases = [
        (url("localhost", &others), "not from a trusted authority"),
        (url("127.0.0.1", &ours), "for another host name"),
        (database.tcp_url().replace("127.0.0.1", "localhost") + "?sslmode=verify-full", "not from a trusted authority"),
        (url("localhost", Path::new("/missing.pem")), "sslrootcert /missing.pem"),
        (url("localhost", &broken), "it has no certificate"),
    ];
    for (url, expected) in cases {
        let (code, said) = connect(&url);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(expected), "{said}");
        hides_the_password(&said);
    }
}

/// A pgbouncer that shares sessions between transactions. It ends with this value.
struct Bouncer {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Bouncer {
    /// None if pgbouncer is not installed.
    fn start(database: &str, more: &str) -> Option<Self> {
        let program = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|it| Path::new(it).exists())?;
        let (dir, port) = (TempDir::new().unwrap(), free_port());
        let file = dir.path().join("pgbouncer.ini");
        let users = dir.path().join("users");
        std::fs::write(&users, "\"hookmill\" \"\"\n").unwrap();
        let text = format!(
            "[databases]\n* = {database}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = trust\nauth_file = {}\npool_mode = transaction\n{more}\n",
            users.display()
        );
        std::fs::write(&file, text).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut command = as_postgres()?;
        command.arg(program).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let bouncer = Self { child: command.spawn().unwrap(), port, _dir: dir };
        until("pgbouncer accepts connections", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(bouncer)
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _already_ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Behind such a pooler, prepared statements, notifications and time limits would fail later, and under load only.
#[test]
fn a_pooler_that_shares_sessions_is_refused_at_the_start() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let url = database.url();
    let query = |name: &str| {
        let at = url.find(&format!("{name}=")).unwrap() + name.len() + 1;
        url[at..].split('&').next().unwrap().to_owned()
    };
    let target = format!("host={} port={}", query("host"), query("port"));
    // Some are configured to ignore the settings of sessions, and others refuse them.
    for more in ["", "ignore_startup_parameters = options"] {
        let Some(bouncer) = Bouncer::start(&target, more) else {
            return eprintln!("skipped: pgbouncer is not installed (Debian: apt-get install pgbouncer)");
        };
        let url = format!("postgres://hookmill@127.0.0.1:{}/{}", bouncer.port, database.name());
        let (code, said) = printed(Setup::new().env("HOOKMILL_DATABASE_URL", &url).command());
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("pgbouncer") && said.contains("connect to PostgreSQL directly"), "{said}");
    }
}

/// A firewall that forgets a connection makes it silent forever. Each request that got it waited until its time was over.
#[test]
fn a_connection_that_never_answers_costs_one_read() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    // One connection for reads.
    let server = Setup::new().on(&database).config("[store]\npool = 13\n").start();
    let last = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%tasks%' \
         AND pid <> pg_backend_pid() AND state = 'idle' ORDER BY query_start DESC LIMIT 1";
    let mut pid = String::new();
    // The server reads other things on it by itself.
    until("a connection has read tasks last", || {
        server.get("/v1/tasks").expect(200);
        pid = database.sql(last);
        !pid.is_empty()
    });
    signal("-STOP", &pid);
    server.get("/v1/tasks").expect(503);
    let began = std::time::Instant::now();
    let reply = server.get("/v1/tasks");
    signal("-CONT", &pid);
    // The first one had 25 s; a new connection takes milliseconds.
    assert!(reply.status == 200 && began.elapsed() < std::time::Duration::from_secs(20), "{}", reply.text);
}

fn signal(name: &str, pid: &str) {
    assert!(std::process::Command::new("kill").args([name, pid]).status().unwrap().success());
}
