//! The preloaded library of `shim/` works: tests that rely on it would otherwise pass without testing anything.

use std::time::{Duration, Instant};

use crate::harness;
use crate::harness::{Setup, in_time, task};
use crate::shim::{Calls, EIO, ENDED, Shim};

/// A server behind the library.
fn behind_a_shim() -> Option<(Setup, Shim)> {
    let setup = Setup::new();
    let shim = Shim::below(&setup.data)?;
    // Segments that are made ahead and sled have their own syncs.
    shim.only(".journal");
    let setup = shim.env().iter().fold(setup, |setup, (name, value)| setup.env(name, value));
    Some((setup, shim))
}

#[test]
fn a_slow_sync_delays_the_answer_that_waits_for_it() {
    let Some((setup, shim)) = behind_a_shim() else { return };
    let server = setup.start();
    server.post("/v1/tasks", &task()).expect(201);
    let delay = Duration::from_millis(300);
    shim.fdatasync_delay(delay);
    let started = Instant::now();
    server.post("/v1/tasks", &task()).expect(201);
    assert!(started.elapsed() >= delay, "it was answered after {:?}", started.elapsed());
    shim.fdatasync_delay(Duration::ZERO);
    server.stop();
}

#[test]
fn a_held_sync_holds_the_answer_until_it_is_let_go() {
    let Some((setup, shim)) = behind_a_shim() else { return };
    let server = setup.start();
    shim.hold_fdatasync(true);
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| server.post("/v1/tasks", &task()).expect(201));
        let held = in_time(|| shim.held() > 0);
        // Before anything fails: the answer's thread is joined.
        let answered = answer.is_finished();
        shim.hold_fdatasync(false);
        answer.join().unwrap();
        assert!(held && !answered, "the sync was held: {held}; it was answered meanwhile: {answered}");
    });
    server.stop();
}

#[test]
fn a_shifted_clock_shows_in_what_is_stored() {
    let Some((setup, shim)) = behind_a_shim() else { return };
    let server = setup.start();
    shim.clock_offset(chrono::Duration::days(400));
    let at: chrono::DateTime<chrono::Utc> =
        server.post("/v1/tasks", &task()).expect(201).json()["created_at"].as_str().unwrap().parse().unwrap();
    let ahead = at - chrono::Utc::now();
    assert!((ahead - chrono::Duration::days(400)).abs() < chrono::Duration::hours(1), "{ahead} ahead");
    server.stop();
}

#[test]
fn a_failed_sync_is_an_error_and_a_counted_call_ends_the_process() {
    let Some((setup, shim)) = behind_a_shim() else { return };
    let server = setup.start();
    shim.fail_after(1, Calls::SYNCS, EIO);
    server.post("/v1/tasks", &task()).expect(503);
    assert_eq!(shim.fired(), 1);
    drop(server);
    let server = setup.start();
    shim.exit_after(1, Calls::WRITES);
    let _the_connection_ends = server.raw(
        format!(
            "POST /v1/tasks HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-api-key: {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
            harness::KEY,
            task().to_string().len(),
            task()
        )
        .as_bytes(),
    );
    let (status, _) = server.wait();
    assert_eq!(status.code(), Some(ENDED));
}

/// An fdatasync that was a lie: without it, nothing that was answered would be left.
#[test]
fn a_power_cut_loses_what_was_not_synced_and_nothing_else() {
    let Some((setup, shim)) = behind_a_shim() else { return };
    shim.keep_undo();
    let server = setup.start();
    let before = server.post("/v1/tasks", &task()).expect(201).json()["id"].as_str().unwrap().to_owned();
    // The group is written, and its sync fails: it was not acknowledged.
    shim.fail_after(1, Calls::SYNCS, EIO);
    server.post("/v1/tasks", &task()).expect(503);
    drop(server);
    let written = std::fs::read(setup.data.join("journal/00000000000000000001.journal")).unwrap();
    shim.power_cut(None);
    let left = std::fs::read(setup.data.join("journal/00000000000000000001.journal")).unwrap();
    assert!(written != left, "nothing was lost");
    let server = setup.start();
    server.get(&format!("/v1/tasks/{before}")).expect(200);
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 1);
    server.stop();
}
