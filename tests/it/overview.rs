//! `GET /v1/admin/overview`, `/v1/admin/settings` and `/v1/admin/nodes`, and the console's pages that show them.

use serde_json::{Value, json};

use crate::harness::{Browser, Server, Setup, task, until};

/// A plugin folder that is refused.
fn broken(setup: &Setup, name: &str) {
    let folder = setup.plugins.join(name);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("plugin.toml"), "name = 7\n").unwrap();
}

fn sum(overview: &Value, status: &str) -> u64 {
    overview["buckets"].as_array().unwrap().iter().filter_map(|it| it["events"][status].as_u64()).sum()
}

fn overview(server: &Server, query: &str) -> Value {
    server.get(&format!("/v1/admin/overview{query}")).expect(200).json()
}

fn kinds(overview: &Value) -> Vec<String> {
    overview["attention"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect()
}

/// An admin decides by these numbers whether something is wrong.
#[test]
fn the_overview_counts_what_arrived_and_says_what_needs_attention() {
    let setup = Setup::new();
    broken(&setup, "broken");
    let server = setup.start();
    server.post("/v1/tasks", &task()).expect(201);
    server.post("/v1/tasks", &task()).expect(201);
    server.post("/v1/tasks", &json!({"title": "t"})).expect(422);
    for (window, buckets, seconds) in [("1h", 60, 60), ("24h", 96, 900), ("7d", 84, 7200)] {
        let it = overview(&server, &format!("?window={window}"));
        assert_eq!(it["window"], window);
        assert_eq!((it["buckets"].as_array().unwrap().len(), it["bucket_seconds"].as_u64()), (buckets, Some(seconds)));
        assert_eq!((sum(&it, "stored"), sum(&it, "quarantined")), (2, 1), "{window}");
        let tasks: u64 = it["buckets"].as_array().unwrap().iter().filter_map(|it| it["tasks"].as_u64()).sum();
        assert_eq!(tasks, 2);
        assert_eq!(it["complete_since"], Value::Null);
        let direct = it["integrations"].as_array().unwrap().iter().find(|it| it["name"] == "tasks").unwrap();
        assert_eq!((&direct["deliveries"], &direct["quarantined"]), (&json!(3), &json!(1)));
        assert!(direct["last_delivery_at"].is_string());
        let served = it["served"].as_array().unwrap();
        assert_eq!(served.iter().filter_map(|it| it["requests"].as_u64()).sum::<u64>(), 3);
        assert_eq!(served.iter().filter_map(|it| it["refused"].as_u64()).sum::<u64>(), 1);
        assert!(served.iter().any(|it| it["p99_ms"].as_f64().is_some_and(|it| it > 0.0)));
    }
    let it = overview(&server, "");
    let quarantine = it["attention"].as_array().unwrap().iter().find(|it| it["kind"] == "quarantine").unwrap();
    assert!(quarantine["message"].as_str().unwrap().contains("1 delivery was quarantined"), "{quarantine}");
    assert!(quarantine["message"].as_str().unwrap().contains("of tasks"), "the reason is named: {quarantine}");
    // A refused folder without a company concerns the operator alone.
    assert!(!kinds(&it).contains(&"plugin_refused".to_owned()));
    let operator = setup.operator();
    let ask = |path: &str| server.send_as("GET", path, &[("x-api-key", &operator)], b"");
    let all = ask("/v1/admin/overview").expect(200).json();
    assert_eq!(all["attention"][0]["kind"], "plugin_refused", "the most urgent first: {}", all["attention"]);
    assert_eq!(sum(&all, "stored"), 2);
    let other = ask("/v1/admin/overview?company_id=other").expect(200).json();
    assert_eq!((sum(&other, "stored"), &other["company_id"]), (0, &json!("other")));
    server.get("/v1/admin/overview?company_id=other").expect(403);
    server.get("/v1/admin/overview?window=2h").expect(422);
}

/// Counts must be the same after a restart, when they are read from the journal.
#[test]
fn counts_are_there_after_a_restart() {
    let setup = Setup::new();
    let server = setup.start();
    server.post("/v1/tasks", &task()).expect(201);
    let wrong = server.post("/v1/tasks", &json!({"title": "t"})).expect(422);
    server.stop();
    let server = setup.start();
    server.post("/v1/tasks", &task()).expect(201);
    until("everything is counted", || overview(&server, "")["complete_since"].is_null());
    let it = overview(&server, "");
    assert_eq!((sum(&it, "stored"), sum(&it, "quarantined")), (2, 1));
    // A replay that fails again counts no second event.
    server.post(&format!("/v1/events/{}/replay", wrong.header("x-event-id")), &json!({}));
    let it = overview(&server, "");
    assert_eq!((sum(&it, "stored"), sum(&it, "quarantined")), (2, 1));
}

/// Settings concern every company, and secrets nobody.
#[test]
fn the_operator_alone_sees_settings_without_secrets_and_servers() {
    let token = "a-token-of-metrics-0123456789";
    let setup = Setup::new().config("[limits]\nqueue = 77\n").env("HOOKMILL_METRICS_TOKEN", token);
    let server = setup.start();
    let operator = setup.operator();
    let ask = |path: &str| server.send_as("GET", path, &[("x-api-key", &operator)], b"");
    let settings = ask("/v1/admin/settings").expect(200);
    assert!(!settings.text.contains(token) && !settings.text.contains(crate::harness::KEY));
    let list = settings.json()["data"].as_array().unwrap().clone();
    let of = |name: &str| list.iter().find(|it| it["name"] == name).unwrap_or_else(|| panic!("{name}")).clone();
    assert_eq!((&of("limits.queue")["value"], &of("limits.queue")["is_default"]), (&json!("77"), &json!(false)));
    assert_eq!(of("HOOKMILL_METRICS_TOKEN")["value"], "(set)");
    let nodes = ask("/v1/admin/nodes").expect(200).json();
    assert!(nodes["data"].as_array().unwrap().iter().any(|it| it["is_this"] == true), "{nodes}");
    for path in ["/v1/admin/settings", "/v1/admin/nodes"] {
        server.get(path).expect(403);
    }
}

/// The first view must be there before anybody has time to wonder.
#[test]
fn the_overview_page_shows_charts_and_is_small() {
    let setup = Setup::new();
    let server = setup.start();
    let browser = Browser::with_key(&server, crate::harness::KEY);
    assert!(browser.get("/console").expect(200).text.contains("Connect a sender"), "a fresh server says what to do");
    for _ in 0..20 {
        server.post("/v1/tasks", &task()).expect(201);
    }
    server.post("/v1/tasks", &json!({"title": "t"})).expect(422);
    // Counts of a database are a few seconds old.
    let shows = |text: &str| browser.get("/console").expect(200).text.contains(text);
    until("what was quarantined is shown", || shows("quarantined in the last 24 hours"));
    for window in ["1h", "24h", "7d"] {
        let page = browser.get(&format!("/console?window={window}")).expect(200).text;
        assert!(page.contains("Needs attention") && page.contains("quarantined in the last 24 hours"), "{page}");
        assert_eq!(page.matches("<figure").count(), 6);
        assert!(!page.contains(" style=") && !page.contains("NaN"));
    }
    let small = browser.send("GET", "/console", "", &[("accept-encoding", "identity")]);
    assert!(small.text.len() < 60_000, "{} bytes", small.text.len());
    let operator = Browser::with_key(&server, &setup.operator());
    for page in ["/console", "/console?company=company-1", "/console/system", "/console/audit", "/console/keys"] {
        operator.get(page).expect(200);
    }
    assert!(operator.get("/console/system").text.contains("limits.concurrency"));
}

/// A key that is created twice by a reload, or that is in a URL, is a key that somebody else has.
#[test]
fn a_key_is_created_once_shown_once_and_revoked() {
    let setup = Setup::new();
    let server = setup.start();
    let mut browser = Browser::with_key(&server, crate::harness::KEY);
    let once = "0123456789-form";
    let fields = [("label", "ward <3>"), ("scopes", "tasks:read"), ("scopes", "hooks:write"), ("once", once)];
    let made = browser.post("/console/keys", &fields).expect(200);
    assert_eq!(made.header("cache-control"), "no-store");
    let key = made.text.split("hm_").nth(1).and_then(|it| it.split('<').next()).map(|it| format!("hm_{it}")).unwrap();
    server.send_as("GET", "/v1/me", &[("x-api-key", &key)], b"").expect(200);
    let again = browser.post("/console/keys", &fields).expect(200);
    assert!(!again.text.contains("hm_") && again.text.contains("sent before"), "{}", again.text);
    let list = browser.get("/console/keys").expect(200).text;
    assert_eq!(list.matches("ward &lt;3&gt;").count(), list.matches("Revoke ward &lt;3&gt;").count() + 1, "{list}");
    assert!(!list.contains(&key));
    let keys = server.get("/v1/admin/keys").expect(200).json();
    let made: Vec<_> = keys["data"].as_array().unwrap().iter().filter(|it| it["label"] == "ward <3>").collect();
    assert_eq!(made.len(), 1);
    let id = made[0]["id"].as_str().unwrap();
    browser.get(&format!("/console/keys/{id}/revoke")).expect(200);
    server.send_as("GET", "/v1/me", &[("x-api-key", &key)], b"").expect(200);
    let reply = browser.post(&format!("/console/keys/{id}/revoke"), &[]).expect(303);
    assert_eq!(reply.header("location"), format!("/console/keys#{id}"));
    server.send_as("GET", "/v1/me", &[("x-api-key", &key)], b"").expect(401);
    browser.get("/console/keys/key_none/revoke").expect(404);
    // What is wrong is shown with the form, which keeps what was entered.
    let wrong = browser.post("/console/keys", &[("label", "kept"), ("once", "0123456789-other")]);
    assert!((400..500).contains(&wrong.status) && wrong.text.contains("value=\"kept\""), "{}", wrong.text);
    assert!(browser.get("/console/audit").expect(200).text.contains("key.revoked"));
}

/// Lists have filters in their URL, pages and an end.
#[test]
fn tasks_are_filtered_paged_and_shown_with_their_origin() {
    let setup = Setup::new();
    let server = setup.start();
    let key = setup.key("company-1", &["tasks:read", "admin"]);
    let browser = Browser::with_key(&server, &key);
    assert!(browser.get("/console/tasks").expect(200).text.contains("No tasks yet"));
    let mut strange = task();
    strange["title"] = json!("<script>alert(1)</script> \u{202e}x");
    strange["patient_id"] = json!("p-strange");
    let made = server.post("/v1/tasks", &strange).expect(201).json();
    let id = made["id"].as_str().unwrap().to_owned();
    for _ in 0..60 {
        server.post("/v1/tasks", &task()).expect(201);
    }
    let page = browser.get("/console/tasks").expect(200).text;
    let older = page.split("rel=\"next\" href=\"").nth(1).and_then(|it| it.split('"').next()).unwrap();
    let older = browser.get(&older.replace("&amp;", "&")).expect(200).text;
    assert!(older.contains(&id) && !older.contains("rel=\"next\""));
    let found = browser.get("/console/tasks?patient_id=p-strange").expect(200).text;
    assert!(found.contains(&id) && found.contains("value=\"p-strange\"") && !found.contains("<script>alert"));
    assert!(!found.contains('\u{202e}'), "a character that turns text around is shown as one");
    assert!(browser.get("/console/tasks?patient_id=nobody").expect(200).text.contains("No task matches"));
    assert!(browser.get("/console/tasks?updated_since=soon").expect(200).text.contains("updated_since"));
    let shown = browser.get(&format!("/console/tasks/{id}")).expect(200).text;
    assert!(shown.contains("/console/events/") && shown.contains("p-strange"), "{shown}");
    browser.get("/console/tasks/none").expect(404);
}
