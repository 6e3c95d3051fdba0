//! Stored items as JSON: the lines of an export, and the documents of a database.
//!
//! A document has every field of its item under the name that the API uses. A field that is added later needs a default, so
//! that earlier documents can still be read; one that an older server does not know is ignored by it.

mod event;
mod key;
mod task;

pub(crate) use event::{EventDocument, SentParts};
pub(crate) use key::KeyDocument;
pub(crate) use task::TaskDocument;
