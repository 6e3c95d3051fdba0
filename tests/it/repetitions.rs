//! Deliveries with the id of an earlier one: listed, and linked on the pages of events.

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness::{Browser, KEY, Server, Setup, postgres_or_skip, task, until};

fn setup() -> Setup {
    Setup::new().plugin("guest", "[dedupe]\npointer = \"/id\"\n", &says(&task().to_string()))
}

fn send(server: &Server, body: &Value) -> String {
    server.post("/v1/hooks/guest", body).header("x-event-id").to_owned()
}

fn newest(server: &Server) -> String {
    let page = server.get("/v1/events?limit=1").expect(200).json();
    page["data"][0]["id"].as_str().unwrap().to_owned()
}

fn listed(server: &Server, first: &str) -> Vec<String> {
    let page = server.get(&format!("/v1/events?repeats={first}")).expect(200).json();
    page["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

fn all_are_found(setup: &Setup) {
    let server = setup.start();
    let first = send(&server, &json!({"id": "d-1", "n": 1}));
    let mut repetitions = Vec::new();
    for n in [1, 1, 2] {
        send(&server, &json!({"id": "d-1", "n": n}));
        repetitions.insert(0, newest(&server));
    }
    // More than a page of repetitions of others, which are newer.
    for _ in 0..110 {
        send(&server, &json!({"id": "d-2", "n": 1}));
    }
    assert_eq!(listed(&server, &first), repetitions);
    let reader = setup.key("company-1", &["tasks:read"]);
    let path = format!("/v1/events?repeats={first}");
    let ask = || server.send_as("GET", &path, &[("x-api-key", &reader)], b"");
    until("the key works", || ask().status != 401);
    assert_eq!(ask().expect(403).code(), "scope_missing");

    let browser = Browser::with_key(&server, KEY);
    let section = |id: &str| {
        let page = browser.get(&format!("/console/events/{id}")).expect(200).text;
        let (_, section) = page.split_once("id=\"related\"").expect("the section of the same id");
        section[..section.find("</section>").unwrap()].to_owned()
    };
    let of_first = section(&first);
    assert!(repetitions.iter().all(|it| of_first.contains(it)), "{of_first}");
    let of_second = section(&repetitions[1]);
    for other in [&first, &repetitions[0], &repetitions[2]] {
        assert!(of_second.contains(other.as_str()), "{of_second}");
    }
    assert!(!of_first.contains("Show all repetitions"));
    let other = server.get("/v1/events?status=stored&limit=1").expect(200).json()["data"][0]["id"].clone();
    let of_other = section(other.as_str().unwrap());
    assert!(of_other.contains("Show all repetitions"), "109 of them");
    let list = browser.get(&format!("/console/events?repeats={first}")).expect(200).text;
    assert!(repetitions.iter().all(|it| list.contains(&format!("/console/events/{it}"))), "{list}");
    // A replay lacks this filter, and would replay everything.
    let replay = browser.get(&format!("/console/events/replay?repeats={first}")).expect(200).text;
    assert!(replay.contains("A replay has no filter repeats."), "{replay}");
}

/// Otherwise an admin who looks for what a sender has sent again sees a part of it, and does not know that.
#[test]
fn every_repetition_of_a_delivery_is_found_behind_those_of_others() {
    all_are_found(&setup());
}

/// The same for the other store.
#[test]
fn every_repetition_of_a_delivery_is_found_in_a_database() {
    let cluster = postgres_or_skip!();
    all_are_found(&setup().on(&cluster.database()));
}
