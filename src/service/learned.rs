//! Secrets that senders have sent in a handshake, until an admin confirms them. They are kept in a file in the data
//! directory that only its owner can read, so that a restart does not lose them.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::integration::Integration;
use crate::model::company::CompanyId;
use crate::model::ids::{EventId, IntegrationName};
use crate::model::peer::Peer;
use crate::model::secret::Secret;
use crate::model::time::now;
use crate::system::private_file::write_private;

/// Maximum number of secrets per integration that wait for confirmation; the oldest is dropped, so that strangers cannot fill
/// the disk.
const PER_INTEGRATION: usize = 8;
/// How long a secret waits.
const KEPT: TimeDelta = TimeDelta::days(7);
/// Name of the file in the data directory.
const FILE: &str = "learned-secrets.json";

/// Secrets that wait for an admin.
#[derive(Debug)]
pub struct LearnedSecrets {
    file: Option<PathBuf>,
    waiting: Mutex<Vec<WaitingSecret>>,
}

/// One secret, as it is stored.
#[derive(Clone, Serialize, Deserialize)]
struct WaitingSecret {
    company_id: CompanyId,
    integration: IntegrationName,
    event_id: EventId,
    received_at: DateTime<Utc>,
    peer: String,
    secret: String,
}

/// A secret that waits for confirmation, without the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LearnedSecret {
    /// The integration whose secret it is.
    pub integration: IntegrationName,
    /// The event of the handshake.
    pub event_id: EventId,
    /// When it was received.
    #[serde(serialize_with = "crate::model::time::utc")]
    pub received_at: DateTime<Utc>,
    /// Where it came from.
    pub peer: String,
    /// Its first characters, to compare with what the sender shows: after a prefix such as `secret_`, four.
    pub begins_with: String,
    /// Its last four characters; none of a secret that is shorter than 16.
    pub ends_with: String,
}

impl std::fmt::Debug for WaitingSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} (secret)", self.integration, self.event_id)
    }
}

impl LearnedSecrets {
    /// Reads what waits in a data directory. A file that cannot be read is logged, and left alone until the next secret.
    #[must_use]
    pub fn open(data_dir: &Path) -> Self {
        let file = data_dir.join(FILE);
        let waiting = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|_| {
                tracing::warn!(file = %file.display(), "secrets that wait for confirmation cannot be read; the senders must ask again");
                Vec::new()
            }),
            Err(_) => Vec::new(),
        };
        Self { file: Some(file), waiting: Mutex::new(waiting) }
    }

    /// Adds a secret. Returns the event of an older one that was dropped for it.
    ///
    /// # Errors
    /// It cannot be stored.
    pub fn add(
        &self,
        integration: &Integration,
        event_id: EventId,
        received_at: DateTime<Utc>,
        peer: Peer,
        secret: String,
    ) -> Result<Option<EventId>, String> {
        let (company_id, name) = (integration.company_id.clone(), integration.name.clone());
        let new =
            WaitingSecret { company_id, integration: name, event_id, received_at, peer: peer.to_string(), secret };
        let mut dropped = None;
        self.change(|all| {
            let own = |it: &WaitingSecret| it.company_id == new.company_id && it.integration == new.integration;
            all.retain(|it| it.is_kept(received_at) && !(own(it) && it.secret == new.secret));
            if all.iter().filter(|it| own(it)).count() >= PER_INTEGRATION {
                // One peer cannot push out what another one has sent.
                let of_peer = |peer: &str| all.iter().filter(|it| own(it) && it.peer == peer).count();
                let most = all.iter().filter(|it| own(it)).map(|it| of_peer(&it.peer)).max().unwrap_or(0);
                if let Some(oldest) = all.iter().position(|it| own(it) && of_peer(&it.peer) == most) {
                    dropped = Some(all.remove(oldest).event_id);
                }
            }
            all.push(new.clone());
        })?;
        Ok(dropped)
    }

    /// Returns what waits, for the operator or a company.
    #[must_use]
    pub fn list(&self, company: Option<&CompanyId>) -> Vec<LearnedSecret> {
        let all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = |it: &&WaitingSecret| it.is_kept(now()) && company.is_none_or(|company| *company == it.company_id);
        all.iter().filter(seen).map(WaitingSecret::shown).collect()
    }

    /// Returns the secret of an event, with its integration and company.
    #[must_use]
    pub fn find(&self, event: EventId) -> Option<(CompanyId, IntegrationName, Secret)> {
        let all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|it| it.event_id == event && it.is_kept(now()))?;
        Some((found.company_id.clone(), found.integration.clone(), Secret::new(found.secret.clone())))
    }

    /// Removes the secret of an event, once it is confirmed or refused.
    ///
    /// # Errors
    /// It cannot be stored.
    pub fn remove(&self, event: EventId) -> Result<(), String> {
        self.change(|all| all.retain(|it| it.event_id != event))
    }

    fn change(&self, change: impl FnOnce(&mut Vec<WaitingSecret>)) -> Result<(), String> {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = all.clone();
        change(&mut changed);
        if let Some(file) = &self.file {
            let bytes = serde_json::to_vec(&changed).map_err(|it| it.to_string())?;
            write_private(file, &bytes).map_err(|cause| format!("the secret cannot be stored: {cause}"))?;
        }
        *all = changed;
        Ok(())
    }
}

impl WaitingSecret {
    fn is_kept(&self, now: DateTime<Utc>) -> bool {
        now - self.received_at < KEPT
    }

    fn shown(&self) -> LearnedSecret {
        LearnedSecret {
            integration: self.integration.clone(),
            event_id: self.event_id,
            received_at: self.received_at,
            peer: self.peer.clone(),
            begins_with: beginning(&self.secret),
            ends_with: ending(&self.secret),
        }
    }
}

/// Returns a prefix such as `secret_`, which every secret of a sender has, and four more characters.
fn beginning(secret: &str) -> String {
    let prefix = secret.find('_').filter(|at| *at < 12 && secret[..*at].bytes().all(|it| it.is_ascii_alphabetic()));
    secret.chars().take(prefix.map_or(0, |at| at + 1) + 4).collect()
}

/// Returns the last four characters, if that leaves enough to guess.
fn ending(secret: &str) -> String {
    let count = secret.chars().count();
    if count < 16 { String::new() } else { secret.chars().skip(count - 4).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a secret that a stranger sent weeks ago is confirmed by mistake.
    #[test]
    fn a_secret_waits_for_seven_days() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = |minutes: i64| WaitingSecret {
            company_id: CompanyId::parse("company-1").unwrap(),
            integration: IntegrationName("fax".into()),
            event_id: EventId(crate::model::ids::new_id(now())),
            received_at: now() - KEPT + TimeDelta::minutes(minutes),
            peer: "127.0.0.1".into(),
            secret: "0123456789abcdef".into(),
        };
        let (old, young) = (waiting(-1), waiting(60));
        std::fs::write(dir.path().join(FILE), serde_json::to_vec(&[&old, &young]).unwrap()).unwrap();
        let learned = LearnedSecrets::open(dir.path());
        assert_eq!(learned.list(None).len(), 1);
        assert!(learned.find(old.event_id).is_none() && learned.find(young.event_id).is_some());
    }

    /// Otherwise an admin cannot tell two secrets apart that begin with the same prefix, or most of a short one is shown.
    #[test]
    fn a_secret_is_shown_by_what_differs_and_a_short_one_by_its_beginning() {
        let shown = |it: &str| (beginning(it), ending(it));
        assert_eq!(shown("secret_tMrlL1qK5vuQAh1b6c"), ("secret_tMrl".into(), "1b6c".into()));
        assert_eq!(shown("b537207f20cbfa02"), ("b537".into(), "fa02".into()));
        assert_eq!(shown("b537207f20cbfa0"), ("b537".into(), String::new()));
        assert_eq!(shown("é_éééééé"), ("é_éé".into(), String::new()));
    }
}
