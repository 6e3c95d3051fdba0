//! Plugins that are published in the database, and activated on all servers.

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use hookmill::integration::{Bundle, bundle};
use hookmill::model::audit::{Action, COMMAND_LINE, Entry};
use hookmill::store::postgres::{DatabaseUrl, PostgresOptions};
use hookmill::store::{NewBundle, Postgres, Shareable as _};
use hookmill::system::folder::Folder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::guests::says;
use crate::harness::{Cluster, Database, Server, Setup, binary, postgres_or_skip, until};

const FROM_DATABASE: &str = "[plugins]\nsource = \"database\"\n";

/// An author's machine, on which no server runs.
struct Author<'a> {
    dir: TempDir,
    database: &'a Database<'a>,
}

impl<'a> Author<'a> {
    fn new(database: &'a Database<'a>) -> Self {
        Self { dir: TempDir::new().unwrap(), database }
    }

    fn command(&self, args: &[&str]) -> Output {
        let mut command = binary();
        command.arg("plugin").args(args).env("USER", "ada").current_dir(&self.dir);
        command.env("HOOKMILL_DATABASE_URL", self.database.url()).env("XDG_CACHE_HOME", self.dir.path().join("cache"));
        command.output().unwrap()
    }

    /// Runs a command that must succeed.
    #[track_caller]
    fn run(&self, args: &[&str]) -> String {
        let output = self.command(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        said(&output)
    }

    /// The folder of a version of `guest`, which skips everything and gives its version as the reason. Its fixture expects
    /// this reason.
    fn folder(&self, version: &str, expected: &str) -> PathBuf {
        let folder = self.dir.path().join("guest");
        let _may_not_exist = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("fixtures")).unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
        let manifest = format!(
            "name = \"guest\"\nversion = \"{version}\"\nmodule = \"mapper.wasm\"\nschema = \"input.schema.json\"\ncompany_id = \"company-1\"\n[auth]\nscheme = \"api-key\"\n"
        );
        write("plugin.toml", manifest.as_bytes());
        write("mapper.wasm", &wat::parse_str(says(&json!({ "skip": version }).to_string())).unwrap());
        write("input.schema.json", br#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object"}"#);
        write("README.md", b"Not part of the bundle.");
        let fixture =
            json!({"name": "one", "received_at": "2026-11-24T08:00:00Z", "payload": {}, "expect": {"skip": expected}});
        write("fixtures/one.json", fixture.to_string().as_bytes());
        folder
    }

    fn publish(&self, version: &str) -> String {
        self.folder(version, version);
        self.run(&["publish", "guest"])
    }

    /// Publishes a version that works on its author's machine only: on servers it fails its fixture.
    fn publish_what_fails(&self, version: &str) {
        let folder = Folder::open(&self.folder(version, "something else")).unwrap();
        let bytes = Bundle::of(&folder, 1 << 20).unwrap().encode();
        let store = Postgres::open(PostgresOptions::new(DatabaseUrl::parse(&self.database.url()).unwrap())).unwrap();
        let new = NewBundle {
            name: "guest".into(),
            version: version.into(),
            company_id: "company-1".into(),
            digest: bundle::digest(&bytes),
            publisher: "ada".into(),
            bytes,
        };
        let entry = Entry::new(COMMAND_LINE, Action::PluginPublished, "guest", chrono::Utc::now());
        store.cluster().unwrap().bundles().publish(new, entry).unwrap();
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", said(output)))
}

/// Two servers whose plugins come from the database.
fn two(database: &Database<'_>) -> (Setup, Setup) {
    let setup = Setup::new().on(database).config(FROM_DATABASE);
    let other = setup.another();
    (setup, other)
}

/// The version of `guest` that answers a delivery.
fn version(server: &Server) -> Option<String> {
    let reply = server.post("/v1/hooks/guest", &json!({}));
    (reply.status == 200).then(|| reply.json()["reason"].as_str().unwrap().to_owned())
}

/// `guest` in `GET /v1/admin/plugins`, as the operator sees it.
fn shown(setup: &Setup, server: &Server) -> Value {
    let list = server.send_as("GET", "/v1/admin/plugins", &[("x-api-key", &setup.operator())], b"").expect(200).json();
    list["data"].as_array().unwrap().iter().find(|it| it["name"] == "guest").cloned().unwrap_or_default()
}

/// An admin who activates a version expects that every server runs it two seconds later, and that a rollback is as fast.
#[test]
fn an_activated_version_runs_on_all_servers_within_two_seconds() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    let (first, second) = two(&database);
    let servers = [first.start(), second.start()];
    let text = author.publish("1.0.0");
    assert!(text.contains("published guest 1.0.0: 4 files"), "{text}");
    assert!(servers.iter().all(|it| version(it).is_none()), "a published version runs only when it is activated");

    let text = author.run(&["activate", "guest", "1.0.0"]);
    assert_eq!(text.matches(": runs 1.0.0").count(), 2, "{text}");
    assert!(servers.iter().all(|it| version(it).as_deref() == Some("1.0.0")));

    author.publish("1.1.0");
    let store = Postgres::open(PostgresOptions::new(DatabaseUrl::parse(&database.url()).unwrap())).unwrap();
    let entry = Entry::new(COMMAND_LINE, Action::PluginActivated, "guest", chrono::Utc::now());
    let started = Instant::now();
    store.cluster().unwrap().bundles().activate("guest", "1.1.0", "ada", entry).unwrap().unwrap();
    until("both run it", || servers.iter().all(|it| version(it).as_deref() == Some("1.1.0")));
    println!("both servers run it after {} ms", started.elapsed().as_millis());

    let output = author.command(&["rollback", "guest", "--json"]);
    let answer = json_of(&output);
    assert_eq!((answer["version"].as_str(), answer["previous"].as_str()), (Some("1.0.0"), Some("1.1.0")), "{answer}");
    let states: Vec<_> = answer["nodes"].as_array().unwrap().iter().map(|it| it["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["running", "running"], "{answer}");
    assert!(servers.iter().all(|it| version(it).as_deref() == Some("1.0.0")));

    let all = json_of(&author.command(&["versions", "guest", "--json"]));
    let all = all["versions"].as_array().unwrap().to_vec();
    let of = |it: &Value| {
        (it["version"].clone(), it["is_active"].clone(), it["is_previous"].clone(), it["publisher"].clone())
    };
    let expected = |version: &str, active: bool| (json!(version), json!(active), json!(!active), json!("ada"));
    assert_eq!(all.iter().map(of).collect::<Vec<_>>(), [expected("1.1.0", false), expected("1.0.0", true)]);
    let audit = servers[0].get("/v1/admin/audit?limit=100").expect(200).json();
    let actions: Vec<_> = audit["data"].as_array().unwrap().iter().map(|it| it["action"].as_str().unwrap()).collect();
    for (action, times) in [("plugin.published", 2), ("plugin.activated", 2), ("plugin.rolled_back", 1)] {
        assert_eq!(actions.iter().filter(|it| **it == action).count(), times, "{audit}");
    }
    // What is the same everywhere is not shown as differing.
    until("no server differs", || first.ready(&servers[0]).json()["differing_plugins"] == 0);
    assert!(shown(&first, &servers[0])["nodes"].is_null());
}

/// A script is published with the files that it imports, and a bundle without them would fail on every server.
#[test]
fn a_script_is_published_with_its_imports_and_runs_on_all_servers() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    let (first, second) = two(&database);
    let servers = [first.start(), second.start()];
    let folder = author.folder("1.0.0", "from words.js");
    std::fs::remove_file(folder.join("mapper.wasm")).unwrap();
    let manifest = std::fs::read_to_string(folder.join("plugin.toml")).unwrap();
    let manifest = manifest.replace("module = \"mapper.wasm\"", "script = \"mapper.js\"");
    std::fs::write(folder.join("plugin.toml"), manifest).unwrap();
    let script = "import { said } from './words.js'; export default (event, { skip }) => skip(said);";
    std::fs::write(folder.join("mapper.js"), script).unwrap();
    std::fs::write(folder.join("words.js"), "export const said = 'from words.js';").unwrap();
    let text = author.run(&["publish", "guest"]);
    assert!(text.contains("published guest 1.0.0: 5 files"), "{text}");
    author.run(&["activate", "guest", "1.0.0"]);
    assert!(servers.iter().all(|it| version(it).as_deref() == Some("from words.js")));
}

/// A version that works on its author's machine only would otherwise take the integration down, on all servers at once.
#[test]
fn a_version_that_fails_its_fixtures_leaves_the_one_before_live_and_the_admin_sees_why() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    let (first, second) = two(&database);
    let servers = [first.start(), second.start()];
    author.publish("1.0.0");
    author.run(&["activate", "guest", "1.0.0"]);
    author.publish_what_fails("2.0.0");
    let output = author.command(&["activate", "guest", "2.0.0"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches("refused 2.0.0, and runs 1.0.0: ").count(), 2, "{text}");
    assert!(text.contains("fixtures/one.json: the fixture failed"), "{text}");
    assert!(text.contains("2 of 2 servers do not run guest 2.0.0"), "{text}");
    assert!(servers.iter().all(|it| version(it).as_deref() == Some("1.0.0")));
    let it = shown(&first, &servers[0]);
    assert_eq!((&it["state"], &it["version"]), (&json!("outdated"), &json!("1.0.0")), "{it}");
    author.run(&["rollback", "guest"]);
    until("nothing is refused", || shown(&first, &servers[0])["state"] == "live");
    // What fails its fixtures at its author is not published.
    author.folder("3.0.0", "something else");
    let output = author.command(&["publish", "guest"]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("nothing was published") && text.contains("failed"), "{text}");
    assert_eq!(database.sql("SELECT count(*) FROM hookmill.plugin_bundles WHERE version = '3.0.0'"), "0");
}

/// Two servers would run different code under one version.
#[test]
fn a_published_version_is_never_changed() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    author.publish("1.0.0");
    let digest = || database.sql("SELECT digest FROM hookmill.plugin_bundles");
    let first = digest();
    let text = author.publish("1.0.0");
    assert!(text.contains("was published before with the same content"), "{text}");
    std::fs::write(author.folder("1.0.0", "1.0.0").join("fixtures/two.json"), {
        json!({"name": "two", "received_at": "2026-11-24T08:00:00Z", "payload": {"a": 1}, "expect": {"skip": "1.0.0"}})
            .to_string()
    })
    .unwrap();
    let output = author.command(&["publish", "guest"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("published before with other content") && text.contains("by ada"), "{text}");
    assert!(text.contains("raise `version` in plugin.toml"), "{text}");
    assert_eq!(digest(), first);
    let audit = "SELECT count(*) FROM hookmill.audit WHERE document LIKE '%plugin.published%'";
    assert_eq!(database.sql(audit), "1", "what changed nothing is not noted");
}

/// A user of the database, or a broken disk, would otherwise put code on every server.
#[test]
fn a_bundle_that_was_changed_in_the_database_is_refused() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    let (first, _) = two(&database);
    let server = first.start();
    author.publish("1.0.0");
    author.run(&["activate", "guest", "1.0.0"]);
    author.publish("2.0.0");
    database.sql("UPDATE hookmill.plugin_bundles SET bundle = (SELECT bundle FROM hookmill.plugin_bundles WHERE version = '1.0.0') WHERE version = '2.0.0'");
    let output = author.command(&["activate", "guest", "2.0.0"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let why = "version 2.0.0 in the database was changed after it was published, or is damaged";
    assert!(text.contains(why), "{text}");
    assert_eq!(version(&server).as_deref(), Some("1.0.0"));
    let log = server.log_so_far();
    assert!(log.lines().any(|it| it.contains("ERROR") && it.contains("guest") && it.contains(why)), "{log}");
    assert_eq!(shown(&first, &server)["state"], "outdated");
    // The version before is unchanged in the folder, and is live without a complaint again.
    author.run(&["rollback", "guest"]);
    assert_eq!(shown(&first, &server)["state"], "live");
}

/// A server that was down, or is new, would otherwise run what was active when it stopped, or nothing.
#[test]
fn a_server_that_was_down_during_an_activation_comes_up_with_the_active_version() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    let (first, second) = two(&database);
    let servers = [first.start(), second.start()];
    author.publish("1.0.0");
    author.run(&["activate", "guest", "1.0.0"]);
    let [server, down] = servers;
    down.stop();
    author.publish("2.0.0");
    let text = author.run(&["activate", "guest", "2.0.0"]);
    assert_eq!(text.matches(": runs 2.0.0").count(), 1, "{text}");
    let up = second.start();
    let new = first.another().start();
    for it in [&server, &up, &new] {
        assert_eq!(version(it).as_deref(), Some("2.0.0"));
    }
    // What someone changes in the server's own folder is replaced at its next start.
    let folder = second.data.join("plugins-active/guest");
    up.stop();
    std::fs::write(folder.join("fixtures/one.json"), "{}").unwrap();
    let up = second.start();
    assert_eq!(version(&up).as_deref(), Some("2.0.0"));
}

/// Deliveries are answered differently, depending on which server gets them; nobody would notice.
#[test]
fn servers_that_run_different_versions_are_shown() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let skips = |reason: &str| says(&json!({ "skip": reason }).to_string());
    // Also with plugins in folders, which is the default.
    let first = Setup::new().plugin("guest", "", &skips("a")).on(&database);
    let second = Setup::new().plugin("guest", "", &skips("b")).on(&database);
    let (one, two) = (first.start(), second.start());
    until("both servers show it", || {
        [(&first, &one), (&second, &two)].iter().all(|(setup, it)| setup.ready(it).json()["differing_plugins"] == 1)
    });
    assert_eq!(first.ready(&one).json()["names"]["differing_plugins"], json!(["guest"]));
    let public = one.send_as("GET", "/readyz", &[], b"").expect(200).json();
    assert!(public["differing_plugins"] == 1 && public["names"].is_null(), "{public}");
    let it = shown(&first, &one);
    let nodes = it["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2, "{it}");
    assert!(nodes[0]["digest"] != nodes[1]["digest"] && nodes.iter().all(|it| it["version"] == "1"), "{it}");
    assert_eq!(nodes.iter().filter(|it| it["is_this"] == true).count(), 1, "{it}");
    // A folder that only one server has.
    let second = second.plugin("only-here", "", &skips("c"));
    until("the other folder", || first.ready(&one).json()["differing_plugins"] == 2);
    let list = one.send_as("GET", "/v1/admin/plugins", &[("x-api-key", &first.operator())], b"").json();
    assert!(
        list["data"].as_array().unwrap().iter().any(|it| it["name"] == "only-here" && it["state"] == "elsewhere"),
        "{list}"
    );
    std::fs::remove_dir_all(second.plugins.join("only-here")).unwrap();
    std::fs::copy(first.plugins.join("guest/mapper.wasm"), second.plugins.join("guest/mapper.wasm")).unwrap();
    until("they are the same again", || first.ready(&one).json()["differing_plugins"] == 0);
    assert!(shown(&first, &one)["nodes"].is_null());
    // An activation says that these servers do not take part.
    let author = Author::new(&database);
    author.publish("1.0.0");
    let output = author.command(&["activate", "guest", "1.0.0"]);
    let text = said(&output);
    assert!(!output.status.success() && text.matches("from its plugins folder").count() == 2, "{text}");
}

/// An activation that nobody can carry out, or a lost notification, must not be silent.
#[test]
fn a_server_that_hangs_during_an_activation_is_shown_and_follows_later() {
    let cluster = postgres_or_skip!(Cluster::start_private(false));
    let database = cluster.database();
    let author = Author::new(&database);
    let (first, second) = two(&database);
    let servers = [first.start(), second.start()];
    author.publish("1.0.0");
    author.run(&["activate", "guest", "1.0.0"]);
    author.publish("2.0.0");
    servers[1].signal("STOP");
    let output = author.command(&["activate", "guest", "2.0.0", "--wait", "2"]);
    let text = said(&output);
    assert!(!output.status.success() && text.contains("has not tried it within 2 s, and runs 1.0.0"), "{text}");
    assert_eq!(version(&servers[0]).as_deref(), Some("2.0.0"));
    cluster.restart();
    servers[1].signal("CONT");
    until("it follows", || version(&servers[1]).as_deref() == Some("2.0.0"));
}

#[test]
fn mistakes_are_explained() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    let failed = |args: &[&str]| {
        let output = author.command(args);
        assert!(!output.status.success(), "{args:?}");
        said(&output)
    };
    assert!(failed(&["activate", "guest", "1.0.0"]).contains("no version of guest was published"));
    author.publish("1.0.0");
    assert!(failed(&["activate", "guest", "1.0.1"]).contains("published versions: 1.0.0"));
    assert!(failed(&["rollback", "guest"]).contains("no other version of guest was active before"));
    let text = author.run(&["activate", "guest", "1.0.0"]);
    assert!(text.contains("no server runs on this database"), "{text}");
    assert!(failed(&["rollback", "guest"]).contains("no other version of guest was active before"));
    let output = binary().args(["plugin", "versions"]).current_dir(&author.dir).output().unwrap();
    assert!(output.status.code() == Some(2) && said(&output).contains("HOOKMILL_DATABASE_URL"), "{}", said(&output));
    let without = Setup::new().config(FROM_DATABASE);
    let mut command = without.command();
    let output = command.env_remove("HOOKMILL_DATABASE_URL").output().unwrap();
    assert!(output.status.code() == Some(2) && said(&output).contains("plugins.source"), "{}", said(&output));
    let started = Instant::now();
    author.run(&["activate", "guest", "1.0.0", "--wait", "60"]);
    assert!(started.elapsed() < Duration::from_secs(60), "nothing to wait for");
}

/// A first version that creates wrong tasks must be stopped somehow: there is none to go back to.
#[test]
fn a_deactivated_plugin_runs_nowhere_and_can_be_activated_again() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    let (first, second) = two(&database);
    let servers = [first.start(), second.start()];
    author.publish("1.0.0");
    author.run(&["activate", "guest", "1.0.0"]);
    let text = author.run(&["deactivate", "guest"]);
    assert_eq!(text, "guest is not active any more, before 1.0.0\n");
    assert!(servers.iter().all(|it| it.post("/v1/hooks/guest", &json!({})).status == 404));
    let again = author.command(&["deactivate", "guest"]);
    assert_eq!((again.status.code(), said(&again).contains("is not active")), (Some(1), true), "{}", said(&again));
    author.run(&["activate", "guest", "1.0.0"]);
    assert!(servers.iter().all(|it| version(it).as_deref() == Some("1.0.0")));
    let log = database.sql("SELECT document::json ->> 'action' FROM hookmill.audit ORDER BY id DESC");
    let switched: Vec<_> = log.lines().filter(|it| it.ends_with("activated")).take(2).collect();
    assert_eq!(switched, ["plugin.activated", "plugin.deactivated"], "{log}");
}

/// Behind a load balancer, a 404 from one server makes senders give up an integration that the others run.
#[test]
fn a_server_that_refuses_the_active_version_sends_senders_to_another() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    author.publish_what_fails("1.0.0");
    author.command(&["activate", "guest", "1.0.0", "--wait", "0"]);
    let setup = Setup::new().on(&database).config(FROM_DATABASE);
    let server = setup.start();
    until("the version is refused", || shown(&setup, &server)["state"] == "refused");
    let reply = server.post("/v1/hooks/guest", &json!({})).expect(503);
    assert_eq!((reply.code(), !reply.header("retry-after").is_empty()), ("plugin_loading".into(), true));
    assert_eq!(server.post("/v1/hooks/other", &json!({})).status, 404);
}

/// A change through the API is a version in the database, so that every server runs it.
#[test]
fn a_script_and_a_fixture_that_are_saved_on_one_server_go_live_on_both() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    let text = "export default (event, { skip }) => skip(`one ${event.a}`);\n";
    let made = Setup::new().script("guest", text);
    std::fs::rename(made.plugins.join("guest"), author.dir.path().join("guest")).unwrap();
    author.run(&["publish", "guest"]);
    author.run(&["activate", "guest", "1"]);
    let (first, second) = two(&database);
    let (first, second) = (first.start(), second.start());
    let reason = |server: &Server| server.post("/v1/hooks/guest", &json!({"a": 1})).json()["reason"].clone();
    until("both run the first version", || reason(&first) == "one 1" && reason(&second) == "one 1");

    let of = "/v1/admin/plugins/guest";
    let saved = first.post(&format!("{of}/fixtures"), &json!({"name": "a", "payload": {"a": 2}})).expect(201).json();
    assert_eq!(saved["expect"], json!({"skip": "one 2"}));
    let script = first.get(&format!("{of}/script")).expect(200).json();
    assert_eq!((&script["source"], &script["version"]), (&json!("database"), &json!("2")));
    let put = |text: &str| {
        let body = json!({"files": {"mapper.js": text}, "base_digest": script["digest"]}).to_string();
        first.send("PUT", &format!("{of}/script"), &[("content-type", "application/json")], body.as_bytes())
    };
    assert_eq!(put(&text.replace("one", "two")).expect(422).code(), "fixture_failed");
    let better = text.replace("=> skip", "=> event.a === 3 ? skip('three') : skip");
    assert_eq!(put(&better).expect(200).json()["version"], "3");
    let three = |server: &Server| server.post("/v1/hooks/guest", &json!({"a": 3})).json()["reason"].clone();
    assert_eq!(three(&first), "three");
    until("the other server runs it too", || three(&second) == "three");

    let versions = second.get(&format!("{of}/script/versions")).expect(200).json()["data"].clone();
    let listed: Vec<_> = versions.as_array().unwrap().iter().map(|it| it["version"].as_str().unwrap()).collect();
    assert_eq!((listed, &versions[0]["is_current"]), (vec!["3", "2", "1"], &json!(true)), "{versions}");
    let old = format!("{of}/script/versions/{}", versions[2]["digest"].as_str().unwrap());
    assert_eq!(second.get(&old).expect(200).json()["files"], json!({"mapper.js": text}));
    let restored = second.post(&format!("{old}/restore"), &Value::Null).expect(200).json();
    assert_eq!(restored["version"], "4", "a published version is never changed");
    until("both are back", || three(&first) == "one 3" && three(&second) == "one 3");
}

/// `[task]` is a part of plugin.toml, which gets the new version's number in the same step.
#[test]
fn expressions_that_are_saved_are_a_published_version() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    let rest = "[defaults]\nassigned_user_ids = [\"user_1\"]\ncreated_by_id = \"test\"\ndeadline = \"2d\"\n";
    let task = "[task]\ntitle = 'one'\ndescription = 'x'\n";
    let made = Setup::new().mapping("guest", &format!("{rest}{task}"), &[]);
    std::fs::rename(made.plugins.join("guest"), author.dir.path().join("guest")).unwrap();
    author.run(&["publish", "guest"]);
    author.run(&["activate", "guest", "1"]);
    let server = Setup::new().on(&database).config(FROM_DATABASE).start();
    let title = || server.post("/v1/hooks/guest", &json!({})).json()["title"].clone();
    until("it runs", || title() == "one");
    let of = "/v1/admin/plugins/guest/script";
    let script = server.get(of).expect(200).json();
    assert_eq!((&script["version"], &script["files"]), (&json!("1"), &json!({"plugin.toml#task": task})));
    let body = json!({"files": {"plugin.toml#task": task.replace("one", "two")}, "base_digest": script["digest"]});
    let saved = server.send("PUT", of, &[("content-type", "application/json")], body.to_string().as_bytes());
    assert_eq!((saved.expect(200).json()["version"].clone(), title()), (json!("2"), json!("two")));
    let versions = server.get(&format!("{of}/versions")).expect(200).json()["data"].clone();
    let old = format!("{of}/versions/{}", versions[1]["digest"].as_str().unwrap());
    assert_eq!(server.get(&old).expect(200).json()["files"], json!({"plugin.toml#task": task}));
    let restored = server.post(&format!("{old}/restore"), &Value::Null).expect(200).json();
    assert_eq!((&restored["version"], title()), (&json!("3"), json!("one")));
}

/// Otherwise of two admins on two servers, the slower one overwrites the other's version unseen.
#[test]
fn a_version_that_follows_another_one_than_the_active_one_is_not_activated() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let author = Author::new(&database);
    ["1.0.0", "1.1.0", "1.2.0"].iter().for_each(|it| drop(author.publish(it)));
    author.run(&["activate", "guest", "1.0.0"]);
    let store = Postgres::open(PostgresOptions::new(DatabaseUrl::parse(&database.url()).unwrap())).unwrap();
    let bundles = store.cluster().unwrap().bundles();
    let after = |version: &str, before: &str| {
        let entry = Entry::new(COMMAND_LINE, Action::PluginActivated, "guest", chrono::Utc::now());
        bundles.activate_after("guest", version, before, "ada", entry).unwrap().map(|it| it.version)
    };
    assert_eq!(after("1.1.0", "1.0.0").as_deref(), Some("1.1.0"));
    assert_eq!(after("1.2.0", "1.0.0"), None);
    assert_eq!(bundles.active().unwrap().0[0].version, "1.1.0");
}
