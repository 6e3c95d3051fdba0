//! The secret and the keys of a test vector.

use std::sync::Arc;

use super::file::VectorTable;
use crate::auth::signature::proof::{KeysFrom, ProofKind};
use crate::auth::signature::public_key::{KeyKind, PublicKey};
use crate::auth::signature::{FetchedKeys, NamedKey, Proof, SenderSettings, Signature};
use crate::model::secret::Secret;

/// Returns what checks a vector with these proofs.
pub(super) fn signature<'a>(
    proofs: impl Iterator<Item = &'a Arc<Proof>>,
    vector: &VectorTable,
) -> Result<Signature, String> {
    let settings =
        SenderSettings { url: vector.auth_url.trim_end_matches('?').to_owned(), values: vector.settings.clone() };
    let secrets = if vector.secret.is_empty() { Vec::new() } else { vec![Secret::new(vector.secret.clone())] };
    Signature::new(proofs.cloned(), settings, &secrets).map_err(|cause| format!("the secret {cause}"))
}

/// Returns the keys that would be fetched.
pub(super) fn fetched(proof: &Arc<Proof>, vector: &VectorTable) -> Result<FetchedKeys, String> {
    let (Some(from), Some(text)) = (&proof.keys_from, &vector.keys) else { return Ok(FetchedKeys::default()) };
    let keys = match &**from {
        KeysFrom::Certificate { .. } => {
            let kind = match &proof.kind {
                ProofKind::Signed(signing) => signing.kind(),
                _ => KeyKind::Rsa,
            };
            let key = PublicKey::parse(kind, text, false).map_err(|cause| format!("keys {cause}"))?;
            vec![NamedKey { id: None, key }]
        }
        KeysFrom::Jwks(_) | KeysFrom::Post { .. } => {
            let json = serde_json::from_str(text).map_err(|_| "keys is not JSON")?;
            NamedKey::set(&json)?
        }
    };
    Ok(FetchedKeys(vec![(Arc::clone(from), keys.into())]))
}
