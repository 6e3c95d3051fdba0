//! `hookmill store migrate-schema`

use serde_json::{Value, json};

use super::failure::Failure;
use super::print;
use super::print::say;
use crate::config::Config;
use crate::store::Postgres;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  HOOKMILL_DATABASE_URL=postgres://admin:…@db.example.org/hookmill hookmill store migrate-schema
  hookmill store migrate-schema --database-url postgres:///hookmill?user=hookmill --json

A server does the same when it starts. Run this command if the servers' own user may not change tables, or to update the tables
before the servers. It changes nothing if the tables are up to date, or if a running server would not work with the new ones.")]
pub(super) struct MigrateSchema {}

impl MigrateSchema {
    pub(super) fn run(config: &Config, as_json: bool) -> Result<(), Failure> {
        let Some(database) = &config.database else {
            return Err(Failure::usage(
                "no database is configured: give its URL with --database-url, HOOKMILL_DATABASE_URL or store.url in hookmill.toml",
            ));
        };
        let migrated = Postgres::migrate_schema(database.clone())?;
        let (from, to) = (migrated.from, migrated.to);
        if as_json {
            let answer: Value = json!({ "database": database.url.shown(), "from": from, "to": to });
            print::json(&answer);
        } else if from == to {
            say!("{}: schema {to} is up to date", database.url.shown());
        } else {
            say!("{}: schema {from} is now {to}", database.url.shown());
        }
        Ok(())
    }
}
