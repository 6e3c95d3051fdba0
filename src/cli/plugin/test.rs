//! `hookmill plugin test DIR`

use std::path::{Path, PathBuf};

use console::style;
use serde_json::{Value, json};

use super::runnable;
use super::runnable::{folder, host, millis};
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::{say, tell};
use crate::config::Config;
use crate::integration::fixtures::{Came, Fixture};
use crate::integration::{Integration, LoadFailure, fixtures};
use crate::plugin::{Outcome, PluginError};
use crate::system::folder::{FIXTURE_BYTES, Folder};

#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// The plugin's folder
    dir: PathBuf,
    /// Write the actual results into the fixtures that differ, for you to review
    #[arg(long)]
    update: bool,
}

/// The result of one fixture.
struct Tried {
    file: PathBuf,
    name: String,
    wrong: Vec<String>,
    micros: u128,
    updated: bool,
}

impl Test {
    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let folder = folder(&self.dir)?;
        let integration = runnable(&host(config)?, config, &folder)?;
        let files = fixtures::list(&folder).map_err(Failure::new)?;
        let tried: Vec<Tried> = files.into_iter().map(|file| self.try_one(&folder, file, &integration)).collect();
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
            (all, failed) => Err(Failure::new(format!(
                "{failed} of {all} fixtures failed; add --update to accept the plugin's output"
            ))),
        }
    }

    fn try_one(&self, folder: &Folder, file: PathBuf, integration: &Integration) -> Tried {
        let failed = |cause: String| Tried {
            name: String::new(),
            wrong: vec![cause],
            micros: 0,
            updated: false,
            file: folder.join(&file),
        };
        let fixture = match Fixture::read(folder, &file) {
            Ok(fixture) => fixture,
            Err(LoadFailure::Fixture { cause, .. }) => return failed(cause),
            Err(other) => return failed(other.to_string()),
        };
        let run = match fixtures::run(integration, &fixture.payload, fixture.received_at, &fixture.headers) {
            Ok(run) => run,
            Err(stop) => return failed(stop.to_string()),
        };
        let wrong = fixture.wrong(&run, integration);
        let updated = self.update && !wrong.is_empty() && update(folder, &file, &run.came).is_ok();
        Tried { name: fixture.name, wrong, micros: run.took.as_micros(), updated, file: folder.join(file) }
    }
}

/// Replaces the expected result with the actual one. Does nothing if the plugin crashed.
fn update(folder: &Folder, file: &Path, came: &Came) -> Result<(), String> {
    let expect = match came {
        Came::Out(Outcome::Tasks(tasks, _)) => json!({ "tasks": tasks }),
        Came::Out(Outcome::Skip(reason)) => json!({ "skip": reason }),
        Came::Failed(PluginError::Refused { message, .. }) => json!({ "refused": message }),
        Came::Violations(found) => json!({ "violations": found.iter().map(|it| &it.pointer).collect::<Vec<_>>() }),
        Came::Failed(error) => return Err(error.to_string()),
    };
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
    }

    fn json(&self) -> Value {
        json!({
            "file": self.file, "name": self.name, "holds": self.wrong.is_empty(), "differences": self.wrong,
            "updated": self.updated, "took_us": self.micros,
        })
    }
}
