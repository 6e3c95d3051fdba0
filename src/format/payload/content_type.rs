//! Reads a content type leniently: only the type, the charset and the boundary matter.

use super::named_charset::Charset;

/// The format that a content type declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFormat {
    Json,
    Form,
    Multipart,
    Lines,
    Xml,
    Other,
}

/// Types that can begin a content type, to find several of them in one header.
const TOP_LEVELS: [&str; 8] =
    ["application/", "text/", "multipart/", "image/", "audio/", "video/", "message/", "model/"];

/// A content type. If the header was sent more than once, its values are joined by commas, and the most telling one
/// is used.
#[derive(Debug, Clone)]
pub(super) struct ContentType<'a> {
    pub(super) format: BodyFormat,
    /// The type in lower case, without parameters.
    pub(super) essence: String,
    parameters: &'a str,
    /// Whether there were several.
    pub(super) repeated: bool,
}

impl<'a> ContentType<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let pieces = pieces(text);
        let repeated = pieces.len() > 1;
        let rank = |it: &Self| match it.format {
            BodyFormat::Multipart => 0,
            BodyFormat::Form => 1,
            BodyFormat::Json | BodyFormat::Xml | BodyFormat::Lines => 2,
            BodyFormat::Other => 3,
        };
        let best = pieces.into_iter().map(Self::one).min_by_key(rank).unwrap_or_else(|| Self::one(""));
        Self { repeated, ..best }
    }

    fn one(text: &'a str) -> Self {
        let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
        let essence = essence.trim().to_ascii_lowercase();
        Self { format: format_of(&essence), essence, parameters, repeated: false }
    }

    /// Returns a parameter's value, without its quotes. An unquoted value ends at the next semicolon only, because
    /// boundaries such as `----=_Part_7_1.2` are sent without quotes.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        parameters(self.parameters).into_iter().find(|(it, _)| it == name).map(|(_, value)| value)
    }

    /// Returns the declared charset; the error is its name, if it is not known.
    pub(super) fn charset(&self) -> Result<Option<Charset>, String> {
        let Some(label) = self.parameter("charset").filter(|it| !it.trim().is_empty()) else { return Ok(None) };
        let plain = label.trim_matches(|it: char| it.is_whitespace() || it == '\'');
        Charset::named(plain.as_bytes()).map(Some).ok_or(label)
    }
}

fn format_of(essence: &str) -> BodyFormat {
    match essence {
        "application/json" | "text/json" => BodyFormat::Json,
        "application/x-www-form-urlencoded" => BodyFormat::Form,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            BodyFormat::Lines
        }
        "application/xml" | "text/xml" => BodyFormat::Xml,
        // RFC 6839 section 3.1 and RFC 7303 section 4.2.
        other if other.ends_with("+json") => BodyFormat::Json,
        other if other.ends_with("+xml") => BodyFormat::Xml,
        other if other.starts_with("multipart/") => BodyFormat::Multipart,
        _ => BodyFormat::Other,
    }
}

/// Splits `application/json, text/plain`; a comma in a parameter does not split.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        let rest = || text.get(at + 1..).unwrap_or_default().trim_start().as_bytes();
        let begins = |top: &str| rest().get(..top.len()).is_some_and(|it| it.eq_ignore_ascii_case(top.as_bytes()));
        match byte {
            b'"' => quoted = !quoted,
            b',' if !quoted && TOP_LEVELS.iter().any(|it| begins(it)) => {
                pieces.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(text.get(start..).unwrap_or_default());
    pieces
}

/// Splits `; name=value; other="quoted"`. Names are in lower case.
pub(super) fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        // A parameter without a value has no equals sign.
        let name = name.rsplit(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let (value, after) = value(after);
        found.push((name, value));
        rest = after;
    }
    found
}

/// Splits a parameter's value from what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return (value.trim().to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, quoted[at + 1..].split_once(';').map_or("", |(_, rest)| rest)),
            // Browsers send the backslashes of a path as they are.
            '\\' if quoted[at + 1..].starts_with(['"', '\\']) => {
                value.extend(characters.next().map(|(_, it)| it));
            }
            other => value.push(other),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a sender whose boundary or charset is not written as the RFC says gets 400 for every delivery.
    #[test]
    fn parameters_are_found_however_they_are_written() {
        for (text, boundary) in [
            ("multipart/form-data; boundary=----=_Part_7_1.2", "----=_Part_7_1.2"),
            ("multipart/form-data; boundary=XX ; charset=utf-8", "XX"),
            ("multipart/form-data; charset=utf-8; boundary=\"a b;c\"", "a b;c"),
            ("MULTIPART/FORM-DATA;BOUNDARY=Xy", "Xy"),
            ("multipart/form-data; boundary = XX", "XX"),
            ("multipart/form-data; x; boundary=X,Y", "X,Y"),
            ("multipart/form-data; boundary=\"a\\\"b\"; q=1", "a\"b"),
        ] {
            let parsed = ContentType::parse(text);
            assert_eq!(parsed.format, BodyFormat::Multipart, "{text}");
            assert_eq!(parsed.parameter("boundary").as_deref(), Some(boundary), "{text}");
        }
        assert_eq!(ContentType::parse("multipart/form-data").parameter("boundary"), None);
    }

    /// Otherwise a header that a proxy repeats decides at random how a body is read.
    #[test]
    fn the_most_telling_of_several_types_is_used() {
        let form = ContentType::parse("application/json, application/x-www-form-urlencoded; charset=latin1");
        assert!(form.repeated && form.format == BodyFormat::Form);
        assert_eq!(form.charset(), Ok(Some(Charset::Of(encoding_rs::WINDOWS_1252))));
        let twice = ContentType::parse("application/json, application/json");
        assert!(twice.repeated && twice.format == BodyFormat::Json);
        assert!(!ContentType::parse("application/json; profile=\"a, text/plain\"").repeated);
        assert_eq!(ContentType::parse("text/plain; charset=utf-7").charset(), Err("utf-7".into()));
        assert_eq!(ContentType::parse("").format, BodyFormat::Other);
    }
}
