//! Bounds the text of an error.

/// Maximum length of a plugin's message, in bytes.
const MESSAGE_BYTES: usize = 1024;

/// Truncates a text to the maximum length of an error.
pub(crate) fn cut(text: &str) -> String {
    let end = (0..=MESSAGE_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text[..end].to_owned()
}
