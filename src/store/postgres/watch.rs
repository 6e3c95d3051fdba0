//! What other nodes change: keys and plugins. A node is notified, and looks by itself every second in case the notification
//! is lost. It also notices when the database works again, has another schema, or was restored.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_postgres::{AsyncMessage, Client};
use tokio_util::sync::CancellationToken;

use super::failure::Trouble;
use super::node::LowWater;
use super::shared::SharedDatabase;
use super::{claims, lineage, node, schema};
use crate::store::changed::SharedVersions;

/// How often a node looks.
const LOOK: Duration = Duration::from_secs(1);
/// Time for a look. After it, the database counts as unreachable.
const ANSWER: Duration = Duration::from_secs(4);
/// Time for one renewal of the lease, at least; and until it is tried again after a failure.
const RENEWS: Duration = Duration::from_millis(500);
/// Time after a connection for the queue's upkeep is opened before claims of other nodes are freed: after an outage, nodes that
/// are alive give their claims back themselves.
const RETURNS: Duration = Duration::from_secs(2);
/// Number of looks at the queue between those for the place where queued events begin.
const LOW_WATER: u32 = 5;
/// Time for statements on a queue whose beginning is not known, however many removed rows are in front of it.
const QUEUE_LIMITS: &str = "SET statement_timeout = '5min'";
/// Time for a step of the queue's upkeep: usually, and for finding where the queue begins.
const SOON: Duration = Duration::from_secs(30);
const LATE: Duration = Duration::from_secs(310);

/// Watches until `ended`.
pub(super) async fn watch(shared: Arc<SharedDatabase>, ended: CancellationToken) {
    let heard = Arc::new(Notify::new());
    let mut others = JoinSet::new();
    others.spawn(listen_always(Arc::clone(&shared), Arc::clone(&heard)));
    others.spawn(keep_lease(Arc::clone(&shared)));
    others.spawn(tend_queue(Arc::clone(&shared)));
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut own = OwnConnection { shared: &shared, client: None };
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = heard.notified() => {}
            _ = every.tick() => {}
        }
        let looked = tokio::time::timeout(ANSWER, async {
            let (client, _) = own.get().await?;
            look(&shared, client).await
        });
        let looked = match looked.await {
            Ok(looked) => looked.map_err(|it| it.into_error().to_string()),
            Err(_) => {
                shared.connections.forget();
                Err(format!("the database has not answered for {} seconds", ANSWER.as_secs()))
            }
        };
        if let (Err(cause), Ok(())) = (&looked, shared.ready()) {
            tracing::error!(cause, "the database cannot be used");
        }
        if looked.is_err() {
            own.client = None;
        }
        shared.works(looked);
    }
}

async fn look(shared: &SharedDatabase, client: &Client) -> Result<(), Trouble> {
    schema::fits(schema::version(client).await?)?;
    let read_only: bool = client.query_one("SELECT pg_is_in_recovery()", &[]).await?.get(0);
    if read_only {
        return Err(Trouble::ReadOnly(
            "the database is read-only: it is a standby, or a failover is running (25006)".into(),
        ));
    }
    let lineage = lineage::current(client).await?;
    shared.set_lineage(lineage);
    let row = client.query_one("SELECT keys_version, plugins_version FROM hookmill.installation", &[]).await?;
    let changed = SharedVersions { keys: row.get(0), plugins: row.get(1), lineage };
    shared.changed.send_if_modified(|known| std::mem::replace(known, changed) != changed);
    Ok(())
}

/// A connection that is opened again when it is lost.
struct OwnConnection<'a> {
    shared: &'a SharedDatabase,
    client: Option<Client>,
}

impl OwnConnection<'_> {
    /// Returns the client, and whether it is new.
    async fn get(&mut self) -> Result<(&Client, bool), Trouble> {
        let is_new = self.client.as_ref().is_none_or(Client::is_closed);
        if is_new {
            let (client, connection) = self.shared.connections.single(|_| {}).await?;
            tokio::spawn(connection);
            self.client = Some(client);
        }
        let client = self.client.as_ref().ok_or_else(|| Trouble::Lost("no connection".into()))?;
        Ok((client, is_new))
    }
}

/// Renews this node's lease, several times within its time, and at once when its plugins change.
async fn keep_lease(shared: Arc<SharedDatabase>) {
    let mut plugins = shared.plugins.subscribe();
    let mut every = tokio::time::interval(shared.options.lease / 4);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut own = OwnConnection { shared: &shared, client: None };
    loop {
        let failed = shared.cut_off.load(Ordering::Acquire);
        tokio::select! {
            _ = every.tick() => {}
            () = tokio::time::sleep(RENEWS), if failed => {}
            changed = plugins.changed() => if changed.is_err() { return },
        }
        // A part of the lease, so that another connection is in time.
        let renewed = tokio::time::timeout((shared.options.lease / 4).max(RENEWS), async {
            let (client, _) = own.get().await?;
            node::renew(&shared, client).await
        });
        let renewed =
            renewed.await.unwrap_or_else(|_| Err(Trouble::Lost("the database did not answer in time".into())));
        shared.cut_off.store(renewed.is_err(), Ordering::Release);
        if let Err(trouble) = renewed {
            own.client = None;
            tracing::warn!(cause = %trouble.into_error(), "this node's lease cannot be renewed");
        }
    }
}

/// Bounds the time of a step: its connection may be cut off without either side being told.
async fn in_time<T>(time: Duration, step: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    let late = |_| Err(Trouble::Lost("the database did not answer in time".into()));
    tokio::time::timeout(time, step).await.unwrap_or_else(late)
}

/// Frees claims of nodes whose lease has ended, counts what is queued, and finds where it begins.
async fn tend_queue(shared: Arc<SharedDatabase>) {
    let mut every = tokio::time::interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut own = OwnConnection { shared: &shared, client: None };
    let (mut low_water, mut looks, mut since) = (LowWater::default(), 0_u32, Instant::now());
    let mut lineage = shared.lineage();
    loop {
        every.tick().await;
        if shared.cut_off.load(Ordering::Acquire) {
            since = Instant::now();
        }
        let tended = async {
            let (client, is_new) = own.get().await?;
            if is_new || lineage != shared.lineage() {
                // The database may have crashed, or is another one.
                lineage = shared.lineage();
                low_water.forget(&shared);
                (looks, since) = (0, Instant::now());
                in_time(SOON, async { Ok(client.batch_execute(QUEUE_LIMITS).await?) }).await?;
            }
            if since.elapsed() >= RETURNS {
                in_time(SOON, claims::free(&shared, client)).await?;
            }
            if looks.is_multiple_of(LOW_WATER) || low_water.is_wanted() {
                in_time(LATE, low_water.look(&shared, client)).await?;
            }
            looks = looks.wrapping_add(1);
            in_time(SOON, node::depth(&shared, client, &low_water)).await
        };
        if let Err(trouble) = tended.await {
            tracing::debug!(cause = ?trouble, "the queue cannot be looked at now");
            if trouble.is_of_connection() {
                own.client = None;
            }
        }
    }
}

/// Listens for notifications, and connects again when the connection is lost.
async fn listen_always(shared: Arc<SharedDatabase>, heard: Arc<Notify>) {
    loop {
        if let Err(trouble) = listen(&shared, &heard).await {
            tracing::debug!(cause = ?trouble, "no notifications from the database for now");
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn listen(shared: &SharedDatabase, heard: &Arc<Notify>) -> Result<(), Trouble> {
    let to = Arc::clone(heard);
    let told = move |message: AsyncMessage| {
        if matches!(message, AsyncMessage::Notification(_)) {
            to.notify_one();
        }
    };
    let (client, connection) = shared.connections.single(told).await?;
    let connection = tokio::spawn(connection);
    client.batch_execute("LISTEN hookmill").await?;
    // Something may have changed before.
    heard.notify_one();
    let _ended = connection.await;
    drop(client);
    Ok(())
}
