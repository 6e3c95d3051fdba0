//! `hookmill audit`

use serde_json::{Value, json};

use super::failure::Failure;
use super::flags::DataDirFlag;
use super::print::say;
use super::remote::{Elsewhere, text};
use super::{open, print, runtime};
use crate::config::{Config, Options};
use crate::model::company::CompanyId;

/// Number of entries per request.
const PAGE: usize = 1000;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill audit
  hookmill audit --company clinic-7 --limit 500 --json

Entries are listed newest first: when, who (a key's id, operator, command line or server), what, and for which company. The log
is append-only. Without a running server, the command reads the data directory, a backup, or the database of
--database-url.")]
pub(super) struct Audit {
    /// Only entries of this company
    #[arg(long)]
    company: Option<CompanyId>,
    /// Number of entries to show
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    data: DataDirFlag,
    #[command(flatten)]
    elsewhere: Elsewhere,
    /// Print JSON for scripts, one entry per line
    #[arg(long)]
    json: bool,
}

impl Audit {
    pub(super) fn options(&self) -> Options {
        self.data.options()
    }

    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        let entries = match self.elsewhere.remote(&config.data_dir) {
            Some(remote) => self.ask(&|path| remote.call("GET", path, None))?,
            None => {
                let store = open::store(config)?;
                let entries = runtime()?.block_on(store.audit(self.company.as_ref(), None, self.limit))?;
                entries.into_iter().map(|it| json!(it)).collect()
            }
        };
        for it in &entries {
            if self.json {
                print::json(it);
                continue;
            }
            let field = |name: &str| if it[name].is_null() { "-".to_owned() } else { text(&it[name]) };
            let line = format!(
                "{}  {:<17} {:<16} {:<16} {}  {}",
                field("at"),
                field("actor"),
                field("action"),
                field("company_id"),
                field("target"),
                field("detail")
            );
            say!("{}", line.trim_end());
        }
        Ok(())
    }

    fn ask(&self, get: &dyn Fn(&str) -> Result<Value, Failure>) -> Result<Vec<Value>, Failure> {
        let (mut entries, mut cursor) = (Vec::new(), None::<String>);
        while entries.len() < self.limit {
            let company = self.company.as_ref().map_or_else(String::new, |it| format!("&company_id={it}"));
            let after = cursor.map_or_else(String::new, |it| format!("&cursor={it}"));
            let limit = PAGE.min(self.limit - entries.len());
            let mut page = get(&format!("/v1/admin/audit?limit={limit}{company}{after}"))?;
            entries.extend(page["data"].as_array_mut().map(std::mem::take).unwrap_or_default());
            cursor = page["pagination"]["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        Ok(entries)
    }
}
