//! What needs attention, most urgent first.

mod deliveries;
mod server;
mod settings;

use schemars::JsonSchema;
use serde::Serialize;

use super::Asked;
use crate::http::answer::Failed;
use crate::http::plugin_answer::PluginBrief;
use crate::store::Timeline;

/// Something that needs attention.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Attention")]
pub(super) struct AttentionAnswer {
    severity: Severity,
    /// What it is, for programs.
    kind: AttentionKind,
    /// One or two sentences.
    message: String,
    /// The page of the console that helps.
    link: String,
}

/// How urgent it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Deliveries are lost or refused, or will be soon.
    Bad,
    /// Something does not work as it should.
    Warn,
    /// Somebody should decide something.
    Info,
}

/// What needs attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AttentionKind {
    /// The store accepts no writes.
    StoreNotReady,
    /// The disk is nearly full.
    Disk,
    /// The server has just started, and is loading plugins.
    Loading,
    /// A plugin folder is refused.
    PluginRefused,
    /// A plugin is not the same on all servers.
    PluginDiffers,
    /// A secret is not set, so deliveries cannot be authenticated.
    SecretMissing,
    /// A secret is easy to guess.
    SecretWeak,
    /// A proof does not protect the content of deliveries.
    ProofWeak,
    /// A secret of a handshake waits for an admin.
    SecretLearned,
    /// Deliveries were quarantined in the last 24 hours.
    Quarantine,
    /// Queued deliveries wait for long, or the queue is nearly full.
    Queue,
    /// Queued events cannot be read.
    UnreadableEvents,
    /// Requests failed in the last hour.
    Failures,
}

impl AttentionAnswer {
    fn new(severity: Severity, kind: AttentionKind, message: impl Into<String>, link: impl Into<String>) -> Self {
        Self { severity, kind, message: message.into(), link: link.into() }
    }
}

/// Returns everything that needs attention; `day` has the counts of the last 24 hours.
pub(super) async fn of(
    asked: &Asked<'_>,
    plugins: &[PluginBrief<'_>],
    day: &Timeline,
) -> Result<Vec<AttentionAnswer>, Failed> {
    let mut all = server::of(asked).await?;
    settings::add(asked, plugins, &mut all);
    deliveries::add(asked, day, &mut all).await?;
    // Stable: within a severity they stay in this order.
    all.sort_by_key(|it| it.severity);
    Ok(all)
}

/// A number with its noun: `1 delivery`, `2 deliveries`.
fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
