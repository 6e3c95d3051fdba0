//! Senders as data: how a provider proves its deliveries, names them, asks questions, and what it is answered
//! (docs/SENDER-FILES.md).
//!
//! `file.rs` and `answer_table.rs` have the tables of a file, `compile.rs` makes a [`Sender`] of them (`rules.rs` has the
//! rules that concern several parts), `vector.rs` runs its test vectors, and `catalog.rs` has the shipped files and finds others. `handshake.rs` answers questions, `described.rs` and `auth_lines.rs` say what a file means, `sign.rs` signs an example,
//! and `example.rs` shows one.

mod answer_table;
mod auth_lines;
mod catalog;
mod compile;
pub mod described;
mod description;
mod example;
mod expected;
mod file;
mod handshake;
mod rules;
mod sign;
mod vector;
mod vector_keys;

pub use answer_table::{AnswerBodyName, AnswerBodyTable, AnswerTable, AnswerTemplate, OutcomeTable};
pub use auth_lines::auth_lines;
pub use catalog::{Catalog, SENDER_BYTES};
pub use description::{Chosen, DeclaredProof, IdPlace, Sender, Trust};
pub use example::ExampleDelivery;
pub use file::{BodyFormatName, BodyTable, SetupTable};
pub use handshake::{Handshake, HandshakeAnswer, HandshakeProof};
pub use sign::{Signable, SignedRequest};
