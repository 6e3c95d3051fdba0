//! Finds a patient's id in a text: as a separate word, in any letter case and with any escapes.

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use super::escapes::{Escape, LEVELS, Level, folded};

/// Minimum number of characters of an id that is searched everywhere. A shorter one could be any number, so it
/// counts only if a field's name or the preceding words say that it is a patient's.
const LONG: usize = 4;
/// Maximum number of leading zeros of an id.
const ZEROS: usize = 64;
/// Maximum distance between the word "patient" and an id, in bytes, and the maximum number of words in between.
const NEAR: usize = 48;
const WORDS_BETWEEN: usize = 1;

/// How an id was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "PatientIdForm")]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A JSON number.
    Number,
    /// As given, as a separate word.
    Text,
    /// After a prefix that says what it names: `Patient/4712`, `urn:mrn:4712`, `patient-4712`.
    Reference,
    /// In another letter case.
    Case,
    /// With additional leading zeros, or without its own.
    LeadingZeros,
    /// `%34%37%31%32`
    PercentEncoded,
    /// `\u0034\u0037\u0031\u0032`
    JsonEscaped,
    /// `&#52;&#55;&#49;&#50;`
    XmlEscaped,
    /// `NDcxMg==`, also as a part of more text.
    Base64,
}

/// The id to search for.
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// The id as given.
    id: String,
    /// The id in lower case, and without leading zeros if these are ignored.
    needle: Finder<'static>,
    zeros: bool,
    short: bool,
}

impl Word {
    pub(super) fn new(id: &str, leading_zeros: bool) -> Self {
        let zeros = leading_zeros && id.bytes().all(|it| it.is_ascii_digit());
        let lower = folded(id);
        let stripped = if zeros { lower.trim_start_matches('0') } else { &lower };
        let needle = if stripped.is_empty() { lower.get(..1).unwrap_or_default() } else { stripped };
        let short = lower.chars().count() < LONG;
        Self { id: id.to_owned(), needle: Finder::new(needle).into_owned(), zeros, short }
    }

    /// Returns how the id is written in a text, if it occurs. `named`: a field's name already says that this is a
    /// patient's.
    pub(super) fn find(&self, text: &str, named: bool) -> Option<Form> {
        let mut level = Some(Level::first(text));
        for _ in 0..LEVELS {
            let it = level?;
            if let Some(at) = self.at(&it.text, named) {
                return Some(self.form(&it, at, text));
            }
            level = it.next();
        }
        None
    }

    /// Returns whether the whole text is this id.
    pub(super) fn is(&self, text: &str) -> bool {
        let lower = folded(text.trim());
        let stripped = if self.zeros { lower.trim_start_matches('0') } else { &lower };
        stripped.as_bytes() == self.needle.needle() || lower == folded(&self.id)
    }

    /// Returns the first place where the id is a separate word, including its leading zeros.
    fn at(&self, text: &str, named: bool) -> Option<std::ops::Range<usize>> {
        let mut from = 0;
        while let Some(found) = text.as_bytes().get(from..).and_then(|it| self.needle.find(it)) {
            let (found, end) = (from + found, from + found + self.needle.needle().len());
            let zeros = text.as_bytes()[..found].iter().rev().take(ZEROS).take_while(|it| self.zeros && **it == b'0');
            let start = found - zeros.count();
            // The match may begin inside a character; then it is not a match.
            if let (Some(before), Some(after)) = (text.get(..start), text.get(end..))
                && ends_before(after)
                && begins_after(before)
                && (named || !self.short || says_patient(before))
            {
                return Some(start..end);
            }
            from = found + 1;
        }
        None
    }

    fn form(&self, level: &Level, at: std::ops::Range<usize>, sent: &str) -> Form {
        match level.escape(at.clone()) {
            Escape::Percent => return Form::PercentEncoded,
            Escape::Json => return Form::JsonEscaped,
            Escape::Xml => return Form::XmlEscaped,
            Escape::None => {}
        }
        let (before, word) = (&level.text[..at.start], &level.text[at]);
        if word != folded(&self.id) {
            Form::LeadingZeros
        } else if before.ends_with(['/', ':', '-', '_']) && !before.ends_with("\":") {
            Form::Reference
        } else if sent.contains(&self.id) {
            Form::Text
        } else {
            Form::Case
        }
    }
}

fn is_of_a_word(it: char) -> bool {
    it.is_alphanumeric() || it == '-' || it == '_'
}

/// Checks the text after an id: 4712 is not part of 4712-9 or 4712.5, but a sentence may end after it.
fn ends_before(after: &str) -> bool {
    let mut after = after.chars();
    match after.next() {
        Some('.') => !after.next().is_some_and(|it| it.is_ascii_digit()),
        next => !next.is_some_and(is_of_a_word),
    }
}

/// Checks the text before an id: 4712 is not part of 14712, 2026-4712 or 0.4712, but it is part of patient-4712.
fn begins_after(before: &str) -> bool {
    let mut last = before.chars().rev();
    match last.next() {
        Some('.') => !last.next().is_some_and(|it| it.is_ascii_digit()),
        Some('-' | '_') => {
            let name = near(before).trim_end_matches(['-', '_']);
            let name = name.strip_suffix("id").map_or(name, |it| it.trim_end_matches(['-', '_']));
            name.ends_with("patient")
        }
        last => !last.is_some_and(is_of_a_word),
    }
}

/// Returns the end of a text, near the id.
fn near(text: &str) -> &str {
    (text.len().saturating_sub(NEAR)..=text.len()).find_map(|it| text.get(it..)).unwrap_or_default()
}

/// Returns whether the word "patient" is shortly before.
fn says_patient(before: &str) -> bool {
    let Some((_, between)) = near(before).rsplit_once("patient") else { return false };
    let rest = between.trim_start_matches(char::is_alphanumeric);
    rest.split(|it: char| !it.is_alphanumeric()).filter(|it| !it.is_empty()).count() <= WORDS_BETWEEN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(id: &str, text: &str) -> Option<Form> {
        Word::new(id, false).find(text, false)
    }

    #[test]
    fn it_is_found_in_every_form() {
        for (text, expected) in [
            ("4712", Form::Text),
            ("Please call patient 4712.", Form::Text),
            ("<id>4712</id>", Form::Text),
            ("a,4712,b", Form::Text),
            (r#"{"id":4712}"#, Form::Text),
            ("Patient/4712", Form::Reference),
            ("urn:mrn:4712", Form::Reference),
            ("PATIENT-4712", Form::Reference),
            ("patient_id_4712", Form::Reference),
            ("id=%34%37%31%32&b", Form::PercentEncoded),
            ("%2534%37%31%32", Form::PercentEncoded),
            ("id%3D4712%26", Form::Text),
            (r"\u0034712", Form::JsonEscaped),
            (r#"{"a":"{\"id\":\"\\u0034712\"}"}"#, Form::JsonEscaped),
            (r#""\n4712\n""#, Form::Text),
            ("&#52;&#x37;12", Form::XmlEscaped),
        ] {
            assert_eq!(form("4712", text), Some(expected), "{text}");
        }
        assert_eq!(form("Müller-7", "an MÜLLER-7!"), Some(Form::Case));
        assert_eq!(form("Müller-7", "m%C3%BCller-7"), Some(Form::PercentEncoded));
        assert_eq!(form("Müller-7", "m%FCller-7"), Some(Form::PercentEncoded));
        assert_eq!(form("a b1", "x=a+b1"), Some(Form::PercentEncoded));
        assert_eq!(form("😀-12", r"\ud83d\ude00-12"), Some(Form::JsonEscaped));
    }

    #[test]
    fn it_is_a_word_of_its_own() {
        for text in [
            "14712",
            "47120",
            "4712-9",
            "2026-4712",
            "4712_a",
            "a4712",
            "4712.5",
            "4712.0",
            "0.4712",
            "004712",
            "%204",
            "ä4712",
        ] {
            assert_eq!(form("4712", text), None, "{text}");
        }
        // A short id could be any number.
        assert_eq!(form("7", r#"{"patient":"x","n":"y","m":7}"#), None);
        assert_eq!(form("7", "room 7"), None);
        for text in ["Patient/7", "patient id: 7", "<patient><id>7</id>", r#"{"patient":{"id":7}}"#, "patient_id=7"] {
            assert!(form("7", text).is_some(), "{text}");
        }
    }

    #[test]
    fn leading_zeros_count_unless_they_are_not_to() {
        let any = |id: &str, text: &str| Word::new(id, true).find(text, false);
        assert_eq!(any("4712", "0004712"), Some(Form::LeadingZeros));
        assert_eq!(any("004712", "4712"), Some(Form::LeadingZeros));
        assert_eq!(any("004712", "004712"), Some(Form::Text));
        assert_eq!(any("4712", "10004712"), None);
        assert_eq!(any("a012", "a12"), None);
        assert!(Word::new("0047", true).is("47") && !Word::new("0047", false).is("47"));
    }

    /// Otherwise one body keeps an erasure, or the writer thread, busy for hours.
    #[test]
    fn hostile_texts_take_no_longer_than_others_of_their_size() {
        let size = 1 << 18;
        for text in ["0", "%", "%25", "\\", "\\\\", "&", "&amp;", "0000000000", "4712a", "patient", "-", "\\u005c", "+"]
        {
            let text = text.repeat(size / text.len());
            for id in ["4712", "0", "-", "patient", "00000"] {
                let word = Word::new(id, true);
                let _either_way = word.find(&text, true);
            }
        }
    }
}
