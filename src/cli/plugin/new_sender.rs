//! The files of a new plugin that depend on its sender.

use std::sync::Arc;

use serde_json::json;

use crate::auth::sender::Sender;
use crate::cli::print;
use crate::cli::print::say;
use crate::cli::sender::auth_lines;

/// A module that skips every delivery, from `templates/sender/mapper.wat`.
const MODULE: &[u8] = include_bytes!("../../../templates/sender/mapper.wasm");
/// Why it skips them.
const SKIPPED: &str = "the mapping is not written yet";
const README: &str = include_str!("../../../templates/sender/README.md");

/// The sender of a new plugin.
pub(super) struct NewSender {
    pub(super) sender: Arc<Sender>,
}

impl NewSender {
    /// Returns the files that take the places of the template's: paths and contents.
    pub(super) fn files(&self, name: &str, manifest: &str, has_template: bool) -> Vec<(&'static str, Vec<u8>)> {
        let fixture = json!({
            "name": "the example of the sender's file",
            "received_at": "2026-11-25T12:00:00Z",
            "payload": self.sender.example().unwrap_or_else(|| json!({})),
            "expect": { "skip": SKIPPED },
        });
        let schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": format!("A delivery of {}", self.sender.title),
            "type": "object",
        });
        let mut files = vec![
            ("plugin.toml", self.manifest(name, manifest).into_bytes()),
            ("input.schema.json", format!("{schema:#}\n").into_bytes()),
            ("fixtures/example.json", format!("{fixture:#}\n").into_bytes()),
            ("mapper.wasm", MODULE.to_vec()),
        ];
        if !has_template {
            let text = README.replace("{{title}}", &self.sender.title).replace("{{docs}}", &self.sender.docs);
            files.push(("README.md", text.replace("{{name}}", name).into_bytes()));
        }
        files
    }

    /// Returns the template with this sender's `[auth]`.
    fn manifest(&self, name: &str, template: &str) -> String {
        let lines = auth_lines(&self.sender, name);
        let description = serde_json::Value::from(format!("Deliveries of {}", self.sender.title)).to_string();
        let template = template.replace("{{name}}", name).replace("\"Maps messages to tasks\"", &description);
        match (template.split_once("[auth]\n"), template.split_once("[config]")) {
            (Some((head, _)), Some((_, tail))) => format!("{head}{lines}\n[config]{tail}"),
            _ => template,
        }
    }

    /// Prints how to set the sender up.
    pub(super) fn print_steps(&self, name: &str) {
        let setup = &self.sender.setup;
        say!("At {} ({}):", self.sender.title, self.sender.docs);
        print::indented(&format!("URL: https://YOUR-HOST/v1/hooks/{name}"));
        for (what, text) in [("where to enter it", &setup.url), ("secret", &setup.secret), ("note", &setup.note)] {
            if !text.is_empty() {
                print::indented(&format!("{what}: {text}"));
            }
        }
        say!("Here:");
        for secret in secret_names(&self.manifest_lines(name)) {
            print::indented(&format!("hookmill secret set {secret}"));
        }
        print::indented(&format!("hookmill sender sign --plugin {name} --run < delivery.json"));
    }

    fn manifest_lines(&self, name: &str) -> toml::Table {
        toml::from_str(&auth_lines(&self.sender, name)).unwrap_or_default()
    }
}

/// Returns the names of the secrets in `[auth]`.
fn secret_names(manifest: &toml::Table) -> Vec<String> {
    let auth = manifest.get("auth");
    let main = auth.and_then(|it| it.get("secret")).into_iter();
    let others = auth.and_then(|it| it.get("secrets")).and_then(toml::Value::as_table);
    main.chain(others.into_iter().flat_map(|it| it.values())).filter_map(|it| it.as_str().map(str::to_owned)).collect()
}
