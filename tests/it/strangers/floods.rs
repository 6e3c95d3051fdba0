//! Floods of bad deliveries: what is stored and logged of them is bounded, and counted.

use serde_json::{Value, json};

use super::{auth, send, setup};
use crate::harness::{Server, Setup, until};

fn listed(setup: &Setup, server: &Server, company: &str) -> Vec<Value> {
    let path = format!("/v1/events?status=rejected&limit=100&company_id={company}");
    let page = server.send_as("GET", &path, &[("x-api-key", &setup.operator())], b"").expect(200).json();
    page["data"].as_array().unwrap().clone()
}

/// A flood filled the disk with headers and the log with lines, and hid the rejections of other companies.
#[test]
fn a_flood_of_rejections_is_stored_and_logged_in_part_and_hides_nobody_else_s() {
    let mut setup = setup(&[("flooded", auth("github")), ("other", auth("github"))]);
    let manifest = setup.plugins.join("other/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap().replace("company-1", "company-2");
    std::fs::write(&manifest, text).unwrap();
    setup.extra.extend(["--log-format".into(), "json".into()]);
    let server = setup.start();
    let long = "y".repeat(7_000);
    let headers = [("user-agent", long.as_str()), ("x-request-id", &long), ("content-type", "application/json")];
    const FLOOD: usize = 300;
    for _ in 0..FLOOD {
        send(&server, "/v1/hooks/flooded", &headers, b"{}").expect(401);
        send(&server, "/v1/hooks/not-there", &headers, b"{}").expect(404);
    }
    let refused = send(&server, "/v1/hooks/other", &headers, b"{}").expect(401);
    assert_eq!(listed(&setup, &server, "company-2")[0]["id"], refused.header("x-event-id"));
    let stored = listed(&setup, &server, "company-1");
    // 20 at once, and one every five seconds.
    assert!((20..60).contains(&stored.len()), "{}", stored.len());
    let size = stored.iter().map(|it| it.to_string().len()).max().unwrap();
    assert!(size < 900, "{size}: {}", stored[0]);
    assert_eq!(stored[0]["headers"]["user-agent"].as_str().unwrap().len(), 80);
    let plugins = server.get("/v1/admin/plugins").expect(200).json()["data"].clone();
    let flooded = &plugins.as_array().unwrap().iter().find(|it| it["name"] == "flooded").unwrap()["rejected"];
    assert_eq!(flooded, &json!({ "stored": stored.len(), "not_stored": FLOOD - stored.len() }));
    let log = server.stop();
    let lines: Vec<Value> = log.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let about = |message: &str, integration: &str| -> Vec<&Value> {
        let of = |it: &&Value| {
            it["fields"]["message"] == message
                && (it["integration"] == integration || it["fields"]["integration"] == integration)
        };
        lines.iter().filter(of).collect()
    };
    assert_eq!(about("delivery rejected", "other").len(), 1);
    for (message, integration, subject) in
        [("delivery rejected", "flooded", "flooded"), ("delivery for an unknown integration", "not-there", "")]
    {
        let written = about(message, integration);
        assert!((20..60).contains(&written.len()), "{message}: {}", written.len());
        let at_the_end =
            lines.iter().filter(|it| it["fields"]["line"] == message && it["fields"]["subject"] == subject);
        let omitted: u64 =
            written.into_iter().chain(at_the_end).filter_map(|it| it["fields"]["omitted"].as_u64()).sum();
        assert_eq!(omitted as usize + about(message, integration).len(), FLOOD, "{message}: every line is counted");
    }
}

/// The next rejection that is stored tells how many before it were not.
#[test]
fn the_next_stored_rejection_says_how_many_were_not_stored() {
    let setup = setup(&[("flooded", auth("github"))]);
    let server = setup.start();
    let reject = || send(&server, "/v1/hooks/flooded", &[], b"{}").expect(401);
    let stored = |_: &usize| !reject().header("x-event-id").is_empty();
    assert!((0..100).take_while(stored).count() < 100, "not all of a flood is stored");
    until("a token", || !reject().header("x-event-id").is_empty());
    let newest = listed(&setup, &server, "company-1").remove(0);
    let why = newest["reason"]["message"].as_str().unwrap();
    assert!(why.contains("rejected deliveries before this one were not stored"), "{why}");
}

/// A sender that repeats its mistake fills the log, and hides what fails for others.
#[test]
fn lines_of_one_sender_s_failures_are_sampled_and_all_are_counted() {
    let mut setup = setup(&[("broken", String::new()), ("other", String::new())]);
    setup.extra.extend(["--log-format".into(), "json".into()]);
    let server = setup.start();
    const FLOOD: usize = 200;
    for _ in 0..FLOOD {
        server.send("POST", "/v1/hooks/broken", &[], b"{").expect(400);
    }
    server.send("POST", "/v1/hooks/other", &[], b"{").expect(400);
    let log = server.stop();
    let lines: Vec<Value> = log.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let of = |integration: &str| -> Vec<&Value> {
        let of = |it: &&Value| it["fields"]["message"] == "event quarantined" && it["integration"] == integration;
        lines.iter().filter(of).collect()
    };
    let written = of("broken");
    assert!((100..180).contains(&written.len()), "{}", written.len());
    let at_the_end =
        lines.iter().filter(|it| it["fields"]["subject"].as_str().is_some_and(|it| it.ends_with(" broken")));
    let omitted: u64 =
        written.iter().copied().chain(at_the_end).filter_map(|it| it["fields"]["omitted"].as_u64()).sum();
    assert_eq!(omitted as usize + written.len(), FLOOD);
    assert_eq!(of("other").len(), 1);
}
