//! The parts of a multipart body (RFC 2046 section 5.1), with what their headers say (RFC 7578, RFC 8187).

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use encoding_rs::Encoding;
use memchr::memmem::Finder;

use super::charset::header;
use super::content_type::{ContentType, parameters};
use super::decode_error::DecodeError;
use super::decoded::Loosened;
use super::form_tree;

/// Maximum size of a part's headers, in bytes.
const HEADERS: usize = 16 * 1024;
/// base64 as mail programs write it, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A part of a multipart body.
#[derive(Debug)]
pub(super) struct BodyPart<'a> {
    /// Name of the field, if it has one.
    pub(super) name: Option<String>,
    /// Name of the file, if it has one.
    pub(super) file_name: Option<String>,
    pub(super) content_type: Option<String>,
    /// The content, without its transfer encoding.
    pub(super) content: Cow<'a, [u8]>,
}

/// Splits a body into its parts.
///
/// What is before the first boundary or after the last one is not a part (RFC 2046 section 5.1.1), and is named.
///
/// # Errors
/// Fails if the boundary does not occur, if the end is missing, if there are too many parts, or if the first boundary
/// is not a line of its own.
pub(super) fn parts<'a>(
    body: &'a [u8],
    boundary: &str,
    loosened: &mut Loosened,
) -> Result<Vec<BodyPart<'a>>, DecodeError> {
    let body = without_mark(body);
    let boundary = format!("--{boundary}");
    let mut delimiters = Delimiters { body, boundary: Finder::new(&boundary), at: 0 };
    let Some((before, mut start, mut last)) = delimiters.next() else {
        return Err(broken("its boundary does not occur in it"));
    };
    let preamble = body.get(..before).unwrap_or_default();
    if !preamble.trim_ascii().is_empty() {
        // Otherwise the part that follows is lost, because its boundary is not a line of its own.
        if last || delimiters.boundary.find(preamble).is_some() {
            return Err(broken("it does not begin with its boundary"));
        }
        loosened.add("preamble");
    }
    let (mut found, mut lines) = (Vec::new(), 1);
    while !last {
        let Some((end, next, is_last)) = delimiters.next() else { return Err(broken("it ends in the middle")) };
        lines += 1;
        if lines > form_tree::FIELDS + 1 {
            return Err(form_tree::too_many());
        }
        // Two boundaries without anything between them are not a part.
        if let Some(bytes) = body.get(start..end) {
            found.push(part(bytes)?);
        }
        (start, last) = (next, is_last);
    }
    if !body.get(start..).unwrap_or_default().trim_ascii().is_empty() {
        loosened.add("epilogue");
    }
    Ok(found)
}

/// Removes a byte order mark.
pub(super) fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

pub(super) fn broken(message: &str) -> DecodeError {
    DecodeError::Form { message: message.to_owned() }
}

/// The lines that are boundaries: where the part before each ends, where the next one starts, and whether it is the
/// last one.
struct Delimiters<'a> {
    body: &'a [u8],
    boundary: Finder<'a>,
    at: usize,
}

impl Iterator for Delimiters<'_> {
    type Item = (usize, usize, bool);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let found = self.at + self.boundary.find(self.body.get(self.at..)?)?;
            self.at = found + self.boundary.needle().len();
            let before = self.body.get(..found)?;
            // Checked first, so that each line is read only once, however often the boundary is in it.
            if !before.is_empty() && !before.ends_with(b"\n") {
                continue;
            }
            let after = self.body.get(self.at..)?;
            let line = after.iter().position(|it| *it == b'\n').map_or(after.len(), |end| end + 1);
            let is_last = after.starts_with(b"--");
            let is_blank = after.get(..line)?.iter().all(u8::is_ascii_whitespace);
            // Otherwise the boundary is within a text, or the start of a longer one.
            if is_last || is_blank {
                let end = before.strip_suffix(b"\n").unwrap_or(before);
                let end = end.strip_suffix(b"\r").unwrap_or(end).len();
                self.at += line;
                return Some((end, self.at, is_last));
            }
        }
    }
}

fn part(bytes: &[u8]) -> Result<BodyPart<'_>, DecodeError> {
    let (headers, content) = split(bytes)?;
    let (mut part, mut transfer) =
        (BodyPart { name: None, file_name: None, content_type: None, content: Cow::Borrowed(content) }, String::new());
    for line in unfolded(&header(headers)) {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.trim().to_ascii_lowercase().as_str() {
            "content-disposition" => part.disposition(value),
            "content-type" => part.content_type = Some(value.trim().to_owned()),
            "content-transfer-encoding" => transfer = value.trim().to_ascii_lowercase(),
            _ => {}
        }
    }
    match transfer.as_str() {
        "base64" => {
            let compact: Vec<u8> = content.iter().copied().filter(|it| !it.is_ascii_whitespace()).collect();
            let decoded = BASE64.decode(compact).map_err(|_| broken("a part says that it is base64, and is not"))?;
            part.content = decoded.into();
        }
        "quoted-printable" => part.content = quoted_printable(content).into(),
        _ => {}
    }
    Ok(part)
}

/// Splits the headers of a part from its content.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    if let Some(content) = bytes.strip_prefix(b"\r\n").or_else(|| bytes.strip_prefix(b"\n")) {
        return Ok((&[], content));
    }
    let head = bytes.get(..HEADERS).unwrap_or(bytes);
    let ends = [&b"\r\n\r\n"[..], b"\n\n"].map(|end| memchr::memmem::find(head, end).map(|at| (at, at + end.len())));
    match ends.into_iter().flatten().min() {
        Some((end, start)) => Ok((bytes.get(..end).unwrap_or_default(), bytes.get(start..).unwrap_or_default())),
        // Headers without content.
        None if bytes.len() < HEADERS => Ok((bytes, &[])),
        None => Err(broken("the headers of a part are too long")),
    }
}

/// Joins header lines that continue on the next one.
fn unfolded(headers: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in headers.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push(' ');
                last.push_str(line.trim());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

impl BodyPart<'_> {
    fn disposition(&mut self, value: &str) {
        let named = parameters(value.split_once(';').map_or("", |(_, rest)| rest));
        let find = |name: &str| named.iter().find(|(it, _)| it == name).map(|(_, value)| value.clone());
        let extended = |name: &str| find(&format!("{name}*")).and_then(|it| extended_value(&it));
        self.name = extended("name").or_else(|| find("name"));
        self.file_name = extended("filename").or_else(|| find("filename"));
    }

    /// Returns whether the part's type says that it is text.
    pub(super) fn is_text(&self) -> bool {
        let Some(content_type) = &self.content_type else { return true };
        let essence = ContentType::parse(content_type).essence;
        essence.is_empty()
            || essence.starts_with("text/")
            || essence == "application/x-www-form-urlencoded"
            || essence.ends_with("xml")
            || self.is_json()
    }

    /// Returns whether the part's type says that it is JSON.
    pub(super) fn is_json(&self) -> bool {
        let essence = self.content_type.as_deref().map(|it| ContentType::parse(it).essence).unwrap_or_default();
        matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
    }
}

/// Decodes `UTF-8''na%C3%AFve.pdf` (RFC 8187 section 3.2).
fn extended_value(text: &str) -> Option<String> {
    let (charset, rest) = text.split_once('\'')?;
    let (_language, value) = rest.split_once('\'')?;
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if let (b'%', [high, low, after @ ..]) = (first, after)
            && let Ok(byte) = u8::from_str_radix(std::str::from_utf8(&[*high, *low]).unwrap_or_default(), 16)
        {
            bytes.push(byte);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    let charset = Encoding::for_label_no_replacement(charset.trim().as_bytes())?;
    charset.decode_without_bom_handling_and_without_replacement(&bytes).map(Cow::into_owned)
}

/// Decodes quoted-printable (RFC 2045 section 6.7). What is not an escape is itself.
fn quoted_printable(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'=', [b'\r', b'\n', after @ ..] | [b'\n', after @ ..]) => rest = after,
            (b'=', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                bytes.push(u8::from_str_radix(digits, 16).unwrap_or_default());
                rest = after;
            }
            (other, _) => bytes.push(*other),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(part: &str) -> BodyPart<'_> {
        super::part(part.as_bytes()).unwrap()
    }

    /// Otherwise a file that a browser, a mail program or a script names in its own way is taken for text.
    #[test]
    fn headers_are_read_as_senders_write_them() {
        let part = one("Content-Disposition: form-data; name=\"fax\"; filename*=UTF-8''na%C3%AFve%20R.pdf\r\n\r\nx");
        assert_eq!((part.name.as_deref(), part.file_name.as_deref()), (Some("fax"), Some("naïve R.pdf")));
        let part = one("content-disposition:form-data;name=a;filename=\"a\\\"b;c.txt\"\nContent-Type: text/plain\n\nx");
        assert_eq!((part.name.as_deref(), part.file_name.as_deref()), (Some("a"), Some("a\"b;c.txt")));
        let part = one("Content-Disposition: form-data;\r\n\tname=\"a\";\r\n filename=\"C:\\x\\R.pdf\"\r\n\r\n");
        assert_eq!(part.file_name.as_deref(), Some("C:\\x\\R.pdf"));
        let part = one("Content-Disposition: form-data; name=a; filename*=iso-8859-1'de'%E9; filename=e\r\n\r\n");
        assert_eq!(part.file_name.as_deref(), Some("é"));
        let part = one("Content-Disposition: form-data; name=a; filename*=broken; filename=e\r\n\r\n");
        assert_eq!(part.file_name.as_deref(), Some("e"));
        assert_eq!(&*one("\r\nbare").content, b"bare");
    }

    #[test]
    fn transfer_encodings_are_removed() {
        let base64 = one("Content-Transfer-Encoding: BASE64\r\n\r\naGVs\r\nbG8");
        assert_eq!(&*base64.content, b"hello");
        let printable = one("Content-Transfer-Encoding: quoted-printable\r\n\r\nJ=C3=BCrgen =\r\n=3D a=b");
        assert_eq!(&*printable.content, "Jürgen = a=b".as_bytes());
        assert!(part(b"Content-Transfer-Encoding: base64\r\n\r\n***").is_err());
    }

    /// Otherwise a file that contains a boundary's beginning is cut, or the rest of a cut body is lost silently.
    #[test]
    fn parts_end_at_their_boundary_only() {
        let contents = |body: &str| {
            parts(body.as_bytes(), "a", &mut Loosened::default())
                .map(|it| it.iter().map(|it| it.content.to_vec()).collect::<Vec<_>>())
        };
        let body = "preamble\r\n--a\r\n\r\nx --a y\r\n--ab\r\n--a \r\n\r\n\r\n--a--\r\nepilogue";
        assert_eq!(contents(body).unwrap(), [b"x --a y\r\n--ab".to_vec(), Vec::new()]);
        assert_eq!(contents("--a\n\nx\n--a--").unwrap(), [b"x".to_vec()]);
        for body in ["--a\r\n\r\nx\r\n", "--b\r\n\r\nx\r\n--b--", "", "--a"] {
            assert!(contents(body).is_err(), "{body}");
        }
    }

    /// Otherwise fields are dropped without a word, because of a byte order mark or a line that is not a boundary.
    #[test]
    fn what_is_before_the_first_boundary_is_named_or_refused() {
        let read = |body: &str| {
            let mut loosened = Loosened::default();
            parts(body.as_bytes(), "a", &mut loosened).map(|it| (it.len(), loosened.header_value().unwrap_or_default()))
        };
        for (body, count, loosened) in [
            ("\u{feff}--a\r\n\r\nx\r\n--a--", 1, ""),
            ("\r\n--a\r\n\r\nx\r\n--a--\r\n", 1, ""),
            ("a MIME message\r\n--a\r\n\r\nx\r\n--a--", 1, "preamble"),
            ("--a\r\n\r\nx\r\n--a--\r\n--a\r\n\r\ny\r\n--a--", 1, "epilogue"),
            ("--a--", 0, ""),
        ] {
            assert_eq!(read(body), Ok((count, loosened.to_owned())), "{body}");
        }
        for body in ["x--a\r\n\r\nx\r\n--a--", " --a\r\n\r\nx\r\n--a\r\n\r\ny\r\n--a--", "text\r\n--a--"] {
            assert!(read(body).is_err(), "{body}");
        }
    }

    /// Otherwise one request without a key keeps a core busy for minutes, and all large deliveries wait for it.
    #[test]
    fn a_boundary_that_is_everywhere_takes_linear_time() {
        let size = 1 << 20;
        let of = |text: &str| format!("--a\r\n\r\n{}", text.repeat(size / text.len()));
        // Each of these took minutes when a line was read again for each boundary in it.
        for text in ["x--a", "x--a \r", "-"] {
            assert!(parts(of(text).as_bytes(), "a", &mut Loosened::default()).is_err(), "{text}");
        }
        let lines = of("--a\n");
        assert_eq!(parts(lines.as_bytes(), "a", &mut Loosened::default()).unwrap_err(), form_tree::too_many());
    }
}
