//! The table of all series. docs/METRICS.md has the same one, and a test compares the two.

use prometheus_client::metrics::MetricType;

/// One series: a name in a scrape. A histogram is one series.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

macro_rules! series {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) static $id: Series =
            Series { name: $name, kind: MetricType::$kind, labels: &[$($label),*], help: $help };)*
        /// Every series.
        #[cfg(test)]
        pub(super) static ALL: &[&Series] = &[$(&$id),*];
    };
}

series! {
    HTTP_REQUESTS: Counter "hookmill_http_requests_total" ["method", "route", "status"] "Requests, by route of the route table (other: no route) and status.";
    HTTP_DURATION: Histogram "hookmill_http_request_duration_seconds" ["method", "route"] "From a request's headers to its response, including the time in which its body arrives.";
    HTTP_IN_FLIGHT: Gauge "hookmill_http_requests_in_flight" [] "Requests under way, including those whose callers have hung up.";
    HTTP_CONCURRENCY: Gauge "hookmill_http_concurrency" [] "Requests that count towards limits.concurrency.";
    HTTP_CONCURRENCY_LIMIT: Gauge "hookmill_http_concurrency_limit" [] "limits.concurrency.";
    HTTP_REQUEST_BYTES: Counter "hookmill_http_request_body_bytes_total" [] "Bytes of request bodies that arrived.";
    HTTP_RESPONSE_BYTES: Counter "hookmill_http_response_body_bytes_total" [] "Bytes of response bodies.";
    HTTP_ERRORS: Counter "hookmill_http_errors_total" ["code"] "Error responses, by detail.code.";
    AUTHENTICATION_FAILURES: Counter "hookmill_authentication_failures_total" ["code"] "Requests with a missing, wrong or revoked key, a wrong signature or password, or a key without the scope.";
    RATE_LIMITED: Counter "hookmill_rate_limited_total" ["limit"] "Requests over the rate limit of their key or integration.";
    IDEMPOTENT_REPLAYS: Counter "hookmill_idempotent_replays_total" [] "Repeated requests and deliveries that got the first response.";
    CONNECTIONS: Gauge "hookmill_connections" [] "Open connections.";
    CONNECTIONS_LIMIT: Gauge "hookmill_connections_limit" [] "limits.connections, or fewer where the process may open fewer files.";
    CONNECTIONS_ACCEPTED: Counter "hookmill_connections_accepted_total" [] "Connections that were accepted.";
    CONNECTIONS_CLOSED: Counter "hookmill_connections_closed_for_room_total" [] "Waiting connections that were closed to make room for others.";
    CONNECTIONS_FAILED: Counter "hookmill_connections_failed_total" [] "Connections that could not be accepted.";

    DELIVERIES: Counter "hookmill_deliveries_total" ["integration", "outcome"] "Deliveries, by integration and outcome.";
    QUARANTINED: Counter "hookmill_deliveries_quarantined_total" ["integration", "stage"] "Quarantined deliveries, by the stage that ended the pipeline.";
    TASKS_CREATED: Counter "hookmill_tasks_created_total" ["integration"] "Tasks that deliveries created.";
    INTEGRATION_INFO: Gauge "hookmill_integration_info" ["integration", "company_id", "version"] "1 for each live integration.";
    STAGE_DURATION: Histogram "hookmill_pipeline_stage_duration_seconds" ["stage"] "Time in a stage of the pipeline; commit lasts until the result is durable.";
    EVENT_REPLAYS: Counter "hookmill_event_replays_total" ["outcome"] "Replays of stored events.";

    QUEUE_DEPTH: Gauge "hookmill_queue_depth" ["integration"] "Deliveries that were answered 202 and are not settled.";
    QUEUE_STORED: Gauge "hookmill_queue_stored" [] "Deliveries in the queue of the store; of all servers that share it, as of a few seconds ago.";
    QUEUE_LIMIT: Gauge "hookmill_queue_limit" [] "limits.queue.";
    QUEUE_OLDEST: Gauge "hookmill_queue_oldest_age_seconds" [] "Age of the oldest delivery in the queue; 0 while it is empty.";
    QUEUE_SETTLED: Counter "hookmill_queue_settled_total" [] "Deliveries whose result was stored, so that they left the queue.";
    QUEUE_RETRIES: Counter "hookmill_queue_retries_total" [] "Runs of queued deliveries that failed and are tried again.";
    QUEUE_SET_ASIDE: Counter "hookmill_queue_set_aside_total" [] "Queued deliveries that were set aside because they cannot be processed.";

    PLUGINS: Gauge "hookmill_plugins" ["state"] "Plugin folders that are live, refused or being loaded.";
    PLUGIN_LOADS: Counter "hookmill_plugin_loads_total" ["result"] "Plugin folders that were loaded or refused.";
    PLUGIN_CALLS: Counter "hookmill_plugin_calls_total" ["integration", "result"] "Plugin calls; busy was not called, because its queue or the instance pool was full.";
    PLUGIN_DURATION: Histogram "hookmill_plugin_call_duration_seconds" ["integration"] "Time of a plugin call, without its time in the queue.";
    PLUGIN_WAITING: Gauge "hookmill_plugin_calls_waiting" ["integration"] "Plugin calls that wait for a thread.";
    PLUGIN_WAIT: Histogram "hookmill_plugin_queue_wait_seconds" [] "Time that plugin calls wait for a thread.";
    PLUGIN_INSTANCES: Gauge "hookmill_plugin_instances" [] "Plugin instances, including those of fixtures, dry runs and shadows.";
    COMPILE_DURATION: Histogram "hookmill_plugin_compile_duration_seconds" [] "Time of a module's compilation, from when its turn comes.";
    COMPILE_FAILURES: Counter "hookmill_plugin_compile_failures_total" [] "Modules that could not be compiled.";

    GROUP_CHANGES: Histogram "hookmill_journal_group_changes" [] "Changes in a journal group.";
    JOURNAL_BYTES: Counter "hookmill_journal_written_bytes_total" [] "Bytes that were appended to the journal.";
    JOURNAL_SYNC: Histogram "hookmill_journal_fdatasync_duration_seconds" [] "Time of the fdatasync that makes a journal group durable.";
    JOURNAL_ERRORS: Counter "hookmill_journal_write_errors_total" [] "Journal groups that could not be written.";
    JOURNAL_FAILED: Gauge "hookmill_journal_failed" [] "1 after an fdatasync failed: nothing is stored until a restart.";
    JOURNAL_SEGMENTS: Gauge "hookmill_journal_segments" [] "Segments of the journal.";
    JOURNAL_UNVERIFIED: Gauge "hookmill_journal_unverified_segments" [] "Closed segments that are not verified yet since the start.";
    JOURNAL_DAMAGED: Gauge "hookmill_journal_damaged_places" [] "Damaged places in the journal that were found since the start.";
    VIEW_LAG: Gauge "hookmill_view_lag_records" [] "Durable journal records that the read view does not have yet.";
    VIEW_APPLY: Histogram "hookmill_view_apply_duration_seconds" [] "Time to apply a journal group to the read view.";
    VIEW_REBUILDS: Counter "hookmill_view_rebuilds_total" ["cause"] "Times the read view was rebuilt.";
    VIEW_FAILED: Gauge "hookmill_view_failed" [] "1 while the read view has failed and is being rebuilt: writes are refused.";
    STORE_BYTES: Gauge "hookmill_store_size_bytes" ["part"] "Size of the database on the disk.";
    STORE_FREE: Gauge "hookmill_store_free_bytes" [] "Free space on the disk of the database.";
    STORE_RESERVE: Gauge "hookmill_store_reserve_bytes" [] "store.reserve_mib: with less than this free, writes are refused.";
    STORE_READY: Gauge "hookmill_store_ready" [] "1 while the store can be used, 0 while /readyz says that it cannot.";
    STORE_SAMPLED: Gauge "hookmill_store_sampled_timestamp_seconds" [] "When sizes and free space were last looked up.";
    SNAPSHOTS: Counter "hookmill_snapshots_total" ["result"] "Snapshots of the read view.";
    BACKUPS: Counter "hookmill_backups_total" ["result"] "Backups by this process.";
    LAST_BACKUP: Gauge "hookmill_backup_last_success_timestamp_seconds" [] "When this process completed its last backup; 0 for never.";
    ERASURES: Counter "hookmill_erasures_total" [] "Completed erasures of a patient's data.";
    ERASED_EVENTS: Counter "hookmill_erased_events_total" [] "Events that were erased, on request or after keep_days.";
    AUDIT_ENTRIES: Counter "hookmill_audit_entries_total" [] "Entries that were added to the audit log.";

    BUILD_INFO: Gauge "hookmill_build_info" ["version"] "1, with the version of this build.";
    START_TIME: Gauge "process_start_time_seconds" [] "When the process started, in seconds since 1970.";
    CPU_SECONDS: Counter "process_cpu_seconds_total" [] "Processor time of the process, in user and system mode.";
    RESIDENT_BYTES: Gauge "process_resident_memory_bytes" [] "Resident memory.";
    VIRTUAL_BYTES: Gauge "process_virtual_memory_bytes" [] "Virtual memory.";
    THREADS: Gauge "process_threads" [] "Threads of the process.";
    OPEN_FDS: Gauge "process_open_fds" [] "Open file descriptors.";
    MAX_FDS: Gauge "process_max_fds" [] "Most file descriptors that the process may open.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let names: BTreeSet<_> = ALL.iter().map(|it| it.name).collect();
        assert_eq!(names.len(), ALL.len(), "each name once");
        for it in ALL {
            assert!(it.name.starts_with("hookmill_") || it.name.starts_with("process_"), "{}", it.name);
            assert_eq!(it.name.ends_with("_total"), it.kind == MetricType::Counter, "{}", it.name);
            assert!(it.help.ends_with('.') && !it.help.contains('\n'), "{}", it.name);
        }
    }

    /// People who write dashboards read the docs and not the code.
    #[test]
    fn the_docs_have_the_same_table() {
        let docs = include_str!("../../docs/METRICS.md");
        let row = |it: &&Series| {
            let labels: Vec<_> = it.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {} | {} | {} |", it.name, it.kind.as_str(), labels.join(", "), it.help)
        };
        let documented: Vec<&str> = docs
            .lines()
            .filter(|line| line.starts_with("| `"))
            .filter(|line| {
                line.contains("` | counter |") || line.contains("` | gauge |") || line.contains("` | histogram |")
            })
            .collect();
        let expected: Vec<String> = ALL.iter().map(row).collect();
        assert_eq!(documented, expected, "docs/METRICS.md should have these rows:\n{}", expected.join("\n"));
    }
}
