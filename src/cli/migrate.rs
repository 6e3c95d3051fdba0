//! `hookmill store migrate`: copies a data directory to a PostgreSQL database, and compares both afterwards.

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::Sender;
use serde_json::{Value, json};

use super::exit::ExitStatus;
use super::failure::Failure;
use super::open::COMMAND;
use super::print::{say, tell};
use super::progress::Progress;
use super::sums::Sums;
use super::transfer::{BATCH, BATCH_BYTES, NAMED, line_of};
use super::{print, runtime};
use crate::config::Config;
use crate::model::audit::{Action, COMMAND_LINE, Entry};
use crate::model::secret::Secret;
use crate::model::time::now;
use crate::store::postgres::{DatabaseUrl, PostgresOptions};
use crate::store::verbs::*;
use crate::store::{Cluster as _, Embedded, Postgres, StoredItem};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  HOOKMILL_MIGRATE_TO=postgres://hookmill:…@db.example.org/hookmill hookmill store migrate --data-dir /srv/hookmill
  hookmill store migrate --to postgres:///hookmill?user=hookmill --data-dir /backups/monday --json

Stop the server on --data-dir first, and start no server on the database before this command has succeeded. It copies API keys,
the audit log, tasks, events with their bodies, queued events, and the responses to idempotency keys and deliveries. Then it
reads both sides and compares counts and checksums.
If it is interrupted, run it again: what the database has already is skipped. The directory is not changed, except for an entry
in its audit log. Queued events of one integration are processed one after another on the database.
Exit codes: 0 both sides are equal; 1 failed, or they differ; 2 wrong arguments; 3 a server holds the data directory.")]
pub(super) struct Migrate {
    /// The PostgreSQL database, such as postgres://USER:PASSWORD@HOST/DATABASE; the variable keeps the password out of
    /// process lists [default: the database of --database-url or the settings file]
    #[arg(long, env = "HOOKMILL_MIGRATE_TO", value_name = "URL", hide_env_values = true, value_parser = super::flags::secret)]
    to: Option<Secret>,
}

/// What was copied.
#[derive(Debug, Default)]
struct Copied {
    skipped: u64,
    differing: u64,
    named: Vec<String>,
}

impl Migrate {
    pub(super) fn run(&self, config: &Config, as_json: bool) -> Result<(), Failure> {
        let options = self.database(config)?;
        let shown = options.url.shown();
        refuse_other(&config.data_dir)?;
        let from = Embedded::open(&config.data_dir, &config.store)?;
        let to = Arc::new(Postgres::open(options)?);
        let runtime = runtime()?;
        runtime.block_on(refuse_servers(&to))?;
        // Before the first item, because everyone who has the database has the data then.
        runtime.block_on(from.note(Entry::new(COMMAND_LINE, Action::StoreExported, &shown, now())))?;
        let (copied, of_directory) = copy(&from, &to)?;
        let of_database = sums(&*to, of_directory.count())?;
        drop(runtime);
        let equal = of_directory == of_database;
        if as_json {
            let differing = (copied.differing > 0).then_some(copied.named);
            print::json(&json!({
                "database": shown, "skipped": copied.skipped, "differing": copied.differing,
                "differing_items": differing.unwrap_or_default(), "kinds": of_directory.compared(&of_database), "equal": equal,
            }));
        } else {
            print_compared(&of_directory.compared(&of_database), &copied);
        }
        if equal {
            if !as_json {
                say!("{shown} has everything that {} has", config.data_dir.display());
            }
            return Ok(());
        }
        let message = if copied.differing > 0 {
            "the directory and the database differ: items of the database with other content were left unchanged. Migrate to an \
             empty database, or delete those items there"
        } else {
            "the directory and the database differ: has a server used the database, or does it have data of another directory? \
             Migrate to an empty database"
        };
        Err(Failure { message: message.into(), status: ExitStatus::Failed })
    }

    /// Returns the settings of the database.
    fn database(&self, config: &Config) -> Result<PostgresOptions, Failure> {
        let Some(to) = &self.to else {
            let configured = config.database.clone().map(|it| PostgresOptions { role: COMMAND, ..it });
            return configured
                .ok_or_else(|| Failure::usage("--to is missing: the URL of the database, in HOOKMILL_MIGRATE_TO"));
        };
        let url = DatabaseUrl::parse(to.expose());
        let url = url.map_err(|why| Failure::usage(format!("--to or HOOKMILL_MIGRATE_TO {why}")))?;
        let kept = &config.store;
        Ok(PostgresOptions {
            idempotency: kept.idempotency,
            events: kept.events,
            deleted_tasks: kept.deleted_tasks,
            audit: kept.audit,
            role: COMMAND,
            ..PostgresOptions::new(url)
        })
    }
}

/// Fails if there is no data directory: opening it would create one.
fn refuse_other(dir: &Path) -> Result<(), Failure> {
    if dir.join("journal").is_dir() {
        return Ok(());
    }
    Err(Failure::usage(format!("{} is not a data directory; set --data-dir to the one to copy", dir.display())))
}

/// Fails if a server uses the database: it would change what is compared.
async fn refuse_servers(store: &Postgres) -> Result<(), Failure> {
    let nodes = store.nodes().await?;
    let servers: Vec<_> = nodes.iter().filter(|it| it.role != COMMAND).map(|it| it.name.as_str()).collect();
    if servers.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "servers use the database: {}; stop them first. A server that was killed counts for ten seconds",
        servers.join(", ")
    )))
}

/// Copies everything. One batch is written while the next is read; their order is that of the tasks.
fn copy(from: &Embedded, to: &Arc<Postgres>) -> Result<(Copied, Sums), Failure> {
    let (send, batches) = crossbeam_channel::bounded::<Vec<StoredItem>>(1);
    let mut progress = Progress::new("copied", from.item_count());
    std::thread::scope(|scope| {
        let written = scope.spawn(move || {
            let (runtime, mut copied) = (runtime()?, Copied::default());
            for batch in batches {
                let imported = runtime.block_on(to.import(batch))?;
                copied.skipped += imported.skipped;
                copied.differing += imported.differing.len() as u64;
                let room = NAMED.saturating_sub(copied.named.len());
                copied.named.extend(imported.differing.into_iter().take(room));
            }
            Ok::<_, Failure>(copied)
        });
        let read = read(from, send, &mut progress);
        // The reader's failure is only that of the writer, if that has ended early.
        let copied = written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let sums = read?;
        progress.finish();
        Ok((copied, sums))
    })
}

/// Reads everything in batches.
fn read(from: &Embedded, to: Sender<Vec<StoredItem>>, progress: &mut Progress) -> Result<Sums, Failure> {
    let (mut sums, mut batch, mut bytes) = (Sums::default(), Vec::with_capacity(BATCH), 0);
    let ended = |_| std::io::Error::other("the database has failed");
    from.export(&mut |item| {
        let line = line_of(item.clone()).map_err(std::io::Error::other)?;
        sums.add(&item, &line);
        bytes += line.len();
        batch.push(item);
        if batch.len() >= BATCH || bytes >= BATCH_BYTES {
            bytes = 0;
            progress.add(batch.len() as u64);
            to.send(std::mem::take(&mut batch)).map_err(ended)?;
        }
        Ok(())
    })?;
    progress.add(batch.len() as u64);
    to.send(batch).map_err(Failure::new)?;
    Ok(sums)
}

/// Sums up everything in a store.
fn sums(store: &dyn Upkeep, total: u64) -> Result<Sums, Failure> {
    let (mut sums, mut progress) = (Sums::default(), Progress::new("verified", total));
    store.export(&mut |item| {
        let line = line_of(item.clone()).map_err(std::io::Error::other)?;
        sums.add(&item, &line);
        progress.add(1);
        Ok(())
    })?;
    progress.finish();
    Ok(sums)
}

fn print_compared(kinds: &Value, copied: &Copied) {
    say!("{:<14} {:>12} {:>12}", "", "DIRECTORY", "DATABASE");
    for (kind, it) in kinds.as_object().into_iter().flatten() {
        let equal = if it["equal"] == true { "equal" } else { "DIFFERENT" };
        let count = |side: &str| it[side]["count"].to_string();
        say!("{kind:<14} {:>12} {:>12}  {equal}", count("directory"), count("database"));
    }
    if copied.skipped > 0 {
        say!("{} items existed already", copied.skipped);
    }
    if copied.differing > 0 {
        let (count, named) = (copied.differing, copied.named.join(", "));
        tell!("{count} exist with different content and were left unchanged: {named}");
    }
}
