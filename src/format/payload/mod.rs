//! Decodes any body to JSON of the documented form.
//!
//! `coding.rs` removes a content coding, `decode.rs` finds the format (with `content_type.rs`, `charset.rs`, `named_charset.rs`, `magic.rs`)
//! and reads it (`json.rs` with `surrogate.rs` and `number.rs`; `form.rs` and `multipart.rs` with `form_tree.rs` and
//! `part.rs`; `xml.rs`), `in_place.rs` does what a sender's description says, `envelope.rs` removes n8n's wrappers,
//! `lax.rs` reads loose values (with `values.rs`, and `unevaluated.rs` for text in place of a value), `change.rs` those of a change, `time.rs` and `date_text.rs` deadlines; `batch.rs` splits
//! a body into items, `stored.rs` is the body of a redacted delivery with files, `weight.rs` estimates memory.
//! [`Loosened`] lists what was read loosely.

mod batch;
mod change;
mod charset;
mod coding;
mod content_type;
mod date_text;
mod decode;
mod decode_error;
mod decoded;
mod envelope;
mod event;
mod form;
mod form_tree;
mod in_place;
mod json;
mod lax;
mod magic;
mod multipart;
mod named_charset;
mod number;
mod part;
mod rule;
mod stored;
mod surrogate;
mod time;
mod unevaluated;
mod values;
mod weight;
mod xml;

pub use batch::{BATCH_ITEMS, split};
pub(crate) use change::changeable;
pub use change::task_changes;
pub use coding::{is_coded, most_content, without_coding};
pub use decode::decode;
pub(crate) use decode::inner_json;
pub use decode_error::DecodeError;
pub use decoded::{DeclaredFormat, Encoding, Loosened, Payload, Rules, Wrappers};
pub use envelope::unwrap_envelope;
pub use event::{CODING_HEADER, SentFile, decode_again, decode_coded, file_places};
pub use lax::task_fields;
pub(crate) use lax::{FilterText, filter_text};
pub(crate) use multipart::{SignedPart, signed_parts};
pub(crate) use rule::{is_task_field, task_field_names};
pub(crate) use stored::is_file;
pub use stored::{StoredBody, received_type};
pub(crate) use surrogate::without_lone_surrogates;
pub use time::{TimeError, parse_deadline};
pub(crate) use unevaluated::Unevaluated;
pub(crate) use values::{is_blank, whole};
pub use weight::{weight, weight_of};
