//! Writes a batch, with its repetitions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::DateTime;
use deadpool_postgres::Object;

use super::beginning::Beginning;
use super::decide::BatchDecider;
use super::evidence::{BatchFate, Evidence};
use super::load::{LoadedRows, Named};
use super::sent::SentSignal;
use super::waiting::WaitingMutation;
use super::writes;
use crate::metrics::store::STORE;
use crate::store::error::StoreError;
use crate::store::id_time::received_ms;
use crate::store::postgres::change::{Mutation, MutationDone};
use crate::store::postgres::failure::Trouble;
use crate::store::postgres::partitions::day_of;
use crate::store::postgres::shared::SharedDatabase;

/// Time for a write, with its repetitions: less than that of a request.
const TIME: Duration = Duration::from_secs(20);
/// Time of one exchange with the server. Longer than a node that hangs may hold a lock.
const EXCHANGE: Duration = Duration::from_secs(8);
/// Time to end a transaction that failed.
const ROLLBACK: Duration = Duration::from_secs(1);
/// Time between repetitions: at first, and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(800));

/// Writes a batch. `sent` learns when only the response to its COMMIT is missing.
pub(super) async fn write(shared: &Arc<SharedDatabase>, batch: Vec<WaitingMutation>, sent: &SentSignal) {
    let mut parts = vec![batch];
    while let Some(part) = parts.pop() {
        match attempts(shared, part, sent).await {
            Ok(()) => {}
            // One of them is the reason; the others must not fail with it, nor each wait for the disk alone.
            Err((Trouble::Refused(_), mut part)) if part.len() > 1 => {
                let second = part.split_off(part.len() / 2);
                parts.extend([second, part]);
            }
            Err((trouble, part)) => fail(part, trouble),
        }
    }
}

fn fail(batch: Vec<WaitingMutation>, trouble: Trouble) {
    STORE.write_errors.count();
    tracing::warn!(changes = batch.len(), cause = ?trouble, "changes cannot be written");
    let error = trouble.into_error();
    for request in batch {
        let _caller_gone = request.reply.send(Err(error.clone()));
    }
}

/// Writes a batch, and tries again while its failures pass.
async fn attempts(
    shared: &Arc<SharedDatabase>,
    batch: Vec<WaitingMutation>,
    sent: &SentSignal,
) -> Result<(), (Trouble, Vec<WaitingMutation>)> {
    let deadline = batch.iter().map(|it| it.since).min().unwrap_or_else(Instant::now) + TIME;
    let (mut pause, longest) = AGAIN;
    let mut lost = false;
    loop {
        let changes: Vec<&Mutation> = batch.iter().map(|it| &it.change).collect();
        let trouble = match attempt(shared, &changes, lost, sent).await {
            Ok(outcomes) => {
                STORE.changes.see(batch.len() as u64);
                for (request, outcome) in batch.into_iter().zip(outcomes) {
                    let _caller_gone = request.reply.send(outcome);
                }
                return Ok(());
            }
            Err(trouble) => trouble,
        };
        lost |= matches!(trouble, Trouble::Lost(_));
        if !trouble.passes() || Instant::now() + pause >= deadline {
            return Err((trouble, batch));
        }
        tracing::debug!(cause = ?trouble, "a transaction is repeated");
        // Nodes that conflict must not meet again.
        let jitter = getrandom::u32().map_or(1.0, |it| 0.5 + f64::from(it) / f64::from(u32::MAX));
        tokio::time::sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(longest);
    }
}

type Outcomes = Vec<Result<MutationDone, StoreError>>;

/// Writes a batch once. After a lost connection (`lost`), what was sent on it may arrive late and be committed until the lock is
/// taken: then the batch's own events are looked for.
async fn attempt(
    shared: &Arc<SharedDatabase>,
    changes: &[&Mutation],
    lost: bool,
    sent: &SentSignal,
) -> Result<Outcomes, Trouble> {
    let mut named = Named::by(changes.iter().copied());
    if lost {
        named.own_events(changes);
    }
    let mut days = BTreeSet::new();
    changes.iter().for_each(|it| it.new_events(&mut |id| days.extend([day_of(id)])));
    let prepared = in_time(async {
        shared.ensure_companies(&named.companies()).await?;
        shared.partitions.ensure(&shared.connections, days).await?;
        shared.connections.write().await
    });
    let unusable = |trouble: &Trouble| {
        if trouble.is_of_connection() {
            shared.connections.forget();
        }
    };
    let client = prepared.await.inspect_err(unusable)?;
    let done = if lost { None } else { at_once(shared, &client, &named, changes, sent).await };
    let done = match done {
        Some(done) => done,
        None => transact(shared, &client, &named, changes, sent).await,
    };
    if let Err(failed) = done {
        // A connection in an unknown state must not be used again.
        let rolled_back = tokio::time::timeout(ROLLBACK, client.batch_execute("ROLLBACK")).await;
        if !matches!(rolled_back, Ok(Ok(()))) || failed.trouble().is_of_connection() {
            drop(Object::take(client));
        }
        // What this node knows about the tables may be the reason: another node drops partitions.
        shared.forget();
        return match failed {
            FailedAt::Before(trouble) => Err(trouble),
            FailedAt::Committing { transaction, evidence, outcomes, queues, trouble } => {
                if !matches!(trouble, Trouble::Lost(_)) {
                    return Err(trouble);
                }
                let companies = named.companies();
                committed(shared, &transaction, &companies, evidence.as_ref()).await?.then_some(()).ok_or(trouble)?;
                Ok(ended(shared, outcomes, queues))
            }
        };
    }
    let (outcomes, queues) = done.map_err(|_| Trouble::Passing(String::new()))?;
    Ok(ended(shared, outcomes, queues))
}

fn ended(shared: &SharedDatabase, outcomes: Outcomes, queues: bool) -> Outcomes {
    if queues {
        shared.queued.notify_one();
    }
    outcomes
}

/// Where a transaction failed.
enum FailedAt {
    /// Nothing is committed.
    Before(Trouble),
    /// The COMMIT was sent. The transaction's id is not known if nothing was received.
    Committing {
        transaction: Option<String>,
        evidence: Option<Evidence>,
        outcomes: Outcomes,
        queues: bool,
        trouble: Trouble,
    },
}

impl FailedAt {
    fn trouble(&self) -> &Trouble {
        let (Self::Before(trouble) | Self::Committing { trouble, .. }) = self;
        trouble
    }
}

/// Writes a batch that needs no decision, in one exchange: new events and tasks, and responses that are probably the first. The
/// lock is then held only while the server works. Returns `None` if the batch must be decided, because it has other changes,
/// or because what it takes for granted is not so.
async fn at_once(
    shared: &SharedDatabase,
    client: &Object,
    named: &Named,
    changes: &[&Mutation],
    sent: &SentSignal,
) -> Option<Result<(Outcomes, bool), FailedAt>> {
    let is_plain = |it: &&&Mutation| match it {
        Mutation::Put(put) => put.key.is_none() && put.audit.is_none() && !put.events.is_empty(),
        _ => false,
    };
    if changes.iter().filter(is_plain).count() < changes.len() {
        return None;
    }
    let mut oldest = i64::MAX;
    changes.iter().for_each(|it| it.new_events(&mut |id| oldest = oldest.min(received_ms(id))));
    let oldest = DateTime::from_timestamp_millis(oldest)?;
    let mut decider = BatchDecider::new(LoadedRows::default(), shared.options.idempotency);
    let outcomes: Outcomes = changes.iter().map(|it| decider.decide(it)).collect();
    let queues = decider.writes.queues();
    let begin = Beginning { companies: named.companies(), oldest };
    let written = in_time(async {
        writes::prepare(client).await?;
        decider.writes.commit(client, Some(&begin), sent).await
    });
    match written.await {
        Ok(()) => Some(Ok((outcomes, queues))),
        // Nothing is committed, and the session has no transaction: its COMMIT was a rollback.
        Err(Trouble::Refused(_)) => None,
        Err(trouble) => {
            let evidence = decider.writes.evidence();
            Some(Err(FailedAt::Committing { transaction: None, evidence, outcomes, queues, trouble }))
        }
    }
}

async fn transact(
    shared: &SharedDatabase,
    client: &Object,
    named: &Named,
    changes: &[&Mutation],
    sent: &SentSignal,
) -> Result<(Outcomes, bool), FailedAt> {
    let loaded = in_time(async {
        writes::prepare(client).await?;
        named.load(client).await
    });
    let loaded = loaded.await.map_err(FailedAt::Before)?;
    let transaction = Some(loaded.transaction.clone());
    let mut decider = BatchDecider::new(loaded, shared.options.idempotency);
    let outcomes: Outcomes = changes.iter().map(|it| decider.decide(it)).collect();
    if decider.writes_nothing() {
        in_time(async { Ok(client.batch_execute("COMMIT").await?) }).await.map_err(FailedAt::Before)?;
        return Ok((outcomes, false));
    }
    let queues = decider.writes.queues();
    match in_time(decider.writes.commit(client, None, sent)).await {
        Ok(()) => Ok((outcomes, queues)),
        Err(trouble) => {
            let evidence = decider.writes.evidence();
            Err(FailedAt::Committing { transaction, evidence, outcomes, queues, trouble })
        }
    }
}

/// Bounds the time of one exchange. A connection may be cut off without either side being told.
async fn in_time<T>(exchange: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let cut_off = || Trouble::Lost("the database does not answer".into());
    tokio::time::timeout(EXCHANGE, exchange).await.unwrap_or_else(|_| Err(cut_off()))
}

/// Looks up whether a batch was committed whose COMMIT was sent on a connection that was lost, once its transaction has ended.
async fn committed(
    shared: &SharedDatabase,
    transaction: &Option<String>,
    companies: &[&str],
    evidence: Option<&Evidence>,
) -> Result<bool, Trouble> {
    let deadline = Instant::now() + TIME;
    while Instant::now() < deadline {
        let look = async {
            match transaction {
                Some(transaction) => shown(shared, transaction, evidence).await,
                None => shown_behind_locks(shared, companies, evidence).await,
            }
        };
        match in_time(look).await {
            Ok(Some(BatchFate::Committed)) => return Ok(true),
            Ok(Some(BatchFate::NotCommitted)) => return Ok(false),
            Ok(Some(BatchFate::Unknown)) => break,
            Ok(None) => {}
            Err(trouble) if trouble.is_of_connection() => shared.connections.forget(),
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Not to be repeated: it may be stored.
    let cause = "the connection to the database was lost, and it is not known whether the change was stored";
    Err(Trouble::Unusable(cause.into()))
}

/// Returns what a row of a batch shows; `None` while its transaction is running.
async fn shown(
    shared: &SharedDatabase,
    transaction: &str,
    evidence: Option<&Evidence>,
) -> Result<Option<BatchFate>, Trouble> {
    let client = shared.connections.write().await?;
    let status = "SELECT pg_xact_status($1::text::xid8)";
    let status = match client.query_one(status, &[&transaction]).await.map_err(Trouble::from) {
        Ok(row) => row.get::<_, Option<String>>(0),
        // Its id is in the future: the database has lost it in a crash or a failover.
        Err(Trouble::Refused(_)) => None,
        Err(trouble) => return Err(trouble),
    };
    if status.as_deref() == Some("in progress") {
        return Ok(None);
    }
    let Some(evidence) = evidence else { return Ok(Some(BatchFate::NotCommitted)) };
    let shown = evidence.look(&client).await?;
    if status.as_deref() == Some("committed") && shown != BatchFate::Committed {
        tracing::warn!(?shown, "the id of a lost transaction was given out again");
    }
    Ok(Some(shown))
}

/// The same for a transaction whose id is not known: it holds the locks of its companies until it has ended. One that arrives
/// even later is found by the repetition, which looks for the batch's own events, or fails because ids of events are unique.
async fn shown_behind_locks(
    shared: &SharedDatabase,
    companies: &[&str],
    evidence: Option<&Evidence>,
) -> Result<Option<BatchFate>, Trouble> {
    let Some(evidence) = evidence else { return Ok(Some(BatchFate::NotCommitted)) };
    let mut client = shared.connections.write().await?;
    let transaction = client.transaction().await?;
    let lock = "SELECT 1 FROM hookmill.companies WHERE company_id = ANY($1) ORDER BY company_id FOR UPDATE";
    transaction.execute(lock, &[&companies]).await?;
    let shown = evidence.look_in(&*transaction).await?;
    transaction.rollback().await?;
    Ok(Some(shown))
}
