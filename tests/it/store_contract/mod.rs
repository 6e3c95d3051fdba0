//! The contract of every backend: one suite that each of them runs. A promise gets an empty store, and where it needs them two.

mod again;
mod answers;
mod audit;
mod erasure;
mod events;
mod feed;
mod history;
mod origin;
mod queue;
mod retention;
mod tasks;
mod timeline;
mod transfer;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use hookmill::model::audit::{Action, COMMAND_LINE, Entry};
use hookmill::store::embedded::StoreOptions;
use hookmill::store::postgres::{DatabaseUrl, PostgresOptions};
use hookmill::store::{Embedded, Faulty, Postgres, Store};
use tempfile::TempDir;

use crate::harness::{Cluster, NO_POSTGRES};
use crate::stored::company;

/// Opens a new store each time; None if this machine lacks what it needs.
type Open = fn(&Path) -> Option<Arc<dyn Store>>;

fn open_embedded(dir: &Path) -> Option<Arc<dyn Store>> {
    Some(Arc::new(Embedded::open(dir, &StoreOptions::default()).unwrap()))
}

fn open_faulty(dir: &Path) -> Option<Arc<dyn Store>> {
    Some(Arc::new(Faulty::new(Embedded::open(dir, &StoreOptions::default()).unwrap())))
}

fn open_postgres(_dir: &Path) -> Option<Arc<dyn Store>> {
    let database = Cluster::get()?.database();
    Some(Arc::new(Postgres::open(PostgresOptions::new(DatabaseUrl::parse(&database.url()).unwrap())).unwrap()))
}

type Two = (TempDir, Arc<dyn Store>, Arc<dyn Store>);

/// Two empty stores of one kind, where they can be opened.
fn two(open: Open) -> Option<Two> {
    let dir = TempDir::new().unwrap();
    let stores = (open(&dir.path().join("one"))?, open(&dir.path().join("two"))?);
    Some((dir, stores.0, stores.1))
}

/// Somebody of this company has made a key.
fn entry(of: &str, at: DateTime<Utc>) -> Entry {
    Entry::new(COMMAND_LINE, Action::KeyCreated, "key_1", at).of(&company(of)).with("tasks:read")
}

/// These names, if the filter is set at all.
fn named(is_set: bool, names: &[&str]) -> Vec<String> {
    names.iter().filter(|_| is_set).map(|it| (*it).to_owned()).collect()
}

/// Texts that a database may not take as they are: long and not compressible, with NUL, and with signs that mean something.
pub fn strange_texts() -> [String; 4] {
    let hashed: String = (0..400).map(|_| uuid::Uuid::now_v7().simple().to_string()).collect();
    [hashed, "a\0b".into(), "a\\0b\\#'%_\"".into(), "x".repeat(100_000)]
}

macro_rules! promised {
    (one, $promise:path, $open:path) => {{
        let dir = TempDir::new().unwrap();
        let Some(store) = $open(dir.path()) else { return eprintln!("{NO_POSTGRES}") };
        $promise(store).await;
    }};
    (two, $promise:path, $open:path) => {{
        let Some((_dir, one, other)) = two($open) else { return eprintln!("{NO_POSTGRES}") };
        $promise(one, other).await;
    }};
}

macro_rules! contract {
    ($backend:ident, $open:path, $($number:ident $module:ident { $($promise:ident,)+ })+) => {
        mod $backend {
            $(
                mod $module {
                    use super::super::*;
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                        async fn $promise() {
                            promised!($number, $module::$promise, $open);
                        }
                    )+
                }
            )+
        }
    };
}

macro_rules! every_backend {
    ($($all:tt)+) => {
        contract!(embedded, open_embedded, $($all)+);
        contract!(faulty_without_a_fault, open_faulty, $($all)+);
        contract!(postgres, open_postgres, $($all)+);
    };
}

every_backend! {
    one tasks {
        a_commit_is_read_back_as_it_was,
        a_list_is_newest_first_and_totals_are_right_for_every_filter,
        a_filter_with_several_values_matches_either,
        pages_and_cursors_give_every_task_once,
        pages_of_every_filter_give_every_task_once,
        a_change_needs_the_present_version_and_moves_the_task_between_filters,
        of_many_changes_at_once_one_wins,
        a_deleted_task_is_there_for_nobody_and_purged_later,
        a_request_s_events_are_stored_whole,
        long_and_strange_texts_are_stored_listed_and_do_not_disturb_others,
        changes_at_the_same_time_leave_one_state,
    }
    one feed {
        the_feed_shows_each_task_once_at_its_last_change_in_order,
        a_feed_cursor_expires_when_a_deletion_after_it_is_purged,
    }
    one answers {
        the_first_answer_is_remembered_for_its_time_and_no_second_is_stored,
        fifty_equal_requests_at_once_store_one_task,
        a_delivery_is_recognized_for_its_own_time,
        a_refused_delivery_may_be_sent_again,
    }
    one audit {
        what_was_done_is_listed_newest_first_and_by_company,
        entries_expire,
        an_entry_of_a_commit_is_stored_with_it_and_only_then,
    }
    two origin {
        how_an_event_was_made_is_kept,
    }
    one events {
        a_list_has_the_events_that_every_filter_matches,
        a_list_has_everything_but_bodies,
        events_are_read_whole_by_id_and_newest_first,
        large_events_are_read_a_few_at_a_time_and_none_is_left_out,
        the_duplicates_of_an_event_are_listed,
    }
    one timeline {
        every_event_is_counted_once_with_its_present_status,
        tasks_are_counted_where_they_were_created,
    }
    one queue {
        queued_events_are_in_their_order_until_their_result,
        an_event_that_can_be_read_is_not_given_up,
    }
    one again {
        a_state_that_is_not_the_newest_is_not_replaced,
        of_many_results_at_once_one_wins,
        an_event_and_its_tasks_change_together_or_not_at_all,
        an_answer_that_was_remembered_days_later_counts_for_a_replay_of_the_first_copy,
    }
    one erasure {
        what_was_sent_of_a_patient_is_erased_and_nothing_else,
        what_is_stored_after_the_erasure_of_its_patient_is_erased,
        what_is_stored_during_the_erasure_of_its_patient_is_erased,
        a_result_for_a_patient_who_was_erased_meanwhile_makes_no_task,
        an_event_that_is_erased_by_a_replay_keeps_its_tasks,
        a_queued_event_is_erased_and_still_gets_its_result,
        patients_with_long_and_strange_ids_are_erased,
    }
    one retention {
        an_expired_event_is_not_found_and_a_queued_one_is_kept,
        a_queued_event_is_never_hidden,
        what_an_integration_was_sent_is_erased_when_its_time_is_over,
    }
    one history {
        events_come_with_their_tasks_as_they_were_created,
    }
    two transfer {
        a_copy_has_the_same_items_and_a_second_import_skips_all,
        a_key_with_the_hash_of_another_is_not_stored,
    }
}
