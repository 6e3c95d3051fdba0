//! URLs in messages: escaped, cut, and without secrets.

/// Most characters of a URL in a message.
const SHOWN: usize = 200;

/// A URL's path for a message: escaped, and cut. What may be a secret is left out: it follows an integration's name.
pub(super) fn shown(path: &str) -> String {
    let mut parts = path.split('/');
    let mut shown = String::new();
    while let Some(part) = parts.next() {
        shown.push_str(&escaped(part));
        shown.push('/');
        if part.eq_ignore_ascii_case("hooks") || one_letter_off("hooks", part) {
            if let Some(name) = parts.find(|it| !it.is_empty()) {
                shown.push_str(&escaped(name));
                shown.push('/');
            }
            if parts.next().is_some() {
                shown.push_str("…/");
            }
            break;
        }
    }
    shown.pop();
    if shown.chars().count() > SHOWN {
        shown = shown.chars().take(SHOWN).chain(['…']).collect();
    }
    shown
}

/// A part of a URL with everything but visible ASCII escaped.
pub(super) fn escaped(text: &str) -> String {
    let escape = |it: char| if it.is_ascii_graphic() { it.to_string() } else { it.escape_unicode().to_string() };
    text.chars().map(escape).collect()
}

/// Whether a segment is a word misspelled by one letter. Segments that are far longer are not compared: the distance costs a
/// step for each pair of letters.
pub(super) fn one_letter_off(word: &str, sent: &str) -> bool {
    sent.len() <= 2 * word.len() && strsim::osa_distance(word, &sent.to_ascii_lowercase()) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_in_a_message_is_escaped_and_cut_and_has_no_secret() {
        assert_eq!(shown("/v1/tasks/\u{1b}[31m"), "/v1/tasks/\\u{1b}[31m");
        assert_eq!(shown("//v1/Hook/fax/s3cret/more"), "//v1/Hook/fax/…");
        assert_eq!(shown("/v1/hooks/fax"), "/v1/hooks/fax");
        assert_eq!(shown(&"/x".repeat(500)).chars().count(), SHOWN + 1);
    }
}
