//! The flags and exit codes of the command line, as `--help` shows them.

use crate::harness::{Setup, binary};

/// Every flag that some commands share.
const SHARED: [&str; 7] =
    ["--config", "--listen", "--data-dir", "--plugins-dir", "--trusted-proxies", "--server", "--api-key"];

fn help(command: &[&str]) -> String {
    let out = binary().args(command).arg("--help").output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Somebody who reads `hookmill plugin check --help` must not think that it opens the database.
#[test]
fn each_command_shows_only_the_flags_that_it_uses() {
    let remote = &["--config", "--data-dir", "--server", "--api-key"][..];
    let here = &["--config", "--data-dir"][..];
    let cases: [(&[&str], &[&str]); 27] = [
        (&[], &["--config"]),
        (&["serve"], &["--config", "--listen", "--data-dir", "--plugins-dir", "--trusted-proxies"]),
        (&["key"], remote),
        (&["key", "create"], remote),
        (&["key", "revoke"], remote),
        (&["events", "list"], remote),
        (&["events", "replay"], remote),
        (&["events", "erase"], remote),
        (&["audit"], remote),
        (&["store", "check"], here),
        (&["store", "backup"], here),
        (&["store", "bench"], here),
        (&["plugin", "list"], here),
        (&["plugin", "reload"], here),
        (&["plugin", "shadow"], here),
        (&["plugin", "diff"], here),
        (&["plugin", "new"], &["--config", "--data-dir", "--plugins-dir", "--server", "--api-key"]),
        (&["plugin", "dev"], &["--config", "--plugins-dir", "--server", "--api-key"]),
        (&["plugin", "check"], &["--config"]),
        (&["plugin", "test"], &["--config"]),
        (&["sender", "list"], &["--config"]),
        (&["sender", "show"], &["--config"]),
        (&["sender", "sign"], &["--config", "--data-dir", "--plugins-dir"]),
        (&["sender", "confirm"], remote),
        (&["secret", "set"], &["--config", "--data-dir", "--plugins-dir"]),
        (&["secret", "list"], &["--config", "--data-dir", "--plugins-dir"]),
        (&["plugin", "bench"], &["--config"]),
    ];
    for (command, expected) in cases {
        let text = help(command);
        // A flag's own line, and not one that mentions it.
        let options = || text.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let shown = |flag: &&str| options().any(|line| line.split([' ', ',']).any(|word| word == *flag));
        let found: Vec<&str> = SHARED.into_iter().filter(shown).collect();
        let mut expected = expected.to_vec();
        expected.sort_by_key(|flag| SHARED.iter().position(|it| it == flag));
        assert_eq!(found, expected, "hookmill {}", command.join(" "));
    }
}

/// A shared flag works before and after the last word of a command that has it, and is an error elsewhere.
#[test]
fn flags_follow_the_command_that_uses_them() {
    let setup = Setup::new();
    let data = setup.data.to_str().unwrap();
    for arguments in [&["key", "--data-dir", data, "list"][..], &["key", "list", "--data-dir", data]] {
        let out = binary().args(arguments).output().unwrap();
        assert!(out.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    }
    for arguments in [
        &["--data-dir", data, "key", "list"][..],
        &["plugin", "check", data, "--data-dir", data],
        &["key", "list", "--listen", "127.0.0.1:0"],
    ] {
        let out = binary().args(arguments).output().unwrap();
        assert_eq!(out.status.code(), Some(2), "{arguments:?}");
    }
}

/// Service managers decide by the exit code, so `--help` must list each one that the program uses.
#[test]
fn help_lists_the_exit_codes() {
    let text = help(&[]);
    for code in ["0", "1", "2", "3", "4", "5", "70", "141"] {
        let listed = text.lines().any(|line| line.trim_start().starts_with(&format!("{code}  ")));
        assert!(listed, "no exit code {code} in:\n{text}");
    }
}
