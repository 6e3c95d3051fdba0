//! What is stored of a delivery's URL: the parameters that plugin.toml names, and the path after the integration's name if it
//! asks for it. Whatever proves the sender is neither stored nor passed on.

use super::live::Integration;
use crate::auth::sender::{HandshakeProof, Sender};
use crate::auth::signature::ValueSource;
use crate::model::sent_url::{REMOVED, SentParameter};

/// Maximum size of what is stored of a URL, in bytes.
pub const URL_BYTES: usize = 8 * 1024;
/// Maximum number of other parameters whose names are stored.
const OTHERS: usize = 32;
/// Maximum length of the name of another parameter, in bytes. A longer text may be something else than a name.
const OTHER_NAME: usize = 64;

/// Query and path of a delivery, as they are stored.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SentUrl {
    /// The parameters, in the order in which they were sent.
    pub query: Vec<SentParameter>,
    /// The rest of the path.
    pub path: String,
}

impl Integration {
    /// Returns what is stored of a URL; `None` if it is larger than [`URL_BYTES`]. `query` is the query as sent, `rest` the
    /// decoded path after the name, and `in_url` the secret in the path, right or wrong.
    #[must_use]
    pub fn sent_url(&self, query: &str, rest: &str, in_url: Option<&str>) -> Option<SentUrl> {
        let hidden = |text: &str| self.auth.is_in(text, in_url) || self.secrets.are_in(text);
        let (mut kept, mut others, mut omitted, mut bytes) = (Vec::new(), 0, 0_usize, 0);
        for pair in query.split('&').filter(|it| !it.is_empty()) {
            let (name, value) = pair.split_once('=').map_or((pair, None), |(name, value)| (name, Some(value)));
            let (name, sent) = (decoded(name), decoded(value.unwrap_or_default()));
            if hidden(&name) {
                omitted += 1;
            } else if self.query.contains(&name) {
                let value = Some(sent).filter(|it| !hidden(it));
                bytes += name.len() + value.as_ref().map_or(0, String::len);
                kept.push(SentParameter { name, value });
            } else if value.is_some() && is_name(&name) && others < OTHERS {
                others += 1;
                kept.push(SentParameter { name, value: None });
            } else {
                omitted += 1;
            }
        }
        if omitted > 0 {
            kept.push(SentParameter { name: format!("(and {omitted} more)"), value: None });
        }
        let path = match rest {
            "" => String::new(),
            rest if !self.path || hidden(rest) => REMOVED.to_owned(),
            rest => rest.to_owned(),
        };
        (bytes + path.len() <= URL_BYTES).then_some(SentUrl { query: kept, path })
    }

    /// Returns the parameters that the plugin gets.
    pub(super) fn passed_query(&self, query: &[SentParameter]) -> Vec<(String, String)> {
        let named = query.iter().filter(|it| self.query.contains(&it.name));
        named.filter_map(|it| Some((it.name.clone(), it.value.clone()?))).collect()
    }
}

/// Whether a text is certainly the name of a parameter. Another one may be a value, or a secret without a name.
fn is_name(text: &str) -> bool {
    let plain = |it: u8| it.is_ascii_alphanumeric() || b"_-.[]:$".contains(&it);
    !text.is_empty() && text.len() <= OTHER_NAME && text.bytes().all(plain)
}

/// Decodes a name or a value of a query. What is not UTF-8 then stays as it was sent, so that nothing is replaced.
fn decoded(sent: &str) -> String {
    let bytes = super::sender::decoded(sent.replace('+', " ").as_bytes());
    String::from_utf8(bytes).unwrap_or_else(|_| sent.to_owned())
}

/// Returns whether one of a sender's questions has a secret in this parameter.
pub(super) fn asks_with(sender: &Sender, parameter: &str) -> bool {
    let is_it =
        |source: &ValueSource| matches!(source, ValueSource::Query(name) if name.eq_ignore_ascii_case(parameter));
    sender.handshakes.iter().any(|it| {
        let proved = if let HandshakeProof::Secret { source, .. } = &it.proof { is_it(source) } else { false };
        proved || it.learn.as_ref().is_some_and(is_it)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a mapper sees other values than were sent, without anybody noticing.
    #[test]
    fn a_part_of_a_query_is_decoded_once_and_never_replaced() {
        for (sent, decoded_to) in [
            ("a+b%20c", "a b c"),
            ("%C3%A9", "é"),
            ("%2541", "%41"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%FF+x", "%FF+x"),
            ("%2B", "+"),
        ] {
            assert_eq!(decoded(sent), decoded_to, "{sent}");
        }
    }

    #[test]
    fn only_what_is_certainly_a_name_is_shown_as_one() {
        for name in ["a", "utm_source", "hub.mode", "filter[x]", "A-1"] {
            assert!(is_name(name), "{name}");
        }
        for other in ["", "a b", "eyJhbGciOi=", "é", "\u{1b}[31m", &"a".repeat(65)] {
            assert!(!is_name(other), "{other}");
        }
    }
}
