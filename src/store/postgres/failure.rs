//! Errors of the database: which pass by themselves, which are the request's, and what an admin can do.

use deadpool_postgres::{PoolError, TimeoutType};
use tokio_postgres::error::SqlState;

use crate::store::error::StoreError;

/// Why a statement or a transaction failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It passes, and nothing was committed: a conflict of transactions, or no free connection.
    Passing(String),
    /// The connection was lost. Whether the transaction was committed is known only if its COMMIT was not sent.
    Lost(String),
    /// The server is a standby now. Nothing was committed; another connection may lead to the primary.
    ReadOnly(String),
    /// The disk of the database is full.
    Full(String),
    /// The data cannot be stored: a rule of the database refuses it.
    Refused(String),
    /// This node cannot work with the database until someone changes something.
    Unusable(String),
}

impl Trouble {
    /// Whether the same may work in a moment.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Passing(_) | Self::Lost(_) | Self::ReadOnly(_))
    }

    /// Whether another connection is needed.
    pub(super) fn is_of_connection(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::ReadOnly(_))
    }

    /// Returns the error for a caller.
    pub(super) fn into_error(self) -> StoreError {
        match self {
            Self::Passing(cause) | Self::Lost(cause) | Self::ReadOnly(cause) | Self::Unusable(cause) => {
                StoreError::Unavailable(cause)
            }
            Self::Full(cause) => StoreError::NoSpace(cause),
            Self::Refused(cause) => StoreError::Unstorable(cause),
        }
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else { return without_code(&error) };
        let cause = words(code, &error);
        // https://www.postgresql.org/docs/current/errcodes-appendix.html
        // A partition that this node still believed in: it is created when the transaction is repeated. The tables have no
        // other checks that a write could fail.
        if *code == SqlState::CHECK_VIOLATION {
            return Self::Passing(cause);
        }
        match code.code().get(..2).unwrap_or_default() {
            "22" | "23" | "54" => Self::Refused(cause),
            "28" | "3D" | "3F" => Self::Unusable(cause),
            _ if *code == SqlState::DISK_FULL => Self::Full(cause),
            _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => Self::ReadOnly(cause),
            // 25P03 also ends the session.
            "08" | "57" if *code != SqlState::QUERY_CANCELED => Self::Lost(cause),
            _ if *code == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Self::Lost(cause),
            "42" | "0A" => Self::Unusable(cause),
            _ => Self::Passing(cause),
        }
    }
}

/// Returns what an error means that is not the database's own: it is about the connection.
fn without_code(error: &tokio_postgres::Error) -> Trouble {
    let cause = chain(error);
    if cause.contains("does not allow writes") {
        return Trouble::ReadOnly("the database is read-only: it is a standby, or a failover is running".into());
    }
    // Also in the middle of a handshake.
    if cause.contains("TLS") && !is_interrupted(error) {
        return Trouble::Unusable(format!("{} ({cause})", tls_advice(&cause)));
    }
    if cause.contains("password missing") {
        return Trouble::Unusable("the database requires a password, and the URL has none".into());
    }
    if cause.starts_with("error connecting") {
        let advice = "check its host and port, and whether it is running";
        return Trouble::Lost(format!("the database cannot be reached; {advice} ({cause})"));
    }
    if error.is_closed() || std::error::Error::source(error).is_some_and(is_io) {
        return Trouble::Lost(format!("the connection to the database was lost: {cause}"));
    }
    Trouble::Lost(format!("the connection to the database failed: {cause}"))
}

fn tls_advice(cause: &str) -> &'static str {
    if cause.contains("does not support TLS") {
        "the database does not offer TLS; enable it there (ssl = on), or set sslmode=disable if the network is trusted"
    } else if cause.contains("UnknownIssuer") || cause.contains("BadSignature") {
        "the database's certificate is not from a trusted authority; name the file of its authority with sslrootcert"
    } else if cause.contains("NotValidForName") || cause.contains("not valid for name") {
        "the database's certificate is for another host name; use a name in the certificate"
    } else if cause.contains("xpired") {
        "the database's certificate has expired; renew it"
    } else {
        "the connection to the database cannot be encrypted"
    }
}

impl From<PoolError> for Trouble {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(TimeoutType::Create) => Self::Passing(
                "the database cannot be reached in time; check its host and port, and whether it is running".into(),
            ),
            PoolError::Timeout(_) => Self::Passing("all connections to the database are in use (store.pool)".into()),
            other => Self::Passing(format!("no connection to the database: {other}")),
        }
    }
}

/// Returns an error of a read.
pub(super) fn read(error: impl Into<Trouble>) -> StoreError {
    match error.into() {
        Trouble::Refused(cause) => StoreError::Read(cause),
        passes => passes.into_error(),
    }
}

/// Returns what a document that cannot be parsed means.
pub(super) fn damaged(what: &'static str, error: &serde_json::Error) -> StoreError {
    // serde's message may quote the document.
    StoreError::Damaged { what, cause: format!("its document is not valid, at column {}", error.column()) }
}

/// Says what is wrong in words that an admin understands. The database's own message may quote values, so only its code is
/// repeated, except where the message is about the server.
fn words(code: &SqlState, error: &tokio_postgres::Error) -> String {
    let message = error.as_db_error().map(|it| it.message()).unwrap_or_default();
    let about = match code.code() {
        "53100" => "the disk of the database is full; free some space there",
        "53300" => "the database has no free connection; raise its max_connections, or lower store.pool",
        "57P01" | "57P02" => "the database is shutting down or failing over",
        "57P03" => "the database is starting",
        "57P05" | "25P03" => "the database closed a connection that was idle",
        "57014" => "the database stopped a statement that took too long",
        "25006" => "the database is read-only: it is a standby, or a failover is running",
        "28P01" => "the database refuses the user or the password; check both in its URL",
        "28000" => {
            "the database refuses this user from this host, or without TLS; check the URL, and pg_hba.conf there"
        }
        "3D000" => "the database of the URL does not exist; create it, or check its name",
        "42501" => "the user of the URL lacks a permission in the database",
        "42P01" | "3F000" => "the database has no tables of hookmill; run `hookmill store migrate-schema`",
        "40001" | "40P01" => "transactions conflicted",
        "23514" => "the partition of an event was missing",
        "55P03" => "a lock in the database was not available in time",
        "08P01" if message.contains("startup parameter") => {
            "a connection pooler such as pgbouncer refuses the settings of a session; connect to PostgreSQL directly"
        }
        _ => return format!("the database answered with error {}", code.code()),
    };
    format!("{about} ({})", code.code())
}

fn is_io(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<std::io::Error>()
}

/// Whether the peer went away, or did not answer.
fn is_interrupted(error: &tokio_postgres::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
    let mut source = std::error::Error::source(error);
    while let Some(it) = source {
        let kind = it.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if matches!(kind, Some(BrokenPipe | ConnectionAborted | ConnectionReset | TimedOut | UnexpectedEof)) {
            return true;
        }
        source = it.source();
    }
    false
}

/// Returns the message of an error without a code: it is about the connection, and quotes no values.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(it) = source {
        let more = it.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = it.source();
    }
    text
}
