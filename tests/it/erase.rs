//! Erasure: what was sent about a patient leaves the event log; so does what an integration was sent after `keep_days`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness;
use crate::harness::{Server, Setup, task, until};

const PATIENT: &str = "p-4711";
/// An id that is in bodies only, and so in no task.
const SECRET: &str = "has a rash on the left arm";
const SMALL: &str = "[store]\nsegment_mib = 1\n";

/// Two ways in: one whose tasks are the patient's whatever the body says, and one that refuses everything.
fn setup() -> Setup {
    let mut of_patient = task();
    of_patient["patient_id"] = PATIENT.into();
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    Setup::new().config(SMALL).plugin("guest", "", &says(&of_patient.to_string())).plugin("refuses", "", &refuses)
}

/// Exit code, what was printed, and what was said.
fn erase(data: &Path, args: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = harness::binary();
    command.args(["events", "erase", "--json", "--company", "company-1", "--data-dir"]).arg(data).args(args);
    let out = command.output().unwrap();
    let answer = serde_json::from_slice(&out.stdout).unwrap_or_default();
    (out.status.code(), answer, String::from_utf8(out.stderr).unwrap())
}

fn ids(answer: &Value) -> Vec<String> {
    let mut ids: Vec<String> = answer["events"].as_array().unwrap().iter().map(|it| text(&it["id"])).collect();
    ids.sort();
    ids
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// How often these bytes occur in the files of the journal.
fn count(data: &Path, text: &str) -> usize {
    let files = std::fs::read_dir(data.join("journal")).unwrap().map(|it| std::fs::read(it.unwrap().path()).unwrap());
    files.map(|bytes| memchr::memmem::find_iter(&bytes, text).count()).sum()
}

fn post(server: &Server, name: &str, body: &str, headers: &[(&str, &str)]) -> String {
    let reply = server.send("POST", &format!("/v1/hooks/{name}"), headers, body.as_bytes());
    assert!(!reply.header("x-event-id").is_empty(), "{} {}", reply.status, reply.text);
    reply.header("x-event-id").to_owned()
}

fn event(server: &Server, id: &str) -> Value {
    server.get(&format!("/v1/events/{id}")).expect(200).json()
}

fn check(data: &Path) {
    let out = harness::binary().args(["store", "check", "--json", "--data-dir"]).arg(data).output().unwrap();
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(out.status.success() && report["damages"] == json!([]) && report["repairable"] == json!([]), "{report}");
}

#[test]
fn everything_that_was_sent_of_a_patient_goes_and_nothing_else() {
    let setup = setup();
    let server = setup.start();
    let said = json!({ "note": SECRET }).to_string();
    let by_task = post(&server, "guest", &said, &[]);
    let later = post(&server, "guest", &said, &[("prefer", "respond-async")]);
    // Stored again, in another state.
    server.post(&format!("/v1/events/{by_task}/replay"), &json!({"tasks": "update"})).expect(200);
    let by_body = post(&server, "refuses", &format!("{{\"note\":\"{SECRET}\",\"who\":[\"{PATIENT}\"]}}"), &[]);
    let in_form = post(
        &server,
        "refuses",
        &format!("who=p%2D4711&note={}", SECRET.replace(' ', "+")),
        &[("content-type", "application/x-www-form-urlencoded")],
    );
    let other = post(&server, "refuses", &format!("{{\"note\":\"kept\",\"who\":\"{PATIENT}0\"}}"), &[]);
    until("the queued one is stored", || event(&server, &later)["status"] == "stored");
    let key = setup.key("company-2", &["tasks:write", "tasks:read", "admin"]);
    let elsewhere = server.send_as(
        "POST",
        "/v1/tasks",
        &[("x-api-key", &key)],
        json!({"title": "t", "description": "d", "assigned_user_ids": ["u"], "created_by_id": "c", "deadline": "2027-01-01", "patient_id": PATIENT}).to_string().as_bytes(),
    );
    let elsewhere = elsewhere.expect(201).header("x-event-id").to_owned();

    let mut expected = vec![by_task.clone(), later.clone(), by_body.clone(), in_form.clone()];
    expected.sort();
    let backup = setup.data.with_file_name("backup");
    let taken = harness::binary().args(["store", "backup"]).arg(&backup).arg("--data-dir").arg(&setup.data).output();
    assert!(taken.unwrap().status.success());
    // It is only shown at first.
    let (code, shown, _) = erase(&setup.data, &["--patient", PATIENT]);
    assert_eq!((code, ids(&shown)), (Some(0), expected.clone()), "{shown}");
    // Each body once, however often its event was stored again.
    assert_eq!(count(&setup.data, SECRET), 3);
    let (code, erased, said) = erase(&setup.data, &["--patient", PATIENT, "--yes"]);
    assert_eq!((code, ids(&erased)), (Some(0), expected.clone()), "{erased} {said}");
    assert_eq!((count(&setup.data, SECRET), count(&setup.data, "kept")), (0, 1));

    for id in &expected {
        let it = event(&server, id);
        assert!(it["erased_at"].is_string() && it.get("body").is_none() && it["headers"] == json!({}), "{it}");
        server.get(&format!("/v1/events/{id}/raw")).expect(404);
        let refused = server.post(&format!("/v1/events/{id}/replay"), &json!({"tasks": "update"})).expect(409);
        assert!(refused.message().contains("erased"), "{}", refused.text);
    }
    assert_eq!(event(&server, &by_body)["reason"]["code"], "plugin_refused");
    assert!(text(&event(&server, &other)["body"]).contains("kept"));
    let theirs = server.send_as("GET", &format!("/v1/events/{elsewhere}"), &[("x-api-key", &key)], b"");
    assert!(theirs.expect(200).json()["body"].is_string());
    // Nothing is left to do.
    assert_eq!(ids(&erase(&setup.data, &["--patient", PATIENT, "--yes"]).1), Vec::<String>::new());
    let audit = server.get("/v1/admin/audit?limit=1000").expect(200).json();
    let entries = audit["data"].as_array().unwrap();
    let done = entries.iter().filter(|it| it["action"] == "events.erased").map(|it| text(&it["detail"]));
    assert!(done.clone().any(|it| it.starts_with("4 events, ")), "{audit}");
    assert!(!audit.to_string().contains(PATIENT));
    assert_eq!(entries.iter().filter(|it| it["action"] == "event.replayed").count(), 1 + 4);

    server.stop();
    check(&setup.data);
    let server = setup.start();
    assert!(event(&server, &by_task)["erased_at"].is_string() && event(&server, &other)["body"].is_string());
    drop(server);

    // The backup of before is a directory of its own.
    assert_eq!(count(&backup, SECRET), 3);
    assert_eq!(ids(&erase(&backup, &["--patient", PATIENT, "--yes"]).1), expected);
    assert_eq!(count(&backup, SECRET), 0);
    check(&backup);
}

#[test]
fn an_event_that_waits_is_erased_and_then_not_worked_on() {
    let setup = setup();
    let server = setup.start();
    let id = post(&server, "guest", &json!({"patient_id": PATIENT, "note": SECRET}).to_string(), &[]);
    // As if it had been killed before the event was worked on: it waits in a copy that was imported.
    drop(server);
    let lines = setup.data.with_file_name("all.ndjson");
    let store = |args: &[&str], data: &Path| {
        let out =
            harness::binary().args(["store"]).args(args).arg(&lines).arg("--data-dir").arg(data).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    store(&["export"], &setup.data);
    let all = std::fs::read_to_string(&lines).unwrap();
    let event_line = all.lines().find(|it| it.contains(&format!("\"kind\":\"event\",\"id\":\"{id}\""))).unwrap();
    let mut waits: Value = serde_json::from_str(event_line).unwrap();
    (waits["status"], waits["task_ids"]) = (json!("queued"), json!([]));
    let keys = all.lines().filter(|it| it.contains("\"kind\":\"api_key\""));
    let rest: Vec<String> = keys.map(str::to_owned).chain([waits.to_string()]).collect();
    std::fs::write(&lines, rest.join("\n")).unwrap();
    std::fs::remove_dir_all(&setup.data).unwrap();
    store(&["import"], &setup.data);

    assert_eq!(ids(&erase(&setup.data, &["--patient", PATIENT, "--yes"]).1), vec![id.clone()]);
    let server = setup.start();
    until("it is quarantined", || event(&server, &id)["status"] == "quarantined");
    assert_eq!(event(&server, &id)["reason"]["code"], "erased");
    assert_eq!(server.get("/v1/tasks").expect(200).json()["pagination"]["total"], 0);
    assert_eq!(count(&setup.data, SECRET), 0);
}

#[test]
fn deliveries_during_an_erasure_are_neither_lost_nor_damaged() {
    let setup = setup();
    let server = setup.start();
    for n in 0..200 {
        let who = if n % 2 == 0 { PATIENT } else { "p-0815" };
        post(&server, "refuses", &json!({"n": n, "who": who, "fill": "x".repeat(20_000)}).to_string(), &[]);
    }
    let stop = AtomicBool::new(false);
    let (erased, came) = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut came = 0;
            while !stop.load(Ordering::Relaxed) || came < 20 {
                post(
                    &server,
                    "refuses",
                    &json!({"n": came, "who": "p-0815", "fill": "x".repeat(20_000)}).to_string(),
                    &[],
                );
                came += 1;
            }
            came
        });
        let erased = erase(&setup.data, &["--patient", PATIENT, "--yes"]).1;
        stop.store(true, Ordering::Relaxed);
        (erased, sender.join().unwrap())
    });
    assert_eq!(ids(&erased).len(), 100);
    let mut out = harness::binary();
    out.args(["events", "list", "--json", "--company", "company-1", "--limit", "100000", "--data-dir"]);
    let out = out.arg(&setup.data).output().unwrap();
    let events: Vec<Value> =
        String::from_utf8(out.stdout).unwrap().lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(events.iter().filter(|it| it.get("erased_at").is_some()).count(), 100);
    assert_eq!(events.len(), 200 + came);
    server.stop();
    check(&setup.data);
}

#[test]
fn a_copy_that_a_killed_process_left_behind_is_removed() {
    let setup = setup();
    setup.start().stop();
    let left = setup.data.join("journal/rewrite.tmp");
    std::fs::write(&left, SECRET).unwrap();
    let server = setup.start();
    assert!(!left.exists());
    drop(server);
}

/// Body, headers, where the patient is named and how.
type Sent<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

/// The same, with a body that may not be text.
type SentBytes<'a> = (Vec<u8>, &'a [(&'a str, &'a str)], &'a str, &'a str);

/// A person looks for an id in every way in which senders write it, and so must an erasure: what it misses stays for good.
#[test]
fn a_patient_is_found_however_the_id_is_written() {
    let skips = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    let setup = Setup::new().config(SMALL).plugin("refuses", "", &skips);
    let server = setup.start();
    let form: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];
    let xml: &[(&str, &str)] = &[("content-type", "application/xml")];
    let sent: [Sent<'_>; 12] = [
        (r#"{"patient":{"id":4713}}"#, &[], "body /patient/id", "number"),
        (r#"{"subject":{"reference":"Patient/4713"}}"#, &[], "body /subject/reference", "reference"),
        (r#"{"a":["x","see PATIENT 4713."]}"#, &[], "body /a/1", "text"),
        (r#"{"a":"\u0034\u0037\u0031\u0033"}"#, &[], "body /a", "json-escaped"),
        (r#"{"a":"{\"b\":\"\\u0034713\"}"}"#, &[], "body /a", "json-escaped"),
        ("who=%34%37%31%33&b=c", form, "body /who", "percent-encoded"),
        ("<p><id>4713</id></p>", xml, "body /p/id", "text"),
        ("<p>&#52;713</p>", xml, "body /p", "xml-escaped"),
        (r#"{"4713":{"a":1}}"#, &[], "body /4713", "text"),
        ("{broken 4713", &[], "body", "text"),
        (r#"{"a":1}"#, &[("user-agent", "urn:mrn:4713")], "header user-agent", "reference"),
        (r#"{"a":"x"}"#, &[("user-agent", "%34713")], "header user-agent", "percent-encoded"),
    ];
    let mut expected = std::collections::BTreeMap::new();
    for (body, headers, place, form) in sent {
        let id = post(&server, "refuses", body, headers);
        expected.insert(id, (place.to_owned(), form.to_owned()));
    }
    let mut others = Vec::new();
    for body in [r#"{"a":14713}"#, r#"{"a":"4713-9"}"#, r#"{"a":4713.5}"#, r#"{"a":"2026-4713"}"#, r#"{"a":"004713"}"#]
    {
        others.push(post(&server, "refuses", body, &[]));
    }
    let zeros = others.pop().unwrap();
    let mut named = task();
    named["description"] = "Ask patient 4713 to come".into();
    let named = server.post("/v1/tasks", &named).expect(201).json();
    let (code, shown, said) = erase(&setup.data, &["--patient", "4713"]);
    assert_eq!(code, Some(0), "{said}");
    let of_task = shown["events"].as_array().unwrap().iter().find(|it| it["integration"] == "tasks");
    assert_eq!(of_task.unwrap()["matches"], json!([{"place": "body /description", "form": "text"}]));
    assert_eq!(shown["tasks"], json!([{"id": named["id"], "matches": [{"place": "description", "form": "text"}]}]));
    let found: std::collections::BTreeMap<_, _> = shown["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["integration"] == "refuses")
        .map(|it| (text(&it["id"]), (text(&it["matches"][0]["place"]), text(&it["matches"][0]["form"]))))
        .collect();
    assert_eq!(found, expected);
    let (_, shown, _) = erase(&setup.data, &["--patient", "4713", "--leading-zeros"]);
    let found = shown["events"].as_array().unwrap().iter().find(|it| it["id"] == *zeros);
    assert_eq!(found.unwrap()["matches"], json!([{"place": "body /a", "form": "leading-zeros"}]), "{shown}");
    let (_, erased, _) = erase(&setup.data, &["--patient", "4713", "--yes"]);
    assert_eq!(ids(&erased).len(), expected.len() + 1);
    for id in &others {
        assert!(event(&server, id).get("erased_at").is_none());
    }
    server.stop();
    check(&setup.data);
}

/// An integration reads more than a body's text shows. What it read and an erasure misses stays for good, also when the
/// integration is gone.
#[test]
fn a_patient_is_found_wherever_an_integration_reads_the_id() {
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    let setup = Setup::new().config(SMALL).plugin("refuses", "", &refuses);
    let server = setup.start();
    let multipart = [("content-type", "multipart/form-data; boundary=X")];
    let part = |headers: &str, content: &[u8]| {
        let head = format!("--X\r\nContent-Disposition: form-data; name=\"who\"{headers}\r\n\r\n");
        [head.as_bytes(), content, b"\r\n--X--\r\n"].concat()
    };
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let pdf = "; filename=\"a.txt\"\r\nContent-Transfer-Encoding: base64";
    let json = [("content-type", "application/json")];
    let xml = [("content-type", "application/xml")];
    let plain = [("content-type", "text/plain")];
    let sent: Vec<SentBytes<'_>> = vec![
        // The claims of a token: {"patient":"4714"}
        (b"eyJhbGciOiJIUzI1NiJ9.eyJwYXRpZW50IjoiNDcxNCJ9.c2ln".to_vec(), &plain, "body /patient", "text"),
        // {"patient":{"id":4714}}
        (br#"{"message":{"data":"eyJwYXRpZW50Ijp7ImlkIjo0NzE0fX0="}}"#.to_vec(), &json, "body /message/data", "base64"),
        (part("\r\nContent-Transfer-Encoding: base64", b"NDcxNA=="), &multipart, "body /who", "text"),
        (part("\r\nContent-Transfer-Encoding: quoted-printable", b"47=\r\n14"), &multipart, "body /who", "text"),
        (part("\r\nContent-Type: text/plain; charset=utf-16le", &wide("4714")), &multipart, "body /who", "text"),
        (part(pdf, b"NDcxNA=="), &multipart, "body", "base64"),
        (wide(r#"{"a":"4714"}"#), &json, "body /a", "text"),
        (wide("no JSON 4714"), &json, "body", "text"),
        (b"<p><id>47<!-- x -->14</id></p>".to_vec(), &xml, "body /p/id", "text"),
        (b"<p><id>47<![CDATA[14]]></id></p>".to_vec(), &plain, "body /p/id", "text"),
    ];
    let mut expected = std::collections::BTreeMap::new();
    for (body, headers, place, form) in sent {
        let reply = server.send("POST", "/v1/hooks/refuses", headers, &body);
        expected.insert(reply.header("x-event-id").to_owned(), (place.to_owned(), form.to_owned()));
    }
    let other = post(&server, "refuses", r#"{"data":"eyJpZCI6IjE0NzE0In0="}"#, &[]);
    server.stop();
    // Nothing knows the integration any more.
    std::fs::remove_dir_all(setup.plugins.join("refuses")).unwrap();
    let (_, shown, _) = erase(&setup.data, &["--patient", "4714"]);
    let found: std::collections::BTreeMap<_, _> = shown["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (text(&it["id"]), (text(&it["matches"][0]["place"]), text(&it["matches"][0]["form"]))))
        .collect();
    assert_eq!(found, expected);
    assert!(!found.contains_key(&other), "14714 is another patient");
}

/// A remembered response holds what its task says, in the view, in the journal and in a snapshot.
#[test]
fn remembered_responses_are_erased_and_a_repetition_still_does_nothing() {
    let setup = setup();
    let server = setup.start();
    let mut about = task();
    about["description"] = SECRET.into();
    about["patient_id"] = PATIENT.into();
    let body = about.to_string();
    let once = |server: &Server| server.send("POST", "/v1/tasks", &[("idempotency-key", "k-1")], body.as_bytes());
    let made = once(&server).expect(201);
    assert_eq!(once(&server).expect(201).text, made.text);
    let mut other = task();
    other["description"] = "kept in mind".into();
    let kept = other.to_string();
    let again = |server: &Server| server.send("POST", "/v1/tasks", &[("idempotency-key", "k-2")], kept.as_bytes());
    let other = again(&server).expect(201);
    let backup = setup.data.with_file_name("backup");
    let taken = harness::binary().args(["store", "backup"]).arg(&backup).arg("--data-dir").arg(&setup.data).output();
    assert!(taken.unwrap().status.success());
    let (code, erased, said) = erase(&setup.data, &["--patient", PATIENT, "--yes"]);
    assert_eq!((code, &erased["remembered_responses"]), (Some(0), &json!(1)), "{erased} {said}");
    let repeated = once(&server).expect(201);
    assert_eq!(repeated.json(), json!({"erased": true}));
    assert_eq!(repeated.header("x-event-id"), made.header("x-event-id"));
    assert_eq!(again(&server).expect(201).text, other.text);
    let tasks = server.get("/v1/tasks").expect(200).json();
    assert_eq!(
        tasks["total"].as_u64().or_else(|| tasks["data"].as_array().map(|it| it.len() as u64)),
        Some(2),
        "{tasks}"
    );
    // The task itself stays: it is once in the journal, as are its later states.
    assert_eq!(count(&setup.data, SECRET), 1);
    server.stop();
    check(&setup.data);
    // Made from the snapshot and the journal, the view has none of it either.
    std::fs::remove_dir_all(setup.data.join("sled-1")).unwrap();
    let server = setup.start();
    assert_eq!(once(&server).expect(201).json(), json!({"erased": true}));
    server.stop();
    // In a backup there is no view, and the snapshot has the answer as well.
    let in_snapshot = || {
        let files = std::fs::read_dir(backup.join("snapshots")).unwrap();
        files
            .map(|it| memchr::memmem::find_iter(&std::fs::read(it.unwrap().path()).unwrap(), SECRET).count())
            .sum::<usize>()
    };
    // The task's own, and the answer's.
    assert_eq!(in_snapshot(), 2);
    assert_eq!(erase(&backup, &["--patient", PATIENT, "--yes"]).0, Some(0));
    assert_eq!(in_snapshot(), 1);
    check(&backup);
}
