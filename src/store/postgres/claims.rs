//! Nodes on one database: their claims on queued events.
//!
//! A claim is a column of the queued event's row, with the node's id. It is valid as long as the node's lease, so renewing the
//! claims of a node is one row. Rows of nodes whose lease has ended are freed by any other node, with another fencing token.
//!
//! Rows that were removed stay in the indexes until PostgreSQL may forget them, which another client's open snapshot prevents.
//! So nodes know a place below which nothing waits, and never look below it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::failure::Trouble;
use super::lane_range::LaneRange;
use super::shared::SharedDatabase;
use super::{node, text};
use crate::model::company::CompanyId;
use crate::model::ids::{EventId, IntegrationName};
use crate::store::cluster::{Claim, ClaimRequest, ClaimedEvent, QueueOf, SuspectRoom};

/// Ends leases that were not renewed in time. A renewal at the same moment waits for this or is waited for, so a lease that was
/// ended is never renewed, and claims are freed only of leases that were ended.
const END: &str = "DELETE FROM hookmill.nodes WHERE leased_until < clock_timestamp()";

/// Frees the claims of nodes whose lease was ended, so many at a time that the planner reads only their rows. A row is locked
/// only if it still has the token that was seen: one that was freed and claimed again in between is another node's now, and the
/// condition on nodes would not be checked again for it.
const FREE: &str = "WITH gone AS MATERIALIZED ( \
       SELECT f.* FROM hookmill.companies c CROSS JOIN LATERAL ( \
         SELECT q.company_id, q.place, q.token FROM hookmill.queue q WHERE q.company_id = c.company_id AND q.place >= $1 \
         AND q.node IS NOT NULL AND NOT EXISTS (SELECT 1 FROM hookmill.nodes n WHERE n.id = q.node) \
         ORDER BY q.place LIMIT 1000 \
       ) f LIMIT 2000 \
     ), locked AS MATERIALIZED ( \
       SELECT l.* FROM gone g CROSS JOIN LATERAL ( \
         SELECT q.company_id, q.place FROM hookmill.queue q WHERE q.company_id = g.company_id AND q.place = g.place \
         AND q.token = g.token AND q.node IS NOT NULL FOR UPDATE SKIP LOCKED \
       ) l \
     ) UPDATE hookmill.queue q SET node = NULL, token = q.token + 1 \
     FROM locked l WHERE q.company_id = l.company_id AND q.place = l.place";

/// Claims events.
const CLAIM: &str = include_str!("claim.sql");

/// The next integration with unclaimed events after another one, in one of the indexes that have all such events.
macro_rules! queued_for {
    ($walk:literal, $which:literal) => {
        concat!(
            $walk,
            " AS ((SELECT q.company_id, q.integration FROM hookmill.queue q WHERE q.node IS NULL AND ",
            $which,
            " AND q.place >= $1 ORDER BY q.company_id, q.integration, q.place LIMIT 1) UNION ALL \
             SELECT n.* FROM ",
            $walk,
            " w CROSS JOIN LATERAL (SELECT q.company_id, q.integration FROM hookmill.queue q WHERE q.node IS NULL AND ",
            $which,
            " AND q.place >= $1 AND (q.company_id, q.integration) > (w.company_id, w.integration) \
             ORDER BY q.company_id, q.integration, q.place LIMIT 1) n)"
        )
    };
}
const QUEUED_FOR: &str = concat!(
    "WITH RECURSIVE ",
    queued_for!("loose", "q.lane IS NULL AND q.attempts = 0"),
    ", ",
    queued_for!("laned", "q.lane IS NOT NULL AND q.attempts = 0"),
    ", ",
    queued_for!("suspects", "q.attempts > 0"),
    " SELECT * FROM loose UNION SELECT * FROM laned UNION SELECT * FROM suspects LIMIT 10000"
);

/// Ends a claim, with this node's claims on later events of its lane: those that follow it directly.
const END_CLAIM: &str = "WITH head AS MATERIALIZED ( \
       SELECT q.company_id, q.integration, q.lane, q.place, q.node FROM hookmill.queue q \
       WHERE q.company_id = $1 AND q.event_id = $2 AND q.token = $3 AND q.node IS NOT NULL FOR UPDATE \
     ), ended AS ( \
       SELECT h.company_id, h.place, true AS is_head FROM head h \
       UNION ALL SELECT q.company_id, q.place, false FROM head h CROSS JOIN LATERAL ( \
         SELECT q.company_id, q.place, q.node FROM hookmill.queue q WHERE q.company_id = h.company_id \
         AND q.integration = h.integration AND q.lane = h.lane AND q.place > h.place ORDER BY q.place LIMIT 16 \
       ) q WHERE q.node = h.node \
     ) UPDATE hookmill.queue q SET node = NULL, token = q.token + 1, \
       attempts = CASE WHEN e.is_head AND $4 THEN q.attempts ELSE greatest(q.attempts - 1, 0) END, \
       ready_at = CASE WHEN e.is_head THEN now() + $5::bigint * interval '1 ms' ELSE q.ready_at END \
     FROM ended e WHERE q.company_id = e.company_id AND q.place = e.place";

/// Ends all claims of this node, and its lease, for good.
pub(super) async fn leave(shared: &SharedDatabase) -> Result<(), Trouble> {
    shared.left.store(true, Ordering::Release);
    let client = shared.connections.upkeep().await?;
    node::end(shared, &client).await
}

/// Begins another lease if the response to a claim was lost. The claim may have been made, or be made later: the node would
/// never process these events, and would process later ones of their lanes. With the lease, such a claim ends.
async fn certain(shared: &SharedDatabase) -> Result<(), Trouble> {
    if shared.in_doubt.load(Ordering::Acquire) {
        tracing::warn!("the response to a claim was lost: this node gives its claims back, and begins another lease");
        let client = shared.connections.upkeep().await?;
        node::end(shared, &client).await?;
        node::renew(shared, &client).await?;
        shared.in_doubt.store(false, Ordering::Release);
    }
    Ok(())
}

/// Runs a statement that claims events, and notes if it is not known whether it has.
async fn make(
    shared: &SharedDatabase,
    client: &Object,
    statement: &Statement,
    values: &[&(dyn ToSql + Sync)],
) -> Result<Vec<ClaimedEvent>, Trouble> {
    // Kept in doubt until there is a response, whatever ends this wait.
    shared.in_doubt.store(true, Ordering::Release);
    let rows = client.query(statement, values).await;
    // An error of the database itself, which has a code, means that nothing was claimed.
    let known = rows.as_ref().map_or_else(|error| error.code().is_some(), |_| true);
    shared.in_doubt.store(!known, Ordering::Release);
    Ok(claimed(rows?))
}

/// Claims events of these integrations.
pub(super) async fn claim(
    shared: &SharedDatabase,
    asked: &[ClaimRequest],
    suspects: SuspectRoom,
) -> Result<Vec<ClaimedEvent>, Trouble> {
    let _one = shared.claiming.lock().await;
    certain(shared).await?;
    let companies: Vec<&str> = asked.iter().map(|it| it.of.company.as_str()).collect();
    let integrations: Vec<_> = asked.iter().map(|it| text::stored(&it.of.integration.0)).collect();
    let number = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
    let most: Vec<i64> = asked.iter().map(|it| number(it.most)).collect();
    let again: Vec<i64> = asked.iter().map(|it| number(it.again)).collect();
    let LaneRange { from, to, wrapped_to } = shared.lanes.next();
    let client = shared.connections.upkeep().await?;
    let (low, node) = (shared.low.load(Ordering::Acquire), shared.node());
    let statement = client.prepare_cached(CLAIM).await?;
    let began = Instant::now();
    let (few, one) = (number(suspects.again), suspects.often);
    let values: [&(dyn ToSql + Sync); 11] =
        [&low, &node, &companies, &integrations, &most, &few, &from, &to, &wrapped_to, &again, &one];
    let claimed = make(shared, &client, &statement, &values).await;
    shared.lanes.took(began.elapsed());
    claimed
}

/// Ends a claim: it was not used, or it is to be repeated after this time, and counts as an attempt.
pub(super) async fn end(shared: &SharedDatabase, claim: &Claim, pause: Option<Duration>) -> Result<(), Trouble> {
    // Not during another claim: it would take this one as valid, and include later events of its lane.
    let _one = shared.claiming.lock().await;
    let client = shared.connections.upkeep().await?;
    let statement = client.prepare_cached(END_CLAIM).await?;
    let millis = i64::try_from(pause.unwrap_or_default().as_millis()).unwrap_or(i64::MAX);
    let values: [&(dyn ToSql + Sync); 5] =
        [&claim.company.as_str(), &claim.id.0, &claim.token, &pause.is_some(), &millis];
    client.execute(&statement, &values).await?;
    Ok(())
}

/// Returns the integrations that unclaimed events are queued for.
pub(super) async fn queued_for(shared: &SharedDatabase) -> Result<Vec<QueueOf>, Trouble> {
    let client = shared.connections.upkeep().await?;
    let statement = client.prepare_cached(QUEUED_FOR).await?;
    let rows = client.query(&statement, &[&shared.low.load(Ordering::Acquire)]).await?;
    let queue = |row: &Row| {
        let company = CompanyId::parse(row.get(0)).ok()?;
        Some(QueueOf { company, integration: IntegrationName(text::shown(row.get(1)).into()) })
    };
    Ok(rows.iter().filter_map(queue).collect())
}

/// Frees the claims of nodes whose lease has ended.
pub(super) async fn free(shared: &SharedDatabase, client: &Client) -> Result<u64, Trouble> {
    client.execute(END, &[]).await?;
    Ok(client.execute(FREE, &[&shared.low.load(Ordering::Acquire)]).await?)
}

/// Reads claims, in the order in which the events were stored.
fn claimed(rows: Vec<Row>) -> Vec<ClaimedEvent> {
    let mut all: Vec<(i64, ClaimedEvent)> = rows
        .iter()
        .filter_map(|row| {
            let claim =
                Claim { company: CompanyId::parse(row.get(0)).ok()?, id: EventId(row.get(1)), token: row.get(2) };
            let integration = IntegrationName(text::shown(row.get(3)).into());
            let attempts = row.get::<_, i32>(5).unsigned_abs();
            Some((row.get(6), ClaimedEvent { claim, integration, lane: row.get(4), attempts }))
        })
        .collect();
    all.sort_by_key(|(place, _)| *place);
    all.into_iter().map(|(_, it)| it).collect()
}
