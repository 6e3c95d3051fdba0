//! The console: sessions, and what protects them. tests/console has the tests in a real browser.

use serde_json::json;

use crate::harness::{Browser, KEY, Setup, postgres_or_skip, task, until};

/// A visitor who has not logged in must see nothing, and come back to the page that was asked for.
#[test]
fn pages_are_for_visitors_who_have_logged_in() {
    let server = Setup::new().start();
    let mut browser = Browser::new(&server);
    let reply = browser.get("/console/help?x=1");
    assert_eq!(reply.status, 200);
    let reply = browser.get("/console?window=7d").expect(303);
    assert_eq!(reply.header("location"), "/console/login?next=%2Fconsole%3Fwindow%3D7d");
    browser.post("/console/login", &[("key", "hm_not_a_key")]).expect(401);
    assert_eq!(browser.cookie, "");
    let reply = browser.post("/console/login", &[("key", KEY), ("next", "/console?window=7d")]).expect(303);
    assert_eq!(reply.header("location"), "/console?window=7d");
    browser.get("/console").expect(200);
}

/// A page that another site can frame, or in which a payload can run a script, gives it the rights of an admin.
#[test]
fn every_response_forbids_scripts_frames_and_connections_of_others() {
    let server = Setup::new().start();
    let browser = Browser::with_key(&server, KEY);
    for path in ["/console", "/console/login", "/console/none", "/console/help", "/console/assets/x/console.js"] {
        let reply = browser.get(path);
        let policy = reply.header("content-security-policy");
        for part in ["default-src 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        let html = reply.text;
        assert!(!html.contains(" style=") && !html.contains(" onclick="), "{path}");
    }
}

/// Else a cookie that somebody has copied outlives the visit.
#[test]
fn a_session_ends_with_its_key_and_its_log_out() {
    let setup = Setup::new();
    let server = setup.start();
    let asked = json!({"label": "x", "company_id": "company-1", "scopes": ["tasks:read"]});
    let made = server.post("/v1/admin/keys", &asked).expect(201).json();
    let (key, id) = (made["key"].as_str().unwrap(), made["details"]["id"].as_str().unwrap());
    let browser = Browser::with_key(&server, key);
    browser.get("/console").expect(200);
    server.send("DELETE", &format!("/v1/admin/keys/{id}"), &[], b"").expect(204);
    browser.get("/console").expect(303);

    let mut browser = Browser::with_key(&server, KEY);
    let copy = browser.cookie.clone();
    browser.post("/console/logout", &[]).expect(303);
    browser.cookie = copy;
    browser.get("/console").expect(303);
}

/// Sessions are in memory there; the documentation says so.
#[test]
fn a_restart_of_a_server_with_a_data_directory_ends_its_sessions() {
    let setup = Setup::new();
    let server = setup.start();
    let browser = Browser::with_key(&server, KEY);
    let cookie = browser.cookie.clone();
    server.stop();
    let server = setup.start();
    let mut browser = Browser::new(&server);
    browser.cookie = cookie;
    browser.get("/console").expect(303);
}

/// A session must be good at every server behind a load balancer, and end at all of them.
#[test]
fn servers_on_one_database_share_sessions() {
    let cluster = postgres_or_skip!();
    let database = cluster.database();
    let setup = Setup::new().on(&database);
    let servers = [setup.start(), setup.another().start()];
    let mut browser = Browser::with_key(&servers[0], KEY);
    browser.at(&servers[1]).get("/console").expect(200);
    let other = browser.at(&servers[1]);
    browser.post("/console/logout", &[]).expect(303);
    other.get("/console").expect(303);

    let link = servers[0].send_as("POST", "/v1/admin/console-links", &[("x-api-key", &setup.operator())], b"");
    let link = link.expect(201).json()["path"].as_str().unwrap().to_owned();
    Browser::new(&servers[1]).post(&link, &[]).expect(303);
    Browser::new(&servers[0]).post(&link, &[]).expect(401);
    assert_eq!(database.sql("SELECT count(*) FROM hookmill.console_sessions WHERE length(token) <> 32"), "0");
}

/// The console's requests have the rights of its key, and nothing more.
#[test]
fn a_page_needs_the_scopes_of_the_routes_that_it_calls() {
    let setup = Setup::new();
    let server = setup.start();
    server.post("/v1/tasks", &task()).expect(201);
    let key = setup.key("company-2", &["tasks:read"]);
    until("the key works", || server.send_as("GET", "/v1/me", &[("x-api-key", &key)], b"").status == 200);
    let browser = Browser::with_key(&server, &key);
    browser.get("/console").expect(200);
    let link = server.send("POST", "/v1/admin/console-links", &[], b"");
    assert_eq!(link.status, 403, "a link is for the operator");
}

#[test]
fn the_console_can_be_off() {
    let server = Setup::new().config("[console]\nenabled = false\n").start();
    assert_eq!(server.get("/console").status, 404);
}

/// Somebody has typed for an hour, and the plugin is gone, or their key may not: the text must be in the answer, with the error.
#[test]
fn what_was_entered_is_shown_again_with_the_error() {
    let setup = Setup::new().config("[plugins]\nsettle_ms = 50\n").script("guest", "export default () => 1;");
    let server = setup.start();
    let mut admin = Browser::with_key(&server, KEY);
    std::fs::remove_dir_all(setup.plugins.join("guest")).unwrap();
    until("the plugin is gone", || server.get("/v1/admin/plugins").json()["data"].as_array().unwrap().is_empty());
    let mut reader = Browser::with_key(&server, &setup.key("company-1", &["tasks:read"]));
    let bench = [
        ("payload", "{\"typed\":\"the payload\"}"),
        ("headers", "x-typed: a header"),
        ("file:mapper.js", "// typed <script>"),
        ("fixture", "typed-name"),
        ("replace", "yes"),
    ];
    let bench_shows = [
        "the payload",
        "x-typed: a header",
        "// typed &lt;script&gt;",
        "value=\"typed-name\"",
        "value=\"yes\" checked",
    ];
    for path in ["", "/fixture", "/script", "/script/0123/restore"] {
        let reply = admin.post(&format!("/console/bench/guest{path}"), &bench).expect(404);
        for shown in bench_shows {
            assert!(reply.text.contains(shown), "{path}: {shown}: {}", reply.text);
        }
        assert!(reply.text.contains("no plugin named") && reply.text.contains("role=\"alert\""), "{path}");
    }
    let event = "0190a000-0000-7000-8000-000000000000";
    let copy = [("body", "typed body"), ("content_type", "text/typed"), ("key", "k")];
    let reply = admin.post(&format!("/console/events/{event}/edit"), &copy).expect(404);
    assert!(reply.text.contains("typed body") && reply.text.contains("text/typed"), "{}", reply.text);
    let test = [("integration", "guest"), ("body", "{\"typed\":2}")];
    let reply = admin.post("/console/connect/github", &test).expect(404);
    assert!(reply.text.contains("role=\"alert\""), "{}", reply.text);
    let reply = reader.post("/console/connect/github", &test).expect(403);
    assert!(reply.text.contains("{&quot;typed&quot;:2}"), "{}", reply.text);
    let key = [("label", "typed label"), ("scopes", "admin"), ("timezone", "Europe/Berlin")];
    let reply = reader.post("/console/keys", &key).expect(403);
    assert!(reply.text.contains("typed label") && reply.text.contains("Europe/Berlin"), "{}", reply.text);
    let reply = reader.post("/console/erase", &[("patient_id", "typed-id")]).expect(403);
    assert!(reply.text.contains("value=\"typed-id\""), "{}", reply.text);
}

fn encoded(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Otherwise what somebody has typed for an hour is gone with their session when scripts are off; or a form that another site
/// has made up is sent.
#[test]
fn a_form_whose_session_has_ended_is_kept_and_a_person_sends_it_again() {
    let script = "export default () => ({ title: 'Made', description: 'x' });";
    let server = Setup::new().script("guest", script).start();
    let mut browser = Browser::with_key(&server, KEY);
    let origin = format!("http://{}", server.address());
    let ours: [(&str, &str); 1] = [("origin", &origin)];
    let others = [("origin", "https://example.com")];
    let old = browser.form_token();
    let form =
        encoded(&[("form_token", &old), ("payload", "{\"a\": \"<typed> & kept\"}"), ("headers", "x-a: b\r\nx-c: d")]);
    let url = "/console/bench/guest";
    browser.post("/console/logout", &[]).expect(303);
    browser.cookie.clear();
    let page = browser.send("POST", url, &form, &ours).expect(401);
    let kept = "{&quot;a&quot;: &quot;&lt;typed&gt; &amp; kept&quot;}";
    for part in [
        "You were logged out",
        "name=\"kept_action\" value=\"/console/bench/guest\"",
        &format!("name=\"kept:payload\" value=\"{kept}\""),
        "name=\"kept:headers\" value=\"x-a: b\r\nx-c: d\"",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert!(!page.text.contains(&old), "the token of the earlier session is of no use");
    // Nothing that a browser does not call ours is kept.
    for headers in [&others[..], &[], &[("sec-fetch-site", "cross-site"), ("origin", &origin)]] {
        let reply = browser.send("POST", url, &form, headers).expect(303);
        assert!(!reply.text.contains("typed") && reply.header("location") == "/console/login", "{headers:?}");
    }
    browser.send("POST", url, &encoded(&[("payload", "no token")]), &ours).expect(303);
    browser.send("POST", "/console/bench/guest/result", &form, &ours).expect(303);
    let large = encoded(&[("form_token", &old), ("payload", &"x".repeat(300 << 10))]);
    let reply = browser.send("POST", url, &large, &ours).expect(401);
    assert!(reply.text.contains("larger than 256.0 KiB") && !reply.text.contains("kept:payload"), "{}", reply.text);

    let log_in = |action: &str, key: &str, headers: &[(&str, &str)]| {
        let fields = [("key", key), ("kept_action", action), ("kept:payload", "{\"a\": \"<typed> & kept\"}")];
        browser.send("POST", "/console/login", &encoded(&fields), headers)
    };
    assert!(log_in(url, "wrong", &ours).expect(401).text.contains(kept), "a mistyped key loses nothing");
    log_in(url, KEY, &others).expect(403);
    for action in ["https://example.com/", "//example.com/console", "/v1/tasks", "/console/logout", "/console/help"] {
        assert!(!log_in(action, KEY, &ours).expect(303).text.contains("typed"), "{action}");
    }
    log_in(url, KEY, &[]).expect(303);
    let offered = log_in(url, KEY, &ours).expect(200);
    assert!(offered.text.contains("Send it again") && offered.text.contains(kept), "{}", offered.text);
    assert!(offered.text.contains("action=\"/console/bench/guest\"") && !offered.text.contains("Task 1"));
    let cookie = offered.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
    let mut browser = Browser::new(&server);
    browser.cookie = cookie;
    let now = browser.form_token();
    assert!(offered.text.contains(&now) && now != old, "the button has the token of the new session");
    let already = encoded(&[("already", "1"), ("kept_action", url), ("kept:payload", "{}")]);
    assert!(browser.send("POST", "/console/login", &already, &ours).expect(200).text.contains("Send it again"));

    // The way back in the browser leads to a page of the earlier session.
    let reply = browser.send("POST", url, &form, &ours).expect(403);
    assert!(reply.text.contains("Send it again") && reply.text.contains(kept), "{}", reply.text);
    for headers in [&others[..], &[]] {
        let reply = browser.send("POST", url, &form, headers).expect(403);
        assert!(!reply.text.contains("typed") && !reply.text.contains("Send it again"), "{headers:?}");
    }
    let sent = browser.post(url, &[("payload", "{\"a\":1}")]).expect(200);
    assert!(sent.text.contains("Task 1: Made"), "{}", sent.text);
}
