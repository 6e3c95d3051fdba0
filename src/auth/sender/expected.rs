//! What a test vector should contain, for somebody who writes a sender file and cannot compute signatures.

use std::sync::Arc;

use chrono::DateTime;

use super::description::{Chosen, DeclaredProof, Sender};
use super::file::{SenderTable, VectorTable};
use super::sign::Signable;
use crate::auth::signature::{SenderSettings, ValueSource};
use crate::model::secret::Secret;

impl Sender {
    /// Returns, for each `computed` vector of a file that does not pass, its number and the headers and parameters with which
    /// it would pass. They may contain its secret: not for logs.
    #[must_use]
    pub fn expected(text: &str) -> Vec<(usize, Vec<(String, String)>)> {
        let Ok(Ok(sender)) = SenderTable::parse(text).map(SenderTable::compile) else { return Vec::new() };
        let all = sender.vectors.iter().enumerate();
        all.filter_map(|(index, it)| Some((index + 1, sender.expected_of(it)?))).collect()
    }

    fn expected_of(&self, vector: &VectorTable) -> Option<Vec<(String, String)>> {
        if vector.source != "computed" || vector.handshake.is_some() || self.run(vector).is_ok() {
            return None;
        }
        let name = self.proof_of(vector)?;
        let (_, DeclaredProof::Checked(proof)) = self.proofs.iter().find(|(it, _)| it == name)? else { return None };
        let header =
            |name: &str| vector.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, it)| it.as_str());
        let id = match &proof.id {
            Some(ValueSource::Header(name)) => header(name),
            _ => None,
        };
        let settings =
            SenderSettings { url: vector.auth_url.trim_end_matches('?').to_owned(), values: vector.settings.clone() };
        let signable = Signable {
            body: vector.body.as_bytes(),
            content_type: header("content-type").unwrap_or("application/json"),
            secret: &Secret::new(vector.secret.clone()),
            username: &vector.username,
            settings: &settings,
            at: DateTime::parse_from_rfc3339(vector.at.as_deref()?).ok()?.to_utc(),
            id: id.unwrap_or("1"),
        };
        let signed = Chosen::Checked(vec![Arc::clone(proof)]).sign(&signable).ok()?;
        let mut fixed = vector.clone();
        for (name, value) in &signed.headers {
            fixed.headers.retain(|it, _| !it.eq_ignore_ascii_case(name));
            fixed.headers.insert(name.clone(), value.clone());
        }
        // Only what is known to pass.
        let passes = signed.query.is_empty() && signed.body.is_none() && self.run(&fixed).is_ok();
        passes.then_some(signed.headers)
    }
}
