//! `openapi.json`: it is what the routes say, and the server answers as it says.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::guests::says;
use crate::harness::contract::{self, DESCRIPTION};
use crate::harness::{self, KEY, Reply, Server, Setup, task, until};

/// Else clients are generated from a description of another version.
#[test]
fn the_checked_in_description_is_the_generated_one() {
    let generated = harness::binary().arg("openapi").output().unwrap();
    assert!(generated.status.success());
    let checked_in = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json")).unwrap();
    assert!(generated.stdout == checked_in, "openapi.json is out of date: run `hookmill openapi > openapi.json`");
}

#[test]
fn the_description_is_served_without_a_key_byte_for_byte() {
    let server = Setup::new().start();
    let served = server.send_as("GET", "/openapi.json", &[], b"").expect(200);
    assert_eq!(served.header("content-type"), "application/json");
    assert!(served.text == include_str!("../../openapi.json"));
}

/// The operations of the description: (path, method, operation).
fn operations() -> Vec<(&'static str, &'static str, &'static Value)> {
    let paths = DESCRIPTION["paths"].as_object().unwrap();
    let methods = |(path, all): (&'static String, &'static Value)| {
        all.as_object().unwrap().iter().map(|(method, it)| (path.as_str(), method.as_str(), it)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

/// Generated clients have a function for each operation, named by its id.
#[test]
fn every_operation_has_an_id_of_its_own_a_sentence_and_its_path_parameters() {
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations() {
        let name = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}: its id is used twice");
        assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{name}: no sentence");
        let parameters = operation["parameters"].as_array().into_iter().flatten().filter(|it| it["in"] == "path");
        let described: Vec<_> = parameters.map(|it| it["name"].as_str().unwrap()).collect();
        let named: Vec<_> = path.split('/').filter_map(|it| it.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(described, named, "{name}");
    }
}

/// A component that two types share by accident gets a number, and a generated client a meaningless name.
#[test]
fn every_schema_has_a_name_of_its_own_and_every_reference_a_target() {
    let schemas = DESCRIPTION["components"]["schemas"].as_object().unwrap();
    let numbered: Vec<_> = schemas.keys().filter(|it| it.ends_with(|last: char| last.is_ascii_digit())).collect();
    assert!(numbered.is_empty(), "{numbered:?}");
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|it| references(it, found));
            }
            Value::Array(items) => items.iter().for_each(|it| references(it, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    references(&DESCRIPTION, &mut found);
    for reference in found {
        assert!(DESCRIPTION.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
    }
}

/// A candidate that answers the same as the live plugin.
fn setup() -> Setup {
    let makes = says(&task().to_string());
    let with = |rest: &str| format!("{rest}[auth]\nscheme = \"api-key\"\n");
    let setup = Setup::new();
    let secrets = setup.data.with_file_name("secrets.toml");
    std::fs::write(&secrets, "").unwrap();
    let setup = setup
        .config(&format!("secrets_file = {secrets:?}\n[plugins]\nwatch = false\nsettle_ms = 0\n"))
        .plugin("asks", "[auth]\nsender = \"asana\"\nsecret = \"ASKS\"\n", &makes)
        .env("URL_SECRET", "a-secret-in-the-url-0123456789")
        .plugin("guest", &with("shadow = \"../.guest-next\"\n"), &makes)
        .plugin(".guest-next", "", &makes)
        .plugin("several", "", &says(&json!([task(), task()]).to_string()))
        .script("mapped", "export default (event) => ({ title: `a ${event.a}`, description: 'x' });")
        .plugin("skips", "", &says(r#"{"skip":"nothing to do"}"#))
        .plugin("broken", "", &says("no json"))
        .plugin("greets", "[auth]\nsender = \"dropbox\"\nsecret = \"URL_SECRET\"\n", &makes)
        .plugin("secret", "[auth]\nsender = \"mailchimp\"\nsecret = \"URL_SECRET\"\n", &makes);
    let manifest = setup.plugins.join(".guest-next/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(manifest, text.replace("\".guest-next\"", "\"guest\"")).unwrap();
    setup
}

/// Sends requests, and notes which operations have succeeded. The harness compares each response with the description.
struct Tour {
    server: Server,
    operator: String,
    visited: BTreeSet<(String, String)>,
}

impl Tour {
    #[track_caller]
    fn send(
        &mut self,
        status: u16,
        key: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Reply {
        let mut all = vec![("x-api-key", key)];
        all.extend_from_slice(headers);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = self.server.send_as(method, target, &all, &body).expect(status);
        if let Some(operation) = contract::operation(method, target).filter(|_| status < 300) {
            self.visited.insert((operation.path, operation.method));
        }
        reply
    }

    #[track_caller]
    fn get(&mut self, target: &str) -> Reply {
        self.send(200, KEY, "GET", target, &[], &Value::Null)
    }

    #[track_caller]
    fn post(&mut self, status: u16, target: &str, body: &Value) -> Reply {
        self.send(status, KEY, "POST", target, &[], body)
    }

    fn tasks(&mut self) -> String {
        let created = self.post(201, "/v1/tasks", &task());
        let id = created.json()["id"].as_str().unwrap().to_owned();
        let once = [("idempotency-key", "tour")];
        self.send(201, KEY, "POST", "/v1/tasks", &once, &task());
        assert_eq!(self.send(201, KEY, "POST", "/v1/tasks", &once, &task()).header("idempotent-replayed"), "true");
        self.send(409, KEY, "POST", "/v1/tasks", &once, &json!({"title": "another"}));
        self.post(201, "/v1/tasks", &json!([{"json": {"title": 7, "description": "d", "assigned_user_ids": "u1, u2", "created_by_id": 9, "deadline": "2026-12-01"}}]));
        self.post(422, "/v1/tasks", &json!({"title": ""}));
        self.post(200, "/v1/tasks/batch", &json!([task(), {"title": 1}]));
        self.get("/v1/tasks?limit=1");
        let one = format!("/v1/tasks/{id}");
        self.get(&one);
        self.send(200, KEY, "HEAD", &one, &[], &Value::Null);
        self.send(200, KEY, "PATCH", &one, &[("if-match", "\"1\"")], &json!({"priority": "URGENT"}));
        self.send(409, KEY, "PATCH", &one, &[("if-match", "\"1\"")], &json!({"priority": "low"}));
        self.get(&format!("{one}/provenance"));
        self.send(204, KEY, "DELETE", &one, &[], &Value::Null);
        self.send(404, KEY, "GET", &one, &[], &Value::Null);
        let changes = self.get("/v1/tasks/changes").json();
        let all = changes["data"].as_array().unwrap();
        assert!(all.iter().any(|it| it["deleted"] == true) && all.iter().any(|it| it["deleted"] == false), "{changes}");
        created.header("x-event-id").to_owned()
    }

    /// The examples of the description, as they are.
    fn examples(&mut self) {
        let bodies = |operation: &str| {
            let content = DESCRIPTION.pointer(operation).unwrap()["requestBody"]["content"]["application/json"].clone();
            content["examples"].as_object().unwrap().values().map(|it| it["value"].clone()).collect::<Vec<_>>()
        };
        for body in bodies("/paths/~1v1~1tasks/post") {
            self.post(201, "/v1/tasks", &body);
        }
        for body in bodies("/paths/~1v1~1tasks~1{id}/patch") {
            let id = self.post(201, "/v1/tasks", &task()).json()["id"].as_str().unwrap().to_owned();
            self.send(200, KEY, "PATCH", &format!("/v1/tasks/{id}"), &[], &body);
        }
        for body in bodies("/paths/~1v1~1admin~1keys/post") {
            self.post(201, "/v1/admin/keys", &body);
        }
    }

    fn deliveries(&mut self) -> String {
        let first = self.post(201, "/v1/hooks/guest", &json!({"n": 1}));
        self.post(201, "/v1/hooks/several", &json!({}));
        self.post(200, "/v1/hooks/skips", &json!({}));
        self.post(422, "/v1/hooks/broken", &json!({}));
        self.send(202, KEY, "POST", "/v1/hooks/guest", &[("prefer", "respond-async")], &json!({"n": 2}));
        let once = [("idempotency-key", "tour")];
        self.send(201, KEY, "POST", "/v1/hooks/several", &once, &json!({}));
        self.send(200, KEY, "POST", "/v1/hooks/several", &once, &json!({}));
        self.send(401, "nonsense", "POST", "/v1/hooks/guest", &[], &json!({}));
        self.post(404, "/v1/hooks/nobody", &json!({}));
        self.send(201, KEY, "POST", "/v1/hooks/secret/a-secret-in-the-url-0123456789", &[], &json!({}));
        self.send(201, KEY, "POST", "/v1/hooks/secret/a-secret-in-the-url-0123456789/more/of/it", &[], &json!({}));
        self.get("/v1/hooks/secret/a-secret-in-the-url-0123456789");
        self.get("/v1/hooks/secret/a-secret-in-the-url-0123456789/more/of/it");
        self.get("/v1/hooks/greets?challenge=c");
        first.header("x-event-id").to_owned()
    }

    fn events(&mut self, direct: &str, hook: &str) {
        self.get("/v1/events?limit=2");
        self.get(&format!("/v1/events/{direct}"));
        self.get(&format!("/v1/events/{hook}"));
        self.get(&format!("/v1/events/{hook}/raw"));
        let form = "--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n\r\nfile\r\n--x--";
        let typed = [("content-type", "multipart/form-data; boundary=x")];
        let with_file = self.server.send("POST", "/v1/hooks/guest", &typed, form.as_bytes()).expect(201);
        self.get(&format!("/v1/events/{}/files/0", with_file.header("x-event-id")));
        self.post(200, &format!("/v1/events/{hook}/replay"), &json!({"tasks": "update"}));
        self.send(
            201,
            KEY,
            "POST",
            &format!("/v1/events/{hook}/copy"),
            &[("idempotency-key", "a-copy")],
            &json!({"body": "{}"}),
        );
        self.post(200, &format!("/v1/events/{hook}/copy"), &json!({"body": "{", "dry_run": true}));
        self.post(200, "/v1/admin/replays", &json!({"filter": {"integration": ["guest"]}, "dry_run": true}));
        let job = self.post(201, "/v1/admin/replays", &json!({"tasks": "update"})).json();
        let job = format!("/v1/admin/replays/{}", job["id"].as_str().unwrap());
        self.get(&job);
        self.post(200, &format!("{job}/stop"), &Value::Null);
        self.get("/v1/admin/replays");
        self.get("/v1/admin/senders");
        self.get("/v1/admin/senders/github");
        self.post(200, "/v1/admin/plugins/secret/test-delivery", &json!({"body": "{}"}));
        self.post(200, "/v1/events/erase", &json!({"patient_id": "nobody-at-all", "dry_run": true}));
        let reader = json!({"company_id": "company-1", "scopes": ["tasks:read"], "label": "reader"});
        let created = self.post(201, "/v1/admin/keys", &reader).json();
        let (key, id) = (created["key"].as_str().unwrap(), created["details"]["id"].as_str().unwrap());
        self.send(200, key, "GET", &format!("/v1/events/{hook}"), &[], &Value::Null);
        self.send(403, key, "GET", &format!("/v1/events/{hook}/raw"), &[], &Value::Null);
        self.get("/v1/admin/keys");
        self.send(204, KEY, "DELETE", &format!("/v1/admin/keys/{id}"), &[], &Value::Null);
    }

    /// The answer to a handshake is the sender's own, so it is not compared.
    fn learned_secrets(&mut self) {
        for secret in ["0123456789abcdef-1", "0123456789abcdef-2"] {
            let head =
                format!("POST /v1/hooks/asks HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-hook-secret: {secret}");
            self.server.raw(format!("{head}\r\ncontent-length: 0\r\n\r\n").as_bytes());
        }
        let waiting = self.get("/v1/admin/learned-secrets").json();
        let path =
            |at: usize| format!("/v1/admin/learned-secrets/{}", waiting["data"][at]["event_id"].as_str().unwrap());
        self.send(200, KEY, "POST", &format!("{}/confirm", path(0)), &[], &Value::Null);
        self.send(204, KEY, "DELETE", &path(1), &[], &Value::Null);
        self.send(404, KEY, "DELETE", &path(1), &[], &Value::Null);
    }

    fn scripts(&mut self) {
        let plugin = "/v1/admin/plugins/mapped";
        self.post(200, &format!("{plugin}/try"), &json!({"payload": {"a": 1}}));
        self.post(201, &format!("{plugin}/fixtures"), &json!({"name": "one", "payload": {"a": 1}}));
        self.post(409, &format!("{plugin}/fixtures"), &json!({"name": "one", "payload": {"a": 1}}));
        self.get(&format!("{plugin}/fixtures"));
        let script = self.get(&format!("{plugin}/script")).json();
        let text = format!("{} // changed", script["files"]["mapper.js"].as_str().unwrap());
        let change = json!({"files": {"mapper.js": text}, "base_digest": script["digest"]});
        self.send(200, KEY, "PUT", &format!("{plugin}/script"), &[], &change);
        self.send(409, KEY, "PUT", &format!("{plugin}/script"), &[], &change);
        let versions = self.get(&format!("{plugin}/script/versions")).json();
        let version = format!("{plugin}/script/versions/{}", versions["data"][1]["digest"].as_str().unwrap());
        self.get(&version);
        self.post(200, &format!("{version}/restore"), &Value::Null);
    }

    fn admin(&mut self, setup: &Setup) {
        let operator = self.operator.clone();
        self.get("/v1/admin/audit");
        self.get("/v1/admin/plugins");
        self.send(200, &operator, "GET", "/v1/admin/plugins", &[], &Value::Null);
        self.post(200, "/v1/admin/plugins/reload", &Value::Null);
        self.learned_secrets();
        let candidate = json!({"dir": setup.plugins.join(".guest-next")});
        self.send(200, &operator, "POST", "/v1/admin/plugins/diff", &[], &candidate);
        let begun = self.send(201, &operator, "POST", "/v1/admin/comparisons", &[], &candidate).json();
        let job = format!("/v1/admin/comparisons/{}", begun["id"].as_str().unwrap());
        let ended =
            |tour: &mut Self| !tour.send(200, &operator, "GET", &job, &[], &Value::Null).json()["ended_at"].is_null();
        until("the dry run has ended", || ended(self));
        self.send(200, &operator, "GET", "/v1/admin/comparisons", &[], &Value::Null);
        self.send(200, &operator, "POST", &format!("{job}/stop"), &[], &Value::Null);
        self.get("/v1/admin/plugins/guest/shadow");
        self.scripts();
        self.send(200, &operator, "GET", "/v1/admin/store", &[], &Value::Null);
        for route in ["/v1/admin/nodes", "/v1/admin/overview", "/v1/admin/settings"] {
            self.send(200, &operator, "GET", route, &[], &Value::Null);
        }
        self.send(201, &operator, "POST", "/v1/admin/console-links", &[], &Value::Null);
        let to = json!({"dir": setup.plugins.parent().unwrap().join("backup")});
        self.send(200, &operator, "POST", "/v1/admin/store/backup", &[], &to);
        self.send(200, &operator, "POST", "/v1/admin/store/compact", &[], &Value::Null);
        self.send(403, KEY, "POST", "/v1/admin/store/compact", &[], &Value::Null);
        self.get("/v1/me");
        self.send(200, &operator, "GET", "/v1/me", &[], &Value::Null);
        self.get("/healthz");
        self.get("/readyz");
        self.send(200, &operator, "GET", "/readyz", &[], &Value::Null);
        self.send(200, &operator, "GET", "/metrics", &[], &Value::Null);
        self.get("/openapi.json");
    }
}

/// A route that is not visited may answer anything.
#[test]
fn a_tour_through_every_route_is_answered_as_described() {
    let setup = setup();
    let server = setup.start();
    let mut tour = Tour { operator: setup.operator(), server, visited: BTreeSet::new() };
    tour.examples();
    let direct = tour.tasks();
    let hook = tour.deliveries();
    tour.events(&direct, &hook);
    tour.admin(&setup);
    let all: BTreeSet<_> =
        operations().iter().map(|(path, method, _)| ((*path).to_owned(), (*method).to_owned())).collect();
    let missing: Vec<_> = all.difference(&tour.visited).collect();
    assert!(missing.is_empty(), "the tour does not visit {missing:?}");
}

/// The tables in the documentation and in the description are one.
#[test]
fn every_error_code_is_described_where_it_may_happen() {
    let codes = DESCRIPTION["components"]["schemas"]["ProblemCode"]["oneOf"].as_array().unwrap();
    let described = DESCRIPTION["components"]["responses"].to_string();
    for code in codes {
        let (name, about) = (code["const"].as_str().unwrap(), code["description"].as_str().unwrap());
        assert!(about.ends_with('.'), "{name}");
        assert!(described.contains(&format!("- `{name}`: {about}")), "{name}: {about}");
    }
}

/// The requests that the documentation sends, as JSON: files, and inline bodies.
fn sent_by_the_documentation() -> Vec<Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut bodies = Vec::new();
    for page in ["README.md", "docs/PLUGINS.md", "docs/OPERATIONS.md", "docs/TASK.md"] {
        let text = std::fs::read_to_string(root.join(page)).unwrap();
        let after = |flag: &'static str| text.split(flag).skip(1).map(str::to_owned).collect::<Vec<_>>();
        for rest in after(" @examples/").into_iter().chain(after("-d@examples/")) {
            let file = rest.split_whitespace().next().unwrap().trim_end_matches(['`', '"', '\'']);
            bodies.extend(std::fs::read(root.join("examples").join(file)).ok());
        }
        for rest in after(" '").into_iter().filter(|it| it.starts_with(['{', '['])) {
            bodies.push(rest.split('\'').next().unwrap().into());
        }
    }
    bodies.iter().filter_map(|it| serde_json::from_slice(it).ok()).collect()
}

/// An example that nothing runs is wrong one day.
#[test]
fn every_example_is_a_request_that_the_documentation_sends() {
    let sent = sent_by_the_documentation();
    for (path, method, operation) in operations() {
        let contents = operation["requestBody"]["content"].as_object().into_iter().flat_map(|it| it.values());
        for (name, example) in contents.filter_map(|it| it["examples"].as_object()).flatten() {
            assert!(sent.contains(&example["value"]), "{method} {path}: no page sends the example {name}");
        }
    }
}
