//! The embedded store: a journal as the source of truth, and sled as its read view.
//!
//! In the order of a write: `change.rs` encodes it on the caller's thread, `writer.rs` decides it (`decide.rs`) and
//! appends it to the `journal/`, `applier.rs` applies it to the read view (`view.rs`, with the bitmaps of
//! `index.rs`). `open.rs` is the start, `rebuild.rs` builds a view from a snapshot (`snapshot.rs`) and the journal
//! (`source.rs`), `headroom.rs` reserves its space on a full disk, `upkeep.rs` is expiry and backups, `transfer.rs`
//! export and import, `history.rs` events with their tasks, `erase.rs` erasures, `check.rs` the check of a
//! directory, `watchdog.rs` the last resort. `keys.rs`, `record.rs`, `event_record.rs` and `task_record.rs` have
//! the frozen formats, `lock.rs` the lock of the directory.

mod answers;
mod applier;
mod audit;
mod backend;
mod change;
mod check;
mod decide;
mod erase;
mod event_record;
mod events;
mod failure;
mod headroom;
mod history;
mod index;
mod journal;
mod keys;
mod list;
mod lock;
mod names;
mod open;
mod options;
mod place;
mod private;
mod rebuild;
mod recent;
mod record;
mod shared;
mod snapshot;
mod source;
mod task_record;
mod transfer;
mod upkeep;
mod verify;
mod view;
mod watchdog;
mod writer;

pub use backend::Embedded;
pub use change::Imported;
pub use check::{Report, check, repair};
pub use erase::{Erased, ErasedEvent, Form, FoundBy, Keep, Match, NamingTask, Patient, erase};
pub use history::{History, Packed, Past, Wanted};
pub use lock::{Running, running_server};
pub use options::Options;
pub use rebuild::has_view;
pub use transfer::Item;
pub use upkeep::restore;
