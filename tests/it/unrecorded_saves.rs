//! Scripts and fixtures that are saved while the audit log cannot be written: nothing is live that is not recorded.

use std::sync::Arc;
use std::time::Duration;

use hookmill::config::{Config, Options};
use hookmill::model::time::now;
use hookmill::plugin::Host;
use hookmill::service::app::{App, KeyRequest};
use hookmill::service::watch::{Loader, Watch};
use hookmill::store::embedded::StoreOptions;
use hookmill::store::{Embedded, Fault, Faulty};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::faults::every_scope;
use crate::harness::{DEADLINE, KEY, Setup, binary};

const SCRIPT: &str = "export default (event) => ({ title: `Call ${event.name}`, description: 'x' });\n";
const OTHER: &str = "export default (event) => ({ title: `Ring ${event.name}`, description: 'x' });\n";

/// A server in this process with a plugins folder, on a store that fails when it learns to.
struct FailingHost {
    url: String,
    store: Arc<Faulty<Embedded>>,
    setup: Setup,
    _runtime: Runtime,
}

impl FailingHost {
    fn start() -> Self {
        let setup = Setup::new().script("guest", SCRIPT);
        let runtime = Runtime::new().unwrap();
        let store = Arc::new(Faulty::new(Embedded::open(&setup.data, &StoreOptions::default()).unwrap()));
        let (data_dir, plugins_dir) = (Some(setup.data.clone()), Some(setup.plugins.clone()));
        let config = Config::load(&Options { data_dir, plugins_dir, ..Options::default() }).unwrap();
        let url = runtime.block_on(async {
            let limits = config.loading;
            let mut app = App::new(config, store.clone(), None).await.unwrap();
            let request: KeyRequest = every_scope();
            let (id, _) = hookmill::auth::key::generate().unwrap();
            app.create_key(request.into_key(id.clone(), KEY, now()), crate::faults::created(&id), None).await.unwrap();
            let program = binary().get_program().into();
            let host = Host::compiling_with(program, None, limits).unwrap();
            app.host = Some(host.clone());
            let (dir, senders) = (app.config.live_plugins_dir(), Arc::clone(&app.senders));
            let loader = Loader::new(host, dir, senders, Arc::clone(&app.registry), Arc::clone(&app.shadows));
            let mut settings = app.config.watch;
            (settings.notifications, settings.settle) = (false, Duration::ZERO);
            let watch = Watch::start(loader, settings).unwrap();
            watch.reload().await.unwrap();
            app.watch = Some(watch);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(hookmill::http::server::run(listener, Arc::new(app), std::future::pending()));
            url
        });
        Self { url, store, setup, _runtime: runtime }
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = request.header("x-api-key", KEY).header("content-type", "application/json");
        let config = ureq::Agent::config_builder().http_status_as_error(false).allow_non_standard_methods(true);
        let agent: ureq::Agent = config.timeout_global(Some(DEADLINE)).build().into();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (parts, mut body) = agent.run(request.body(body).unwrap()).unwrap().into_parts();
        (parts.status.as_u16(), serde_json::from_str(&body.read_to_string().unwrap()).unwrap())
    }

    fn title(&self) -> Value {
        self.send("POST", "/v1/hooks/guest", &json!({"name": "Ada"})).1["title"].clone()
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.setup.plugins.join("guest").join(name)
    }
}

#[test]
fn a_script_or_a_fixture_whose_entry_cannot_be_stored_is_not_saved() {
    let server = FailingHost::start();
    assert_eq!(server.title(), "Call Ada");
    let of = "/v1/admin/plugins/guest";
    let base = server.send("GET", &format!("{of}/script"), &Value::Null).1["digest"].clone();
    let change = json!({"files": {"mapper.js": OTHER}, "base_digest": base});
    let fixture = json!({"name": "ada", "payload": {"name": "Ada"}});
    // After the last of these, the entry may be stored: nobody knows.
    for fault in [Fault::Full, Fault::Write, Fault::Flush] {
        server.store.set(Some(fault));
        for (method, path, body) in [("PUT", "script", &change), ("POST", "fixtures", &fixture)] {
            let (status, reply) = server.send(method, &format!("{of}/{path}"), body);
            assert_eq!(status, 503, "{fault:?} {path}: {reply}");
        }
        server.store.set(None);
        assert_eq!(std::fs::read_to_string(server.file("mapper.js")).unwrap(), SCRIPT, "{fault:?}");
        assert!(!server.file("fixtures/ada.json").exists(), "{fault:?}");
        let live = server.send("GET", &format!("{of}/script"), &Value::Null).1;
        assert_eq!((&live["live_digest"], server.title()), (&base, json!("Call Ada")), "{fault:?}");
        let versions = server.send("GET", &format!("{of}/script/versions"), &Value::Null).1;
        assert_eq!(versions["data"], json!([]), "{fault:?}");
    }
    assert_eq!(server.send("POST", &format!("{of}/fixtures"), &fixture).0, 201);
    assert_eq!(server.send("PUT", &format!("{of}/script"), &change).0, 422, "the fixture guards the script again");
    std::fs::remove_file(server.file("fixtures/ada.json")).unwrap();
    assert_eq!(server.send("PUT", &format!("{of}/script"), &change).0, 200);
    assert_eq!(server.title(), "Ring Ada");
}
