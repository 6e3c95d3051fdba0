//! Responses while the store fails.

use std::sync::Arc;
use std::time::Duration;

use hookmill::auth::{Scope, key};
use hookmill::config::{Config, Options};
use hookmill::model::audit::{Action, COMMAND_LINE, Entry};
use hookmill::model::company::CompanyId;
use hookmill::model::time::now;
use hookmill::service::app::{App, KeyRequest};
use hookmill::store::{Embedded, Fault, Faulty};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::harness;
use crate::harness::{KEY, task};

/// A server in this process, on a store that fails as told.
struct Failing {
    url: String,
    store: Arc<Faulty<Embedded>>,
    _runtime: Runtime,
    _dir: TempDir,
}

struct Reply {
    status: u16,
    replayed: bool,
    retry_after: bool,
    body: Value,
}

impl Failing {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let data = dir.path().join("data");
        let runtime = Runtime::new().unwrap();
        let store =
            Arc::new(Faulty::new(Embedded::open(&data, &hookmill::store::embedded::StoreOptions::default()).unwrap()));
        let config = Config::load(&Options { data_dir: Some(data), ..Options::default() }).unwrap();
        let url = runtime.block_on(async {
            let app = App::new(config, store.clone(), None).await.unwrap();
            let (id, _) = key::generate().unwrap();
            let entry = created(&id);
            app.create_key(every_scope().into_key(id, KEY, now()), entry, None).await.unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(hookmill::http::server::run(listener, Arc::new(app), std::future::pending()));
            url
        });
        Self { url, store, _runtime: runtime, _dir: dir }
    }

    fn send(&self, method: &str, path: &str, idempotency_key: Option<&str>, body: &str) -> Reply {
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        request = request.header("x-api-key", KEY).header("content-type", "application/json");
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let config = ureq::Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true);
        let agent: ureq::Agent = config.timeout_global(Some(harness::DEADLINE)).build().into();
        let (parts, mut body) = agent.run(request.body(body.to_owned()).unwrap()).unwrap().into_parts();
        Reply {
            status: parts.status.as_u16(),
            replayed: parts.headers.contains_key("idempotent-replayed"),
            retry_after: parts.headers.contains_key("retry-after"),
            body: serde_json::from_str(&body.read_to_string().unwrap()).unwrap(),
        }
    }

    fn post(&self, idempotency_key: Option<&str>) -> Reply {
        self.send("POST", "/v1/tasks", idempotency_key, &task().to_string())
    }

    fn ready(&self) -> u16 {
        self.send("GET", "/readyz", None, "").status
    }

    fn total(&self) -> u64 {
        self.send("GET", "/v1/tasks", None, "").body["pagination"]["total"].as_u64().unwrap()
    }
}

/// The entry of a key that was created on the command line.
pub fn created(id: &hookmill::auth::key::KeyId) -> Entry {
    Entry::new(COMMAND_LINE, Action::KeyCreated, id, now())
}

pub fn every_scope() -> KeyRequest {
    KeyRequest {
        label: "test".into(),
        company_id: CompanyId::parse("company-1").unwrap(),
        scopes: Scope::ALL.to_vec(),
        expires_at: None,
        timezone: None,
        strict: false,
    }
}

/// A full or broken store must not look like a mistake of the sender, and must accept writes again later.
#[test]
fn a_write_that_fails_is_503_with_its_reason_and_posting_works_again_after_it() {
    let server = Failing::start();
    assert_eq!((server.post(None).status, server.ready()), (201, 200));
    for (fault, code, sentence) in [
        (Fault::Full, "storage_full", "the server's disk is full and nothing was stored; send the request again later"),
        (
            Fault::Write,
            "storage_unavailable",
            "the server cannot store anything right now; send the request again later",
        ),
        (
            Fault::Flush,
            "storage_unavailable",
            "the server cannot store anything right now; send the request again later",
        ),
    ] {
        server.store.set(Some(fault));
        let reply = server.post(None);
        assert_eq!((reply.status, &reply.body["detail"]["code"]), (503, &code.into()), "{fault:?}");
        assert_eq!(reply.body["message"], sentence);
        assert!(reply.retry_after && reply.body.get("event_id").is_none(), "{fault:?}");
        let batch = format!("[{}]", task());
        assert_eq!(server.send("POST", "/v1/tasks/batch", None, &batch).status, 503, "{fault:?}");
        assert_eq!(server.ready(), 503, "{fault:?}");
        server.store.set(None);
        assert_eq!((server.post(None).status, server.ready()), (201, 200), "after {fault:?}");
    }
}

/// Otherwise what somebody has typed is lost a second time, when the login that should save it cannot be stored.
#[test]
fn a_login_that_cannot_be_stored_keeps_the_form_that_was_interrupted() {
    let server = Failing::start();
    let fields = [("key", KEY), ("kept_action", "/console/bench/guest"), ("kept:payload", "typed for an hour")];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let log_in = || {
        let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
        let agent: ureq::Agent = config.timeout_global(Some(harness::DEADLINE)).build().into();
        let request = agent.post(format!("{}/console/login", server.url)).header("origin", &server.url);
        let reply = request.content_type("application/x-www-form-urlencoded").send(&form).unwrap();
        let (parts, mut body) = reply.into_parts();
        let cookie = parts.headers.contains_key("set-cookie");
        (parts.status.as_u16(), cookie, body.read_to_string().unwrap())
    };
    for fault in [Fault::Full, Fault::Write, Fault::Flush] {
        server.store.set(Some(fault));
        let (status, has_session, page) = log_in();
        assert_eq!((status, has_session), (503, false), "{fault:?}: {page}");
        assert!(page.contains("name=\"kept:payload\" value=\"typed for an hour\""), "{fault:?}: {page}");
        assert!(page.contains("value=\"/console/bench/guest\"") && !page.contains(KEY), "{fault:?}: {page}");
    }
    server.store.set(None);
    let (status, has_session, page) = log_in();
    assert!((status, has_session) == (200, true) && page.contains("Send it again"), "{page}");
}

#[test]
fn a_slow_disk_is_waited_for() {
    let server = Failing::start();
    server.store.set(Some(Fault::Slow(Duration::from_millis(200))));
    assert_eq!((server.post(None).status, server.ready()), (201, 200));
}

#[test]
fn changes_fail_as_new_tasks_do() {
    let server = Failing::start();
    let path = format!("/v1/tasks/{}", server.post(None).body["id"].as_str().unwrap());
    server.store.set(Some(Fault::Full));
    for (method, body) in [("PATCH", r#"{"version":1,"title":"x"}"#), ("DELETE", "")] {
        let reply = server.send(method, &path, None, body);
        assert_eq!((reply.status, &reply.body["detail"]["code"]), (503, &"storage_full".into()), "{method}");
    }
    let reply = server.send("GET", &path, None, "");
    assert_eq!((reply.status, &reply.body["version"]), (200, &1.into()), "reading goes on");
}

/// The sender got 503, but the task was stored: its retry must not create a second one.
#[test]
fn a_retry_after_a_failed_flush_gets_the_first_answer() {
    let server = Failing::start();
    server.store.set(Some(Fault::Flush));
    assert_eq!(server.post(Some("order-1")).status, 503);
    server.store.set(None);
    let (first, second) = (server.post(Some("order-1")), server.post(Some("order-1")));
    assert_eq!((first.status, first.replayed), (201, true));
    assert_eq!((second.status, &second.body), (201, &first.body));
    assert_eq!(server.total(), 1);
}

/// Nothing was stored, and nothing is remembered: the retry does the work.
#[test]
fn a_retry_after_a_refused_write_makes_the_task() {
    let server = Failing::start();
    server.store.set(Some(Fault::Full));
    assert_eq!(server.post(Some("order-1")).status, 503);
    server.store.set(None);
    let reply = server.post(Some("order-1"));
    assert_eq!((reply.status, reply.replayed), (201, false));
    assert_eq!(server.total(), 1);
}
