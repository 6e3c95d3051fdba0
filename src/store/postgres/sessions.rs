//! Sessions of the console in the database, so that every node knows them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use tokio_postgres::Row;

use super::backend::Postgres;
use super::failure;
use crate::store::error::StoreError;
use crate::store::sessions::{ConsoleSession, SEEN, SessionLimits, SessionStore, TokenHash};

const BEGIN: &str = "WITH ended AS (DELETE FROM hookmill.console_sessions WHERE began_at <= $6) \
     INSERT INTO hookmill.console_sessions (token, holder, is_link, began_at, seen_at) VALUES ($1, $2, $3, $4, $5)";
const READ: &str =
    "SELECT holder, is_link, began_at, seen_at FROM hookmill.console_sessions WHERE token = $1 AND NOT is_link";
const SEE: &str = "UPDATE hookmill.console_sessions SET seen_at = greatest(seen_at, $2) WHERE token = $1";
const TAKE: &str =
    "DELETE FROM hookmill.console_sessions WHERE token = $1 RETURNING holder, is_link, began_at, seen_at";

impl SessionStore for Postgres {
    fn begin(
        &self,
        token: TokenHash,
        session: ConsoleSession,
        ended: DateTime<Utc>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let ConsoleSession { holder, is_link, began_at, seen_at } = session;
            let begun = client.execute(BEGIN, &[&&token[..], &holder, &is_link, &began_at, &seen_at, &ended]).await;
            begun.map(drop).map_err(failure::read)
        })
    }

    fn seen(
        &self,
        token: TokenHash,
        now: DateTime<Utc>,
        limits: SessionLimits,
    ) -> BoxFuture<'_, Result<Option<ConsoleSession>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let row = client.query_opt(READ, &[&&token[..]]).await.map_err(failure::read)?;
            let Some(session) = row.as_ref().map(session).filter(|it| it.is_good(now, limits)) else { return Ok(None) };
            if now - session.seen_at >= SEEN {
                client.execute(SEE, &[&&token[..], &now]).await.map_err(failure::read)?;
            }
            Ok(Some(session))
        })
    }

    fn peek(
        &self,
        token: TokenHash,
        now: DateTime<Utc>,
        limits: SessionLimits,
    ) -> BoxFuture<'_, Result<Option<ConsoleSession>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let row = client.query_opt(READ, &[&&token[..]]).await.map_err(failure::read)?;
            Ok(row.as_ref().map(session).filter(|it| it.is_good(now, limits)))
        })
    }

    fn take(&self, token: TokenHash) -> BoxFuture<'_, Result<Option<ConsoleSession>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        self.run(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let row = client.query_opt(TAKE, &[&&token[..]]).await.map_err(failure::read)?;
            Ok(row.as_ref().map(session))
        })
    }
}

fn session(row: &Row) -> ConsoleSession {
    ConsoleSession { holder: row.get(0), is_link: row.get(1), began_at: row.get(2), seen_at: row.get(3) }
}
