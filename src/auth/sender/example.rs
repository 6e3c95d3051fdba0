//! What a sender file shows as examples: a delivery, and the hosts that keys are fetched from.

use super::description::{DeclaredProof, Sender};
use super::file::{BodyFormatName, VectorTable};
use crate::auth::signature::{BodyHints, KeysFrom, SentBody};

/// A delivery that a sender's file shows as an example.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExampleDelivery {
    /// The body.
    pub body: String,
    /// Its content type.
    pub content_type: Option<String>,
    /// The headers that the mapper gets.
    pub headers: Vec<(String, String)>,
}

impl Sender {
    /// Returns the body of the first vector that is a delivery, as JSON.
    #[must_use]
    pub fn example(&self) -> Option<serde_json::Value> {
        self.texts().filter_map(value_of).find(serde_json::Value::is_object)
    }

    /// Returns the deliveries among the vectors that have text.
    fn texts(&self) -> impl Iterator<Item = &VectorTable> {
        self.vectors.iter().filter(|it| it.handshake.is_none() && it.body_base64.is_none())
    }

    /// Returns the body of the first vector that is a delivery of an object, or else of another text, with its content type and
    /// the headers that the mapper gets.
    #[must_use]
    pub fn example_delivery(&self) -> Option<ExampleDelivery> {
        let is_object = |it: &&VectorTable| value_of(it).is_some_and(|it| it.is_object());
        let vector = self.texts().find(is_object).or_else(|| self.texts().find(|it| !it.body.is_empty()))?;
        let named = |name: &str| {
            let found = vector.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        let headers = self.headers.iter().filter_map(|name| Some((name.clone(), named(name)?))).collect();
        Some(ExampleDelivery { body: vector.body.clone(), content_type: named("content-type"), headers })
    }

    /// Returns the content type of the bodies that it sends.
    #[must_use]
    pub fn usual_type(&self) -> &str {
        if let Some(found) = self.example_type().filter(|it| !it.starts_with("multipart/")) {
            return found;
        }
        match self.body.format {
            Some(BodyFormatName::Form) => "application/x-www-form-urlencoded",
            Some(BodyFormatName::Xml) => "text/xml",
            Some(BodyFormatName::Jwt) => "application/jwt",
            _ => "application/json",
        }
    }

    /// Returns the content type of the first vector that is a delivery, if it has one.
    #[must_use]
    pub fn example_type(&self) -> Option<&str> {
        let delivery = self.vectors.iter().find(|it| it.handshake.is_none())?;
        let header = delivery.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        header.map(|(_, value)| value.as_str())
    }

    /// Returns the hosts that must be reachable, with what for: where keys are fetched, and where questions are confirmed.
    #[must_use]
    pub fn outbound_hosts(&self) -> Vec<(String, String)> {
        let host = |url: &str| url.parse::<hyper::Uri>().ok().and_then(|it| it.host().map(str::to_owned));
        let mut hosts = Vec::new();
        for (name, proof) in &self.proofs {
            let DeclaredProof::Checked(proof) = proof else { continue };
            let found: Vec<String> = match proof.keys_from.as_deref() {
                Some(KeysFrom::Jwks(url) | KeysFrom::Post { url, .. }) => host(url).into_iter().collect(),
                Some(KeysFrom::Certificate { hosts, .. }) => hosts.clone(),
                None => Vec::new(),
            };
            hosts.extend(found.into_iter().map(|it| (it, format!("the keys of its proof \"{name}\""))));
        }
        for it in &self.handshakes {
            let what = || format!("the confirmation of its question \"{}\"", it.name);
            hosts.extend(it.hosts.iter().map(|host| (host.clone(), what())));
        }
        hosts
    }
}

/// Returns the body of a vector as JSON.
fn value_of(vector: &VectorTable) -> Option<serde_json::Value> {
    let header = vector.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let content_type = header.map(|(_, value)| value.as_str());
    SentBody::new(vector.body.as_bytes(), BodyHints { content_type, ..BodyHints::default() }).value().cloned()
}
