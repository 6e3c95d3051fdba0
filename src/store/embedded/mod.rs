//! The embedded store: a journal as the source of truth, and sled as its read view.
//!
//! In the order of a write: `change.rs` encodes it on the caller's thread, `writer.rs` decides it (`decide.rs`) and
//! appends it to the `journal/`, `applier.rs` applies it to the read view (`view.rs`, with the bitmaps of
//! `index.rs`). `open.rs` is the start, `rebuild.rs` builds a view from a snapshot (`snapshot.rs`) and the journal
//! (`source.rs`), `headroom.rs` reserves its space on a full disk, `upkeep.rs` is expiry and backups, `transfer.rs`
//! export and import, `history.rs` events with their tasks, `erase.rs` erasures, `check.rs` the check of a
//! directory, `watchdog.rs` the last resort. `keys.rs`, `record.rs`, `event_record.rs` and `task_record.rs` have
//! the frozen formats.

mod answer_record;
mod answers;
mod applier;
mod audit;
mod backend;
mod backup;
mod change;
mod check;
mod data_dir;
mod decide;
mod disk;
mod erase;
mod event_record;
mod events;
mod expire;
mod failure;
mod feed;
mod headroom;
mod history;
mod horizon;
mod index;
mod journal;
mod keys;
mod last_change;
mod lineage;
mod list;
mod names;
mod open;
mod options;
mod outcomes;
mod place;
mod private;
mod progress;
mod read;
mod rebuild;
mod recent;
mod record;
mod report;
mod shared;
mod snapshot;
mod source;
mod stats;
mod take_snapshot;
mod tally;
mod task_record;
mod transfer;
mod verbs;
mod verify;
mod view;
mod view_dir;
mod watchdog;
mod writer;

pub use backend::Embedded;
pub use backup::restore;
pub use check::{check, repair};
pub use erase::erase;
pub use history::DirHistory;
pub use options::StoreOptions;
pub use report::CheckReport;
pub use view_dir::has_view;
