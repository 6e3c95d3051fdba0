//! `GET /v1/tasks`: filters, pages and cursors.

use serde_json::{Value, json};

use crate::harness::{Server, Setup, task};

/// Posts a task of this title with these fields.
fn post(server: &Server, title: &str, fields: &Value) {
    let mut body = task();
    body["title"] = json!(title);
    fields.as_object().unwrap().iter().for_each(|(name, value)| body[name] = value.clone());
    server.post("/v1/tasks", &body).expect(201);
}

fn titles(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|it| it["title"].as_str().unwrap()).collect()
}

fn numbered(server: &Server, numbers: std::ops::RangeInclusive<u32>) {
    numbers.for_each(|it| post(server, &it.to_string(), &json!({})));
}

#[test]
fn every_filter_is_kept_alone_and_together_with_others() {
    let server = Setup::new().start();
    post(&server, "a", &json!({"patient_id": "p1", "status": "pending", "priority": "high", "type": "vob"}));
    post(&server, "b", &json!({"patient_id": "p1", "status": "in_progress", "assigned_user_ids": ["u1", "u2"]}));
    post(&server, "c", &json!({"patient_id": "p2", "status": "completed", "priority": "high", "type": "general"}));
    for (query, expected) in [
        ("", vec!["c", "b", "a"]),
        ("patient_id=p1", vec!["b", "a"]),
        ("status=completed", vec!["c"]),
        ("priority=high", vec!["c", "a"]),
        ("assigned_user_id=u2", vec!["b"]),
        ("type=vob", vec!["a"]),
        ("patient_id=p1&priority=high", vec!["a"]),
        ("patient_id=p1&status=completed", vec![]),
        ("patient_id=p1&status=pending&priority=high&type=vob&assigned_user_id=u1", vec!["a"]),
        ("patient_id=nobody", vec![]),
        // What a workflow sends whose field is empty.
        ("patient_id=&status=undefined&priority=%20&page=&limit=&cursor=null", vec!["c", "b", "a"]),
        ("status=In%20Progress", vec!["b"]),
        ("priority=HIGH&patient_id=+p2+", vec!["c"]),
    ] {
        let page = server.get(&format!("/v1/tasks?{query}")).expect(200).json();
        assert_eq!(titles(&page), expected, "{query}");
        assert_eq!(page["pagination"]["total"], json!(expected.len()), "{query}");
    }
}

#[test]
fn pages_are_counted_from_one_and_the_last_one_says_so() {
    let server = Setup::new().start();
    numbered(&server, 1..=5);
    let page = server.get("/v1/tasks").expect(200).json();
    assert_eq!(page["pagination"], json!({"has_more": false, "total": 5, "page": 1, "limit": 50, "next_cursor": null}));
    for (number, expected, more) in
        [(1, vec!["5", "4"], true), (2, vec!["3", "2"], true), (3, vec!["1"], false), (4, vec![], false)]
    {
        let page = server.get(&format!("/v1/tasks?limit=2&page={number}")).expect(200).json();
        assert_eq!(titles(&page), expected);
        let about = &page["pagination"];
        assert_eq!((&about["has_more"], &about["total"]), (&json!(more), &json!(5)), "{number}");
        assert_eq!((&about["page"], &about["limit"]), (&json!(number), &json!(2)));
        assert_eq!(about["next_cursor"].is_string(), more, "{number}");
    }
}

/// Who reads everything page by page must see nothing twice while others write.
#[test]
fn a_cursor_stays_where_it_is_when_tasks_come_in_between() {
    let server = Setup::new().start();
    numbered(&server, 1..=5);
    let mut page = server.get("/v1/tasks?limit=2").expect(200).json();
    let mut seen: Vec<String> = Vec::new();
    loop {
        seen.extend(titles(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["pagination"]["next_cursor"].as_str() else { break };
        post(&server, "new", &json!({}));
        page = server.get(&format!("/v1/tasks?limit=2&cursor={cursor}")).expect(200).json();
    }
    assert_eq!(seen, ["5", "4", "3", "2", "1"]);
    assert_eq!(page["pagination"]["has_more"], false);
}

#[test]
fn an_invalid_query_gets_every_violation() {
    let setup = Setup::new();
    let server = setup.start();
    let reply = server.get("/v1/tasks?page=0&limit=101&status=soon&priority=1&cursor=x").expect(422).json();
    let errors = reply["errors"].as_array().unwrap();
    let pointers: Vec<_> = errors.iter().map(|it| it["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/status", "/priority", "/page", "/limit", "/cursor"]);
    assert!(reply["message"].as_str().unwrap().contains("limit: \"101\" is not a number from 1 to 100"), "{reply}");
    for (query, pointer) in [
        ("limit=0", "/limit"),
        ("limit=ten", "/limit"),
        ("page=-1", "/page"),
        ("page=1&cursor=AAAAAAAAAAE", "/page"),
        ("page=1&page=2", "/page"),
        ("limit[]=1", "/limit"),
    ] {
        let reply = server.get(&format!("/v1/tasks?{query}")).expect(422).json();
        assert_eq!(reply["errors"][0]["pointer"], pointer, "{query}");
    }
}

#[test]
fn a_strict_key_has_its_query_read_literally() {
    let server = Setup::new().start();
    post(&server, "a", &json!({"status": "in_progress"}));
    let request = json!({"company_id": "company-1", "scopes": ["tasks:read"], "strict": true});
    let key = server.post("/v1/admin/keys", &request).expect(201).json()["key"].as_str().unwrap().to_owned();
    for (query, status) in [("status=in_progress", 200), ("status=In%20Progress", 422), ("limit=", 422), ("x=1", 422)] {
        server.send_as("GET", &format!("/v1/tasks?{query}"), &[("x-api-key", &key)], b"").expect(status);
    }
    let page = server.send_as("GET", "/v1/tasks?patient_id=", &[("x-api-key", &key)], b"").expect(200).json();
    assert_eq!(page["pagination"]["total"], 0);
}

#[test]
fn a_list_holds_ones_own_companys_tasks_and_needs_the_scope() {
    let setup = Setup::new();
    let server = setup.start();
    post(&server, "a", &json!({}));
    let other = setup.key("company-2", &["tasks:read"]);
    let list = |key: &str| server.send_as("GET", "/v1/tasks", &[("x-api-key", key)], b"");
    assert_eq!(list(&other).expect(200).json()["pagination"]["total"], 0);
    list(&setup.key("company-1", &["tasks:write"])).expect(403);
    list("").expect(401);
}
