//! A delivery whose signature is checked, and how the check can fail.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use hyper::header::HeaderMap;

/// Maximum difference between a sender's clock and ours, in both directions: as recommended by Stripe, Slack and
/// Standard Webhooks.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// A delivery before its body has been read.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Method of the request.
    pub method: &'a str,
    /// Path of the URL, as sent.
    pub path: &'a str,
    /// Headers of the delivery.
    pub headers: &'a HeaderMap,
    /// Query of the URL, as sent.
    pub query: &'a str,
    /// When its headers were received.
    pub received_at: DateTime<Utc>,
}

impl<'a> Delivery<'a> {
    /// Returns a header's text, trimmed. It must occur once: if there were two, a proxy might use the other one.
    pub(crate) fn header(&self, name: &str) -> Result<&'a str, Mismatch> {
        let mut values = self.headers.get_all(name).into_iter();
        let value = values.next().ok_or_else(|| Mismatch::Missing { header: name.to_owned() })?;
        if values.next().is_some() {
            return Err(Mismatch::Repeated { header: name.to_owned() });
        }
        value.to_str().map(str::trim).map_err(|_| Mismatch::malformed(name, "it is not ASCII"))
    }

    /// Returns a parameter of the query, decoded. It must occur once.
    pub(crate) fn parameter(&self, name: &str) -> Result<Cow<'a, str>, Mismatch> {
        let place = || format!("the parameter {name} in the URL");
        let mut values = form_urlencoded::parse(self.query.as_bytes()).filter(|(it, _)| it == name);
        let (_, value) = values.next().ok_or_else(|| Mismatch::Absent { place: place() })?;
        if values.next().is_some() {
            return Err(Mismatch::Unreadable { place: place(), cause: "it was sent more than once" });
        }
        Ok(value)
    }
}

/// Which check failed: for the admin, in the list of events. The sender gets [`Mismatch::for_sender`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// A header is missing.
    #[error("the header {header} is missing")]
    Missing {
        /// Name of the header.
        header: String,
    },
    /// A header occurs more than once.
    #[error("the header {header} was sent more than once")]
    Repeated {
        /// Name of the header.
        header: String,
    },
    /// A value in the URL, the body or a token is missing.
    #[error("{place} is missing")]
    Absent {
        /// Where it must be.
        place: String,
    },
    /// A value in the URL, the body or a token is invalid.
    #[error("{place} cannot be read: {cause}")]
    Unreadable {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// A static token is not one of the secrets.
    #[error("the token in {place} is wrong")]
    Token {
        /// Where it is.
        place: String,
    },
    /// A JSON Web Token is not valid.
    #[error("the token in {place} is not valid: {cause}")]
    Jwt {
        /// Where it is.
        place: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// A value that another kind of delivery has, whose signed text differs.
    #[error("{place} must be absent")]
    Present {
        /// Where it is.
        place: String,
    },
    /// There are more signatures than are checked.
    #[error("the header {header} contains more than {most} signatures")]
    TooMany {
        /// Name of the header.
        header: String,
        /// Maximum number of signatures.
        most: usize,
    },
    /// The form has too many fields to sort.
    #[error("the form has more than {most} fields")]
    Fields {
        /// Maximum number of fields.
        most: usize,
    },
    /// A header has an invalid value.
    #[error("the header {header} cannot be read: {cause}")]
    Malformed {
        /// Name of the header.
        header: String,
        /// What is wrong with the value.
        cause: &'static str,
    },
    /// It was signed too long ago, or in the future.
    #[error(
        "it was signed {seconds} s {when} it was received, and {allowed} s are allowed; check the clocks, and whether it was sent again"
    )]
    Time {
        /// Time difference, in seconds.
        seconds: u64,
        /// `before` or `after`.
        when: &'static str,
        /// Maximum time difference, in seconds.
        allowed: i64,
    },
    /// The signature does not match.
    #[error(
        "no signature in {header} matches the body with any of the {secrets} secrets; {}check that the sender uses the same secret, and that no proxy changes the body",
        if *.signs_url { "check that `url` in [auth] is exactly the address that is entered at the sender, then " } else { "" }
    )]
    Wrong {
        /// The header with the signature.
        header: String,
        /// Number of secrets that were tried.
        secrets: usize,
        /// Whether the URL is signed as well.
        signs_url: bool,
    },
    /// A digest of the body does not match it.
    #[error("{place} does not match the body")]
    BodyHash {
        /// Where the digest is.
        place: String,
    },
}

impl Mismatch {
    /// Returns what the sender learns: the header and what is wrong with it, but neither how many secrets there are nor
    /// how far the clocks differ.
    #[must_use]
    pub fn for_sender(&self) -> String {
        match self {
            Self::Missing { header } => format!("the header {header} is missing; this integration checks it"),
            Self::Repeated { .. } | Self::Malformed { .. } => self.to_string(),
            Self::TooMany { header, .. } => format!("the header {header} contains too many signatures"),
            Self::Fields { .. } => "the form has too many fields".into(),
            Self::Time { .. } => {
                "the signature's time is too long ago or in the future; send a new signature, and check the clock"
                    .into()
            }
            Self::Wrong { header, .. } => format!(
                "the signature in {header} is wrong: it does not match the body; check the secret, and sign the body byte for byte as it is sent"
            ),
            Self::BodyHash { .. }
            | Self::Absent { .. }
            | Self::Unreadable { .. }
            | Self::Token { .. }
            | Self::Jwt { .. }
            | Self::Present { .. } => self.to_string(),
        }
    }

    pub(crate) fn malformed(header: &str, cause: &'static str) -> Self {
        Self::Malformed { header: header.to_owned(), cause }
    }
}
