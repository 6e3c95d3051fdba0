//! `hookmill sender test FILE…`

use std::path::{Path, PathBuf};

use console::style;
use serde_json::json;

use crate::auth::sender::{SENDER_BYTES, Sender};
use crate::cli::failure::Failure;
use crate::cli::print;

#[derive(Debug, clap::Args)]
pub(super) struct TestCommand {
    /// Sender files, or folders with sender files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl TestCommand {
    pub(super) fn run(&self, as_json: bool) -> Result<(), Failure> {
        let mut results = Vec::new();
        for path in &self.files {
            for file in found(path)? {
                let problem = tested(&file).err();
                results.push((file, problem));
            }
        }
        let wrong = results.iter().filter(|(_, problem)| problem.is_some()).count();
        if as_json {
            let files: Vec<_> =
                results.iter().map(|(file, it)| json!({ "file": file, "good": it.is_none(), "message": it })).collect();
            print::json(&json!({ "good": wrong == 0, "files": files }));
        } else {
            for (file, problem) in &results {
                match problem {
                    None => print::styled(style("good").green().bold(), format_args!(": {}", file.display())),
                    Some(cause) => {
                        print::styled(style("error").red().bold(), format_args!(": {}: {cause}", file.display()));
                        print_expected(file);
                    }
                }
            }
        }
        if wrong == 0 {
            Ok(())
        } else {
            Err(Failure::new(format!("{wrong} of {} files cannot be used", results.len())))
        }
    }
}

/// Prints what the vectors of a file should contain.
fn print_expected(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    for (number, headers) in Sender::expected(&text) {
        let headers = headers.iter().map(|(name, it)| format!("{name} = {}", serde_json::Value::from(it.as_str())));
        let headers = headers.collect::<Vec<_>>().join(", ");
        print::indented(&format!("vector {number} would pass with headers = {{ {headers} }}"));
    }
}

/// Returns the files that a path means.
fn found(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Failure::new(format!(
            "{0}: no such file; `hookmill sender show NAME --toml > NAME.toml` writes a shipped one",
            path.display()
        )),
        _ => Failure::new(format!("{}: {e}", path.display())),
    };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let all = entries.map(|it| it.map(|it| it.path())).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    // A plugin's folder has one sender file, and other files in TOML.
    if all.iter().any(|it| it.ends_with("plugin.toml")) {
        let own = path.join("sender.toml");
        let none = || Failure::new(format!("{}: this plugin has no sender.toml", path.display()));
        return if own.is_file() { Ok(vec![own]) } else { Err(none()) };
    }
    let mut files: Vec<_> = all.into_iter().filter(|it| it.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    if files.is_empty() {
        Err(Failure::new(format!("{}: has no files named *.toml", path.display())))
    } else {
        Ok(files)
    }
}

fn tested(file: &Path) -> Result<(), String> {
    let told = |e: std::io::Error| format!("cannot be read: {e}");
    if std::fs::metadata(file).map_err(told)?.len() > SENDER_BYTES {
        return Err(format!("is larger than {SENDER_BYTES} bytes"));
    }
    let text = std::fs::read_to_string(file).map_err(told)?;
    // Next to a plugin.toml, the file may have a name of its own.
    let name = file.file_stem().and_then(|it| it.to_str()).filter(|it| *it != "sender");
    Sender::parse(&text, name).map(drop)
}
