//! The journal: the source of truth. Every accepted change is a record in it before it is acknowledged.
//!
//! Append-only segments in one directory, named by the sequence of their first record. A group of records becomes
//! durable with one fdatasync. In the order of a record's life:
//!
//! - `format.rs`: the format; `prepare.rs`: segments prepared in advance; `append.rs`: the end of the journal;
//!   `mark.rs`: what was acknowledged.
//! - `survey.rs` and `open.rs`: the start; `verify.rs`: verification of what the start did not read; `scan.rs`: how
//!   a segment is read.
//! - `segments.rs`, `index_file.rs` and `listing.rs`: where events are stored; `history.rs`: all events, for other
//!   processes.
//! - `replay.rs`: replays records into a view; `rewrite.rs`: erases values from a segment.

mod allocate;
mod append;
mod event_place;
mod files;
mod format;
mod history;
mod index_file;
mod listing;
mod mark;
mod open;
mod prepare;
mod replay;
mod rewrite;
mod scan;
mod segments;
mod survey;
mod verify;

pub(super) use append::{AppendError, Journal, removable};
pub(super) use event_place::EventPlace;
pub(super) use files::{HORIZON, companions, sync_dir, write_json};
pub(super) use format::{GroupWriter, Op, OpKind, group_ops, ops};
pub(super) use history::JournalHistory;
pub(super) use mark::mark_copy;
pub(super) use open::Opened;
pub(super) use replay::replay;
pub(super) use rewrite::{JournalFiles, Rewritten, put_in_place, rewrite};
pub(super) use segments::{Closed, Segments, StoredEvent};
pub(super) use survey::{Accepted, Survey, read_only};
pub(super) use verify::{Unverified, known_damaged, verify};
