//! `hookmill key` with a running and a stopped server, and the first key.

use std::process::Output;

use serde_json::Value;

use crate::harness;
use crate::harness::{Browser, KEY, Setup, binary, task};

fn key(setup: &Setup, args: &[&str]) -> Output {
    binary().arg("key").args(args).arg("--data-dir").arg(&setup.data).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn works(server: &harness::Server, key: &str) -> u16 {
    let headers = [("x-api-key", key), ("content-type", "application/json")];
    server.send_as("POST", "/v1/tasks", &headers, task().to_string().as_bytes()).status
}

#[test]
fn keys_are_made_listed_and_revoked_while_the_server_runs() {
    let setup = Setup::new();
    let server = setup.start();
    let out = key(&setup, &["create", "--company", "company-1", "--scope", "tasks:write", "--label", "ward 3"]);
    let made = text(&out.stdout).trim().to_owned();
    assert!(made.starts_with("hm_") && made.len() > 40, "{made}");
    assert_eq!(works(&server, &made), 201);
    let list: Value = serde_json::from_slice(&key(&setup, &["list", "--json"]).stdout).unwrap();
    assert!(!list.to_string().contains(&made[3..]), "a list never holds a key");
    let entry = list["data"].as_array().unwrap().iter().find(|it| it["label"] == "ward 3").unwrap().clone();
    assert!(entry.get("hash").is_none());
    assert!(text(&key(&setup, &["list"]).stdout).contains("ward 3"));
    assert!(key(&setup, &["revoke", entry["id"].as_str().unwrap()]).status.success());
    assert_eq!(works(&server, &made), 401);
    assert!(!key(&setup, &["revoke", "key_none"]).status.success());
}

#[test]
fn keys_are_made_listed_and_revoked_while_the_server_is_stopped() {
    let setup = Setup::new();
    let made = text(&key(&setup, &["create", "--company", "c-2", "--scope", "tasks:write"]).stdout).trim().to_owned();
    let server = setup.start();
    assert_eq!(works(&server, &made), 201);
    server.stop();
    let list: Value = serde_json::from_slice(&key(&setup, &["list", "--json"]).stdout).unwrap();
    let id = list["data"][0]["id"].as_str().unwrap().to_owned();
    assert!(key(&setup, &["revoke", &id]).status.success());
    assert_eq!(works(&setup.start(), &made), 401);
}

#[test]
fn the_first_start_prints_one_key_once_with_a_line_to_try() {
    let setup = Setup::new();
    let mut child = setup
        .command()
        .env_remove("HOOKMILL_BOOTSTRAP_KEY")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut printed = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    while !printed.contains("serves on") {
        assert!(std::io::BufRead::read_line(&mut out, &mut printed).unwrap() > 0, "{printed}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let key = printed.split_whitespace().find(|it| it.starts_with("hm_")).unwrap();
    assert!(printed.contains("curl -s http://127.0.0.1:") && printed.contains(&format!("X-API-Key: {key}")));
    let server = setup.start();
    assert_eq!(works(&server, key), 201, "the key is durable before it is shown");
    assert!(!server.printed.contains("hm_"));
}

#[test]
fn a_preset_key_that_is_too_short_stops_the_start() {
    let out = Setup::new().env("HOOKMILL_BOOTSTRAP_KEY", "short").command().output().unwrap();
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("must have 24 to 512 ASCII characters"));
}

#[test]
fn a_second_server_on_one_directory_says_who_holds_it() {
    let setup = Setup::new();
    let server = setup.start();
    let out = setup.command().output().unwrap();
    assert_eq!(out.status.code(), Some(3));
    let message = text(&out.stderr);
    assert!(message.contains(&format!("in use by process {} at {}", server.child.id(), server.url)), "{message}");
}

#[test]
fn a_label_is_short_and_shows_itself() {
    // It is printed in lists on the operator's terminal.
    let setup = Setup::new();
    let server = setup.start();
    let asked = |label: &str| {
        let body = serde_json::json!({"company_id": "company-1", "scopes": ["tasks:read"], "label": label});
        server.post("/v1/admin/keys", &body)
    };
    asked(&"ü".repeat(200)).expect(201);
    for label in ["a\nforged", "\u{1b}[2J", "\u{7f}", "\u{9b}2J", "\u{202e}txt", "\u{200b}", &"x".repeat(201)] {
        let reply = asked(label).expect(422);
        assert!(reply.message().starts_with("label: a label must have at most 200 characters"), "{}", reply.text);
        let out = key(&setup, &["create", "--company", "company-1", "--scope", "tasks:read", "--label", label]);
        assert_eq!(out.status.code(), Some(2), "{label:?}");
    }
}

/// Otherwise an installation with many keys has some that no page shows, so nobody revokes them.
#[test]
fn every_key_is_on_one_page_of_the_list_and_those_that_work_come_first() {
    let setup = Setup::new();
    let server = setup.start();
    let made: Vec<String> = (0..7)
        .map(|n| {
            let asked =
                serde_json::json!({"company_id": "company-1", "scopes": ["tasks:read"], "label": n.to_string()});
            let made = server.post("/v1/admin/keys", &asked).expect(201).json();
            made["details"]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let revoke = |id: &str| drop(server.send("DELETE", &format!("/v1/admin/keys/{id}"), &[], b"").expect(204));
    revoke(&made[6]);
    let page = |query: &str| server.get(&format!("/v1/admin/keys{query}")).expect(200).json();
    let ids = |page: &serde_json::Value| -> Vec<(String, bool)> {
        let keys = page["data"].as_array().unwrap().iter();
        keys.map(|it| (it["id"].as_str().unwrap().to_owned(), it["revoked_at"].is_null())).collect()
    };
    let whole = page("");
    assert!(whole.get("pagination").is_none() && ids(&whole).len() >= 8, "as before");

    let first = page("?limit=3");
    assert_eq!(first["pagination"]["limit"], 3);
    // It is on a later page, and moves behind those that work.
    revoke(&made[0]);
    let (mut seen, mut next) = (ids(&first), first["pagination"]["next_cursor"].clone());
    while let Some(cursor) = next.as_str() {
        let more = page(&format!("?limit=3&cursor={cursor}"));
        seen.extend(ids(&more));
        next = more["pagination"]["next_cursor"].clone();
    }
    let all: std::collections::BTreeSet<_> = ids(&page("")).into_iter().collect();
    assert_eq!((seen.len(), &seen.iter().cloned().collect()), (all.len(), &all), "all of them, and none twice");
    assert!(seen.is_sorted_by_key(|(_, works)| !works), "{seen:?}");
    assert_eq!(seen[..3].iter().map(|it| &it.0).collect::<Vec<_>>(), [&made[5], &made[4], &made[3]]);

    for wrong in ["limit=0", "limit=1001", "cursor=x", "cursor=2.1.key_1"] {
        server.get(&format!("/v1/admin/keys?{wrong}")).expect(422);
    }
    assert_eq!(server.get("/v1/admin/keys?company_id=company-2").expect(403).code(), "other_company");
    setup.key("company-2", &["tasks:read"]);
    let operator = setup.operator();
    let of = |company: &str| {
        let path = format!("/v1/admin/keys?limit=1000&company_id={company}");
        server.send_as("GET", &path, &[("x-api-key", &operator)], b"").expect(200).json()
    };
    assert_eq!((ids(&of("company-2")).len(), ids(&of("company-1")).len()), (1, all.len()));
}

/// Otherwise the console shows the first keys only.
#[test]
fn the_consoles_list_of_keys_has_pages() {
    let setup = Setup::new();
    let server = setup.start();
    let ids: Vec<String> = (0..60)
        .map(|_| {
            let asked = serde_json::json!({"company_id": "company-1", "scopes": ["tasks:read"]});
            let made = server.post("/v1/admin/keys", &asked).expect(201).json();
            made["details"]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    let browser = Browser::with_key(&server, KEY);
    let shown = |page: &str| ids.iter().filter(|it| page.contains(&format!("<tr id=\"{it}\""))).count();
    let first = browser.get("/console/keys").expect(200).text;
    let (_, link) = first.split_once("rel=\"next\" href=\"").unwrap();
    let second = browser.get(&link[..link.find('"').unwrap()].replace("&amp;", "&")).expect(200).text;
    assert_eq!((shown(&first), shown(&second)), (50, 10));
    assert!(!second.contains("rel=\"next\"") && second.contains(">Newest<"));
}
