//! The PostgreSQL that other tests use.

use std::path::Path;
use std::process::Command;

use crate::harness::{Cluster, Database, postgres_or_skip, until};
use crate::own_process::in_this_binary;

/// Tests would read what another one has written.
#[test]
fn each_database_is_empty_and_its_own() {
    let cluster = postgres_or_skip!();
    let [one, two]: [Database<'_>; 2] = [cluster.database(), cluster.database()];
    one.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)");
    assert_eq!(one.sql("SELECT n, n + 1 FROM t ORDER BY n"), "1|2\n2|3");
    let error = cluster.try_psql(&two.url(), "SELECT * FROM t").unwrap_err();
    assert!(error.contains("relation \"t\" does not exist"), "{error}");
    assert_eq!(one.sql("SELECT current_user, current_database()"), format!("hookmill|{}", one.name()));
}

/// A client that ignores the password in its URL would pass the tests.
#[test]
fn tcp_needs_the_password() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let address = "SELECT host(inet_server_addr()), current_user";
    assert_eq!(cluster.psql(&database.tcp_url(), address), "127.0.0.1|hookmill");
    let wrong = database.tcp_url().replace("word@", "words@");
    assert!(cluster.try_psql(&wrong, "SELECT 1").unwrap_err().contains("password authentication failed"));
    assert_eq!(cluster.sql("SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = 'hookmill'"), "SCRAM-SHA-256");
}

/// A test of crashes would wait for a server that cannot be reached, or lose what was committed.
#[test]
fn a_private_cluster_continues_after_a_crash() {
    let cluster = postgres_or_skip!(Cluster::start_private(true));
    let database = cluster.database();
    assert_eq!(cluster.sql("SHOW fsync"), "on");
    database.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
    let first = cluster.pid();
    cluster.stop_immediately();
    assert!(!Path::new(&format!("/proc/{first}")).exists());
    assert!(cluster.try_psql(&database.url(), "SELECT 1").is_err());
    cluster.restart();
    assert_eq!(cluster.psql(&database.tcp_url(), "SELECT n FROM t"), "7");

    assert!(Command::new("kill").args(["-9", &cluster.pid().to_string()]).status().unwrap().success());
    cluster.restart();
    assert_eq!(database.sql("SELECT n FROM t"), "7");
    let (dir, last) = (cluster.data_dir(), cluster.pid());
    assert!(last != first && dir.exists());
    drop(cluster);
    assert!(!dir.exists() && !Path::new(&format!("/proc/{last}")).exists());
}

/// Every killed run of the tests would leave a server and its files behind.
#[test]
fn a_cluster_ends_with_a_killed_process() {
    postgres_or_skip!();
    let test = in_this_binary(module_path!(), "prints_where_its_cluster_is");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &test, "--ignored", "--nocapture"]);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let line = lines.map_while(Result::ok).find_map(|it| it.split_once("cluster: ").map(|it| it.1.to_owned())).unwrap();
    let (pid, dir) = line.split_once(' ').unwrap();
    let (pid, dir) = (Path::new("/proc").join(pid), Path::new(dir));
    assert!(pid.exists() && dir.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    until("the server has ended, and its directory is removed", || !pid.exists() && !dir.exists());
}

#[test]
#[ignore = "another test runs it in a process of its own, and kills it"]
fn prints_where_its_cluster_is() {
    let cluster = postgres_or_skip!();
    println!("cluster: {} {}", cluster.pid(), cluster.data_dir().parent().unwrap().display());
    std::thread::sleep(crate::harness::DEADLINE);
}
