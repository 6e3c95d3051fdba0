//! Forms in signed texts: senders sort the fields before they sign them.

use std::borrow::Cow;

use super::delivery::Mismatch;
use super::digest::{Algorithm, digest, hex};
use super::source::SentBody;

/// Maximum number of fields of a form, which are sorted before they are hashed. Senders send a few dozen.
const FIELDS_MAX: usize = 1000;

/// Returns a form's names and values in the order in which they are signed. Equal fields are signed only once.
///
/// # Errors
/// The form has too many fields, or cannot be read.
pub(super) fn sorted(body: &SentBody<'_>) -> Result<String, Mismatch> {
    let mut fields: Fields<'_> = match boundary(body) {
        Some(_) => texts(body)?,
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
    if boundary(body).is_none() {
        return Ok(String::new());
    }
    let mut files: Vec<_> = parts(body)?
        .into_iter()
        .filter(|it| it.is_file)
        .map(|it| (it.name, hex(&digest(Algorithm::Sha1, &[it.content]))))
        .collect();
    files.sort();
    Ok(files.into_iter().flat_map(|(name, sha1)| [name, sha1]).collect())
}

fn boundary<'a>(body: &SentBody<'a>) -> Option<&'a str> {
    let content_type = body.content_type()?;
    let multipart = content_type.get(..19).is_some_and(|it| it.eq_ignore_ascii_case("multipart/form-data"));
    let at = content_type.to_ascii_lowercase().find("boundary=").filter(|_| multipart)?;
    let value = content_type[at + "boundary=".len()..].trim();
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split(';').next().map(str::trim),
    }
    .filter(|it| !it.is_empty())
}

/// Names and values.
type Fields<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn texts<'a>(body: &SentBody<'a>) -> Result<Fields<'a>, Mismatch> {
    let text = |it: FormPart<'a>| (Cow::Owned(it.name), String::from_utf8_lossy(it.content));
    Ok(parts(body)?.into_iter().filter(|it| !it.is_file).map(text).collect())
}

/// A part of a `multipart/form-data` body, byte for byte.
struct FormPart<'a> {
    name: String,
    is_file: bool,
    content: &'a [u8],
}

/// Splits the body at its boundary (RFC 2046, section 5.1.1).
fn parts<'a>(body: &SentBody<'a>) -> Result<Vec<FormPart<'a>>, Mismatch> {
    let broken = || Mismatch::Unreadable { place: "the body".into(), cause: "it is not a complete multipart form" };
    let (bytes, delimiter) = (body.bytes(), format!("--{}", boundary(body).ok_or_else(broken)?));
    let mut at = memchr::memmem::find(bytes, delimiter.as_bytes()).ok_or_else(broken)? + delimiter.len();
    let next = format!("\r\n{delimiter}");
    let mut parts = Vec::new();
    while bytes.get(at..at + 2) != Some(b"--") {
        if parts.len() == FIELDS_MAX {
            return Err(Mismatch::Fields { most: FIELDS_MAX });
        }
        let from = at + memchr::memmem::find(&bytes[at..], b"\r\n").ok_or_else(broken)? + 2;
        let head = from + memchr::memmem::find(&bytes[from..], b"\r\n\r\n").ok_or_else(broken)?;
        let end = head + memchr::memmem::find(&bytes[head..], next.as_bytes()).ok_or_else(broken)?;
        let header = String::from_utf8_lossy(&bytes[from..head]);
        let content = bytes.get(head + 4..end).unwrap_or_default();
        parts.push(FormPart {
            name: quoted(&header, "name").ok_or_else(broken)?,
            is_file: quoted(&header, "filename").is_some(),
            content,
        });
        at = end + next.len();
    }
    Ok(parts)
}

/// Returns a parameter of `Content-Disposition`.
fn quoted(header: &str, parameter: &str) -> Option<String> {
    let line =
        header.lines().find(|it| it.get(..20).is_some_and(|it| it.eq_ignore_ascii_case("content-disposition:")))?;
    line.split(';').skip(1).find_map(|it| {
        let (name, value) = it.trim().split_once('=')?;
        name.eq_ignore_ascii_case(parameter).then(|| value.trim().trim_matches('"').to_owned())
    })
}
