//! The first API key.

use super::super::failure::Failure;
use super::super::print::say;
use crate::auth::{Scope, key};
use crate::model::audit::{Action, Entry, SERVER};
use crate::model::company::CompanyId;
use crate::model::secret::Secret;
use crate::model::time::now;
use crate::service::app::{App, KeyRequest};
use crate::store::{Committed, FirstAnswer, Idempotency, IdempotencyId};

/// Creates and prints the first key of an empty store. It cannot be shown again.
pub(super) async fn bootstrap(app: &App, url: &str) -> Result<(), Failure> {
    if !app.keys.list().is_empty() {
        return Ok(());
    }
    let company_id = CompanyId::parse("company-1").map_err(Failure::new)?;
    let request = KeyRequest {
        label: "first key".into(),
        company_id,
        scopes: Scope::ALL.to_vec(),
        expires_at: None,
        timezone: None,
        strict: false,
    };
    let (id, drawn) = key::generate().map_err(Failure::new)?;
    let preset = app.config.bootstrap_key.as_ref();
    let secret = preset.map_or(drawn.as_str(), Secret::expose);
    let key = request.into_key(id, secret, now());
    let entry = Entry::new(SERVER, Action::KeyCreated, &key.id, now()).of(&key.company_id).with("the first key");
    let guard = app.store.cluster().is_some().then(|| first_key_of(&key.company_id));
    if app.create_key(key, entry, guard).await? != Committed::Stored {
        tracing::info!("another server has created the first API key");
        app.keys.merge(app.store.keys().await?);
        return Ok(());
    }
    let shown = if preset.is_some() { "$HOOKMILL_BOOTSTRAP_KEY" } else { secret };
    for line in ["The first API key (company-1, every scope). It is shown only once, so save it:", ""] {
        say!("{line}");
    }
    say!("  {shown}");
    ["", "Try it:", ""].into_iter().for_each(|it| say!("{it}"));
    say!("  curl -s {url}/v1/tasks -H \"X-API-Key: {shown}\" -H 'Content-Type: application/json' \\");
    say!(
        "    -d '{{\"title\":\"Call back\",\"description\":\"Asks for a refill\",\"assigned_user_ids\":[\"user_1\"],\"created_by_id\":\"user_9\",\"deadline\":\"2026-12-01\"}}'"
    );
    say!();
    Ok(())
}

/// Lets only one of several servers that start on an empty database at the same time create the first key.
fn first_key_of(company: &CompanyId) -> Idempotency {
    let id = IdempotencyId::of(Some(company), SERVER, "start", "first key");
    let (fingerprint, at) = (FirstAnswer::fingerprint(b""), now());
    let (head, body) = (bytes::Bytes::new(), bytes::Bytes::new());
    Idempotency { id, answer: FirstAnswer { fingerprint, at, refused: false, event_id: None, head, body } }
}
