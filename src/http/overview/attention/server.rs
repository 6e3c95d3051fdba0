//! The server and its store.

use std::sync::Arc;

use super::{AttentionAnswer, AttentionKind, Severity, count};
use crate::http::answer::Failed;
use crate::http::overview::Asked;
use crate::http::problem::Problem;
use crate::metrics::store::STORE;
use crate::service::recorder::RecordedBucket;
use crate::store::{StoreError, TimelineWindow};

/// The disk is nearly full if less than this many times the reserve is free.
const NEARLY: u64 = 4;

const SYSTEM: &str = "/console/system";

pub(super) async fn of(asked: &Asked<'_>) -> Result<Vec<AttentionAnswer>, Failed> {
    let mut all = Vec::new();
    let app = Arc::clone(&asked.app.store);
    // It reads from the disk.
    let ready = tokio::task::spawn_blocking(move || app.ready()).await.map_err(|_| Problem::Internal)?;
    if let Err(error) = ready {
        let message = not_ready(&error, asked.is_operator());
        all.push(AttentionAnswer::new(Severity::Bad, AttentionKind::StoreNotReady, message, SYSTEM));
    }
    let (free, reserve) = (STORE.sampled.free(), asked.app.config.store.reserve_bytes);
    if asked.app.files.is_some() && free > 0 && free < reserve.saturating_mul(NEARLY) {
        let sizes = match asked.is_operator() {
            true => format!(": {} MiB are free, and below {} MiB deliveries are refused", free >> 20, reserve >> 20),
            false => ": soon, deliveries will be refused".to_owned(),
        };
        let message = format!("The disk of the store is nearly full{sizes}.");
        all.push(AttentionAnswer::new(Severity::Bad, AttentionKind::Disk, message, SYSTEM));
    }
    if asked.app.registry.is_starting() {
        let message = "The server has just started and is still loading plugins; their deliveries wait.";
        all.push(AttentionAnswer::new(Severity::Warn, AttentionKind::Loading, message, "/console/plugins"));
    }
    if asked.is_operator() {
        let unreadable = asked.app.queue.unreadable();
        if unreadable > 0 {
            let events = count(unreadable, "queued event cannot", "queued events cannot");
            let message = format!("{events} be read; the server's log says why.");
            all.push(AttentionAnswer::new(Severity::Bad, AttentionKind::UnreadableEvents, message, SYSTEM));
        }
        let failed: u64 = asked
            .app
            .recorder
            .buckets(TimelineWindow::Hour, asked.now)
            .iter()
            .map(|it: &RecordedBucket| it.failed)
            .sum();
        if failed > 0 {
            let message = format!(
                "{} with a status of 500 or more in the last hour; senders repeat such deliveries. The server's log says why.",
                count(failed, "request was answered", "requests were answered")
            );
            all.push(AttentionAnswer::new(Severity::Warn, AttentionKind::Failures, message, "/console?window=1h"));
        }
    }
    Ok(all)
}

/// The store's state in words that are safe for admins of a company.
fn not_ready(error: &StoreError, is_operator: bool) -> String {
    let what = match error.word() {
        "full" => "its disk is full",
        "rebuilding" => "its read view is being rebuilt",
        "unavailable" => "its database cannot be reached",
        "damaged" => "acknowledged changes in its journal are damaged",
        "closed" => "it is closed",
        _ => "a write or a read failed",
    };
    match is_operator {
        true => format!("The store accepts no deliveries: {what} ({error})."),
        false => format!("The store accepts no deliveries: {what}."),
    }
}
