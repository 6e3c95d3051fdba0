//! `hookmill sender list`

use serde_json::{Value, json};

use crate::auth::sender::described;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::print::say;
use crate::config::Config;

#[derive(Debug, clap::Args)]
pub(super) struct ListCommand {
    /// Only senders of this group: voice, telephony, fax, ehr, scheduling, forms, messaging or platform
    #[arg(long)]
    group: Option<String>,
}

impl ListCommand {
    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let files = &config.senders.files;
        let (mut rows, mut broken, mut groups) = (Vec::new(), Vec::new(), Vec::new());
        for name in files.names() {
            match files.get(&name) {
                Ok(it) => {
                    groups.push(it.group.clone());
                    if self.group.as_ref().is_none_or(|group| *group == it.group) {
                        rows.push(json!({
                            "name": name, "title": it.title, "group": it.group, "proof": described::trust_of(&it),
                            "checked": it.checked, "own": files.is_own(&name), "replaces_shipped": files.replaces(&name),
                        }));
                    }
                }
                Err(cause) => broken.push(json!({ "name": name, "message": cause })),
            }
        }
        if rows.is_empty() {
            groups.sort();
            groups.dedup();
            return Err(Failure::usage(format!("no sender has this group; there are {}", groups.join(", "))));
        }
        if as_json {
            print::json(&json!({ "data": rows, "refused": broken }));
        } else {
            print_rows(&rows, &broken);
        }
        if broken.is_empty() { Ok(()) } else { Err(Failure::new("not every sender file can be used")) }
    }
}

fn print_rows(rows: &[Value], broken: &[Value]) {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let width = rows.iter().map(|it| text(it, "name").chars().count()).max().unwrap_or(0).max(4);
    let title = rows.iter().map(|it| text(it, "title").chars().count()).max().unwrap_or(0).max(5);
    say!("{:<width$}  {:<title$}  {:<10}  {:<10}  DOCS READ", "NAME", "TITLE", "GROUP", "PROOF");
    for it in rows {
        let own = match (&it["own"], &it["replaces_shipped"]) {
            (Value::Bool(true), Value::Bool(true)) => "  own file, in place of the shipped one",
            (Value::Bool(true), _) => "  own file",
            _ => "",
        };
        say!(
            "{:<width$}  {:<title$}  {:<10}  {:<10}  {}{own}",
            text(it, "name"),
            text(it, "title"),
            text(it, "group"),
            text(it, "proof"),
            text(it, "checked")
        );
    }
    for it in broken {
        say!("refused: {}: {}", text(it, "name"), text(it, "message"));
    }
}
