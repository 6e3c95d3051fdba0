//! Partitions of events: one for each day, by the time in the events' ids.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use tokio_postgres::Client;
use uuid::Uuid;

use super::connections::Connections;
use super::failure::Trouble;
use super::schema::LOCK;
use crate::store::id_time::{first_id_of, received_ms};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// The tables with partitions.
pub(super) const TABLES: [&str; 2] = ["events", "event_bodies"];
/// Days for which partitions are created ahead.
const AHEAD: i64 = 3;

/// Whether a table is there, and whether it is attached.
const STATE: &str = "SELECT r.oid IS NOT NULL, \
     EXISTS (SELECT 1 FROM pg_inherits WHERE inhrelid = r.oid AND NOT inhdetachpending) FROM to_regclass($1) AS r (oid)";
/// The partitions, and whether their detachment has begun. NULL if they are detached.
const EXISTING: &str = "SELECT c.relname, i.inhdetachpending FROM pg_class c \
     JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_inherits i ON i.inhrelid = c.oid \
     WHERE n.nspname = 'hookmill' AND c.relkind = 'r' AND c.relname ~ '^(events|event_bodies)_[0-9]{8}$'";

/// A day, in days since 1970.
pub(super) type Day = i64;

/// The partitions that exist, as far as this node knows.
#[derive(Debug, Default)]
pub(super) struct Partitions(Mutex<BTreeSet<Day>>);

/// Returns the day of an event.
pub(super) fn day_of(id: Uuid) -> Day {
    received_ms(id).div_euclid(DAY_MS)
}

/// Returns the lowest id of a day.
pub(super) fn first_of(day: Day) -> Uuid {
    first_id_of(day * DAY_MS)
}

/// Returns the name of a partition.
pub(super) fn name(table: &str, day: Day) -> String {
    let date = DateTime::<Utc>::from_timestamp(day * (DAY_MS / 1000), 0).unwrap_or_default();
    format!("{table}_{}", date.format("%Y%m%d"))
}

/// Whether a partition is attached to its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Attached,
    /// Its detachment was interrupted.
    Detaching,
    Detached,
}

/// Returns the partitions in the database, by day: their tables, and whether they are attached.
pub(super) async fn existing(client: &Client) -> Result<BTreeMap<Day, Vec<(&'static str, State)>>, Trouble> {
    let mut days: BTreeMap<Day, Vec<_>> = BTreeMap::new();
    for row in client.query(EXISTING, &[]).await? {
        let name: &str = row.get(0);
        let state = match row.get(1) {
            Some(false) => State::Attached,
            Some(true) => State::Detaching,
            None => State::Detached,
        };
        for table in TABLES {
            let date = name.strip_prefix(table).and_then(|it| it.strip_prefix('_'));
            let date = date.and_then(|it| NaiveDate::parse_from_str(it, "%Y%m%d").ok());
            if let Some(date) = date {
                let day = date.and_time(NaiveTime::MIN).and_utc().timestamp_millis().div_euclid(DAY_MS);
                days.entry(day).or_default().push((table, state));
            }
        }
    }
    Ok(days)
}

impl Partitions {
    /// Creates the partitions of these days that are missing.
    pub(super) async fn ensure(
        &self,
        connections: &Connections,
        days: impl IntoIterator<Item = Day>,
    ) -> Result<(), Trouble> {
        let missing: BTreeSet<Day> = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            days.into_iter().filter(|it| !known.contains(it)).collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let mut client = connections.write().await?;
        for day in missing {
            let transaction = client.transaction().await?;
            transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
            for table in TABLES {
                let name = name(table, day);
                let row = transaction.query_one(STATE, &[&format!("hookmill.{name}")]).await?;
                match (row.get(0), row.get(1)) {
                    (true, true) => continue,
                    (true, false) => return Err(Trouble::Passing("a partition of events is being removed".into())),
                    (false, _) => {}
                }
                // Attached afterwards, because `PARTITION OF` would lock the whole table. An event may change once, from
                // queued to its end: free space in its page lets PostgreSQL do so without an entry in the index.
                let (from, to) = (first_of(day), first_of(day + 1));
                let fill = if table == "events" { " WITH (fillfactor = 85)" } else { "" };
                let create = format!(
                    "CREATE TABLE hookmill.{name} (LIKE hookmill.{table} INCLUDING ALL){fill};
                     ALTER TABLE hookmill.{table} ATTACH PARTITION hookmill.{name} FOR VALUES FROM ('{from}') TO ('{to}')"
                );
                transaction.batch_execute(&create).await?;
            }
            transaction.commit().await?;
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(day);
        }
        Ok(())
    }

    /// Creates the partitions of today and the next days.
    pub(super) async fn ahead(&self, connections: &Connections, now: DateTime<Utc>) -> Result<(), Trouble> {
        let today = now.timestamp_millis().div_euclid(DAY_MS);
        self.ensure(connections, today..=today + AHEAD).await
    }

    /// Notes that the partitions of a day are dropped.
    pub(super) fn dropped(&self, day: Day) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&day);
    }

    /// Forgets what exists, so that it is looked up again.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
