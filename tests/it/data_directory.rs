//! The data directory: who can read it, what the server says when it is gone, and clocks that are wrong.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Duration, Utc};
use serde_json::json;

use crate::harness;
use crate::harness::{Setup, binary, task, until};
use crate::shim::Shim;

fn everything_in(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything_in(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn open_to_others(dir: &Path) -> Vec<PathBuf> {
    let open = |it: &PathBuf| it.metadata().unwrap().permissions().mode() & 0o077 != 0;
    everything_in(dir).into_iter().filter(open).collect()
}

/// Otherwise another user of the machine reads patients' tasks.
#[test]
fn nobody_else_can_read_the_directory_whatever_it_was_like_before() {
    let setup = Setup::with_shipped_plugins();
    let none = Vec::<PathBuf>::new();
    // It is there already, as `mkdir` makes it.
    std::fs::create_dir(&setup.data).unwrap();
    std::fs::set_permissions(&setup.data, Permissions::from_mode(0o755)).unwrap();
    let server = setup.start();
    server.post("/v1/tasks", &task()).expect(201);
    assert_eq!(open_to_others(&setup.data), none);
    let backup = setup.data.with_file_name("backup");
    std::fs::create_dir(&backup).unwrap();
    std::fs::set_permissions(&backup, Permissions::from_mode(0o755)).unwrap();
    let taken = binary().args(["store", "backup"]).arg(&backup).arg("--data-dir").arg(&setup.data).output().unwrap();
    assert!(taken.status.success(), "{taken:?}");
    assert_eq!(open_to_others(&backup), none);
    server.stop();
    // Unpacked from an archive, say.
    for path in everything_in(&setup.data) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    let log = setup.start().stop();
    assert_eq!(open_to_others(&setup.data), none);
    assert!(log.contains("other users could read this"), "{log}");
    // Over a file that others can read.
    let file = setup.data.with_extension("ndjson");
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let out = binary().args(["store", "export"]).arg(&file).arg("--data-dir").arg(&setup.data).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

/// Otherwise a load balancer keeps sending deliveries to a server that stores them nowhere.
#[test]
fn a_server_whose_directory_is_gone_is_not_ready_and_acknowledges_nothing() {
    let setup = Setup::new();
    let server = setup.start();
    server.post("/v1/tasks", &task()).expect(201);
    server.get("/readyz").expect(200);
    let aside = setup.data.with_file_name("aside");
    std::fs::rename(&setup.data, &aside).unwrap();
    server.get("/readyz").expect(503);
    server.post("/v1/tasks", &task()).expect(503);
    // An empty one in its place, as a mount that failed leaves it.
    std::fs::create_dir(&setup.data).unwrap();
    server.get("/readyz").expect(503);
    server.post("/v1/tasks", &task()).expect(503);
    std::fs::remove_dir(&setup.data).unwrap();
    std::fs::rename(&aside, &setup.data).unwrap();
    server.stop();
    let server = setup.start();
    server.get("/readyz").expect(200);
    server.post("/v1/tasks", &task()).expect(201);
}

/// A segment that cannot be begun fails every write that does not fit, and no write at all shows it while nobody writes.
#[test]
fn a_server_that_cannot_begin_a_segment_is_not_ready_until_it_can() {
    let setup = Setup::new().config("[store]\nsegment_mib = 1\nreserve_mib = 0\n");
    let server = setup.start();
    let fresh = setup.data.join("journal/fresh.tmp");
    let mut large = task();
    large["description"] = "d".repeat(700_000).into();
    server.post("/v1/tasks", &large).expect(201);
    std::fs::create_dir(&fresh).unwrap();
    // The prepared segment takes one more, and the one after that finds none.
    until("a write fails", || {
        std::fs::create_dir_all(&fresh).unwrap();
        server.post("/v1/tasks", &large).status == 503
    });
    server.get("/readyz").expect(503);
    std::fs::remove_dir(&fresh).unwrap();
    until("it is ready again", || server.get("/readyz").status == 200);
    server.post("/v1/tasks", &large).expect(201);
}

/// chrono's `now` panics before 1970; and whatever the clock says, nothing ends and nothing is lost.
#[test]
fn wrong_clocks_end_nothing() {
    let setup = Setup::new();
    let Some(shim) = Shim::below(&setup.data) else { return };
    let setup = shim.env().into_iter().fold(setup, |setup, (name, value)| setup.env(&name, &value));
    let year = |year: i64| DateTime::<Utc>::UNIX_EPOCH + Duration::days((year - 1970) * 36_525 / 100) - Utc::now();
    let mut ids = Vec::new();
    // sled cannot be opened then: that is said, and nothing is put aside.
    shim.clock_offset(year(1960));
    let out = setup.command().output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.code() == Some(1) && said.contains("clock") && !said.contains("panic"), "{said}");
    for start in [2100, 9998, 2026] {
        shim.clock_offset(year(start));
        let server = setup.start();
        for jump in [1960, 2100, 1969, 9998, 1971, 2026] {
            shim.clock_offset(year(jump));
            if jump < 1970 {
                // The HTTP library cannot write such a date. The connection is closed, and nothing else ends.
                let answer = server.raw(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
                assert_eq!(answer, "");
                continue;
            }
            let made = server.post("/v1/tasks", &task()).expect(201).json();
            ids.push(made["id"].as_str().unwrap().to_owned());
            server.post("/v1/tasks", &json!({"title": "no task"})).expect(422);
            for path in ["/readyz", "/v1/events?limit=5", "/v1/tasks?limit=5", "/v1/admin/audit?limit=5"] {
                server.get(path).expect(200);
            }
        }
        for id in &ids {
            server.get(&format!("/v1/tasks/{id}")).expect(200);
        }
        let log = server.stop();
        assert!(!log.contains("panic"), "{log}");
    }
}

/// Other crates log URLs and headers at `trace`.
#[test]
fn no_secret_is_in_the_log_at_the_level_trace() {
    let mut setup = Setup::new();
    setup.extra = vec!["--log".into(), "trace".into()];
    let server = setup.start();
    let secret = "s3cret-in-the-url-4f0c31a2";
    server.send("POST", &format!("/v1/hooks/fax/{secret}"), &[("cookie", secret)], secret.as_bytes());
    server.send("GET", &format!("/v1/tasks?patient_id={secret}"), &[("authorization", secret)], b"");
    server.send("POST", "/v1/tasks", &[("x-signature", secret)], task().to_string().as_bytes());
    let log = server.stop();
    assert!(log.contains("answered"), "the level takes effect");
    for text in [secret, harness::KEY] {
        let line = log.lines().find(|it| it.contains(text));
        assert_eq!(line, None);
    }
}

/// Free bytes, paths and the system's errors are the operator's, and not a company's.
#[test]
fn a_companys_admin_learns_nothing_of_the_disk_from_an_erasure_that_fails() {
    let setup = Setup::new();
    let server = setup.start();
    server.post("/v1/tasks", &task()).expect(201);
    std::fs::rename(&setup.data, setup.data.with_file_name("aside")).unwrap();
    let refused = server.post("/v1/events/erase", &json!({"patient_id": "patient-1"})).expect(503);
    let tells = ["bytes", "os error", "aside", "journal", setup.data.to_str().unwrap()];
    assert!(!tells.iter().any(|it| refused.text.contains(it)), "{}", refused.text);
    std::fs::rename(setup.data.with_file_name("aside"), &setup.data).unwrap();
}
