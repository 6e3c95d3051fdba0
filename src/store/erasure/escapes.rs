//! Decodes one level of character escapes in a text: percent-encoding, JSON escapes and XML references.
//!
//! All kinds are decoded in one pass from left to right, so text that is escaped several times is read level by
//! level. No level is longer than the previous one, and there are at most [`LEVELS`], so the time is linear.

/// Maximum number of levels: JSON text in a form field in JSON text has three.
pub(super) const LEVELS: usize = 4;

/// How a character was escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    None,
    Percent,
    Json,
    Xml,
}

/// A text in lower case, and how each of its bytes was escaped.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) text: String,
    /// Empty if nothing was escaped.
    escapes: Vec<Escape>,
}

impl Level {
    /// Returns the text as it was sent.
    pub(super) fn first(text: &str) -> Self {
        let text = if text.is_ascii() { text.to_ascii_lowercase() } else { folded(text) };
        Self { text, escapes: Vec::new() }
    }

    /// Decodes the next level; `None` if nothing is escaped.
    pub(super) fn next(&self) -> Option<Self> {
        memchr::memchr3(b'%', b'\\', b'&', self.text.as_bytes())
            .or_else(|| memchr::memchr(b'+', self.text.as_bytes()))?;
        let mut next = Self { text: String::with_capacity(self.text.len()), escapes: Vec::new() };
        next.escapes.reserve(self.text.len());
        let (mut rest, mut changed) = (self.text.as_str(), false);
        while let Some(first) = rest.chars().next() {
            let (escape, length) = match first {
                '%' => (Escape::Percent, percent(rest, &mut next)),
                '+' => (Escape::Percent, next.push(' ', Escape::Percent, 1)),
                '\\' => (Escape::Json, json(rest, &mut next)),
                '&' => (Escape::Xml, xml(rest, &mut next)),
                _ => (Escape::None, None),
            };
            changed |= length.is_some() && escape != Escape::None;
            let length = length.or_else(|| next.push(first, Escape::None, first.len_utf8())).unwrap_or(1);
            rest = rest.get(length..).unwrap_or_default();
        }
        changed.then_some(next)
    }

    /// Returns how the text in this range was escaped.
    pub(super) fn escape(&self, range: std::ops::Range<usize>) -> Escape {
        let written = self.escapes.get(range).unwrap_or_default();
        written.iter().copied().find(|it| *it != Escape::None).unwrap_or(Escape::None)
    }

    /// Appends a character whose escape has `length` bytes, and returns `length`.
    fn push(&mut self, character: char, escape: Escape, length: usize) -> Option<usize> {
        let before = self.text.len();
        self.text.extend(character.to_lowercase());
        self.escapes.resize(self.escapes.len() + self.text.len() - before, escape);
        Some(length)
    }
}

/// Simple case folding: each character by itself.
pub(super) fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Decodes `%34`, several of them if they form one character, and `%u0034`.
fn percent(rest: &str, to: &mut Level) -> Option<usize> {
    if let Some(unit) = rest.strip_prefix("%u").and_then(|it| hex(it, 4)) {
        return to.push(char::from_u32(unit)?, Escape::Percent, 6);
    }
    let byte =
        |at: usize| rest.get(at..)?.strip_prefix('%').and_then(|it| hex(it, 2)).and_then(|it| u8::try_from(it).ok());
    let first = byte(0)?;
    let length = if first < 0x80 { 1 } else { usize::try_from(first.leading_ones()).unwrap_or(1).clamp(1, 4) };
    let bytes: Vec<u8> = (0..length).map_while(|it| byte(it * 3)).collect();
    match std::str::from_utf8(&bytes).ok().and_then(|it| it.chars().next()) {
        Some(character) => to.push(character, Escape::Percent, bytes.len() * 3),
        // Latin 1, as old senders write it.
        None => to.push(char::from(first), Escape::Percent, 3),
    }
}

/// Decodes `\u0034` (two of them for a surrogate pair), `\x34`, `\n` and the like.
fn json(rest: &str, to: &mut Level) -> Option<usize> {
    let unit = |at: usize| rest.get(at..)?.strip_prefix("\\u").and_then(|it| hex(it, 4));
    if let Some(high) = unit(0) {
        if let Some(character) = char::from_u32(high) {
            return to.push(character, Escape::Json, 6);
        }
        let low = unit(6).filter(|it| (0xdc00..0xe000).contains(it))?;
        let both = 0x1_0000 + ((high.wrapping_sub(0xd800) & 0x3ff) << 10) + (low - 0xdc00);
        return to.push(char::from_u32(both)?, Escape::Json, 12);
    }
    if let Some(unit) = rest.strip_prefix("\\x").and_then(|it| hex(it, 2)) {
        return to.push(char::from_u32(unit)?, Escape::Json, 4);
    }
    let character = match rest.as_bytes().get(1)? {
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'b' | b'f' => ' ',
        b'"' => '"',
        b'\'' => '\'',
        b'\\' => '\\',
        b'/' => '/',
        _ => return None,
    };
    to.push(character, Escape::Json, 2)
}

/// Decodes `&#52;`, `&#x34;` and the five predefined entities of XML.
fn xml(rest: &str, to: &mut Level) -> Option<usize> {
    // The longest one is `&#x10ffff;`.
    let end = rest.bytes().take(12).position(|it| it == b';')?;
    let name = rest.get(1..end)?;
    let character = match name.strip_prefix('#') {
        Some(number) => match number.strip_prefix('x') {
            Some(number) => u32::from_str_radix(number, 16).ok().and_then(char::from_u32)?,
            None => number.parse().ok().and_then(char::from_u32)?,
        },
        None => match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            "nbsp" => ' ',
            _ => return None,
        },
    };
    to.push(character, Escape::Xml, end + 1)
}

fn hex(text: &str, digits: usize) -> Option<u32> {
    let digits = text.get(..digits).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()))?;
    u32::from_str_radix(digits, 16).ok()
}
