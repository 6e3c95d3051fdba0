//! A request's body, with what it is charged to for as long as anybody has a part of it.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, Charge};
use super::strangers::Unproven;
use super::{Memory, SMALL};
use crate::auth::CompanyId;
use crate::peer::Peer;

/// Who pays for a body.
#[derive(Debug, Clone)]
pub(crate) enum Payer {
    /// It has shown a valid key; the operator has no company.
    Company(Option<CompanyId>),
    /// Nobody knows who that is.
    Stranger(Peer),
}

/// A body that is still arriving.
#[derive(Debug)]
pub(crate) struct Arriving<'a> {
    memory: &'a Memory,
    payer: Payer,
    account: Account,
}

#[derive(Debug)]
enum Account {
    /// It is small.
    Nothing,
    Company(Charge),
    Stranger(Unproven),
}

/// What a body is charged to: shared by its bytes and by its request, which may show later who has sent it.
#[derive(Debug)]
pub(crate) struct Held(Mutex<Account>);

impl<'a> Arriving<'a> {
    pub(crate) fn new(memory: &'a Memory, payer: Payer) -> Self {
        Self { memory, payer, account: Account::Nothing }
    }

    /// So many bytes have arrived, or are made room for.
    ///
    /// # Errors
    /// The setting that does not allow that many.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), &'static str> {
        if bytes <= SMALL {
            return Ok(());
        }
        if matches!(self.account, Account::Nothing) {
            self.account = match &self.payer {
                Payer::Company(company) => {
                    self.memory.bodies.charge(company.clone(), 0).map_or(Account::Nothing, Account::Company)
                }
                Payer::Stranger(peer) => Account::Stranger(self.memory.strangers.body(*peer)),
            };
        }
        let (fits, setting) = match &mut self.account {
            Account::Company(charge) => (charge.grow_to(bytes), super::BODIES),
            Account::Stranger(body) => (body.grow_to(bytes), super::STRANGERS),
            Account::Nothing => (false, super::BODIES),
        };
        if fits { Ok(()) } else { Err(setting) }
    }

    /// Resolves with the setting when it is given up for the bodies of others.
    pub(crate) async fn given_up(&self) -> &'static str {
        match &self.account {
            Account::Stranger(body) => body.given_up().cancelled().await,
            Account::Nothing | Account::Company(_) => std::future::pending().await,
        }
        super::STRANGERS
    }

    /// All of it has arrived.
    pub(crate) fn whole(self, body: Bytes) -> (Bytes, Option<Arc<Held>>) {
        if matches!(self.account, Account::Nothing) {
            return (body, None);
        }
        let held = Arc::new(Held(Mutex::new(self.account)));
        (charged(body, Arc::clone(&held)), Some(held))
    }
}

impl Held {
    /// Cancelled when it is given up for the bodies of others; none where it is not a stranger's.
    pub(crate) fn given_up(&self) -> Option<CancellationToken> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Account::Stranger(body) => Some(body.given_up().clone()),
            Account::Nothing | Account::Company(_) => None,
        }
    }

    /// It has turned out whose it is.
    ///
    /// # Errors
    /// The setting that does not allow that much.
    pub(crate) fn prove(
        &self,
        bodies: &Arc<Budget>,
        company: Option<CompanyId>,
        bytes: usize,
    ) -> Result<(), &'static str> {
        let charge = bodies.charge(company, bytes).ok_or(super::BODIES)?;
        let mut account = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*account, Account::Stranger(_)) {
            *account = Account::Company(charge);
        }
        Ok(())
    }
}

/// Bytes that are charged to something for as long as they exist.
struct Charged<T> {
    bytes: Bytes,
    _to: T,
}

impl<T> AsRef<[u8]> for Charged<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Has these bytes charged for as long as anybody has a part of them.
pub(crate) fn charged<T: Send + Sync + 'static>(bytes: Bytes, to: T) -> Bytes {
    Bytes::from_owner(Charged { bytes, _to: to })
}
