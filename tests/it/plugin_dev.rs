//! `hookmill plugin dev`: every save shows what differs, and nothing is sent to a server without a request.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness::{DEADLINE, Setup, binary, task, time_for_a_mistake, until};
use crate::sender_cli::{good, run, said};

/// A session that runs until it is ended.
struct Session {
    child: Child,
    lines: Receiver<Value>,
}

impl Session {
    fn of(setup: &Setup, more: &[&str]) -> Self {
        let mut command = binary();
        command.args(["plugin", "dev", "guest", "--json"]).args(more).current_dir(&setup.plugins);
        command.env("XDG_CACHE_HOME", setup.data.with_extension("cache"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (to, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                drop(to.send(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))));
            }
        });
        Self { child, lines }
    }

    /// The next line that fulfils this: one save may be seen as two.
    #[track_caller]
    fn next(&self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let started = std::time::Instant::now();
        let mut seen = Vec::new();
        while let Some(left) = DEADLINE.checked_sub(started.elapsed()) {
            match self.lines.recv_timeout(left) {
                Ok(line) if is_it(&line) => return line,
                Ok(line) => seen.push(line),
                Err(_) => break,
            }
        }
        panic!("{what} did not come, but {seen:?}");
    }

    fn say(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    fn ends(mut self) -> Option<i32> {
        until("it ends", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn expect(folder: &Path, expected: &Value) {
    std::fs::create_dir_all(folder.join("fixtures")).unwrap();
    let fixture = json!({
        "name": "one", "received_at": "2026-11-24T08:00:00Z", "payload": {"a": 1}, "expect": {"tasks": [expected]},
    });
    std::fs::write(folder.join("fixtures/one.json"), fixture.to_string()).unwrap();
}

/// Editors replace files by renaming others, and leave a manifest broken for a while: the session must survive both.
#[test]
fn every_save_is_run_and_a_broken_manifest_is_shown() {
    let setup = Setup::new().plugin("guest", "", &says(&task().to_string()));
    let folder = setup.plugins.join("guest");
    let mut session = Session::of(&setup, &[]);
    let first = session.next("the first run", |it| it["run"] == 1);
    assert!(first["good"] == true && first["fixtures"] == json!([]), "{first}");
    // A folder that is new, with a fixture that differs.
    let mut other = task();
    other["title"] = json!("Another title");
    expect(&folder, &other);
    let failed = session.next("a failed fixture", |it| it["good"] == false);
    let difference = &failed["fixtures"][0]["differences"][0];
    assert_eq!(difference, &json!({"pointer": "/0/title", "expected": "Another title", "found": "Refill request"}));
    // As vim and others save.
    let manifest = std::fs::read_to_string(folder.join("plugin.toml")).unwrap();
    std::fs::write(folder.join(".plugin.toml.swp"), "name = ").unwrap();
    std::fs::rename(folder.join(".plugin.toml.swp"), folder.join("plugin.toml")).unwrap();
    let broken = session.next("the broken manifest", |it| it["findings"][0]["severity"] == "error");
    assert!(broken["findings"][0]["file"].as_str().unwrap().ends_with("plugin.toml"), "{broken}");
    std::fs::write(folder.join("plugin.toml"), &manifest).unwrap();
    session.next("the repaired manifest", |it| it["fixtures"][0]["holds"] == false);
    // On request, the results are accepted.
    session.say("u");
    session.next("the updated fixture", |it| it["good"] == true && it["fixtures"][0]["holds"] == true);
    // A payload becomes a fixture on request only.
    std::fs::write(folder.join("fixtures/raw.json"), r#"{"a":2}"#).unwrap();
    let raw = session.next("the payload", |it| it["good"] == false);
    assert!(raw["findings"].to_string().contains("is a payload, and not a fixture"), "{raw}");
    session.say("a");
    session.next("two fixtures", |it| it["good"] == true && it["fixtures"].as_array().unwrap().len() == 2);
    // The folder is moved away, as git does, and is there again.
    std::fs::rename(&folder, setup.plugins.join("away")).unwrap();
    session.next("the missing folder", |it| it["good"] == false && it["fixtures"] == json!([]));
    std::fs::rename(setup.plugins.join("away"), &folder).unwrap();
    session.next("the folder", |it| it["good"] == true && it["fixtures"].as_array().unwrap().len() == 2);
    session.say("q");
    assert_eq!(session.ends(), Some(0));
}

/// Ctrl-C is how everybody ends it: a code other than 0 would look like a failure.
#[test]
fn an_interrupt_ends_it_cleanly_and_without_a_save_nothing_runs() {
    let setup = Setup::new().plugin("guest", "", &says(&task().to_string()));
    let session = Session::of(&setup, &[]);
    session.next("the first run", |it| it["run"] == 1);
    std::fs::read(setup.plugins.join("guest/plugin.toml")).unwrap();
    std::fs::write(setup.plugins.join("guest/.hidden"), "x").unwrap();
    time_for_a_mistake();
    assert!(session.lines.try_recv().is_err(), "it ran without a change");
    let pid = session.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().unwrap().success());
    assert_eq!(session.ends(), Some(0));
}

/// In scripts, the exit code is all that counts; people need to see what differs.
#[test]
fn once_ends_with_the_result_and_shows_each_field() {
    let setup = Setup::new().plugin("guest", "", &says(&task().to_string()));
    let folder = setup.plugins.join("guest");
    let mut other = task();
    other["tags"] = json!(["new"]);
    expect(&folder, &other);
    let out = run(&setup, &["plugin", "dev", "guest", "--once"], b"");
    let text = said(&out);
    assert_eq!(out.status.code(), Some(1), "{text}");
    for part in
        ["FAILED   one.json: one (", "/0/tags", "- expected [\"new\"]", "+ actual   null", "1 of 1 fixtures failed"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "colours where there is no terminal");
    expect(&folder, &task());
    // By its folder, and by its name from elsewhere.
    let path = folder.to_str().unwrap();
    for name in ["guest", path] {
        let text = good(&run(&setup, &["plugin", "dev", name, "--once"], b""));
        assert!(text.contains("ok       one.json") && text.contains("1 of 1 fixtures pass"), "{text}");
    }
    let out = run(&setup, &["plugin", "dev", "nowhere", "--once"], b"");
    assert!(out.status.code() == Some(1) && said(&out).contains("plugin new NAME --from"), "{}", said(&out));
}

/// A run must not create tasks on a server, which may be the live one, unless the user says so.
#[test]
fn a_payload_is_posted_on_request_only() {
    let setup = Setup::new().plugin("guest", "", &says(&task().to_string()));
    expect(&setup.plugins.join("guest"), &task());
    let server = setup.start();
    let key = setup.key("company-1", &["hooks:write"]);
    let tasks = || server.get("/v1/tasks").expect(200).json()["pagination"]["total"].as_u64().unwrap();
    let to = ["--server", &server.url, "--api-key", &key];
    let with = |more: &[&str]| run(&setup, &[&["plugin", "dev", "guest", "--once"], &to[..], more].concat(), b"");
    good(&with(&[]));
    assert_eq!(tasks(), 0, "without a request");
    let text = good(&with(&["--post"]));
    assert!(text.contains("fixtures/one.json was sent to") && text.contains(": 201"), "{text}");
    good(&with(&["--post", "one"]));
    let out = with(&["--post", "two"]);
    assert!(out.status.code() == Some(1) && said(&out).contains("there are one"), "{}", said(&out));
    assert_eq!(tasks(), 2);
    let wrong = ["plugin", "dev", "guest", "--once", "--post", "--server", &server.url, "--api-key", "hm_wrong"];
    let out = run(&setup, &wrong, b"");
    assert!(out.status.code() == Some(1) && said(&out).contains("answered 401"), "{}", said(&out));
    let out = run(&setup, &["plugin", "dev", "guest", "--once", "--post", "--server", &server.url], b"");
    assert!(out.status.code() == Some(1) && said(&out).contains("HOOKMILL_API_KEY"), "{}", said(&out));
    // While it runs, by a letter.
    let before = tasks();
    let mut session = Session::of(&setup, &to);
    session.next("the first run", |it| it["run"] == 1);
    session.say("p one");
    let posted = session.next("the answer", |it| it["posted"].is_string());
    assert_eq!((&posted["status"], &posted["answer"]["title"]), (&json!(201), &json!("Refill request")));
    assert_eq!(tasks(), before + 1);
}
