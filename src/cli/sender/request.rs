//! A signed request: as a curl command, or sent.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::say;
use crate::cli::remote::Remote;
use crate::system::text::is_unprintable;

/// Maximum size of a body that is an argument of curl: Linux allows 128 KiB for one.
const ARGUMENT: usize = 100 * 1024;

/// A signed request.
#[derive(Debug)]
pub(super) struct SignedCall {
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl SignedCall {
    /// Returns a command for any POSIX shell. A body that is not plain text is written by printf, in octal.
    pub(super) fn curl(&self, body_file: Option<&Path>) -> String {
        let mut words = vec!["curl -sS -i".to_owned(), quoted(&self.url)];
        words.extend(self.headers.iter().map(|(name, value)| format!("-H {}", quoted(&format!("{name}: {value}")))));
        let plain = std::str::from_utf8(&self.body).ok().filter(|it| is_plain(it));
        match (body_file.and_then(Path::to_str).filter(|it| is_plain(it)), plain) {
            (Some(file), _) => words.push(format!("--data-binary {}", quoted(&format!("@{file}")))),
            (None, Some(text)) => words.push(format!("--data-binary {}", quoted(text))),
            (None, None) => {
                words.push("--data-binary @-".to_owned());
                return format!("printf '{}' | {}", octal(&self.body), words.join(" "));
            }
        }
        words.join(" ")
    }

    pub(super) fn json(&self) -> Value {
        let headers: serde_json::Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        json!({ "method": "POST", "url": self.url, "headers": headers })
    }

    /// Sends it, and prints the answer, and what became of the event.
    pub(super) fn run(&self, own: Option<(&Remote, &str)>, as_json: bool) -> Result<(), Failure> {
        // Without what follows the host: it may contain the secret.
        let server = self.url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        let failed = |e: &dyn std::fmt::Display| Failure::new(format!("{server} does not respond: {e}"));
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(std::time::Duration::from_secs(60)))
            .http_status_as_error(false)
            .max_redirects(0)
            .build()
            .into();
        let mut request = agent.post(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = request.send(&self.body[..]).map_err(|e| failed(&e))?;
        let status = response.status();
        let text = response.body_mut().read_to_string().map_err(|e| failed(&e))?;
        let header = |name: &str| response.headers().get(name).and_then(|it| it.to_str().ok());
        let stored = header("x-event-id").zip(own).and_then(|(it, (server, company))| {
            server.call("GET", &format!("/v1/events/{it}?company_id={company}"), None).ok()
        });
        let stored = stored.unwrap_or_default();
        if as_json {
            let (outcome, reason) = (&stored["status"], &stored["reason"]);
            print::json(
                &json!({ "status": status.as_u16(), "event_id": header("x-event-id"), "body": text, "outcome": outcome, "reason": reason }),
            );
        } else {
            say!("{status}");
            if let Some(event) = header("x-event-id") {
                say!("event {event}");
            }
            if let Some(outcome) = stored["status"].as_str() {
                let reason = stored["reason"]["message"].as_str().map(|it| format!(": {it}"));
                say!("{outcome}{}", reason.unwrap_or_default());
            }
            if !text.is_empty() {
                print::indented(&text);
            }
        }
        // Some senders are answered 200 whatever happens.
        let is_quarantined = stored["status"] == "quarantined";
        if status.is_success() && !is_quarantined { Ok(()) } else { Err(Failure::new("the delivery was not accepted")) }
    }
}

/// Returns whether a text can be an argument of curl, and is printed as it is.
fn is_plain(text: &str) -> bool {
    text.len() <= ARGUMENT && !text.starts_with('@') && !text.chars().any(|it| it.is_control() || is_unprintable(it))
}

/// Returns a word for the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Returns bytes as a format of printf, between single quotes.
fn octal(bytes: &[u8]) -> String {
    let one = |byte: &u8| match byte {
        b'%' => "%%".to_owned(),
        b'\\' | b'\'' => format!("\\{byte:03o}"),
        b' '..=b'~' => char::from(*byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    bytes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise the signature that is printed does not match what the shell sends.
    #[test]
    fn a_shell_gives_curl_the_body_byte_for_byte() {
        let dir = tempfile::tempdir().unwrap();
        for body in [
            &br#"{"a":"it's 100% \"$HOME\" `x` \\n"}"#[..],
            b"@/etc/passwd",
            b"line\nline\r\n",
            b"\x00\xff\x011%s'\\",
            "grüße \u{202e}".as_bytes(),
            b"-",
            b"",
        ] {
            let call =
                SignedCall { url: "http://x/'".into(), headers: vec![("a".into(), "b'c".into())], body: body.to_vec() };
            // In place of curl: a function that writes what it would send.
            let curl = "curl() { while [ $# -gt 1 ]; do shift; done; if [ \"$1\" = @- ]; then cat; else printf %s \"$1\"; fi; }";
            let script = format!("{curl}\n{}", call.curl(None));
            let out = std::process::Command::new("sh").args(["-c", &script]).current_dir(dir.path()).output().unwrap();
            assert_eq!(out.stdout, body, "{script}");
        }
    }
}
