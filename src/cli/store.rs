//! `hookmill store backup|restore|export|import|check|stats|compact|bench|migrate|migrate-schema`

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::exit::ExitStatus;
use super::failure::Failure;
use super::flags::DataDirFlag;
use super::print::{say, tell};
use super::remote::{Remote, text};
use super::{bench, migrate, open, print, progress, runtime, schema, transfer};
use crate::config::{Config, Options};
use crate::model::audit;
use crate::model::audit::{COMMAND_LINE, Entry};
use crate::model::time::now;
use crate::store::embedded::CheckReport;
use crate::store::{Embedded, Stats, Store, embedded};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  hookmill store backup /backups/monday            a copy of everything, while the server runs
  hookmill store restore /backups/monday --data-dir data
  hookmill store export tasks.ndjson               with the server stopped, or from a backup: --data-dir /backups/monday
  hookmill store import tasks.ndjson --data-dir new
  hookmill store check --json                      reads everything; exits with 4 if something is lost
  hookmill store stats
  hookmill store export all.ndjson --database-url postgres:///hookmill?user=hookmill

If a server is running on --data-dir, backup, stats and compact use its admin API. For the other commands, stop it first.
With a PostgreSQL database, export, import and stats work while servers run; use pg_dump or pg_basebackup for backups.")]
pub(super) struct StoreCommand {
    #[command(subcommand)]
    action: StoreAction,
    #[command(flatten)]
    data: DataDirFlag,
    /// Print JSON for scripts
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum StoreAction {
    /// Copy all acknowledged data into a new directory
    Backup {
        /// A new or empty directory; it becomes a data directory of its own
        dir: PathBuf,
    },
    /// Create the data directory from a backup, after verifying all of it
    Restore {
        /// The backup's directory
        dir: PathBuf,
    },
    /// Write tasks, events and API keys (as hashes), one JSON object per line
    Export {
        /// Output file; stdout if it is missing or "-"
        file: Option<PathBuf>,
    },
    /// Store exported lines; items that exist are left as they are
    Import {
        /// Input file; stdin if it is missing or "-"
        file: Option<PathBuf>,
    },
    /// Read everything, and report damage
    Check {
        /// Rebuild what the journal can restore: the read view and the event indexes
        #[arg(long)]
        repair: bool,
    },
    /// Show counts and sizes by company
    Stats,
    /// Return the space that the read view no longer needs
    Compact,
    /// Measure durable writes on this disk, next to the limit that the disk sets
    Bench(bench::Bench),
    /// Copy the data directory to a PostgreSQL database, and compare both
    Migrate(migrate::Migrate),
    /// Create or update the tables of a PostgreSQL database
    MigrateSchema(schema::MigrateSchema),
}

impl StoreAction {
    /// What to do instead, for an operation on the files of a data directory.
    fn instead(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Backup { .. } => Some((
                "backup",
                "back it up with pg_dump or pg_basebackup; `hookmill store export` writes all data as lines",
            )),
            Self::Restore { .. } => Some((
                "restore",
                "restore it with pg_restore or from a base backup; `hookmill store import` reads exported lines",
            )),
            Self::Check { .. } => Some(("check", "check it with pg_amcheck, and enable data checksums")),
            Self::Compact => {
                Some(("compact", "PostgreSQL frees space by itself (autovacuum); VACUUM returns it sooner"))
            }
            Self::Bench(_) => {
                Some(("bench", "measure the database with pgbench, and servers with scripts/bench-postgres"))
            }
            Self::Export { .. } | Self::Import { .. } | Self::Stats | Self::Migrate(_) | Self::MigrateSchema(_) => None,
        }
    }
}

impl StoreCommand {
    pub(super) fn options(&self) -> Options {
        self.data.options()
    }

    pub(super) fn run(&self, config: &Config) -> Result<(), Failure> {
        if let (Some(database), Some((name, instead))) = (&config.database, self.action.instead()) {
            let shown = database.url.shown();
            return Err(Failure::usage(format!(
                "store {name} is for data directories, and the data is in {shown}: {instead}"
            )));
        }
        let answer = match &self.action {
            StoreAction::Backup { dir } => whole(backup(config, dir)?)?,
            StoreAction::Restore { dir } => {
                let report = embedded::restore(dir, &config.data_dir)?;
                // The view is built when the store is first opened: doing it here keeps the server's start fast.
                drop(Embedded::open(&config.data_dir, &config.store)?);
                serde_json::to_value(&report).map_err(Failure::new)?
            }
            StoreAction::Export { file } => self.export(config, named(file))?,
            StoreAction::Import { file } => self.import(config, named(file))?,
            StoreAction::Check { repair } => return self.check(config, *repair),
            StoreAction::Bench(bench) => return bench.run(&config.data_dir),
            StoreAction::Stats => match Remote::holding(&config.data_dir) {
                Some(remote) => remote.call("GET", "/v1/admin/store", None)?,
                None => stats(&*open::store(config)?)?,
            },
            StoreAction::Migrate(migrate) => return migrate.run(config, self.json),
            StoreAction::MigrateSchema(_) => return schema::MigrateSchema::run(config, self.json),
            StoreAction::Compact => compact(config)?,
        };
        self.print(&answer);
        Ok(())
    }

    fn export(&self, config: &Config, file: Option<&Path>) -> Result<Value, Failure> {
        let store = open::store(config)?;
        let mut out: Box<dyn Write> = match file {
            Some(path) => Box::new(private_file(path).map_err(|e| in_file(path, &e))?),
            None => Box::new(std::io::stdout().lock()),
        };
        // Before the first line, because everyone who has the lines has read the data.
        note(&*store, audit::Action::StoreExported, file)?;
        let counts = transfer::export(&*store, &mut BufWriter::with_capacity(1 << 20, &mut out))?;
        // If the lines go to stdout, nothing else does.
        if file.is_none() { Ok(Value::Null) } else { Ok(counts) }
    }

    fn import(&self, config: &Config, file: Option<&Path>) -> Result<Value, Failure> {
        let store = open::store(config)?;
        if config.database.is_some() {
            // Lines from a pipe are copied there.
            open::create(&config.data_dir).map_err(|e| in_file(&config.data_dir, &e))?;
        }
        let input = match file {
            Some(path) => seekable(&config.data_dir, File::open(path).map_err(|e| in_file(path, &e))?),
            None => kept(&config.data_dir, &mut std::io::stdin().lock()),
        };
        let input = input.map_err(|e| Failure::new(format!("the lines cannot be read: {e}")))?;
        let imported = runtime()?.block_on(transfer::import(&*store, &mut BufReader::with_capacity(1 << 20, input)));
        // Also what was stored before a failure is there, and running servers read it once they see this.
        let noted = note(&*store, audit::Action::StoreImported, file);
        let counts = imported?;
        noted?;
        Ok(counts)
    }

    fn check(&self, config: &Config, repair: bool) -> Result<(), Failure> {
        let mut report = embedded::check(&config.data_dir)?;
        if repair && report.damages.is_empty() && !report.repairable.is_empty() {
            embedded::repair(&config.data_dir, &config.store)?;
            tell!("rebuilt from the journal");
            report = embedded::check(&config.data_dir)?;
        }
        if self.json {
            print::json(&serde_json::to_value(&report).map_err(Failure::new)?);
        } else {
            print_report(&report);
        }
        verdict(&report).map_or(Ok(()), |(status, message)| Err(Failure { message: message.into(), status }))
    }

    fn print(&self, answer: &Value) {
        match &self.action {
            _ if answer.is_null() => {}
            _ if self.json => print::json(answer),
            StoreAction::Stats | StoreAction::Compact => print_stats(answer),
            StoreAction::Backup { dir } => {
                say!("{} contains everything up to change {}", dir.display(), answer["sequence"])
            }
            StoreAction::Restore { dir } => say!("restored from {}: {} changes", dir.display(), answer["sequence"]),
            _ => say!(
                "{} tasks, {} events, {} API keys, {} entries of the audit log, {} stored responses{}",
                answer["tasks"],
                answer["events"],
                answer["api_keys"],
                answer["audit_entries"],
                answer["answers"],
                answer["skipped"]
                    .as_u64()
                    .filter(|it| *it > 0)
                    .map_or(String::new(), |it| format!("; {it} existed already"))
            ),
        }
        if let Some(count) = answer["differing"].as_u64() {
            let named: Vec<_> = answer["differing_items"].as_array().into_iter().flatten().map(text).collect();
            tell!("{count} exist with different content and were left unchanged: {}", named.join(", "));
        }
    }
}

fn files(config: &Config) -> Result<Embedded, Failure> {
    Ok(Embedded::open(&config.data_dir, &config.store)?)
}

/// Adds an audit entry for an operation without a running server.
fn note(store: &dyn Store, action: audit::Action, file: Option<&Path>) -> Result<(), Failure> {
    let target = file.map_or_else(|| "-".to_owned(), |it| it.display().to_string());
    Ok(runtime()?.block_on(store.note(Entry::new(COMMAND_LINE, action, target, now())))?)
}

fn backup(config: &Config, dir: &Path) -> Result<Value, Failure> {
    let dir = std::path::absolute(dir).map_err(Failure::new)?;
    match Remote::holding(&config.data_dir) {
        Some(remote) => remote.call("POST", "/v1/admin/store/backup", Some(json!({ "dir": dir }))),
        None => serde_json::to_value(files(config)?.backup(&dir)?).map_err(Failure::new),
    }
}

fn compact(config: &Config) -> Result<Value, Failure> {
    match Remote::holding(&config.data_dir) {
        Some(remote) => progress::follow(
            "entries rebuilt",
            || remote.call("POST", "/v1/admin/store/compact", Some(json!({}))),
            || rebuilt(remote.call("GET", "/v1/admin/store", None).ok()?),
        ),
        None => {
            let store = files(config)?;
            let built = progress::follow("entries rebuilt", || store.compact(), || rebuilt(stats(&store).ok()?));
            built?;
            stats(&store)
        }
    }
}

/// Returns the number of entries in the view that is being rebuilt, and their total.
fn rebuilt(answer: Value) -> Option<(u64, u64)> {
    let stats: Stats = serde_json::from_value(answer).ok()?;
    stats.rebuilt.map(|it| (it, stats.entries()))
}

/// Fails if the copied data is damaged, because then the copy is not a valid backup.
fn whole(report: Value) -> Result<Value, Failure> {
    let damages: Vec<_> = report["damages"].as_array().into_iter().flatten().map(text).collect();
    if damages.is_empty() {
        return Ok(report);
    }
    Err(Failure { message: format!("the copy is damaged: {}", damages.join("; ")), status: ExitStatus::Damaged })
}

fn stats(store: &dyn Store) -> Result<Value, Failure> {
    serde_json::to_value(runtime()?.block_on(store.stats())?).map_err(Failure::new)
}

fn named(file: &Option<PathBuf>) -> Option<&Path> {
    file.as_deref().filter(|it| *it != Path::new("-"))
}

/// Returns a file that can be read twice; the content of a pipe is copied to an unnamed file.
fn seekable(data_dir: &Path, mut file: File) -> std::io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { kept(data_dir, &mut file) }
}

fn kept(data_dir: &Path, input: &mut impl Read) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = data_dir.join("import.tmp");
    // A killed process may have left it behind.
    let _usually_there_is_none = std::fs::remove_file(&path);
    let mut file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    std::io::copy(input, &mut file)?;
    Ok(file)
}

/// Creates a file that only the current user can read, because it contains patients' data.
fn private_file(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // An existing file may have other permissions; a device is left unchanged.
    if file.metadata()?.is_file() {
        rustix::fs::fchmod(&file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)?;
    }
    Ok(file)
}

fn in_file(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}

/// The exit status for what was found, and what to do; none if all is well.
fn verdict(report: &CheckReport) -> Option<(ExitStatus, &'static str)> {
    if !report.damages.is_empty() {
        Some((ExitStatus::Damaged, "stored data is damaged: restore a backup, or start with --accept-loss"))
    } else if !report.repairable.is_empty() {
        Some((ExitStatus::Repairable, "nothing is lost; the next start, or --repair, rebuilds this"))
    } else if !report.unchecked.is_empty() {
        Some((ExitStatus::Failed, "not everything could be checked: free some space, and check again"))
    } else {
        None
    }
}

fn print_report(report: &CheckReport) {
    say!("journal: {} records, {} events, up to change {}", report.records, report.events, report.sequence);
    say!("snapshot: {} entries", report.snapshot_entries);
    match report.view_entries {
        Some(entries) => say!("read view: {entries} entries"),
        None if report.unchecked.is_empty() && report.repairable.is_empty() => {
            say!("read view: none; the next start builds it")
        }
        None => say!("read view: not read"),
    }
    report.damages.iter().for_each(|it| say!("LOST: {it}"));
    report.repairable.iter().for_each(|it| say!("repairable: {it}"));
    report.unchecked.iter().for_each(|it| say!("not checked: {it}"));
    if verdict(report).is_none() {
        say!("no damage found");
    }
}

fn print_stats(stats: &Value) {
    say!("{:<24} {:>12} {:>10} {:>14}", "COMPANY", "TASKS", "DELETED", "BYTES");
    for it in stats["companies"].as_array().into_iter().flatten() {
        let row = [&it["company_id"], &it["tasks"], &it["deleted_tasks"], &it["task_bytes"]].map(text);
        say!("{:<24} {:>12} {:>10} {:>14}", row[0], row[1], row[2], row[3]);
    }
    say!(
        "API keys {}, idempotency keys {}, changes {}",
        stats["api_keys"],
        stats["idempotency_keys"],
        stats["sequence"]
    );
    let disk = stats["disk"].as_object().into_iter().flatten();
    let sizes: Vec<_> = disk.map(|(name, bytes)| format!("{name} {}", mib(bytes))).collect();
    say!("on the disk: {}", sizes.join(", "));
}

fn mib(bytes: &Value) -> String {
    format!("{:.1} MiB", bytes.as_f64().unwrap_or(0.0) / f64::from(1 << 20))
}
