//! `keep_days`: erases what an integration was sent after the configured time. One node at a time does so.
//!
//! Day by day, oldest first, so that statements stay short. `hookmill.forgotten` has the progress of each integration: events
//! below it need not be read again. It does not move past a queued event, and an import of older events sets it back.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::failure::Trouble;
use super::leases::Lease;
use super::partitions::{self, Day, day_of, first_of};
use super::shared::SharedDatabase;
use super::text::stored;
use super::vacuum;
use super::writer::MutationWriter;
use crate::model::company::CompanyId;
use crate::model::ids::EventId;
use crate::store::erasure::report::Keep;
use crate::store::error::StoreError;
use crate::store::id_time::first_id;

/// Number of events that are looked up at once.
const PAGE: i64 = 1000;

const PROGRESS: &str = "SELECT up_to FROM hookmill.forgotten WHERE integration = $1";
const QUEUED: &str = "SELECT q.event_id FROM hookmill.companies c CROSS JOIN LATERAL ( \
       SELECT event_id FROM hookmill.queue WHERE company_id = c.company_id AND integration = $1 ORDER BY event_id LIMIT 1 \
     ) q ORDER BY q.event_id LIMIT 1";
const DUE: &str = "SELECT c.company_id, e.id FROM hookmill.companies c CROSS JOIN LATERAL ( \
       SELECT id FROM hookmill.events e WHERE e.company_id = c.company_id AND e.id >= $1 AND e.id < $2 \
       AND e.id > CASE WHEN c.company_id = $4 THEN $5 ELSE '00000000-0000-0000-0000-000000000000'::uuid END \
       AND e.integration = $3 AND NOT e.erased AND NOT EXISTS ( \
         SELECT 1 FROM hookmill.queue q WHERE q.company_id = c.company_id AND q.event_id = e.id \
       ) ORDER BY e.id LIMIT $6 \
     ) e WHERE c.company_id >= $4 ORDER BY c.company_id, e.id LIMIT $6";
// Unless an import has set it back meanwhile.
const ADVANCE: &str = "INSERT INTO hookmill.forgotten AS f (integration, up_to) VALUES ($1, $2) \
     ON CONFLICT (integration) DO UPDATE SET up_to = excluded.up_to WHERE f.up_to = $3";

/// Erases what these integrations were sent longer ago than they keep it. Returns the number of events for each.
pub(super) async fn forget(
    shared: &SharedDatabase,
    writer: &MutationWriter,
    keeps: &[Keep],
    now: DateTime<Utc>,
) -> Result<Vec<(String, u64)>, StoreError> {
    if keeps.is_empty() {
        return Ok(Vec::new());
    }
    let lease = Lease::take(shared, "forget").await.map_err(Trouble::into_error)?;
    let Some(lease) = lease else { return Ok(Vec::new()) };
    let (mut counts, mut days) = (BTreeMap::new(), BTreeSet::new());
    let mut result = Ok(());
    for keep in keeps {
        let mut work = ForgetWork { shared, writer, lease: &lease, keep, now, count: 0, days: &mut days };
        result = work.run().await;
        counts.insert(keep.integration.clone(), work.count);
        if result.is_err() {
            break;
        }
    }
    if let Err(trouble) = lease.release().await {
        tracing::debug!(cause = ?trouble, "a lease ends by itself");
    }
    vacuum::vacuum(shared, &days, false).await;
    result?;
    Ok(counts.into_iter().filter(|(_, count)| *count > 0).collect())
}

/// The work for one integration.
struct ForgetWork<'a> {
    shared: &'a SharedDatabase,
    writer: &'a MutationWriter,
    lease: &'a Lease<'a>,
    keep: &'a Keep,
    now: DateTime<Utc>,
    count: u64,
    /// Days in which something was erased.
    days: &'a mut BTreeSet<Day>,
}

impl ForgetWork<'_> {
    async fn run(&mut self) -> Result<(), StoreError> {
        let name = stored(&self.keep.integration);
        let before = first_id(self.now - self.keep.age);
        let client = self.shared.connections.write().await.map_err(Trouble::into_error)?;
        let started = async {
            let from = client.query_opt(PROGRESS, &[&name]).await?.map_or(Uuid::nil(), |row| row.get(0));
            let queued = client.query_opt(QUEUED, &[&name]).await?.map_or(Uuid::max(), |row| row.get(0));
            Ok::<(Uuid, Uuid, _), Trouble>((from, queued, partitions::existing(&client).await?))
        };
        let (mut from, queued, days) = started.await.map_err(Trouble::into_error)?;
        drop(client);
        let (first, last) = (day_of(from), day_of(before));
        let days = days.into_keys().filter(|day| (first..=last).contains(day));
        for day in days {
            let range = from.max(first_of(day))..before.min(first_of(day + 1));
            if range.start >= range.end {
                continue;
            }
            if !self.erase(&name, range.clone()).await? {
                return Ok(());
            }
            self.advance(&name, &mut from, range.end.min(queued)).await?;
        }
        Ok(())
    }

    /// Erases what is due between these ids. Returns false if another node has taken over.
    async fn erase(&mut self, name: &str, range: std::ops::Range<Uuid>) -> Result<bool, StoreError> {
        let mut after = (String::new(), Uuid::nil());
        loop {
            let page = async {
                if !self.lease.renew().await? {
                    return Ok(None);
                }
                let client = self.shared.connections.write().await?;
                let rows = client.query(DUE, &[&range.start, &range.end, &name, &after.0, &after.1, &PAGE]).await?;
                Ok::<_, Trouble>(Some(rows))
            };
            let Some(rows) = page.await.map_err(Trouble::into_error)? else { return Ok(false) };
            let Some(last) = rows.last() else { return Ok(true) };
            after = (last.get(0), last.get(1));
            let mut by_company: BTreeMap<&str, Vec<EventId>> = BTreeMap::new();
            for row in &rows {
                by_company.entry(row.get(0)).or_default().push(EventId(row.get(1)));
            }
            for (company, events) in by_company {
                let Ok(company) = CompanyId::parse(company) else { continue };
                self.count += self.writer.erase(&company, &events, self.now).await?;
                self.days.extend(events.iter().map(|it| day_of(it.0)));
            }
        }
    }

    async fn advance(&self, name: &str, from: &mut Uuid, to: Uuid) -> Result<(), StoreError> {
        if to <= *from {
            return Ok(());
        }
        let advanced = async {
            let client = self.shared.connections.write().await?;
            client.execute(ADVANCE, &[&name, &to, &*from]).await?;
            Ok::<_, Trouble>(())
        };
        advanced.await.map_err(Trouble::into_error)?;
        *from = to;
        Ok(())
    }
}
