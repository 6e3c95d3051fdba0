//! `hookmill plugin test DIR`

use std::io::{IsTerminal as _, stdin};
use std::path::{Path, PathBuf};

use console::style;
use serde_json::{Value, json};

use super::adopt::{adopt, raw_payloads};
use super::runnable;
use super::runnable::{folder, host, millis, warn_if_outdated};

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::{say, tell};
use crate::config::Config;
use crate::format::task::{IgnoredField, ignored_fields};
use crate::integration::fixtures::{Came, Expect, Fixture};
use crate::integration::new_fixture::expected;
use crate::integration::{Integration, LoadFailure, fixtures};
use crate::plugin::{Outcome, PluginError};
use crate::system::folder::{FIXTURE_BYTES, Folder};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill plugin test plugins/orders
  hookmill plugin test plugins/orders --update     writes the actual results into the fixtures that differ
  hookmill plugin test plugins/orders --adopt      makes fixtures of the payloads that you have put into fixtures/

On a terminal, you are asked about each such payload.
Exit codes: 0 all fixtures pass; 1 one fails, or is not a fixture; 2 wrong arguments.")]
pub(super) struct Test {
    /// The plugin's folder
    dir: PathBuf,
    /// Write the actual results into the fixtures that differ, for you to review
    #[arg(long)]
    update: bool,
    /// With --update: do not ask before a fixture that expects tasks or a skip becomes one that expects a refusal
    #[arg(long, requires = "update")]
    accept_refusals: bool,
    /// Make fixtures of the payloads in fixtures/, with the actual results
    #[arg(long)]
    adopt: bool,
}

/// The result of one fixture.
#[derive(Default)]
struct Tried {
    file: PathBuf,
    name: String,
    wrong: Vec<String>,
    ignored: Vec<IgnoredField>,
    micros: u128,
    updated: bool,
    /// What was written, or why it was not.
    note: Option<String>,
}

impl Test {
    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let folder = folder(&self.dir)?;
        warn_if_outdated(&folder);
        let integration = runnable(&host(config)?, config, &folder)?;
        let files = fixtures::list(&folder).map_err(Failure::new)?;
        let asks = !as_json && stdin().is_terminal();
        for file in raw_payloads(&folder, &files) {
            let shown = folder.join(&file);
            if self.adopt || (!as_json && asked(&shown)?) {
                adopt(&folder, &file, &integration)?;
                tell!("{} is a fixture now; check its `expect`", shown.display());
            }
        }
        let tried: Vec<Tried> = files.into_iter().map(|file| self.try_one(&folder, file, &integration, asks)).collect();
        if as_json {
            let all: Vec<_> = tried.iter().map(Tried::json).collect();
            print::json(&json!({ "fixtures": all }));
        } else {
            tried.iter().for_each(Tried::print);
        }
        let failed = tried.iter().filter(|it| !it.wrong.is_empty() && !it.updated).count();
        match (tried.len(), failed) {
            (0, _) => Err(Failure::new(format!("there are no fixtures in {}", self.dir.join("fixtures").display()))),
            (all, 0) => {
                tell!("{all} fixtures passed");
                Ok(())
            }
            (all, failed) if self.update => {
                Err(Failure::new(format!("{failed} of {all} fixtures failed and were not updated")))
            }
            (all, failed) => Err(Failure::new(format!(
                "{failed} of {all} fixtures failed; add --update to accept the plugin's output"
            ))),
        }
    }

    fn try_one(&self, folder: &Folder, file: PathBuf, integration: &Integration, asks: bool) -> Tried {
        let failed = |cause: String| Tried { wrong: vec![cause], file: folder.join(&file), ..Tried::default() };
        let fixture = match Fixture::read(folder, &file) {
            Ok(fixture) => fixture,
            Err(LoadFailure::Fixture { cause, .. }) => return failed(cause),
            Err(other) => return failed(other.to_string()),
        };
        let run = match fixtures::run(integration, &fixture.payload, fixture.received_at, fixture.request()) {
            Ok(run) => run,
            Err(stop) => return failed(stop.to_string()),
        };
        let wrong = fixture.wrong(&run, integration);
        let ignored =
            if let Came::Out(Outcome::Tasks(tasks, _)) = &run.came { ignored_fields(tasks) } else { Vec::new() };
        let mut tried = Tried {
            name: fixture.name,
            wrong,
            ignored,
            micros: run.took.as_micros(),
            file: folder.join(&file),
            ..Tried::default()
        };
        if !self.update || tried.wrong.is_empty() {
            return tried;
        }
        let turns = refusal(&run.came).filter(|_| matches!(fixture.expect, Expect::Tasks(_) | Expect::Skip(_)));
        let accepted = |it: &str| self.accept_refusals || (asks && confirmed(&folder.join(&file), &fixture.expect, it));
        match turns {
            Some(refusal) if !accepted(&refusal) => {
                tried.note = Some(format!("not updated: {refusal}; add --accept-refusals if it should"));
            }
            turns => match update(folder, &file, &run.came) {
                Ok(()) => {
                    tried.updated = true;
                    tried.note = turns.map(|it| format!("expects a refusal from now on: {it}"));
                }
                Err(cause) => tried.note = Some(format!("not updated: {cause}")),
            },
        }
        tried
    }
}

/// Says who refuses the payload, if it is refused.
fn refusal(came: &Came) -> Option<String> {
    match came {
        Came::Failed(PluginError::Refused { message, .. }) => {
            Some(format!("the plugin refuses this payload with \"{message}\""))
        }
        Came::Violations(found) => Some(format!("the schema refuses this payload: {}", found.sentences())),
        _ => None,
    }
}

/// Asks on the terminal.
fn confirmed(file: &Path, expect: &Expect, refusal: &str) -> bool {
    tell!("{}: expects {expect}, but {refusal}", file.display());
    tell!("Expect this refusal from now on? [y/N]");
    let mut reply = String::new();
    stdin().read_line(&mut reply).is_ok() && matches!(reply.trim(), "y" | "Y" | "yes")
}

/// Asks whether a payload is to become a fixture, if there is somebody to ask.
fn asked(file: &Path) -> Result<bool, Failure> {
    if !stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(false);
    }
    tell!(
        "{} is a payload, and not a fixture. Make it one, with what the plugin returns for it? [y/N]",
        file.display()
    );
    let mut line = String::new();
    stdin().read_line(&mut line).map_err(Failure::new)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// Replaces the expected result with the actual one.
///
/// # Errors
/// Fails if the plugin crashed, which no fixture can expect.
pub(super) fn update(folder: &Folder, file: &Path, came: &Came) -> Result<(), String> {
    let expect = expected(came)?;
    let text = folder.text(file, FIXTURE_BYTES).map_err(|e| e.to_string())?;
    let mut fixture: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    fixture["expect"] = expect;
    let text = serde_json::to_string_pretty(&fixture).map_err(|e| e.to_string())?;
    folder.overwrite(file, &(text + "\n")).map_err(|e| e.to_string())
}

impl Tried {
    fn print(&self) {
        let file = self.file.file_name().unwrap_or_default().to_string_lossy();
        let word = match (self.wrong.is_empty(), self.updated) {
            (true, _) => style("ok").green(),
            (false, true) => style("updated").yellow(),
            (false, false) => style("FAILED").red().bold(),
        };
        print::styled(format_args!("{word:<8} "), format_args!("{file}: {} ({})", self.name, millis(self.micros)));
        self.wrong.iter().for_each(|it| say!("         {it}"));
        self.ignored.iter().for_each(|it| say!("         ignored: {it}"));
        self.note.iter().for_each(|it| say!("         {it}"));
    }

    fn json(&self) -> Value {
        json!({
            "file": self.file, "name": self.name, "holds": self.wrong.is_empty(), "differences": self.wrong,
            "updated": self.updated, "note": self.note, "ignored": self.ignored, "took_us": self.micros,
        })
    }
}
