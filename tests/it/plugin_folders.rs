//! Plugin folders cannot be used to read files that only the server may read, or to make it hang.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::guests::{component, says};
use crate::harness;
use crate::harness::{Server, Setup, binary};

const BY_HAND: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n";
/// What must not be seen.
const TOKEN: &str = "hm_this-is-another-ones-secret";

fn skips(reason: &str) -> String {
    says(&json!({ "skip": reason }).to_string())
}

fn fixture(reason: &str) -> String {
    json!({"name": "one", "received_at": "2026-11-24T08:00:00Z", "payload": {}, "expect": {"skip": reason}}).to_string()
}

/// A server with the plugin `guest` live, which company-1's admin reloads: it may see why its own plugin is refused.
fn live() -> (Setup, Server, PathBuf) {
    let setup = Setup::new().config(BY_HAND).plugin("guest", "", &skips("one"));
    let folder = setup.plugins.join("guest");
    std::fs::create_dir(folder.join("fixtures")).unwrap();
    std::fs::write(folder.join("fixtures/one.json"), fixture("one")).unwrap();
    let server = setup.start();
    assert_eq!(server.post("/v1/hooks/guest", &json!({})).expect(200).json()["reason"], "one");
    (setup, server, folder)
}

/// Why the folder is refused; nothing where it is not.
fn reload(server: &Server) -> Option<String> {
    let pass = server.post("/v1/admin/plugins/reload", &json!({})).expect(200).json();
    pass["refused"]["guest"].as_str().map(str::to_owned)
}

fn replace<T: Fn(&Path)>(file: &Path, make: T) -> impl Fn() + use<T> {
    let (file, aside) = (file.to_owned(), file.with_extension("aside"));
    std::fs::rename(&file, &aside).unwrap();
    make(&file);
    move || std::fs::rename(&aside, &file).unwrap()
}

/// A plugin.toml that was a link to the lock file had the operator token in its error.
#[test]
fn links_out_of_a_folder_are_refused_and_nothing_of_their_targets_is_shown() {
    let (setup, server, folder) = live();
    let lock = setup.data.join("hookmill.lock");
    let token = std::fs::read_to_string(&lock).unwrap();
    let token = token.split('"').find(|it| it.len() > 40).unwrap_or_else(|| panic!("{token}")).to_owned();
    let outside = setup.data.with_file_name("outside");
    std::fs::write(&outside, TOKEN).unwrap();
    let targets =
        [lock, outside, "/proc/self/environ".into(), "/proc/self/root/etc/passwd".into(), "/etc/passwd".into()];
    for file in ["plugin.toml", "input.schema.json", "mapper.wasm", "fixtures/one.json"] {
        for target in &targets {
            let back = replace(&folder.join(file), |it| symlink(target, it).unwrap());
            let message = reload(&server).unwrap_or_else(|| panic!("{file} -> {} is taken", target.display()));
            assert!(message.contains(file) && message.contains("put the file itself there"), "{message}");
            back();
        }
    }
    for target in &targets[..2] {
        let back = replace(&folder.join("plugin.toml"), |it| {
            std::fs::set_permissions(target, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            std::fs::hard_link(target, it).unwrap();
        });
        assert!(reload(&server).unwrap().contains("hard link"));
        std::fs::remove_file(folder.join("plugin.toml")).unwrap();
        back();
    }
    // The folder itself, and its fixtures.
    let elsewhere = setup.data.with_file_name("elsewhere");
    std::fs::rename(&folder, &elsewhere).unwrap();
    symlink(&elsewhere, &folder).unwrap();
    assert!(reload(&server).unwrap().contains("leads out"));
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&elsewhere, &folder).unwrap();
    let back = replace(&folder.join("fixtures"), |it| symlink("/etc", it).unwrap());
    assert!(reload(&server).unwrap().contains("leads out"));
    std::fs::remove_file(folder.join("fixtures")).unwrap();
    back();
    assert_eq!(reload(&server), None);
    let listed = server.get("/v1/admin/plugins").expect(200).text;
    let log = server.stop();
    for text in [listed, log] {
        assert!(!text.contains(&token) && !text.contains(TOKEN) && !text.contains("root:"), "{text}");
    }
}

/// Config maps, and releases that a link points to.
#[test]
fn links_that_stay_inside_work_and_their_changes_are_noticed() {
    let setup = Setup::new().config("[plugins]\nsettle_ms = 100\n");
    let releases = setup.plugins.join(".releases");
    for reason in ["one", "two"] {
        let made = Setup::new().plugin("guest", "", &skips(reason));
        let release = releases.join(reason);
        let data = release.join("..2026");
        std::fs::create_dir_all(&data).unwrap();
        for name in ["plugin.toml", "mapper.wasm", "input.schema.json"] {
            std::fs::copy(made.plugins.join("guest").join(name), data.join(name)).unwrap();
            symlink(format!("..data/{name}"), release.join(name)).unwrap();
        }
        symlink("..2026", release.join("..data")).unwrap();
    }
    symlink(".releases/one", setup.plugins.join("guest")).unwrap();
    let server = setup.start();
    let reason = || server.post("/v1/hooks/guest", &json!({})).expect(200).json()["reason"].clone();
    assert_eq!(reason(), "one");
    symlink(".releases/two", setup.plugins.join(".next")).unwrap();
    std::fs::rename(setup.plugins.join(".next"), setup.plugins.join("guest")).unwrap();
    harness::until("the other release", || reason() == "two");
}

/// A pipe would be waited for, and with it every other plugin's change.
#[test]
fn special_files_loops_and_crowded_folders_hold_nothing_up() {
    let (setup, server, folder) = live();
    for file in ["plugin.toml", "input.schema.json", "mapper.wasm", "fixtures/one.json"] {
        let pipe = |it: &Path| assert!(std::process::Command::new("mkfifo").arg(it).status().unwrap().success());
        let socket = |it: &Path| drop(std::os::unix::net::UnixListener::bind(it).unwrap());
        let circle = |it: &Path| symlink(it.file_name().unwrap(), it).unwrap();
        let directory = |it: &Path| std::fs::create_dir(it).unwrap();
        for make in [&pipe as &dyn Fn(&Path), &socket, &circle, &directory] {
            let path = folder.join(file);
            let back = replace(&path, make);
            let message = reload(&server).unwrap_or_else(|| panic!("{file} is taken"));
            assert!(message.contains(file), "{message}");
            let _not_a_directory = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
            back();
        }
    }
    assert_eq!(reload(&server), None);
    for crowded in ["", "fixtures"] {
        let make = |n: usize| folder.join(crowded).join(format!("{n}.txt"));
        (0..5000).for_each(|n| drop(std::fs::File::create(make(n)).unwrap()));
        assert!(reload(&server).unwrap().contains("more than 4096 entries"), "{crowded}");
        (0..5000).for_each(|n| std::fs::remove_file(make(n)).unwrap());
    }
    let setup = setup.plugin("other", "", &skips("two"));
    assert_eq!(reload(&server), None);
    assert_eq!(server.post("/v1/hooks/other", &json!({})).expect(200).json()["reason"], "two");
    drop(setup);
}

/// Ten megabytes of TOML took half a gigabyte.
#[test]
fn a_file_of_its_limit_is_read_and_a_larger_one_is_not() {
    let (_setup, server, folder) = live();
    for (file, limit) in [("plugin.toml", 64 << 10), ("input.schema.json", 1 << 20), ("fixtures/one.json", 2 << 20)] {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let padded = |size: usize| text.clone() + &" ".repeat(size - text.len() - 1) + "\n";
        std::fs::write(&path, padded(limit)).unwrap();
        assert_eq!(reload(&server), None, "{file}");
        std::fs::write(&path, padded(limit + 1)).unwrap();
        let message = reload(&server).unwrap();
        assert!(message.contains(&format!("it has {} bytes; the maximum is {limit}", limit + 1)), "{message}");
        std::fs::write(&path, &text).unwrap();
    }
    let more = |n: usize| folder.join(format!("fixtures/more-{n}.json"));
    (0..9).for_each(|n| std::fs::write(more(n), fixture("one") + &" ".repeat(2_000_000)).unwrap());
    assert!(reload(&server).unwrap().contains("bytes in total"));
    (0..9).for_each(|n| std::fs::remove_file(more(n)).unwrap());
    (0..1000).for_each(|n| std::fs::write(more(n), fixture("one")).unwrap());
    assert!(reload(&server).unwrap().contains("1001 fixtures; the maximum is 1000"));
    std::fs::remove_file(more(0)).unwrap();
    assert_eq!(reload(&server), None);
}

/// People paste secrets where names belong, and files hold patients.
#[test]
fn no_error_quotes_what_a_file_holds() {
    let (setup, server, folder) = live();
    let manifest = std::fs::read_to_string(folder.join("plugin.toml")).unwrap();
    let field = |line: &str| format!("{line}\n{manifest}");
    let schema =
        |rest: &str| format!(r#"{{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",{rest}}}"#);
    let fixture = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&fixture("one")).unwrap();
        change(&mut value);
        value.to_string()
    };
    let cases = [
        ("plugin.toml", TOKEN.to_owned()),
        ("plugin.toml", format!("x = {TOKEN}")),
        ("plugin.toml", format!("x = \"{TOKEN}\ny")),
        ("plugin.toml", manifest.replace("\"guest\"", &format!("\"{TOKEN}\""))),
        ("plugin.toml", manifest.replace("\"company-1\"", &format!("\"{TOKEN}!\""))),
        ("plugin.toml", manifest.replace("\"api-key\"", &format!("\"{TOKEN}\""))),
        ("plugin.toml", manifest.replace("\"api-key\"", &format!("\"stripe\"\nsecret = \"{TOKEN}\""))),
        ("plugin.toml", manifest.replace("\"mapper.wasm\"", &format!("[\"{TOKEN}\"]"))),
        ("plugin.toml", field(&format!("timezone = \"{TOKEN}\""))),
        ("plugin.toml", field(&format!("mode = \"{TOKEN}\""))),
        ("plugin.toml", field(&format!("shadow = \"{TOKEN}\""))),
        ("plugin.toml", field(&format!("order_by = \"/{TOKEN}\"\nredact = [\"/{TOKEN}\"]"))),
        ("plugin.toml", field("keep_days = 4711471147114711")),
        ("input.schema.json", TOKEN.to_owned()),
        ("input.schema.json", json!({ "$schema": TOKEN }).to_string()),
        ("input.schema.json", schema(&format!("\"minLength\":\"{TOKEN}\""))),
        ("input.schema.json", schema(&format!("\"properties\":{{\"a\":{{\"type\":\"{TOKEN}\"}}}}"))),
        ("input.schema.json", schema(&format!("\"$ref\":\"https://{TOKEN}/x\""))),
        ("input.schema.json", schema(&format!("\"pattern\":\"({TOKEN}\""))),
        ("mapper.wasm", TOKEN.to_owned()),
        ("fixtures/one.json", TOKEN.to_owned()),
        ("fixtures/one.json", fixture(&|it| it["received_at"] = TOKEN.into())),
        ("fixtures/one.json", fixture(&|it| it["expect"] = TOKEN.into())),
        ("fixtures/one.json", fixture(&|it| it["expect"] = json!({ "tasks": TOKEN }))),
        ("fixtures/one.json", fixture(&|it| it["expect"] = json!({ "skip": TOKEN }))),
        ("fixtures/one.json", fixture(&|it| it["expect"] = json!({ "tasks": [{ "title": TOKEN }] }))),
        ("fixtures/one.json", fixture(&|it| it["payload"] = TOKEN.into())),
    ];
    for (file, text) in cases {
        let path = folder.join(file);
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text).unwrap();
        let message = reload(&server).unwrap_or_else(|| panic!("taken: {text}"));
        let quoted = message.contains("another-ones") || message.contains("4711");
        assert!(message.contains(file) && !quoted, "{text}\n{message}");
        std::fs::write(&path, good).unwrap();
    }
    assert_eq!(reload(&server), None);
    let log = server.stop();
    assert!(!log.contains("another-ones"), "{log}");
    // Settings are the operator's own, and journals are read by others.
    let mut setup = setup;
    for text in [TOKEN.to_owned(), format!("listen = \"{TOKEN}\""), format!("[limits]\nqueue = \"{TOKEN}\"")] {
        setup.config = text;
        let out = setup.command().output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(!out.status.success() && said.contains("line ") && !said.contains("another-ones"), "{said}");
    }
}

/// The author is shown where it differs and how, as before.
#[test]
fn plugin_test_shows_values_and_updates_only_files_in_the_folder() {
    let setup = Setup::new().plugin("guest", "", &component(""));
    let folder = setup.plugins.join("guest");
    std::fs::create_dir(folder.join("fixtures")).unwrap();
    let outside = setup.plugins.with_file_name("outside.json");
    std::fs::write(&outside, fixture("another reason")).unwrap();
    symlink(&outside, folder.join("fixtures/out.json")).unwrap();
    std::fs::write(folder.join("fixtures/in.json"), fixture("another reason")).unwrap();
    let out = binary().args(["plugin", "test", "--update"]).arg(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains("the skip \"another reason\"") && said.contains("leads out"), "{said}");
    assert!(std::fs::read_to_string(&outside).unwrap().contains("another reason"));
    assert!(!std::fs::read_to_string(folder.join("fixtures/in.json")).unwrap().contains("another reason"));
}
