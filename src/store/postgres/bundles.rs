//! Plugins in the database.
//!
//! Every transaction that switches a plugin changes the row of `installation` first, so activations happen one after another,
//! and the number of an activation tells nodes what they have not loaded yet.

use std::sync::Arc;

use deadpool_postgres::{Object, Transaction};
use tokio_postgres::Row;

use super::backend::Postgres;
use super::change::json;
use super::failure;
use super::shared::{SharedDatabase, name_of};
use crate::metrics::store::STORE;
use crate::model::audit::Entry;
use crate::model::company::CompanyId;
use crate::store::bundles::{ActiveBundle, BundleVersion, Bundles, NewBundle, PublishOutcome, Switched};
use crate::store::error::StoreError;

const PUBLISH: &str = "INSERT INTO hookmill.plugin_bundles (name, version, company_id, digest, publisher, published_at, bundle) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
const PUBLISHED: &str =
    "SELECT digest, publisher, published_at FROM hookmill.plugin_bundles WHERE name = $1 AND version = $2";
const NEXT: &str = "UPDATE hookmill.installation SET plugins_version = plugins_version + 1 RETURNING plugins_version, \
     pg_notify('hookmill', 'plugins')";
const ACTIVATE: &str = "INSERT INTO hookmill.plugin_active AS a (name, version, previous, activated_at, activated_by, activation) \
     VALUES ($1, $2, NULL, $3, $4, $5) ON CONFLICT (name) DO UPDATE SET version = excluded.version, \
     previous = CASE WHEN a.version = excluded.version THEN a.previous ELSE a.version END, \
     activated_at = excluded.activated_at, activated_by = excluded.activated_by, activation = excluded.activation";
const DEACTIVATE: &str = "DELETE FROM hookmill.plugin_active a USING hookmill.plugin_bundles b \
     WHERE a.name = $1 AND b.name = a.name AND b.version = a.version RETURNING a.version, b.company_id";
const VERSIONS: &str = "SELECT b.name, b.version, b.company_id, b.digest, b.publisher, b.published_at, a.name IS NOT NULL, p.name IS NOT NULL \
     FROM hookmill.plugin_bundles b LEFT JOIN hookmill.plugin_active a ON a.name = b.name AND a.version = b.version \
     LEFT JOIN hookmill.plugin_active p ON p.name = b.name AND p.previous = b.version \
     WHERE b.name = $1 OR $1 IS NULL ORDER BY b.name, b.published_at DESC, b.version DESC";
/// In one statement, so that the number fits the versions.
const ACTIVE: &str = "SELECT i.plugins_version, a.name, a.version, b.digest, a.activation FROM hookmill.installation i \
     LEFT JOIN (hookmill.plugin_active a JOIN hookmill.plugin_bundles b ON b.name = a.name AND b.version = a.version) ON true \
     ORDER BY a.name";

impl Bundles for Postgres {
    fn publish(&self, bundle: NewBundle, entry: Entry) -> Result<PublishOutcome, StoreError> {
        let shared = Arc::clone(&self.shared);
        self.wait(async move { publish(&shared, bundle, entry).await })
    }

    fn activate(&self, name: &str, version: &str, by: &str, entry: Entry) -> Result<Option<Switched>, StoreError> {
        let (shared, name, by) = (Arc::clone(&self.shared), name.to_owned(), by.to_owned());
        let to = To::Version(version.to_owned());
        self.wait(async move { switch(&shared, &name, to, &by, entry).await })
    }

    fn activate_after(
        &self,
        name: &str,
        version: &str,
        before: &str,
        by: &str,
        entry: Entry,
    ) -> Result<Option<Switched>, StoreError> {
        let (shared, name, by) = (Arc::clone(&self.shared), name.to_owned(), by.to_owned());
        let to = To::After { version: version.to_owned(), before: before.to_owned() };
        self.wait(async move { switch(&shared, &name, to, &by, entry).await })
    }

    fn rollback(&self, name: &str, by: &str, entry: Entry) -> Result<Option<Switched>, StoreError> {
        let (shared, name, by) = (Arc::clone(&self.shared), name.to_owned(), by.to_owned());
        self.wait(async move { switch(&shared, &name, To::Previous, &by, entry).await })
    }

    fn deactivate(&self, name: &str, by: &str, entry: Entry) -> Result<Option<(String, i64)>, StoreError> {
        let (shared, name, by) = (Arc::clone(&self.shared), name.to_owned(), by.to_owned());
        self.wait(async move { deactivate(&shared, &name, &by, entry).await })
    }

    fn versions(&self, name: Option<&str>) -> Result<Vec<BundleVersion>, StoreError> {
        let (shared, name) = (Arc::clone(&self.shared), name.map(str::to_owned));
        self.wait(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let rows = client.query(VERSIONS, &[&name]).await.map_err(failure::read)?;
            let version = |row: &Row| BundleVersion {
                name: row.get(0),
                version: row.get(1),
                company_id: row.get(2),
                digest: row.get(3),
                publisher: row.get(4),
                published_at: row.get(5),
                is_active: row.get(6),
                is_previous: row.get(7),
            };
            Ok(rows.iter().map(version).collect())
        })
    }

    fn active(&self) -> Result<(Vec<ActiveBundle>, i64), StoreError> {
        let shared = Arc::clone(&self.shared);
        self.wait(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let rows = client.query(ACTIVE, &[]).await.map_err(failure::read)?;
            let last = rows.first().map_or(0, |row| row.get(0));
            let active = |row: &Row| {
                let (name, version, digest, activation) =
                    (row.get::<_, Option<_>>(1)?, row.get(2), row.get(3), row.get(4));
                Some(ActiveBundle { name, version, digest, activation })
            };
            Ok((rows.iter().filter_map(active).collect(), last))
        })
    }

    fn bundle(&self, name: &str, version: &str, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let (shared, name, version) = (Arc::clone(&self.shared), name.to_owned(), version.to_owned());
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.wait(async move {
            let client = shared.connections.read().await.map_err(failure::read)?;
            let select = "SELECT bundle FROM hookmill.plugin_bundles WHERE name = $1 AND version = $2 AND octet_length(bundle)::bigint <= $3";
            let row = client.query_opt(select, &[&name, &version, &most]).await.map_err(failure::read)?;
            Ok(row.map(|it| it.get(0)))
        })
    }
}

async fn publish(shared: &SharedDatabase, bundle: NewBundle, entry: Entry) -> Result<PublishOutcome, StoreError> {
    let mut client = writing(shared, &entry).await?;
    let transaction = client.transaction().await.map_err(failed)?;
    let NewBundle { name, version, company_id, digest, publisher, bytes } = bundle;
    let new = transaction
        .execute(PUBLISH, &[&name, &version, &company_id, &digest, &publisher, &entry.at, &bytes])
        .await
        .map_err(failed)?;
    if new == 0 {
        let before = transaction.query_one(PUBLISHED, &[&name, &version]).await.map_err(failed)?;
        let (known, publisher, at): (String, String, _) = (before.get(0), before.get(1), before.get(2));
        return Ok(if known == digest {
            PublishOutcome::Same
        } else {
            PublishOutcome::Other { digest: known, publisher, at }
        });
    }
    note(&transaction, &entry).await?;
    transaction.commit().await.map_err(failed)?;
    STORE.audit_entries.count();
    Ok(PublishOutcome::Stored)
}

/// What to switch to.
enum To {
    Version(String),
    /// Only if this version is the active one.
    After {
        version: String,
        before: String,
    },
    Previous,
}

async fn switch(
    shared: &SharedDatabase,
    name: &str,
    to: To,
    by: &str,
    entry: Entry,
) -> Result<Option<Switched>, StoreError> {
    let mut client = switching(shared, name, &entry).await?;
    let transaction = client.transaction().await.map_err(failed)?;
    // First, because it makes activations wait for each other.
    let activation: i64 = transaction.query_one(NEXT, &[]).await.map_err(failed)?.get(0);
    let select = "SELECT version, previous FROM hookmill.plugin_active WHERE name = $1";
    let now = transaction.query_opt(select, &[&name]).await.map_err(failed)?;
    let (current, previous): (Option<String>, Option<String>) =
        now.map_or((None, None), |row| (Some(row.get(0)), row.get(1)));
    let version = match to {
        To::Version(version) => version,
        To::After { before, .. } if current.as_ref() != Some(&before) => return Ok(None),
        To::After { version, .. } => version,
        To::Previous => match previous {
            Some(previous) => previous,
            None => return Ok(None),
        },
    };
    let select = "SELECT digest, company_id FROM hookmill.plugin_bundles WHERE name = $1 AND version = $2";
    let Some(bundle) = transaction.query_opt(select, &[&name, &version]).await.map_err(failed)? else {
        return Ok(None);
    };
    let (digest, company): (String, String) = (bundle.get(0), bundle.get(1));
    transaction.execute(ACTIVATE, &[&name, &version, &entry.at, &by, &activation]).await.map_err(failed)?;
    let company = CompanyId::parse(&company).map_err(|e| StoreError::Read(e.to_string()))?;
    let previous = current.filter(|it| *it != version);
    let from = previous.as_ref().map_or_else(String::new, |it| format!(", before {it}"));
    let entry = entry.with(format!("version {version}, sha256 {digest}{from}, by {by}")).of(&company);
    note(&transaction, &entry).await?;
    transaction.commit().await.map_err(failed)?;
    STORE.audit_entries.count();
    Ok(Some(Switched { version, digest, previous, activation }))
}

async fn deactivate(
    shared: &SharedDatabase,
    name: &str,
    by: &str,
    entry: Entry,
) -> Result<Option<(String, i64)>, StoreError> {
    let mut client = switching(shared, name, &entry).await?;
    let transaction = client.transaction().await.map_err(failed)?;
    let number: i64 = transaction.query_one(NEXT, &[]).await.map_err(failed)?.get(0);
    let Some(gone) = transaction.query_opt(DEACTIVATE, &[&name]).await.map_err(failed)? else { return Ok(None) };
    let (version, company): (String, String) = (gone.get(0), gone.get(1));
    let company = CompanyId::parse(&company).map_err(|e| StoreError::Read(e.to_string()))?;
    note(&transaction, &entry.with(format!("before version {version}, by {by}")).of(&company)).await?;
    transaction.commit().await.map_err(failed)?;
    STORE.audit_entries.count();
    Ok(Some((version, number)))
}

/// Returns a connection for a transaction that switches a plugin. What else it needs is done before, because it must not wait
/// for another connection. Versions of a plugin may belong to different companies.
async fn switching(shared: &SharedDatabase, name: &str, entry: &Entry) -> Result<Object, StoreError> {
    let client = writing(shared, entry).await?;
    let select = "SELECT DISTINCT company_id FROM hookmill.plugin_bundles WHERE name = $1";
    let companies = client.query(select, &[&name]).await.map_err(failed)?;
    drop(client);
    let companies: Vec<&str> = companies.iter().map(|row| row.get(0)).collect();
    shared.ensure_companies(&companies).await.map_err(failure::read)?;
    shared.connections.write().await.map_err(failure::read)
}

/// Returns a connection for a transaction with this audit entry.
async fn writing(shared: &SharedDatabase, entry: &Entry) -> Result<Object, StoreError> {
    shared.ensure_companies(&[name_of(entry.company_id.as_ref())]).await.map_err(failure::read)?;
    shared.connections.write().await.map_err(failure::read)
}

async fn note(transaction: &Transaction<'_>, entry: &Entry) -> Result<(), StoreError> {
    let insert = "INSERT INTO hookmill.audit (company_id, id, document) VALUES ($1, $2, $3)";
    let company = name_of(entry.company_id.as_ref());
    transaction.execute(insert, &[&company, &entry.id, &json(entry)?]).await.map_err(failed)?;
    Ok(())
}

fn failed(error: tokio_postgres::Error) -> StoreError {
    super::failure::Trouble::from(error).into_error()
}
