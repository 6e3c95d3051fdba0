//! Text from outside, with every character visible.

use maud::{Markup, html};

use crate::system::text::is_unprintable;

/// Longer texts are cut: a page is for reading.
const LONGEST: usize = 10_000;

/// Text in which control characters and those that change the direction of writing are marked, so that it cannot look like
/// another text (Unicode Technical Report 36). Long text is cut, and says so.
pub(in super::super) fn visible(text: &str) -> Markup {
    let shown = text.char_indices().nth(LONGEST).map_or(text, |(at, _)| &text[..at]);
    html! {
        @for (part, mark) in marked(shown) {
            (part)
            @if let Some(mark) = mark { span.mark title="a character that is not visible" { (name(mark)) } }
        }
        @if shown.len() < text.len() {
            span.muted { " … " (text.len() - shown.len()) " more bytes" }
        }
    }
}

/// Pieces of a text, each with the character behind it that must be marked.
fn marked(text: &str) -> Vec<(&str, Option<char>)> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((at, mark)) = rest.char_indices().find(|(_, it)| is_hidden(*it)) {
        parts.push((&rest[..at], Some(mark)));
        rest = &rest[at + mark.len_utf8()..];
    }
    parts.push((rest, None));
    parts
}

fn is_hidden(it: char) -> bool {
    it != '\n' && it != '\t' && is_unprintable(it)
}

/// U+0000 to U+001F have pictures; others are named by their number.
fn name(it: char) -> String {
    match u32::from(it) {
        code @ 0..=0x1f => char::from_u32(0x2400 + code).map(String::from).unwrap_or_default(),
        code => format!("U+{code:04X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a sender's text can look like another one, or hide what it says.
    #[test]
    fn hidden_characters_are_marked_and_markup_is_text() {
        let shown = visible("a\u{202e}b\u{0}<b>").into_string();
        assert!(shown.contains("U+202E") && shown.contains('\u{2400}') && shown.contains("&lt;b&gt;"), "{shown}");
        assert!(!shown.contains('\u{202e}'));
        assert!(visible(&"x".repeat(20_000)).into_string().contains("10000 more bytes"));
    }
}
