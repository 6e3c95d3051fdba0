//! Search in payloads: words, and a value at a place.

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness::{Cluster, Reply, Server, Setup, binary, postgres_or_skip, task, time_for_a_mistake, until};

/// A server whose integration `guest` refuses everything, and `other` stores a task.
fn setup() -> Setup {
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    Setup::new().plugin("guest", "", &refuses).plugin("other", "", &says(&task().to_string()))
}

fn id(reply: &Reply) -> String {
    reply.header("x-event-id").to_owned()
}

fn page(server: &Server, query: &str) -> Value {
    server.get(&format!("/v1/events?{query}")).expect(200).json()
}

fn found(server: &Server, query: &str) -> Vec<String> {
    let page = page(server, query);
    page["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

fn send(server: &Server, name: &str, content_type: &str, body: &[u8]) -> String {
    id(&server.send("POST", &format!("/v1/hooks/{name}"), &[("content-type", content_type)], body))
}

/// Waits until everything that was stored at the start is in the index.
fn complete(server: &Server) {
    until("the index is complete", || page(server, "text=x")["pagination"]["searched_since"].is_null());
}

#[test]
fn words_and_values_are_found_in_what_was_sent() {
    let server = setup().start();
    let json_body = r#"{"payload":{"email":"Jane@Example.com","items":[{"sku":"A-7"}],"total":12.50,"ok":true},"note":"MÜLLER called"}"#;
    let plain = send(&server, "guest", "application/json", json_body.as_bytes());
    let escaped = send(&server, "guest", "application/json", br#"{"note":"stra\u00dfe \"quoted\" zebra","n":7}"#);
    let pairs = send(
        &server,
        "guest",
        "application/json",
        br#"{"name":"\ud842\udfb7ta","path":"a\/okapi","half":"\ud842gnu"}"#,
    );
    let large = format!(r#"{{"filler":"{}","note":"{}tapir \u0141ania"}}"#, "x ".repeat(50_000), "quoll\\n");
    let large = send(&server, "guest", "application/json", large.as_bytes());
    let form = send(&server, "other", "application/x-www-form-urlencoded", b"email=jane%40example.com&word=giraffe");
    let xml = send(&server, "other", "application/xml", b"<a><b>ocelot &amp; lynx</b></a>");
    let (all, none) = (vec![form.clone(), plain.clone()], Vec::<String>::new());
    for (query, expected) in [
        ("text=zebra", vec![escaped.clone()]),
        ("text=ZEBRA+quoted", vec![escaped.clone()]),
        ("text=stra%C3%9Fe", vec![escaped.clone()]),
        ("text=m%C3%BCller", vec![plain.clone()]),
        ("text=%F0%A0%AE%B7ta", vec![pairs.clone()]),
        ("text=a/okapi", vec![pairs.clone()]),
        ("pointer=/path&value=a/okapi", vec![pairs.clone()]),
        ("text=tapir+quoll", vec![large.clone()]),
        ("text=%C5%82ania", vec![large.clone()]),
        ("text=jane@example.com", all),
        ("text=jane+zebra", none.clone()),
        ("text=12.50", vec![plain.clone()]),
        ("text=12.5", none.clone()),
        ("text=zeb", none.clone()),
        ("text=ocelot+lynx", vec![xml.clone()]),
        ("text=giraffe&integration=guest", none.clone()),
        ("text=giraffe&integration=other&status=stored", vec![form.clone()]),
        ("pointer=/payload/email&value=jane@example.com", vec![plain.clone()]),
        ("pointer=/payload/items/0/sku&value=a-7", vec![plain.clone()]),
        ("pointer=/payload/total&value=12.50", vec![plain.clone()]),
        ("pointer=/payload/total&value=12.5", vec![plain.clone()]),
        ("pointer=/payload/total&value=1.25e1", vec![plain.clone()]),
        ("pointer=/payload/total&value=12", none.clone()),
        ("pointer=/payload/ok&value=true", vec![plain.clone()]),
        ("pointer=/email&value=jane@example.com", vec![form.clone()]),
        ("pointer=/note&value=jane@example.com", none.clone()),
        ("text=called&pointer=/payload/ok&value=true", vec![plain.clone()]),
        ("text=called&pointer=/payload/ok&value=false", none),
    ] {
        assert_eq!(found(&server, query), expected, "{query}");
    }
}

#[test]
fn pages_give_every_event_once_and_a_restart_finds_them_again() {
    let setup = setup();
    let server = setup.start();
    let mut sent: Vec<String> = (0..25)
        .map(|n| send(&server, "guest", "application/json", json!({"n": n, "word": "common"}).to_string().as_bytes()))
        .collect();
    send(&server, "guest", "application/json", br#"{"word":"rare"}"#);
    sent.reverse();
    let paged = |server: &Server| {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = page(server, &format!("text=common&limit=10{cursor}"));
            ids.extend(page["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()));
            match page["pagination"]["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return ids,
            }
        }
    };
    assert_eq!(paged(&server), sent);
    server.stop();
    let server = setup.start();
    complete(&server);
    assert_eq!(paged(&server), sent);
    assert_eq!(found(&server, "text=rare").len(), 1);
}

#[test]
fn a_search_needs_the_scope_admin_and_is_audited_without_its_words() {
    let setup = setup();
    let server = setup.start();
    send(&server, "guest", "application/json", br#"{"word":"secretword"}"#);
    assert_eq!(found(&server, "text=secretword").len(), 1);
    let audit = server.get("/v1/admin/audit").expect(200).text;
    assert!(audit.contains("events.searched") && !audit.contains("secretword"), "{audit}");
    let reader = setup.key("company-1", &["events:read"]);
    let send_as =
        |key: &str, query: &str| server.send_as("GET", &format!("/v1/events?{query}"), &[("x-api-key", key)], b"");
    assert_eq!(send_as(&reader, "text=secretword").status, 403);
    let admin = setup.key("company-2", &["admin"]);
    let others = send_as(&admin, "text=secretword").expect(200).json();
    assert_eq!(others["data"], json!([]), "another company's payloads are not found");
    for query in ["text=-", "pointer=/a", "value=a", "pointer=a&value=b"] {
        assert_eq!(server.get(&format!("/v1/events?{query}")).status, 422, "{query}");
    }
    assert!(!server.stop().contains("secretword"));
    let server = setup.config("[console]\nsearch_events = 0\n").start();
    assert!(server.get("/v1/events?text=secretword").expect(404).message().contains("search_events"));
}

#[test]
fn what_is_erased_is_not_found() {
    let server = setup().start();
    let kept = send(&server, "guest", "application/json", br#"{"patient_id":"4799","word":"common"}"#);
    send(&server, "guest", "application/json", br#"{"patient_id":"4712","word":"common"}"#);
    assert_eq!(found(&server, "text=common").len(), 2);
    server.post("/v1/events/erase", &json!({"patient_id": "4712"})).expect(200);
    assert_eq!(found(&server, "text=common"), [kept]);
}

/// Otherwise one damaged event hides all earlier ones after a restart, and from other servers.
#[test]
fn an_event_that_cannot_be_read_hides_no_others() {
    let cluster: &Cluster = postgres_or_skip!();
    let database = cluster.database();
    let setup = setup().on(&database);
    let server = setup.start();
    let sent: Vec<String> =
        (0..3).map(|_| send(&server, "guest", "application/json", br#"{"word":"walrus"}"#)).collect();
    database.sql(&format!("UPDATE hookmill.events SET document = '{{}}' WHERE id = '{}'", sent[1]));
    let rest = [sent[2].clone(), sent[0].clone()];
    assert_eq!(found(&server, "text=walrus"), rest);
    server.stop();
    let server = setup.start();
    complete(&server);
    assert_eq!(found(&server, "text=walrus"), rest);
}

/// Otherwise only the server that took a delivery finds it.
#[test]
fn events_of_other_servers_are_found() {
    let cluster: &Cluster = postgres_or_skip!();
    let database = cluster.database();
    let setup = setup().on(&database);
    let (one, other) = (setup.start(), setup.another().on(&database).start());
    let sent = send(&one, "guest", "application/json", br#"{"word":"walrus"}"#);
    assert_eq!(found(&one, "text=walrus"), std::slice::from_ref(&sent));
    until("the other server finds it", || found(&other, "text=walrus") == [sent.clone()]);
    time_for_a_mistake();
    assert_eq!(found(&other, "text=walrus"), [sent]);
}

fn finds_large_bodies_again_and_again(setup: Setup) {
    let setup = setup.config("[limits]\nbody_bytes = 8388608\n");
    let server = setup.start();
    let body = json!({"word": "walrus", "pad": "x".repeat(7 << 19)}).to_string();
    let mut sent: Vec<String> = (0..6).map(|_| send(&server, "guest", "application/json", body.as_bytes())).collect();
    sent.reverse();
    server.stop();
    // What is read at a time goes by the largest body that is accepted now.
    let server = setup.config("[limits]\nbody_bytes = 65536\n").start();
    complete(&server);
    for round in 0..2 {
        assert_eq!(found(&server, "text=walrus"), sent, "round {round}");
    }
}

/// Bodies that are not read yet, because there are too many bytes of them, would otherwise be taken for gone, and leave the index.
#[test]
fn bodies_that_are_too_large_together_are_all_found() {
    finds_large_bodies_again_and_again(setup());
}

/// The same for the other store.
#[test]
fn bodies_that_are_too_large_together_are_all_found_in_a_database() {
    let cluster: &Cluster = postgres_or_skip!();
    finds_large_bodies_again_and_again(setup().on(&cluster.database()));
}

/// Otherwise imported events are found only after a restart, and nobody says so.
#[test]
fn what_is_imported_while_a_server_runs_is_found() {
    let cluster: &Cluster = postgres_or_skip!();
    let (from, to) = (cluster.database(), cluster.database());
    let (old, new) = (setup().on(&from), setup().on(&to));
    let server = old.start();
    let sent = send(&server, "guest", "application/json", br#"{"word":"walrus"}"#);
    server.stop();
    let file = old.data.with_extension("ndjson");
    let store = |setup: &Setup, verb: &str| {
        let mut command = binary();
        command.args(["store", verb]).arg(&file).arg("--data-dir").arg(setup.data.with_extension(verb));
        let done = command.envs(setup.env.iter().cloned()).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    store(&old, "export");
    // As if it had been received yesterday: no usual look goes back that far.
    let text = std::fs::read_to_string(&file).unwrap();
    let server = new.start();
    complete(&server);
    assert_eq!(found(&server, "text=walrus"), Vec::<String>::new());
    let (text, aged) = aged(&text, &sent);
    std::fs::write(&file, text).unwrap();
    store(&new, "import");
    until("it is found", || found(&server, "text=walrus") == [aged.clone()]);
}

/// The events of an export, one of them received a day earlier, and its new id.
fn aged(text: &str, id: &str) -> (String, String) {
    let millis = u64::from_str_radix(&id.replace('-', "")[..12], 16).unwrap() - 86_400_000;
    let hex = format!("{millis:012x}");
    let aged = format!("{}-{}{}", &hex[..8], &hex[8..], &id[13..]);
    let time = |millis: u64| {
        let time = chrono::DateTime::from_timestamp_millis(i64::try_from(millis).unwrap()).unwrap();
        time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    };
    let line = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap();
        if value["kind"] == "event" && value["id"] == id {
            (value["id"], value["received_at"]) = (json!(aged), json!(time(millis)));
        }
        value.to_string()
    };
    // The key is the other server's too.
    let events = text.lines().filter(|it| it.contains(r#""kind":"event""#));
    (events.map(line).collect::<Vec<_>>().join("\n"), aged)
}

/// Otherwise a company's searches, each of which reads bodies for two seconds, delay all other requests.
#[test]
fn a_company_has_a_few_searches_at_once() {
    let setup = setup();
    let server = setup.start();
    // All of them have the word, and none at the place: a search reads every body.
    let filler = "x".repeat(400_000);
    for n in 0..24 {
        send(
            &server,
            "guest",
            "application/json",
            json!({"word": "common", "n": n, "filler": filler}).to_string().as_bytes(),
        );
    }
    let path = "/v1/events?pointer=/nowhere&value=common";
    let codes: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..12).map(|_| scope.spawn(|| server.get(path))).collect();
        all.into_iter().map(|it| it.join().unwrap()).map(|it| (it.status, it.text)).collect()
    });
    let refused: Vec<_> = codes.iter().filter(|(status, _)| *status == 429).collect();
    assert!(!refused.is_empty() && refused.iter().all(|(_, it)| it.contains("operation_running")), "{codes:?}");
    assert_eq!(codes.iter().filter(|(status, _)| *status == 200).count() + refused.len(), 12, "{codes:?}");
    server.get(path).expect(200);
}
