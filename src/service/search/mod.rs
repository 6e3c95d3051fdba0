//! Search in payloads: an index of signatures in memory, the same for every store.
//!
//! For each of the newest events, `index.rs` has a signature (`signature.rs`) of its words (`words.rs`), which are read from the
//! body (`reading.rs`) and wait a while (`intake.rs`). A search (`found.rs`) scans the signatures from the newest event on, and
//! reads the events that they allow from the store to see whether they have what is searched for (`query.rs`). `follow.rs` reads
//! what is stored at the start, and what other servers store.

mod block;
mod blocking;
mod escapes;
mod follow;
mod found;
mod index;
mod intake;
mod payload_search;
mod query;
mod reading;
mod signature;
mod signed_batch;
mod spare_memory;
mod waiting;
mod word_set;
mod words;

pub(crate) use self::follow::follow;
pub use self::found::PayloadMatches;
pub use self::payload_search::PayloadSearch;
pub use self::query::{MOST_TERMS, PayloadQuery};
pub(super) use self::waiting::NotedEvent;
