//! `GET /metrics`: what it shows, who may read it, and what may be in its labels.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::guests::{command, component, says};
use crate::harness::{KEY, Server, Setup, task, until};

const TOKEN: &str = "a-token-for-prometheus-of-some-length";
const BY_HAND: &str = "[plugins]\nwatch = false\nsettle_ms = 0\n";

fn spins() -> String {
    command("(func (export \"_start\") (loop (br 0)))")
}

/// One sample: the series' name, its labels as they are written, and its value.
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// What one scrape shows.
struct Scrape {
    /// The type of each series.
    series: BTreeMap<String, String>,
    samples: Vec<Sample>,
}

impl Scrape {
    /// As the operator.
    fn of(setup: &Setup, server: &Server) -> Self {
        let reply = server.send_as("GET", "/metrics", &[("x-api-key", &setup.operator())], b"").expect(200);
        assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Self::read(&reply.text)
    }

    fn read(text: &str) -> Self {
        let (mut series, mut samples) = (BTreeMap::new(), Vec::new());
        for line in text.lines() {
            if let Some(typed) = line.strip_prefix("# TYPE ") {
                let (name, kind) = typed.split_once(' ').unwrap();
                assert!(series.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is shown twice");
            } else if !line.starts_with('#') {
                samples.push(Sample::read(line));
            }
        }
        Self { series, samples }
    }

    /// The value of the sample with these labels.
    #[track_caller]
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits = |it: &&Sample| {
            let same = |(name, value): &(&str, &str)| it.labels.get(*name).is_some_and(|it| it == value);
            it.name == name && it.labels.len() == labels.len() && labels.iter().all(same)
        };
        let found: Vec<f64> = self.samples.iter().filter(fits).map(|it| it.value).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?} is there {} times", found.len());
        found[0]
    }

    /// Samples of this name that are not 0, by these labels.
    fn nonzero(&self, name: &str, labels: [&str; 2]) -> BTreeMap<(String, String), f64> {
        let found = self.samples.iter().filter(|it| it.name == name && it.value > 0.0);
        found.map(|it| ((it.labels[labels[0]].clone(), it.labels[labels[1]].clone()), it.value)).collect()
    }

    /// Every set of labels, by name.
    fn label_sets(&self) -> BTreeSet<(String, BTreeMap<String, String>)> {
        self.samples.iter().map(|it| (it.name.clone(), it.labels.clone())).collect()
    }
}

impl Sample {
    fn read(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').unwrap();
        let pair = |it: &str| {
            let (name, value) = it.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        };
        let labels = labels.split_terminator(',').map(pair).collect();
        Self { name: name.into(), labels, value: value.parse().unwrap() }
    }
}

/// A guest that makes a task, one that spins, and one whose schema wants a name.
fn setup() -> Setup {
    let setup = Setup::new().config(BY_HAND).plugin("maker", "", &says(&task().to_string()));
    let setup = setup.plugin("spinner", "[limits]\ntime_ms = 20\n", &spins()).plugin("strict", "", &component(""));
    let schema = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["name"]}"#;
    std::fs::write(setup.plugins.join("strict/input.schema.json"), schema).unwrap();
    setup
}

/// Everything that the table of series has is shown, with the type and the labels that the docs promise, and nothing else.
#[test]
fn the_documented_series_are_the_ones_that_a_scrape_shows() {
    let setup = setup();
    let server = setup.start();
    server.post("/v1/hooks/maker", &json!({})).expect(201);
    server.get("/nowhere").expect(404);
    let scrape = Scrape::of(&setup, &server);
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md")).unwrap();
    let mut documented = BTreeMap::new();
    let mut labels_of = BTreeMap::new();
    for row in docs.lines().filter(|it| it.starts_with("| `hookmill_") || it.starts_with("| `process_")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').to_owned();
        let labels: BTreeSet<String> =
            cells[3].split(", ").map(|it| it.trim_matches('`').to_owned()).filter(|it| !it.is_empty()).collect();
        documented.insert(name.clone(), cells[2].to_owned());
        labels_of.insert(name, labels);
    }
    assert_eq!(scrape.series, documented);
    assert!(documented.len() >= 40, "{}", documented.len());
    let mut shown = BTreeSet::new();
    for sample in &scrape.samples {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|it| sample.name.strip_suffix(it));
        let name = base.filter(|it| scrape.series.get(*it).is_some_and(|it| it == "histogram"));
        let name = name.unwrap_or(&sample.name);
        let labels: BTreeSet<String> = sample.labels.keys().filter(|it| *it != "le").cloned().collect();
        assert_eq!(labels, labels_of[name], "{name}");
        shown.insert(name.to_owned());
    }
    let all: BTreeSet<String> = documented.into_keys().collect();
    assert_eq!(shown, all, "each has a sample");
}

#[test]
fn counts_follow_what_was_answered() {
    let setup = setup();
    let server = setup.start();
    let new = json!({"company_id": "company-1", "scopes": ["hooks:write"], "label": "sender"});
    let new = server.post("/v1/admin/keys", &new).expect(201).json();
    let (revoked, id) = (new["key"].as_str().unwrap().to_owned(), new["details"]["id"].as_str().unwrap().to_owned());
    server.send("DELETE", &format!("/v1/admin/keys/{id}"), &[], b"").expect(204);

    let deliver = |name: &str, headers: &[(&str, &str)], body: &str| {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        server.send("POST", &format!("/v1/hooks/{name}"), &all, body.as_bytes())
    };
    deliver("maker", &[], "{}").expect(201);
    deliver("maker", &[("idempotency-key", "once")], "{}").expect(201);
    deliver("maker", &[("idempotency-key", "once")], "{}").expect(200);
    deliver("maker", &[], "{").expect(400);
    deliver("strict", &[], "{\"name\":\"x\"}").expect(200);
    deliver("strict", &[], "{}").expect(422);
    deliver("spinner", &[], "{}").expect(502);
    deliver("nobody", &[], "{}").expect(404);
    let json = ("content-type", "application/json");
    server.send_as("POST", "/v1/hooks/maker", &[("x-api-key", &revoked), json], b"{}").expect(401);
    server.post("/v1/tasks", &task()).expect(201);
    server.post("/v1/tasks", &json!({})).expect(422);
    server.post("/v1/tasks/batch", &json!([task(), {}, task()])).expect(200);
    server.get("/no/such/url").expect(404);
    server.send("PUT", "/v1/tasks", &[], b"").expect(405);
    server.send("HEAD", "/v1/tasks", &[], b"").expect(200);
    let later = deliver("maker", &[("prefer", "respond-async")], "{}").expect(202);
    let event = later.header("location").to_owned();
    until("the queued event is processed", || server.get(&event).json()["status"] == "stored");

    let scrape = Scrape::of(&setup, &server);
    let expected: &[(&str, &str, f64)] = &[
        ("(unknown)", "rejected", 1.0),
        ("maker", "created", 3.0),
        ("maker", "duplicate", 1.0),
        ("maker", "quarantined", 1.0),
        ("maker", "queued", 1.0),
        ("maker", "rejected", 1.0),
        ("spinner", "quarantined", 1.0),
        ("strict", "quarantined", 1.0),
        ("strict", "skipped", 1.0),
        ("tasks", "created", 3.0),
        ("tasks", "quarantined", 2.0),
    ];
    let shown = |expected: &[(&str, &str, f64)]| {
        expected.iter().map(|(a, b, n)| ((String::from(*a), String::from(*b)), *n)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(scrape.nonzero("hookmill_deliveries_total", ["integration", "outcome"]), shown(expected));
    let stages =
        [("maker", "decode", 1.0), ("spinner", "plugin", 1.0), ("strict", "schema", 1.0), ("tasks", "schema", 2.0)];
    let quarantined = scrape.nonzero("hookmill_deliveries_quarantined_total", ["integration", "stage"]);
    assert_eq!(quarantined, shown(&stages));
    let calls = [("maker", "ok", 3.0), ("spinner", "deadline", 1.0), ("strict", "ok", 1.0)];
    assert_eq!(scrape.nonzero("hookmill_plugin_calls_total", ["integration", "result"]), shown(&calls));
    assert_eq!(scrape.value("hookmill_tasks_created_total", &[("integration", "tasks")]), 3.0);
    assert_eq!(scrape.value("hookmill_plugin_call_duration_seconds_count", &[("integration", "maker")]), 3.0);
    assert_eq!(scrape.value("hookmill_plugin_queue_wait_seconds_count", &[]), 5.0);

    let requests = |method: &str, route: &str, status: &str| {
        scrape.value("hookmill_http_requests_total", &[("method", method), ("route", route), ("status", status)])
    };
    assert_eq!(requests("POST", "/v1/hooks/{name}", "201"), 2.0);
    assert_eq!(requests("POST", "/v1/hooks/{name}", "404"), 1.0);
    assert_eq!(requests("POST", "/v1/hooks/{name}", "401"), 1.0);
    assert_eq!(requests("GET", "/v1/tasks", "200"), 1.0, "HEAD counts as GET");
    assert_eq!((requests("other", "other", "404"), requests("other", "other", "405")), (1.0, 1.0));
    let duration = "hookmill_http_request_duration_seconds_count";
    assert_eq!(scrape.value(duration, &[("method", "POST"), ("route", "/v1/tasks/batch")]), 1.0);

    assert_eq!(scrape.value("hookmill_authentication_failures_total", &[("code", "wrong_key")]), 1.0);
    assert_eq!(scrape.value("hookmill_http_errors_total", &[("code", "plugin_deadline")]), 1.0);
    assert_eq!(scrape.value("hookmill_idempotent_replays_total", &[]), 1.0);
    assert_eq!(scrape.value("hookmill_queue_settled_total", &[]), 1.0);
    assert_eq!(scrape.value("hookmill_audit_entries_total", &[]) % 1.0, 0.0);
    assert_eq!(scrape.value("hookmill_http_requests_in_flight", &[]), 1.0, "the scrape itself");
    assert!(scrape.value("hookmill_connections", &[]) >= 1.0);
    assert!(scrape.value("hookmill_http_request_body_bytes_total", &[]) > 0.0);
    for name in ["hookmill_journal_fdatasync_duration_seconds_count", "hookmill_journal_group_changes_sum"] {
        assert!(scrape.value(name, &[]) >= 10.0, "{name}");
    }
    for stage in ["decode", "schema", "plugin", "task", "commit"] {
        assert!(scrape.value("hookmill_pipeline_stage_duration_seconds_count", &[("stage", stage)]) > 0.0, "{stage}");
    }
}

/// Metrics name the integrations of every company.
#[test]
fn on_the_main_address_metrics_are_for_the_operator_and_the_token() {
    let open = |setup: &Setup, server: &Server| {
        let get = |headers: &[(&str, &str)]| server.send_as("GET", "/metrics", headers, b"");
        assert_eq!(get(&[]).expect(401).code(), "no_key");
        assert_eq!(get(&[("x-api-key", KEY)]).expect(401).code(), "wrong_key", "a company's admin");
        assert_eq!(get(&[("authorization", "Bearer wrong")]).expect(401).code(), "wrong_key");
        assert_eq!(get(&[("authorization", "Basic eDp5")]).expect(401).code(), "no_key");
        get(&[("x-api-key", &setup.operator())]).expect(200);
        get(&[("authorization", &format!("Bearer {TOKEN}"))])
    };
    let setup = Setup::new();
    let server = setup.start();
    open(&setup, &server).expect(401);
    let setup = Setup::new().env("HOOKMILL_METRICS_TOKEN", TOKEN);
    let server = setup.start();
    open(&setup, &server).expect(200);
    assert!(!server.stop().contains(TOKEN));
}

#[test]
fn a_token_that_can_be_guessed_stops_the_start() {
    let output = Setup::new().env("HOOKMILL_METRICS_TOKEN", "short").command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("HOOKMILL_METRICS_TOKEN must have 24"), "{said}");
}

/// Where it is on its own address, a proxy that forwards the main one cannot show it to anybody.
#[test]
fn on_an_address_of_its_own_there_are_metrics_and_nothing_else() {
    let setup = Setup::new().config("metrics_listen = \"127.0.0.1:0\"\n");
    let server = setup.start();
    let own = own_address(&server);
    Scrape::read(&get(&own, "/metrics", &[]).expect_status(200).text);
    for path in ["/", "/v1/tasks", "/healthz", "/readyz"] {
        get(&own, path, &[("x-api-key", KEY)]).expect_status(404);
    }
    server.send_as("GET", "/metrics", &[("x-api-key", &setup.operator())], b"").expect(404);
    let log = server.stop();
    assert!(log.contains("serving metrics") && !log.contains("anyone who reaches this address"), "{log}");

    // With a token, it is asked for here as well; an address that strangers can reach is warned of without one.
    let setup = Setup::new().config("metrics_listen = \"0.0.0.0:0\"\n").env("HOOKMILL_METRICS_TOKEN", TOKEN);
    let server = setup.start();
    let own = own_address(&server).replace("0.0.0.0", "127.0.0.1");
    get(&own, "/metrics", &[]).expect_status(401);
    get(&own, "/metrics", &[("authorization", &format!("Bearer {TOKEN}"))]).expect_status(200);
    assert!(!server.stop().contains("anyone who reaches this address"));
    let server = Setup::new().config("metrics_listen = \"0.0.0.0:0\"\n").start();
    assert!(server.stop().contains("anyone who reaches this address"));
}

fn own_address(server: &Server) -> String {
    let line = server.printed.lines().find_map(|it| it.strip_prefix("hookmill serves metrics on http://"));
    line.unwrap().strip_suffix("/metrics").unwrap().to_owned()
}

struct Got {
    status: u16,
    text: String,
}

impl Got {
    #[track_caller]
    fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

fn get(address: &str, path: &str, headers: &[(&str, &str)]) -> Got {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call().unwrap();
    Got { status: response.status().as_u16(), text: response.body_mut().read_to_string().unwrap() }
}

/// A scrape that fails while the server is busy is missing when it is needed most.
#[test]
fn metrics_are_served_while_no_request_finds_a_place() {
    let config = format!("{BY_HAND}[limits]\nconcurrency = 1\n");
    let setup = Setup::new().config(&config).plugin("spinner", "[limits]\ntime_ms = 60000\n", &spins());
    let server = setup.start();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The plugin is removed at the end.
            server.post("/v1/hooks/spinner", &json!({})).expect(503);
        });
        server.until_a_plugin_computes();
        server.get("/v1/tasks").expect(503);
        let scrape = Scrape::of(&setup, &server);
        assert_eq!(scrape.value("hookmill_http_concurrency", &[]), 1.0);
        assert_eq!(scrape.value("hookmill_plugin_instances", &[]), 1.0);
        assert!(scrape.value("hookmill_http_errors_total", &[("code", "overloaded")]) >= 1.0);
        std::fs::remove_dir_all(setup.plugins.join("spinner")).unwrap();
        server.signal("HUP");
    });
}

/// Strangers could otherwise make a label set with each request, and Prometheus keeps every one of them.
#[test]
fn nothing_that_a_stranger_sends_becomes_a_label() {
    let setup = setup();
    let server = setup.start();
    let mark = "marker-5417";
    let strange = |number: usize| {
        let name = format!("{mark}-{number}");
        server.send_as("POST", &format!("/v1/hooks/{name}"), &[("x-api-key", &name)], b"{}").expect(404);
        server.send_as("GET", &format!("/{name}"), &[], b"").expect(404);
        server.send_as("GET", &format!("/v1/tasks/{name}"), &[("x-api-key", &name)], b"").expect(401);
        server.send_as("POST", "/v1/hooks/maker", &[("x-api-key", &name)], b"{}").expect(401);
        server.send_as(&format!("M{number}"), "/v1/tasks", &[], b"").expect(405);
        server.post("/v1/hooks/maker", &json!({ "x": name })).expect(201);
    };
    (0..2).for_each(strange);
    let before = Scrape::of(&setup, &server).label_sets();
    (2..60).for_each(strange);
    let scrape = Scrape::of(&setup, &server);
    // The first scrape is the only request that has been answered since.
    let more: Vec<_> = scrape.label_sets().difference(&before).cloned().collect();
    assert!(more.iter().all(|(_, labels)| labels.get("route").is_some_and(|it| it == "/metrics")), "{more:?}");
    let all: Vec<Value> = scrape.label_sets().iter().map(|(name, labels)| json!([name, labels])).collect();
    let text = Value::from(all).to_string();
    assert!(!text.contains("5417") && !text.contains(KEY), "{text}");
}

/// Each folder that came and went would otherwise be shown until a restart.
#[test]
fn labels_of_an_integration_go_with_it() {
    let setup = setup();
    let server = setup.start();
    server.post("/v1/hooks/maker", &json!({})).expect(201);
    let has = |name: &str| {
        Scrape::of(&setup, &server).label_sets().iter().any(|(_, labels)| labels.values().any(|it| it == name))
    };
    assert!(has("maker") && has("strict"));
    std::fs::write(setup.plugins.join("maker/input.schema.json"), r#"{"type":"object","title":"new"}"#).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    let created = [("integration", "maker"), ("outcome", "created")];
    let scrape = Scrape::of(&setup, &server);
    assert_eq!(scrape.value("hookmill_deliveries_total", &created), 1.0, "a new version goes on counting");
    std::fs::remove_dir_all(setup.plugins.join("maker")).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    until("the removed integration's labels are gone", || !has("maker"));
    assert!(has("strict"));
}

/// A backlog that grows is seen before it is full.
#[test]
fn the_queue_shows_its_depth_and_the_age_of_its_oldest_delivery() {
    let setup =
        Setup::new().config(BY_HAND).plugin("spinner", "[limits]\ntime_ms = 60000\nconcurrency = 1\n", &spins());
    let server = setup.start();
    let empty = Scrape::of(&setup, &server);
    assert_eq!(empty.value("hookmill_queue_oldest_age_seconds", &[]), 0.0);
    let headers = [("prefer", "respond-async"), ("content-type", "application/json")];
    for _ in 0..3 {
        server.send("POST", "/v1/hooks/spinner", &headers, b"{}").expect(202);
    }
    let depth = |scrape: &Scrape| scrape.value("hookmill_queue_depth", &[("integration", "spinner")]);
    // Where servers share the store, deliveries are counted once they are claimed.
    until("all three are in the queue", || depth(&Scrape::of(&setup, &server)) == 3.0);
    until("the oldest delivery ages", || {
        Scrape::of(&setup, &server).value("hookmill_queue_oldest_age_seconds", &[]) > 0.05
    });
    std::fs::remove_dir_all(setup.plugins.join("spinner")).unwrap();
    server.post("/v1/admin/plugins/reload", &json!({})).expect(200);
    until("everything is settled", || {
        let scrape = Scrape::of(&setup, &server);
        scrape.value("hookmill_queue_settled_total", &[]) == 3.0
            && scrape.value("hookmill_queue_oldest_age_seconds", &[]) == 0.0
    });
}
