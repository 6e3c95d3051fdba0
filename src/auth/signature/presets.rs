//! The providers' signature schemes, from their own documentation.

use serde::Deserialize;

use super::hmac::{Algorithm, SignatureEncoding};
use super::rule::{Clock, Described, SecretFormat, SignatureFormat, SignatureRule};

/// A provider whose signature is an HMAC over the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
    StandardWebhooks,
    /// <https://docs.stripe.com/webhooks#verify-manually>
    Stripe,
    /// <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>
    Github,
    /// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
    Slack,
    /// <https://shopify.dev/docs/apps/build/webhooks/subscribe/https>
    Shopify,
    /// <https://developer.calendly.com/api-docs/4c305798a61d3-webhook-signatures>
    Calendly,
    /// <https://www.typeform.com/developers/webhooks/secure-your-webhooks/>
    Typeform,
}

impl Preset {
    pub(super) fn rule(self) -> SignatureRule {
        use SignatureEncoding::{Base64, Hex};
        match self {
            Self::StandardWebhooks => SignatureRule {
                written: SignatureFormat::Words { version: "v1" },
                clock: Clock::Header("webhook-timestamp".into()),
                id_header: Some("webhook-id".into()),
                secrets: SecretFormat::Whsec,
                ..whole("webhook-signature", "", Base64)
            }
            .with_payload("{id}.{timestamp}.{body}"),
            Self::Stripe => beside_time("stripe-signature"),
            Self::Calendly => beside_time("calendly-webhook-signature"),
            Self::Github => whole("x-hub-signature-256", "sha256=", Hex),
            Self::Slack => SignatureRule {
                clock: Clock::Header("x-slack-request-timestamp".into()),
                ..whole("x-slack-signature", "v0=", Hex)
            }
            .with_payload("v0:{timestamp}:{body}"),
            Self::Shopify => whole("x-shopify-hmac-sha256", "", Base64),
            Self::Typeform => whole("typeform-signature", "sha256=", Base64),
        }
    }
}

/// A scheme whose header is the signature of the body.
fn whole(header: &str, prefix: &str, encoding: SignatureEncoding) -> SignatureRule {
    SignatureRule::new(&Described {
        header,
        prefix,
        encoding,
        algorithm: Algorithm::Sha256,
        timestamp_header: None,
        id_header: None,
        payload: "{body}",
    })
}

/// A scheme with `t=…,v1=…`, over the time, a dot and the body.
fn beside_time(header: &str) -> SignatureRule {
    SignatureRule {
        written: SignatureFormat::Fields { name: "v1" },
        clock: Clock::Field("t"),
        ..whole(header, "", SignatureEncoding::Hex)
    }
    .with_payload("{timestamp}.{body}")
}
