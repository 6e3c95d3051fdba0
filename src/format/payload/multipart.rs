//! Parses `multipart/form-data` (RFC 7578). The payload describes files; their bytes stay in the stored body.

use std::borrow::Cow;

use encoding_rs::UTF_8;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::charset::unknown;
use super::content_type::ContentType;
use super::decode_error::DecodeError;
use super::decoded::{Encoding, Loosened};
use super::form::CHARSET_FIELD;
use super::form_tree;
use super::json;
use super::named_charset::Charset;
use super::part::{BodyPart, broken, parts, without_mark};

/// Name that browsers give a value which a script sends as a file.
const BLOB: &str = "blob";
/// Length of a first line with a boundary, and the beginning of a header after it (RFC 2046 section 5.1.1).
const BOUNDARY_LINE: usize = 72 + 9;
/// Field in which SendGrid names the charset of each field.
const CHARSETS_FIELD: &str = "charsets";

/// A file in a multipart body.
#[derive(Debug)]
pub(super) struct FilePart<'a>(pub(super) BodyPart<'a>);

/// What a part of a form is.
enum FormField<'a> {
    Text(BodyPart<'a>),
    Json(String, Value),
    File(FilePart<'a>),
    /// A file input in which no file was chosen.
    Nothing,
}

/// Parses a form.
pub(super) fn parse(
    declared: &ContentType<'_>,
    body: &[u8],
    loosened: &mut Loosened,
) -> Result<(Value, Encoding), DecodeError> {
    let found = fields(declared, body, loosened)?;
    let encoding = if matches!(found.as_slice(), [FormField::Json(..)]) { Encoding::JsonField } else { Encoding::Form };
    let charsets = Charsets::of(declared, &found)?;
    let mut values = Vec::with_capacity(found.len());
    let mut files = 0;
    for field in found {
        match field {
            FormField::Nothing => {}
            FormField::Text(part) => {
                let text = charsets.text(&part, loosened)?;
                values.push((part.name.unwrap_or_default(), Value::String(text)));
            }
            FormField::Json(name, value) => values.push((name, value)),
            FormField::File(file) => {
                values.push((file.0.name.clone().unwrap_or_else(|| "file".to_owned()), file.described(files)));
                files += 1;
            }
        }
    }
    Ok((form_tree::build(values)?, encoding))
}

/// A part of a form, as signatures see it.
#[derive(Debug)]
pub(crate) struct SignedPart<'a> {
    /// Name of the field.
    pub(crate) name: String,
    /// Whether it is a file.
    pub(crate) is_file: bool,
    /// The content.
    pub(crate) content: Cow<'a, [u8]>,
}

/// Returns the parts of a body whose content type says that it is a multipart form; `None` if it does not.
///
/// # Errors
/// Fails if it cannot be read.
pub(crate) fn signed_parts<'a>(content_type: &str, body: &'a [u8]) -> Option<Result<Vec<SignedPart<'a>>, DecodeError>> {
    let declared = ContentType::parse(content_type);
    if !content_type.trim_start().get(..10).is_some_and(|it| it.eq_ignore_ascii_case("multipart/")) {
        return None;
    }
    let plain = |part: BodyPart<'a>, is_file| SignedPart {
        name: part.name.unwrap_or_default(),
        is_file,
        content: part.content,
    };
    let signed = |field| match field {
        FormField::Text(part) => Some(plain(part, false)),
        FormField::File(FilePart(part)) => Some(plain(part, true)),
        // A script sent text as a file.
        FormField::Json(name, value) => {
            Some(SignedPart { name, is_file: true, content: Cow::Owned(value.to_string().into_bytes()) })
        }
        FormField::Nothing => None,
    };
    let found = fields(&declared, body, &mut Loosened::default());
    Some(found.map(|it| it.into_iter().filter_map(signed).collect()))
}

/// Returns the file of this number.
pub(super) fn file<'a>(declared: &ContentType<'_>, body: &'a [u8], number: usize) -> Option<FilePart<'a>> {
    files(declared, body).into_iter().nth(number)
}

/// Returns all files, in their order.
pub(super) fn files<'a>(declared: &ContentType<'_>, body: &'a [u8]) -> Vec<FilePart<'a>> {
    let found = fields(declared, body, &mut Loosened::default()).unwrap_or_default();
    found.into_iter().filter_map(|it| if let FormField::File(file) = it { Some(file) } else { None }).collect()
}

fn fields<'a>(
    declared: &ContentType<'_>,
    body: &'a [u8],
    loosened: &mut Loosened,
) -> Result<Vec<FormField<'a>>, DecodeError> {
    let boundary = boundary(declared, body, loosened)?;
    Ok(parts(body, &boundary, loosened)?.into_iter().map(|part| field(part, loosened)).collect())
}

/// Returns the declared boundary, or that of the body's first line.
fn boundary(declared: &ContentType<'_>, body: &[u8], loosened: &mut Loosened) -> Result<String, DecodeError> {
    let occurs = |it: &String| memchr::memmem::find(body, format!("--{it}").as_bytes()).is_some();
    if let Some(boundary) = declared.parameter("boundary").filter(|it| !it.is_empty() && occurs(it)) {
        return Ok(boundary);
    }
    loosened.add("content-type");
    first_boundary(body).ok_or_else(|| broken("its boundary does not occur in it"))
}

/// Returns the boundary of a body that begins with one and a part's headers.
pub(super) fn first_boundary(body: &[u8]) -> Option<String> {
    let head = without_mark(body).trim_ascii_start().strip_prefix(b"--")?;
    let line = head.get(..head.len().min(BOUNDARY_LINE))?;
    let (line, after) = line.split_at(line.iter().position(|it| *it == b'\n')?);
    let text = std::str::from_utf8(line).ok()?.trim_end();
    let is_header = after.get(1..9).is_some_and(|it| it.eq_ignore_ascii_case(b"content-"));
    (is_header && !text.is_empty()).then(|| text.to_owned())
}

/// Recognises a file: by its name and the part's type together.
fn field<'a>(part: BodyPart<'a>, loosened: &mut Loosened) -> FormField<'a> {
    let labelled = part.file_name.as_deref();
    if labelled == Some("") && part.content.is_empty() {
        return FormField::Nothing;
    }
    if part.is_json()
        && let Ok(text) = std::str::from_utf8(&part.content)
        && let Ok(value) = json::read(text.trim_start_matches('\u{feff}'), loosened)
    {
        if labelled.is_some() {
            loosened.add("file");
        }
        return FormField::Json(part.name.unwrap_or_default(), value);
    }
    let named = labelled.is_some_and(|it| !it.is_empty() && it != BLOB);
    if named || !part.is_text() {
        return FormField::File(FilePart(part));
    }
    if labelled.is_some() {
        loosened.add("file");
    }
    FormField::Text(part)
}

/// The charsets of a form: of each part, of each field as another one says, and of all.
struct Charsets {
    named: Value,
    whole: Charset,
}

impl Charsets {
    fn of(declared: &ContentType<'_>, fields: &[FormField<'_>]) -> Result<Self, DecodeError> {
        let text = |name: &str| {
            let texts = fields.iter().filter_map(|it| if let FormField::Text(part) = it { Some(part) } else { None });
            texts.into_iter().find(|it| it.name.as_deref() == Some(name)).map(|it| &*it.content)
        };
        let named = text(CHARSETS_FIELD).and_then(|it| serde_json::from_slice(it).ok()).unwrap_or_default();
        let own = text(CHARSET_FIELD).filter(|it| !it.is_empty());
        let whole = match declared.charset().map_err(|label| unknown(&label))? {
            Some(charset) => charset,
            None => match own {
                Some(label) => Charset::named(label).ok_or_else(|| unknown(&String::from_utf8_lossy(label)))?,
                None => Charset::Of(UTF_8),
            },
        };
        Ok(Self { named, whole })
    }

    /// Decodes a part. One whose charset is not known is UTF-8 if it can be, as `unknown-8bit` of a mail program often
    /// is; otherwise one text would cost the whole email.
    fn text(&self, part: &BodyPart<'_>, loosened: &mut Loosened) -> Result<String, DecodeError> {
        let own = part.content_type.as_deref().map(ContentType::parse);
        let named = part.name.as_deref().and_then(|name| self.named.get(name)?.as_str());
        let charset = match (own.map_or(Ok(None), |it| it.charset()), named) {
            (Ok(Some(own)), _) => Ok(own),
            (Ok(None), Some(label)) => Charset::named(label.as_bytes()).ok_or_else(|| label.to_owned()),
            (Ok(None), None) => Ok(self.whole),
            (Err(label), _) => Err(label),
        };
        let text = match charset {
            Ok(charset) => charset.text(&part.content, loosened)?,
            Err(label) => {
                // In UTF-7, ASCII is not what it says.
                let is_plain = !label.to_ascii_lowercase().contains("utf-7");
                let text = Charset::Of(UTF_8).text(&part.content, loosened).ok().filter(|_| is_plain);
                loosened.add("charset");
                text.ok_or_else(|| unknown(&label))?
            }
        };
        Ok(text.into_owned())
    }
}

impl FilePart<'_> {
    /// Describes a file to schemas and plugins.
    fn described(&self, number: usize) -> Value {
        let sha256: String = Sha256::digest(&self.0.content).iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "name": self.0.file_name,
            "type": self.0.content_type.as_deref().unwrap_or("application/octet-stream"),
            "size": self.0.content.len(),
            "sha256": sha256,
            "file": number,
        })
    }
}
