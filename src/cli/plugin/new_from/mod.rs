//! `hookmill plugin new NAME --from FILE`: a plugin that is written from an example, and goes live as it is.
//!
//! `new_from/source.rs` reads the example, `new_from/example.rs` decodes it as the server would, `new_from/guesses.rs`
//! says which of its values become which fields of a task (with `new_from/places.rs`), and `new_from/script.rs` and
//! `new_from/texts.rs` write the files. `new_from/script_text.rs` quotes what a sender wrote, and
//! `new_from/redacted_values.rs` replaces values.

mod example;
mod guesses;
mod places;
mod redacted_values;
mod script;
mod script_text;
mod source;
mod texts;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};

use super::new_sender::NewSender;
use super::run::came;
use super::runnable::{folder, host, runnable};
use super::save_fixture;
use super::setup_steps::SetupSteps;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::{say, tell};
use crate::cli::remote::Elsewhere;
use crate::config::Config;
use crate::integration::load::first_rules;
use crate::integration::new_fixture::NewFixture;
use crate::integration::{PassedRequest, fixtures};
use crate::model::company::CompanyId;
use example::{ReadExample, SentExample};
use guesses::Guesses;
use redacted_values::redacted;
use script::script;
use texts::{Facts, manifest, readme};

#[cfg(test)]
mod tests;

pub(super) use source::ExampleSource;

/// An order to write a plugin from an example.
pub(super) struct NewFrom<'a> {
    pub(super) name: &'a str,
    pub(super) source: &'a ExampleSource,
    pub(super) company: &'a CompanyId,
    pub(super) elsewhere: &'a Elsewhere,
    pub(super) sender: Option<&'a NewSender>,
    /// Replace the example's values.
    pub(super) redact_values: bool,
}

/// The files of a new plugin, without its fixture.
struct NewPlugin {
    files: Vec<(&'static str, String)>,
    guesses: Guesses,
    example: ReadExample,
}

impl NewFrom<'_> {
    /// Writes the folder, runs the plugin once, and writes the result as its first fixture.
    pub(super) fn run(&self, config: &Config, to: &Path, as_json: bool) -> Result<(), Failure> {
        let sent = self.source.read(config, self.elsewhere, self.company)?;
        let written = self.written(&sent)?;
        // Under a name that begins with a dot, a running server ignores it until it is complete.
        let parent = to.parent().unwrap_or(Path::new("."));
        let partial = parent.join(format!(".new-{}-{}", self.name, std::process::id()));
        let failed = |path: &Path, e: std::io::Error| Failure::new(format!("{}: {e}", path.display()));
        std::fs::create_dir_all(&partial).map_err(|e| failed(&partial, e))?;
        let remaining = Remaining(partial.clone());
        for (file, text) in &written.files {
            let path = partial.join(file);
            std::fs::write(&path, text).map_err(|e| failed(&path, e))?;
        }
        let saved = self.first_fixture(config, &partial, &written, &sent);
        // A plugin that fails stays as well, for its author to correct.
        std::fs::rename(&partial, to).map_err(|e| failed(to, e))?;
        std::mem::forget(remaining);
        let (fixture, tasks) = saved.map_err(|it| {
            let message = format!("{} was written, but does not run: {}", to.display(), it.message);
            Failure { message: message.replace(&partial.display().to_string(), &to.display().to_string()), ..it }
        })?;
        if as_json {
            print::json(&self.json(to, &written, &fixture, &tasks));
        } else {
            self.print(to, &written, &fixture, &tasks);
        }
        Ok(())
    }

    fn written(&self, sent: &SentExample) -> Result<NewPlugin, Failure> {
        let sender = self.sender.map(|it| &*it.sender);
        let title =
            sender.map_or_else(|| format!("A delivery for {}", self.name), |it| format!("A delivery of {}", it.title));
        let mut example = sent.example(&first_rules(sender), &title)?;
        if self.redact_values {
            // Everything below is written from these values, so that the fixture passes.
            let other = SentExample {
                body: Bytes::from(redacted(&example.payload).to_string()),
                content_type: Some("application/json".to_owned()),
                coding: None,
                company: sent.company.clone(),
                received_at: sent.received_at,
            };
            example = ReadExample {
                wrappers: example.wrappers,
                ..other.example(&crate::format::payload::Rules::default(), &title)?
            };
        }
        let guesses = match (example.mapped, &example.payload) {
            (script::Mapped::Each, Value::Array(items)) => {
                Guesses::of(items.first().unwrap_or(&Value::Null), example.mapped.variable(), self.name)
            }
            (mapped, payload) => Guesses::of(payload, mapped.variable(), self.name),
        };
        let facts = Facts {
            name: self.name,
            company: self.company.as_str(),
            sender,
            body_bytes: sent.body.len(),
            limits: self.sender.map_or("", NewSender::limits),
        };
        let mut files = vec![
            ("plugin.toml", manifest(&facts, &guesses)),
            ("input.schema.json", format!("{:#}\n", example.schema.schema)),
            ("mapper.js", script(self.name, &guesses, example.mapped)),
        ];
        files.push(("README.md", readme(self.name)));
        Ok(NewPlugin { files, guesses, example })
    }

    /// Runs the plugin, and returns its first fixture with the tasks as the server would store them.
    fn first_fixture(
        &self,
        config: &Config,
        to: &Path,
        written: &NewPlugin,
        sent: &SentExample,
    ) -> Result<(PathBuf, Value), Failure> {
        let integration = runnable(&host(config)?, config, &folder(to)?)?;
        let (payload, request) = (&written.example.payload, PassedRequest::default());
        let run = fixtures::run(&integration, payload, sent.received_at, request.clone()).map_err(Failure::new)?;
        let (kind, result) = came(&run.came, &integration, sent.received_at);
        let name = written.guesses.event_type.as_deref().unwrap_or("the example");
        let fixture = NewFixture {
            name: &format!("{name}, as this plugin was written from it"),
            received_at: sent.received_at,
            request: &request,
            payload,
            came: &run.came,
        };
        if kind != "tasks" {
            return Err(Failure::new(format!("the example has this result: {kind}: {result}")));
        }
        Ok((save_fixture::write(&fixture, to, None, false)?, result))
    }

    fn json(&self, to: &Path, written: &NewPlugin, fixture: &Path, tasks: &Value) -> Value {
        let fields = written.guesses.fields.iter().filter(|it| !it.is_suggestion);
        let guesses: Vec<_> = fields.map(|it| json!({ "field": it.field, "code": it.code, "why": it.why })).collect();
        let steps = self.sender.map(|it| SetupSteps::of(&it.sender, self.name));
        let (there, here) = steps.map(|it| (it.there, it.here)).unwrap_or_default();
        json!({
            "at_the_sender": there, "here": here,
            "folder": to, "source": "mapper.js", "fixture": to.join(fixture), "wrappers": written.example.wrappers,
            "loosened": written.example.loosened, "schema_is_partial": written.example.schema.is_partial,
            "guesses": guesses, "tasks": tasks,
        })
    }

    fn print(&self, to: &Path, written: &NewPlugin, fixture: &Path, tasks: &Value) {
        let (folder, example) = (to.display(), &written.example);
        say!("{folder} maps this example, with these guesses:");
        for it in written.guesses.fields.iter().filter(|it| !it.is_suggestion) {
            say!("  {:<18} {}", it.field, it.code);
        }
        say!("They are in mapper.js, and the defaults of other fields in plugin.toml. The result of the example:");
        print::pretty(tasks);
        if !example.wrappers.is_empty() {
            say!("Wrappers were removed before the mapping, as the server does: {}.", example.wrappers.join(", "));
        }
        if example.schema.is_partial {
            say!("The example is large: input.schema.json does not describe all of it, and says so in `$comment`.");
        }
        if let Some(sender) = self.sender {
            sender.print_steps(self.name);
        }
        say!("A running server loads it now. Change it while you see the result:");
        say!();
        say!("  hookmill plugin dev {folder}");
        if self.sender.is_none() {
            say!();
            say!("Senders need a key: hookmill key create --company {} --scope hooks:write", self.company);
        }
        if !self.redact_values {
            tell!(
                "{} contains the values of the example, which may be personal data; --redact-values replaces them",
                to.join(fixture).display()
            );
        }
    }
}

/// A folder that is removed if it does not become a plugin.
struct Remaining(PathBuf);

impl Drop for Remaining {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
