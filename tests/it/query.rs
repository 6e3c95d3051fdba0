//! Query parameters of every route: known names, lists, and what is refused.

use serde_json::{Value, json};

use crate::guests::component;
use crate::harness::{KEY, Server, Setup, task};

/// Posts a task with these fields.
fn post(server: &Server, fields: &Value) -> Value {
    let mut body = task();
    fields.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
    server.post("/v1/tasks", &body).expect(201).json()
}

fn titles(page: &Value) -> String {
    page["data"].as_array().unwrap().iter().map(|it| it["title"].as_str().unwrap()).collect()
}

/// A misspelled filter that is ignored lists the tasks of every patient.
#[test]
fn every_route_refuses_unknown_query_parameters_and_lists_the_known_ones() {
    let setup = Setup::new();
    let server = setup.start();
    let (operator, id) = (setup.operator(), "01a20f92-f38c-7145-a565-df7733d05cfc");
    let none = "no query parameters";
    let list = "one of patient_id, status, priority, assigned_user_id, type, updated_since, page, limit, cursor";
    let events = "one of company_id, integration, status, reason, since, until, task_id, id, repeats, text, pointer, value, limit, cursor";
    let event = "one of company_id";
    for (method, path, expected) in [
        ("POST", "/v1/tasks", none),
        ("GET", "/v1/tasks", list),
        ("HEAD", "/v1/tasks", list),
        ("POST", "/v1/tasks/batch", "one of on_error"),
        ("GET", "/v1/tasks/changes", "one of limit, cursor"),
        ("GET", "/v1/tasks/{id}", none),
        ("GET", "/v1/tasks/{id}/provenance", none),
        ("PATCH", "/v1/tasks/{id}", none),
        ("DELETE", "/v1/tasks/{id}", none),
        ("GET", "/v1/events", events),
        ("POST", "/v1/events/erase", event),
        ("GET", "/v1/events/{id}", event),
        ("GET", "/v1/events/{id}/raw", event),
        ("POST", "/v1/events/{id}/replay", event),
        ("POST", "/v1/admin/keys", none),
        ("GET", "/v1/admin/keys", "one of company_id, limit, cursor"),
        ("DELETE", "/v1/admin/keys/{id}", none),
        ("GET", "/v1/admin/audit", "one of company_id, limit, cursor"),
        ("GET", "/v1/admin/plugins", none),
        ("POST", "/v1/admin/plugins/reload", none),
        ("POST", "/v1/admin/plugins/diff", none),
        ("GET", "/v1/admin/plugins/{id}/shadow", "one of values"),
        ("GET", "/v1/admin/store", none),
        ("POST", "/v1/admin/store/backup", none),
        ("POST", "/v1/admin/store/compact", none),
        ("GET", "/v1/me", none),
        ("GET", "/healthz", none),
        ("GET", "/readyz", none),
    ] {
        let of_the_operator = path.starts_with("/v1/admin/store") || path.ends_with("/diff");
        let key = if of_the_operator { operator.as_str() } else { KEY };
        let url = format!("{}?colour=green", path.replace("{id}", id));
        let reply = server.send_as(method, &url, &[("x-api-key", key)], b"").expect(422);
        if method == "HEAD" {
            continue;
        }
        let error = &reply.json()["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!("/colour"), &json!("unknown_parameter")), "{url}");
        assert_eq!(error["expected"], expected, "{method} {url}");
        assert!(!reply.json().to_string().contains("green"), "the value may be a secret: {url}");
        // Without a key, the answer says nothing but that one is needed.
        if path.starts_with("/v1/") {
            server.send_as(method, &url, &[], b"").expect(401);
        }
    }
    let message = server.get("/v1/me?verbose=1").expect(422).message();
    assert_eq!(message, "\"verbose\": this URL takes no query parameters; remove it");
}

#[test]
fn the_error_about_a_misspelled_parameter_suggests_the_right_one() {
    let server = Setup::new().start();
    for (sent, meant) in [
        ("patientId=1", Some("patient_id")),
        ("patient-id=1", Some("patient_id")),
        ("Status=pending", Some("status")),
        ("statsu=pending", Some("status")),
        ("assigned_user_ids[0]=u1", Some("assigned_user_id")),
        ("status[a]=pending", Some("status")),
        ("assignee=u1", None),
        ("colour=green", None),
        ("filter[status]=pending", None),
        ("=x", None),
    ] {
        let error = server.get(&format!("/v1/tasks?{sent}")).expect(422).json()["errors"][0].clone();
        let hint = meant.map(|it| format!("did you mean \"{it}\"?"));
        assert_eq!(error["hint"], json!(hint), "{sent}");
    }
    let many: Vec<_> = (0..300).map(|it| format!("{}{it}=1", "x".repeat(30))).collect();
    let reply = server.get(&format!("/v1/tasks?{}", many.join("&"))).expect(422).json();
    assert_eq!((reply["errors"].as_array().unwrap().len(), &reply["errors_omitted"]), (100, &json!(200)));
    assert!(reply["message"].as_str().unwrap().len() < 8192);
}

/// What n8n, PHP, browsers and people write for "one of these".
#[test]
fn every_way_to_write_a_list_matches_either_value() {
    let server = Setup::new().start();
    for (title, status, priority, kind, user, patient) in [
        ("a", "pending", "low", "vob", "u1", "p1"),
        ("b", "in_progress", "high", "general", "u2", "p2"),
        ("c", "completed", "urgent", "vob", "u3", "Doe, J"),
        ("d", "completed", "low", "fax", "u1", "p1"),
    ] {
        let fields = json!({"title": title, "status": status, "priority": priority, "type": kind,
                            "assigned_user_ids": [user], "patient_id": patient});
        post(&server, &fields);
    }
    for (query, expected) in [
        ("status=pending&status=in_progress", "ba"),
        ("status[0]=pending&status[1]=in_progress", "ba"),
        ("status%5B0%5D=pending&status%5B1%5D=in_progress", "ba"),
        ("status[]=pending&status[]=in_progress", "ba"),
        ("status=pending,in_progress", "ba"),
        ("status=pending%2Cin_progress", "ba"),
        ("status=pending,+In%20Progress", "ba"),
        ("status=pending,pending&status[7]=pending", "a"),
        ("status=pending&status[]=in_progress,completed", "dcba"),
        ("priority=low,urgent&status=completed", "dc"),
        ("type=fax,general", "db"),
        ("assigned_user_id=u1,u2", "dba"),
        ("assigned_user_id[]=u3&assigned_user_id[]=nobody", "c"),
        ("patient_id=p1&patient_id=p2", "dba"),
        ("patient_id=p1,p2", "dba"),
        // A patient's id may contain a comma. Taken apart, it would list two other patients.
        ("patient_id=Doe%2C%20J", "c"),
        ("patient_id[]=Doe%2C%20J&patient_id[]=p2", "cb"),
        // Blank values do not count, alone or next to others.
        ("status=,pending&type[]=&priority=,", "a"),
        ("status=&status[]=null", "dcba"),
    ] {
        let page = server.get(&format!("/v1/tasks?{query}")).expect(200).json();
        assert_eq!(titles(&page), expected, "{query}");
        assert_eq!(page["pagination"]["total"], json!(expected.len()), "{query}");
    }
    let (mut seen, mut cursor) = (String::new(), String::new());
    loop {
        let page = server.get(&format!("/v1/tasks?status=completed,pending&limit=1{cursor}")).expect(200).json();
        seen.push_str(&titles(&page));
        let Some(next) = page["pagination"]["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, "dca");
}

#[test]
fn a_list_has_at_most_a_hundred_values_and_a_wrong_one_is_named() {
    let server = Setup::new().start();
    let users = |count: usize| (0..count).map(|it| format!("u{it}")).collect::<Vec<_>>().join(",");
    server.get(&format!("/v1/tasks?assigned_user_id={}", users(100))).expect(200);
    let refused = server.get(&format!("/v1/tasks?assigned_user_id={}", users(101))).expect(422);
    assert_eq!(refused.message(), "assigned_user_id: has 101 values; send at most 100");
    let refused = server.get("/v1/tasks?status=pending,done").expect(422);
    assert_eq!(refused.message(), "status: \"done\" is not one of pending, in_progress, completed");
}

/// A client must be able to see that a filter did nothing.
#[test]
fn blank_and_loosened_parameters_are_named_in_a_header() {
    let server = Setup::new().start();
    let loosened = |path: &str| server.get(path).expect(200).header("x-loosened").to_owned();
    assert_eq!(loosened("/v1/tasks?status=pending&limit=5"), "");
    let sent = "patient_id=&status=In%20Progress&page=&priority=high,";
    assert_eq!(loosened(&format!("/v1/tasks?{sent}")), "patient_id,status,page,priority");
    assert_eq!(loosened("/v1/events?status=&limit=5"), "status");
    assert_eq!(loosened("/v1/admin/audit?cursor="), "cursor");
}

#[test]
fn events_are_listed_by_several_integrations_statuses_and_reasons() {
    let server = Setup::new().start();
    post(&server, &json!({}));
    server.send("POST", "/v1/tasks", &[("content-type", "application/json")], b"{\"title\": 1}").expect(422);
    server.send("POST", "/v1/tasks", &[("content-type", "application/json")], b"{").expect(400);
    let count =
        |query: &str| server.get(&format!("/v1/events?{query}")).expect(200).json()["data"].as_array().unwrap().len();
    assert_eq!((count("status=stored"), count("status=quarantined")), (1, 2));
    assert_eq!((count("status=stored,quarantined"), count("status[]=rejected&status[]=Stored")), (3, 1));
    assert_eq!((count("reason=schema"), count("reason=decode"), count("reason=decode,schema")), (1, 1, 2));
    assert_eq!((count("integration=nobody"), count("integration=nobody,tasks")), (0, 3));
    let refused = server.get("/v1/events?limit=1&limit=2&since=now").expect(422).json();
    assert_eq!(
        (&refused["errors"][0]["pointer"], &refused["errors"][1]["pointer"]),
        (&json!("/since"), &json!("/limit"))
    );
}

/// Without this, an admin who names another company would get its own events, and take them for the other's.
#[test]
fn a_key_cannot_name_another_company() {
    let server = Setup::new().start();
    let event = server.post("/v1/tasks", &task()).expect(201).header("x-event-id").to_owned();
    for path in ["/v1/events", &format!("/v1/events/{event}"), "/v1/admin/audit"] {
        server.get(&format!("{path}?company_id=company-1")).expect(200);
        let refused = server.get(&format!("{path}?company_id=company-2")).expect(403);
        assert_eq!(refused.code(), "other_company", "{path}");
    }
}

/// Third parties add parameters to the URL that they were given, and some sign the whole URL.
#[test]
fn deliveries_may_carry_any_query_parameters() {
    let server = Setup::new().plugin("guest", "", &component("")).start();
    server.post("/v1/hooks/guest?utm_source=x&status=1&status=2", &task()).expect(200);
}
