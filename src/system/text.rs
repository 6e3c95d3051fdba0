//! Makes untrusted text safe to print: texts of senders, plugins and folder names must not move an operator's
//! cursor, hide anything, or look like another line.

use std::fmt::{self, Write as _};

/// Returns whether a character is not visible as itself: controls (C0, DEL, C1), line and paragraph separators,
/// marks that change the writing direction, and invisible characters.
#[must_use]
pub fn is_unprintable(character: char) -> bool {
    matches!(
        character,
        '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Displays a text as one line, with escapes such as `\n` and `\u{1b}`.
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(self.0, f, |it| it.escape_default().to_string())
    }
}

/// Displays a JSON text with escapes such as `\u001b`, so that its value is unchanged. Line breaks are kept: in
/// JSON they are between values.
#[derive(Debug, Clone, Copy)]
pub struct PrintableJson<'a>(pub &'a str);

impl fmt::Display for PrintableJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escaped(self.0, f, |it| match it {
            '\n' => "\n".to_owned(),
            it => it.encode_utf16(&mut [0; 2]).iter().fold(String::new(), |mut text, unit| {
                let _into_a_string = write!(text, "\\u{unit:04x}");
                text
            }),
        })
    }
}

fn escaped(text: &str, f: &mut fmt::Formatter<'_>, escape: impl Fn(char) -> String) -> fmt::Result {
    let mut rest = text;
    while let Some(at) = rest.find(is_unprintable) {
        let (before, after) = rest.split_at(at);
        let mut characters = after.chars();
        f.write_str(before)?;
        characters.next().map_or(Ok(()), |it| f.write_str(&escape(it)))?;
        rest = characters.as_str();
    }
    f.write_str(rest)
}

#[cfg(test)]
mod tests {
    use super::{Printable, PrintableJson};

    #[test]
    fn what_does_not_show_itself_is_escaped_and_all_else_is_not() {
        let told = "M\u{fc}ller, 東京, 🦀 \"a\\b\" \t\r\n\u{1b}[2J\u{7f}\u{9b}\u{202e}\u{2066}\u{200b}\u{2028}\u{feff}\u{e0041}";
        let shown = "M\u{fc}ller, 東京, 🦀 \"a\\b\" \\t\\r\\n\\u{1b}[2J\\u{7f}\\u{9b}\\u{202e}\\u{2066}\\u{200b}\\u{2028}\\u{feff}\\u{e0041}";
        assert_eq!(Printable(told).to_string(), shown);
        assert_eq!(Printable("").to_string(), "");
    }

    #[test]
    fn json_stays_the_same_value() {
        let value = serde_json::json!({"a\u{7f}": "\u{9b}\u{202e}\u{e0041}\n\u{1b} ü"});
        for text in [value.to_string(), format!("{value:#}")] {
            let shown = PrintableJson(&text).to_string();
            assert!(!shown.replace('\n', "").contains(super::is_unprintable), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).ok().as_ref(), Some(&value));
        }
    }
}
