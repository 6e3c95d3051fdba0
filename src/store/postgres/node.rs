//! This node's lease, and what nodes look up while they have one.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::failure::Trouble;
use super::schema::VERSION;
use super::shared::SharedDatabase;
use crate::model::company::CompanyId;
use crate::store::cluster::Depth;

/// Counting queued events takes at most one part in so many of the time: with very many of them, they are counted less often.
const COUNTING: u32 = 20;

/// A look for the place where they begin that takes longer is not repeated at once.
const LONG: Duration = Duration::from_millis(200);

const RENEW: &str = "UPDATE hookmill.nodes SET leased_until = clock_timestamp() + $2::bigint * interval '1 ms', plugins = $3 \
     WHERE id = $1 AND leased_until > clock_timestamp()";
/// Begins a lease, and frees the claims of the one before. After an outage of the database they do not count as attempts: this
/// node is alive, so none of these events has stopped it.
const BEGIN: &str = "WITH begun AS ( \
       INSERT INTO hookmill.nodes (id, name, role, version, schema_version, leased_until, plugins) \
       VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6::bigint * interval '1 ms', $7) \
     ), before AS (DELETE FROM hookmill.nodes WHERE id = $8 \
     ) UPDATE hookmill.queue q SET node = NULL, token = q.token + 1, \
     attempts = CASE WHEN $9 THEN greatest(q.attempts - 1, 0) ELSE q.attempts END FROM ( \
       SELECT h.company_id, h.place FROM hookmill.companies c CROSS JOIN LATERAL ( \
         SELECT q.company_id, q.place FROM hookmill.queue q WHERE q.company_id = c.company_id AND q.place >= $10 \
         AND q.node = $8 AND q.node IS NOT NULL FOR UPDATE SKIP LOCKED) h \
     ) held WHERE q.company_id = held.company_id AND q.place = held.place";
/// Ends a lease, and its claims. Rows that a result's transaction has locked are settled by it, or freed like those of a node
/// that died.
const END: &str = "WITH ended AS (DELETE FROM hookmill.nodes WHERE id = $1 \
     ) UPDATE hookmill.queue q SET node = NULL, token = q.token + 1, attempts = greatest(q.attempts - 1, 0) FROM ( \
       SELECT h.company_id, h.place FROM hookmill.companies c CROSS JOIN LATERAL ( \
         SELECT q.company_id, q.place FROM hookmill.queue q WHERE q.company_id = c.company_id AND q.place >= $2 \
         AND q.node = $1 AND q.node IS NOT NULL FOR UPDATE SKIP LOCKED) h \
     ) held WHERE q.company_id = held.company_id AND q.place = held.place";
const NUMBER: &str = "SELECT last_value FROM hookmill.changes";
const LOWEST: &str = "SELECT min(q.place), pg_snapshot_xmin(pg_current_snapshot())::text::bigint, \
     pg_current_xact_id()::text::bigint FROM hookmill.companies c CROSS JOIN LATERAL ( \
       SELECT place FROM hookmill.queue WHERE company_id = c.company_id AND place >= $1 ORDER BY place LIMIT 1 \
     ) q";
// One range of the primary key for each company.
const DEPTH: &str = "SELECT c.company_id, q.count FROM hookmill.companies c CROSS JOIN LATERAL ( \
       SELECT count(*) FROM (SELECT 1 FROM hookmill.queue q WHERE q.company_id = c.company_id AND q.place >= $1 \
       ORDER BY q.place LIMIT $2) AS few \
     ) q WHERE q.count > 0";

/// Renews the lease; begins another one if it has ended. Claims of the one before have ended with it.
pub(super) async fn renew(shared: &SharedDatabase, client: &Client) -> Result<(), Trouble> {
    let _one = shared.renewing.lock().await;
    if shared.left.load(Ordering::Acquire) {
        return Ok(());
    }
    let millis = i64::try_from(shared.options.lease.as_millis()).unwrap_or(i64::MAX);
    let plugins = shared.plugins.borrow().clone();
    let before = shared.node();
    if client.execute(RENEW, &[&before, &millis, &plugins]).await? == 1 {
        return Ok(());
    }
    let (id, name) = (Uuid::now_v7(), format!("{}:{}", host(), std::process::id()));
    let (role, version, low) = (shared.options.role, env!("CARGO_PKG_VERSION"), shared.low.load(Ordering::Acquire));
    let was_cut_off = shared.cut_off.load(Ordering::Acquire);
    let values: [&(dyn ToSql + Sync); 10] =
        [&id, &name, &role, &version, &VERSION, &millis, &plugins, &before, &was_cut_off, &low];
    client.execute(BEGIN, &values).await?;
    shared.set_node(id);
    if !before.is_nil() {
        tracing::warn!(
            "this node's lease has ended before it was renewed: its claims were lost, and it begins another one"
        );
    }
    Ok(())
}

/// Ends the lease, and all claims of this node without a result.
pub(super) async fn end(shared: &SharedDatabase, client: &Client) -> Result<(), Trouble> {
    let _one = shared.renewing.lock().await;
    client.execute(END, &[&shared.node(), &shared.low.load(Ordering::Acquire)]).await?;
    shared.set_node(Uuid::nil());
    Ok(())
}

/// Name of the machine; `unknown` where Linux does not show it.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "unknown".into() } else { name.trim().into() }
}

/// Where queued events begin, and what was known before.
#[derive(Debug, Default)]
pub(super) struct LowWater {
    drawn: Option<Drawn>,
    /// Whether the place was found. Until then, statements pass over all rows that were removed and not forgotten.
    is_known: bool,
    /// Whether the last look took long.
    is_slow: bool,
    /// Where queued events began at the last look. A lower one may become visible later.
    seen: i64,
}

/// A number that was drawn, and a transaction id that was given out only afterwards.
#[derive(Debug)]
struct Drawn {
    number: i64,
    before: i64,
}

impl LowWater {
    /// Looks where queued events begin. A transaction that has drawn a lower number may still be running, for however long, so
    /// the place is not above a number until all transactions have ended that were running when it was known. A transaction
    /// has an id before it draws its number, because it locks rows first.
    pub(super) async fn look(&mut self, shared: &SharedDatabase, client: &Client) -> Result<(), Trouble> {
        let low = shared.low.load(Ordering::Acquire);
        // Before the snapshot of the other statement.
        let number: i64 = client.query_one(NUMBER, &[]).await?.get(0);
        let began = Instant::now();
        let row = client.query_one(LOWEST, &[&low]).await?;
        self.is_slow = began.elapsed() > LONG;
        let (lowest, oldest, next): (Option<i64>, i64, i64) = (row.get(0), row.get(1), row.get(2));
        self.seen = lowest.unwrap_or(number << 20);
        if let Some(drawn) = self.drawn.take_if(|it| it.before <= oldest) {
            let safe = (drawn.number << 20).min(lowest.unwrap_or(i64::MAX));
            shared.low.fetch_max(safe, Ordering::AcqRel);
            self.is_known = true;
        }
        self.drawn.get_or_insert(Drawn { number, before: next });
        Ok(())
    }

    /// Returns whether to look soon: the place was not found yet, and looking costs little.
    pub(super) fn is_wanted(&self) -> bool {
        !self.is_known && !self.is_slow
    }

    /// Begins again: the database may have lost numbers that were drawn, in a crash, a failover or a restore, and may give
    /// them out once more.
    pub(super) fn forget(&mut self, shared: &SharedDatabase) {
        *self = Self::default();
        shared.low.store(0, Ordering::Release);
    }
}

/// Counts queued events, as many of each company as matter. The count may miss those that became visible since the last look
/// for the place where they begin.
pub(super) async fn depth(shared: &SharedDatabase, client: &Client, low_water: &LowWater) -> Result<(), Trouble> {
    let again = || shared.count_again.lock().unwrap_or_else(PoisonError::into_inner);
    if again().is_some_and(|it| Instant::now() < it) {
        return Ok(());
    }
    let low = shared.low.load(Ordering::Acquire).max(low_water.seen);
    let began = Instant::now();
    let rows = client.query(DEPTH, &[&low, &shared.counted.load(Ordering::Acquire)]).await?;
    *again() = Some(Instant::now() + began.elapsed() * COUNTING);
    let count = |row: &Row| Some((CompanyId::parse(row.get(0)).ok()?, row.get::<_, i64>(1).unsigned_abs()));
    let companies: Vec<_> = rows.iter().filter_map(count).collect();
    shared.depth.send_replace(Depth { all: companies.iter().map(|it| it.1).sum(), companies });
    Ok(())
}
