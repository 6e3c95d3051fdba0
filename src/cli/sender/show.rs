//! `hookmill sender show NAME`

use serde_json::{Value, json};

use crate::auth::sender::{Sender, auth_lines, described};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::say;
use crate::config::Config;
use crate::format::parse;

#[derive(Debug, clap::Args)]
pub(super) struct ShowCommand {
    /// The sender's name, from `hookmill sender list`
    name: String,
    /// Print its file, to begin one of your own with
    #[arg(long)]
    toml: bool,
}

impl ShowCommand {
    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let files = &config.senders.files;
        let text = files.text(&self.name);
        if let (true, Some(text)) = (self.toml, text) {
            for line in text.trim_end().split('\n') {
                say!("{line}");
            }
            return Ok(());
        }
        let sender = files.get(&self.name).map_err(Failure::new)?;
        let file = text.unwrap_or_default();
        let mut file: Value = parse::toml(file.strip_prefix('\u{feff}').unwrap_or(file)).map_err(Failure::new)?;
        let lines = auth_lines(&sender, "NAME");
        if as_json {
            if let Some(members) = file.as_object_mut() {
                members.remove("vector");
                members.insert("trust".to_owned(), json!(described::trust_of(&sender)));
                members.insert("own".to_owned(), json!(files.is_own(&self.name)));
                members.insert("plugin_toml".to_owned(), json!(lines));
            }
            print::json(&file);
        } else {
            print_sender(&sender, &file);
            say!();
            say!("Lines for plugin.toml:");
            print::indented(&lines);
        }
        Ok(())
    }
}

fn print_sender(sender: &Sender, file: &Value) {
    say!("{} ({}): {}", sender.title, sender.group, described::trust_of(sender));
    say!("{}, read {}", sender.docs, sender.checked);
    let setup = &sender.setup;
    for (what, text) in [("URL", &setup.url), ("secret", &setup.secret), ("note", &setup.note)] {
        if !text.is_empty() {
            say!("{what}: {text}");
        }
    }
    section(
        "Proofs",
        list(&file["proof"]).zip(&sender.proofs).map(|(it, (name, _))| format!("{name}: {}", described::proof(it))),
    );
    let named = |(name, what): (&String, &String)| format!("{name}: {what}");
    section("Other secrets", sender.secrets.iter().map(named));
    section("Settings", sender.settings.iter().map(named));
    section("A delivery's id", list(&file["delivery"]["id"]).map(described::id));
    section("Remembered for", std::iter::once(format!("{} hours", sender.hours)));
    section("Headers for the mapper", sender.headers.iter().cloned());
    section("Answers", answers(&file["answer"]));
    section(
        "Questions",
        list(&file["handshake"])
            .map(|it| format!("{}: {}", it["name"].as_str().unwrap_or_default(), described::handshake(it))),
    );
    section(
        "Hosts for [outbound] in hookmill.toml",
        sender.outbound_hosts().into_iter().map(|(host, what)| format!("{host}: {what}")),
    );
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// For every outcome, and for those that differ.
fn answers(file: &Value) -> Vec<String> {
    let outcomes = ["created", "skipped", "duplicate", "queued", "quarantined"];
    let single = outcomes.iter().filter(|it| file[**it].is_object());
    let single = single.map(|it| format!("{it}: {}", described::answer(&file[*it])));
    let error = "quarantined: an error, 4xx or 502".to_owned();
    let error = (!file["quarantined"].is_object()).then_some(error);
    std::iter::once(format!("every outcome but quarantine: {}", described::answer(file)))
        .chain(single)
        .chain(error)
        .collect()
}

fn section(title: &str, lines: impl IntoIterator<Item = String>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_some() {
        say!();
        say!("{title}:");
        lines.for_each(|it| print::indented(&it));
    }
}
