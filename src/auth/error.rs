//! Why a request is not authenticated.

use super::scope::Scope;
use super::signature;

/// Why a request was rejected. The sender learns no more than [`AuthError`]'s text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No `X-API-Key` header.
    #[error("no API key: send it in the X-API-Key header, not as Authorization: Bearer")]
    NoKey,
    /// The key is unknown, expired or revoked; the response does not say which.
    #[error("the API key in X-API-Key is not valid")]
    WrongKey,
    /// The key is in quotation marks.
    #[error("the API key in X-API-Key is not valid: send it without quotation marks")]
    QuotedKey,
    /// The key lacks a scope.
    #[error("this API key lacks the scope {0}")]
    Scope(Scope),
    /// The request names a company that is not the key's.
    #[error("this API key belongs to another company than the one in company_id; leave company_id out")]
    OtherCompany,
    /// The signature is missing or does not match the body.
    #[error("{}", .0.for_sender())]
    Signature(signature::Mismatch),
    /// The password or the secret in the URL is missing or wrong.
    #[error("the request's credentials are missing or wrong")]
    Credentials(&'static str),
    /// The user name or the password is missing or wrong.
    #[error("the request's credentials are missing or wrong")]
    Password(&'static str),
    /// The integration's secret is not set on the server, so no sender can be authenticated.
    #[error("this integration cannot authenticate its senders yet: its secret is not set on the server")]
    NotConfigured,
}

impl AuthError {
    /// Returns the complete reason, for the admin but not for the sender.
    #[must_use]
    pub fn detail(&self) -> String {
        match self {
            Self::Signature(mismatch) => mismatch.to_string(),
            Self::Credentials(cause) | Self::Password(cause) => (*cause).to_owned(),
            other => other.to_string(),
        }
    }
}
