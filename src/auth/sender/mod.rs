//! Senders as data: how a provider proves its deliveries, names them, asks questions, and what it is answered
//! (docs/SENDER-FILES.md).
//!
//! `file.rs` has the tables of a file, `compile.rs` makes a [`Sender`] of them, `vector.rs` runs its test vectors, and
//! `catalog.rs` has the shipped files and finds others. `handshake.rs` answers questions, `sign.rs` signs an example,
//! and `example.rs` shows one.

mod catalog;
mod compile;
mod description;
mod example;
mod file;
mod handshake;
mod sign;
mod vector;

pub use catalog::{Catalog, SENDER_BYTES};
pub use description::{Chosen, DeclaredProof, IdPlace, Sender, Trust};
pub use file::{
    AnswerBodyName, AnswerBodyTable, AnswerTable, AnswerTemplate, BodyFormatName, BodyTable, OutcomeTable, SetupTable,
};
pub use handshake::{Handshake, HandshakeAnswer, HandshakeProof};
pub use sign::{Signable, SignedRequest};
