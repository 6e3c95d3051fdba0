//! Plugins that probe, flood and exceed their limits: the error names the limit, and nobody else is affected.

use serde_json::json;

use crate::guests::{command, component, says};
use crate::harness;
use crate::harness::{Setup, task};

/// Every function of WASI preview 1 but `proc_exit`, and the types of its arguments: `i` is i32, `l` is i64.
const PREVIEW_1: [(&str, &str); 45] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "ili"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "illi"),
    ("fd_allocate", "ill"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "ill"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "il"),
    ("fd_filestat_set_times", "illi"),
    ("fd_pread", "iiili"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiili"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiili"),
    ("fd_renumber", "ii"),
    ("fd_seek", "ilii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiilli"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiillii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// A command that calls each of them with this value in every place, and then skips as if nothing had been.
fn probes(value: i64) -> String {
    let mut imports = String::new();
    let mut calls = String::new();
    for (name, arguments) in PREVIEW_1 {
        let types: Vec<_> = arguments.chars().map(|it| if it == 'i' { "i32" } else { "i64" }).collect();
        imports += &format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {}) (result i32)))\n",
            types.join(" ")
        );
        let values: String = types.iter().map(|it| format!("({it}.const {value}) ")).collect();
        calls += &format!("(drop (call ${name} {values}))\n");
    }
    // Memory may be overwritten by then: the output is put there at the end. {"skip":"done"}
    format!(
        r#"(module {imports} (memory (export "memory") 1)
        (func (export "_start") {calls}
          (i64.store (i32.const 16) (i64.const 0x3a2270696b73227b))
          (i64.store (i32.const 24) (i64.const 0x0a7d22656e6f6422))
          (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 16))
          (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    )
}

#[test]
fn every_wasi_call_with_every_kind_of_pointer_gives_an_error_code_and_no_more() {
    for value in [0_i64, -1, 3, 65_528, 65_536, 0x7fff_ffff, -0x8000_0000] {
        let server = Setup::new().plugin("guest", "[limits]\ntime_ms = 5000\n", &probes(value)).start();
        let reply = server.post("/v1/hooks/guest", &json!({}));
        // Writing the guest's own memory to stdout, as it may, makes the output something else than JSON.
        let fine = reply.status == 200 || reply.code() == "plugin_output_invalid";
        assert!(fine, "{value}: {}", reply.text);
        server.post("/v1/tasks", &task()).expect(201);
        assert!(!server.stop().contains("panic"), "{value}");
    }
}

#[test]
fn output_that_is_not_utf_8_is_named_and_a_log_flood_is_cut() {
    let latin = says("LATIN").replace("\\4c\\41\\54\\49\\4e", "\\7b\\22\\ff\\22\\7d");
    let flood = command(
        r#"(func (export "_start") (local $n i32)
          (i32.store (i32.const 0) (i32.const 32)) (i32.store (i32.const 4) (i32.const 60000))
          (loop (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
            (local.set $n (i32.add (local.get $n) (i32.const 1))) (br_if 0 (i32.lt_u (local.get $n) (i32.const 500)))))"#,
    );
    let limits = "[limits]\ntime_ms = 5000\nlog_kib = 2\n";
    let server = Setup::new().plugin("latin", "", &latin).plugin("flood", limits, &flood).start();
    let reply = server.post("/v1/hooks/latin", &json!({})).expect(422);
    assert!(reply.message().contains("stdout is not JSON"), "{}", reply.text);
    let reply = server.post("/v1/hooks/flood", &json!({})).expect(422);
    let event = server.get(&format!("/v1/events/{}", reply.header("x-event-id"))).expect(200).json();
    assert_eq!(event["plugin_log"].as_str().unwrap().len(), 2048, "30 MB were written");
}

#[test]
fn modules_that_are_too_large_or_too_slow_to_compile_are_refused_by_name() {
    // The slow one goes live later all the same: `cold_start.rs`.
    let large = format!(
        r#"(module (memory (export "memory") 64) (data (i32.const 0) "{}") (func (export "_start")))"#,
        "x".repeat(2 << 20)
    );
    let adds = "(local.set $n (i32.add (i32.mul (local.get $n) (i32.const 3)) (i32.const 1)))".repeat(250);
    let functions: String = (0..200).map(|n| format!("(func $f{n} (local $n i32) {adds})")).collect();
    let heavy = format!("(module (memory (export \"memory\") 1) {functions} (func (export \"_start\")))");
    let setup = Setup::new()
        .config("[plugins]\nmodule_mib = 1\ncompile_ms = 20\n")
        .plugin("large", "", &large)
        .plugin("heavy", "", &heavy);
    let server = setup.start();
    let refused = setup.ready(&server).expect(200).json()["names"]["refused_plugins"].clone();
    assert!(refused.as_array().unwrap().contains(&json!("large")), "{refused}");
    let log = server.stop();
    for part in ["plugins.module_mib", "plugins.compile_ms"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn fixtures_have_a_time_for_all_of_them_together() {
    // Each is well within time_ms; together they are not within fixtures_ms.
    let count = "(local $n i64) (loop (local.set $n (i64.add (local.get $n) (i64.const 1))) (br_if 0 (i64.lt_u (local.get $n) (i64.const 20000000))))";
    let busy =
        says("{\"skip\":\"x\"}").replace("(func (export \"_start\")", &format!("(func (export \"_start\") {count}"));
    let setup =
        Setup::new().config("[plugins]\nfixtures_ms = 5\n").plugin("busy", "[limits]\ntime_ms = 20000\n", &busy);
    let fixtures = setup.plugins.join("busy/fixtures");
    std::fs::create_dir(&fixtures).unwrap();
    for name in ["a", "b", "c"] {
        let fixture =
            json!({"name": name, "received_at": "2026-11-24T08:00:00Z", "payload": {}, "expect": {"skip": "x"}});
        std::fs::write(fixtures.join(format!("{name}.json")), fixture.to_string()).unwrap();
    }
    let log = setup.start().stop();
    assert!(log.contains("plugins.fixtures_ms"), "{log}");
}

#[test]
fn a_queue_takes_as_many_as_it_says() {
    let spin = command("(func (export \"_start\") (loop (br 0)))");
    // No call ends before all have been sent, on a slow machine either.
    let limits = "[limits]\ntime_ms = 60000\nconcurrency = 1\nqueue = 3\n";
    let setup = Setup::new().config("[plugins]\nwatch = false\nsettle_ms = 0\n").plugin("guest", limits, &spin);
    let server = setup.start();
    let replies: Vec<_> = std::thread::scope(|scope| {
        let (send, replies) = std::sync::mpsc::channel();
        for _ in 0..12 {
            let (server, send) = (&server, send.clone());
            scope.spawn(move || drop(send.send(server.post("/v1/hooks/guest", &json!({})))));
        }
        drop(send);
        let mut all: Vec<_> = (0..8).map(|_| replies.recv_timeout(harness::DEADLINE).unwrap()).collect();
        // The others end with the plugin.
        std::fs::remove_dir_all(setup.plugins.join("guest")).unwrap();
        server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
        all.extend(replies);
        all
    });
    let (kept, busy): (Vec<_>, Vec<_>) = replies.iter().partition(|it| it.code() == "plugin_removed");
    // One runs and three wait, unless the first was still in the queue when the others came.
    assert!((3..=4).contains(&kept.len()), "{} were taken", kept.len());
    assert!(busy.iter().all(|it| it.status == 503 && it.code() == "plugin_busy" && it.header("retry-after") == "1"));
}

/// Three plugins that loop in as many calls as they may, together more than the instance pool has memories: a full pool
/// is not a fault of a plugin, and no delivery is quarantined for it.
#[test]
fn calls_of_all_plugins_together_may_exceed_the_instance_pool() {
    const CALLS: usize = 48;
    let limits = "[limits]\ntime_ms = 5000\nconcurrency = 16\n";
    // As many memories as one component may have: the pool has 512.
    let loops = with_more(&component("(loop (br 0))"), "(memory 1)", 15);
    let mut setup = Setup::new().plugin("quick", "", &component(""));
    for n in 0..3 {
        setup = setup.plugin(&format!("loops-{n}"), limits, &loops);
    }
    let server = setup.start();
    let replies: Vec<_> = std::thread::scope(|scope| {
        let server = &server;
        let call = |n: usize| server.post(&format!("/v1/hooks/loops-{}", n % 3), &json!({}));
        let calls: Vec<_> = (0..CALLS).map(|n| scope.spawn(move || call(n))).collect();
        // Its share of the pool is its own, so it is answered all the while.
        for _ in 0..50 {
            server.post("/v1/hooks/quick", &json!({})).expect(200);
        }
        calls.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let mut codes: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    replies.iter().for_each(|it| *codes.entry(it.code()).or_default() += 1);
    let log = server.stop();
    assert!(!log.contains("plugin refused"), "{log}");
    if log.contains("on-demand instances: ") {
        return eprintln!("skipped: this machine has no instance pool that could be full");
    }
    assert!(codes.contains_key("plugin_busy"), "the pool was never full: {codes:?}");
    assert!(codes.keys().all(|it| ["plugin_busy", "plugin_deadline"].contains(&it.as_str())), "{codes:?}");
    assert!(replies.iter().all(|it| (it.code() == "plugin_busy") == it.header("x-event-id").is_empty()));
}

/// The component with so many more instances of a module that has this.
fn with_more(component: &str, has: &str, count: usize) -> String {
    let more = format!("(core module $more {has}) {}", "(core instance (instantiate $more)) ".repeat(count));
    let instance = "(core instance $i (instantiate $m))";
    component.replace(instance, &format!("{more}{instance}"))
}

/// One company's folders reserved the whole pool, and every call of another company's plugin was refused.
#[test]
fn many_large_plugins_of_one_company_leave_room_for_another_company() {
    let heavy = with_more(&component("(loop (br 0))"), "(memory 1)", 15);
    let mut setup = Setup::new().config("[plugins]\nwatch = false\nsettle_ms = 0\n");
    for n in 0..40 {
        setup = setup.plugin(&format!("heavy-{n}"), "[limits]\ntime_ms = 10000\n", &heavy);
    }
    let server = setup.start();
    let quick = component("").replace("(memory (export \"memory\") 4)", "(memory (export \"memory\") 5)");
    let setup = setup.plugin("quick", "", &quick);
    let file = setup.plugins.join("quick/plugin.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("company-1", "company-2")).unwrap();
    let pass = server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json();
    assert_eq!(pass["loaded"], json!(["quick"]));
    let key = setup.key("company-2", &["hooks:write"]);
    std::thread::scope(|scope| {
        let (server, (send, replies)) = (&server, std::sync::mpsc::channel());
        for n in 0..80 {
            let send = send.clone();
            let call = move || drop(send.send(server.post(&format!("/v1/hooks/heavy-{}", n % 40), &json!({}))));
            scope.spawn(call);
        }
        drop(send);
        let check = |reply: &harness::Reply| {
            assert!(["plugin_busy", "plugin_deadline"].contains(&reply.code().as_str()), "{}", reply.text);
        };
        // The first to be answered finds no room: its company's is all taken.
        check(&replies.recv_timeout(harness::DEADLINE).unwrap());
        for _ in 0..20 {
            server.send_as("POST", "/v1/hooks/quick", &[("x-api-key", &key)], b"{}").expect(200);
        }
        replies.iter().for_each(|it| check(&it));
    });
}

#[test]
fn a_component_that_needs_too_much_of_the_pool_is_refused_when_it_is_loaded() {
    let setup = Setup::new()
        .plugin("memories-16", "", &with_more(&component(""), "(memory 1)", 15))
        .plugin("memories-17", "", &with_more(&component(""), "(memory 1)", 16))
        .plugin("tables-32", "", &with_more(&component(""), "(table 1 funcref)", 32))
        .plugin("tables-33", "", &with_more(&component(""), "(table 1 funcref)", 33))
        .plugin("instances-64", "", &with_more(&component(""), "", 63));
    let server = setup.start();
    for fits in ["memories-16", "tables-32", "instances-64"] {
        server.post(&format!("/v1/hooks/{fits}"), &json!({})).expect(200);
    }
    for refused in ["memories-17", "tables-33"] {
        server.post(&format!("/v1/hooks/{refused}"), &json!({})).expect(404);
    }
    let log = server.stop();
    for why in
        ["one call needs 17 memories and 0 tables, and may have 16 and 32", "one call needs 1 memories and 33 tables"]
    {
        assert!(log.contains(why), "{log}");
    }
}

/// The most memory that the server has had so far, in KiB.
fn peak_memory(server: &harness::Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|it| it.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Returns a result of these tags whose text, or list, is at 65,536 and this long.
fn returns(result: u32, outcome: u32, length: u32) -> String {
    let word = |at: u32, value: u32| format!("(i32.store (i32.const {at}) (i32.const {value}))");
    let at = if result == 0 { 8 } else { 4 };
    let text = [word(0, result), word(4, outcome), word(at, 65_536), word(at + 4, length), word(at + 8, 0)].concat();
    component(&format!("(drop (memory.grow (i32.const 900))) {text} (return (i32.const 0))"))
}

/// What a component says was copied as a whole before its length was looked at: 125 MB from a memory of 256 KiB.
#[test]
fn what_a_component_says_is_measured_before_it_is_copied() {
    // 1,000 texts of 128 KiB, all at the same place.
    let many = returns(0, 0, 1000).replace(
        "(return (i32.const 0))",
        // On one line, as the guest's first line is a comment.
        "(local.set 0 (i32.const 65536)) (loop $next \
         (i32.store (local.get 0) (i32.const 131072)) (i32.store offset=4 (local.get 0) (i32.const 131072)) \
         (br_if $next (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 8))) (i32.const 73536)))) \
         (return (i32.const 0))",
    );
    let setup = Setup::new()
        .plugin("many", "", &many)
        .plugin("skips", "", &returns(0, 1, 48 << 20))
        .plugin("skips-long", "", &returns(0, 1, 400 << 10))
        .plugin("refuses-long", "", &returns(1, 0, 400 << 10))
        .plugin("skips-short", "", &returns(0, 1, 200 << 10))
        .plugin("refuses", "", &returns(1, 0, 48 << 20))
        .plugin("refuses-short", "", &returns(1, 0, 200 << 10));
    let server = setup.start();
    let call = |name: &str| server.post(&format!("/v1/hooks/{name}"), &json!({}));
    assert_eq!(call("skips-short").expect(200).json()["reason"].as_str().unwrap().len(), 1024);
    assert_eq!(call("refuses-short").expect(422).message().len(), 1024);
    let before = peak_memory(&server);
    for name in ["many", "skips", "refuses", "skips-long", "refuses-long"] {
        let reply = call(name).expect(502);
        assert_eq!(reply.code(), "plugin_output");
        assert!(reply.message().contains("256 KiB (output_kib)"), "{}", reply.message());
    }
    let grown = peak_memory(&server) - before;
    // A copy of the longest text alone would be more; the calls themselves take some memory.
    assert!(grown < 32 << 10, "{grown} KiB more");
}

#[test]
fn a_plugin_makes_a_thousand_tasks_of_one_event_and_no_more() {
    let tasks = |count: usize| {
        let one = json!({"title": "t", "description": "d", "assigned_user_ids": ["u"], "created_by_id": "u",
            "deadline": "2026-12-01T09:00:00Z"});
        says(&serde_json::Value::from(vec![one; count]).to_string())
    };
    // Room for the text below the guest's own.
    let pages = |wat: String| wat.replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 4)");
    let server = Setup::new().plugin("fits", "", &pages(tasks(1000))).plugin("more", "", &pages(tasks(1001))).start();
    let made = server.post("/v1/hooks/fits", &json!({})).expect(201).json();
    assert_eq!(made["data"].as_array().unwrap().len(), 1000);
    let refused = server.post("/v1/hooks/more", &json!({})).expect(422);
    assert_eq!(refused.code(), "plugin_output_invalid");
    assert!(refused.message().contains("1001 tasks for one event; the maximum is 1000"), "{}", refused.message());
}

/// A component gets its time and its id from the context alone: the same event gives the same bytes.
#[test]
fn a_component_can_import_neither_clock_nor_random() {
    for import in ["wasi:clocks/wall-clock@0.2.0", "wasi:random/random@0.2.0", "wasi:filesystem/types@0.2.0"] {
        let foreign = component("").replacen("(component", &format!("(component (import \"{import}\" (instance))"), 1);
        let setup = Setup::new().plugin("guest", "", &foreign);
        let log = setup.start().stop();
        assert!(log.contains(&format!("imports \"{import}\", which is not offered")), "{log}");
    }
}
