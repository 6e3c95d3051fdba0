//! Rules of a sender file that concern several of its parts.

use std::sync::Arc;

use super::description::{DeclaredProof, IdPlace};
use super::file::{IdTable, source};
use super::handshake::{Handshake, HandshakeProof};
use crate::auth::signature::jwt::JwtAlgorithm;
use crate::auth::signature::proof::{KeyEncoding, ProofKind};
use crate::auth::signature::text::Piece;
use crate::auth::signature::{Proof, ValueSource};
use crate::model::headers::SECRET_HEADERS;

/// Where only signed members reach the mapper, a delivery must not have those that another proof signs.
pub(super) fn keep_apart(proofs: &mut [(String, DeclaredProof)]) {
    let members = |proof: &Proof| -> Vec<ValueSource> {
        let body = |it: &Piece| if let Piece::From(it @ ValueSource::Body(_)) = it { Some(it.clone()) } else { None };
        proof.pieces().filter_map(body).collect()
    };
    let all: Vec<ValueSource> = proofs
        .iter()
        .filter_map(|(_, it)| if let DeclaredProof::Checked(proof) = it { Some(members(proof)) } else { None })
        .flatten()
        .collect();
    for (_, declared) in proofs {
        let DeclaredProof::Checked(proof) = declared else { continue };
        let own = members(proof);
        let others: Vec<_> = all.iter().filter(|it| !own.contains(it) && !proof.absent.contains(it)).cloned().collect();
        Arc::make_mut(proof).absent.extend(others);
    }
}

/// Checks that no secret may be a public key for one proof and a password for another: anybody may know a public key.
pub(super) fn unmixed(proofs: &[(String, DeclaredProof)]) -> Result<(), String> {
    let takes_public = |proof: &Proof| match &proof.kind {
        ProofKind::Signed(_) => true,
        ProofKind::Jwt { algorithm, .. } => *algorithm != JwtAlgorithm::Hs256,
        _ => false,
    };
    let public = |it: &DeclaredProof| matches!(it, DeclaredProof::Checked(proof) if proof.keys_from.is_none() && takes_public(proof) && proof.key.required.is_empty());
    let secret = |it: &DeclaredProof| match it {
        DeclaredProof::Checked(proof) => !takes_public(proof),
        DeclaredProof::Basic | DeclaredProof::UrlSecret => true,
        DeclaredProof::ApiKey => false,
    };
    // A required prefix, which is not base64, keeps public keys apart from secrets in base64.
    let loose = |it: &DeclaredProof| match it {
        DeclaredProof::Checked(proof) => !takes_public(proof) && proof.key.encoding == KeyEncoding::Text,
        other => secret(other),
    };
    let any = |which: &dyn Fn(&DeclaredProof) -> bool| proofs.iter().any(|(_, it)| which(it));
    let has_public =
        any(&|it| matches!(it, DeclaredProof::Checked(proof) if proof.keys_from.is_none() && takes_public(proof)));
    if (any(&public) && any(&secret)) || (has_public && any(&loose)) {
        return Err("proof: a public key and a secret must not be mixed in one file, because anybody may know a public key; write two files".into());
    }
    Ok(())
}

/// Checks that strangers cannot get an HMAC of a text of their choice with a key that also proves deliveries.
pub(super) fn no_oracle(proofs: &[(String, DeclaredProof)], handshakes: &[Handshake]) -> Result<(), String> {
    let signs = |it: &DeclaredProof| match it {
        DeclaredProof::Checked(proof) => {
            matches!(proof.kind, ProofKind::Hmac(_) | ProofKind::Jwt { algorithm: JwtAlgorithm::Hs256, .. })
        }
        _ => false,
    };
    // A signature that does not cover the body proves nothing about what is asked.
    let covers = |it: &(String, DeclaredProof)| matches!(&it.1, DeclaredProof::Checked(proof) if proof.covers_body());
    let is_open = |it: &&Handshake| match it.proof {
        HandshakeProof::None => true,
        HandshakeProof::Signed => !proofs.iter().all(covers),
        HandshakeProof::Secret { .. } => false,
    };
    let open = handshakes.iter().filter(|it| it.answers_with_hmac()).find(is_open);
    match open {
        Some(it) if proofs.iter().any(|(_, it)| signs(it)) => Err(format!(
            "handshake {}: anybody could have deliveries signed; an answer with an HMAC needs a proof where the secret also signs deliveries",
            it.name
        )),
        _ => Ok(()),
    }
}

/// Checks that the mapper gets no header that proves a delivery.
pub(super) fn hides_credentials(headers: &[String], proofs: &[(String, DeclaredProof)]) -> Result<(), String> {
    let proves = |name: &str| {
        proofs.iter().any(|(_, it)| {
            matches!(it, DeclaredProof::Checked(it) if matches!(&it.at.source, ValueSource::Header(at) if at == name))
        })
    };
    let name =
        headers.iter().map(|it| it.to_ascii_lowercase()).find(|it| SECRET_HEADERS.contains(&it.as_str()) || proves(it));
    match name {
        Some(name) => Err(format!("delivery.headers: {name} contains the sender's credentials and is never passed on")),
        None => Ok(()),
    }
}

/// The places of an id. A place whose name says that it is a time is refused.
pub(super) fn id(table: &IdTable) -> Result<IdPlace, String> {
    let all = match table {
        IdTable::One(one) => std::slice::from_ref(one),
        IdTable::Joined(all) => all,
    };
    let sources =
        all.iter().map(source).collect::<Result<Vec<_>, _>>().map_err(|cause| format!("delivery.id: {cause}"))?;
    let is_time = |it: &ValueSource| {
        let (ValueSource::Header(name) | ValueSource::Query(name) | ValueSource::Body(name) | ValueSource::Claim(name)) =
            it;
        is_time_name(name.rsplit('/').next().unwrap_or_default())
    };
    match sources.as_slice() {
        [] => Err("delivery.id: names no place".into()),
        // Two equal bodies may be two events.
        all if all.contains(&ValueSource::Body(String::new())) => {
            Err("delivery.id: the whole body is not an id".into())
        }
        all if all.iter().any(|it| matches!(it, ValueSource::Claim(_) | ValueSource::Query(_))) => {
            Err("delivery.id: use headers and the body, which are stored".into())
        }
        // Joined with an id, a time tells versions of it apart.
        all if all.iter().all(is_time) => Err("delivery.id: is a time, which is not an id".into()),
        _ => Ok(IdPlace(sources)),
    }
}

/// Returns whether a name, such as `webhook-timestamp`, `createdAt` or `ts_ms`, says that it is a time.
fn is_time_name(name: &str) -> bool {
    const TIMES: [&str; 10] = ["ts", "time", "timestamp", "date", "datetime", "epoch", "iat", "exp", "when", "stamp"];
    // These end the name of a time, and also begin others.
    const ENDS: [&str; 4] = ["at", "on", "created", "updated"];
    // Whatever else the name says, it is an id.
    const IDS: [&str; 6] = ["id", "uuid", "guid", "key", "token", "number"];
    let mut words = vec![String::new()];
    let mut before_is_lower = false;
    for it in name.chars() {
        if !it.is_ascii_alphanumeric() || (it.is_ascii_uppercase() && before_is_lower) {
            words.push(String::new());
        }
        before_is_lower = it.is_ascii_lowercase();
        if let (true, Some(word)) = (it.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(it.to_ascii_lowercase());
        }
    }
    let last = words.iter().rev().map(String::as_str).find(|it| *it != "ms").unwrap_or_default();
    let is_time = |it: &String| TIMES.contains(&it.as_str()) || it.ends_with("timestamp") || it.ends_with("time");
    !IDS.contains(&last) && (ENDS.contains(&last) || words.iter().any(is_time))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise two deliveries of one second are taken for one, or a repetition is never recognised.
    #[test]
    fn names_of_times_are_known_and_those_of_ids_are_not() {
        let times = "ts event_ts createdAt event_time eventTime EVENTTIME sent_at x-date timestamp_ms received_at_ms date_received eventTimeMs time_stamp epoch when webhook-timestamp created updated";
        for name in times.split(' ') {
            assert!(is_time_name(name), "{name}");
        }
        for name in "id event_id time_id messageId runtimeId format state uuid x-request-uuid contact".split(' ') {
            assert!(!is_time_name(name), "{name}");
        }
    }
}
