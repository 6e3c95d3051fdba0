//! A patient's id in a text: as a word of its own, whatever its letter case and however its characters are written.

use memchr::memmem::Finder;
use serde::{Deserialize, Serialize};

use super::escapes::{Escape, LEVELS, Level, folded};

/// An id of so many characters is looked for anywhere; a shorter one, which may be any number, only where a name or the words
/// before it say that it is a patient's.
const LONG: usize = 4;
/// Most zeros that may lead an id.
const ZEROS: usize = 64;
/// How far before an id the word "patient" may be, in bytes, and how many words may be in between.
const NEAR: usize = 48;
const WORDS_BETWEEN: usize = 1;

/// How an id was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A JSON number.
    Number,
    /// As it is, as a word of its own.
    Text,
    /// Behind what says what it names: `Patient/4712`, `urn:mrn:4712`, `patient-4712`.
    Reference,
    /// In another letter case.
    Case,
    /// With zeros before it, or without those that it has.
    LeadingZeros,
    /// `%34%37%31%32`
    PercentEncoded,
    /// `\u0034\u0037\u0031\u0032`
    JsonEscaped,
    /// `&#52;&#55;&#49;&#50;`
    XmlEscaped,
}

/// What is looked for.
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// As it was given.
    id: String,
    /// In lower case; without leading zeros, where those do not count.
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

    /// Whether a text may have it in any form; what may not need not be looked at any closer.
    pub(super) fn may_be_in(&self, text: &str) -> bool {
        let mut level = Some(Level::first(text));
        for _ in 0..LEVELS {
            let Some(it) = level else { return false };
            if self.needle.find(it.text.as_bytes()).is_some() {
                return true;
            }
            level = it.next();
        }
        false
    }

    /// How it is written in a text, if it is there. `named`: a name says already that this is a patient's.
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

    /// Whether a whole text is this id.
    pub(super) fn is(&self, text: &str) -> bool {
        let lower = folded(text.trim());
        let stripped = if self.zeros { lower.trim_start_matches('0') } else { &lower };
        stripped.as_bytes() == self.needle.needle() || lower == folded(&self.id)
    }

    /// The first place where it is a word of its own: where it begins, with its zeros, and ends.
    fn at(&self, text: &str, named: bool) -> Option<std::ops::Range<usize>> {
        let mut from = 0;
        while let Some(found) = text.as_bytes().get(from..).and_then(|it| self.needle.find(it)) {
            let (found, end) = (from + found, from + found + self.needle.needle().len());
            let zeros = text.as_bytes()[..found].iter().rev().take(ZEROS).take_while(|it| self.zeros && **it == b'0');
            let start = found - zeros.count();
            // A needle may begin in the middle of a character only if it is none.
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

/// 4712 is not in 4712-9, and not in 4712.5; a sentence may end behind it.
fn ends_before(after: &str) -> bool {
    let mut after = after.chars();
    match after.next() {
        Some('.') => !after.next().is_some_and(|it| it.is_ascii_digit()),
        next => !next.is_some_and(is_of_a_word),
    }
}

/// 4712 is not in 14712, not in 2026-4712, and not in 0.4712; it is in patient-4712.
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

/// The end of a text.
fn near(text: &str) -> &str {
    (text.len().saturating_sub(NEAR)..=text.len()).find_map(|it| text.get(it..)).unwrap_or_default()
}

/// Whether the word "patient" is just before.
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
        // A short one may be any number.
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
                let _either_way = (word.may_be_in(&text), word.find(&text, true));
            }
        }
    }
}
