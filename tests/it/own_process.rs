//! Tests that need a process of their own: `cargo test` runs all tests of this binary as threads of one process.

use std::process::Command;

/// Set in the process that runs one test alone.
const ALONE: &str = "HOOKMILL_TEST_ALONE";
/// Starts a program that may open as many files as the system allows.
const WITH_ALL_FILES: &str = "ulimit -S -n \"$(ulimit -H -n)\" || true; exec \"$0\" \"$@\"";

/// Whether this process runs this test alone. If not, runs it in a process of its own, and fails if it fails there.
///
/// ```ignore
/// if !runs_alone(module_path!(), "the_name_of_this_test") { return }
/// ```
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a setting of the tests, not of hookmill")]
pub fn runs_alone(module: &str, test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let name = in_this_binary(module, test);
    let mut command = Command::new("sh");
    command.args(["-c", WITH_ALL_FILES]).arg(std::env::current_exe().unwrap());
    let out = command.args(["--exact", &name, "--include-ignored"]).env(ALONE, "1").output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success() && stdout.contains("1 passed"), "{name}, in a process of its own: {stdout}{stderr}");
    false
}

/// A test's name as this binary's `--exact` takes it: without the crate's name.
pub fn in_this_binary(module: &str, test: &str) -> String {
    let (_crate, module) = module.split_once("::").unwrap();
    format!("{module}::{test}")
}
