//! A request's body with its memory charge, as long as any part of it is in use.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::budget::{Budget, Charge};
use super::budgets::{Memory, SMALL};
use super::strangers::Unproven;
use crate::model::company::CompanyId;
use crate::model::peer::Peer;

/// Whose budget a body is charged to.
#[derive(Debug, Clone)]
pub(crate) enum Payer {
    /// An authenticated company; the operator has none.
    Company(Option<CompanyId>),
    /// Unauthenticated.
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

/// The charge of a body. It is shared by its bytes and its request, which may be authenticated later.
#[derive(Debug)]
pub(crate) struct Held(Mutex<Account>);

impl<'a> Arriving<'a> {
    pub(crate) fn new(memory: &'a Memory, payer: Payer) -> Self {
        Self { memory, payer, account: Account::Nothing }
    }

    /// Charges this many bytes that have arrived, or for which a buffer is allocated.
    ///
    /// # Errors
    /// The setting whose limit is exceeded.
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
            Account::Company(charge) => (charge.grow_to(bytes), super::budgets::BODIES),
            Account::Stranger(body) => (body.grow_to(bytes), super::budgets::STRANGERS),
            Account::Nothing => (false, super::budgets::BODIES),
        };
        if fits { Ok(()) } else { Err(setting) }
    }

    /// Resolves with the setting's name when this body is dropped in favour of others.
    pub(crate) async fn given_up(&self) -> &'static str {
        match &self.account {
            Account::Stranger(body) => body.given_up().cancelled().await,
            Account::Nothing | Account::Company(_) => std::future::pending().await,
        }
        super::budgets::STRANGERS
    }

    /// Completes the body.
    pub(crate) fn whole(self, body: Bytes) -> (Bytes, Option<Arc<Held>>) {
        if matches!(self.account, Account::Nothing) {
            return (body, None);
        }
        let held = Arc::new(Held(Mutex::new(self.account)));
        (charged(body, Arc::clone(&held)), Some(held))
    }
}

impl Held {
    /// Returns a token that is cancelled when the body is dropped in favour of others; `None` if it is
    /// authenticated.
    pub(crate) fn given_up(&self) -> Option<CancellationToken> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Account::Stranger(body) => Some(body.given_up().clone()),
            Account::Nothing | Account::Company(_) => None,
        }
    }

    /// Moves the charge to a company after authentication.
    ///
    /// # Errors
    /// The setting whose limit is exceeded.
    pub(crate) fn prove(
        &self,
        bodies: &Arc<Budget>,
        company: Option<CompanyId>,
        bytes: usize,
    ) -> Result<(), &'static str> {
        let charge = bodies.charge(company, bytes).ok_or(super::budgets::BODIES)?;
        let mut account = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*account, Account::Stranger(_)) {
            *account = Account::Company(charge);
        }
        Ok(())
    }
}

/// Bytes that are charged as long as they exist.
struct Charged<T> {
    bytes: Bytes,
    _to: T,
}

impl<T> AsRef<[u8]> for Charged<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Attaches a charge to bytes, until no part of them is in use.
pub(crate) fn charged<T: Send + Sync + 'static>(bytes: Bytes, to: T) -> Bytes {
    Bytes::from_owner(Charged { bytes, _to: to })
}
