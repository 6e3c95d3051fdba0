//! The files of a new plugin that depend on its sender.

use std::sync::Arc;

use serde_json::json;

use super::setup_steps::SetupSteps;
use crate::auth::sender::{Sender, auth_lines};
use crate::cli::print;
use crate::cli::print::say;

/// A module that skips every delivery, from `templates/sender/mapper.wat`.
const MODULE: &[u8] = include_bytes!("../../../templates/sender/mapper.wasm");
/// Why it skips them.
const SKIPPED: &str = "the mapping is not written yet";
const RUST: &str = include_str!("../../../templates/sender/lib.rs");
/// For a plugin with a language's template.
pub(super) const README_LANGUAGE: &str = include_str!("../../../templates/sender/README-language.md");
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
            files.push(("README.md", self.readme(name, README).into_bytes()));
        }
        files
    }

    /// Returns a README with what depends on the sender.
    pub(super) fn readme(&self, name: &str, text: &str) -> String {
        text.replace("{{title}}", &self.sender.title)
            .replace("{{docs}}", &self.sender.docs)
            .replace("{{steps}}", &self.steps(name))
            .replace("{{name}}", name)
    }

    /// Returns the template with this sender's `[auth]`.
    fn manifest(&self, name: &str, template: &str) -> String {
        let lines = auth_lines(&self.sender, name);
        let description = serde_json::Value::from(format!("Deliveries of {}", self.sender.title)).to_string();
        let template = template.replace("{{name}}", name).replace("\"Maps messages to tasks\"", &description);
        match (template.split_once("[auth]\n"), template.split_once("[config]")) {
            (Some((head, _)), Some((_, tail))) => format!("{head}{lines}\n{}[config]{tail}", self.limits()),
            _ => template,
        }
    }

    /// Documents and recordings are larger than the default.
    pub(super) fn limits(&self) -> &'static str {
        if self.sender.group == "fax" || self.sender.name == "elevenlabs" {
            "[limits]\nbody_mib = 20                    # a delivery contains the document or the recording\n\n"
        } else {
            ""
        }
    }

    /// Prints how to set the sender up.
    pub(super) fn print_steps(&self, name: &str) {
        let steps = SetupSteps::of(&self.sender, name);
        say!("At {} ({}):", self.sender.title, self.sender.docs);
        steps.there.iter().for_each(|it| print::indented(it));
        say!("Here:");
        steps.here.iter().for_each(|it| print::indented(it));
    }

    /// Returns the steps for README.md.
    fn steps(&self, name: &str) -> String {
        let steps = SetupSteps::of(&self.sender, name);
        let listed = |all: &[String]| all.iter().map(|it| format!("- {it}\n")).collect::<String>();
        let there = listed(&steps.there);
        format!("At {}:\n\n{there}\nHere:\n\n{}", self.sender.title, listed(&steps.here))
    }

    /// Returns a template's source with a mapping that skips whatever arrives: the template's own expects other payloads.
    pub(super) fn skipping(path: &str, text: &str) -> String {
        let skip = format!("\"{SKIPPED}\"");
        let (before, line) = match path {
            "src/lib.rs" => return RUST.to_owned(),
            "mapper.js" => ("  // To refuse", format!("  return {{ tag: \"skip\", val: {skip} }};\n")),
            "app.py" => ("        # To refuse", format!("        return Outcome_Skip({skip})\n")),
            "main.go" => {
                let line = format!("\twrite(map[string]string{{\"skip\": {skip}}})\n\tif true {{\n\t\treturn\n\t}}\n");
                ("\tvar in message\n", line)
            }
            "src/main.c" => {
                let line = format!(
                    "    json_put(&out, \"{{\\\"skip\\\":\\\"{SKIPPED}\\\"}}\");\n    write_all(&out);\n    return 0;\n"
                );
                ("    if (json_is", line)
            }
            _ => return text.to_owned(),
        };
        text.replacen(before, &format!("{line}{before}"), 1)
    }
}
