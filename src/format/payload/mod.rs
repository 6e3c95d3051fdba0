//! Decodes any body to JSON of the documented form.
//!
//! `decode.rs` reads the encoding (with `json.rs`, `form.rs`, `multipart.rs`), `envelope.rs` removes n8n's
//! wrappers, `lax.rs` reads loose values (with `values.rs`), `change.rs` those of a change, `time.rs` deadlines,
//! `unevaluated.rs` text in place of a value;
//! `batch.rs` splits a body into items. [`Loosened`] lists what was read loosely.

mod batch;
mod change;
mod decode;
mod decode_error;
mod decoded;
mod envelope;
mod event;
mod form;
mod json;
mod lax;
mod multipart;
mod rule;
mod time;
mod unevaluated;
mod values;

pub use batch::{BATCH_ITEMS, split};
pub(crate) use change::changeable;
pub use change::task_changes;
pub use decode::decode;
pub(crate) use decode::inner_json;
pub use decode_error::DecodeError;
pub use decoded::{Encoding, Loosened, Payload, Rules, weight};
pub use envelope::unwrap_envelope;
pub use event::decode_again;
pub use lax::task_fields;
pub(crate) use lax::{FilterText, filter_text};
pub(crate) use rule::is_task_field;
pub use time::{TimeError, parse_deadline};
pub(crate) use unevaluated::Unevaluated;
pub(crate) use values::is_blank;
