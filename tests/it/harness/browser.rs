//! A visitor of the console: keeps its cookie, and sends forms as a browser without scripts does.

use super::basics::DEADLINE;
use super::{Reply, Server};

pub struct Browser<'a> {
    server: &'a Server,
    /// `name=value`, once it has logged in.
    pub cookie: String,
}

impl<'a> Browser<'a> {
    pub fn new(server: &'a Server) -> Self {
        Self { server, cookie: String::new() }
    }

    /// Logged in with a key.
    #[track_caller]
    pub fn with_key(server: &'a Server, key: &str) -> Self {
        let mut browser = Self::new(server);
        let reply = browser.post("/console/login", &[("key", key)]).expect(303);
        assert_eq!(reply.header("location"), "/console");
        browser
    }

    /// The same session at another server.
    pub fn at<'b>(&self, server: &'b Server) -> Browser<'b> {
        Browser { server, cookie: self.cookie.clone() }
    }

    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "", &[])
    }

    /// Sends a form, with the token of the session if there is one.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        if !self.cookie.is_empty() {
            form.append_pair("form_token", &self.form_token());
        }
        let reply = self.send("POST", path, &form.finish(), &[]);
        if let Some(cookie) = reply.header("set-cookie").split(';').next().filter(|it| !it.is_empty()) {
            cookie.clone_into(&mut self.cookie);
        }
        reply
    }

    /// The token that the session's forms carry.
    pub fn form_token(&self) -> String {
        let page = self.get("/console/help").text;
        let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap_or_default();
        rest.split('"').next().unwrap_or_default().to_owned()
    }

    pub fn send(&self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Reply {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(DEADLINE))
            .build()
            .into();
        let mut request =
            ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", self.server.address()));
        if !self.cookie.is_empty() {
            request = request.header("cookie", &self.cookie);
        }
        if method == "POST" {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if method == "POST" { body.as_bytes().to_vec() } else { Vec::new() };
        Reply::read(agent.run(request.body(body).unwrap()).unwrap())
    }
}
