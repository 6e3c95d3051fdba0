//! Traces over OTLP: what a collector gets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::guests::{command, says};
use crate::harness::{Reply, Server, Setup, task, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// A collector on a free port, which accepts everything and keeps it.
struct Collector {
    endpoint: String,
    /// Bodies of requests, as they came.
    received: Arc<Mutex<Vec<String>>>,
}

/// A span as it arrived.
#[derive(Debug, Clone)]
struct Span(Value);

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || serve(stream, &kept));
            }
        });
        Self { endpoint, received }
    }

    fn text(&self) -> String {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    fn spans(&self) -> Vec<Span> {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let bodies = received.iter().map(|it| serde_json::from_str::<Value>(it).unwrap());
        let scopes = bodies.flat_map(|it| list(&it["resourceSpans"])).flat_map(|it| list(&it["scopeSpans"]));
        scopes.flat_map(|it| list(&it["spans"])).map(Span).collect()
    }

    /// Waits for a span of this name, and gives it.
    #[track_caller]
    fn span(&self, name: &str) -> Span {
        let found = || self.spans().into_iter().find(|it| it.name() == name);
        until(&format!("a span named {name}"), || found().is_some());
        found().unwrap()
    }

    /// The spans right below this one, by name.
    fn below(&self, span: &Span) -> Vec<Span> {
        self.spans().into_iter().filter(|it| it.0["parentSpanId"] == span.0["spanId"]).collect()
    }
}

/// Reads requests of one connection; `/v1/traces` is the only URL there is.
fn serve(stream: TcpStream, kept: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut line, mut head) = (String::new(), String::new());
        while stream.read_line(&mut line).is_ok_and(|it| it > 2) {
            head.push_str(&line.to_ascii_lowercase());
            line.clear();
        }
        let length = head.lines().find_map(|it| it.strip_prefix("content-length: ")?.trim().parse().ok());
        let Some(length) = length else { return };
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let good = head.starts_with("post /v1/traces http/1.1") && head.contains("content-type: application/json");
        let status = if good { "200 OK" } else { "404 Not Found" };
        if good {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(String::from_utf8(body).unwrap());
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}");
        if stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

impl Span {
    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// An attribute's value, as text.
    fn attribute(&self, key: &str) -> String {
        let all = list(&self.0["attributes"]);
        let value = all.iter().find(|it| it["key"] == key).map(|it| it["value"].clone()).unwrap_or_default();
        let one = value.as_object().and_then(|it| it.values().next().cloned()).unwrap_or_default();
        one.as_str().map_or_else(|| one.to_string(), str::to_owned)
    }

    /// Whether this span's time is within the other's, give or take a clock's step.
    fn is_within(&self, outer: &Self) -> bool {
        let time = |it: &Self, field| it.text(field).parse::<u128>().unwrap();
        let slack = 1_000_000;
        time(self, "startTimeUnixNano") + slack >= time(outer, "startTimeUnixNano")
            && time(self, "endTimeUnixNano") <= time(outer, "endTimeUnixNano") + slack
    }
}

/// A server that exports to this collector, a few times a second.
fn traced(setup: Setup, collector: &Collector) -> Setup {
    setup.env("OTEL_BSP_SCHEDULE_DELAY", "20").config(&format!("[traces]\nendpoint = \"{}\"\n", collector.endpoint))
}

fn guest() -> Setup {
    Setup::new().plugin("guest", "", &says(&task().to_string()))
}

fn deliver(server: &Server, headers: &[(&str, &str)]) -> Reply {
    server.send("POST", "/v1/hooks/guest", headers, br#"{"n":"what-was-sent"}"#)
}

fn event(server: &Server, of: &Reply) -> Value {
    server.get(&format!("/v1/events/{}", of.header("x-event-id"))).expect(200).json()
}

#[test]
fn a_delivery_is_a_span_of_its_callers_trace_with_one_for_each_stage() {
    let collector = Collector::start();
    let server = traced(guest(), &collector).start();
    let parent = traceparent("01");
    let headers = [("traceparent", &*parent), ("tracestate", "vendor=a:1"), ("x-other", "header-that-was-sent")];
    let reply = deliver(&server, &headers).expect(201);
    let span = collector.span("POST /v1/hooks/{name}");
    assert_eq!((span.text("traceId"), span.text("parentSpanId")), (TRACE, CALLER));
    assert_eq!((span.text("traceState"), &span.0["kind"]), ("vendor=a:1", &json!(2)));
    let of_the_event = format!("00-{TRACE}-{}-01", span.text("spanId"));
    assert_eq!(reply.header("traceresponse"), of_the_event);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/hooks/{name}"),
        ("http.response.status_code", "201"),
        ("hookmill.request_id", reply.header("x-request-id")),
        ("hookmill.event_id", reply.header("x-event-id")),
        ("hookmill.integration", "guest"),
    ] {
        assert_eq!(span.attribute(key), value, "{key}");
    }
    let stages = collector.below(&span);
    let names: Vec<_> = stages.iter().map(Span::name).collect();
    assert_eq!(names, ["authenticate", "decode", "schema", "plugin", "task", "commit"]);
    assert!(stages.iter().all(|it| it.text("traceId") == TRACE && it.is_within(&span)), "{stages:?}");
    let stored = event(&server, &reply);
    assert_eq!(stored["trace"], json!({ "traceparent": of_the_event, "tracestate": "vendor=a:1" }));
    let key = server_key(&server, "tasks:read");
    let seen =
        server.send_as("GET", &format!("/v1/events/{}", reply.header("x-event-id")), &[("x-api-key", &key)], b"");
    assert!(seen.expect(200).json().get("trace").is_none(), "it may repeat what the sender sent");
    let text = collector.text();
    for secret in ["what-was-sent", "header-that-was-sent", crate::harness::KEY] {
        assert!(!text.contains(secret), "{text}");
    }
    assert!(text.contains(r#"{"key":"service.name","value":{"stringValue":"hookmill"}}"#), "{text}");
}

fn server_key(server: &Server, scope: &str) -> String {
    let body = json!({ "label": "l", "company_id": "company-1", "scopes": [scope] });
    server.post("/v1/admin/keys", &body).expect(201).json()["key"].as_str().unwrap().to_owned()
}

/// Otherwise everybody who reads traces can deliver.
#[test]
fn a_secret_in_a_url_is_in_no_span() {
    let collector = Collector::start();
    let server = traced(guest(), &collector).start();
    server.send("POST", "/v1/hooks/guest/secret-in-the-url", &[], b"{}");
    server.send("POST", "/no/secret-in-the-url", &[], b"{}").expect(404);
    let span = collector.span("POST /v1/hooks/{name}/{secret}");
    assert_eq!(span.attribute("http.route"), "/v1/hooks/{name}/{secret}");
    assert_eq!(collector.span("POST").attribute("http.response.status_code"), "404");
    assert!(!collector.text().contains("secret-in-the-url"), "{}", collector.text());
}

#[test]
fn a_failed_stage_and_a_server_error_show_as_errors() {
    let collector = Collector::start();
    let traps = Setup::new().plugin("guest", "", &command("(func (export \"_start\") unreachable)"));
    let server = traced(traps, &collector).start();
    deliver(&server, &[]).expect(502);
    let span = collector.span("POST /v1/hooks/{name}");
    assert_eq!((span.attribute("error.type"), &span.0["status"]["code"]), ("plugin_trap".into(), &json!(2)));
    assert_eq!(span.text("parentSpanId"), "", "without a caller's, the trace begins here");
    let plugin = collector.below(&span).into_iter().find(|it| it.name() == "plugin").unwrap();
    assert_eq!(plugin.0["status"]["code"], 2);
}

#[test]
fn queued_work_is_in_the_trace_of_its_delivery() {
    let collector = Collector::start();
    let server = traced(guest(), &collector).start();
    let parent = traceparent("01");
    let reply = deliver(&server, &[("traceparent", &parent), ("prefer", "respond-async")]).expect(202);
    let work = collector.span("process queued event");
    let delivery = collector.span("POST /v1/hooks/{name}");
    assert_eq!((work.text("traceId"), work.text("parentSpanId")), (TRACE, delivery.text("spanId")));
    assert_eq!(
        (work.attribute("hookmill.event_id").as_str(), &work.0["kind"]),
        (reply.header("x-event-id"), &json!(5))
    );
    let names = |it: &Span| collector.below(it).iter().map(|it| it.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&work), ["decode", "schema", "plugin", "task", "commit"]);
    assert_eq!(names(&delivery), ["authenticate", "commit", "process queued event"]);
}

#[test]
fn a_replay_links_to_the_trace_of_its_delivery() {
    let collector = Collector::start();
    let refuses = command("(func (export \"_start\") (call $exit (i32.const 1)))");
    let server = traced(Setup::new().plugin("guest", "", &refuses), &collector).start();
    let parent = traceparent("01");
    let reply = deliver(&server, &[("traceparent", &parent)]).expect(422);
    let before = event(&server, &reply);
    let id = reply.header("x-event-id");
    server.send("POST", &format!("/v1/events/{id}/replay"), &[], b"").expect(200);
    let delivery = collector.span("POST /v1/hooks/{name}");
    let replay = collector.span("POST /v1/events/{id}/replay");
    assert_ne!(replay.text("traceId"), TRACE, "it is caused by its own request");
    let link = &replay.0["links"][0];
    assert_eq!((&link["traceId"], &link["spanId"]), (&json!(TRACE), &delivery.0["spanId"]));
    assert!(collector.below(&replay).iter().any(|it| it.name() == "plugin"));
    assert_eq!(event(&server, &reply)["trace"], before["trace"], "the event keeps the trace that it came with");
}

/// Otherwise an erased event still has what its sender wrote into a header.
#[test]
fn an_erasure_finds_and_removes_a_patient_in_tracestate() {
    let collector = Collector::start();
    let server = traced(guest(), &collector).start();
    let parent = traceparent("01");
    let reply = deliver(&server, &[("traceparent", &parent), ("tracestate", "clinic=p-4711")]).expect(201);
    assert_eq!(event(&server, &reply)["trace"]["tracestate"], "clinic=p-4711");
    let erased = server.post("/v1/events/erase", &json!({ "patient_id": "p-4711" })).expect(200).json();
    assert!(erased.to_string().contains("header tracestate"), "{erased}");
    let trace = &event(&server, &reply)["trace"];
    assert!(trace["traceparent"].as_str().unwrap().contains(TRACE) && trace.get("tracestate").is_none(), "{trace}");
}

/// Otherwise a caller that samples one request in a thousand pays for all of them.
#[test]
fn what_its_caller_does_not_sample_is_not_exported() {
    let collector = Collector::start();
    let server = traced(guest(), &collector).start();
    let parent = traceparent("00");
    let reply = deliver(&server, &[("traceparent", &parent), ("prefer", "respond-async")]).expect(202);
    until("it is worked on", || event(&server, &reply)["status"] == "stored");
    let stored = event(&server, &reply)["trace"]["traceparent"].as_str().unwrap().to_owned();
    assert!(stored.starts_with(&format!("00-{TRACE}-")) && stored.ends_with("-00"), "{stored}");
    deliver(&server, &[]).expect(201);
    collector.span("POST /v1/hooks/{name}");
    server.stop();
    assert!(!collector.text().contains(TRACE), "{}", collector.text());
}

/// Otherwise a malformed header makes a trace that no tool can put together.
#[test]
fn a_malformed_traceparent_begins_a_new_trace() {
    let collector = Collector::start();
    let server = traced(guest(), &collector).start();
    let malformed = traceparent("01").to_uppercase();
    deliver(&server, &[("traceparent", &malformed)]).expect(201);
    let span = collector.span("POST /v1/hooks/{name}");
    assert_ne!(span.text("traceId"), TRACE);
    assert_eq!((span.text("traceId").len(), span.text("parentSpanId")), (32, ""));
}

/// Otherwise a collector that is restarted takes the webhooks down with it.
#[test]
fn requests_succeed_while_the_collector_is_down_and_the_log_says_so_now_and_then() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let collector =
        Collector { endpoint: format!("http://{}", nobody.local_addr().unwrap()), received: Arc::default() };
    // Connections are refused.
    drop(nobody);
    let server = traced(guest(), &collector).start();
    for _ in 0..50 {
        deliver(&server, &[]).expect(201);
    }
    let log = server.stop();
    let lines = log.lines().filter(|it| it.contains("spans were not exported")).count();
    assert!((1..=4).contains(&lines), "{lines}: {log}");
}

#[test]
fn the_last_spans_are_exported_when_the_server_is_stopped() {
    let collector = Collector::start();
    let server = traced(guest(), &collector).env("OTEL_BSP_SCHEDULE_DELAY", "3600000").start();
    deliver(&server, &[]).expect(201);
    assert!(collector.spans().is_empty(), "nothing is due yet");
    server.stop();
    let names: Vec<_> = collector.spans().iter().map(|it| it.name().to_owned()).collect();
    assert!(names.contains(&"POST /v1/hooks/{name}".to_owned()), "{names:?}");
}

/// Otherwise a server without a collector pays for traces that nobody sees.
#[test]
fn traces_are_off_unless_an_endpoint_is_named() {
    let server = guest().start();
    let parent = traceparent("01");
    let reply = deliver(&server, &[("traceparent", &parent)]).expect(201);
    assert!(event(&server, &reply).get("trace").is_none());
    assert!(reply.header("traceresponse").ends_with("-00"), "nothing was recorded");
}

#[test]
fn the_variables_of_opentelemetry_win_and_a_wrong_one_is_named() {
    let (wrong, collector) = (Collector::start(), Collector::start());
    let setup = traced(guest(), &wrong)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint)
        .env("OTEL_SERVICE_NAME", "mill-2")
        .env("OTEL_TRACES_SAMPLER_ARG", "0");
    let server = setup.start();
    deliver(&server, &[]).expect(201);
    let parent = traceparent("01");
    deliver(&server, &[("traceparent", &parent)]).expect(201);
    let span = collector.span("POST /v1/hooks/{name}");
    assert_eq!(span.text("traceId"), TRACE, "of new traces none is sampled");
    server.stop();
    assert!(collector.text().contains(r#""stringValue":"mill-2""#) && wrong.text().is_empty());
    for (name, value) in [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://x"), ("OTEL_TRACES_SAMPLER_ARG", "2")] {
        let out = guest().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint).env(name, value).command().output();
        let out = out.unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && said.contains(name), "{said}");
    }
}
