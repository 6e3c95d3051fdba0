//! Connections to the database: pools for reads, for writes and for the node's own work, and single ones.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use futures_util::future::BoxFuture;
use tokio_postgres::{AsyncMessage, Client, NoTls};

use super::failure::Trouble;
use super::options::PostgresOptions;
use super::tls;
use super::url::Tls;

/// Number of connections for writes: batches that are written at the same time, claims and upkeep.
const WRITES: usize = 6;
/// Number of connections for claims on queued events. They are not shared with requests, which may use all of theirs.
const UPKEEP: usize = 2;
/// Number of single connections: for notifications, for the lease, for looking at the database, and for the queue's upkeep.
const SINGLE: usize = 4;
/// Time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Time after which a lost peer is noticed while data is in flight (tcp(7), TCP_USER_TIMEOUT).
const LOST: Duration = Duration::from_secs(10);
/// Time without data after which the peer is asked whether it is there, and between these questions: a machine that is gone
/// never answers what it has received.
const ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(3));
/// How long a read tries to get a connection to a database that does not answer, and the time between tries.
const READ_WAITS: Duration = Duration::from_secs(5);
const READ_AGAIN: Duration = Duration::from_millis(200);
/// A connection that was in use for longer is not used again: the database may never answer on it, and a statement that was
/// given up still runs there.
const SUSPECT: Duration = Duration::from_secs(2);
/// Settings of each session. The first shows whether a pooler drops settings. No statement of a request takes longer
/// than this, and a transaction that waits for its client (a node that hangs) does not hold its locks longer. Statements
/// that name many partitions seem expensive, and would be compiled for seconds to run for milliseconds (jit).
const SESSION: &str = "-c hookmill.session=direct -c statement_timeout=20s -c idle_in_transaction_session_timeout=2s \
     -c lock_timeout=15s -c jit=off -c TimeZone=UTC -c client_min_messages=warning";
/// Lists have other plans for other values.
const READING: &str = " -c plan_cache_mode=force_custom_plan";
/// Statements on the queue read few rows of an index, whatever the statistics say: they may be of a moment at which the queue
/// was empty, or had one company only.
const OF_QUEUE: &str = " -c enable_seqscan=off -c enable_bitmapscan=off -c enable_hashjoin=off \
     -c enable_mergejoin=off -c plan_cache_mode=force_generic_plan";

/// The connections of a node.
#[derive(Debug)]
pub(super) struct Connections {
    reads: Pool,
    writes: Pool,
    upkeep: Pool,
    /// How often connections were forgotten: those that are in use then are not used again either.
    forgotten: Arc<AtomicU64>,
    single: tokio_postgres::Config,
    long: tokio_postgres::Config,
    tls: Tls,
}

impl Connections {
    /// Prepares connections; the first request connects.
    ///
    /// # Errors
    /// Fails if the settings of TLS cannot be used.
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, String> {
        let config = |more: &str| {
            let mut config = options.url.config().clone();
            let own = config.get_options().map_or(String::new(), |it| format!(" {it}"));
            config.options(format!("{SESSION}{more}{own}")).connect_timeout(CONNECT).tcp_user_timeout(LOST);
            config.keepalives_idle(ALIVE.0).keepalives_interval(ALIVE.1).keepalives_retries(3);
            if config.get_application_name().is_none() {
                config.application_name("hookmill");
            }
            config
        };
        let tls = options.url.tls().clone();
        let pool = |config: tokio_postgres::Config, size: usize| {
            let how = ManagerConfig { recycling_method: RecyclingMethod::Fast };
            let manager = match &tls {
                Tls::Off => Manager::from_config(config, NoTls, how),
                Tls::VerifyFull { root } => Manager::from_config(config, tls::connector(root.as_deref())?, how),
            };
            let pool = Pool::builder(manager)
                .max_size(size)
                .runtime(Runtime::Tokio1)
                .wait_timeout(Some(options.pool_wait))
                .create_timeout(Some(CONNECT * 2))
                .recycle_timeout(Some(CONNECT));
            pool.build().map_err(|e| e.to_string())
        };
        Ok(Self {
            reads: pool(config(READING), options.pool.saturating_sub(WRITES + UPKEEP + SINGLE).max(1))?,
            writes: pool(config(""), WRITES)?,
            upkeep: pool(config(OF_QUEUE), UPKEEP)?,
            forgotten: Arc::default(),
            single: config(OF_QUEUE),
            long: config(""),
            tls,
        })
    }

    /// Returns a connection for reads. While none can be had, it tries again for a moment: a failover takes seconds.
    pub(super) async fn read(&self) -> Result<PooledClient, Trouble> {
        let deadline = tokio::time::Instant::now() + READ_WAITS;
        loop {
            let trouble = match self.reads.get().await.map_err(Trouble::from) {
                Ok(client) => return Ok(self.pooled(client)),
                Err(trouble) => trouble,
            };
            if !trouble.is_of_connection() || tokio::time::Instant::now() >= deadline {
                return Err(trouble);
            }
            // Readers that were cut off together must not come back together.
            let jitter = getrandom::u32().map_or(1.0, |it| 0.5 + f64::from(it) / f64::from(u32::MAX));
            tokio::time::sleep(READ_AGAIN.mul_f64(jitter)).await;
        }
    }

    /// Returns a connection for claims.
    pub(super) async fn upkeep(&self) -> Result<PooledClient, Trouble> {
        Ok(self.pooled(self.upkeep.get().await?))
    }

    fn pooled(&self, client: Object) -> PooledClient {
        let (forgotten, now) = (Arc::clone(&self.forgotten), self.forgotten.load(Ordering::Acquire));
        PooledClient { client: Some(client), since: Instant::now(), forgotten: (forgotten, now) }
    }

    /// Returns a connection for writes.
    pub(super) async fn write(&self) -> Result<Object, Trouble> {
        Ok(self.writes.get().await?)
    }

    /// Opens a connection outside of the pools for the node's own work. The future is the connection itself: it ends with it,
    /// and passes on what the database sends by itself.
    pub(super) async fn single(
        &self,
        heard: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<(Client, BoxFuture<'static, ()>), Trouble> {
        self.connect(&self.single, heard).await
    }

    /// Opens a connection for long work, which sets its own limits of time. It is closed when the client is dropped.
    pub(super) async fn own(&self) -> Result<Client, Trouble> {
        let (client, connection) = self.connect(&self.long, |_| {}).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn connect(
        &self,
        config: &tokio_postgres::Config,
        heard: impl FnMut(AsyncMessage) + Send + 'static,
    ) -> Result<(Client, BoxFuture<'static, ()>), Trouble> {
        let connected = async {
            let (client, connection): (Client, BoxFuture<'static, ()>) = match &self.tls {
                Tls::Off => {
                    let (client, connection) = config.connect(NoTls).await?;
                    (client, Box::pin(listen(connection, heard)))
                }
                Tls::VerifyFull { root } => {
                    let tls = tls::connector(root.as_deref()).map_err(Trouble::Unusable)?;
                    let (client, connection) = config.connect(tls).await?;
                    (client, Box::pin(listen(connection, heard)))
                }
            };
            Ok((client, connection))
        };
        // `connect_timeout` ends with the handshake of TCP: a peer may accept, and stay silent.
        let late = |_| Err(Trouble::Lost("the database accepts connections, and does not answer".into()));
        tokio::time::timeout(CONNECT * 2, connected).await.unwrap_or_else(late)
    }

    /// Closes all connections, those in use once they are not, so that the next ones are new: one of them was cut off.
    pub(super) fn forget(&self) {
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        self.reads.retain(|_, _| false);
        self.writes.retain(|_, _| false);
        self.upkeep.retain(|_, _| false);
    }

    /// Closes all connections that are not in use.
    pub(super) fn close(&self) {
        self.reads.close();
        self.writes.close();
        self.upkeep.close();
    }
}

/// A connection that goes back to its pool if it has worked: a read that is given up because no answer came leaves it in use
/// for long, and the next one would wait as long on it.
pub(super) struct PooledClient {
    /// Always there until it is dropped.
    client: Option<Object>,
    since: Instant,
    /// How often connections have been forgotten, and how often when this one was taken.
    forgotten: (Arc<AtomicU64>, u64),
}

impl Deref for PooledClient {
    type Target = Object;

    fn deref(&self) -> &Object {
        let Some(client) = &self.client else { unreachable!("only `drop` takes it") };
        client
    }
}

impl DerefMut for PooledClient {
    fn deref_mut(&mut self) -> &mut Object {
        let Some(client) = &mut self.client else { unreachable!("only `drop` takes it") };
        client
    }
}

impl Drop for PooledClient {
    fn drop(&mut self) {
        let (forgotten, then) = &self.forgotten;
        let is_suspect = self.since.elapsed() >= SUSPECT || forgotten.load(Ordering::Acquire) != *then;
        if let Some(client) = self.client.take().filter(|_| is_suspect) {
            drop(Object::take(client));
        }
    }
}

async fn listen<S, T>(
    mut connection: tokio_postgres::Connection<S, T>,
    mut heard: impl FnMut(AsyncMessage) + Send + 'static,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send,
{
    while let Some(Ok(message)) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        heard(message);
    }
}

/// Checks that the settings of a session have arrived. A pooler that shares sessions drops them, and prepared statements
/// and notifications would not work behind it either.
pub(super) async fn check_session(client: &Object) -> Result<(), Trouble> {
    let shown: Option<String> = client.query_one("SELECT current_setting('hookmill.session', true)", &[]).await?.get(0);
    if shown.as_deref() == Some("direct") {
        return Ok(());
    }
    Err(Trouble::Unusable(
        "a connection pooler such as pgbouncer is in between, and drops the settings of sessions; connect to PostgreSQL directly, hookmill has a pool of its own".into(),
    ))
}
