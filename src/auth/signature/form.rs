//! Forms in signed texts: senders sort the fields before they sign them.

use std::borrow::Cow;

use super::delivery::Mismatch;
use super::digest::{Algorithm, digest, hex};
use super::source::SentBody;
use crate::format::payload::{SignedPart, signed_parts};

/// Maximum number of fields of a form, which are sorted before they are hashed. Senders send a few dozen.
const FIELDS_MAX: usize = 1000;

/// Names and values.
type Fields<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Returns a form's names and values in the order in which they are signed. Equal fields are signed only once.
///
/// # Errors
/// The form has too many fields, or cannot be read.
pub(super) fn sorted(body: &SentBody<'_>) -> Result<String, Mismatch> {
    if body.is_coded() {
        return Err(Mismatch::Unreadable { place: "the body".into(), cause: "it has a content coding" });
    }
    let mut fields: Fields<'_> = match parts(body) {
        Some(parts) => {
            let text = |it: SignedPart<'_>| {
                (Cow::Owned(it.name), Cow::Owned(String::from_utf8_lossy(&it.content).into_owned()))
            };
            parts?.into_iter().filter(|it| !it.is_file).map(text).collect()
        }
        None => {
            if memchr::memchr_iter(b'&', body.bytes()).count() >= FIELDS_MAX {
                return Err(Mismatch::Fields { most: FIELDS_MAX });
            }
            form_urlencoded::parse(body.bytes()).collect()
        }
    };
    fields.sort();
    fields.dedup();
    Ok(fields.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]).collect())
}

/// Returns the names of a form's files, sorted, each followed by the SHA-1 of its content in hexadecimal digits.
///
/// # Errors
/// The form has too many parts, or cannot be read.
pub(super) fn files(body: &SentBody<'_>) -> Result<String, Mismatch> {
    let parts = parts(body).unwrap_or_else(|| Ok(Vec::new()))?;
    let mut files: Vec<_> = parts
        .into_iter()
        .filter(|it| it.is_file)
        .map(|it| (it.name, hex(&digest(Algorithm::Sha1, &[&it.content]))))
        .collect();
    files.sort();
    Ok(files.into_iter().flat_map(|(name, sha1)| [name, sha1]).collect())
}

/// Returns whether the body is a form with files.
pub(super) fn has_files(body: &SentBody<'_>) -> bool {
    matches!(parts(body), Some(Ok(parts)) if parts.iter().any(|it| it.is_file))
}

/// Returns the parts of a multipart form; `None` if the body is another one.
fn parts<'a>(body: &SentBody<'a>) -> Option<Result<Vec<SignedPart<'a>>, Mismatch>> {
    let parts = signed_parts(body.content_type()?, body.bytes())?;
    Some(
        parts.map_err(|_| Mismatch::Unreadable {
            place: "the body".into(),
            cause: "it is not a complete multipart form",
        }),
    )
}
