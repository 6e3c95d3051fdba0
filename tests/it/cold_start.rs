//! A start without compiled artefacts: the server serves, every plugin goes live independently, and nothing is compiled
//! twice.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::guests::command;
use crate::harness::{Server, Setup, binary, task, until};

/// A command that takes long to compile, different for each `salt`, and skips with the reason `done`.
fn large(salt: usize, functions: usize) -> String {
    let work = "(local.set $n (i32.add (i32.mul (local.get $n) (i32.const 3)) (i32.const 1)))".repeat(250);
    let functions: String = (0..functions)
        .map(|n| {
            format!("(func $f{n} (param $n i32) (result i32) (local.set $n (i32.const {salt})) {work} (local.get $n))")
        })
        .collect();
    command(&format!(
        r#"{functions} (data (i32.const 64) "{{\"skip\":\"done\"}}")
        (func (export "_start")
          (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 15))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#
    ))
}

fn ready(server: &Server) -> (u16, Value) {
    let reply = server.get("/readyz");
    (reply.status, reply.json())
}

fn live(server: &Server) -> usize {
    usize::try_from(ready(server).1["integrations"].as_u64().unwrap()).unwrap()
}

fn listed(setup: &Setup) -> Vec<Value> {
    let out = binary().args(["plugin", "list", "--json", "--data-dir"]).arg(&setup.data).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice::<Value>(&out.stdout).unwrap()["data"].as_array().unwrap().clone()
}

fn artefacts(data: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(data.join("artefacts")).into_iter().flatten().map(|it| it.unwrap().path());
    files.filter(|it| it.extension().is_some_and(|e| e == "artefact")).collect()
}

fn compiled(log: &str) -> usize {
    log.matches("a module is compiled").count()
}

/// How long this machine, as busy as it is, takes for one such module alone.
fn alone(functions: usize) -> Duration {
    let server = Setup::new().plugin("alone", "", &large(0, functions)).start();
    let log = server.stop();
    let line = log.lines().find(|it| it.contains("a module is compiled")).unwrap();
    let millis = line.split("millis=").nth(1).unwrap().split_whitespace().next().unwrap();
    Duration::from_millis(millis.parse().unwrap())
}

/// Twenty modules, each of which compiles within the limit alone, and none if they were all begun at once.
#[test]
fn many_large_modules_all_go_live_and_tasks_are_taken_meanwhile() {
    const MODULES: usize = 20;
    let limit = 6 * alone(300);
    let mut setup = Setup::new().config(&format!("[plugins]\ncompile_ms = {}\n", limit.as_millis()));
    for n in 0..MODULES {
        setup = setup.plugin(&format!("large-{n}"), "", &large(n, 300));
    }
    let server = setup.start_cold();
    let (status, body) = ready(&server);
    assert_eq!((status, &body["status"]), (503, &json!("loading")), "{body}");
    assert!(body["loading_plugins"].as_u64().unwrap() > 0, "{body}");
    server.post("/v1/tasks", &task()).expect(201);
    // Each folder is known from the start, and none of them is taken for one that is not there.
    let early = server.post(&format!("/v1/hooks/large-{}", MODULES - 1), &json!({})).expect(503);
    assert_eq!((early.code().as_str(), early.header("retry-after")), ("plugin_loading", "1"));
    assert_eq!(early.header("x-event-id"), "", "nothing is stored");
    server.post("/v1/hooks/not-there", &json!({})).expect(404);
    assert!(listed(&setup).iter().any(|it| it["state"] == "loading"));
    until("each plugin live", || live(&server) == MODULES);
    until("ready", || ready(&server).0 == 200);
    let (_, body) = ready(&server);
    assert_eq!([&body["status"], &body["loading_plugins"]], [&json!("ready"), &json!(0)]);
    for n in 0..MODULES {
        server.post(&format!("/v1/hooks/large-{n}"), &json!({})).expect(200);
    }
    assert!(server.get("/v1/events?status=quarantined").expect(200).json()["data"].as_array().unwrap().is_empty());
}

/// The first plugins serve while those of other companies are still being compiled.
#[test]
fn a_plugin_goes_live_when_it_is_loaded_and_waits_for_no_other_companys() {
    let setup = Setup::new().plugin("a-small", "", &large(1, 1)).plugin("z-large", "", &large(2, 4000));
    gives(&setup, "z-large", "company-2");
    let server = setup.start_cold();
    until("the small one", || server.post("/v1/hooks/a-small", &json!({})).status == 200);
    let (status, body) = ready(&server);
    assert_eq!((status, &body["loading_plugins"]), (503, &json!(1)), "{body}");
    assert_eq!(setup.ready(&server).json()["names"]["loading_plugins"], json!(["z-large"]));
}

/// As many shadows as are loaded at a time kept all other plugins from being loaded.
#[test]
fn plugins_do_not_wait_for_the_shadows_of_others() {
    const PLUGINS: usize = 20;
    let mut setup = Setup::new().plugin("next", "", &large(2, 4000));
    std::fs::rename(setup.plugins.join("next"), setup.plugins.join(".next")).unwrap();
    for n in 0..PLUGINS {
        let manifest = "shadow = \"../.next\"\n[auth]\nscheme = \"api-key\"\n";
        setup = setup.plugin(&format!("guest-{n:02}"), manifest, &large(1, 1));
    }
    let server = setup.start_cold();
    until("each plugin live", || live(&server) == PLUGINS);
    assert_eq!(ready(&server).1["loading_plugins"], json!(0));
    server.get("/v1/admin/plugins/guest-00/shadow").expect(404);
}

#[test]
fn identical_modules_are_compiled_once() {
    let mut setup = Setup::new();
    let wat = large(7, 100);
    for n in 0..30 {
        setup = setup.plugin(&format!("copy-{n}"), "", &wat);
    }
    let server = setup.start();
    assert_eq!(live(&server), 30);
    let log = server.stop();
    assert_eq!((compiled(&log), artefacts(&setup.data).len()), (1, 1), "{log}");
}

/// A function whose locals are all read in the innermost of many loops: the compiler keeps each local for each loop.
fn bomb(salt: usize, loops: usize, locals: usize) -> String {
    let (begin, end) = ("loop ".repeat(loops), "end ".repeat(loops));
    let read: String = (0..locals).map(|n| format!("local.get {n} drop ")).collect();
    let code = format!("(func $bomb (local{}) {begin} {read} {end})", " i64".repeat(locals));
    command(&format!("{code} (func (export \"_start\") (drop (i32.const {salt})))"))
}

fn gives(setup: &Setup, name: &str, company: &str) {
    let file = setup.plugins.join(name).join("plugin.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("company-1", company)).unwrap();
}

/// Processes that a process has started, by their id.
fn children(of: u32) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|it| it.unwrap().file_name().to_str()?.parse().ok());
    all.filter(|it| {
        let stat = std::fs::read_to_string(format!("/proc/{it}/stat")).unwrap_or_default();
        let parent = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(of) && !stat.contains(") Z ")
    })
    .collect()
}

fn peak_mib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<usize>().unwrap() >> 10
}

fn reload(server: &Server) -> Value {
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json()
}

fn failed(log: &str) -> usize {
    log.matches("a module could not be compiled").count()
}

fn refused(setup: &Setup, name: &str) -> String {
    let listed = listed(setup);
    let found = listed.iter().find(|it| it["name"] == name).unwrap();
    found["message"].as_str().unwrap_or_else(|| panic!("{found}")).to_owned()
}

/// A module of a few hundred KiB took more than 5 GiB of the server, and again at each reload.
#[test]
fn a_module_that_takes_too_much_memory_is_refused_once_and_costs_nobody_else() {
    let config = "[plugins]\nwatch = false\nsettle_ms = 0\ncompile_mib = 384\n";
    let setup = Setup::new().config(config).plugin("bomb", "", &bomb(1, 8000, 8000)).plugin("good", "", &large(1, 10));
    gives(&setup, "good", "company-2");
    let server = setup.start_cold();
    server.get("/healthz").expect(200);
    until("each tried", || ready(&server).1["status"] == "ready");
    assert_eq!(live(&server), 1);
    let said = refused(&setup, "bomb");
    assert!(said.contains("takes more than 384 MiB to compile (plugins.compile_mib"), "{said}");
    assert!(peak_mib(server.child.id()) < 384, "{} MiB", peak_mib(server.child.id()));
    for _ in 0..2 {
        assert!(reload(&server)["refused"]["bomb"].is_string());
    }
    assert_eq!(refused(&setup, "bomb"), said);
    assert!(children(server.child.id()).is_empty());
    // Another file is another module.
    std::fs::write(setup.plugins.join("bomb/mapper.wasm"), wat::parse_str(large(2, 1)).unwrap()).unwrap();
    assert_eq!(reload(&server)["loaded"], json!(["bomb"]));
    let log = server.stop();
    assert_eq!((failed(&log), compiled(&log)), (1, 2), "{log}");
}

/// The process that compiles is killed with its time, has nothing of the server's, and ends with it.
#[test]
fn a_slow_compilation_is_killed_and_has_nothing_of_the_servers() {
    let config = "[plugins]\nwatch = false\nsettle_ms = 0\ncompile_ms = 3000\n";
    let setup = Setup::new().config(config).env("FAX_SECRET", "hm_env-secret").plugin("slow", "", &bomb(1, 4000, 4000));
    let mut server = setup.start_cold();
    until("the process", || children(server.child.id()).len() == 1);
    let child = children(server.child.id())[0];
    let proc = |name: &str| std::fs::read_to_string(format!("/proc/{child}/{name}")).unwrap_or_default();
    let limit = |name: &str, value: &str| {
        let is = |it: &str| it.starts_with(name) && it.split_whitespace().any(|it| it == value);
        proc("limits").lines().any(is)
    };
    until("its limits", || {
        limit("Max address space", "2147483648") && limit("Max open files", "16") && limit("Max core file size", "0")
    });
    let nice = || proc("stat").split_whitespace().nth(18).is_some_and(|it| it.parse::<i32>().unwrap() >= 10);
    until("its low priority", nice);
    let files = || std::fs::read_dir(format!("/proc/{child}/fd")).unwrap().count();
    until("only its three files", || files() == 3);
    let environ = proc("environ");
    assert!(
        environ.contains("RAYON_NUM_THREADS") && !environ.contains("SECRET") && !environ.contains("KEY"),
        "{environ}"
    );
    server.get("/healthz").expect(200);
    until("each tried", || ready(&server).1["status"] == "ready");
    assert!(refused(&setup, "slow").contains("was not compiled within 3000 ms (plugins.compile_ms"));
    assert!(children(server.child.id()).is_empty());
    // A server that is killed takes it along.
    std::fs::write(setup.plugins.join("slow/mapper.wasm"), wat::parse_str(bomb(2, 4000, 4000)).unwrap()).unwrap();
    server.signal("HUP");
    until("another process", || children(server.child.id()).len() == 1);
    let child = children(server.child.id())[0];
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    until("its end", || !Path::new(&format!("/proc/{child}")).exists());
}

/// One company's modules, however many and slow, keep another's from nothing.
#[test]
fn a_company_compiles_one_module_at_a_time() {
    let config = "[plugins]\ncompile_ms = 600000\n";
    let mut setup = Setup::new().config(config);
    for n in 0..20 {
        setup = setup.plugin(&format!("a-slow-{n:02}"), "", &bomb(n, 4000, 4000));
    }
    let setup = setup.plugin("z-other", "", &large(1, 1));
    gives(&setup, "z-other", "company-2");
    let key = setup.key("company-2", &["hooks:write"]);
    let server = setup.start_cold();
    until("the other company's", || {
        assert!(children(server.child.id()).len() <= 2);
        server.send_as("POST", "/v1/hooks/z-other", &[("x-api-key", &key)], b"{}").status == 200
    });
    assert_eq!(ready(&server).1["status"], "loading");
    assert!(children(server.child.id()).len() <= 1, "one of them at a time");
}

/// `plugin test` says what the server says.
#[test]
fn a_module_that_cannot_be_compiled_is_reported_by_plugin_test_too() {
    let config = "[plugins]\nwatch = false\nsettle_ms = 0\n";
    let setup = Setup::new().config(config).plugin("invalid", "", &large(1, 1));
    let module = setup.plugins.join("invalid/mapper.wasm");
    std::fs::write(&module, b"\0asm\x01\0\0\0broken").unwrap();
    let server = setup.start();
    let said = refused(&setup, "invalid");
    assert!(said.contains("cannot be compiled: ") && said.contains("not compiled again until"), "{said}");
    reload(&server);
    let out = binary().args(["plugin", "test"]).arg(setup.plugins.join("invalid")).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(told.contains(&said), "{told}\n{said}");
    assert_eq!(failed(&server.stop()), 1);
}

/// A start that is killed before its end leaves the next one less to do.
#[test]
fn a_cold_start_that_was_cut_off_does_not_begin_from_zero() {
    const MODULES: usize = 8;
    let mut setup = Setup::new();
    for n in 0..MODULES {
        setup = setup.plugin(&format!("large-{n}"), "", &large(100 + n, 300));
    }
    let mut server = setup.start_cold();
    until("an artefact", || !artefacts(&setup.data).is_empty());
    server.child.kill().unwrap();
    server.wait();
    let kept = artefacts(&setup.data).len();
    let server = setup.start();
    assert_eq!(live(&server), MODULES);
    assert_eq!(compiled(&server.stop()), MODULES - kept);
}

/// What waited when the server was killed waits for its plugin, however long that is compiled.
#[test]
fn queued_events_wait_for_a_plugin_that_is_being_loaded() {
    let loops = command("(func (export \"_start\") (loop (br 0)))");
    let limits = "[limits]\ntime_ms = 60000\nconcurrency = 1\n";
    let setup = Setup::new().plugin("guest", limits, &loops);
    let mut server = setup.start();
    let send = || server.send("POST", "/v1/hooks/guest", &[("prefer", "respond-async")], b"{}").expect(202);
    let waiting: Vec<_> = (0..3).map(|_| send()).collect();
    server.child.kill().unwrap();
    server.wait();
    let setup = setup.plugin("guest", limits, &large(5, 1000));
    let server = setup.start_cold();
    assert_eq!(ready(&server).1["status"], "loading");
    let replay = server.post(&format!("{}/replay", waiting[0].header("location")), &json!({}));
    assert_eq!(replay.expect(503).code(), "plugin_loading");
    for reply in &waiting {
        let event = || server.get(reply.header("location")).expect(200).json();
        until("its end", || event()["status"] != "queued");
        assert_eq!(event()["status"], "skipped", "{}", event());
    }
}
