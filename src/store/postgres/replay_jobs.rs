//! Replays of many events in the database, so that every node knows them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::backend::Postgres;
use super::failure::{self, Trouble};
use crate::model::company::CompanyId;
use crate::store::error::StoreError;
use crate::store::replay_jobs::{ReplayBeat, ReplayJobStore, SharedReplay};

/// A company has at most one row that runs, so one that was interrupted gives its place up first.
const INTERRUPTED: &str = "UPDATE hookmill.replay_jobs SET running = false \
     WHERE company_id = $1 AND running AND heard_at <= now() - $2 * interval '1 millisecond'";
const BEGIN: &str = "INSERT INTO hookmill.replay_jobs (company_id, id, document) VALUES ($1, $2, $3) \
     ON CONFLICT (company_id) WHERE running DO NOTHING";
/// The 20 newest stay.
const TRIM: &str = "DELETE FROM hookmill.replay_jobs WHERE company_id = $1 AND NOT running AND id < ( \
       SELECT id FROM hookmill.replay_jobs WHERE company_id = $1 ORDER BY id DESC OFFSET 19 LIMIT 1 \
     )";
const BEAT: &str = "UPDATE hookmill.replay_jobs SET document = $3, heard_at = now() \
     WHERE company_id = $1 AND id = $2 AND running RETURNING stop_asked_by";
const END: &str = "UPDATE hookmill.replay_jobs SET document = $3, heard_at = now(), running = false \
     WHERE company_id = $1 AND id = $2";
const FORGET: &str = "DELETE FROM hookmill.replay_jobs WHERE company_id = $1 AND id = $2";
const STOP: &str = "UPDATE hookmill.replay_jobs SET stop_asked_by = $3 \
     WHERE company_id = $1 AND id = $2 AND running AND stop_asked_by IS NULL";
const READ: &str = "SELECT document, date_trunc('milliseconds', heard_at), running AND heard_at > now() - $3 * interval '1 millisecond', stop_asked_by \
     FROM hookmill.replay_jobs WHERE company_id = $1 AND ($2::uuid IS NULL OR id = $2) ORDER BY id DESC LIMIT 20";

impl Postgres {
    /// Runs a statement with the company, the id and perhaps one more value.
    fn change_replay(
        &self,
        statement: &'static str,
        company: &CompanyId,
        id: Uuid,
        value: Option<String>,
    ) -> BoxFuture<'_, Result<Vec<Row>, StoreError>> {
        let (shared, company) = (Arc::clone(&self.shared), company.clone());
        self.run(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let name = company.as_str();
            let mut values: Vec<&(dyn ToSql + Sync)> = vec![&name, &id];
            values.extend(value.as_ref().map(|it| it as &(dyn ToSql + Sync)));
            client.query(statement, &values).await.map_err(failure::read)
        })
    }

    fn silence_millis(&self) -> f64 {
        self.silence().as_secs_f64() * 1000.0
    }
}

impl ReplayJobStore for Postgres {
    fn silence(&self) -> Duration {
        self.shared.options.lease
    }

    fn begin(&self, company: &CompanyId, id: Uuid, document: String) -> BoxFuture<'_, Result<bool, StoreError>> {
        let (shared, company, silence) = (Arc::clone(&self.shared), company.clone(), self.silence_millis());
        self.run(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            begin(&client, company.as_str(), id, &document, silence).await.map_err(Trouble::into_error)
        })
    }

    fn beat(&self, company: &CompanyId, id: Uuid, document: String) -> BoxFuture<'_, Result<ReplayBeat, StoreError>> {
        let rows = self.change_replay(BEAT, company, id, Some(document));
        let beat = |row: &Row| ReplayBeat::Runs { stop_asked_by: row.get(0) };
        async move { Ok(rows.await?.first().map_or(ReplayBeat::Lost, beat)) }.boxed()
    }

    fn end(&self, company: &CompanyId, id: Uuid, document: String) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change_replay(END, company, id, Some(document)).map(|it| it.map(drop)).boxed()
    }

    fn forget(&self, company: &CompanyId, id: Uuid) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change_replay(FORGET, company, id, None).map(|it| it.map(drop)).boxed()
    }

    fn ask_to_stop(&self, company: &CompanyId, id: Uuid, by: &str) -> BoxFuture<'_, Result<(), StoreError>> {
        self.change_replay(STOP, company, id, Some(by.to_owned())).map(|it| it.map(drop)).boxed()
    }

    fn of(&self, company: &CompanyId, id: Option<Uuid>) -> BoxFuture<'_, Result<Vec<SharedReplay>, StoreError>> {
        let (shared, company, silence) = (Arc::clone(&self.shared), company.clone(), self.silence_millis());
        self.run(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let rows = client.query(READ, &[&company.as_str(), &id, &silence]).await.map_err(failure::read)?;
            let replay = |row: &Row| SharedReplay {
                document: row.get(0),
                heard_at: row.get(1),
                is_alive: row.get(2),
                stop_asked_by: row.get(3),
            };
            Ok(rows.iter().map(replay).collect())
        })
    }
}

async fn begin(client: &Client, company: &str, id: Uuid, document: &str, silence: f64) -> Result<bool, Trouble> {
    client.execute(INTERRUPTED, &[&company, &silence]).await?;
    let has_begun = client.execute(BEGIN, &[&company, &id, &document]).await? == 1;
    if has_begun {
        client.execute(TRIM, &[&company]).await?;
    }
    Ok(has_begun)
}
