//! Fair shares of a limited resource: places for requests, places in the queue, room for plugin calls.
//!
//! # The rule
//! A company may use at most [`Rule::company`] times what is free. An integration may use at most
//! [`Rule::integration`] times what its company could still take. A company or integration that uses nothing gets
//! one unit as long as anything is free. What is free shrinks as others take more, so no list of active companies
//! is needed:
//!
//! - a company alone gets `company / (company + 1)` of the whole; the rest remains free for a newcomer;
//! - each company leaves at least `1 / (company + 1)` of what it finds free, even if the others release nothing;
//! - with `n` companies that take all they can get, and release it from time to time, `1 / (1 + n * company)` of
//!   the whole remains free;
//! - the same holds for the integrations of a company, within the company's share.
//!
//! These are the dynamic thresholds of shared-memory switches (Choudhury and Hahne, 1998).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::company::CompanyId;
use crate::model::ids::IntegrationName;

/// The fraction of the free amount that may be used.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Factor for a company.
    pub company: usize,
    /// Factor for an integration, of what its company could still take.
    pub integration: usize,
}

impl Rule {
    /// For places: a company alone gets 3/4 of the whole, one integration alone 9/16.
    pub const PLACES: Self = Self { company: 3, integration: 3 };
    /// For resources that few calls need at once: a company alone gets half of the whole, one integration alone a
    /// quarter.
    pub const EVEN: Self = Self { company: 1, integration: 1 };
}

/// A limited resource, and how much of it each company and integration uses.
#[derive(Debug)]
pub struct Shares {
    whole: usize,
    rule: Rule,
    held: Mutex<HeldUnits>,
}

/// Current usage. Only current users have an entry; a change takes a few additions under the lock.
#[derive(Debug, Default)]
struct HeldUnits {
    all: usize,
    companies: HashMap<CompanyId, usize>,
    integrations: HashMap<Holder, usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Holder {
    company: CompanyId,
    integration: IntegrationName,
}

/// Whose share is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsedUp {
    /// The integration's share.
    Integration,
    /// The company's share.
    Company,
    /// The whole resource.
    Whole,
}

/// A part of the resource, released when it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    holder: Holder,
    amount: usize,
}

impl Shares {
    /// Creates a resource of which nothing is used.
    #[must_use]
    pub fn new(whole: usize, rule: Rule) -> Arc<Self> {
        Arc::new(Self { whole, rule, held: Mutex::default() })
    }

    /// Takes this amount for an integration of a company.
    ///
    /// # Errors
    /// Whose share is used up.
    pub fn take(
        self: &Arc<Self>,
        company: &CompanyId,
        integration: &IntegrationName,
        amount: usize,
    ) -> Result<Share, UsedUp> {
        let holder = Holder { company: company.clone(), integration: integration.clone() };
        let mut held = self.held();
        let of_company = held.companies.get(company).copied().unwrap_or(0);
        let of_integration = held.integrations.get(&holder).copied().unwrap_or(0);
        self.check(held.all, of_company, of_integration, amount)?;
        held.all += amount;
        *held.companies.entry(company.clone()).or_default() += amount;
        *held.integrations.entry(holder.clone()).or_default() += amount;
        drop(held);
        Ok(Share { shares: Arc::clone(self), holder, amount })
    }

    /// Checks whether an integration and a company with this usage may take `amount` more.
    fn check(&self, all: usize, company: usize, integration: usize, amount: usize) -> Result<(), UsedUp> {
        let free = self.whole.checked_sub(all + amount).ok_or(UsedUp::Whole)?;
        if company == 0 {
            return Ok(());
        }
        let most = self.rule.company.saturating_mul(free);
        let left = most.checked_sub(company + amount).ok_or(UsedUp::Company)?;
        // Each unit that the company takes also reduces its limit by `rule.company`.
        let most = self.rule.integration.saturating_mul(left) / (self.rule.company + 1);
        if integration == 0 || integration + amount <= most { Ok(()) } else { Err(UsedUp::Integration) }
    }

    fn held(&self) -> MutexGuard<'_, HeldUnits> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        held.all -= self.amount;
        give_back(&mut held.companies, &self.holder.company, self.amount);
        give_back(&mut held.integrations, &self.holder, self.amount);
    }
}

fn give_back<K: Eq + Hash + Clone>(held: &mut HashMap<K, usize>, holder: &K, amount: usize) {
    if let Entry::Occupied(mut its) = held.entry(holder.clone()) {
        *its.get_mut() -= amount;
        if *its.get() == 0 {
            its.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn take(shares: &Arc<Shares>, company: &str, integration: &str, amount: usize) -> Result<Share, UsedUp> {
        shares.take(&CompanyId::parse(company).unwrap(), &IntegrationName(integration.into()), amount)
    }

    /// Takes as much as possible.
    fn greedy(shares: &Arc<Shares>, company: &str, integration: &str) -> (Vec<Share>, UsedUp) {
        let mut all = Vec::new();
        loop {
            match take(shares, company, integration, 1) {
                Ok(share) => all.push(share),
                Err(used_up) => return (all, used_up),
            }
        }
    }

    #[test]
    fn one_integration_leaves_room_for_its_companys_others_and_these_for_other_companies() {
        let shares = Shares::new(1024, Rule::PLACES);
        let (first, why) = greedy(&shares, "a", "loops");
        assert_eq!((first.len(), why), (576, UsedUp::Integration));
        let (rest, _) = greedy(&shares, "a", "second");
        assert_eq!(rest.len(), 144);
        let many: Vec<_> = (0..200).map(|n| greedy(&shares, "a", &n.to_string())).collect();
        let held = first.len() + rest.len() + many.iter().map(|(it, _)| it.len()).sum::<usize>();
        assert_eq!((held, many[199].1), (768, UsedUp::Company));
        let (others, _) = greedy(&shares, "b", "tasks");
        assert!(others.len() >= 144, "{}", others.len());
    }

    #[test]
    fn every_company_leaves_its_part_of_what_it_finds_free() {
        for (whole, rule) in [(1024, Rule::PLACES), (10_000, Rule::PLACES), (1024, Rule::EVEN), (64, Rule::PLACES)] {
            let shares = Shares::new(whole, rule);
            let mut all = Vec::new();
            for n in 1..=40 {
                let (company, before) = (n.to_string(), whole - shares.held().all);
                all.extend((0..300).flat_map(|it| greedy(&shares, &company, &it.to_string()).0));
                let free = whole - shares.held().all;
                // A company that uses nothing gets one unit as long as one is free.
                assert!(free + 1 >= before / (1 + rule.company), "{whole} {rule:?} {n}: {before} to {free}");
            }
            drop(all);
            let held = shares.held();
            assert!(held.all == 0 && held.companies.is_empty() && held.integrations.is_empty());
        }
    }

    #[test]
    fn the_last_one_is_for_a_newcomer_and_a_whole_of_one_is_for_anybody() {
        let shares = Shares::new(2, Rule::PLACES);
        let first = take(&shares, "a", "x", 1).unwrap();
        assert_eq!(take(&shares, "a", "y", 1).unwrap_err(), UsedUp::Company);
        let second = take(&shares, "b", "x", 1).unwrap();
        assert_eq!(take(&shares, "c", "x", 1).unwrap_err(), UsedUp::Whole);
        drop((first, second));
        let shares = Shares::new(1, Rule::PLACES);
        drop(take(&shares, "a", "x", 1).unwrap());
        let _again = take(&shares, "a", "x", 1).unwrap();
        assert_eq!(take(&shares, "a", "x", 1).unwrap_err(), UsedUp::Whole);
    }

    #[test]
    fn large_amounts_count_as_many() {
        let shares = Shares::new(64, Rule::EVEN);
        let _first = take(&shares, "a", "x", 16).unwrap();
        assert_eq!(take(&shares, "a", "x", 16).unwrap_err(), UsedUp::Integration);
        let _second = take(&shares, "a", "y", 16).unwrap();
        assert_eq!(take(&shares, "a", "z", 16).unwrap_err(), UsedUp::Company);
        let _third = take(&shares, "b", "x", 16).unwrap();
    }
}
